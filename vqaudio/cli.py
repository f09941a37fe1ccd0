"""The console script ``vqaudio``: one sub-command a job; heavy imports wait until one is chosen."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from vqaudio import __version__, commands
from vqaudio.errors import JobError, UserError


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 for a failed job, or 2 for a user's mistake."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        code: int | None = args.run(args)
    except (UserError, JobError) as error:
        if args.debug:
            raise
        print(f"vqaudio: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        print("vqaudio: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0  # the reader of our output has seen enough
    return code or 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(prog="vqaudio", description="Discrete units out of raw speech, and speech back out of units.")
    parser.add_argument("--version", action="version", version=f"vqaudio {__version__}")
    parser.set_defaults(debug=False)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    _add_corpus(subparsers)
    _add_data(subparsers)
    _add_train(subparsers)
    _add_extract(subparsers)
    _add_decode(subparsers)
    _add_evaluate(subparsers)
    _add_about(subparsers)
    return parser


def _command(subparsers: Any, name: str, run: Callable[..., int | None] | None, summary: str, example: str) -> Any:
    """Add a command with its help line and an example."""
    command = subparsers.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--debug", action="store_true", help="show a traceback when something fails")
    if run is not None:
        command.set_defaults(run=run)
    return command


def _group(subparsers: Any, name: str, summary: str, example: str) -> Any:
    """Add a command that has commands of its own."""
    group = _command(subparsers, name, None, summary, example)
    return group.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)


def _add_corpus(subparsers: Any) -> None:
    group = _group(subparsers, "corpus", "make a corpus", "vqaudio corpus espeak downloads/mini")
    espeak = _command(
        group,
        "espeak",
        commands.corpus_espeak,
        "speak a small synthetic corpus in VCTK's layout, with phone times (extra: mini)",
        "vqaudio corpus espeak downloads/mini --speakers 8 --utterances 24",
    )
    espeak.add_argument("out", type=Path, metavar="OUT")
    espeak.add_argument("--speakers", type=_count, default=8)
    espeak.add_argument("--utterances", type=_count, default=24, help="sentences a speaker")
    espeak.add_argument("--seed", type=int, default=0)


def _add_data(subparsers: Any) -> None:
    group = _group(subparsers, "data", "check and mend Kaldi data directories", "vqaudio data validate data/train")
    validate = _command(
        group,
        "validate",
        commands.data_validate,
        "list every error of a data directory",
        "vqaudio data validate data/train",
    )
    validate.add_argument("dir", type=Path, metavar="DIR")
    fix = _command(
        group,
        "fix",
        commands.data_fix,
        "sort, drop what cannot be used, keep the originals",
        "vqaudio data fix data/train",
    )
    fix.add_argument("dir", type=Path, metavar="DIR")
    split = _command(
        group,
        "split",
        commands.data_split,
        "cut a data directory into parts",
        "vqaudio data split data/train out --jobs 4",
    )
    split.add_argument("dir", type=Path, metavar="DIR")
    split.add_argument("out", type=Path, metavar="OUT")
    split.add_argument("--jobs", type=_count, required=True, help="number of parts")


def _add_train(subparsers: Any) -> None:
    train = subparsers.add_parser("train", help="train a model; takes Hydra overrides", add_help=False)
    train.add_argument("overrides", nargs=argparse.REMAINDER)
    train.set_defaults(run=commands.train)


def _add_extract(subparsers: Any) -> None:
    extract = _command(
        subparsers,
        "extract",
        commands.extract,
        "write the units of a data directory or of audio files to text",
        "vqaudio extract --model exp/vctk --data data/test --out exp/vctk/units/test",
    )
    extract.add_argument("--model", type=Path, required=True, metavar="EXP", help="model directory")
    extract.add_argument("--data", type=Path, metavar="DIR", help="Kaldi data directory")
    extract.add_argument("wavs", type=Path, nargs="*", metavar="WAV", help="audio files, in place of --data")
    extract.add_argument("--out", type=Path, required=True, metavar="UNITS", help="unit directory to write")
    extract.add_argument("--deduplicate", action="store_true", help="merge runs of a unit; durations.txt keeps them")
    extract.add_argument("--shard", type=_shard, default=(1, 1), metavar="i/N", help="do part i of N")
    extract.add_argument("--allow-failures", action="store_true", help="exit with 0 though some files were broken")
    _add_device(extract)
    extract.add_argument("--jobs", type=_count, default=os.cpu_count() or 1, help="utterances at once")


def _add_decode(subparsers: Any) -> None:
    decode = _command(
        subparsers,
        "decode",
        commands.decode,
        "speak a unit directory",
        "vqaudio decode --model exp/vctk --units exp/vctk/units/test --out wavs --speaker p225",
    )
    decode.add_argument("--model", type=Path, required=True, metavar="EXP", help="model directory")
    decode.add_argument("--units", type=Path, required=True, help="unit directory")
    decode.add_argument("--out", type=Path, required=True, metavar="WAVS", help="folder for <utt>.wav and wav.scp")
    voice = decode.add_mutually_exclusive_group()
    voice.add_argument("--speaker", metavar="ID", help="one voice for all; without a voice, the <unknown> speaker's")
    voice.add_argument("--utt2spk", type=Path, metavar="FILE", help="a voice for each utterance")
    decode.add_argument("--temperature", type=float, default=1.0, help="of sampling; 0 takes the likeliest")
    decode.add_argument("--seed", type=int, default=0)
    _add_device(decode)
    decode.add_argument("--jobs", type=_count, default=os.cpu_count() or 1, help="utterances at once")


def _add_evaluate(subparsers: Any) -> None:
    group = _group(
        subparsers,
        "evaluate",
        "score units or audio",
        "vqaudio evaluate units --units U --alignment phones.ctm",
    )
    units = _command(
        group,
        "units",
        commands.evaluate_units,
        "how much units say about phones, and what they cost",
        "vqaudio evaluate units --units exp/vctk/units/test --alignment data/test/phones.ctm",
    )
    units.add_argument("--units", type=Path, required=True, help="unit directory")
    units.add_argument("--alignment", type=Path, required=True, metavar="CTM", help="phone times")
    units.add_argument("--mapping-units", type=Path, help="unit directory to learn the phone of each unit from")
    units.add_argument("--mapping-alignment", type=Path, metavar="CTM", help="phone times of --mapping-units")
    units.add_argument("--json", type=Path, metavar="OUT", help="write the scores here too")
    audio = _command(
        group,
        "audio",
        commands.evaluate_audio,
        "how close reconstructions are to the originals (extra: eval)",
        "vqaudio evaluate audio --reference data/test/wav.scp --system exp/vctk/wav/test/wav.scp",
    )
    audio.add_argument("--reference", type=Path, required=True, metavar="SCP")
    audio.add_argument("--system", type=Path, required=True, metavar="SCP")
    audio.add_argument("--jobs", type=_count, default=os.cpu_count() or 1, help="utterances at once")
    audio.add_argument("--json", type=Path, metavar="OUT", help="write the scores here too")


def _add_about(subparsers: Any) -> None:
    report = _command(
        subparsers, "report", commands.report, "write one HTML page about a run", "vqaudio report exp/mini_tiny_kmeans"
    )
    report.add_argument("exp", type=Path, metavar="EXP")
    info = _command(subparsers, "info", commands.info, "describe a model directory", "vqaudio info exp/vctk")
    info.add_argument("exp", type=Path, metavar="EXP")
    _command(subparsers, "doctor", commands.doctor, "check the installation and say how to mend it", "vqaudio doctor")


def _add_device(command: Any) -> None:
    command.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where the network runs")


def _count(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    """Read i/N with 1 <= i <= N."""
    part, _, total = text.partition("/")
    if not (part.isdigit() and total.isdigit() and 1 <= int(part) <= int(total)):
        raise argparse.ArgumentTypeError(f"{text!r} must be i/N with 1 <= i <= N, e.g. 2/4")
    return int(part), int(total)
