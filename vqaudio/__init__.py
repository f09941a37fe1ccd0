"""vqaudio: discrete units out of raw speech, and speech back out of units."""

__version__ = "0.1.0"
