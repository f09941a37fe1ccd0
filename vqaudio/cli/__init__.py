"""The console script `vqaudio`: one sub-command a job; heavy imports wait until one is chosen."""

import logging
import sys

from vqaudio import __version__
from vqaudio.cli.about import add_about
from vqaudio.cli.data import add_corpus, add_data
from vqaudio.cli.evaluate import add_evaluate
from vqaudio.cli.kmeans import add_kmeans
from vqaudio.cli.listen import add_listen
from vqaudio.cli.model import add_decode, add_extract, add_train
from vqaudio.cli.parser import Parser
from vqaudio.cli.units import add_units
from vqaudio.errors import JobError, UserError


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


def build_parser() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(prog="vqaudio", description="Discrete units from raw speech, and speech from units.")
    parser.add_argument("--version", action="version", version=f"vqaudio {__version__}")
    parser.set_defaults(debug=False)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for add in (
        add_corpus,
        add_data,
        add_train,
        add_extract,
        add_decode,
        add_units,
        add_kmeans,
        add_evaluate,
        add_listen,
        add_about,
    ):
        add(subparsers)
    return parser
