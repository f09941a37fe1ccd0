"""Shared by all commands: a parser with one-line errors, types of arguments, and the options of extraction."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from vqaudio.errors import UserError
from vqaudio.machine import available_cores

MODEL = "model directory, or `default`, the released model"


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line; options may come between the words of a list."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Add to a list (`nargs="*"`) the words of it that come after an option, which argparse leaves over."""
        found, extra = super().parse_known_args(args, namespace)
        action = next((action for action in self._actions if action.nargs == "*" and not action.option_strings), None)
        if action is not None:
            words = [word for word in extra if not word.startswith("-")]
            extra = [word for word in extra if word.startswith("-")]
            convert = action.type if callable(action.type) else str
            setattr(found, action.dest, [*(getattr(found, action.dest, None) or []), *map(convert, words)])
        return found, extra

    def error(self, message: str) -> NoReturn:
        """Print the message and where to find help; exit with 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def command(subparsers: Any, name: str, run: Callable[..., int | None] | None, summary: str, example: str) -> Any:
    """Return a new command with its help line and an example."""
    added = subparsers.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.add_argument("--debug", action="store_true", help="show a traceback when something fails")
    if run is not None:
        added.set_defaults(run=run)
    return added


def command_group(subparsers: Any, name: str, summary: str, example: str) -> Any:
    """Return a new command that has commands of its own."""
    group = command(subparsers, name, None, summary, example)
    return group.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)


def add_extraction_options(command: Any) -> None:
    """Add the options that every command which writes a unit directory has."""
    command.add_argument("--out", type=Path, required=True, metavar="UNITS", help="unit directory to write")
    command.add_argument(
        "--deduplicate", action="store_true", help="merge repeated units; their numbers go to durations.txt"
    )
    command.add_argument(
        "--change-penalty",
        type=float,
        default=0.0,
        metavar="LAMBDA",
        help="let units change less often: only where frames then fit better by more than LAMBDA; 1 is what a frame "
        "loses with the unit next to its own (default: 0, every frame has its best unit)",
    )
    add_parts(command)
    command.add_argument(
        "--verify", action="store_true", help="also read the files of what is done, and do again what has changed"
    )
    command.add_argument("--allow-failures", action="store_true", help="exit with 0 even if some files fail")
    add_jobs(command)


def add_parts(command: Any) -> None:
    """Add the options of commands that can work in parts."""
    command.add_argument(
        "--shard", type=shard, default=(1, 1), metavar="i/N", help="do part i of N (default: all in one part)"
    )
    command.add_argument(
        "--engine",
        choices=["local", "ray"],
        default="local",
        help="ray: do all parts on the cluster of RAY_ADDRESS, or on this machine without it (extra: ray)",
    )
    command.add_argument("--workers", type=count, metavar="N", help="with ray: processes that work (default: 1)")
    command.add_argument(
        "--parts", type=count, metavar="N", help="with ray: parts to cut the work into (default: by half hours)"
    )


def ray_of(args: argparse.Namespace) -> Any:
    """Return how to run on Ray, None without `--engine ray`.

    Raises:
        UserError: options contradict each other.
    """
    if args.engine == "local":
        for name in ("workers", "parts"):
            if getattr(args, name) is not None:
                raise UserError(f"--{name}: is for --engine ray; add that, or leave it out")
        return None
    from vqaudio.units.extraction import Ray

    if args.shard != (1, 1):
        raise UserError("--shard: --engine ray does all parts; leave out one of them")
    return Ray(args.workers or 1, args.parts)


def add_jobs(command: Any) -> None:
    """Add `--jobs`."""
    command.add_argument(
        "--jobs",
        type=count,
        default=available_cores(),
        metavar="N",
        help="utterances to work on at a time (default: the available cores, here %(default)s)",
    )


def count(text: str) -> int:
    """Return the whole number of at least 1 in `text`."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


def shard(text: str) -> tuple[int, int]:
    """Return (i, N) for i/N with 1 <= i <= N."""
    part, _, total = text.partition("/")
    if not (part.isdigit() and total.isdigit() and 1 <= int(part) <= int(total)):
        raise argparse.ArgumentTypeError(f"{text!r} must be i/N with 1 <= i <= N, e.g. 2/4")
    return int(part), int(total)
