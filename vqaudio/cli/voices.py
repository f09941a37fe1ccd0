"""`vqaudio voice`: gives a trained model the voice of a new speaker."""

import argparse
from pathlib import Path
from typing import Any

from vqaudio.cli.parser import command, command_group, count
from vqaudio.defaults import SEED
from vqaudio.errors import UserError
from vqaudio.released import model_folder


def add_voice(subparsers: Any) -> None:
    """Add `voice`."""
    group = command_group(
        subparsers,
        "voice",
        "give a model the voice of a new speaker",
        "vqaudio voice add --model exp/vctk --speaker anna --out exp/vctk_anna anna.wav",
    )
    add = command(
        group,
        "add",
        run_voice_add,
        "fit one more voice of a model to a minute of speech, in minutes of one core; units and other voices stay",
        "vqaudio voice add --model exp/vctk --speaker anna --out exp/vctk_anna anna1.wav anna2.wav",
    )
    add.add_argument("--model", type=model_folder, required=True, metavar="EXP", help="model directory, or `default`")
    add.add_argument("--data", type=Path, metavar="DIR", help="Kaldi data directory, whose utterances of ID are taken")
    add.add_argument("wavs", type=Path, nargs="*", metavar="WAV", help="audio files of the speaker, instead of --data")
    add.add_argument("--speaker", required=True, metavar="ID", help="name of the new voice")
    add.add_argument("--out", type=Path, required=True, metavar="EXP2", help="model directory to write")
    add.add_argument(
        "--steps",
        type=count,
        default=300,
        metavar="N",
        help="most steps; it ends before if held-out speech is no longer told better (default: %(default)s)",
    )
    add.add_argument(
        "--seed", type=int, default=SEED, metavar="N", help="seed of the speech that steps take (default: %(default)s)"
    )


def run_voice_add(args: argparse.Namespace) -> None:
    """Fit a voice."""
    if bool(args.data) == bool(args.wavs):
        raise UserError("voice add: needs --data DIR or audio files; give one of the two")
    from vqaudio.training import new_voice

    new_voice.add_voice(
        args.model,
        data=args.data,
        wavs=args.wavs,
        speaker=args.speaker,
        out=args.out,
        steps=args.steps,
        seed=args.seed,
    )
