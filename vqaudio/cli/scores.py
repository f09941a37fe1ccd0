"""What the commands of `vqaudio evaluate` share: options, and the file of scores."""

from pathlib import Path
from typing import Any


def add_whisper(command: Any) -> None:
    """Add `--whisper` and `--language`."""
    command.add_argument(
        "--whisper", type=Path, metavar="DIR", help="CTranslate2 model of Whisper (default: $VQAUDIO_WHISPER)"
    )
    command.add_argument("--language", default="en", metavar="CODE", help="language that is spoken (default: en)")


def add_silence(command: Any) -> None:
    """Add `--silence`."""
    command.add_argument(
        "--silence",
        action="append",
        default=[],
        metavar="LABEL",
        help="label of silence in the alignment, besides those of the usual aligners; may be repeated",
    )


def add_json(command: Any) -> None:
    """Add `--json`."""
    command.add_argument("--json", type=Path, metavar="OUT", help="also write the scores to this file")


def check_json(out: Path | None, *inputs: Path) -> None:
    """Check that scores may be written to `out`, before they are computed."""
    from vqaudio.outputs import check_file, is_our_json

    if out is not None:
        check_file(out, inputs=inputs, ours=is_our_json)


def write_scores(scores: dict[str, Any], out: Path | None) -> None:
    """Write scores as JSON, with the version of vqaudio."""
    from vqaudio import __version__, files

    if out is not None:
        files.write_json(out, {"vqaudio": __version__, **scores})
