"""What a mean over listeners and items says: about these very items, and about items like these; both by t-tests.

A claim about these items takes the listeners as a sample; a claim about items like these takes the items as a sample
too. Without that, a system that happens to be good at a few items looks better in general, the more listeners there
are, the surer.

Source: Clark (1973), Journal of Verbal Learning and Verbal Behavior 12, 335–359, for why; Satterthwaite (1946),
Biometrics Bulletin 2, 110–114, for the degrees of freedom; Searle, Casella and McCulloch, Variance Components (1992),
5, for components of variance from sums of squares of any layout.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95  # of all intervals
NEGLIGIBLE = 1e-9  # relative to the largest: what is smaller is 0 but for rounding

Array = NDArray[np.float64]
Numbers = NDArray[np.intp]


@dataclass(frozen=True)
class Cells:
    """Values of listeners about items, all of shape (N,); listeners, items and systems are numbered from 0.

    `values` are differences between two systems (or of an answer from the neutral one), one for each listener and item.
    If nobody heard an item with both systems, `values` are ratings of all `systems`, and `pair` says which two are
    compared, the first minus the second.
    """

    values: Array
    listeners: Numbers
    items: Numbers
    systems: Numbers | None = None
    pair: tuple[int, int] = (0, 1)


class Spread(NamedTuple):
    """Variances of a mean, with their degrees of freedom: over listeners, over items, and over both.

    The shape is that of the panels, () for a single one. Those of `items` and `both` are infinite for one item.
    """

    listeners: tuple[Array, Array]
    items: tuple[Array, Array]
    both: tuple[Array, Array]


class Means(NamedTuple):
    """Mean of each listener (n,) and each item (m,), what their spread says of the overall mean, and 1 / answers."""

    by_listener: Array
    by_item: Array
    spread: Spread
    single: float
    """Variance of the overall mean, if each answer is independent and has variance 1."""


def means_of(cells: Cells) -> Means:
    """Return the means of cells and the variances of their overall mean; at least two listeners.

    If nobody heard an item with both systems, means are taken after the main effects of listeners and items (least
    squares) were taken out.
    """
    matrix = _matrix(cells)
    if matrix is not None:
        spread = complete_spread(matrix)
        return Means(matrix.mean(axis=1), matrix.mean(axis=0), spread, 1 / matrix.size)
    design = _differences(cells) if cells.systems is None else _without_main_effects(cells, cells.systems)
    spread, single = _spread(cells.values, design)
    return Means(design.by_listener @ cells.values, design.by_item @ cells.values, spread, single)


def complete_spread(matrix: Array) -> Spread:
    """Return the variances of the means of matrices (..., listeners, items) without missing values.

    Over both it is (MS_L + MS_I − MS_LI) / (n m), where MS are the mean squares of listeners, items and the rest.
    """
    n, m = matrix.shape[-2:]
    by_listener, by_item = matrix.mean(axis=-1), matrix.mean(axis=-2)
    rest = matrix - by_listener[..., :, None] - by_item[..., None, :] + matrix.mean(axis=(-2, -1), keepdims=True)
    of_listeners = m * by_listener.var(axis=-1, ddof=1)
    if m == 1:
        return spread_of(of_listeners, np.full_like(of_listeners, np.nan), np.full_like(of_listeners, np.nan), n, m)
    of_rest = (rest**2).sum(axis=(-2, -1)) / ((n - 1) * (m - 1))
    return spread_of(of_listeners, n * by_item.var(axis=-1, ddof=1), of_rest, n, m)


def spread_of(of_listeners: Array, of_items: Array, of_rest: Array, n: int, m: int) -> Spread:
    """Return the variances of a mean of `n` listeners and `m` items from the mean squares of a complete matrix."""
    size, one = n * m, np.ones_like(of_listeners)
    listeners = (of_listeners / size, (n - 1) * one)
    if m == 1:
        return Spread(listeners, (np.inf * one, one), (np.inf * one, one))
    both = of_listeners + of_items - of_rest
    freedom = of_listeners**2 / (n - 1) + of_items**2 / (m - 1) + of_rest**2 / ((n - 1) * (m - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return Spread(listeners, (of_items / size, (m - 1) * one), (both / size, both**2 / freedom))


class Grain(NamedTuple):
    """What is known of the coarseness of answers.

    `least` is the least variance of an answer, or of a mean of answers; `freedom` its degrees of freedom, None for
    those of the listeners; `step` half the step between possible means, which is added to intervals (a correction for
    continuity).
    """

    least: Array | float
    freedom: Array | float | None = None
    step: Array | float = 0.0


def claims(
    mean: Array, spread: Spread, grain: Grain, *, level: float = CONFIDENCE
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return half the width of the interval and the two-sided p (mean 0) about these items, and about items like these.

    The first is the wider of two intervals, with the variance over listeners and with the least one: answers of a few
    listeners may agree by chance. The second is the widest of three, of which that is one; the others have the variance
    over items alone, and over listeners and items, which by chance can come out too small, even negative. p is always
    the largest.
    """
    fewest = np.minimum(spread.listeners[1], spread.items[1])  # the formula gives next to none for a tiny variance
    both = (np.maximum(spread.both[0], 0.0), np.fmax(spread.both[1], fewest))
    least = (grain.least, spread.listeners[1] if grain.freedom is None else grain.freedom)
    tried = (spread.listeners, least, spread.items, both)
    tests = [_t_test(mean, variance, freedom, grain.step, level) for variance, freedom in tried]
    halves, ps = (np.array(np.broadcast_arrays(*[test[i] for test in tests])) for i in (0, 1))
    return (halves[:2].max(axis=0), ps[:2].max(axis=0)), (halves.max(axis=0), ps.max(axis=0))


def describe_claims(means: Means, grain: Grain) -> dict[str, Any]:
    """Return the claims `these_items` and `items_like_these`, ready for JSON; the latter is None for one item.

    `grain` is that of an answer, with the step of the mean.
    """
    centre = float(means.by_listener.mean())
    both = claims(np.array(centre), means.spread, grain._replace(least=grain.least * means.single))
    described = [{"low95": centre - float(half), "high95": centre + float(half), "p": float(p)} for half, p in both]
    return {"these_items": described[0], "items_like_these": described[1] if len(means.by_item) > 1 else None}


def item_sd(means: Means) -> float | None:
    """Return the standard deviation over items of the difference, without that of noise; None for one item."""
    m = len(means.by_item)
    if m < 2:
        return None
    return float(np.sqrt(max(0.0, m * float(means.spread.both[0] - means.spread.listeners[0]))))


def _t_test(
    mean: Array, variance: Array | float, freedom: Array | float, step: Array | float, level: float
) -> tuple[Array, Array]:
    """Return half the width of the interval of a mean, and the two-sided p of its being 0."""
    from scipy.stats import t

    error, beyond = np.broadcast_arrays(np.sqrt(variance), np.maximum(np.abs(mean) - step, 0.0))
    ratio = np.divide(beyond, error, out=np.where(beyond > 0, np.inf, 0.0), where=error > 0)
    return t.isf((1 - level) / 2, freedom) * error + step, 2 * t.sf(ratio, freedom)


class _Design(NamedTuple):
    """How means come from values (N,): rows (n, N) and (m, N) of weights, and what is common to values.

    `basis` (N, r) spans the main effects; `same_listener` and `same_item` (N,) number the values with a common effect
    of listener and system, and of item and system.
    """

    by_listener: Array
    by_item: Array
    basis: Array
    same_listener: Numbers
    same_item: Numbers


def _matrix(cells: Cells) -> Array | None:
    """Return differences (listeners, items) as a matrix; None if some are missing, or the values are ratings."""
    n, m = int(cells.listeners.max()) + 1, int(cells.items.max()) + 1
    if cells.systems is not None or len(cells.values) != n * m:
        return None
    matrix = np.full((n, m), np.nan)
    matrix[cells.listeners, cells.items] = cells.values
    return None if np.isnan(matrix).any() else matrix


def _differences(cells: Cells) -> _Design:
    """Return plain means of differences, some of which are missing."""
    listeners, items = _marks(cells.listeners), _marks(cells.items)
    basis, _ = _span(np.hstack([listeners, items]))
    by_listener, by_item = ((marks / marks.sum(axis=0)).T for marks in (listeners, items))
    return _Design(by_listener, by_item, basis, cells.listeners, cells.items)


def _without_main_effects(cells: Cells, systems: Numbers) -> _Design:
    """Return differences between two systems that no listener heard on the same item."""
    listeners, items, marks = _marks(cells.listeners), _marks(cells.items), _marks(systems)
    basis, inverse = _span(np.hstack([listeners, items, marks]))
    n, m = listeners.shape[1], items.shape[1]

    def rows(groups: Array, others: Array, effects: Array) -> Array:
        first, second = (groups * marks[:, [system]] for system in cells.pair)
        kept = (first.sum(axis=0) > 0) & (second.sum(axis=0) > 0)
        first, second = first[:, kept], second[:, kept]
        plain = (first / first.sum(axis=0) - second / second.sum(axis=0)).T
        return plain - (plain @ others) @ effects if len(plain) else np.zeros((1, len(groups)))

    count = marks.shape[1]
    return _Design(
        rows(listeners, items, inverse[n : n + m]),
        rows(items, listeners, inverse[:n]),
        basis,
        cells.listeners * count + systems,
        cells.items * count + systems,
    )


def _spread(values: Array, design: _Design) -> tuple[Spread, float]:
    """Return the variances of the mean of by_listener, and its variance if values are independent with variance 1.

    Sums of squares of listeners, of items and of what main effects leave over are weighted so that their expectations
    add up to the variance of the mean, whatever the components of listeners, items and noise are.
    """
    parts = [rows - rows.mean(axis=0) for rows in (design.by_listener, design.by_item)]
    left = values - design.basis @ (design.basis.T @ values)
    sums = np.array([*(_square(rows @ values) for rows in parts), _square(left)])
    groups, weights = (design.same_listener, design.same_item), design.by_listener.mean(axis=0)
    rest = len(values) - design.basis.shape[1]
    expected = [[*(_square(_added(rows, group)) for group in groups), _square(rows)] for rows in parts]
    expected.append([*(len(values) - _square(_added(design.basis.T, group)) for group in groups), rest])
    target = np.array([*(_square(_added(weights[None], group)) for group in groups), _square(weights)])
    shares = np.linalg.lstsq(np.array(expected).T, target, rcond=NEGLIGIBLE)[0] * sums
    freedom = np.array([*(_freedom(rows) for rows in parts), max(rest, 1)])
    both, squares = shares.sum(), (shares**2 / freedom).sum()
    alone = [
        # What taking out main effects takes from the spread of means is given back.
        (_square(rows.mean(axis=0)) / max(_square(part), NEGLIGIBLE) * total, df)
        for rows, part, total, df in zip((design.by_listener, design.by_item), parts, sums, freedom, strict=False)
    ]
    if len(design.by_item) < 2:
        alone[1], both, squares = (np.inf, 1.0), np.inf, np.inf
    found = [(np.array(v), np.array(df)) for v, df in (*alone, (both, both**2 / squares if squares > 0 else 1.0))]
    return Spread(*found), float(target[2])


def _freedom(rows: Array) -> float:
    """Return the degrees of freedom of the sum of squares of `rows` @ independent values, by Satterthwaite."""
    covariance = rows @ rows.T
    return float(np.trace(covariance) ** 2 / max(_square(covariance), NEGLIGIBLE))


def _span(effects: Array) -> tuple[Array, Array]:
    """Return an orthonormal basis of the columns, and the pseudo-inverse."""
    sizes, directions = np.linalg.eigh(effects.T @ effects)
    kept = sizes > NEGLIGIBLE * sizes.max()
    basis = effects @ (directions[:, kept] / np.sqrt(sizes[kept]))
    return basis, (directions[:, kept] / np.sqrt(sizes[kept])) @ basis.T


def _marks(numbers: Numbers) -> Array:
    """Return (N, groups) with a 1 in the column of each value's group; groups that do not occur are left out."""
    return (numbers[:, None] == np.unique(numbers)).astype(float)


def _added(rows: Array, groups: Numbers) -> Array:
    """Return rows (R, N) with the columns of each group added up, (R, groups)."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    return np.asarray(np.add.reduceat(rows[:, order], starts, axis=1))


def _square(values: Array) -> float:
    return float((values**2).sum())
