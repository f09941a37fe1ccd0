"""Corpora in the layout of VCTK: reading, splits, formatting."""
