"""Decides who counts: by hand, by checks within the test, and in MUSHRA by the post-screening of ITU-R BS.1534-3."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from vqaudio.errors import UserError
from vqaudio.listening.analysis.ratings import Rating, Results
from vqaudio.listening.anchors import MIN_RATE_7000
from vqaudio.listening.key import ANCHOR_7000, REFERENCE

GOOD = 90.0  # points: the hidden reference has to get at least this, the mid anchor at most
MAX_BAD_ITEMS = 0.15  # share of a listener's items
MIN_ITEMS = 7  # from which on one bad item is no more than that share
MAX_UNFIT_LISTENERS = 0.25  # share of listeners who rate an item's mid anchor above GOOD


@dataclass(frozen=True)
class Screened:
    """The post-screening of a listener: counts of items, and a reason for each rule that excludes the listener.

    Of `reference_items`, `reference_low` have the hidden reference below 90; of `anchor_items`, `anchor_high` have the
    mid anchor above 90, without `anchor_exempt` others whose anchor more than a quarter of the listeners rate above 90.
    """

    listener: str
    reference_items: int
    reference_low: int
    anchor_items: int
    anchor_high: int
    anchor_exempt: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """Whether a listener counts: what the rules found, and of all reasons those for which the listener is excluded."""

    listener: str
    screened: Screened | None
    reasons: tuple[str, ...]
    excluded: tuple[str, ...]


def verdicts(results: Results, by_hand: Mapping[str, str], *, screening: bool) -> dict[str, Verdict]:
    """Return the verdict on each listener who rated.

    Listeners left out `by_hand` (with a reason each) play no part in post-screening. Without `screening`, the reasons
    of post-screening and of failed checks are kept, but exclude nobody.

    Raises:
        UserError: somebody to be left out has not rated.
    """
    rated = sorted({rating.listener for rating in results.ratings})
    for listener in by_hand:
        if listener not in rated:
            known = ", ".join(rated[:5]) + (", …" if len(rated) > 5 else "")
            raise UserError(f"--exclude {listener}: no listener of that name has rated; give one of {known}")
    screened: dict[str, Screened] = {}
    if results.type == "mushra":
        others = [rating for rating in results.ratings if rating.listener not in by_hand]
        screened = {found.listener: found for found in post_screen(others, results.sample_rate)}
    found = {}
    for listener in rated:
        of_rules = screened[listener].reasons if listener in screened else ()
        reasons = (*of_rules, *results.failed.get(listener, ()))
        hand = (f"by hand: {by_hand[listener]}",) if listener in by_hand else ()
        found[listener] = Verdict(listener, screened.get(listener), reasons, hand + (reasons if screening else ()))
    return found


def has_mid_anchor(ratings: list[Rating], sample_rate: int) -> bool:
    """Return whether a 7 kHz anchor was rated at a sample rate (Hz) at which it is lower than the reference."""
    return sample_rate >= MIN_RATE_7000 and any(rating.system == ANCHOR_7000 for rating in ratings)


def post_screen(ratings: list[Rating], sample_rate: int) -> list[Screened]:
    """Return the counts and exclusions of the two rules of BS.1534-3, sorted by listener.

    A listener is excluded if they (a) rate the hidden reference below 90 on more than 15 % of the items, or (b) rate
    the mid anchor above 90 on more than 15 % of the items; rule (b) skips items whose mid anchor more than 25 % of all
    listeners rate above 90. Shares are of the items that the listener rated. Rule (b) needs `has_mid_anchor`.
    """
    exempt = _unfit_items(ratings)
    with_anchor = has_mid_anchor(ratings, sample_rate)
    references, anchors = defaultdict(list), defaultdict(list)
    for rating in ratings:
        if rating.system == REFERENCE:
            references[rating.listener].append(rating)
        elif rating.system == ANCHOR_7000 and with_anchor:
            anchors[rating.listener].append(rating)
    found = []
    for listener in sorted({rating.listener for rating in ratings}):
        low = sum(rating.value < GOOD for rating in references[listener])
        high = [rating.item for rating in anchors[listener] if rating.value > GOOD]
        counted = sum(item not in exempt for item in high)
        items, anchor_items = len(references[listener]), len(anchors[listener])
        reasons = []
        if items and low / items > MAX_BAD_ITEMS:
            reasons.append(_reason("the hidden reference below", low, items))
        if anchor_items and counted / anchor_items > MAX_BAD_ITEMS:
            reasons.append(_reason("the 7 kHz anchor above", counted, anchor_items))
        found.append(Screened(listener, items, low, anchor_items, counted, len(high) - counted, tuple(reasons)))
    return found


def _unfit_items(ratings: list[Rating]) -> set[str]:
    """Return the items whose mid anchor more than a quarter of the listeners rate above 90."""
    listeners: dict[str, set[str]] = defaultdict(set)
    fooled: dict[str, set[str]] = defaultdict(set)
    for rating in ratings:
        if rating.system == ANCHOR_7000:
            listeners[rating.item].add(rating.listener)
            if rating.value > GOOD:
                fooled[rating.item].add(rating.listener)
    return {item for item, rated in listeners.items() if len(fooled[item]) / len(rated) > MAX_UNFIT_LISTENERS}


def _reason(what: str, bad: int, items: int) -> str:
    share, most = 100 * bad / items, 100 * MAX_BAD_ITEMS
    return f"rated {what} {GOOD:g} on {bad} of {items} items ({share:.0f} %, more than {most:.0f} %)"
