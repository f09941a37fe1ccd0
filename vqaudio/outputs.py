"""Outputs never touch what vqaudio did not make: one rule for every command that writes.

A folder that vqaudio makes holds the file `.vqaudio`, its mark, with one word that says what the folder is. A folder
without it is written into only while it is empty. A file is replaced only if it bears a sign of vqaudio. An output that
is, holds or lies in one of the inputs is refused.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from vqaudio import files
from vqaudio.errors import UserError

MARK = ".vqaudio"
ELSEWHERE = "choose another place"


def claim_folder(out: Path, kind: str, *, inputs: Iterable[Path] = (), outer: Iterable[Path] = ()) -> None:
    """Make the folder `out` and mark it as vqaudio's, or check that an existing one may be written into.

    Args:
        out: the output.
        kind: what it holds, one or two words for people: `units`, `data split`.
        inputs: files and folders that the command reads.
        outer: folders that the command reads and whose outputs may lie inside them, such as a model directory.

    Raises:
        UserError: `out` is, holds or lies in an input, is not a folder, holds files that vqaudio did not make, or was
            made as something else.
    """
    _refuse_overlap(out, inputs, outer)
    mark = out / MARK
    try:
        if out.is_dir():
            stranger = None if mark.is_file() else next(iter(sorted(out.iterdir())), None)
        else:
            out.mkdir(parents=True, exist_ok=True)
            stranger = None
        made_as = mark.read_text(encoding="utf-8").strip() if mark.is_file() else ""
    except FileExistsError:
        raise UserError(f"{out}: is a file, but a folder is to be written; {ELSEWHERE}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "the mark is not text"
        raise UserError(f"{out}: cannot be used as a folder ({reason}); {ELSEWHERE}") from None
    if stranger is not None:
        raise UserError(
            f"{out}: holds {stranger.name}, and no {MARK} says that vqaudio made this folder; {ELSEWHERE}, or put an "
            f"empty file {MARK} into it if everything in it may be replaced"
        )
    if made_as not in ("", kind):
        raise UserError(f"{out}: was made as {made_as}, not as {kind}; {ELSEWHERE}")
    if not made_as:
        files.atomic_write(mark, f"{kind}\n")


def check_file(out: Path, *, inputs: Iterable[Path] = (), ours: Callable[[Path], bool] | None = None) -> None:
    """Check that the file `out` may be written.

    Args:
        out: the output.
        inputs: files and folders that the command reads.
        ours: says whether an existing file bears a sign of vqaudio; without it none does.

    Raises:
        UserError: `out` is or lies in an input, is no plain file, or exists and is not vqaudio's.
    """
    _refuse_overlap(out, inputs, ())
    if out.is_dir():
        raise UserError(f"{out}: is a folder, but a file is to be written; {ELSEWHERE}")
    # A device such as /dev/stdout is nobody's file; an empty file holds nothing to lose.
    if out.is_file() and out.stat().st_size > 0 and not (ours and ours(out)):
        raise UserError(f"{out}: exists, and vqaudio did not make it; remove it or {ELSEWHERE}")


def _refuse_overlap(out: Path, inputs: Iterable[Path], outer: Iterable[Path]) -> None:
    """Refuse an output that is, holds or lies in an input; only `outer` inputs may hold it."""
    place = out.resolve()
    for source, may_hold in [*((path, False) for path in inputs), *((path, True) for path in outer)]:
        other = source.resolve()
        if place == other:
            raise UserError(f"{out}: is the input {source}; {ELSEWHERE}")
        if place in other.parents:
            raise UserError(f"{out}: holds the input {source}; {ELSEWHERE}")
        if not may_hold and other in place.parents:
            raise UserError(f"{out}: lies in the input {source}; {ELSEWHERE}")
