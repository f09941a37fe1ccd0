"""`vqaudio kmeans`: units by k-means on features."""

import argparse
from pathlib import Path
from typing import Any

from vqaudio.cli.parser import command, command_group, count, shard
from vqaudio.cores import available_cores
from vqaudio.errors import UserError

AUDIO_RATE, AUDIO_HOP = 16000, 160


def add_kmeans(subparsers: Any) -> None:
    """Add `kmeans`."""
    group = command_group(
        subparsers,
        "kmeans",
        "units by k-means on features",
        "vqaudio kmeans fit --features mfcc --data data/train --codebook-size 256 --out exp/mfcc.safetensors",
    )
    fit = command(
        group,
        "fit",
        run_kmeans_fit,
        "fit a codebook on MFCC, log-mel, or features that another tool saved as .npy",
        "vqaudio kmeans fit --features mfcc --data data/train --codebook-size 256 --out exp/mfcc.safetensors",
    )
    source = "data directory; for npy a folder of <utt>.npy, (frames, dimensions) each, or a list of 'utt path'"
    fit.add_argument("--features", choices=["mfcc", "log-mel", "npy"], required=True)
    fit.add_argument("--data", type=Path, required=True, metavar="DIR", help=source)
    fit.add_argument("--codebook-size", type=count, required=True, metavar="K", help="number of units")
    fit.add_argument("--out", type=Path, required=True, metavar="FILE", help="model to write, .safetensors")
    fit.add_argument("--sample-rate", type=count, metavar="HZ", help=f"of the audio; {AUDIO_RATE} unless npy")
    fit.add_argument("--hop-length", type=count, metavar="SAMPLES", help=f"a frame; {AUDIO_HOP} unless npy")
    fit.add_argument("--frames", type=count, default=300_000, help="to cluster at most; 12 bytes each and dimension")
    fit.add_argument("--seed", type=int, default=0)
    apply = command(
        group,
        "apply",
        run_kmeans_apply,
        "write the units of a fitted codebook",
        "vqaudio kmeans apply --model exp/mfcc.safetensors --data data/test --out units/test",
    )
    apply.add_argument("--model", type=Path, required=True, metavar="FILE", help="what kmeans fit wrote")
    apply.add_argument("--data", type=Path, required=True, metavar="DIR", help=source)
    apply.add_argument("--out", type=Path, required=True, metavar="UNITS", help="unit directory to write")
    apply.add_argument("--deduplicate", action="store_true", help="merge runs of a unit; durations.txt keeps them")
    apply.add_argument("--shard", type=shard, default=(1, 1), metavar="i/N", help="do part i of N")
    apply.add_argument("--allow-failures", action="store_true", help="exit with 0 though some files were broken")
    apply.add_argument("--jobs", type=count, default=available_cores(), help="utterances at once")


def run_kmeans_fit(args: argparse.Namespace) -> None:
    """Fit a codebook and save it."""
    from vqaudio.units.kmeans import KMeansUnits, find_utterances

    if args.features == "npy" and not (args.sample_rate and args.hop_length):
        raise UserError(
            "kmeans fit: .npy files do not say how long a frame is: give --sample-rate and --hop-length of the audio "
            "behind them, such as 16000 and 320 for HuBERT"
        )
    model = KMeansUnits.fit(
        find_utterances(args.data, args.features),
        args.codebook_size,
        features=args.features,
        sample_rate=args.sample_rate or AUDIO_RATE,
        hop_length=args.hop_length or AUDIO_HOP,
        frames=args.frames,
        seed=args.seed,
    )
    model.save(args.out)
    K, D = model.codebook.shape
    print(f"{args.out}: {K} units of {D} dimensions at {model.sample_rate / model.hop_length:g} Hz")


def run_kmeans_apply(args: argparse.Namespace) -> None:
    """Write a unit directory."""
    from vqaudio.units.kmeans import apply

    apply(
        args.model,
        source=args.data,
        out=args.out,
        deduplicate=args.deduplicate,
        shard=args.shard,
        allow_failures=args.allow_failures,
        jobs=args.jobs,
    )
