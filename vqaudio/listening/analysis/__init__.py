"""What listeners said: `ratings` are read, `screening` excludes listeners, `scales` and `comparisons` compute.

`figures` conducts all of it and writes ratings.csv, analysis.json and analysis.html.
"""

from vqaudio.listening.analysis.figures import write_analysis

__all__ = ["write_analysis"]
