"""Scores how well units represent phones, and what they cost in bits.

A unit is the tuple of the codes of all groups of a frame; only `usage` and `codes_used` count codes group by group.
Silence and noise (`symbols.SILENCE`) are left out wherever units are compared with phones, and count in usage,
perplexity and bitrates.
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

Codes = Mapping[str, np.ndarray]
"""utt -> codes (G, N), one column per frame: runs are not merged."""

Alignment = Mapping[str, list[Phone]]
"""utt -> phones, in seconds."""


def read_frames(units: Path, *, expected_hash: str | None = None) -> tuple[UnitsInfo, dict[str, np.ndarray]]:
    """Read a whole unit directory into memory: its settings, and utt -> codes (G, N), expanded if deduplicated.

    Raises:
        UserError: as in `vqaudio.units.directory.read_units`.
    """
    directory = read_units(units, expected_hash=expected_hash)
    return directory.info, {utterance.utt: utterance.codes for utterance in directory}


@dataclass(frozen=True)
class LabelledFrames:
    """The frames of utterances that have units and phones, without those in silence and those without a phone."""

    utts: list[str]
    """The utterances, sorted."""
    utterance: np.ndarray
    """(n,) index of each frame's utterance in `utts`."""
    phone: np.ndarray
    """(n,) numbers of phones."""
    symbol: np.ndarray
    """(n,) numbers of whole units."""
    right: np.ndarray
    """(n,) 1 if the held-out mapping names the phone, else 0; NaN if nothing teaches a mapping."""
    right_by_prior: np.ndarray
    """(n,) the same for calling every frame the most frequent phone."""
    without_alignment: int
    """Number of utterances that have units only."""
    without_units: int
    """Number of utterances that have phones only."""

    def counts(self) -> np.ndarray:
        """Count the frames of each phone and unit: (Y, Z)."""
        return joint_counts(self.phone, self.symbol)


def label_frames(
    codes: Codes, alignment: Alignment, *, frame_rate: float, mapping: tuple[Codes, Alignment] | None = None
) -> LabelledFrames:
    """Return the phones and units of frames as numbers, and whether a held-out mapping of units to phones is right.

    The mapping is learned on the utterances of `mapping` and tested on all of `codes`. Without it, the utterances are
    sorted and numbered from 0; a mapping learned on the even ones is tested on the odd ones, and the other way round.
    Frames in gaps of the alignment and beyond its end are dropped.

    Args:
        codes: utt -> codes (G, N), the same G for all.
        alignment: utt -> phones, in seconds.
        frame_rate: frames per second (Hz).
        mapping: codes and alignment of other utterances.

    Raises:
        UserError: no utterance has both units and phones, no frame has a phone other than silence, or utterances of
            `mapping` are among those scored, which are then not held out.
    """
    held_out = paired(codes, alignment)
    train = paired(*mapping) if mapping else {}
    if shared := codes.keys() & (mapping[0] if mapping else {}).keys():
        raise UserError(f"{len(shared)} utterances, such as {min(shared)}, also teach the mapping; hold them out of it")
    both = [*held_out.values(), *train.values()]
    names = np.concatenate([frame_phones(phones, units.shape[1], frame_rate) for units, phones in both])
    symbols = number_symbols(np.concatenate([units for units, _ in both], axis=1))
    index = np.repeat(np.arange(len(both)), [units.shape[1] for units, _ in both])
    kept = ~np.isin(names, SILENCE)
    index, symbols, phones = index[kept], symbols[kept], np.unique(names[kept], return_inverse=True)[1]
    scored = index < len(held_out)
    if not scored.any():
        raise UserError("no frame is in a phone other than silence; check that the alignment is in seconds")
    if mapping:
        right, by_prior = named_right(phones, symbols, train=~scored, held_out=scored)
    else:
        odd = index % 2 == 1
        sides = [named_right(phones, symbols, train=train, held_out=~train) for train in (odd, ~odd)]
        right, by_prior = (np.where(odd, b, a) for a, b in zip(*sides, strict=True))
    return LabelledFrames(
        utts=list(held_out),
        utterance=index[scored],
        phone=phones[scored],
        symbol=symbols[scored],
        right=right[scored],
        right_by_prior=by_prior[scored],
        without_alignment=len(codes) - len(held_out),
        without_units=len(alignment) - len(held_out),
    )


def phone_figures(frames: LabelledFrames) -> dict[str, float]:
    """Compare units with phones; shares are in [0, 1].

    Returns:
        `phone_purity`, `cluster_purity`, `pnmi`; `mapping_accuracy`, the share of frames whose phone the held-out
        mapping names, and `prior_accuracy`, the same for the most frequent phone (both NaN if nothing teaches a
        mapping); counts `frames_scored`, `utterances` with units, `utterances_scored`, `utterances_without_alignment`,
        `utterances_without_units`.
    """
    counts = frames.counts()
    return {
        "phone_purity": phone_purity(counts),
        "cluster_purity": cluster_purity(counts),
        "pnmi": pnmi(counts),
        "mapping_accuracy": float(frames.right.mean()),
        "prior_accuracy": float(frames.right_by_prior.mean()),
        "frames_scored": int(counts.sum()),
        "utterances": len(frames.utts) + frames.without_alignment,
        "utterances_scored": len(frames.utts),
        "utterances_without_alignment": frames.without_alignment,
        "utterances_without_units": frames.without_units,
    }


def named_right(
    phones: np.ndarray, symbols: np.ndarray, *, train: np.ndarray, held_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) 1 for each frame whose phone is named right by `contingency.majority_phones` of training, else 0.

    Args:
        phones: (n,) numbers of phones.
        symbols: (n,) numbers of units.
        train: (n,) whether the frame teaches.
        held_out: (n,) whether it is tested.

    Returns:
        Right by the mapping, and right by the most frequent phone; all NaN if no frame teaches or none is tested.
    """
    if not (train.any() and held_out.any()):
        return np.full(len(phones), np.nan), np.full(len(phones), np.nan)
    shape = (int(phones.max()) + 1, int(symbols.max()) + 1)
    mapping, prior = majority_phones(joint_counts(phones[train], symbols[train], shape))
    return (mapping[symbols] == phones).astype(float), (phones == prior).astype(float)


def code_statistics(codes: Iterable[np.ndarray], *, frame_rate: float, codebook_size: int) -> dict[str, float]:
    """Measure how much of the codebook is used and what the units cost, without any phones.

    Args:
        codes: (G, N) of each utterance.
        frame_rate: frames per second (Hz).
        codebook_size: K.

    Returns:
        `frames` N, `codes_used`, `usage` = codes_used / (G · K), `perplexity` = exp H, and in bit/s
        `bitrate_nominal` = frame_rate · G · log₂ K, `bitrate_entropy` = (N / D) · H with D = N / frame_rate
        seconds, `bitrate_deduplicated` = (N' / D) · H' of the units that are left when runs within an utterance are
        merged; it does not include durations.

    Raises:
        UserError: there is no frame.

    Source: bitrate of the ZeroSpeech challenge 2019: unigram entropy of whole frame vectors.
    """
    utterances = [utterance for utterance in codes if utterance.size]
    if not utterances:
        raise UserError("no utterance has a unit; extract the units again")
    joined = np.concatenate(utterances, axis=1)
    symbols = number_symbols(joined)
    starts_run = np.append(True, symbols[1:] != symbols[:-1])
    starts_run[np.cumsum([0] + [utterance.shape[1] for utterance in utterances[:-1]])] = True
    groups, num_frames = joined.shape
    codes_used = sum(len(np.unique(group)) for group in joined)
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
    """Return the phone at the centre (n + ½) / frame_rate of each frame (N,); "" in a gap and beyond the end.

    A phone covers [start, start + duration). If phones overlap, the one that starts last counts.

    >>> frame_phones([Phone(0.0, 0.02, "AH"), Phone(0.02, 0.01, "T")], 4, 100).tolist()
    ['AH', 'AH', 'T', '']
    """
    ordered = sorted(phones, key=lambda phone: phone.start)
    starts = np.array([phone.start for phone in ordered])
    # The last entry, index −1, is the time before the first phone: it ends before everything.
    ends = np.array([phone.start + phone.duration for phone in ordered] + [-np.inf])
    names = np.array([phone.phone for phone in ordered] + [""])
    centres = (np.arange(num_frames) + 0.5) / frame_rate
    index = np.searchsorted(starts, centres, side="right") - 1
    return np.where(centres < ends[index], names[index], "")


def joint_counts(phones: np.ndarray, symbols: np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Count the frames of each phone and unit: (Y, Z), by default just large enough for all numbers."""
    shape = shape or (int(phones.max()) + 1, int(symbols.max()) + 1)
    return np.bincount(np.ravel_multi_index((phones, symbols), shape), minlength=math.prod(shape)).reshape(shape)


def paired(codes: Codes, alignment: Alignment) -> dict[str, tuple[np.ndarray, list[Phone]]]:
    """Return codes and phones of each utterance that has both, sorted by utterance."""
    common = sorted(codes.keys() & alignment.keys())
    if not common:
        raise UserError(
            f"none of its {len(codes)} utterances is among the {len(alignment)} of the alignment; "
            "give both the same utterance ids"
        )
    return {utt: (codes[utt], alignment[utt]) for utt in common}
