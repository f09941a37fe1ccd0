"""`vqaudio export`, `stream encode` and `stream decode`: a model in other programs and in pipes."""

import argparse
import contextlib
import itertools
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vqaudio.cli.parser import MODEL, command, command_group, count
from vqaudio.cli.streams import output_failed
from vqaudio.defaults import SEED, TEMPERATURE
from vqaudio.errors import UserError
from vqaudio.released import model_folder

if TYPE_CHECKING:
    import numpy as np

    from vqaudio.codec import Codec

ALONE = "give the units of one utterance alone, such as those of `vqaudio stream encode`"


def add_deployment(subparsers: Any) -> None:
    """Add `export` and the commands of `stream`."""
    export = command(
        subparsers,
        "export",
        run_export,
        "write the encoder and the codebook as an ONNX file: waveform in, units out (the WaveNet stays in vqaudio)",
        "vqaudio export --model exp/vctk --out vctk.onnx",
    )
    export.add_argument("--model", type=model_folder, required=True, metavar="EXP", help=MODEL)
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write (extra: export)")
    stream = command_group(
        subparsers,
        "stream",
        "speech from standard input to units on standard output, and back",
        "vqaudio stream encode --model exp/vctk < a.wav | vqaudio stream decode --model exp/vctk > b.wav",
    )
    encode = command(
        stream,
        "encode",
        run_encode,
        "print the units of a recording on standard input (< speech.wav), those of `extract`, in one line",
        "vqaudio stream encode --model exp/vctk --level-seconds 3",
    )
    encode.add_argument("--model", type=model_folder, required=True, metavar="EXP", help=MODEL)
    encode.add_argument(
        "--level-seconds",
        type=float,
        metavar="S",
        help="measure the level on the first S seconds, and print units while speech arrives, as WAV (default: measure "
        "all of it first, and print at the end)",
    )
    encode.add_argument(
        "--raw", type=count, metavar="HZ", help="16-bit little-endian samples of one channel arrive, without a header"
    )
    encode.add_argument(
        "--change-penalty", type=float, default=0.0, metavar="LAMBDA", help="as of `extract` (default: %(default)g)"
    )
    decode = command(
        stream,
        "decode",
        run_decode,
        "write the speech of units on standard input (< units > speech.wav), as WAV, while they arrive",
        "vqaudio stream decode --model exp/vctk --speaker p225",
    )
    decode.add_argument("--model", type=model_folder, required=True, metavar="EXP", help=MODEL)
    decode.add_argument("--speaker", metavar="ID", help="voice (default: <unknown>)")
    decode.add_argument("--temperature", type=float, default=TEMPERATURE, metavar="T", help="(default: %(default)g)")
    decode.add_argument("--seed", type=int, default=SEED, metavar="N", help="of sampling (default: %(default)s)")


def run_export(args: argparse.Namespace) -> None:
    """Write an ONNX file."""
    from vqaudio.export import export

    export(args.model, args.out)


def run_encode(args: argparse.Namespace) -> None:
    """Print the units of speech on standard input."""
    from vqaudio.codec import load
    from vqaudio.units.text import format_frames

    source, seconds = _input("audio"), args.level_seconds
    if seconds is not None and not 0 < seconds < math.inf:
        raise UserError(f"--level-seconds is {seconds:g}; give more than 0, such as 3")
    codec = load(args.model)
    if seconds is not None and codec.level_db is None:
        raise UserError("--level-seconds: the model takes speech at any level; leave it out")
    if seconds is None and codec.level_db is not None:
        pieces = iter([_encode_all(codec, source, args.raw, args.change_penalty)])
    else:
        pieces = _encode_arriving(codec, source, args.raw, args.change_penalty, seconds)
    space = ""
    for codes in pieces:
        sys.stdout.write(space + format_frames(codes))
        sys.stdout.flush()
        space = " "
        if output_failed():
            return
    sys.stdout.write("\n")


def _input(what: str) -> BinaryIO:
    """Return standard input, if something is piped into it."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError(f"standard input: is a terminal; pipe {what} into the command")
    return sys.stdin.buffer


def _encode_all(codec: "Codec", source: BinaryIO, raw: int | None, change_penalty: float) -> "np.ndarray":
    """Return the codes of a whole file on standard input, of any format that `extract` reads."""
    import shutil

    from vqaudio.audio.pipes import wav_header

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input"
        with path.open("wb") as file:
            file.write(wav_header(raw) if raw else b"")
            shutil.copyfileobj(source, file)
        try:
            return codec.encode_file(path, change_penalty=change_penalty)
        except UserError as error:
            raise UserError(str(error).replace(str(path), "standard input")) from None


def _encode_arriving(
    codec: "Codec", source: BinaryIO, raw: int | None, change_penalty: float, level_seconds: float | None
) -> Iterator["np.ndarray"]:
    """Return an iterator over the codes of WAV that is still arriving on standard input."""
    import numpy as np

    from vqaudio.audio.pipes import Format, read_header, read_samples

    form, size = (Format(raw, 1, "PCM_16", 2), None) if raw else read_header(source)
    pieces = read_samples(source, form, size)
    if codec.level_db is None:
        return codec.encode_stream(pieces, form.sample_rate, change_penalty=change_penalty)
    assert level_seconds is not None
    samples = max(1, round(level_seconds * form.sample_rate))
    first = np.zeros(0, np.float32)
    while len(first) < samples and (piece := next(pieces, None)) is not None:
        first = np.concatenate([first, piece])
    if not len(first):
        raise UserError("standard input: has no samples; check the program that writes it")
    level = codec.measure_level(first[:samples], form.sample_rate)
    return codec.encode_stream(itertools.chain([first], pieces), form.sample_rate, level, change_penalty)


def run_decode(args: argparse.Namespace) -> None:
    """Write the speech of units on standard input."""
    import numpy as np

    from vqaudio.audio.pipes import complete_header, wav_header
    from vqaudio.codec import load

    source, out = _input("units"), sys.stdout.buffer
    if sys.stdout.isatty():
        raise UserError("standard output: is a terminal; redirect it, such as > speech.wav")
    codec = load(args.model)
    speech = codec.decode_stream(_units(source, codec), args.speaker, args.seed, args.temperature)
    start = size = clipped = 0
    with contextlib.suppress(OSError):  # a pipe has no place
        start = os.lseek(out.fileno(), 0, os.SEEK_CUR)
    for piece in speech:
        pcm = np.rint(piece * 32768.0)
        clipped += int(((pcm < -32768) | (pcm > 32767)).sum())
        content = pcm.clip(-32768, 32767).astype("<i2").tobytes()
        out.write(content if size else wav_header(codec.sample_rate) + content)
        out.flush()
        size += len(content)
        if output_failed():
            return
    complete_header(out.fileno(), start, codec.sample_rate, size)
    if clipped:
        print(f"{clipped} samples were outside −1..1 and are clipped", file=sys.stderr)


def _units(source: BinaryIO, codec: "Codec") -> Iterator["np.ndarray"]:
    """Yield the codes (G, n) of units that arrive as text.

    Raises:
        UserError: they are not units of the model, or of several utterances.
    """
    from vqaudio.units.text import parse_units

    rest = b""
    while content := source.read1(1 << 16):  # type: ignore[attr-defined]
        line, end, more = (rest + content).partition(b"\n")
        text, rest = (line, b"") if end else (line[: line.rfind(b" ") + 1], line[line.rfind(b" ") + 1 :])
        if text.strip():
            yield parse_units(text, codec.groups, codec.codebook_size, "standard input", ALONE)
        if end:
            if (more + source.read()).strip():
                raise UserError(f"standard input: has several lines; {ALONE}")
            return
    if rest:
        yield parse_units(rest, codec.groups, codec.codebook_size, "standard input", ALONE)
