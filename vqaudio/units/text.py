"""Formats units as text, and parses them: `utt 71-3 12-40`."""

import re

import numpy as np

from vqaudio.errors import UserError

NUMBER = re.compile(rb"[0-9]{1,12}")
EXTRACT_AGAIN = "extract the units again"


def format_units(utt: str, units: np.ndarray) -> bytes:
    """Return the line of `units.txt` for `units` (G, U): `utt 71-3 12-40`."""
    return f"{utt} {format_frames(units)}\n".encode()


def format_frames(units: np.ndarray) -> str:
    """Return `units` (G, U) as text: `71-3 12-40`."""
    if units.shape[0] == 1:
        return " ".join(map(str, units[0].tolist()))
    return " ".join("-".join(map(str, frame)) for frame in units.T.tolist())


def parse_units(body: bytes, groups: int, codebook_size: int, where: str, cure: str = EXTRACT_AGAIN) -> np.ndarray:
    """Parse `71-3 12-40` into units (G, U); an error message begins with `where` and ends with `cure`.

    Raises:
        UserError: there are no units, the number of groups differs, or a unit lies outside the codebook.
    """
    tokens = body.split()
    if not tokens:
        raise UserError(f"{where} has no units; {cure}")
    pattern = re.compile(rb"[0-9]{1,12}(-[0-9]{1,12}){%d}" % (groups - 1))
    for token in tokens:
        if not pattern.fullmatch(token):
            shape = "a number" if groups == 1 else f"{groups} numbers joined by '-'"
            raise UserError(f"{where}: {printable(token)!r} is not {shape}; {cure}")
    units = np.array(b" ".join(tokens).replace(b"-", b" ").split(), dtype=np.int64)
    if units.max() >= codebook_size:
        raise UserError(
            f"{where}: unit {units.max()} lies outside the codebook of {codebook_size} (0 to {codebook_size - 1}); "
            f"{cure}"
        )
    return units.reshape(-1, groups).T


def parse_durations(body: bytes, units: int, where: str, cure: str = EXTRACT_AGAIN) -> np.ndarray:
    """Parse the durations (U,), in frames, of `units` units; messages as in `parse_units`.

    Raises:
        UserError: a duration is not a whole number of at least 1, or their number is not `units`.
    """
    tokens = body.split()
    for token in tokens:
        if not NUMBER.fullmatch(token) or int(token) < 1:
            raise UserError(
                f"{where}: duration {printable(token)!r} is not a whole number of frames of at least 1; {cure}"
            )
    if len(tokens) != units:
        raise UserError(f"{where}: {len(tokens)} durations for {units} units; {cure}")
    return np.array(tokens, dtype=np.int64)


def printable(value: bytes) -> str:
    """Decode bytes of a file for a message; bytes that are not UTF-8 become �."""
    return value.decode(errors="replace")
