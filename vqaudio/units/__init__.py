"""Discrete units: on disk, as text, in the formats of other tools, out of speech and back into speech.

`directory` reads a unit directory (units.txt, units.json, …), `writer` writes one; `text` and `sequence` are one line.
`extraction` makes units of speech, `kmeans` of other features, `synthesis` speech of units; `conversion` and `formats`
go to and from the files of other tools.
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
