"""`vqaudio listen build`: a listening test from wav.scp files."""

import argparse
from pathlib import Path
from typing import Any

from vqaudio.cli.parser import command, count
from vqaudio.errors import UserError
from vqaudio.listening.design import ATTRIBUTES, DESIGNS, FORMATS, PAIRS, TRAINING, Design, mnru_name
from vqaudio.listening.key import SCALES

LISTENERS = 20  # links of a test for which no platform sends listeners


def add_build(group: Any) -> None:
    """Add `listen build`."""
    build = command(
        group,
        "build",
        run_listen_build,
        "build a test from wav.scp files",
        "vqaudio listen build --type mushra --reference data/test/wav.scp --system kmeans=exp/a/wav/test/wav.scp"
        " --system gumbel=exp/b/wav/test/wav.scp --out my_test --items 8",
    )
    build.add_argument(
        "--type",
        choices=tuple(SCALES),
        required=True,
        help="mushra, acr (quality), dcr, ccr, ab (preference), abx, smos (similarity of voices) or words (typed)",
    )
    build.add_argument(
        "--reference", type=Path, metavar="SCP", help="wav.scp of the originals; in smos, of the voice to compare with"
    )
    build.add_argument(
        "--system",
        type=system,
        action="append",
        required=True,
        metavar="NAME=SCP",
        help="wav.scp of a system; may be repeated",
    )
    build.add_argument("--out", type=Path, required=True, metavar="TEST", help="folder to create")
    build.add_argument("--study", type=Path, metavar="YAML", help="what listeners are told and asked, and who they are")
    build.add_argument("--dry-run", action="store_true", help="say how large the test is, and make nothing")
    build.add_argument(
        "--listeners",
        type=count,
        help=f"personal links to make (default: {LISTENERS}, none with a platform); listen links --add makes more",
    )
    _add_design(build.add_argument_group("design"))
    _add_audio(build.add_argument_group("audio"))


def _add_design(group: Any) -> None:
    group.add_argument("--items", type=count, metavar="N", help="utterances to rate (default: all)")
    group.add_argument(
        "--items-per-listener",
        type=count,
        default=0,
        metavar="N",
        help="utterances that a listener hears (default: all)",
    )
    group.add_argument(
        "--design",
        choices=DESIGNS,
        default="full",
        help="full: a listener hears every system at each utterance; latin: one at each, balanced over listeners",
    )
    group.add_argument(
        "--pairs",
        choices=PAIRS,
        help="what ccr, ab and abx compare (default: systems in ab and without a reference, otherwise reference)",
    )
    group.add_argument(
        "--training",
        type=whole,
        default=TRAINING,
        metavar="N",
        help="trials of one more utterance that come first and do not count (default: %(default)s at most)",
    )
    group.add_argument("--attribute", choices=ATTRIBUTES, help="what acr asks for in place of quality")
    group.add_argument("--text", type=Path, metavar="TEXT", help="in words: what was said, as lines 'utterance words'")
    group.add_argument(
        "--seed",
        type=int,
        help="seed of the choice of utterances and of all orders (default: drawn, and stored in the key)",
    )


def _add_audio(group: Any) -> None:
    group.add_argument(
        "--match-loudness", action="store_true", help="scale every clip to the loudness of its reference, or first clip"
    )
    group.add_argument(
        "--mnru",
        type=float,
        action="append",
        default=[],
        metavar="Q",
        help="add a reference condition of ITU-T P.810, noise Q dB below the speech; may be repeated",
    )
    group.add_argument("--format", choices=FORMATS, default="flac", help="of the audio (default: flac)")


def whole(text: str) -> int:
    """Read a whole number from 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 0")
    return int(text)


def system(text: str) -> tuple[str, Path]:
    """Read NAME=SCP."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=SCP")
    return name, Path(path)


def run_listen_build(args: argparse.Namespace) -> None:
    """Build a test."""
    from vqaudio.listening.build import build
    from vqaudio.listening.study import Study, read_study_file

    systems = dict(args.system)
    if len(systems) < len(args.system):
        raise UserError("--system: a name is used twice; give every system its own")
    if len(set(map(mnru_name, args.mnru))) < len(args.mnru) or not all(-20 <= q <= 60 for q in args.mnru):
        raise UserError("--mnru: a level is there twice, or is not from −20 to 60 dB; correct it")
    study = read_study_file(args.study) if args.study else Study()
    design = Design(
        type=args.type,
        systems=systems,
        reference=args.reference,
        items=args.items,
        seed=args.seed,
        match_loudness=args.match_loudness,
        pairs=args.pairs,
        design=args.design,
        items_per_listener=args.items_per_listener,
        training=args.training,
        text=args.text,
        attribute=args.attribute,
        extension=args.format,
        mnru=tuple(args.mnru),
        study=study,
    )
    listeners = args.listeners or (0 if study.platform else LISTENERS)
    build(args.out, design, listeners=listeners, dry_run=args.dry_run)
    if not args.dry_run:
        print(f"{args.out}: ready; vqaudio listen serve {args.out} offers it to browsers")
