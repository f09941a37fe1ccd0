"""What a run is and what came of it: a description in text, and one HTML page to send, of a run or of several."""

from vqaudio.report.comparison import build_comparison
from vqaudio.report.facts import describe
from vqaudio.report.page import build_report

__all__ = ["build_comparison", "build_report", "describe"]
