"""`vqaudio data`: import, validate, fix and split data directories."""

import argparse
import sys
from pathlib import Path
from typing import Any

from vqaudio.cli.parser import command, command_group, count


def add_data(subparsers: Any) -> None:
    """Add `data`."""
    group = command_group(
        subparsers, "data", "import, validate, fix and split Kaldi data directories", "vqaudio data validate data/train"
    )
    validate = command(
        group,
        "validate",
        run_data_validate,
        "list every error of a data directory and its recordings",
        "vqaudio data validate data/train --json findings.json",
    )
    validate.add_argument("dir", type=Path, metavar="DIR", help="data directory")
    validate.add_argument("--json", type=Path, metavar="OUT", help="also write the errors and warnings to this file")
    fix = command(
        group,
        "fix",
        run_data_fix,
        "sort lines, drop unusable utterances, write utt2dur; originals are kept in .backup/",
        "vqaudio data fix data/train",
    )
    fix.add_argument("dir", type=Path, metavar="DIR", help="data directory")
    split = command(
        group,
        "split",
        run_data_split,
        "split a data directory into parts",
        "vqaudio data split data/train out --jobs 4",
    )
    split.add_argument("dir", type=Path, metavar="DIR", help="data directory")
    split.add_argument("out", type=Path, metavar="OUT", help="folder for the parts 1, 2, …")
    split.add_argument("--jobs", type=count, required=True, help="number of parts")
    _add_import(group)


def _add_import(group: Any) -> None:
    """Add `data import`."""
    importing = command(
        group,
        "import",
        run_data_import,
        "make a data directory of Parquet files, a saved dataset of Hugging Face, or manifests of lhotse",
        "vqaudio data import corpus/train-*.parquet data/train",
    )
    importing.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="IN",
        help="Parquet files or a folder of them, a folder of Dataset.save_to_disk, or lhotse's cuts, or recordings and "
        "supervisions (.jsonl, .jsonl.gz)",
    )
    importing.add_argument("out", type=Path, metavar="OUT", help="data directory to write")
    for name, what in (("id", "names"), ("audio", "audio"), ("text", "texts"), ("speaker", "speakers")):
        importing.add_argument(
            f"--{name}", metavar="COLUMN", help=f"column of the {what}, if it has no usual name such as {name}"
        )


def run_data_import(args: argparse.Namespace) -> None:
    """Import a data directory."""
    from vqaudio.corpora.arrow import Columns
    from vqaudio.corpora.importing import import_data

    count = import_data(args.sources, args.out, Columns(args.id, args.audio, args.text, args.speaker))
    print(f"{count} utterances in {args.out}")


def run_data_validate(args: argparse.Namespace) -> int:
    """Print all errors and warnings of a data directory; return 2 if there are errors."""
    from vqaudio import __version__, datadir, files
    from vqaudio.outputs import check_file, is_our_json

    if args.json is not None:
        check_file(args.json, inputs=[args.dir], ours=is_our_json)
    problems = datadir.validate(args.dir)
    for line in problems.warnings:
        print(f"warning: {line}", file=sys.stderr)
    for line in problems.errors:
        print(f"error: {line}", file=sys.stderr)
    if args.json is not None:
        files.write_json(args.json, {"vqaudio": __version__, "findings": problems.records()})
    print(f"{args.dir}: {len(problems.errors)} errors, {len(problems.warnings)} warnings")
    return 2 if problems.errors else 0


def run_data_fix(args: argparse.Namespace) -> None:
    """Repair a data directory."""
    from vqaudio import datadir

    for line in datadir.fix(args.dir):
        print(line)


def run_data_split(args: argparse.Namespace) -> None:
    """Split a data directory into parts."""
    from vqaudio import datadir

    for part in datadir.split(args.dir, args.out, args.jobs):
        print(part)
