"""`vqaudio listen analyse`: figures and a page from the answers of a test, or how many listeners a test needs."""

import argparse
from pathlib import Path
from typing import Any

from vqaudio.cli.parser import command, count
from vqaudio.errors import UserError
from vqaudio.listening.key import SCALES

PLANNING = ("type", "difference", "sd", "items", "item_sd", "pairs")


def add_analyse(group: Any) -> None:
    """Add `listen analyse`."""
    analyse = command(
        group,
        "analyse",
        run_analyse,
        "screen listeners, test differences, write a page; or plan a test",
        "vqaudio listen analyse my_test --exclude L003=asleep",
    )
    analyse.add_argument("test", type=Path, nargs="?", metavar="TEST", help="folder that listen build made")
    analyse.add_argument("--out", type=Path, metavar="DIR", help="folder to write to (default: TEST/private/analysis)")
    analyse.add_argument(
        "--exclude",
        type=exclusion,
        action="append",
        metavar="LISTENER=REASON",
        help='leave out a listener, as L003="fell asleep"; may be repeated',
    )
    analyse.add_argument(
        "--no-screening",
        action="store_true",
        help="report post-screening and failed checks, but let these listeners count",
    )
    analyse.add_argument(
        "--plan", action="store_true", help="print how many listeners a test needs; TEST is a pilot with its spread"
    )
    planning = analyse.add_argument_group("with --plan")
    planning.add_argument("--type", choices=tuple(SCALES), help="type of the test (default: all)")
    planning.add_argument("--difference", type=float, help="difference to find: points, MOS, or a share above 0.5")
    planning.add_argument(
        "--sd", type=float, help="standard deviation over listeners of their mean differences; in ab and abx, of shares"
    )
    planning.add_argument("--items", type=count, help="items; in ab and abx, answers about a pair (default: 1)")
    planning.add_argument(
        "--item-sd", type=float, help="standard deviation over items of the difference; plans for items like these too"
    )
    planning.add_argument("--pairs", type=count, help="pairs of systems to compare (default: 1)")


def exclusion(text: str) -> tuple[str, str]:
    """Read LISTENER=REASON."""
    listener, _, reason = text.partition("=")
    if not (listener.strip() and reason.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} must be LISTENER=REASON")
    return listener.strip(), reason.strip()


def run_analyse(args: argparse.Namespace) -> None:
    """Analyse a test, or plan one."""
    if args.plan:
        _run_plan(args)
        return
    for name in PLANNING:
        if getattr(args, name) is not None:
            raise UserError(f"--{name.replace('_', '-')}: is for planning a test; give --plan with it, or leave it out")
    if args.test is None:
        raise UserError("listen analyse: no test; give a TEST folder, or --plan")
    from vqaudio.listening.analysis.figures import write_analysis
    from vqaudio.listening.analysis.text import summary

    out = args.out or args.test / "private" / "analysis"
    exclude = dict(args.exclude or ())
    if len(exclude) < len(args.exclude or ()):
        raise UserError("--exclude: a listener is named twice; give each once, with all reasons")
    print(summary(write_analysis(args.test, out, exclude=exclude, screening=not args.no_screening)))
    print(out / "analysis.html")


def _run_plan(args: argparse.Namespace) -> None:
    """Print the plan of a test, or of one of each type."""
    from vqaudio.listening.analysis.planning import plan_text, plans

    if args.out is not None:
        raise UserError(f"--out {args.out}: a plan is printed, not written; leave out --out or --plan")
    if args.exclude or args.no_screening:
        raise UserError("--exclude, --no-screening: are for an analysis; leave them or --plan out")
    planned = plans(
        args.test,
        kind=args.type,
        difference=args.difference,
        sd=args.sd,
        items=args.items,
        item_sd=args.item_sd,
        pairs=args.pairs or 1,
    )
    print(plan_text(planned))
