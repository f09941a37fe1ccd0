"""Reads the lines of other tools' files, and checks the names and units on them."""

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vqaudio.errors import UserError
from vqaudio.units.sequence import UnitSequence
from vqaudio.units.text import parse_durations, parse_units

BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")
"""Characters that end a name, or a line, in one tool or another."""
CURE = "correct the line"


class Reading(NamedTuple):
    """How to read a file: `groups`, `codebook_size` and `frame_rate` (Hz) of its units.

    With `whole_paths`, the id is the path without its ".wav".
    """

    groups: int
    codebook_size: int
    frame_rate: float
    whole_paths: bool


def part(path: Path, suffix: str) -> Path:
    """Return `path` with `suffix` added to its name."""
    return path.with_name(path.name + suffix)


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the number (from 1) and the content of each line; a carriage return before the LF is dropped.

    A file whose name ends in .gz is unpacked.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip(b"\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); check the path"
        ) from None


def units_of(body: bytes, reading: Reading, where: str) -> np.ndarray:
    """Parse the units (G, U) of a line."""
    return parse_units(body, reading.groups, reading.codebook_size, where, CURE)


def text_of(name: bytes, where: str) -> str:
    """Return a name as an utterance id; raise if a unit directory cannot hold it."""
    try:
        utt = name.decode()
    except UnicodeDecodeError:
        raise UserError(f"{where}: the name is not UTF-8; convert the file (iconv -t UTF-8)") from None
    if not utt or BREAKS.search(utt):
        raise UserError(f"{where}: {utt!r} cannot be an utterance id (empty, or with white space); {CURE}")
    return utt


def json_objects(path: Path, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the content of each line, which has "units" and a string as `key`."""
    for number, line in read_lines(path):
        where = f"{path}:{number}"
        try:
            values = json.loads(line)
            name, _ = values[key], values["units"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UserError(
                f'{where}: not an object with "{key}" and "units"; {CURE}, or give another --from'
            ) from None
        if not isinstance(name, str):
            raise UserError(f'{where}: "{key}" is not a string; {CURE}')
        yield where, values


def json_sequence(utt: str, values: Mapping[str, Any], reading: Reading, where: str) -> UnitSequence:
    """Return the utterance of an object with "units", and "durations" if they are deduplicated."""
    units = json_units(values, reading, f"{where}: {utt}")
    if values.get("durations") is None:
        return UnitSequence(utt, units, None)
    tokens = json_tokens(values["durations"], f'{where}: {utt}: "durations"')
    return UnitSequence(utt, units, parse_durations(tokens, units.shape[1], where, CURE))


def json_units(values: Mapping[str, Any], reading: Reading, where: str) -> np.ndarray:
    """Parse the units (G, U) of a line of JSON."""
    return units_of(json_tokens(values["units"], f'{where}: "units"'), reading, where)


def json_tokens(values: object, where: str) -> bytes:
    """Return a list of whole numbers, or of lists of them, as the tokens of a line."""
    items = values if isinstance(values, list) else [values]
    rows = [item if isinstance(item, list) else [item] for item in items]
    if not isinstance(values, list) or any(type(code) is not int for row in rows for code in row):
        raise UserError(f"{where} is not a list of whole numbers, or of such lists; {CURE}")
    return " ".join("-".join(map(str, row)) for row in rows).encode()


def json_fields(sequence: UnitSequence) -> dict[str, Any]:
    """Return what `json_sequence` reads: a list with a number for each unit, or with a list of G of them."""
    units = sequence.units[0] if len(sequence.units) == 1 else sequence.units.T
    fields = {"units": units.tolist()}
    return fields if sequence.durations is None else fields | {"durations": sequence.durations.tolist()}
