"""How well units stand for phones, and what they cost in bits.

A unit is the whole frame vector: with G > 1 groups the symbol that the metrics count is the tuple of codes;
only `usage` and `codes_used` count codes group by group. Silence and noise (`SILENCE`) are left out wherever
units are compared with phones, and stay in usage, perplexity and bitrates.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqaudio.datadir import Phone
from vqaudio.errors import UserError
from vqaudio.metrics.contingency import (
    cluster_purity,
    entropy,
    majority_phones,
    phone_purity,
    pnmi,
)
from vqaudio.metrics.symbols import SILENCE, number_symbols
from vqaudio.units import UnitsInfo, read_units

Units = Mapping[str, np.ndarray]
"""utt -> codes (G, N), one column a frame: repeats are not merged."""

Alignment = Mapping[str, list[Phone]]
"""utt -> phones, in seconds."""


def read_frames(units: Path, *, expected_hash: str | None = None) -> tuple[UnitsInfo, dict[str, np.ndarray]]:
    """Read a unit directory whole: what its units are, and utt -> codes (G, N), expanded if deduplicated.

    Raises:
        UserError: as `vqaudio.units.directory.read_units`.
    """
    directory = read_units(units, expected_hash=expected_hash)
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
    frames = label_frames(units, alignment, frame_rate=frame_rate, mapping=mapping)
    counts = frames.counts()
    return {
        **statistics,
        "phone_purity": phone_purity(counts),
        "cluster_purity": cluster_purity(counts),
        "pnmi": pnmi(counts),
        "mapping_accuracy": float(frames.right.mean()),
        "prior_accuracy": float(frames.right_by_prior.mean()),
        "frames_scored": int(counts.sum()),
        "utterances": len(units),
        "utterances_scored": len(frames.utts),
        "utterances_without_alignment": len(units) - len(frames.utts),
        "utterances_without_units": len(alignment) - len(frames.utts),
    }


@dataclass(frozen=True)
class LabelledFrames:
    """The frames of utterances that have units and phones, less those in silence or without a phone."""

    utts: list[str]
    """The utterances, sorted."""
    utterance: np.ndarray
    """(n,) of each frame its index in `utts`."""
    phone: np.ndarray
    """(n,) numbers of phones."""
    symbol: np.ndarray
    """(n,) numbers of whole units."""
    right: np.ndarray
    """(n,) 1 where held-out mapping names the phone, 0 where not; NaN when nothing teaches a mapping."""
    right_by_prior: np.ndarray
    """(n,) the same for calling every frame the most frequent phone."""

    def counts(self) -> np.ndarray:
        """Count the frames of each phone and unit: (Y, Z)."""
        return joint_counts(self.phone, self.symbol)


def label_frames(
    units: Units, alignment: Alignment, *, frame_rate: float, mapping: tuple[Units, Alignment] | None = None
) -> LabelledFrames:
    """Give frames their phones and units as numbers, and tell which the held-out mapping of `score` names right.

    Args:
        units: as in `score`.
        alignment: as in `score`.
        frame_rate: as in `score`.
        mapping: as in `score`.

    Raises:
        UserError: as `score`.
    """
    held_out = _paired(units, alignment)
    train = _paired(*mapping) if mapping else {}
    if shared := units.keys() & (mapping[0] if mapping else {}).keys():
        raise UserError(f"{len(shared)} utterances, {min(shared)} first, teach the mapping too: not held out")
    both = [*held_out.values(), *train.values()]
    names = np.concatenate([frame_phones(phones, codes.shape[1], frame_rate) for codes, phones in both])
    symbols = number_symbols(np.concatenate([codes for codes, _ in both], axis=1))
    index = np.repeat(np.arange(len(both)), [codes.shape[1] for codes, _ in both])
    kept = ~np.isin(names, ["", *SILENCE])
    index, symbols, phones = index[kept], symbols[kept], np.unique(names[kept], return_inverse=True)[1]
    scored = index < len(held_out)
    if not scored.any():
        raise UserError("no frame lies in a phone other than silence: are the alignment's times seconds?")
    if mapping:
        right, by_prior = named_right(phones, symbols, train=~scored, held_out=scored)
    else:
        odd = index % 2 == 1
        sides = [named_right(phones, symbols, train=train, held_out=~train) for train in (odd, ~odd)]
        right, by_prior = (np.where(odd, b, a) for a, b in zip(*sides, strict=True))
    return LabelledFrames(
        list(held_out), index[scored], phones[scored], symbols[scored], right[scored], by_prior[scored]
    )


def named_right(
    phones: np.ndarray, symbols: np.ndarray, *, train: np.ndarray, held_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Name frames by the phones of `contingency.majority_phones` in training: (n,) 1 where right, 0 where wrong.

    Args:
        phones: (n,) numbers of phones.
        symbols: (n,) numbers of units.
        train: (n,) whether the frame teaches.
        held_out: (n,) whether it is tested.

    Returns:
        Right by the mapping and right by the most frequent phone; all NaN when no frame teaches or none is tested.
    """
    if not (train.any() and held_out.any()):
        return np.full(len(phones), np.nan), np.full(len(phones), np.nan)
    shape = (int(phones.max()) + 1, int(symbols.max()) + 1)
    mapping, prior = majority_phones(joint_counts(phones[train], symbols[train], shape))
    return (mapping[symbols] == phones).astype(float), (phones == prior).astype(float)


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


def joint_counts(phones: np.ndarray, symbols: np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Count frames of each phone and unit: (Y, Z), by default as large as the numbers of phones and units demand."""
    shape = shape or (int(phones.max()) + 1, int(symbols.max()) + 1)
    return np.bincount(np.ravel_multi_index((phones, symbols), shape), minlength=math.prod(shape)).reshape(shape)


def _paired(units: Units, alignment: Alignment) -> dict[str, tuple[np.ndarray, list[Phone]]]:
    """Return codes and phones of each utterance that has both, sorted by utterance."""
    common = sorted(units.keys() & alignment.keys())
    if not common:
        raise UserError(
            f"none of its {len(units)} utterances is in the alignment, which has {len(alignment)}: "
            "give both the same utterance ids"
        )
    return {utt: (units[utt], alignment[utt]) for utt in common}
