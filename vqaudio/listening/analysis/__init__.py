"""Figures and a page from the answers of a listening test, and the number of listeners that a test needs.

`figures` does all of it and writes ratings.csv, analysis.json and analysis.html: `ratings` reads the answers,
`screening` excludes listeners, `scales` and `comparisons` compute with `statistics`, `text` puts the results into
sentences, and `page` fills the template in `templates/`. `planning` computes how many listeners a test needs.
"""
