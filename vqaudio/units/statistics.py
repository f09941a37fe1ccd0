"""Describes a unit directory: how long, how diverse, how often units change; memory does not grow with its length."""

from pathlib import Path
from typing import Any

import numpy as np

from vqaudio.errors import UserError
from vqaudio.metrics.contingency import entropy
from vqaudio.units.directory import UnitsInfo, read_units
from vqaudio.units.ngrams import LARGEST, SPECIAL, Counter, Vocabulary, ngram_keys
from vqaudio.units.sequence import deduplicate

SHOWN = 5
"""Most and least frequent units, and most frequent n-grams, that are named."""


def unit_statistics(directory: Path, order: int) -> dict[str, Any]:
    """Return what a unit directory holds.

    Names that `vqaudio.metrics.phone_scores.code_statistics` has too mean the same here. `run_length` is in frames; in
    `ngrams`, which lie within utterances, runs of equal frames are one unit.

    Args:
        directory: what `vqaudio extract` wrote, deduplicated or not.
        order: length of the longest n-grams to count, of at least 1.

    Raises:
        UserError: the units cannot be read, or have too many different n-grams.
    """
    units = read_units(directory)
    vocabulary = Vocabulary.of(units)
    size = len(vocabulary)
    if size**order > LARGEST:
        raise UserError(f"{directory}: n-grams of {order} of {size} units are too many to count; use a lower --order")
    cure = "use a lower --order"
    ngrams = [Counter(str(directory), cure) for _ in range(order)]
    frames, lengths = np.zeros(size, np.int64), Counter(str(directory), cure)
    used = np.zeros((units.info.groups, units.info.codebook_size), dtype=bool)
    for sequence in units:
        runs, durations = deduplicate(sequence.codes)
        tokens = vocabulary.tokens(runs)
        frames += np.bincount(tokens, durations, minlength=size).astype(np.int64)
        lengths.add(durations)
        for row, group in zip(used, runs, strict=True):
            row[group] = True
        for n, counter in enumerate(ngrams, start=1):
            counter.add(ngram_keys(tokens, n, size))
    counted = [counter.finish() for counter in ngrams]
    return {
        **_rates(units.info, frames, counted[0][1], used),
        "run_length": _run_lengths(*lengths.finish()),
        **_frequent(vocabulary, frames),
        "ngrams": {str(n): _ngrams(vocabulary, n, *found) for n, found in enumerate(counted, start=1)},
    }


def _rates(info: UnitsInfo, frames: np.ndarray, runs: np.ndarray, used: np.ndarray) -> dict[str, Any]:
    """Return durations, use of the codebook and bit rates, from the frames and the runs of each unit."""
    nats, total = entropy(frames), int(frames.sum())
    return {
        "utterances": info.num_utterances,
        "frames": total,
        "hours": total / info.frame_rate / 3600,
        "frame_rate": info.frame_rate,
        "codes_used": int(used.sum()),
        "usage": float(used.mean()),
        "perplexity": float(np.exp(nats)),
        "bitrate_nominal": float(info.frame_rate * info.groups * np.log2(info.codebook_size)),
        "bitrate_entropy": float(info.frame_rate * nats / np.log(2)),
        "bitrate_deduplicated": float(info.frame_rate * runs.sum() / total * entropy(runs) / np.log(2)),
    }


def _run_lengths(lengths: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """Return mean, quantiles and maximum of run lengths, each with its count, in order."""
    below = np.cumsum(counts) / counts.sum()
    quantiles = {f"p{percent}": int(lengths[np.searchsorted(below, percent / 100)]) for percent in (10, 50, 90)}
    return {"mean": float((lengths * counts).sum() / counts.sum()), **quantiles, "longest": int(lengths[-1])}


def _frequent(vocabulary: Vocabulary, frames: np.ndarray) -> dict[str, list[list[Any]]]:
    """Return the units with most and with fewest frames (also none), each with its share of all frames."""
    tokens = np.arange(len(SPECIAL), len(vocabulary))
    order = tokens[np.argsort(-frames[tokens], kind="stable")]
    named = [[vocabulary.words[token], float(frames[token] / frames.sum())] for token in order]
    return {"most_frequent": named[:SHOWN], "least_frequent": named[::-1][:SHOWN]}


def _ngrams(vocabulary: Vocabulary, n: int, keys: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    """Return how many n-grams there are, how many different ones, how many of them once, and the most frequent."""
    size, most = len(vocabulary), np.argsort(-counts, kind="stable")[:SHOWN]
    names = [" ".join(vocabulary.words[keys[i] // size**j % size] for j in range(n - 1, -1, -1)) for i in most]
    return {
        "total": int(counts.sum()),
        "different": len(keys),
        "once": int((counts == 1).sum()),
        "most_frequent": [[name, int(counts[i])] for name, i in zip(names, most, strict=True)],
    }


def describe(statistics: dict[str, Any]) -> str:
    """Return statistics as lines for people."""
    s, run = statistics, statistics["run_length"]
    lines = [
        f"{s['utterances']} utterances, {s['frames']} frames, {s['hours']:.3g} hours at {s['frame_rate']:g} Hz",
        f"{s['codes_used']} codes in use ({s['usage']:.1%}), perplexity {s['perplexity']:.1f}",
        f"bit/s: {s['bitrate_nominal']:.0f} nominal, {s['bitrate_entropy']:.0f} entropy, "
        f"{s['bitrate_deduplicated']:.0f} with runs merged (without their lengths)",
        f"run length in frames: mean {run['mean']:.2f}, 10 % {run['p10']}, median {run['p50']}, 90 % {run['p90']}, "
        f"longest {run['longest']}",
    ]
    for key in ("most_frequent", "least_frequent"):
        named = ", ".join(f"{word} ({share:.2%})" for word, share in s[key])
        lines.append(f"{key.replace('_', ' ')} units: {named}")
    for n, found in s["ngrams"].items():
        named = ", ".join(f"{name} ({count})" for name, count in found["most_frequent"])
        lines.append(
            f"{n}-grams, runs merged: {found['total']}, {found['different']} different, {found['once']} once; {named}"
        )
    return "\n".join(lines)
