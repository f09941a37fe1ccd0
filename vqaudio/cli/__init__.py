"""The console script `vqaudio`: one sub-command a job; heavy imports wait until one is chosen."""

import argparse
import logging
import sys

from vqaudio import __version__, files, machine
from vqaudio.cli.about import add_about
from vqaudio.cli.data import add_data
from vqaudio.cli.deployment import add_deployment
from vqaudio.cli.evaluate import add_evaluate
from vqaudio.cli.kmeans import add_kmeans
from vqaudio.cli.listen import add_listen
from vqaudio.cli.model import add_decode, add_extract, add_train
from vqaudio.cli.parser import Parser
from vqaudio.cli.sharing import add_sharing
from vqaudio.cli.streams import safe_streams
from vqaudio.cli.units import add_units
from vqaudio.cli.voices import add_voice
from vqaudio.errors import JobError, StoppedError, UserError

EXIT_CODES = """exit codes:
  0  done
  1  the job failed in whole or in part, such as on a full disk
  2  a mistake in the command, its files or their permissions
  130 (Ctrl-C), 129 (SIGHUP), 143 (SIGTERM), 138 (SIGUSR1)  stopped by a signal; a training saves its state first
After 1 or a signal the same command completes the job."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line, by default that of this process; return its exit code (see `EXIT_CODES`)."""
    if argv is not None:
        return _run(argv)
    with safe_streams() as output:
        try:
            code = _run(sys.argv[1:])
        except SystemExit as end:  # argparse has printed help, or an error
            code = end.code if isinstance(end.code, int) else 0
        sys.stdout.flush()
        if output.error is not None:
            print(f"vqaudio: {files.explain(output.error, 'standard output', 'cannot be written')}", file=sys.stderr)
            code = code or 1
    return code


def _run(argv: list[str]) -> int:
    """Run a command; report what ends it in one line."""
    args = argparse.Namespace(debug=False)
    try:
        args = build_parser().parse_args(argv)
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
        logging.raiseExceptions = False  # a log on a full disk loses lines, but is no traceback
        return _command(args)
    except (UserError, JobError) as error:
        if args.debug:
            raise
        print(f"vqaudio: {error}", file=sys.stderr)
        if isinstance(error, StoppedError):
            return error.exit_code
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        print("vqaudio: interrupted", file=sys.stderr)
        return 130


def _command(args: argparse.Namespace) -> int:
    """Call the function of a command; errors of the operating system become ours."""
    if args.run.__name__ != "run_doctor":
        files.require_supported_system()
        if machine.REPLACED is not None:
            print(f"vqaudio: {machine.REPLACED}", file=sys.stderr)
    try:
        return args.run(args) or 0
    except OSError as error:
        if args.debug:
            raise
        raise files.explain(error) from error


def build_parser() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="vqaudio",
        description="Discrete units from raw speech, and speech from units.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vqaudio {__version__}")
    parser.set_defaults(debug=False)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for add in (
        add_data,
        add_train,
        add_extract,
        add_decode,
        add_deployment,
        add_units,
        add_kmeans,
        add_evaluate,
        add_listen,
        add_voice,
        add_sharing,
        add_about,
    ):
        add(subparsers)
    return parser
