"""`vqaudio units`: units to and from other tools."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqaudio.cli.parser import command, command_group, count
from vqaudio.errors import UserError

if TYPE_CHECKING:
    from vqaudio.units import UnitsInfo

KINDS = ["vqaudio", "fairseq", "gslm", "jsonl", "espnet"]


def add_units(subparsers: Any) -> None:
    """Add `units`."""
    group = command_group(
        subparsers, "units", "convert units", "vqaudio units convert units/test test.jsonl --to jsonl"
    )
    convert = command(
        group,
        "convert",
        run_units_convert,
        "convert a unit directory to the file of another tool, or back, or one file to another",
        "vqaudio units convert a.km units/a --to vqaudio --sample-rate 16000 --hop-length 320 --codebook-size 100",
    )
    convert.add_argument(
        "source", type=Path, metavar="IN", help="unit directory or file; fairseq: NAME of .tsv and .km"
    )
    convert.add_argument("out", type=Path, metavar="OUT", help="the same")
    convert.add_argument("--to", choices=KINDS, required=True)
    convert.add_argument("--from", choices=KINDS, dest="from_", help="what IN is, where it does not show")
    convert.add_argument("--sample-rate", type=count, metavar="HZ", help="of the audio that the units of IN came from")
    convert.add_argument("--hop-length", type=count, metavar="SAMPLES", help="of that audio, for a frame")
    convert.add_argument("--codebook-size", type=count, metavar="K", help="codes of a group")
    convert.add_argument("--groups", type=count, metavar="G", help="codes of a frame; 1 unless given")
    convert.add_argument("--model", type=Path, metavar="EXP", help="in place of these four: the model of the units")
    convert.add_argument(
        "--durations", type=Path, metavar="FILE", help="'utt d1 d2 …' of deduplicated units, in frames"
    )


def run_units_convert(args: argparse.Namespace) -> None:
    """Convert units."""
    from vqaudio.units.conversion import convert

    info = convert(
        args.source, args.out, to=args.to, from_=args.from_, settings=_settings(args), durations=args.durations
    )
    print(f"{info.num_utterances} utterances, {info.num_frames} frames in {args.out}")


def _settings(args: argparse.Namespace) -> "UnitsInfo | None":
    """Return what the options say of the units; None when they say nothing."""
    needed = (args.sample_rate, args.hop_length, args.codebook_size)
    if args.model is not None:
        from vqaudio.codec import load
        from vqaudio.units.extraction import settings_of

        if any((*needed, args.groups)):
            raise UserError("units convert: --model says what the units are: leave the other options out")
        return settings_of(load(args.model), deduplicate=False)
    if not any((*needed, args.groups)):
        return None
    if not all(needed):
        raise UserError("units convert: give all of --sample-rate, --hop-length and --codebook-size, or --model")
    from vqaudio.units.conversion import stated

    return stated(*needed, args.groups or 1)
