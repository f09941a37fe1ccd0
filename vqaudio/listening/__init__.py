"""Listening tests: build one from wav.scp files, run it in browsers, and read what listeners answered."""
