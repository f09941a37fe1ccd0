"""Listening tests in browsers, from wav.scp files to the answers of listeners.

`build` makes the folder of a test, with the audio (`clips`, `anchors`) under random names that only `key` can resolve;
`links` adds listeners, and `sessions` decides the order of their trials. `server` offers the test to browsers (`page/`)
and `static` writes it as plain files; both check answers in `answers` and save them in `store`. `analysis/` reads them.
"""
