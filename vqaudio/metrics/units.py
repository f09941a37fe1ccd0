"""How well units stand for phones, and what they cost in bits.

A unit is the whole frame vector: with G > 1 groups the symbol that the metrics count is the tuple of codes;
only `usage` and `codes_used` count codes group by group. Silence and noise (`SILENCE`) are left out wherever
units are compared with phones, and stay in usage, perplexity and bitrates.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from vqaudio.datadir import Phone, read_ctm
from vqaudio.errors import UserError
from vqaudio.metrics.contingency import (
    cluster_purity,
    entropy,
    majority_accuracy,
    phone_purity,
    pnmi,
)
from vqaudio.metrics.symbols import SILENCE, number_symbols
from vqaudio.units import UnitsInfo, read_units

Units = Mapping[str, np.ndarray]
"""utt -> codes (G, N), one column a frame: repeats are not merged."""

Alignment = Mapping[str, list[Phone]]
"""utt -> phones, in seconds."""


def evaluate(
    units: Path, alignment: Path, *, mapping_units: Path | None = None, mapping_alignment: Path | None = None
) -> dict[str, float]:
    """Score a unit directory against a phone alignment; see `score` for the figures.

    Args:
        units: unit directory; a deduplicated one is expanded by its durations.
        alignment: CTM of phones, `utt 1 start duration phone` in seconds.
        mapping_units: units of other utterances, by the same model, from which the mapping of units to
            phones is learned. Without it: two folds of the utterances of `units`.
        mapping_alignment: CTM of the utterances of `mapping_units`; by default `alignment`.

    Raises:
        UserError: input that cannot be read, and whatever `score` raises.

    """
    info, codes = read_frames(units)
    mapping = None
    if mapping_units is not None:
        mapping = (read_frames(mapping_units)[1], read_ctm(mapping_alignment or alignment))
    try:
        return score(
            codes,
            read_ctm(alignment),
            frame_rate=info.frame_rate,
            codebook_size=info.codebook_size,
            mapping=mapping,
        )
    except UserError as error:
        raise UserError(f"{units}: {error}") from None


def read_frames(units: Path) -> tuple[UnitsInfo, dict[str, np.ndarray]]:
    """Read a unit directory whole: what its units are, and utt -> codes (G, N), expanded if deduplicated."""
    directory = read_units(units)
    return directory.info, {utterance.utt: utterance.codes for utterance in directory}


def score(
    units: Units,
    alignment: Alignment,
    *,
    frame_rate: float,
    codebook_size: int,
    mapping: tuple[Units, Alignment] | None = None,
) -> dict[str, float]:
    """Score units against phones; shares are in [0, 1].

    All frames give the figures of `code_statistics`. Frames whose phone is not silence give `phone_purity`,
    `cluster_purity`, `pnmi`, `mapping_accuracy` (held-out frames that carry the phone which their unit mostly
    carries in training) and `prior_accuracy` (the same frames all called the most frequent phone); frames in
    gaps of the alignment and beyond its end are dropped. Counts: `frames_scored`, `utterances`,
    `utterances_scored`, `utterances_without_alignment`, `utterances_without_units`.

    The mapping is learned on the utterances of `mapping` and measured on all of `units`. Without it, the
    sorted utterances are numbered from 0, that of the odd ones is measured on the even ones and the other way
    round, and both accuracies are over all frames (NaN when only one half has any).

    Args:
        units: utt -> codes (G, N), the same G for all.
        alignment: utt -> phones, in seconds.
        frame_rate: frames per second (Hz).
        codebook_size: K, codes per group.
        mapping: units and alignment of other utterances.

    Raises:
        UserError: no utterance has both units and phones, no frame has a phone other than silence, or the
            mapping's utterances are among those scored, which then are not held out.

    """
    statistics = code_statistics(units.values(), frame_rate=frame_rate, codebook_size=codebook_size)
    held_out = _paired(units, alignment)
    if mapping is None:
        halves = joint_counts(held_out, [n % 2 for n in range(len(held_out))], frame_rate)
        counts, splits = halves.sum(axis=0), [halves, halves[::-1]]
    else:
        if shared := units.keys() & mapping[0].keys():
            raise UserError(f"{len(shared)} utterances, {min(shared)} first, teach the mapping too: not held out")
        train = _paired(*mapping)
        folds = [0] * len(train) + [1] * len(held_out)
        splits = [joint_counts(train + held_out, folds, frame_rate)]
        counts = splits[0][1]
    if not counts.any():
        raise UserError("no frame lies in a phone other than silence: are the alignment's times seconds?")
    accuracy, prior = _accuracies(splits)
    return {
        **statistics,
        "phone_purity": phone_purity(counts),
        "cluster_purity": cluster_purity(counts),
        "pnmi": pnmi(counts),
        "mapping_accuracy": accuracy,
        "prior_accuracy": prior,
        "frames_scored": int(counts.sum()),
        "utterances": len(units),
        "utterances_scored": len(held_out),
        "utterances_without_alignment": len(units) - len(held_out),
        "utterances_without_units": len(alignment) - len(held_out),
    }


def code_statistics(units: Iterable[np.ndarray], *, frame_rate: float, codebook_size: int) -> dict[str, float]:
    """Measure how much of the codebook is in use and what the units cost, without any phones.

    Args:
        units: codes (G, N) of each utterance.
        frame_rate: frames per second (Hz).
        codebook_size: K.

    Returns:
        `frames` N, `codes_used`, `usage` = codes_used / (G · K), `perplexity` = exp H, and in bit/s
        `bitrate_nominal` = frame_rate · G · log₂ K, `bitrate_entropy` = (N / D) · H with D = N / frame_rate
        seconds, `bitrate_deduplicated` = (N' / D) · H' of the units left when repeats within an utterance are
        merged, which does not pay for durations.

    Raises:
        UserError: there is no frame.

    Source: bitrate of the ZeroSpeech challenge 2019: unigram entropy of whole frame vectors.

    """
    utterances = [codes for codes in units if codes.size]
    if not utterances:
        raise UserError("no utterance has a unit")
    codes = np.concatenate(utterances, axis=1)
    symbols = number_symbols(codes)
    starts_run = np.append(True, symbols[1:] != symbols[:-1])
    starts_run[np.cumsum([0] + [codes.shape[1] for codes in utterances[:-1]])] = True
    groups, num_frames = codes.shape
    codes_used = sum(len(np.unique(codes[group])) for group in range(groups))
    nats = entropy(np.bincount(symbols))
    nats_of_runs = entropy(np.bincount(symbols[starts_run]))
    return {
        "frames": num_frames,
        "codes_used": codes_used,
        "usage": codes_used / (groups * codebook_size),
        "perplexity": float(np.exp(nats)),
        "bitrate_nominal": float(frame_rate * groups * np.log2(codebook_size)),
        "bitrate_entropy": float(frame_rate * nats / np.log(2)),
        "bitrate_deduplicated": float(frame_rate * starts_run.mean() * nats_of_runs / np.log(2)),
    }


def frame_phones(phones: list[Phone], num_frames: int, frame_rate: float) -> np.ndarray:
    """Name the phone at the centre (n + ½) / frame_rate of each frame; "" in a gap and past the end.

    A phone covers [start, start + duration). Where phones overlap, the one that starts last counts.

    >>> frame_phones([Phone(0.0, 0.02, "AH"), Phone(0.02, 0.01, "T")], 4, 100).tolist()
    ['AH', 'AH', 'T', '']
    """
    ordered = sorted(phones, key=lambda phone: phone.start)
    starts = np.array([phone.start for phone in ordered])
    # The last entry, index −1, is what comes before the first phone: it ends before everything.
    ends = np.array([phone.start + phone.duration for phone in ordered] + [-np.inf])
    names = np.array([phone.phone for phone in ordered] + [""])
    centres = (np.arange(num_frames) + 0.5) / frame_rate
    index = np.searchsorted(starts, centres, side="right") - 1
    return np.where(centres < ends[index], names[index], "")


def joint_counts(utterances: list[tuple[np.ndarray, list[Phone]]], folds: list[int], frame_rate: float) -> np.ndarray:
    """Count frames of each phone and unit, in two folds; frames in silence or without a phone are left out.

    Args:
        utterances: codes (G, N) and phones of each.
        folds: 0 or 1 for each utterance.
        frame_rate: frames per second (Hz).

    Returns:
        Counts (2, Y, Z) of fold, phone and unit, among the Y phones and Z units that occur.

    """
    names = np.concatenate([frame_phones(phones, codes.shape[1], frame_rate) for codes, phones in utterances])
    symbols = number_symbols(np.concatenate([codes for codes, _ in utterances], axis=1))
    fold = np.repeat(folds, [codes.shape[1] for codes, _ in utterances])
    kept = ~np.isin(names, ["", *SILENCE])
    phone_names, phones = np.unique(names[kept], return_inverse=True)
    shape = (2, len(phone_names), symbols.max(initial=0) + 1)
    cells = np.ravel_multi_index((fold[kept], phones, symbols[kept]), shape)
    return np.bincount(cells, minlength=math.prod(shape)).reshape(shape)


def _paired(units: Units, alignment: Alignment) -> list[tuple[np.ndarray, list[Phone]]]:
    """Return codes and phones of each utterance that has both, sorted by utterance."""
    common = sorted(units.keys() & alignment.keys())
    if not common:
        raise UserError(
            f"none of its {len(units)} utterances is in the alignment, which has {len(alignment)}: "
            "give both the same utterance ids"
        )
    return [(units[utt], alignment[utt]) for utt in common]


def _accuracies(splits: list[np.ndarray]) -> tuple[float, float]:
    """Return mapping and prior accuracy over all splits, each counts (2, Y, Z) of train and held out."""
    right = right_by_prior = total = 0
    for train, held_out in splits:
        if not (train.any() and held_out.any()):
            return float("nan"), float("nan")
        by_mapping, by_prior = majority_accuracy(train, held_out)
        right, right_by_prior, total = (
            right + by_mapping,
            right_by_prior + by_prior,
            total + int(held_out.sum()),
        )
    return right / total, right_by_prior / total
