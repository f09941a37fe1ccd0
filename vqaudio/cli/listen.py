"""`vqaudio listen`: listening tests, from audio files to the answers of listeners."""

import argparse
from pathlib import Path
from typing import Any

from vqaudio.cli.listen_analyse import add_analyse
from vqaudio.cli.parser import command, command_group, count
from vqaudio.errors import UserError
from vqaudio.listening.key import SCALES


def add_listen(subparsers: Any) -> None:
    """Add `listen`."""
    group = command_group(subparsers, "listen", "run listening tests in browsers", "vqaudio listen serve my_test")
    _add_build(group)
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
    add_analyse(group)


def _add_build(group: Any) -> None:
    build = command(
        group,
        "build",
        run_listen_build,
        "build a test from wav.scp files",
        "vqaudio listen build --type mushra --reference data/test/wav.scp --system kmeans=exp/a/wav/test/wav.scp"
        " --system gumbel=exp/b/wav/test/wav.scp --out my_test --items 8",
    )
    build.add_argument("--type", choices=tuple(SCALES), required=True)
    build.add_argument("--reference", type=Path, required=True, metavar="SCP", help="wav.scp of the originals")
    build.add_argument(
        "--system",
        type=system,
        action="append",
        required=True,
        metavar="NAME=SCP",
        help="wav.scp of a system; may be repeated",
    )
    build.add_argument("--out", type=Path, required=True, metavar="TEST", help="folder to create")
    build.add_argument(
        "--items", type=count, metavar="N", help="utterances to rate, in addition to one for training (default: all)"
    )
    build.add_argument(
        "--seed",
        type=int,
        help="seed of the choice of utterances and of all orders (default: drawn, and stored in the key)",
    )
    build.add_argument(
        "--listeners", type=count, default=20, help="links to make (default: 20); listen links --add makes more"
    )
    build.add_argument(
        "--match-loudness", action="store_true", help="scale every clip to the loudness of its reference"
    )


def port(text: str) -> int:
    """Read a port number."""
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 0 to 65535")
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

    systems = dict(args.system)
    if len(systems) < len(args.system):
        raise UserError("--system: a name is used twice; give every system its own")
    build(
        args.out,
        test_type=args.type,
        reference=args.reference,
        systems=systems,
        items=args.items,
        seed=args.seed,
        match_loudness=args.match_loudness,
        listeners=args.listeners,
    )
    print(f"{args.out}: ready; vqaudio listen serve {args.out} offers it to browsers")


def run_listen_serve(args: argparse.Namespace) -> None:
    """Serve a test."""
    try:
        from vqaudio.listening.server import serve
    except ModuleNotFoundError as error:
        raise UserError(f"listen serve: {error.name} is not installed; install vqaudio[listen]") from None
    serve(args.test, host=args.host, port=args.port, url=args.url)


def run_listen_links(args: argparse.Namespace) -> None:
    """Print links."""
    from vqaudio.listening.links import add_listeners, participant_links

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

    print(f"{import_results(args.test, args.results)} answers imported")
