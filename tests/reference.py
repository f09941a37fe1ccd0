"""Naive oracles: each function is the definition, written to be read and not to be fast."""
