"""`vqaudio kmeans`: fits k-means on features, and writes units with it."""

import argparse
from pathlib import Path
from typing import Any

from vqaudio.cli.parser import add_extraction_options, command, command_group, count, ray_of
from vqaudio.defaults import FEATURES, KMEANS_FRAMES, PRECISIONS
from vqaudio.errors import UserError

AUDIO_RATE, AUDIO_HOP = 16000, 160
SOURCE = "data directory; for npy: folder of <utt>.npy, (frames, dimensions) each, or list of 'utt path'"


LAYER = (
    "for hf: hidden_states[N] of transformers. 0 is what enters the first transformer layer, N what leaves the N-th, "
    "before any norm that follows the layers (the residual stream of models with stable layer norm). fairseq's HuBERT "
    "counts the same (output_layer=N); fairseq's wav2vec 2.0 and torchaudio's extract_features say N - 1"
)


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
        "fit a codebook on MFCC, log-mel, a layer of HuBERT and its like, or features that another tool saved as .npy",
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
    _add_network(fit, "for hf: network of transformers: name on the Hugging Face hub, or folder (save_pretrained)")
    fit.add_argument("--layer", type=_layer, metavar="N", help=LAYER)
    fit.add_argument(
        "--precision",
        choices=PRECISIONS,
        help=f"for hf: of products of matrices, in kmeans apply, too (default: {PRECISIONS[0]})",
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
    _add_network(apply, "for hf: where the network is now, if not where kmeans fit found it; it must be the same")
    add_extraction_options(apply)


def _add_network(command: Any, hub: str) -> None:
    command.add_argument("--hub", metavar="NAME", help=hub)
    command.add_argument("--revision", metavar="COMMIT", help="with --hub: commit, branch or tag (default: main)")
    command.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="for hf: where the network runs (default: %(default)s)"
    )


def _layer(text: str) -> int:
    if not (text.isdigit() and text.isascii()):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 0")
    return int(text)


def _place(args: argparse.Namespace) -> Any:
    """Return where the network is, None without `--hub`."""
    from vqaudio.units.hub import Place

    if args.revision is not None and not args.hub:
        raise UserError(f"--revision {args.revision}: is of a network; give --hub, too, or leave it out")
    return Place(args.hub, args.revision) if args.hub else None


def _check_fit(args: argparse.Namespace) -> None:
    """Raise if options do not fit the kind of features."""
    network = ("hub", "revision", "layer", "precision") if args.device == "cpu" else ("device",)
    audio = ("sample_rate", "hop_length")
    for name in audio if args.features == "hf" else network:
        if getattr(args, name) is not None:
            other = "the network says it" if args.features == "hf" else "it is for --features hf"
            raise UserError(f"--{name.replace('_', '-')} with --features {args.features}: {other}; leave it out")
    if args.features == "hf" and (not args.hub or args.layer is None):
        raise UserError(
            "kmeans fit: --features hf needs a network and a layer of it; give --hub and --layer, for example "
            "facebook/hubert-base-ls960 and 6"
        )
    if args.features == "npy" and not (args.sample_rate and args.hop_length):
        raise UserError(
            "kmeans fit: .npy files do not record how long a frame is; give --sample-rate and --hop-length of the "
            "audio that they were computed from, for example 16000 and 320 for HuBERT"
        )


def run_kmeans_fit(args: argparse.Namespace) -> None:
    """Fit a codebook and save it."""
    from vqaudio.outputs import check_file
    from vqaudio.units.kmeans import KMeansUnits, is_model
    from vqaudio.units.npy import find_utterances
    from vqaudio.units.ssl import Encoder

    _check_fit(args)
    place = _place(args)
    check_file(args.out, inputs=[args.data, *([Path(place.hub)] if place else [])], ours=is_model)
    utterances = find_utterances(args.data, args.features)
    encoder = Encoder.find(place, args.layer, args.precision or PRECISIONS[0], args.device) if place else None
    model = KMeansUnits.fit(
        utterances,
        args.codebook_size,
        features=args.features,
        sample_rate=encoder.card.sample_rate if encoder else args.sample_rate or AUDIO_RATE,
        hop_length=encoder.card.hop_length if encoder else args.hop_length or AUDIO_HOP,
        frames=args.frames,
        seed=args.seed,
        encoder=encoder,
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
        place=_place(args),
        device=args.device,
    )
