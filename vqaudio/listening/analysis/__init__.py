"""Figures and a page from the answers of a listening test, and the number of listeners that a test needs.

`figures` does all of it and writes ratings.csv (`export`), analysis.json and analysis.html: `ratings` reads the
answers, `screening` decides who counts, and `scales` and `comparisons` compute. Both take one system or pair at a time
from `cells`, which tests it over listeners (`statistics`) and says what holds for these items and for items like these
(`claims`); `strengths` are those of Bradley and Terry. `text` and `methods` put the results into sentences, and `page`
fills the template in `templates/`. `planning` computes how many listeners a test needs, with `power`.
"""
