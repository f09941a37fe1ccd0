"""Units as Praat TextGrids, one file an utterance in one folder, for eyes and other tools (extra: eval).

The tier `units` has an interval for each run of equal frames, labelled as in units.txt: "71", or "71-3" with G > 1
groups, which then have a tier each as well, `group 1` to `group G`; these are to look at and are not read back. Frame
n lasts from n to n + 1 times the hop length divided by the sample rate, in seconds.

`utt2num_frames` in the folder lists the ids, which file names may spell otherwise (see `vqaudio.names`). Files of
another tool are read too, if all boundaries are those of frames; their names are the ids.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vqaudio import files
from vqaudio.datadir import Phone
from vqaudio.datadir.stream import stream_table
from vqaudio.errors import UserError
from vqaudio.metrics.alignment import is_text_grid, praatio, read_tiers
from vqaudio.names import file_name
from vqaudio.units.directory import Units
from vqaudio.units.lines import Reading, text_of
from vqaudio.units.sequence import UnitSequence, deduplicate
from vqaudio.units.text import format_frames, parse_units

TIER = "units"
FRAMES = "utt2num_frames"
"""The table of ids in a folder that vqaudio made."""
MAX_OFFSET = 0.1
"""By how many frames a boundary may miss the end of a frame, such as by rounding to milliseconds."""
MAX_OVERLAP = 1e-3
"""Seconds by which phones may overlap, such as by rounding; what overlaps is cut off."""
CURE = "correct the tier"

Interval = tuple[float, float, str]
"""Start (s), end (s) and label."""


def write_text_grids(units: Units, folder: Path, phones: Mapping[str, list[Phone]] | None = None) -> None:
    """Write a TextGrid for each utterance into a folder, with its `phones`, if they are given, in a tier beside.

    Raises:
        UserError: praatio is missing, two ids would share a file here, or the phones of an utterance overlap.
    """
    textgrid_io = praatio()
    rate = units.info.frame_rate
    with files.atomic_writer(folder / FRAMES) as table:
        for sequence in units:
            end = sequence.num_frames / rate
            tiers = {TIER: _intervals(sequence.codes, rate)}
            if units.info.groups > 1:
                tiers |= {f"group {g}": _intervals(row[None], rate) for g, row in enumerate(sequence.codes, start=1)}
            if phones is not None:
                tiers["phones"] = _phone_intervals(sequence.utt, phones.get(sequence.utt, []), end)
            listed = [
                {"name": name, "class": "IntervalTier", "xmin": 0.0, "xmax": end, "entries": entries}
                for name, entries in tiers.items()
            ]
            content = {"xmin": 0.0, "xmax": end, "tiers": listed}
            # Blank spaces become intervals without a label, as Praat wants them; no interval is too short to be kept.
            options: dict[str, Any] = {"includeBlankSpaces": True, "minimumIntervalLength": None}
            path = _path(folder, sequence.utt)
            if path.exists():
                raise UserError(f"{units.directory}: '{sequence.utt}' and another id share the file {path}; rename one")
            files.atomic_write(path, textgrid_io.getTextgridAsStr(content, "long_textgrid", **options))
            table.write(f"{sequence.utt} {sequence.num_frames}\n")


def _path(folder: Path, utt: str) -> Path:
    return folder / f"{file_name(utt)}.TextGrid"


def _intervals(codes: np.ndarray, rate: float) -> list[Interval]:
    """Return the intervals of the runs of equal frames of `codes` (G, N)."""
    units, lengths = deduplicate(codes)
    times = [0.0, *(np.cumsum(lengths) / rate).tolist()]
    return list(zip(times[:-1], times[1:], format_frames(units).split(" "), strict=True))


def _phone_intervals(utt: str, phones: list[Phone], end: float) -> list[Interval]:
    """Return the intervals of phones, up to `end`."""
    intervals: list[Interval] = []
    for phone in phones:
        start, stop = max(phone.start, intervals[-1][1] if intervals else 0.0), min(phone.start + phone.duration, end)
        if start > phone.start + MAX_OVERLAP:
            raise UserError(f"{utt}: its phones overlap at {phone.start:g} s; correct the alignment")
        if start < stop:
            intervals.append((start, stop, phone.phone))
    return intervals


def read_text_grids(folder: Path, reading: Reading) -> Iterator[UnitSequence]:
    """Yield the utterances of a folder of TextGrids, a unit for each frame, in the order of the ids.

    Raises:
        UserError: praatio is missing, a file is missing or malformed, or its tier is not one of units of these settings
            without gaps.
    """
    table = folder / FRAMES
    if not table.exists():
        for path in sorted(filter(is_text_grid, folder.iterdir())):
            utt = text_of(path.stem.encode(errors="surrogatepass"), str(path))
            yield UnitSequence(utt, _read(path, reading), None)
        return
    for utt, count in stream_table(table, "its number of frames"):
        codes = _read(_path(folder, utt), reading)
        if count != str(codes.shape[1]):
            raise UserError(f"{_path(folder, utt)}: has {codes.shape[1]} frames, not {count} as in {table}; {CURE}")
        yield UnitSequence(utt, codes, None)


def _read(path: Path, reading: Reading) -> np.ndarray:
    """Return the codes (G, N) of a TextGrid."""
    intervals = dict(read_tiers(path)).get(TIER)
    if not intervals:
        raise UserError(f"{path}: has no tier '{TIER}' with intervals; name the tier of the units so")
    ends, units = [0], []
    for number, (start, end, label) in enumerate(sorted(intervals), start=1):
        where = f"{path}: interval {number} of '{TIER}'"
        first, after = (_frame(time, reading.frame_rate, where) for time in (start, end))
        if first != ends[-1] or after <= first:
            raise UserError(f"{where} is from frame {first} to {after}, the one before ends at {ends[-1]}; {CURE}")
        units.append(parse_units(label.encode(), reading.groups, reading.codebook_size, where, CURE))
        if units[-1].shape[1] != 1:
            raise UserError(f"{where} is labelled {label!r}, not with one unit; {CURE}")
        ends.append(after)
    return np.repeat(np.concatenate(units, axis=1), np.diff(ends), axis=1)


def _frame(seconds: float, rate: float, where: str) -> int:
    """Return the number of frames before a time."""
    if not 0 <= seconds < 1e9:
        raise UserError(f"{where} has a boundary at {seconds:g} s; {CURE}")
    frame = round(seconds * rate)
    if abs(seconds * rate - frame) > MAX_OFFSET:
        raise UserError(
            f"{where} has a boundary at {seconds:.6g} s, which is no end of a frame ({rate:g} a second); move it to "
            f"{frame / rate:.6g} s"
        )
    return frame
