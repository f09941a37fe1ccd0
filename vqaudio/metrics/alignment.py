"""Phone alignments in the formats that aligners write: CTM and Praat TextGrid."""

from pathlib import Path

from vqaudio.datadir import Phone, read_ctm
from vqaudio.errors import UserError

TIERS = ("phones", "phone", "MAU")
"""Tiers that hold phones: of the Montreal Forced Aligner, of others, of WebMAUS."""
EMPTY = "SIL"  # what an interval without a label is


def read_alignment(path: Path) -> dict[str, list[Phone]]:
    """Read the phones of utterances: a CTM file, a `.TextGrid` file, or a folder of TextGrids, however deep.

    The name of a TextGrid without its ending is its utterance. Phones stand in the tier `phones`, `phone` or `MAU`, or
    in the only tier of intervals; intervals without a label are silence.

    Raises:
        UserError: a file is missing or malformed, has no such tier, or two are of the same utterance; praatio, which
            reads TextGrids (extra `eval`), is missing.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if is_text_grid(file))
        if not files:
            raise UserError(f"{path}: holds no .TextGrid; name a CTM file or a folder of TextGrids")
        alignment: dict[str, list[Phone]] = {}
        for file in files:
            if file.stem in alignment:
                raise UserError(f"{file}: a second TextGrid of {file.stem}; give every utterance its own name")
            alignment[file.stem] = read_text_grid(file)
        return alignment
    return {path.stem: read_text_grid(path)} if is_text_grid(path) else read_ctm(path)


def is_text_grid(path: Path) -> bool:
    """Tell by its name whether a file is a TextGrid."""
    return path.suffix.lower() == ".textgrid"


def default_utt2spk(alignment: Path) -> Path | None:
    """Return the file `utt2spk` in a folder of alignments or beside it, None where there is none."""
    for folder in ([alignment] if alignment.is_dir() else []) + [alignment.parent]:
        if (folder / "utt2spk").is_file():
            return folder / "utt2spk"
    return None


def read_text_grid(path: Path) -> list[Phone]:
    """Read the phones of one TextGrid, long or short text format.

    Raises:
        UserError: as `read_alignment`.
    """
    try:
        from praatio import textgrid
        from praatio.data_classes.interval_tier import IntervalTier
    except ImportError:
        raise UserError('praatio is missing, which reads TextGrids: pip install "vqaudio[eval]"') from None
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="silence")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # praatio has no class of errors for text that is no TextGrid
        raise UserError(f"{path}: not a TextGrid ({type(error).__name__}: {error}); export it again") from None
    tiers = {tier.name: tier for tier in grid.tiers if isinstance(tier, IntervalTier)}
    name = next((name for name in TIERS if name in tiers), None)
    if name is None and len(tiers) != 1:
        raise UserError(f"{path}: which of its tiers {sorted(tiers)} holds phones? name it {TIERS[0]!r}")
    tier = tiers[name] if name else next(iter(tiers.values()))
    return [
        Phone(float(start), float(end) - float(start), label.strip().replace(" ", "_") or EMPTY)
        for start, end, label in tier.entries
    ]
