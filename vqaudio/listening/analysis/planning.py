"""Computes how many listeners a test needs to find a difference, by the tests that its analysis will make."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqaudio.errors import UserError
from vqaudio.listening.analysis.power import Effect, abx_listeners, check, listeners_for, power
from vqaudio.listening.analysis.statistics import fewest_listeners

ALPHA, POWER = 0.05, 0.8
SHARES = ("ab", "abx")


@dataclass(frozen=True)
class Assumption:
    """What is assumed about a type of test: differences to list, their unit, the standard deviation over listeners.

    The standard deviation is that of a listener's mean difference; in ab and abx, that of the share that a listener
    would reach with very many answers.
    """

    unit: str
    differences: tuple[float, ...]
    sd: float


ASSUMED = {
    "mushra": Assumption("points of 100", (3, 5, 10, 20), 10.0),
    "acr": Assumption("MOS", (0.1, 0.25, 0.5, 1), 0.5),
    "dcr": Assumption("DMOS", (0.1, 0.25, 0.5, 1), 0.5),
    "smos": Assumption("SMOS", (0.1, 0.25, 0.5, 1), 0.5),
    "words": Assumption("per cent of the words", (2, 5, 10, 20), 10.0),
    "ccr": Assumption("CMOS, from 0", (0.1, 0.25, 0.5, 1), 0.7),
    "ab": Assumption("share that prefers one", (0.55, 0.6, 0.7, 0.8), 0.1),
    "abx": Assumption("share of right answers", (0.55, 0.6, 0.7, 0.8), 0.1),
}


@dataclass(frozen=True)
class Given:
    """What is known about a test: the options of `plans`, or what a pilot shows; None is not known."""

    difference: float | None = None
    sd: float | None = None
    items: int | None = None
    item_sd: float | None = None
    source: str = "given"


def plans(
    test: Path | None,
    *,
    kind: str | None = None,
    difference: float | None = None,
    sd: float | None = None,
    items: int | None = None,
    item_sd: float | None = None,
    pairs: int = 1,
) -> dict[str, Any]:
    """Return how many listeners tests need to find differences with probability 0.8, at the 5 % level.

    Args:
        test: folder of a test with ratings (a pilot), which gives the type, the items and all spreads; None assumes
            usual ones.
        kind: type of the test; None plans all of them.
        difference: difference to find: points, MOS, or in ab and abx a share above 1/2; None takes several usual ones.
        sd: standard deviation over listeners, see `Assumption`.
        items: items of a listener, in ab and abx the answers about each pair.
        item_sd: standard deviation over items of the difference (in ab and abx: of the share), without noise; with it,
            claims about items like these are planned too.
        pairs: pairs of systems to compare; the level is divided by it (Bonferroni, the first step of Holm).

    Raises:
        UserError: the type does not have an option, a value is out of range, a million listeners would not find the
            difference, or the pilot does not have two listeners.
    """
    given = Given(difference, sd, items, item_sd)
    if test is not None:
        if (kind, sd, items, item_sd) != (None, None, None, None):
            raise UserError(
                f"{test}: the pilot gives type, items and spreads; leave out --type, --sd, --items and --item-sd, or "
                "the folder"
            )
        kind, given = _pilot(test, difference)
    if kind is None and given != Given():
        raise UserError("--difference, --sd, --items, --item-sd: each type of test needs its own; give --type too")
    if item_sd is not None and items is None:
        raise UserError(f"--item-sd {item_sd:g}: the number of items is missing; give --items too")
    if kind not in (*SHARES, None) and items is not None and item_sd is None:
        raise UserError(f"--items {items}: says nothing about {kind} without the spread of items; give --item-sd too")
    found = [_plan(name, given, ALPHA / pairs) for name in ([kind] if kind else ASSUMED)]
    return {"alpha": ALPHA, "power": POWER, "pairs": pairs, "plans": found}


def plan_text(planned: dict[str, Any]) -> str:
    """Return a plan as lines for a terminal, with its assumptions."""
    lines = [
        f"Listeners needed to find a difference with probability {planned['power']:g}, at level {planned['alpha']:g} "
        f"divided by {planned['pairs']} (the pairs compared); two-sided, abx one-sided."
    ]
    for of_type in planned["plans"]:
        kind, items = of_type["type"], of_type["items"]
        test = "exact binomial test against guessing" if kind == "abx" else "t-test over listeners"
        lines.append(f"\n{kind}: {test}; {of_type['unit']};")
        what = "share" if kind in SHARES else "mean difference"
        lines.append(f"  sd over listeners of a listener's {what} {of_type['sd']:.3g} ({of_type['sd_source']})")
        if kind in SHARES:
            lines.append(f"  {items} answer{'s' if items > 1 else ''} from each listener about a pair")
        if of_type["item_sd"] is not None:
            lines.append(f"  sd over items {of_type['item_sd']:.3g}, {items} items: t-test over listeners and items")
        lines += [f"  {row['difference']:<6g} {_needs_text(row, items)}" for row in of_type["needs"]]
    return "\n".join(lines)


def _needs_text(row: dict[str, Any], items: int) -> str:
    """Return what a difference takes, in words."""
    text = f"{row['listeners']} listeners"
    if "items_like_these" not in row:
        return text
    if row["items_like_these"] is None:
        return f"{text} for these items; for items like these, {items} items are too few"
    return f"{text} for these items, {row['items_like_these']} for items like these"


def _plan(kind: str, given: Given, alpha: float) -> dict[str, Any]:
    """Return the plan of one type of test."""
    assumed, share = ASSUMED[kind], kind in SHARES
    sd = assumed.sd if given.sd is None else given.sd
    source = "assumed; measure yours in a pilot, or give --sd" if given.sd is None else given.source
    for name, value in (("--sd", sd), ("--item-sd", given.item_sd)):
        least_excluded = not share and name == "--sd"
        if value is not None and not (math.isfinite(value) and (value > 0 if least_excluded else value >= 0)):
            raise UserError(f"{name} {value:g}: not {'above 0' if least_excluded else '0 or above'}; give another one")
    items = given.items or 1
    if given.item_sd is not None and items < 2:
        raise UserError(f"--items {items}: one item says nothing about others; give 2 or more")
    differences = assumed.differences if given.difference is None else (given.difference,)
    needs = []
    for difference in differences:
        _check_difference(kind, difference)
        effect = Effect(difference - 0.5 * share, sd, items, given.item_sd or 0.0, share)
        check(effect)
        needs.append({"difference": difference, **_needs(kind, effect, alpha, others=given.item_sd is not None)})
    return {
        "type": kind,
        "unit": assumed.unit,
        "sd": sd,
        "sd_source": source,
        "items": items,
        "item_sd": given.item_sd,
        "needs": needs,
    }


def _check_difference(kind: str, difference: float) -> None:
    if kind in SHARES and not 0.5 < difference <= 1:
        raise UserError(f"--difference {difference:g}: not a share for {kind}; give one above 0.5 and up to 1")
    if kind not in SHARES and not (math.isfinite(difference) and difference > 0):
        raise UserError(f"--difference {difference:g}: not above 0; give a positive number")


def _needs(kind: str, effect: Effect, alpha: float, *, others: bool) -> dict[str, Any]:
    """Return the listeners for a claim about these items and, if wanted, for one about `others` like them.

    They are never fewer than Wilcoxon's test needs to agree.
    """
    if kind == "abx":
        found: dict[str, Any] = {"listeners": abx_listeners(effect, alpha, POWER)}
    else:
        these = listeners_for(lambda n: power(effect, n, alpha, items_like_these=False) >= POWER)
        if these is None:
            raise UserError(
                f"a difference of {effect.difference:.2g} needs over a million listeners; give a larger one"
            )
        found = {"listeners": max(these, fewest_listeners(alpha))}
    if others:
        like = listeners_for(lambda n: power(effect, n, alpha, items_like_these=True) >= POWER)
        found["items_like_these"] = None if like is None else max(like, found["listeners"])
    return found


def _pilot(test: Path, difference: float | None) -> tuple[str, Given]:
    """Return the type of a test, and what its pairs show: items, and root mean squares of their spreads."""
    from vqaudio.listening.analysis.figures import analyse
    from vqaudio.listening.analysis.ratings import read_results

    results = read_results(test)
    pairs = [pair for pair in analyse(results)["pairs"] if "difference_sd" in pair]
    kind = results.type
    spreads = [_share_sd(pair) if kind in SHARES else pair["difference_sd"] for pair in pairs]
    sd = _root_mean_square(spreads)
    if not pairs or (sd == 0 and kind not in SHARES):
        raise UserError(f"{test}: no two listeners differ about a pair; give --type and --sd instead of the folder")
    of_items = [pair["item_sd"] for pair in pairs if pair["item_sd"] is not None]
    items = max(pair["items"] for pair in pairs)
    item_sd = _root_mean_square(of_items) if of_items else None
    return kind, Given(difference, sd, items, item_sd, f"from {test}")


def _root_mean_square(values: list[float]) -> float:
    return math.sqrt(sum(value**2 for value in values) / len(values)) if values else 0.0


def _share_sd(pair: dict[str, Any]) -> float:
    """Return the standard deviation over listeners of a share without the noise of their answers, 0 if less is seen."""
    share = 0.5 + pair["difference"]
    answers = pair.get("votes", pair.get("trials")) / pair["listeners"]
    if answers <= 1:
        return 0.0
    extra = pair["difference_sd"] ** 2 - share * (1 - share) / answers
    return math.sqrt(max(0.0, extra * answers / (answers - 1)))
