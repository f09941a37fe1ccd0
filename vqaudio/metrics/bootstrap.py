"""Computes confidence intervals: figures of draws of speakers with replacement.

Speakers are drawn, not frames, because the frames of one speaker are alike. A draw recombines the counts of each
speaker; mappings are not learned again, and in across-speaker ABX the speaker of A and B is drawn. Draws repeat
speakers, which by itself raises purities and PNMI a little, so an interval is shifted until the mean of the draws is
the figure. Too few speakers or comparisons have no interval: a handful without an error would get [0, 0].

Source: Efron 1979 (percentiles).
"""

import numpy as np
from scipy import sparse
from scipy.special import xlogy

from vqaudio.metrics.abx import average, averages
from vqaudio.metrics.discovery import PhoneStrings, string_figures
from vqaudio.metrics.phone_scores import LabelledFrames

MIN_SPEAKERS = 3
MIN_COMPARISONS = 30
"""Least comparisons of ABX, or frames, with an interval."""

DRAWS = 1000
CONFIDENCE = 0.95
MAX_COUNTS = 1 << 22  # in memory at once: 32 MiB

Interval = list[float]
"""Lower and upper bound."""


def draw_speakers(speakers: int, *, seed: int = 0, draws: int = DRAWS) -> np.ndarray:
    """Return how often each speaker is in each draw: (draws, speakers)."""
    return np.random.default_rng(seed).multinomial(speakers, np.full(speakers, 1 / speakers), draws).astype(float)


def interval(values: np.ndarray, figure: float, limits: tuple[float, float] = (0.0, 1.0)) -> Interval:
    """Return the bounds of the middle 95 % of values (R,), shifted so that their mean is the figure, within `limits`.

    NaN does not count; there must be other values.
    """
    values = values[~np.isnan(values)]
    bounds = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) - values.mean() + figure
    return [float(bound) for bound in np.clip(bounds, *limits)]


def phone_intervals(frames: LabelledFrames, speakers: list[str], *, seed: int = 0) -> dict[str, Interval]:
    """Return the intervals of `vqaudio.metrics.phone_scores.phone_figures`; none if speakers or frames are too few.

    Args:
        frames: frames that the figures are of.
        speakers: the speaker of each of its utterances.
        seed: of the draws.
    """
    weights, of_utterance = _weights(frames.utterance, speakers, seed)
    if len(weights) == 0:
        return {}
    speaker = of_utterance[frames.utterance]
    tables = _drawn_tables(weights, speaker, frames.phone, frames.symbol)
    figures = dict(zip(("phone_purity", "cluster_purity", "pnmi"), tables, strict=True))
    totals = weights @ np.bincount(speaker, minlength=weights.shape[1])
    for name, right in (("mapping_accuracy", frames.right), ("prior_accuracy", frames.right_by_prior)):
        figures[name] = weights @ np.bincount(speaker, weights=right, minlength=weights.shape[1]) / totals
    return {name: interval(values[1:], values[0]) for name, values in figures.items() if not np.isnan(values[0])}


def string_intervals(strings: PhoneStrings, speakers: list[str], *, seed: int = 0) -> dict[str, Interval]:
    """Return the intervals of `vqaudio.metrics.discovery.discovery_figures`; none if speakers or frames are too few.

    Args:
        strings: what the figures are of.
        speakers: the speaker of each of its utterances.
        seed: of the draws.
    """
    weights, speaker = _weights(strings.utterance, speakers, seed)
    if len(weights) == 0:
        return {}
    sums = {name: weights @ np.bincount(speaker, of, weights.shape[1]) for name, of in strings.counts.items()}
    figures = string_figures(sums)
    tables = _drawn_tables(weights, speaker[strings.utterance], strings.phone, strings.symbol)
    figures["pnmi_with_silence"] = tables[2]
    limits = {"pnmi_with_silence": (0.0, 1.0), "mapped_boundary_f1": (0.0, 1.0), "mapped_r_value": (-np.inf, 1.0)}
    return {
        name: interval(values[1:], values[0], limits.get(name, (0.0, np.inf)))
        for name, values in figures.items()
        if not np.isnan(values[0])
    }


def abx_interval(errors: np.ndarray, comparisons: int, *, seed: int = 0) -> Interval | None:
    """Return the interval of `vqaudio.metrics.abx.average`; None if speakers or comparisons are too few.

    Args:
        errors: (S, P, P) of `vqaudio.metrics.abx.speaker_errors`.
        comparisons: number of triples (A, B, X) that the errors are of.
        seed: of the draws.
    """
    speakers = int((~np.isnan(errors)).any(axis=(1, 2)).sum())
    if speakers < MIN_SPEAKERS or comparisons < MIN_COMPARISONS:
        return None
    return interval(averages(errors, draw_speakers(len(errors), seed=seed)), average(errors))


def ratio_interval(
    numerators: np.ndarray, denominators: np.ndarray, speakers: list[str], limits: tuple[float, float]
) -> Interval | None:
    """Return the interval of a sum over utterances divided by another, such as errors by words.

    Args:
        numerators: (U,), one for each utterance; what has a denominator of 0 does not count.
        denominators: (U,), not negative.
        speakers: the speaker of each utterance.
        limits: least and greatest value of the ratio.

    Returns:
        The bounds; None if fewer than `MIN_SPEAKERS` have a denominator.
    """
    counted = denominators > 0
    names, speaker = np.unique(np.array(speakers)[counted], return_inverse=True)
    if len(names) < MIN_SPEAKERS:
        return None
    weights = np.concatenate([np.ones((1, len(names))), draw_speakers(len(names))])  # first, all once
    sums = [weights @ np.bincount(speaker, part[counted], len(names)) for part in (numerators, denominators)]
    ratios = sums[0] / sums[1]
    return interval(ratios[1:], ratios[0], limits)


def _weights(utterance: np.ndarray, speakers: list[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each speaker is in each draw, (R, speakers), first all once, and the speaker of each utterance.

    Draws without a frame are left out, and all draws if speakers or frames are too few.

    Args:
        utterance: (n,) index of each frame's utterance.
        speakers: the speaker of each utterance.
        seed: of the draws.
    """
    names, of_utterance = np.unique(speakers, return_inverse=True)
    frames = np.bincount(of_utterance[utterance], minlength=len(names))
    if (frames > 0).sum() < MIN_SPEAKERS or len(utterance) < MIN_COMPARISONS:
        return np.zeros((0, len(names))), of_utterance
    weights = np.concatenate([np.ones((1, len(names))), draw_speakers(len(names), seed=seed)])
    return weights[weights @ frames > 0], of_utterance


def _drawn_tables(weights: np.ndarray, speaker: np.ndarray, phone: np.ndarray, symbol: np.ndarray) -> np.ndarray:
    """Return phone purity, cluster purity and PNMI, (3, R), of the frames of each draw."""
    phones = int(phone.max()) + 1
    cells, cell = np.unique(symbol * phones + phone, return_inverse=True)
    counts = sparse.csr_array((np.ones(len(cell)), (speaker, cell)), shape=(weights.shape[1], len(cells)))
    rows = max(1, MAX_COUNTS // len(cells))
    parts = [
        _table_figures(np.asarray(weights[i : i + rows] @ counts), cells // phones, cells % phones)
        for i in range(0, len(weights), rows)
    ]
    return np.concatenate(parts, axis=1)


def _table_figures(counts: np.ndarray, units: np.ndarray, phones: np.ndarray) -> np.ndarray:
    """Return phone purity, cluster purity and PNMI, (3, R), of counts (R, C) of cells that are sorted by unit."""
    total = counts.sum(axis=1)
    of_unit = np.flatnonzero(np.append(True, units[1:] != units[:-1]))
    order = np.argsort(phones, kind="stable")
    of_phone = np.flatnonzero(np.append(True, np.diff(phones[order]) != 0))
    by_phone = counts[:, order]
    entropies = [
        np.log(total) - xlogy(table, table).sum(axis=1) / total
        for table in (
            np.add.reduceat(by_phone, of_phone, axis=1),
            np.add.reduceat(counts, of_unit, axis=1),
            counts,
        )
    ]
    with np.errstate(invalid="ignore"):
        pnmi = np.where(entropies[0] > 1e-12, (entropies[0] + entropies[1] - entropies[2]) / entropies[0], np.nan)
    purity = np.maximum.reduceat(counts, of_unit, axis=1).sum(axis=1) / total
    return np.stack([purity, np.maximum.reduceat(by_phone, of_phone, axis=1).sum(axis=1) / total, pnmi])
