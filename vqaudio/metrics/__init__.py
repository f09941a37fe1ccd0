"""Metrics of units and of audio."""
