"""Compares figures of units with those that SpidR publishes for its own units of LibriSpeech dev-clean and dev-other.

    git clone https://github.com/facebookresearch/spidr /tmp/spidr
    .venv/bin/python tools/check_spidr.py /tmp/spidr

A known answer on real units: 5567 utterances, phones every 10 ms, silence kept, units at 50 Hz, each repeated twice.
The exit status is 1 if a figure differs by more than a millionth of it; SpidR's are of float32. Its bitrate is not
compared: there each unit that is left when runs are merged costs log₂ K bits, here their entropy. The data are CC BY-NC
4.0: they are read where they lie.
"""

import argparse
import csv
import gzip
import json
import math
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from vqaudio.datadir import Phone
from vqaudio.metrics.contingency import cluster_purity, phone_purity, pnmi
from vqaudio.metrics.discovery import PHONE_RATE, phone_strings
from vqaudio.metrics.phone_scores import Alignment, Codes, code_statistics, joint_counts

PHONES = "paper/assets/phoneme-dev-clean-and-other.jsonl.gz"
UNITS = {
    "spidr_kmeans": "paper/results/units-kmeans-spidr-l6-dev-clean-and-other.jsonl.gz",
    "spidr_codebooks": "paper/results/units-codebooks-spidr-l6-dev-clean-and-other.jsonl.gz",
}
PUBLISHED = "paper/results/units-quality.csv"
LAYER = "6"
FRAME_RATE = 50.0  # Hz
CODEBOOK_SIZE = 256
LIMIT = 1e-6


def main() -> int:
    """Print published figures beside ours; return 1 if they differ."""
    parser = argparse.ArgumentParser(description="compare unit figures with those that SpidR publishes")
    parser.add_argument("spidr", type=Path, help="checkout of github.com/facebookresearch/spidr")
    folder = parser.parse_args().spidr
    try:
        alignment = {line["name"]: phones_of(line["phones"]) for line in read_lines(folder / PHONES)}
        codes = {
            model: {line["name"]: np.array([line["units"]]) for line in read_lines(folder / path)}
            for model, path in UNITS.items()
        }
        with (folder / PUBLISHED).open() as file:
            rows = [row for row in csv.DictReader(file) if row["layer"] == LAYER]
    except (OSError, EOFError, ValueError, KeyError) as error:
        print(f"not compared: {folder} is no checkout of facebookresearch/spidr ({error}); clone it anew")
        return 0
    differ = False
    for model in UNITS:
        theirs = {row["metric"]: float(row["score"]) for row in rows if row["model"] == model}
        print(f"{model:24}{'published':>16}{'vqaudio':>16}")
        for name, figure in figures(codes[model], alignment).items():
            differs = not math.isclose(theirs[name], figure, rel_tol=LIMIT)
            differ = differ or differs
            print(f"{name:24}{theirs[name]:16.9f}{figure:16.9f}{'  DIFFERS' * differs}")
    return int(differ)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a compressed file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def phones_of(labels: list[str]) -> list[Phone]:
    """Return the phones that labels every 10 ms tell, their runs merged."""
    phones, start = [], 0
    for label, run in groupby(labels):
        length = len(list(run))
        phones.append(Phone(start / PHONE_RATE, length / PHONE_RATE, label))
        start += length
    return phones


def figures(codes: Codes, alignment: Alignment) -> dict[str, float]:
    """Score units with silence among the phones, by SpidR's names."""
    strings = phone_strings(
        codes, alignment, frame_rate=FRAME_RATE, codebook_size=CODEBOOK_SIZE, mapping=(codes, alignment)
    )
    counts = joint_counts(strings.phone, strings.symbol)
    usage = code_statistics(codes.values(), frame_rate=FRAME_RATE, codebook_size=CODEBOOK_SIZE)
    return {
        "phone_purity": phone_purity(counts),
        "cluster_purity": cluster_purity(counts),
        "pnmi": pnmi(counts),
        "codebook_perplexity": usage["perplexity"],
        "active_codewords": usage["codes_used"],
    }


if __name__ == "__main__":
    sys.exit(main())
