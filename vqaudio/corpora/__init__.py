"""Corpora: the embedded synthetic one and VCTK."""
