"""How likely the tests of an analysis find a difference, and how many listeners that takes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vqaudio.errors import UserError
from vqaudio.listening.analysis.claims import Grain, claims, spread_of

MAX_LISTENERS = 1_000_000
DRAWS = 2000  # of mean squares, over which power is averaged
NOISE = 0.5  # share of a listener's variance that is not their opinion but the noise of their answers


@dataclass(frozen=True)
class Effect:
    """What is to be found: a mean difference, and how much it varies.

    Attributes:
        difference: mean over listeners and items; in shares, from 1/2.
        sd: standard deviation over listeners of their mean over the items; in shares, of what they would prefer on
            average if asked for ever.
        items: number of items, in shares also that of the answers of a listener.
        item_sd: standard deviation over items of the mean over all listeners.
        share: whether answers are 0 or 1.
    """

    difference: float
    sd: float
    items: int
    item_sd: float
    share: bool


def power(effect: Effect, listeners: int, alpha: float, *, items_like_these: bool) -> float:
    """Return the probability that the t-test of `claims` finds a difference in its true direction.

    Mean squares are drawn as normal values would make them; given these, the mean is normal. A single answer of each
    listener makes few different means, and these are counted exactly.
    """
    from scipy.stats import chi2, norm

    n, m = listeners, effect.items
    if effect.share and m == 1:
        return _power_of_single_answers(effect, n, alpha)
    grain = _grain(effect, n) if effect.share else Grain(0.0)
    of_listeners, of_items, of_rest = _mean_squares(effect, n)
    freedoms = (n - 1, m - 1, (n - 1) * (m - 1)) if m > 1 else (n - 1,)
    chances = np.random.default_rng(0).random((len(freedoms), DRAWS))
    draws = [chi2.ppf(chance, f) / f for chance, f in zip(chances, freedoms, strict=True)]
    drawn = [of_listeners * draws[0], *(np.full(DRAWS, np.nan) for _ in range(2))]
    if m > 1:
        drawn[1:] = [of_items * draws[1], of_rest * draws[2]]
    both = claims(np.zeros(1), spread_of(drawn[0], drawn[1], drawn[2], n, m), grain, level=1 - alpha)
    half, _ = both[1] if items_like_these else both[0]
    variance = of_listeners / (n * m) + (effect.item_sd**2 / m if items_like_these else 0.0)
    return float(norm.cdf((effect.difference - half) / np.sqrt(variance)).mean())


def listeners_for(reaches: Callable[[int], bool]) -> int | None:
    """Return the least number of listeners, two or more, that `reaches`; None if not even a million do."""
    enough = 2
    while not reaches(enough):
        enough *= 2
        if enough > MAX_LISTENERS:
            return None
    too_few = max(1, enough // 2)
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        too_few, enough = (too_few, middle) if reaches(middle) else (middle, enough)
    return enough


def abx_listeners(effect: Effect, alpha: float, wanted: float) -> int:
    """Return the listeners from which on the exact binomial test against guessing has the `wanted` power.

    The power of an exact test is a saw-tooth: a few more answers may have less power. With this number of listeners or
    any higher one, it is at least `wanted`. If listeners differ, their right answers are taken as normal.

    Raises:
        UserError: it takes more than a million answers.
    """
    from scipy.stats import binom, norm

    share, k = 0.5 + effect.difference, effect.items
    each = k * share * (1 - share) + k * (k - 1) * effect.sd**2  # variance of a listener's right answers
    spread = 0.5 * norm.isf(alpha) * np.sqrt(k) + np.sqrt(each) * norm.isf(1 - wanted)
    about = (spread / (k * effect.difference)) ** 2  # the normal approximation
    if about * k > MAX_LISTENERS:
        raise UserError(f"a share of {share:g} needs over {MAX_LISTENERS} answers; give a larger one")
    n = np.arange(1, 2 * int(np.ceil(about)) + 100)
    least = binom.isf(alpha, n * k, 0.5) + 1  # the smallest significant number of right answers
    if k == 1 or effect.sd == 0:
        found = binom.sf(least - 1, n * k, share)
    else:
        found = norm.sf((least - 0.5 - n * k * share) / np.sqrt(n * each))
    return int(n[found < wanted].max(initial=0)) + 1


def _power_of_single_answers(effect: Effect, n: int, alpha: float) -> float:
    """Return the power if each of `n` listeners gives one answer: it is that of which numbers of answers suffice."""
    from scipy.stats import binom

    first = np.arange(n + 1.0)
    means = first / n - 0.5
    nothing = np.full(n + 1, np.nan)
    spread = spread_of(first * (n - first) / (n * (n - 1)), nothing, nothing, n, 1)
    least = (first + 1) * (n - first + 1) / ((n + 2) * (n + 1)) / n  # with one answer more for either side
    (_, p), _ = claims(means, spread, Grain(least, n + 1, 0.5 / n))
    return float(binom.pmf(first, n, 0.5 + effect.difference)[(p < alpha) & (means > 0)].sum())


def _mean_squares(effect: Effect, n: int) -> tuple[float, float, float]:
    """Return the expected mean squares of listeners, items and the rest."""
    m, of_items = effect.items, effect.item_sd**2
    if not effect.share:
        rest = (NOISE if m > 1 else 1.0) * m * effect.sd**2
        return m * effect.sd**2, n * of_items + rest, rest
    share = 0.5 + effect.difference
    rest = max(share * (1 - share) - effect.sd**2 - of_items, 1e-6)
    return m * effect.sd**2 + rest, n * of_items + rest, rest


def _grain(effect: Effect, n: int) -> Grain:
    """Return the expected grain of the mean of shares."""
    answers = n * effect.items
    share = (answers * (0.5 + effect.difference) + 1) / (answers + 2)  # with one answer more for either side
    return Grain(share * (1 - share) * (answers + 2) / (answers + 1) / answers, answers + 1, 0.5 / answers)


def check(effect: Effect) -> None:
    """Raise UserError for shares that vary more than shares can."""
    share = 0.5 + effect.difference
    if effect.share and effect.sd**2 + effect.item_sd**2 > share * (1 - share):
        raise UserError(
            f"--sd {effect.sd:g}, --item-sd {effect.item_sd:g}: answers with a share of {share:g} cannot vary so much; "
            "give smaller ones"
        )
