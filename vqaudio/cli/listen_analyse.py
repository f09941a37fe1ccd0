"""`vqaudio listen analyse`: figures and a page from the answers of a test, or how many listeners a test needs."""

import argparse
from pathlib import Path
from typing import Any

from vqaudio.cli.parser import command, count
from vqaudio.errors import UserError
from vqaudio.listening.key import SCALES


def add_analyse(group: Any) -> None:
    """Add `listen analyse`."""
    analyse = command(
        group,
        "analyse",
        run_analyse,
        "screen listeners, test differences, write a page; or plan a test",
        "vqaudio listen analyse my_test",
    )
    analyse.add_argument("test", type=Path, nargs="?", metavar="TEST", help="folder that listen build made")
    analyse.add_argument("--out", type=Path, metavar="DIR", help="folder to write to (default: TEST/private/analysis)")
    analyse.add_argument(
        "--plan", action="store_true", help="print how many listeners a test needs; TEST is a pilot with its spread"
    )
    planning = analyse.add_argument_group("with --plan")
    planning.add_argument("--type", choices=tuple(SCALES), help="type of the test (default: all)")
    planning.add_argument("--difference", type=float, help="difference to find: points, MOS, or a share above 0.5")
    planning.add_argument("--sd", type=float, help="standard deviation over listeners of their mean differences")
    planning.add_argument("--trials", type=count, help="answers of each listener in ab and abx (default: 1)")
    planning.add_argument("--pairs", type=count, help="pairs of systems to compare (default: 1)")


def run_analyse(args: argparse.Namespace) -> None:
    """Analyse a test, or plan one."""
    if args.plan:
        _run_plan(args)
        return
    for name in ("type", "difference", "sd", "trials", "pairs"):
        if getattr(args, name) is not None:
            raise UserError(f"--{name}: is for planning a test; give --plan with it, or leave it out")
    if args.test is None:
        raise UserError("listen analyse: no test; give a TEST folder, or --plan")
    from vqaudio.listening.analysis.figures import write_analysis
    from vqaudio.listening.analysis.text import summary

    out = args.out or args.test / "private" / "analysis"
    print(summary(write_analysis(args.test, out)))
    print(out / "analysis.html")


def _run_plan(args: argparse.Namespace) -> None:
    """Print the plan of a test, or of one of each type."""
    from vqaudio.listening.analysis.planning import plan_text, plans

    if args.out is not None:
        raise UserError(f"--out {args.out}: a plan is printed, not written; leave out --out or --plan")
    planned = plans(
        args.test, kind=args.type, difference=args.difference, sd=args.sd, trials=args.trials, pairs=args.pairs or 1
    )
    print(plan_text(planned))
