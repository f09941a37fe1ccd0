"""Reads units as strings of phones, and counts the edits and boundaries by which those are wrong.

The figures are those of the benchmark DiscoPhon, which keeps silence: pauses, noise and gaps of the alignment are one
phone among the others. Phones are taken every 10 ms, at the centres of these frames, from 0 to the end of the
alignment. If units or phones go on for more than one unit after the other has ended, the rest is cut off.

DiscoPhon learns which phone a unit stands for on the scored utterances themselves; here it is learned on others, as for
`mapping_accuracy`. Give the scored ones as `mapping` for figures to compare with its own.

Source: Poli et al. 2026, "DiscoPhon" (arXiv 2603.18612).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from vqaudio.datadir import Phone
from vqaudio.metrics.boundaries import ROUNDING, TOLERANCE, count_regions, r_value
from vqaudio.metrics.contingency import majority_phones, pnmi
from vqaudio.metrics.dtw import edit_distance
from vqaudio.metrics.phone_scores import Alignment, Codes, frame_phones, joint_counts, paired
from vqaudio.metrics.symbols import SILENCE, number_symbols

PHONE_RATE = 100.0  # Hz
SILENT = 0
"""Number of the phone that all silence is."""
MICROSECONDS = 1_000_000
COUNTS = ("phones", "edits", "true", "found", "hits")
ONE_TO_ONE = "edits_one_to_one"


@dataclass(frozen=True)
class PhoneStrings:
    """What the units of utterances say when each unit is read as a phone, beside what was said."""

    utts: list[str]
    """The utterances that have units and phones, sorted."""
    counts: dict[str, np.ndarray]
    """Name -> (U,) for each utterance: `phones`, and `edits` between strings whose runs are merged; `true` and `found`
    boundaries, and `hits`; `edits_one_to_one` if there are as many units as phones. NaN if nothing teaches a mapping.
    """
    utterance: np.ndarray
    """(n,) index in `utts` of each frame of 10 ms."""
    phone: np.ndarray
    """(n,) numbers of phones."""
    symbol: np.ndarray
    """(n,) numbers of whole units."""


class _Labelled(NamedTuple):
    """One utterance as numbers: `phone` and `symbol` of its frames of 10 ms, and the whole strings behind them."""

    phone: np.ndarray
    symbol: np.ndarray
    phones: np.ndarray
    units: np.ndarray


def phone_strings(
    codes: Codes,
    alignment: Alignment,
    *,
    frame_rate: float,
    codebook_size: int,
    mapping: tuple[Codes, Alignment] | None = None,
) -> PhoneStrings:
    """Read each unit as the phone that it occurs with most often, and compare the strings with the alignment.

    Of equally frequent phones, the one that is most frequent over all units wins, and a unit that was not taught is
    read as that one. If one group has as many codes as there are phones, silence included, each code is also read as a
    phone of its own, chosen so that the frames that are right are as many as possible.

    Args:
        codes: utt -> codes (G, N), the same G for all.
        alignment: utt -> phones, in seconds.
        frame_rate: frames per second (Hz).
        codebook_size: K, codes per group.
        mapping: codes and alignment to learn from. Without it, the utterances are halved as by
            `vqaudio.metrics.phone_scores.label_frames`.

    Raises:
        UserError: no utterance has both units and phones.
    """
    scored = paired(codes, alignment)
    taught = paired(*mapping) if mapping else {}
    labelled, shape, square = _label([*scored.values(), *taught.values()], frame_rate, codebook_size)
    frames, teachers = labelled[: len(scored)], labelled[len(scored) :]
    rows = np.arange(len(frames))
    sides = [(teachers, rows)] if mapping else [(frames[1::2], rows[::2]), (frames[::2], rows[1::2])]
    counts = {name: np.full(len(frames), np.nan) for name in (*COUNTS, *([ONE_TO_ONE] if square else []))}
    for teaching, held_out in sides:
        if not any(len(utterance.phone) for utterance in teaching):
            continue
        table = _table(teaching, shape)
        many = phones_of_units(table)
        one = phones_one_to_one(table) if square else None
        for row in held_out:
            for name, count in _compare(frames[row], many, one, frame_rate).items():
                counts[name][row] = count
    return PhoneStrings(
        utts=list(scored),
        counts=counts,
        utterance=np.repeat(rows, [len(utterance.phone) for utterance in frames]),
        phone=np.concatenate([utterance.phone for utterance in frames]),
        symbol=np.concatenate([utterance.symbol for utterance in frames]),
    )


def discovery_figures(strings: PhoneStrings) -> dict[str, float]:
    """Score units as phones, silence included.

    Returns:
        `phone_error_rate` = edits / phones of strings whose runs are merged, which too many phones bring over 1;
        `phone_error_rate_one_to_one`, the same where each of as many units as phones is a phone of its own, else
        missing; `mapped_boundary_f1` and `mapped_r_value` of the times at which the phone that is read changes;
        `pnmi_with_silence`. NaN if nothing teaches a mapping, or there is nothing to find.
    """
    sums = {name: counts.sum(keepdims=True) for name, counts in strings.counts.items()}
    figures = {name: float(values[0]) for name, values in string_figures(sums).items()}
    table = joint_counts(strings.phone, strings.symbol) if len(strings.phone) else np.zeros((1, 1))
    return figures | {"pnmi_with_silence": pnmi(table)}


def string_figures(sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the figures of `discovery_figures` that are of sums (R,) of `PhoneStrings.counts`: (R,) each."""
    with np.errstate(divide="ignore", invalid="ignore"):
        figures = {"phone_error_rate": sums["edits"] / sums["phones"]}
        if ONE_TO_ONE in sums:
            figures["phone_error_rate_one_to_one"] = sums[ONE_TO_ONE] / sums["phones"]
        figures["mapped_boundary_f1"] = 2 * sums["hits"] / (sums["found"] + sums["true"])
        over = sums["found"] / sums["true"] - 1
        figures["mapped_r_value"] = np.vectorize(r_value, otypes=[float])(sums["hits"] / sums["true"], over)
    return figures


def phones_of_units(counts: np.ndarray) -> np.ndarray:
    """Return the phone (Z,) that each unit occurs with most often, by counts (Y, Z); ties as in `phone_strings`."""
    order = np.argsort(-counts.sum(axis=1), kind="stable")
    return order[majority_phones(counts[order])[0]]


def phones_one_to_one(counts: np.ndarray) -> np.ndarray:
    """Return a phone (Z,) of its own for each unit, for the greatest sum of counts (Y, Z), Y = Z."""
    order = np.argsort(-counts.sum(axis=1), kind="stable")
    phones, units = linear_sum_assignment(counts[order], maximize=True)
    return order[phones[np.argsort(units)]]


def _label(
    pairs: list[tuple[np.ndarray, list[Phone]]], frame_rate: float, codebook_size: int
) -> tuple[list[_Labelled], tuple[int, int], bool]:
    """Return codes (G, N) and phones of utterances as numbers, and how many phones and units there are.

    The last value is whether one group has as many codes as there are phones; units then are the codes themselves.
    """
    labels = sorted({phone.phone for _, phones in pairs for phone in phones} - set(SILENCE))
    numbers = {label: number for number, label in enumerate(labels, start=SILENT + 1)}
    strings = [_phone_frames(phones, numbers, codes.shape[1] + 1, frame_rate) for codes, phones in pairs]
    seconds = [len(phones) / PHONE_RATE for phones in strings]
    cut = [codes[:, : _floor(end * frame_rate) + 1] for (codes, _), end in zip(pairs, seconds, strict=True)]
    joined = np.concatenate(cut, axis=1)
    square = len(joined) == 1 and codebook_size == len(labels) + 1 > joined.max(initial=0)
    symbols = joined[0] if square else number_symbols(joined)
    shape = (len(labels) + 1, codebook_size if square else int(symbols.max(initial=-1)) + 1)
    ends = np.cumsum([codes.shape[1] for codes in cut])
    units = np.split(symbols, ends[:-1])
    return [_frames(*of, frame_rate) for of in zip(strings, units, strict=True)], shape, square


def _phone_frames(phones: list[Phone], numbers: Mapping[str, int], units: int, frame_rate: float) -> np.ndarray:
    """Return the number of the phone of each frame of 10 ms, for at most as long as this many units last."""
    end = max((phone.start + phone.duration for phone in phones), default=0.0)
    num_frames = math.ceil(min(end * PHONE_RATE - 0.5 - ROUNDING, _floor(units / frame_rate * PHONE_RATE)))
    labels, index = np.unique(frame_phones(phones, num_frames, PHONE_RATE), return_inverse=True)
    return np.array([numbers.get(label, SILENT) for label in labels], dtype=np.int32)[index]


def _frames(phones: np.ndarray, units: np.ndarray, frame_rate: float) -> _Labelled:
    """Return the strings and, for each frame of 10 ms, its phone and the unit at its centre."""
    unit = ((np.arange(len(phones)) + 0.5) / PHONE_RATE * frame_rate).astype(np.int64)
    unit = unit[unit < len(units)]
    return _Labelled(phones[: len(unit)], units[unit], phones, units)


def _table(utterances: list[_Labelled], shape: tuple[int, int]) -> np.ndarray:
    """Count the frames of 10 ms of each phone and unit."""
    phones, symbols = (np.concatenate([utterance[part] for utterance in utterances]) for part in (0, 1))
    return joint_counts(phones, symbols, shape)


def _compare(utterance: _Labelled, many: np.ndarray, one: np.ndarray | None, frame_rate: float) -> dict[str, int]:
    """Count what `PhoneStrings.counts` has of an utterance, whose units are read as phones by `many` and `one`."""
    said, true = _runs(utterance.phones)
    heard, found = _runs(many[utterance.units])
    times = [np.rint(edges / rate * MICROSECONDS) for edges, rate in ((found, frame_rate), (true, PHONE_RATE))]
    counts = {
        "phones": len(said),
        "edits": edit_distance(heard, said),
        "true": len(true),
        "found": len(found),
        "hits": count_regions(times[0], times[1], TOLERANCE * MICROSECONDS),
    }
    return counts if one is None else counts | {ONE_TO_ONE: edit_distance(_runs(one[utterance.units])[0], said)}


def _runs(string: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a string (n,) with its runs merged, and the places at which it changes.

    >>> _runs(np.array([7, 7, 2, 2, 2, 7]))
    (array([7, 2, 7]), array([2, 5]))
    """
    edges = np.flatnonzero(string[1:] != string[:-1]) + 1
    return np.append(string[:1], string[edges]).astype(np.int64), edges


def _floor(number: float) -> int:
    """Return the whole number at or below a number that floating point may have rounded."""
    return int(number + ROUNDING)
