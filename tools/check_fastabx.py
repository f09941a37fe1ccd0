"""Compares ABX errors with those of fastabx, the package of the group that ABX comes from.

    python3.12 -m venv /tmp/fastabx && /tmp/fastabx/bin/pip install fastabx==0.8.0
    .venv/bin/python tools/check_fastabx.py --python /tmp/fastabx/bin/python \
        --units UNITS --alignment phones.ctm --model MODEL

The columns `fastabx` and `vqaudio` take every token, with the frames of libri-light; the exit status is 1 if they
differ. `by default` is what fastabx prints with the draws of ZeroSpeech, and `evaluate` what `vqaudio evaluate units`
prints. Those two differ:

- fastabx takes one frame more at the end of a token, unless FASTABX_WITH_LIBRILIGHT_BUG is 1;
- it draws 10 tokens of A, B and X, and 5 speakers of X, anew for every pair of phones; `vqaudio` draws them once for
  each phone, speaker and context.

Its angles are of float32: between equal codewords they are up to 3e-4 of a half turn, by which it decides what is a tie
in `vqaudio`. Hence a wider limit for angular distances. Which tokens there are is not for fastabx to say: they are
listed here anew. Phones that end after the last unit are left out of all columns.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from check_discophon import missing

from vqaudio.datadir import read_table
from vqaudio.errors import UserError
from vqaudio.metrics import abx_cells
from vqaudio.metrics.abx import Distance, average, make_frames, speaker_errors
from vqaudio.metrics.abx_cells import Task, make_cells
from vqaudio.metrics.alignment import default_utt2spk, read_alignment
from vqaudio.metrics.evaluation import read_codebook
from vqaudio.metrics.phone_scores import Alignment, read_frames
from vqaudio.metrics.symbols import SILENCE, number_symbols

ERRORS: dict[str, tuple[Task, Distance]] = {
    "abx": ("triphone", "angular"),
    "abx_phone": ("phone", "angular"),
    "abx_units": ("triphone", "identical"),
}
LIMITS: dict[Distance, float] = {"angular": 1e-3, "identical": 1e-6}
SIDES = ("within", "across")
MAX_GAP = abx_cells.MAX_GAP_SECONDS
DRAWN = (abx_cells.MAX_TOKENS, abx_cells.MAX_X_SPEAKERS)
ALL = (sys.maxsize, sys.maxsize)


class Corpus(NamedTuple):
    """What both packages compare; `codes` and `alignment` have the same utterances, sorted."""

    codes: dict[str, np.ndarray]
    alignment: Alignment
    speakers: dict[str, str]
    frame_rate: int
    codebook: np.ndarray | None


def main() -> int:
    """Print all columns; return 1 if the first two differ."""
    parser = argparse.ArgumentParser(description="compare ABX errors with those of fastabx")
    parser.add_argument("--units", type=Path, required=True, help="unit directory")
    parser.add_argument("--alignment", type=Path, required=True, metavar="CTM", help="phones; utt2spk lies next to it")
    parser.add_argument("--model", type=Path, help="what made the units; without it only units are compared")
    parser.add_argument("--python", default=sys.executable, help="a Python that has fastabx (default: this one)")
    args = parser.parse_args()
    if reason := missing(args.python, "fastabx"):
        print(f"not compared: {args.python} cannot import fastabx ({reason})")
        return 0
    corpus = read_corpus(args.units, args.alignment, args.model)
    differ = False
    print(f"{'':20}{'fastabx':>12}{'vqaudio':>12}{'by default':>12}{'evaluate':>12}")
    for name, (task, distance) in ERRORS.items():
        if distance == "angular" and corpus.codebook is None:
            continue
        ours, drawn = (vqaudio(corpus, task, distance, most) for most in (ALL, DRAWN))
        for side in SIDES:
            if math.isnan(ours[side]):
                print(f"{f'{name}_{side}':20}  no token to compare")
                continue
            theirs, default = (fastabx(args.python, corpus, task, distance, side, plain=p) for p in (True, False))
            differs = not math.isclose(theirs, ours[side], rel_tol=0, abs_tol=LIMITS[distance])
            differ = differ or differs
            row = "".join(f"{error:12.8f}" for error in (theirs, ours[side], default, drawn[side]))
            print(f"{f'{name}_{side}':20}{row}{'  DIFFERS' * differs}", flush=True)
    return int(differ)


def read_corpus(units: Path, alignment: Path, model: Path | None) -> Corpus:
    """Read the utterances that have units and phones, without the phones that end after the units.

    Raises:
        UserError: an input cannot be read, the units are of another model, or fastabx cannot take their rate.
    """
    expected_hash, codebook = read_codebook(model) if model else (None, None)
    info, codes = read_frames(units, expected_hash=expected_hash)
    if info.frame_rate % 1:
        raise UserError(f"{units}: {info.frame_rate:g} units per second; fastabx needs a whole number")
    phones, utt2spk = read_alignment(alignment), default_utt2spk(alignment)
    if utt2spk is None:
        raise UserError(f"{alignment}: no utt2spk lies next to it; put one there")
    codes = {utt: codes[utt] for utt in sorted(codes.keys() & phones.keys())}
    kept = {
        utt: [p for p in phones[utt] if frames_of(p.start, p.start + p.duration, info.frame_rate)[1] < of_utt.shape[1]]
        for utt, of_utt in codes.items()
    }
    return Corpus(codes, kept, read_table(utt2spk, what="its speaker"), int(info.frame_rate), codebook)


def frames_of(start: float, end: float, frame_rate: float) -> tuple[int, int]:
    """Return the first frame of a time in seconds and the frame after the last, as libri-light counts them."""
    return math.ceil(round(start * frame_rate, 6) - 0.5), math.floor(round(end * frame_rate, 6) - 0.5)


def vqaudio(corpus: Corpus, task: Task, distance: Distance, most: tuple[int, int]) -> dict[str, float]:
    """Return our errors within and across, drawing at most so many tokens of a kind and speakers of X."""
    abx_cells.MAX_TOKENS, abx_cells.MAX_X_SPEAKERS = most
    lengths = {utt: codes.shape[1] for utt, codes in corpus.codes.items()}
    rate = float(corpus.frame_rate)
    cells = make_cells(lengths, corpus.alignment, corpus.speakers, frame_rate=rate, task=task, seed=0)
    frames = make_frames(list(corpus.codes.values()), distance, corpus.codebook)
    return {side: average(speaker_errors(cells, getattr(cells, side), frames)) for side in SIDES}


def fastabx(python: str, corpus: Corpus, task: Task, distance: Distance, side: str, *, plain: bool) -> float:
    """Return what `python -m fastabx` prints; `plain` has it take all tokens, with the frames of libri-light."""
    tokens, speakers = ("-1", "-1") if plain else map(str, DRAWN)
    environment = os.environ | {"FASTABX_OUTPUT": "json", "FASTABX_WITH_LIBRILIGHT_BUG": str(int(plain))}
    with tempfile.TemporaryDirectory() as folder:
        item = Path(folder, "tokens.jsonl")
        item.write_text("".join(json.dumps(token) + "\n" for token in items(corpus, task)))
        write_features(corpus, distance, Path(folder, "features"))
        command = [python, "-m", "fastabx", item, Path(folder, "features"), "--frequency", str(corpus.frame_rate)]
        command += ["--max-size-group", tokens, "--max-x-across", speakers, "--speaker", side, "--distance", distance]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise UserError(f"fastabx failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)["score"]


def items(corpus: Corpus, task: Task) -> Iterator[dict[str, str]]:
    """List the phones that have neighbours, naively, as fastabx reads them."""
    for number, utt in enumerate(corpus.codes):
        phones = sorted(corpus.alignment[utt], key=lambda phone: phone.start)
        for before, phone, after in zip(phones, phones[1:], phones[2:], strict=False):
            if any(p.phone in SILENCE for p in (before, phone, after)):
                continue
            if any(abs(p.start + p.duration - q.start) >= MAX_GAP for p, q in ((before, phone), (phone, after))):
                continue
            first, last = (before, after) if task == "triphone" else (phone, phone)
            start, end = first.start, last.start + last.duration
            begin, stop = frames_of(start, end, corpus.frame_rate)
            if begin < stop:
                times = {"#file": f"{number:06}", "onset": f"{start:.6f}", "offset": f"{end:.6f}"}
                names = {"#phone": phone.phone, "prev-phone": before.phone, "next-phone": after.phone}
                yield times | names | {"speaker": corpus.speakers[utt]}


def write_features(corpus: Corpus, distance: Distance, folder: Path) -> None:
    """Write the codewords of each utterance, or for the distance `identical` a number for each unit."""
    folder.mkdir()
    codes = np.concatenate(list(corpus.codes.values()), axis=1)
    if distance == "identical":
        features = number_symbols(codes)[:, None]
    else:
        features = np.concatenate([book[code] for book, code in zip(corpus.codebook, codes, strict=True)], axis=1)
    ends = np.cumsum([of_utt.shape[1] for of_utt in corpus.codes.values()])
    for number, of_utt in enumerate(np.split(features, ends[:-1])):
        torch.save(torch.from_numpy(of_utt.copy()), folder / f"{number:06}.pt")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"check_fastabx: {error}")
