"""What the command line's parts share: a parser with one-line errors, and types of arguments."""

import argparse
from collections.abc import Callable
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; exit with 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def command(subparsers: Any, name: str, run: Callable[..., int | None] | None, summary: str, example: str) -> Any:
    """Add a command with its help line and an example."""
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
    """Add a command that has commands of its own."""
    group = command(subparsers, name, None, summary, example)
    return group.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


def shard(text: str) -> tuple[int, int]:
    """Read i/N with 1 <= i <= N."""
    part, _, total = text.partition("/")
    if not (part.isdigit() and total.isdigit() and 1 <= int(part) <= int(total)):
        raise argparse.ArgumentTypeError(f"{text!r} must be i/N with 1 <= i <= N, e.g. 2/4")
    return int(part), int(total)
