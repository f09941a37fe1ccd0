"""`vqaudio units stats`, `lm` and `sample`: units as a language."""

import argparse
from pathlib import Path
from typing import Any

from vqaudio.cli.parser import command, count
from vqaudio.cli.scores import add_json, check_json, write_scores
from vqaudio.defaults import SEED


def add_unit_statistics(group: Any) -> None:
    """Add the three commands to those of `units`."""
    stats = command(
        group,
        "stats",
        run_units_stats,
        "describe units: hours, codes in use, perplexity, bit/s, run lengths, n-grams",
        "vqaudio units stats units/test --json stats.json",
    )
    stats.add_argument("units", type=Path, metavar="UNITS", help="unit directory")
    stats.add_argument("--order", type=count, default=3, metavar="N", help="count n-grams up to N (default: 3)")
    add_json(stats)
    lm = command(
        group,
        "lm",
        run_units_lm,
        "fit an n-gram model (interpolated Kneser-Ney) and write it as an ARPA file",
        "vqaudio units lm units/train --order 5 --deduplicate --out units.arpa --test units/test",
    )
    lm.add_argument("units", type=Path, metavar="UNITS", help="unit directory to fit the model on")
    lm.add_argument("--order", type=count, required=True, metavar="N", help="length of the longest n-grams")
    lm.add_argument("--out", type=Path, required=True, metavar="LM", help="ARPA file to write")
    lm.add_argument("--deduplicate", action="store_true", help="a run of equal frames is one word")
    lm.add_argument("--test", type=Path, metavar="UNITS2", help="also print the perplexity of these units")
    sample = command(
        group,
        "sample",
        run_units_sample,
        "sample units from a language model, as a unit directory that vqaudio decode speaks",
        "vqaudio units sample units.arpa --out units/sampled --utterances 10",
    )
    sample.add_argument("lm", type=Path, metavar="LM", help="what vqaudio units lm wrote")
    sample.add_argument("--out", type=Path, required=True, metavar="UNITS", help="unit directory to write")
    sample.add_argument("--utterances", type=count, required=True, metavar="N", help="utterances to sample")
    sample.add_argument(
        "--seconds", type=float, metavar="S", help="length of each (default: until the model ends it, at most 30)"
    )
    sample.add_argument("--seed", type=int, default=SEED, help="of sampling (default: %(default)s)")


def run_units_stats(args: argparse.Namespace) -> None:
    """Describe units."""
    from vqaudio.units.statistics import describe, unit_statistics

    check_json(args.json, args.units)
    statistics = unit_statistics(args.units, args.order)
    print(describe(statistics))
    write_scores(statistics, args.json)


def run_units_lm(args: argparse.Namespace) -> None:
    """Fit a language model."""
    from vqaudio.outputs import check_file
    from vqaudio.units import arpa
    from vqaudio.units.language_model import fit

    check_file(args.out, inputs=[path for path in (args.units, args.test) if path], ours=arpa.is_language_model)
    model = fit(args.units, args.order, args.deduplicate)
    arpa.write(model, args.out)
    print(f"{', '.join(f'{len(o.keys)} {n}-grams' for n, o in enumerate(model.orders, start=1))} in {args.out}")
    if args.test is not None:
        found = model.perplexity(args.test)
        unknown = f", {found['unknown']:.0f} unknown" if found["unknown"] else ""
        print(
            f"{args.test}: perplexity {found['perplexity']:.3f}, {found['bits_per_second']:.1f} bit/s, "
            f"{found['words']:.0f} words{unknown}"
        )


def run_units_sample(args: argparse.Namespace) -> None:
    """Sample units."""
    from vqaudio.units.unit_samples import sample_directory

    info = sample_directory(args.lm, args.out, args.utterances, args.seconds, args.seed)
    print(f"{info.num_utterances} utterances, {info.num_frames} frames in {args.out}")
