"""Stage 2: write formatted copies of the four sets, by the rules of vqaudio.corpora.formatting."""

import argparse
from pathlib import Path

from script import run

from vqaudio.corpora.formatting import format_data
from vqaudio.corpora.splits import SETS


def main() -> None:
    """Format SOURCE/<set> into OUT/<set> for each set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample-rate", type=int, required=True, help="Hz")
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    for name in SETS:
        kept, dropped = format_data(args.source / name, args.out / name, sample_rate=args.sample_rate, jobs=args.jobs)
        print(f"{name}: {kept} utterances, {dropped} dropped ({args.out / name / 'drops.tsv'})", flush=True)


if __name__ == "__main__":
    run(main)
