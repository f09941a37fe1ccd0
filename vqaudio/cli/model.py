"""`vqaudio train`, `extract` and `decode`: speech to units to speech."""

import argparse
import functools
from pathlib import Path
from typing import Any, get_args

from vqaudio.cli.parser import MODEL, Parser, add_extraction_options, add_jobs, add_parts, command, ray_of
from vqaudio.defaults import SEED, TEMPERATURE, WEIGHTS, Weights
from vqaudio.errors import UserError
from vqaudio.released import model_folder


def add_train(subparsers: Any) -> None:
    """Add `train`, whose settings Hydra reads."""
    train = command(
        subparsers,
        "train",
        run_train,
        "train a model; resume if exp_dir holds a training",
        "vqaudio train model=base quantizer=gumbel data.train=data/train data.valid=data/dev exp_dir=exp/my_model",
    )
    train.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings, e.g. trainer.max_steps=1000")
    train.add_argument("--cfg", choices=["job", "hydra", "all"], help="print the configuration in place of training")
    several = "train for each of several values, e.g. seed=0,1: into exp_dir/seed=0 and exp_dir/seed=1"
    train.add_argument("-m", "--multirun", action="store_true", help=several)
    train.add_argument("--config-dir", metavar="DIR", help="folder of more configuration files, e.g. DIR/model/my.yaml")
    train.format_help = functools.partial(_train_help, train)


def _train_help(parser: Parser) -> str:
    """Return the help of `train` with all settings, for which files are read only when somebody asks."""
    from vqaudio.training.settings import describe

    return f"{Parser.format_help(parser)}\nsettings and their defaults:\n{describe()}"


def add_extract(subparsers: Any) -> None:
    """Add `extract`."""
    extract = command(
        subparsers,
        "extract",
        run_extract,
        "write the units of a data directory or of audio files to text",
        "vqaudio extract --model exp/vctk --data data/test --out exp/vctk/units/test",
    )
    extract.add_argument("--model", type=model_folder, required=True, metavar="EXP", help=MODEL)
    extract.add_argument("--data", type=Path, metavar="DIR", help="Kaldi data directory")
    extract.add_argument("wavs", type=Path, nargs="*", metavar="WAV", help="audio files, instead of --data")
    _add_device(extract)
    add_extraction_options(extract)


def add_decode(subparsers: Any) -> None:
    """Add `decode`."""
    decode = command(
        subparsers,
        "decode",
        run_decode,
        "synthesise speech from a unit directory",
        "vqaudio decode --model exp/vctk --units exp/vctk/units/test --out wavs --speaker p225",
    )
    decode.add_argument("--model", type=model_folder, required=True, metavar="EXP", help=MODEL)
    decode.add_argument("--units", type=Path, required=True, help="unit directory")
    decode.add_argument("--out", type=Path, required=True, metavar="WAVS", help="folder for <utt>.wav and wav.scp")
    voice = decode.add_mutually_exclusive_group()
    voice.add_argument("--speaker", metavar="ID", help="one voice for all utterances (default: <unknown>)")
    voice.add_argument("--utt2spk", type=Path, metavar="FILE", help="a voice for each utterance")
    decode.add_argument(
        "--temperature",
        type=float,
        default=TEMPERATURE,
        metavar="T",
        help="sampling temperature; 0 takes the likeliest sample (default: %(default)g)",
    )
    decode.add_argument("--seed", type=int, default=SEED, metavar="N", help="seed of sampling (default: %(default)s)")
    decode.add_argument(
        "--weights",
        choices=get_args(Weights),
        default=WEIGHTS,
        help="precision of the decoder's weights on a CPU; with up to three utterances per job bfloat16 is 1.3 to 3 "
        "times as fast, with more hardly faster; samples differ, but are as likely (default: %(default)s)",
    )
    _add_device(decode)
    add_parts(decode)
    add_jobs(decode)


def _add_device(command: Any) -> None:
    command.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="where the model runs (default: %(default)s)"
    )


def run_train(args: argparse.Namespace) -> None:
    """Train with Hydra overrides."""
    from vqaudio.training.app import run

    flags = ["--cfg", args.cfg] if args.cfg else []
    flags += ["--multirun"] if args.multirun else []
    flags += ["--config-dir", args.config_dir] if args.config_dir else []
    run(args.overrides, flags)


def run_extract(args: argparse.Namespace) -> None:
    """Write the units of a data directory or of audio files."""
    from vqaudio.units import extraction

    if bool(args.data) == bool(args.wavs):
        raise UserError("extract: needs --data DIR or audio files; give one of the two")
    extraction.extract(
        args.model,
        data=args.data,
        wavs=args.wavs,
        out=args.out,
        deduplicate=args.deduplicate,
        change_penalty=args.change_penalty,
        shard=args.shard,
        allow_failures=args.allow_failures,
        jobs=args.jobs,
        device=args.device,
        verify=args.verify,
        ray=ray_of(args),
    )


def run_decode(args: argparse.Namespace) -> None:
    """Synthesise speech from a unit directory."""
    from vqaudio.units import synthesis

    synthesis.decode(
        args.model,
        units=args.units,
        out=args.out,
        speaker=args.speaker,
        utt2spk=args.utt2spk,
        temperature=args.temperature,
        seed=args.seed,
        weights=args.weights,
        jobs=args.jobs,
        device=args.device,
        shard=args.shard,
        ray=ray_of(args),
    )
