"""`vqaudio listen`: listening tests, from audio files to the answers of listeners."""

import argparse
from pathlib import Path
from typing import Any

from vqaudio.cli.listen_analyse import add_analyse
from vqaudio.cli.listen_build import add_build
from vqaudio.cli.parser import command, command_group, count
from vqaudio.errors import UserError


def add_listen(subparsers: Any) -> None:
    """Add `listen`."""
    group = command_group(subparsers, "listen", "run listening tests in browsers", "vqaudio listen serve my_test")
    add_build(group)
    serve = command(
        group,
        "serve",
        run_listen_serve,
        "offer a test to browsers and save the answers (extra: listen)",
        "vqaudio listen serve my_test",
    )
    serve.add_argument("test", type=Path, metavar="TEST")
    serve.add_argument("--host", default="127.0.0.1", help="address to bind (default: 127.0.0.1, this machine only)")
    serve.add_argument("--port", type=port, default=8000, help="port; 0 takes a free one (default: 8000)")
    serve.add_argument(
        "--url", help="address that listeners open, if it is another one: with --host 0.0.0.0, or that of a proxy"
    )
    serve.add_argument(
        "--preview", action="store_true", help="for a look: anybody may take the test, and nothing is saved"
    )
    links = command(
        group,
        "links",
        run_listen_links,
        "print the link of every listener",
        "vqaudio listen links my_test --add 10 --url https://listen.example.org",
    )
    links.add_argument("test", type=Path, metavar="TEST")
    links.add_argument("--add", type=count, metavar="N", help="add N listeners first")
    links.add_argument("--url", required=True, help="address that listeners open")
    static = command(
        group,
        "static",
        run_listen_static,
        "write a test as plain files for any web server; listeners download their result",
        "vqaudio listen static my_test htdocs/my_test",
    )
    static.add_argument("test", type=Path, metavar="TEST")
    static.add_argument("out", type=Path, metavar="OUT")
    import_ = command(
        group,
        "import",
        run_listen_import,
        "import result files that listeners of a static test downloaded",
        "vqaudio listen import my_test result-1.json result-2.json",
    )
    import_.add_argument("test", type=Path, metavar="TEST")
    import_.add_argument("results", type=Path, nargs="+", metavar="RESULT")
    _add_listeners(group)
    add_analyse(group)


def _add_listeners(group: Any) -> None:
    """Add the commands about listeners and what they answered."""
    status = command(
        group, "status", run_listen_status, "who has finished, and how long it took", "vqaudio listen status my_test"
    )
    status.add_argument("test", type=Path, metavar="TEST")
    status.add_argument("--ids", action="store_true", help="show the ids of the platform, to pay by")
    backup = command(
        group,
        "backup",
        run_listen_backup,
        "copy key and answers to a folder that can be analysed; the test may be served meanwhile",
        "vqaudio listen backup my_test backups/2026-05-04",
    )
    backup.add_argument("test", type=Path, metavar="TEST")
    backup.add_argument("out", type=Path, metavar="OUT", help="folder to create")
    for name, what in (
        ("reset", "delete the answers of listeners, who may then start again"),
        ("remove", "delete listeners with all that is known of them"),
    ):
        change = command(group, name, run_listen_change, what, f"vqaudio listen {name} my_test L003")
        change.add_argument("test", type=Path, metavar="TEST")
        change.add_argument("listeners", nargs="+", metavar="LISTENER", help="names, as listen status shows them")
        change.set_defaults(change=name)
    forget = command(
        group,
        "forget",
        run_listen_forget,
        "delete the ids of the platform when all are paid; answers stay",
        "vqaudio listen forget my_test",
    )
    forget.add_argument("test", type=Path, metavar="TEST")


def port(text: str) -> int:
    """Read a port number."""
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 0 to 65535")
    return int(text)


def run_listen_serve(args: argparse.Namespace) -> None:
    """Serve a test."""
    try:
        from vqaudio.listening.server import serve
    except ModuleNotFoundError as error:
        raise UserError(f"listen serve: {error.name} is not installed; install vqaudio[listen]") from None
    serve(args.test, host=args.host, port=args.port, url=args.url, preview=args.preview)


def run_listen_links(args: argparse.Namespace) -> None:
    """Print links."""
    from vqaudio.listening.people import add_listeners, participant_links

    if args.add:
        add_listeners(args.test, args.add)
    for listener, link in participant_links(args.test, args.url):
        print(f"{listener}  {link}")


def run_listen_static(args: argparse.Namespace) -> None:
    """Write a test as plain files."""
    from vqaudio.listening.static import write_static

    write_static(args.test, args.out)
    print(f"{args.out}: ready; vqaudio listen links {args.test} --url prints the links")


def run_listen_import(args: argparse.Namespace) -> None:
    """Import result files."""
    from vqaudio.listening.static import import_results

    print(f"{import_results(args.test, args.results)} new answers imported")


def run_listen_status(args: argparse.Namespace) -> None:
    """Print the state of all listeners."""
    from vqaudio.listening.status import status

    print(status(args.test, ids=args.ids))


def run_listen_backup(args: argparse.Namespace) -> None:
    """Copy a test's answers."""
    from vqaudio.listening.status import backup

    backup(args.test, args.out)
    print(f"{args.out}: ready; vqaudio listen analyse {args.out} reads it")


def run_listen_forget(args: argparse.Namespace) -> None:
    """Delete the ids of the platform."""
    from vqaudio.listening.people import forget

    print(f"{args.test}: {forget(args.test)} ids deleted")


def run_listen_change(args: argparse.Namespace) -> None:
    """Reset or remove listeners."""
    from vqaudio.listening.people import remove, reset

    (reset if args.change == "reset" else remove)(args.test, args.listeners)
    print(f"{args.test}: {args.change} {', '.join(args.listeners)}")
