"""`vqaudio evaluate`: scores of units and of audio."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from vqaudio.cli.parser import command, command_group, count
from vqaudio.cores import available_cores


def add_evaluate(subparsers: Any) -> None:
    """Add `evaluate`."""
    group = command_group(
        subparsers,
        "evaluate",
        "score units or audio",
        "vqaudio evaluate units --units U --alignment phones.ctm",
    )
    units = command(
        group,
        "units",
        run_evaluate_units,
        "how much units say about phones, and what they cost",
        "vqaudio evaluate units --model exp/vctk --units exp/vctk/units/test --alignment data/test/phones.ctm",
    )
    units.add_argument("--units", type=Path, required=True, help="unit directory")
    units.add_argument(
        "--alignment", type=Path, required=True, metavar="CTM", help="phone times: CTM, TextGrid or folder of TextGrids"
    )
    units.add_argument(
        "--utt2spk", type=Path, help="speakers, for ABX, probe and intervals (default: utt2spk beside the alignment)"
    )
    units.add_argument("--model", type=Path, metavar="EXP", help="model of the units, for ABX on its codewords")
    units.add_argument("--mapping-units", type=Path, help="unit directory to learn the phone of each unit from")
    units.add_argument("--mapping-alignment", type=Path, metavar="CTM", help="phone times of --mapping-units")
    units.add_argument("--json", type=Path, metavar="OUT", help="write the scores here too")
    _add_robustness(group)
    audio = command(
        group,
        "audio",
        run_evaluate_audio,
        "how close reconstructions are to the originals (extra: eval)",
        "vqaudio evaluate audio --reference data/test/wav.scp --system exp/vctk/wav/test/wav.scp",
    )
    audio.add_argument("--reference", type=Path, required=True, metavar="SCP")
    audio.add_argument("--system", type=Path, required=True, metavar="SCP")
    audio.add_argument("--jobs", type=count, default=available_cores(), help="utterances at once")
    audio.add_argument("--json", type=Path, metavar="OUT", help="write the scores here too")


def _add_robustness(group: Any) -> None:
    robustness = command(
        group,
        "robustness",
        run_evaluate_robustness,
        "how far units change when level, noise, tempo, pitch or band do",
        "vqaudio evaluate robustness --model exp/vctk --data data/test",
    )
    robustness.add_argument("--model", type=Path, required=True, metavar="EXP", help="model directory")
    robustness.add_argument("--data", type=Path, required=True, metavar="DIR", help="data directory")
    robustness.add_argument("--gain", type=float, default=-10.0, metavar="DB")
    robustness.add_argument("--noise", type=float, default=20.0, metavar="DB", help="signal-to-noise ratio")
    robustness.add_argument("--tempo", type=float, default=1.1, help="speed; 1.1 is 10 %% faster")
    robustness.add_argument("--pitch", type=float, default=1.0, metavar="SEMITONES")
    robustness.add_argument("--resampling", type=float, default=8000.0, metavar="HZ", help="rate to go through")
    robustness.add_argument("--seed", type=int, default=0, help="of the noise")
    robustness.add_argument("--jobs", type=count, default=available_cores(), help="utterances at once")
    robustness.add_argument("--json", type=Path, metavar="OUT", help="write the scores here too")


def run_evaluate_units(args: argparse.Namespace) -> None:
    """Score units against phones."""
    from vqaudio.metrics.evaluation import evaluate

    scores = evaluate(
        args.units,
        args.alignment,
        utt2spk=args.utt2spk,
        model=args.model,
        mapping_units=args.mapping_units,
        mapping_alignment=args.mapping_alignment,
    )
    _print_scores(scores, args.json)


def run_evaluate_robustness(args: argparse.Namespace) -> None:
    """Score the units of changed speech against those of the original."""
    from vqaudio.metrics.robustness import Changes, evaluate

    changes = Changes(args.gain, args.noise, args.tempo, args.pitch, args.resampling)
    _print_scores(evaluate(args.model, args.data, changes=changes, jobs=args.jobs, seed=args.seed), args.json)


def run_evaluate_audio(args: argparse.Namespace) -> None:
    """Score audio against its originals."""
    from vqaudio.metrics.reconstruction import evaluate

    _print_scores(evaluate(args.reference, args.system, jobs=args.jobs), args.json)


def _print_scores(scores: dict[str, Any], out: Path | None) -> None:
    """Print numbers, with their intervals; write everything as strict JSON, where NaN is null."""
    from vqaudio import files

    for name, value in scores.items():
        if isinstance(value, int | float):
            bounds = scores.get("intervals", {}).get(name)
            print(f"{name:24} {value:.4g}" + (f"  [{bounds[0]:.4g}, {bounds[1]:.4g}]" if bounds else ""))
    if out is not None:
        files.atomic_write(out, json.dumps(_without_nan(scores), indent=1, allow_nan=False) + "\n")


def _without_nan(value: Any) -> Any:
    """Replace numbers that JSON cannot hold with None."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
