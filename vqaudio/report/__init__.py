"""What a run is and what came of it: a description in text, and one HTML page to send to colleagues."""

from vqaudio.report.facts import describe
from vqaudio.report.page import build_report

__all__ = ["build_report", "describe"]
