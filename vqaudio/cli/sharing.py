"""`vqaudio push` and `pull`: model directories to a hub and from it."""

import argparse
from pathlib import Path
from typing import Any

from vqaudio.cli.parser import command
from vqaudio.released import model_folder


def add_sharing(subparsers: Any) -> None:
    """Add `push` and `pull`."""
    push = command(
        subparsers,
        "push",
        run_push,
        "upload a model directory to the Hugging Face hub, or to that of HF_ENDPOINT (extra: hub)",
        "vqaudio push exp/vctk anna/vctk-units",
    )
    push.add_argument("exp", type=model_folder, metavar="EXP", help="model directory; a README.md in it is the card")
    push.add_argument("repo", metavar="REPO", help="OWNER/NAME; made if there is none; the token is HF_TOKEN's")
    push.add_argument(
        "--public", action="store_true", help="make a new repository for everybody (default: for its owner alone)"
    )
    pull = command(
        subparsers,
        "pull",
        run_pull,
        "download a model directory from the Hugging Face hub, or from that of HF_ENDPOINT (extra: hub)",
        "vqaudio pull anna/vctk-units exp/vctk --revision 0123456789abcdef0123456789abcdef01234567",
    )
    pull.add_argument("repo", metavar="REPO", help="OWNER/NAME")
    pull.add_argument("out", type=Path, metavar="OUT", help="model directory to write")
    pull.add_argument(
        "--revision",
        metavar="COMMIT",
        help="commit, which always gives the same files; or tag or branch (default: main)",
    )


def run_push(args: argparse.Namespace) -> None:
    """Upload a model."""
    from vqaudio.hub import push

    version = push(args.exp, args.repo, public=args.public)
    print(f"{args.exp} is {version.repo} at {version.commit}")


def run_pull(args: argparse.Namespace) -> None:
    """Download a model."""
    from vqaudio.hub import pull

    version = pull(args.repo, args.out, revision=args.revision)
    print(f"{args.out} is {version.repo} at {version.commit}")
