"""Scores of units (against phones and speakers, under changed speech) and of audio that was made from units."""
