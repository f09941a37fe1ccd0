"""Reads phone alignments in the formats that aligners write: CTM and Praat TextGrid."""

import math
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Collection
from pathlib import Path
from typing import Any

from vqaudio.datadir import Phone, read_ctm
from vqaudio.errors import UserError

TIERS = ("phones", "phone", "MAU")
"""Tiers that hold phones: of the Montreal Forced Aligner, of others, of WebMAUS."""
SIL = "SIL"
"""Label of silence for intervals without a label and for labels that the user names."""

Tier = tuple[str, list[tuple[float, float, str]]]
"""Name of a tier, and start (s), end (s) and label of its intervals."""


def read_alignment(path: Path, *, silence: Collection[str] = ()) -> dict[str, list[Phone]]:
    """Read the phones of utterances from a CTM file, a `.TextGrid` file, or a folder of TextGrids at any depth.

    The name of a TextGrid without its suffix is the utterance id. Phones are in the tier `phones`, `phone` or `MAU`, or
    in the only tier of intervals; intervals without a label are silence.

    Args:
        path: file or folder.
        silence: labels of silence besides those of `vqaudio.metrics.symbols.SILENCE`; they are replaced by `SIL`.

    Raises:
        UserError: a file is missing or malformed, has no such tier, or two have the same utterance; praatio, which
            reads TextGrids (extra `eval`), is missing.
    """
    alignment = _read(path)
    if not silence:
        return alignment
    return {
        utt: [phone._replace(phone=SIL) if phone.phone in silence else phone for phone in phones]
        for utt, phones in alignment.items()
    }


def _read(path: Path) -> dict[str, list[Phone]]:
    """Read the phones of utterances as they are labelled."""
    if not path.is_dir():
        return {path.stem: read_text_grid(path)} if is_text_grid(path) else read_ctm(path)
    files = sorted(file for file in path.rglob("*") if is_text_grid(file))
    if not files:
        raise UserError(f"{path}: holds no .TextGrid; give a CTM file or a folder of TextGrids")
    alignment: dict[str, list[Phone]] = {}
    problems = []
    for file in files:
        if file.stem in alignment:
            raise UserError(f"{file}: a second TextGrid of {file.stem}; give every utterance its own name")
        alignment[file.stem] = []
        try:
            alignment[file.stem] = read_text_grid(file)
        except UserError as error:
            problems.append(str(error))
    if problems:
        more = f" (and {len(problems) - 1} more of {len(files)} TextGrids are unusable)" if len(problems) > 1 else ""
        raise UserError(problems[0] + more)
    return alignment


def is_text_grid(path: Path) -> bool:
    """Return whether a file is a TextGrid by its name; the twins `._<name>` that macOS makes are not."""
    return path.suffix.lower() == ".textgrid" and not path.name.startswith("._")


def default_utt2spk(alignment: Path) -> Path | None:
    """Return the file `utt2spk` in or next to a folder of alignments, or next to a file; None if there is none."""
    for folder in ([alignment] if alignment.is_dir() else []) + [alignment.parent]:
        if (folder / "utt2spk").is_file():
            return folder / "utt2spk"
    return None


def read_text_grid(path: Path) -> list[Phone]:
    """Read the phones of one TextGrid, long or short text format, sorted by their start.

    As in a CTM file, intervals may overlap, leave gaps or have no length.

    Raises:
        UserError: as in `read_alignment`.
    """
    name, entries = _phone_tier(path, read_tiers(path))
    for start, end, _ in entries:
        if not 0 <= start <= end < math.inf:
            raise UserError(
                f"{path}: tier {name!r}: an interval begins at {start:g} s and ends at {end:g} s; correct the times"
            )
    return [Phone(start, end - start, label.strip().replace(" ", "_") or SIL) for start, end, label in sorted(entries)]


def read_tiers(path: Path) -> list[Tier]:
    """Read the tiers of intervals of one TextGrid as they are; intervals without a label have the label "".

    Raises:
        UserError: the file cannot be read, or is no TextGrid; praatio is missing.
    """
    textgrid_io = praatio()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    try:
        text = content.decode("utf-16" if content.startswith((BOM_UTF16_BE, BOM_UTF16_LE)) else "utf-8-sig")
        # Its text is parsed, but no `Textgrid` is made: that refuses intervals that overlap by the rounding of floats.
        tiers = [
            (tier["name"], [(float(start), float(end), label) for start, end, label in tier["entries"]])
            for tier in textgrid_io.parseTextgridStr(text, includeEmptyIntervals=True)["tiers"]
            if tier["class"] == "IntervalTier"
        ]
    except Exception as error:  # praatio has no error class for text that is no TextGrid
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path}: not a TextGrid ({reason}); export it again") from None
    return tiers


def praatio() -> Any:
    """Return the module of praatio that parses and formats TextGrids.

    Raises:
        UserError: praatio is missing.
    """
    try:
        from praatio.utilities import textgrid_io
    except ImportError:
        raise UserError('praatio, which reads TextGrids, is missing; pip install "vqaudio[eval]"') from None
    return textgrid_io


def _phone_tier(path: Path, tiers: list[Tier]) -> Tier:
    """Return the tier of phones: the one named so, or the only one."""
    names = [name for name, _ in tiers]
    known = next((name for name in TIERS if name in names), None)
    found = [tier for tier in tiers if tier[0] == known] if known else tiers
    if len(found) != 1:
        raise UserError(
            f"{path}: which of the tiers {sorted(names)} holds phones is unclear; name one of them {TIERS[0]!r}"
        )
    return found[0]
