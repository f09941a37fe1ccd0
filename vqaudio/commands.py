"""What each sub-command does with its arguments; everything heavy is imported inside."""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from vqaudio.errors import UserError


def corpus_espeak(args: argparse.Namespace) -> None:
    """Speak the embedded corpus."""
    from vqaudio.corpora.espeak import make_corpus

    make_corpus(args.out, speakers=args.speakers, utterances=args.utterances, seed=args.seed)


def data_validate(args: argparse.Namespace) -> int:
    """List what is wrong with a data directory; 2 when there are errors."""
    from vqaudio import datadir

    problems = datadir.validate(args.dir)
    for line in problems.warnings:
        print(f"warning: {line}", file=sys.stderr)
    for line in problems.errors:
        print(f"error: {line}", file=sys.stderr)
    print(f"{args.dir}: {len(problems.errors)} errors, {len(problems.warnings)} warnings")
    return 2 if problems.errors else 0


def data_fix(args: argparse.Namespace) -> None:
    """Mend a data directory."""
    from vqaudio import datadir

    for line in datadir.fix(args.dir):
        print(line)


def data_split(args: argparse.Namespace) -> None:
    """Cut a data directory into parts."""
    from vqaudio import datadir

    for part in datadir.split(args.dir, args.out, args.jobs):
        print(part)


def train(args: argparse.Namespace) -> None:
    """Train with Hydra overrides."""
    from vqaudio.train_app import run

    run(args.overrides)


def extract(args: argparse.Namespace) -> None:
    """Write the units of a data directory or of audio files."""
    from vqaudio import extraction

    if bool(args.data) == bool(args.wavs):
        raise UserError("extract: give either --data DIR or audio files")
    extraction.extract(
        args.model,
        data=args.data,
        wavs=args.wavs,
        out=args.out,
        deduplicate=args.deduplicate,
        shard=args.shard,
        allow_failures=args.allow_failures,
        jobs=args.jobs,
        device=args.device,
    )


def decode(args: argparse.Namespace) -> None:
    """Speak a unit directory."""
    from vqaudio import synthesis

    synthesis.decode(
        args.model,
        units=args.units,
        out=args.out,
        speaker=args.speaker,
        utt2spk=args.utt2spk,
        temperature=args.temperature,
        seed=args.seed,
        jobs=args.jobs,
        device=args.device,
    )


def evaluate_units(args: argparse.Namespace) -> None:
    """Score units against phones."""
    from vqaudio.metrics.units import evaluate

    scores = evaluate(
        args.units, args.alignment, mapping_units=args.mapping_units, mapping_alignment=args.mapping_alignment
    )
    _print_scores(scores, args.json)


def evaluate_audio(args: argparse.Namespace) -> None:
    """Score audio against its originals."""
    from vqaudio.metrics.audio import evaluate

    _print_scores(evaluate(args.reference, args.system, jobs=args.jobs), args.json)


def _print_scores(scores: dict[str, Any], out: Path | None) -> None:
    """Print numbers; write everything as strict JSON, where NaN is null."""
    from vqaudio import files

    for name, value in scores.items():
        if isinstance(value, int | float):
            print(f"{name:24} {value:.4g}")
    if out is not None:
        files.atomic_write(out, json.dumps(_without_nan(scores), indent=1, allow_nan=False) + "\n")


def _without_nan(value: Any) -> Any:
    """Replace numbers that JSON cannot hold with None."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def report(args: argparse.Namespace) -> None:
    """Write the page about a run."""
    from vqaudio.report import build_report

    print(build_report(args.exp))


def info(args: argparse.Namespace) -> None:
    """Describe a model directory."""
    from vqaudio.report import describe

    print(describe(args.exp))


def doctor(args: argparse.Namespace) -> int:  # noqa: ARG001
    """Check the installation; 1 when something required is missing."""
    from vqaudio.doctor import diagnose

    checks = diagnose()
    for good, line in checks:
        print(f"{'ok  ' if good else 'FAIL'} {line}")
    return 0 if all(good for good, _ in checks) else 1
