"""`vqaudio units`: converts units to and from the files of other tools."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqaudio.cli.parser import command, command_group, count
from vqaudio.cli.unit_statistics import add_unit_statistics
from vqaudio.defaults import UNIT_FORMATS
from vqaudio.errors import UserError
from vqaudio.released import model_folder

if TYPE_CHECKING:
    from vqaudio.units import UnitsInfo


def add_units(subparsers: Any) -> None:
    """Add `units`."""
    group = command_group(
        subparsers,
        "units",
        "convert and count units, and model them as a language",
        "vqaudio units convert units/test test.jsonl --to jsonl",
    )
    convert = command(
        group,
        "convert",
        run_units_convert,
        "convert a unit directory to the file of another tool, or back, or one file to another",
        "vqaudio units convert a.km units/a --to vqaudio --sample-rate 16000 --hop-length 320 --codebook-size 100",
    )
    convert.add_argument(
        "source",
        type=Path,
        metavar="IN",
        help="unit directory, file, or folder of TextGrids; fairseq: NAME of NAME.tsv and NAME.km",
    )
    convert.add_argument("out", type=Path, metavar="OUT", help="unit directory, file or folder to write")
    convert.add_argument("--to", choices=UNIT_FORMATS, required=True, help="format of OUT")
    convert.add_argument("--from", choices=UNIT_FORMATS, dest="from_", help="format of IN, if it cannot be inferred")
    convert.add_argument(
        "--sample-rate", type=count, metavar="HZ", help="sample rate of the audio that the units come from"
    )
    convert.add_argument("--hop-length", type=count, metavar="SAMPLES", help="samples per frame")
    convert.add_argument("--codebook-size", type=count, metavar="K", help="codes per group")
    convert.add_argument("--groups", type=count, metavar="G", help="codes per frame (default: 1)")
    convert.add_argument(
        "--model", type=model_folder, metavar="EXP", help="model that made the units, instead of these four options"
    )
    convert.add_argument(
        "--durations", type=Path, metavar="FILE", help="'utt d1 d2 …' in frames, if the units are deduplicated"
    )
    convert.add_argument(
        "--data", type=Path, metavar="DIR", help="lhotse, parquet: data directory with recordings, speakers and texts"
    )
    convert.add_argument(
        "--alignment", type=Path, metavar="FILE", help="textgrid: phones for a second tier, CTM or TextGrids"
    )
    add_unit_statistics(group)


def run_units_convert(args: argparse.Namespace) -> None:
    """Convert units."""
    from vqaudio.units.conversion import convert

    info = convert(
        args.source,
        args.out,
        to=args.to,
        from_=args.from_,
        settings=_settings(args),
        durations=args.durations,
        data=args.data,
        alignment=args.alignment,
    )
    print(f"{info.num_utterances} utterances, {info.num_frames} frames in {args.out}")


def _settings(args: argparse.Namespace) -> "UnitsInfo | None":
    """Return the settings that the options describe; None without options."""
    needed = {name: getattr(args, name) for name in ("sample_rate", "hop_length", "codebook_size")}
    given = [args.groups, *needed.values()]
    if args.model is not None:
        from vqaudio.codec import load
        from vqaudio.units.extraction import settings_of

        if any(given):
            raise UserError("units convert: --model already describes the units; drop the other options")
        return settings_of(load(args.model), deduplicate=False)
    if not any(given):
        return None
    if not all(needed.values()):
        raise UserError("units convert: give all of --sample-rate, --hop-length and --codebook-size, or --model")
    from vqaudio.units import UnitsInfo

    return UnitsInfo.of(**needed, groups=args.groups or 1)
