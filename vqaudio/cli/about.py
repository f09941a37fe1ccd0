"""`vqaudio report`, `draw`, `info` and `doctor`: describe a run, a model and an installation."""

import argparse
import math
from pathlib import Path
from typing import Any

from vqaudio.cli.parser import MODEL, command
from vqaudio.defaults import SEED
from vqaudio.errors import UserError
from vqaudio.released import model_folder


def add_about(subparsers: Any) -> None:
    """Add `report`, `draw`, `info` and `doctor`."""
    report = command(
        subparsers,
        "report",
        run_report,
        "write one HTML page about a run, or one that compares runs",
        "vqaudio report exp/mini_tiny_kmeans exp/mini_tiny_gumbel --out comparison.html",
    )
    report.add_argument("exp", type=Path, metavar="EXP", nargs="+", help="directory of a run; several are compared")
    report.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="file to write (default: EXP/report.html; for several runs, comparison.html in the folder of the first)",
    )
    draw = command(
        subparsers,
        "draw",
        run_draw,
        "draw a recording, its units, and the speech made from them",
        "vqaudio draw --model default speech.wav --out speech.png",
    )
    draw.add_argument("--model", type=model_folder, required=True, metavar="EXP", help=MODEL)
    draw.add_argument("wav", type=Path, metavar="WAV", help="audio file")
    draw.add_argument("--out", type=Path, required=True, metavar="FILE", help="picture to write, .png")
    draw.add_argument("--seconds", type=float, default=3.0, help="draw at most so many (default: %(default)g)")
    draw.add_argument("--speaker", metavar="ID", help="voice of the speech (default: <unknown>)")
    draw.add_argument("--seed", type=int, default=SEED, metavar="N", help="seed of sampling (default: %(default)s)")
    info = command(subparsers, "info", run_info, "describe a model directory", "vqaudio info exp/vctk")
    info.add_argument("exp", type=model_folder, metavar="EXP", help=MODEL)
    command(subparsers, "doctor", run_doctor, "check the installation and say how to fix it", "vqaudio doctor")


def run_report(args: argparse.Namespace) -> None:
    """Write the page about a run, or the comparison of several."""
    if len(args.exp) == 1:
        from vqaudio.report.page import build_report

        print(build_report(args.exp[0], args.out))
    else:
        from vqaudio.report.comparison import build_comparison

        print(build_comparison(args.exp, args.out or args.exp[0].resolve().parent / "comparison.html"))


def run_draw(args: argparse.Namespace) -> None:
    """Draw a recording, its units, and the speech made from them."""
    from vqaudio.codec import load
    from vqaudio.report.drawing import draw

    if not 0 < args.seconds < math.inf:
        raise UserError(f"draw: --seconds is {args.seconds:g}; give a number above 0")
    draw(load(args.model), args.wav, args.out, args.seconds, args.speaker, args.seed)


def run_info(args: argparse.Namespace) -> None:
    """Describe a model directory."""
    from vqaudio.report.facts import describe

    print(describe(args.exp))


def run_doctor(args: argparse.Namespace) -> int:  # noqa: ARG001
    """Check the installation; return 1 if something required is missing."""
    from vqaudio.doctor import diagnose

    checks = diagnose()
    for good, line in checks:
        print(f"{'ok  ' if good else 'FAIL'} {line}")
    return 0 if all(good for good, _ in checks) else 1
