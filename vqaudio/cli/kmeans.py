"""`vqaudio kmeans`: fits k-means on features, and writes units with it."""

import argparse
from pathlib import Path
from typing import Any

from vqaudio.cli.parser import add_extraction_options, command, command_group, count, ray_of
from vqaudio.defaults import FEATURES, KMEANS_FRAMES
from vqaudio.errors import UserError

AUDIO_RATE, AUDIO_HOP = 16000, 160
SOURCE = "data directory; for npy: folder of <utt>.npy, (frames, dimensions) each, or list of 'utt path'"


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
    fit.add_argument("--features", choices=FEATURES, required=True, help="features to cluster")
    fit.add_argument("--data", type=Path, required=True, metavar="DIR", help=SOURCE)
    fit.add_argument("--codebook-size", type=count, required=True, metavar="K", help="number of units")
    fit.add_argument("--out", type=Path, required=True, metavar="FILE", help="model to write, .safetensors")
    fit.add_argument("--sample-rate", type=count, metavar="HZ", help=f"of the audio (default: {AUDIO_RATE}; npy: none)")
    fit.add_argument("--hop-length", type=count, metavar="SAMPLES", help=f"per frame (default: {AUDIO_HOP}; npy: none)")
    fit.add_argument(
        "--frames",
        type=count,
        default=KMEANS_FRAMES,
        help="most frames to cluster, at 12 bytes of memory per dimension (default: %(default)s)",
    )
    fit.add_argument("--seed", type=int, default=0, help="of the frames and the initial clusters (default: 0)")
    apply = command(
        group,
        "apply",
        run_kmeans_apply,
        "write the units of a fitted codebook",
        "vqaudio kmeans apply --model exp/mfcc.safetensors --data data/test --out units/test",
    )
    apply.add_argument("--model", type=Path, required=True, metavar="FILE", help="what kmeans fit wrote")
    apply.add_argument("--data", type=Path, required=True, metavar="DIR", help=SOURCE)
    add_extraction_options(apply)


def run_kmeans_fit(args: argparse.Namespace) -> None:
    """Fit a codebook and save it."""
    from vqaudio.outputs import check_file
    from vqaudio.units.kmeans import KMeansUnits, is_model
    from vqaudio.units.npy import find_utterances

    if args.features == "npy" and not (args.sample_rate and args.hop_length):
        raise UserError(
            "kmeans fit: .npy files do not record how long a frame is; give --sample-rate and --hop-length of the "
            "audio that they were computed from, for example 16000 and 320 for HuBERT"
        )
    check_file(args.out, inputs=[args.data], ours=is_model)
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
        change_penalty=args.change_penalty,
        shard=args.shard,
        allow_failures=args.allow_failures,
        jobs=args.jobs,
        verify=args.verify,
        ray=ray_of(args),
    )
