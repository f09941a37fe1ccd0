"""Confidence intervals: figures recomputed for draws of speakers with replacement.

Speakers are what is drawn, because the frames of one speaker are alike. A draw recombines what was counted for each
speaker; mappings are not learned again, and in across-speaker ABX it is the speaker of A and B that is drawn. Draws
repeat speakers, which by itself raises purities and PNMI a little: intervals are moved to where the mean of the draws
is the figure. Source: Efron 1979 (percentiles).
"""

import numpy as np
from scipy import sparse
from scipy.special import xlogy

from vqaudio.metrics.abx import average, averages
from vqaudio.metrics.phone_scores import LabelledFrames

DRAWS = 1000
LEVEL = 0.95
AT_ONCE = 1 << 22  # counts in memory at once: 32 MiB

Interval = list[float]
"""Lower and upper bound."""


def draw_speakers(speakers: int, *, seed: int = 0, draws: int = DRAWS) -> np.ndarray:
    """Return how often each speaker is in each draw: (draws, speakers)."""
    return np.random.default_rng(seed).multinomial(speakers, np.full(speakers, 1 / speakers), draws).astype(float)


def interval(values: np.ndarray, figure: float) -> Interval:
    """Return the bounds of the middle 95 % of values (R,), moved so that their mean is the figure, within [0, 1].

    Values that are NaN do not count; the bounds are NaN when all are.
    """
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return [float("nan"), float("nan")]
    bounds = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - values.mean() + figure
    return [float(bound) for bound in np.clip(bounds, 0.0, 1.0)]


def phone_intervals(frames: LabelledFrames, speakers: list[str], *, seed: int = 0) -> dict[str, Interval]:
    """Return the intervals of the figures of `vqaudio.metrics.phone_scores.score` that compare units with phones.

    Args:
        frames: the frames that the figures are of.
        speakers: the speaker of each of its utterances.
        seed: of the draws.
    """
    names, of_utterance = np.unique(speakers, return_inverse=True)
    speaker = of_utterance[frames.utterance]
    weights = np.concatenate([np.ones((1, len(names))), draw_speakers(len(names), seed=seed)])  # first, all once
    totals = weights @ np.bincount(speaker, minlength=len(names))
    weights, totals = weights[totals > 0], totals[totals > 0]  # a draw may hold only speakers without frames
    phones, cells = int(frames.phone.max()) + 1, frames.symbol * (int(frames.phone.max()) + 1) + frames.phone
    cells, cell = np.unique(cells, return_inverse=True)
    counts = sparse.csr_array((np.ones(len(cell)), (speaker, cell)), shape=(len(names), len(cells)))
    rows = max(1, AT_ONCE // len(cells))
    parts = [
        _table_figures(np.asarray(weights[i : i + rows] @ counts), cells // phones, cells % phones)
        for i in range(0, len(weights), rows)
    ]
    figures = dict(zip(("phone_purity", "cluster_purity", "pnmi"), np.concatenate(parts, axis=1), strict=True))
    for name, right in (("mapping_accuracy", frames.right), ("prior_accuracy", frames.right_by_prior)):
        figures[name] = weights @ np.bincount(speaker, weights=right, minlength=len(names)) / totals
    return {name: interval(values[1:], values[0]) for name, values in figures.items()}


def abx_interval(errors: np.ndarray, *, seed: int = 0) -> Interval:
    """Return the interval of `vqaudio.metrics.abx.average` for its errors (S, P, P)."""
    return interval(averages(errors, draw_speakers(len(errors), seed=seed)), average(errors))


def _table_figures(counts: np.ndarray, units: np.ndarray, phones: np.ndarray) -> np.ndarray:
    """Return phone purity, cluster purity and PNMI (3, R) of counts (R, C) of cells, which are sorted by unit."""
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
