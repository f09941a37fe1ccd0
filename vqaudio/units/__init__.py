"""Discrete units: read, written, extracted from speech, turned back into speech, and converted for other tools.

`directory` reads a unit directory (units.txt, units.json, …) and `writer` writes one; `text` and `sequence` deal with
one line of it. `extraction` makes units from speech with a trained model, `kmeans` from fixed features; `synthesis`
makes speech from units; `conversion` and `formats` read and write the files of other tools.
"""

from vqaudio.units.directory import Units, UnitsInfo, read_failed, read_info, read_units
from vqaudio.units.sequence import UnitSequence, deduplicate, expand

__all__ = [
    "UnitSequence",
    "Units",
    "UnitsInfo",
    "deduplicate",
    "expand",
    "read_failed",
    "read_info",
    "read_units",
]
