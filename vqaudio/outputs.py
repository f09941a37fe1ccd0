"""Outputs never touch what vqaudio did not make: one rule for every command that writes.

A folder that vqaudio makes holds the file `.vqaudio`, its mark, with one or two words that say what the folder is. A
folder without it is written into only while it is empty. A file is replaced only if it bears a sign of vqaudio: the key
`vqaudio` in JSON, the generator in HTML. An output that is, holds or lies in one of the inputs is refused.
"""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from vqaudio import files
from vqaudio.errors import UserError

MARK = ".vqaudio"
GENERATOR = b'<meta name="generator" content="vqaudio">'
"""The line in the head of our HTML pages that says who made them."""
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
        out.mkdir(parents=True, exist_ok=True)
        # The folder is listed before the mark is read: what another job of ours writes there comes after its mark.
        strangers = _content(out)
        made_as = " ".join(mark.read_text(encoding="utf-8").split())[:40] if mark.is_file() else None
    except FileExistsError:
        raise UserError(f"{out}: is a file, but a folder is to be written; {ELSEWHERE}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "the mark is not text"
        raise UserError(f"{out}: cannot be used as a folder ({reason}); {ELSEWHERE}") from None
    if strangers and made_as is None:
        raise UserError(
            f"{out}: holds {strangers[0]}, and no {MARK} says that vqaudio made this folder; {ELSEWHERE}, or put an "
            f"empty file {MARK} into it if everything in it may be replaced"
        )
    if made_as and made_as != kind:
        raise UserError(f"{out}: was made as {made_as}, not as {kind}; {ELSEWHERE}")
    if not made_as:
        files.atomic_write(mark, f"{kind}\n")


def check_new(out: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Check that nothing exists at `out`, where a folder is to be made that no later run completes or replaces.

    Raises:
        UserError: there is something, or `out` lies in an input.
    """
    _refuse_overlap(out, inputs, ())
    if os.path.lexists(out):
        raise UserError(f"{out}: exists; {ELSEWHERE}, or remove it if nothing in it is needed")


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
    if not os.path.lexists(out):
        return
    if not out.is_file():
        what = "a folder" if out.is_dir() else "a device or a broken link"
        raise UserError(f"{out}: is {what}, but a file is to be written; {ELSEWHERE}")
    if out.stat().st_size > 0 and not (ours and ours(out)):  # an empty file holds nothing to lose
        raise UserError(f"{out}: exists, and vqaudio did not make it; remove it or {ELSEWHERE}")


def is_our_json(path: Path) -> bool:
    """Return whether a file is a JSON object with the key `vqaudio`."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "vqaudio" in value


def is_our_page(path: Path) -> bool:
    """Return whether a file is an HTML page of vqaudio."""
    try:
        with path.open("rb") as file:
            return GENERATOR in file.read(1024)
    except OSError:
        return False


def _content(folder: Path) -> list[str]:
    """Return the sorted names in a folder, without files of ours that are being written (see `vqaudio.files`)."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(files.PARTIAL))


def _refuse_overlap(out: Path, inputs: Iterable[Path], outer: Iterable[Path]) -> None:
    """Refuse an output that is, holds or lies in an input; only `outer` inputs may hold it."""
    for source, may_hold in [*((path, False) for path in inputs), *((path, True) for path in outer)]:
        try:
            place, other = out.resolve(), source.resolve()
        except (OSError, RuntimeError) as error:  # a loop of links
            raise UserError(f"{out}: cannot be compared with the input {source} ({error}); {ELSEWHERE}") from None
        if place == other:
            raise UserError(f"{out}: is the input {source}; {ELSEWHERE}")
        if place in other.parents:
            raise UserError(f"{out}: holds the input {source}; {ELSEWHERE}")
        if not may_hold and other in place.parents:
            raise UserError(f"{out}: lies in the input {source}; {ELSEWHERE}")
