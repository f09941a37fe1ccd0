"""Reads phone alignments in the formats that aligners write: CTM and Praat TextGrid."""

from collections.abc import Collection
from pathlib import Path

from vqaudio.datadir import Phone, read_ctm
from vqaudio.errors import UserError

TIERS = ("phones", "phone", "MAU")
"""Tiers that hold phones: of the Montreal Forced Aligner, of others, of WebMAUS."""
SIL = "SIL"
"""Label of silence for intervals without a label and for labels that the user names."""


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
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if is_text_grid(file))
        if not files:
            raise UserError(f"{path}: holds no .TextGrid; give a CTM file or a folder of TextGrids")
        alignment: dict[str, list[Phone]] = {}
        for file in files:
            if file.stem in alignment:
                raise UserError(f"{file}: a second TextGrid of {file.stem}; give every utterance its own name")
            alignment[file.stem] = read_text_grid(file)
        return alignment
    return {path.stem: read_text_grid(path)} if is_text_grid(path) else read_ctm(path)


def is_text_grid(path: Path) -> bool:
    """Return whether a file is a TextGrid by its name."""
    return path.suffix.lower() == ".textgrid"


def default_utt2spk(alignment: Path) -> Path | None:
    """Return the file `utt2spk` in or next to a folder of alignments, or next to a file; None if there is none."""
    for folder in ([alignment] if alignment.is_dir() else []) + [alignment.parent]:
        if (folder / "utt2spk").is_file():
            return folder / "utt2spk"
    return None


def read_text_grid(path: Path) -> list[Phone]:
    """Read the phones of one TextGrid, long or short text format.

    Raises:
        UserError: as in `read_alignment`.
    """
    try:
        from praatio import textgrid
        from praatio.data_classes.interval_tier import IntervalTier
    except ImportError:
        raise UserError('praatio, which reads TextGrids, is missing; pip install "vqaudio[eval]"') from None
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="silence")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except Exception as error:  # praatio has no error class for text that is no TextGrid
        raise UserError(f"{path}: not a TextGrid ({type(error).__name__}: {error}); export it again") from None
    tiers = {tier.name: tier for tier in grid.tiers if isinstance(tier, IntervalTier)}
    name = next((name for name in TIERS if name in tiers), None)
    if name is None and len(tiers) != 1:
        raise UserError(f"{path}: which of the tiers {sorted(tiers)} holds phones is unclear; name it {TIERS[0]!r}")
    tier = tiers[name] if name else next(iter(tiers.values()))
    return [
        Phone(float(start), float(end) - float(start), label.strip().replace(" ", "_") or SIL)
        for start, end, label in tier.entries
    ]
