"""Listening tests in browsers, from wav.scp files to the answers of listeners.

`build` makes the folder of a test to a `design`: the audio (`writer`, `clips`, `checks`, `anchors`) under random names
that only `key` can resolve, and the `study`, which says what listeners are told and asked. `people` adds them, and
`sessions` decides the order of their trials. `server` (with `api`) offers the `pages` of a test to browsers (`page/`,
in the words of `texts/`), and `static` writes it as plain files; both check answers in `answers` and save them in
`store`. `status` says who has finished, and `analysis/` what they said.
"""
