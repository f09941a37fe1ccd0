"""Checks by simulated panels that the figures of `vqaudio listen analyse` and the plans of `--plan` are what they say.

    .venv/bin/python tools/check_listening.py [--quick]

Panels are drawn with known truths and analysed as a test is: scale ratings with every system at each item and in Latin
squares (a listener hears an item with one of three systems), AB, ABX, and strengths by Bradley and Terry, for 6 to 30
listeners and 5 to 20 items. `items` is the spread of items: the standard deviation over items of the true difference.
The columns say how many of the 95 % intervals hold the truth about these items, and about items like these; since
intervals and t-tests agree, 100 % minus that is the level of the tests. From 93 to 97 % is right, and above is said:
for items like these, the widest of three intervals counts, which is more than is needed if items hardly differ or
are few. Power is the share of panels of the planned size in which the difference is found, beside the plan.

The exit status is 1 if fewer than 93 % of intervals hold the truth, or power is more than 5 points from the plan, by
more than two standard errors of the simulation. Seeds are fixed.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vqaudio.listening.analysis.cells import compare_systems, places
from vqaudio.listening.analysis.comparisons import analyse_discrimination, analyse_preference
from vqaudio.listening.analysis.planning import POWER, plans
from vqaudio.listening.analysis.ratings import Rating
from vqaudio.listening.analysis.strengths import bradley_terry, bradley_terry_strengths

PANELS, QUICK_PANELS = 1000, 200
LISTENERS, ITEMS = (6, 8, 15, 30), (5, 8, 20)
QUICK_LISTENERS, QUICK_ITEMS = (6, 15), (5, 20)
SCALE_EFFECTS = {
    "listener": 8.0,
    "system": 6.0,
    "noise": 12.0,
}  # points: sd of listeners, of theirs of a system, of answers
LEAST, MOST, OFF_PLAN = 0.93, 0.97, 0.05
STRENGTHS = np.array([0.8, 0.3, -0.3, -0.8])

Rng = np.random.Generator


@dataclass(frozen=True)
class Line:
    """A row of the table: what was simulated, and shares of panels; `broken` says that a bound is."""

    name: str
    size: str
    shares: tuple[float, ...]
    broken: bool


def scale_panel(rng: Rng, listeners: int, items: int, spread: float, *, latin: bool) -> tuple[list[Rating], float]:
    """Return ratings of three systems that are equally good on average, and the difference of the first two here."""
    effects = SCALE_EFFECTS
    of_item = rng.normal(0, spread / math.sqrt(2), (items, 3))
    of_listener = rng.normal(0, effects["system"] / math.sqrt(2), (listeners, 3)) + rng.normal(
        0, effects["listener"], (listeners, 1)
    )
    difficulty = rng.normal(0, 10, items)
    found = []
    for listener in range(listeners):
        for item in range(items):
            for system in [(listener + item) % 3] if latin else range(2):
                mean = 50 + of_listener[listener, system] + of_item[item, system] + difficulty[item]
                value = np.clip(np.rint(mean + rng.normal(0, effects["noise"] / math.sqrt(2))), 0, 100)
                found.append(Rating(f"L{listener:02d}", f"i{item:02d}", "ABC"[system], float(value)))
    return found, float((of_item[:, 0] - of_item[:, 1]).mean())


def share_panel(rng: Rng, listeners: int, items: int, spread: float, share: float) -> tuple[list[Rating], float]:
    """Return answers of 0 or 1, of listeners whose share differs with sd 0.1, and the mean share over these items."""
    size = share * (1 - share) / 0.01 - 1
    of_listener = rng.beta(share * size, (1 - share) * size, listeners)
    of_item = np.clip(rng.normal(0, spread, items), -0.25, 0.25)
    chance = np.clip(of_listener[:, None] + of_item, 0, 1)
    answers = rng.random((listeners, items)) < chance
    found = [
        Rating(f"L{listener:02d}", f"i{item:02d}", "A", float(answers[listener, item]), "B")
        for listener in range(listeners)
        for item in range(items)
    ]
    return found, share + float(of_item.mean())


def held(claim: dict[str, float], truth: float, *, turned: bool = False) -> bool:
    """Return whether the interval of a claim holds a truth; `turned`, if it is about the second of a pair."""
    return claim["low95"] <= (1 - truth if turned else truth) <= claim["high95"]


def of_scale(rng: Rng, listeners: int, items: int, spread: float, *, latin: bool) -> tuple[bool, bool]:
    """Return whether both intervals of the difference of two systems hold the truth."""
    ratings, here = scale_panel(rng, listeners, items, spread, latin=latin)
    found = _compared(ratings)
    return held(found["these_items"], here), held(found["items_like_these"], 0.0)


def _compared(ratings: list[Rating]) -> dict[str, Any]:
    """Return what the analysis of a scale says of A minus B."""
    found = compare_systems({name: places([r for r in ratings if r.system == name]) for name in "ABC"}, "A", "B")
    assert found is not None
    return found


def of_share(rng: Rng, listeners: int, items: int, spread: float, share: float, kind: str) -> tuple[bool, bool]:
    """Return whether both intervals of a share hold the truth."""
    ratings, here = share_panel(rng, listeners, items, spread, share)
    (pair,) = (analyse_preference(ratings, "ab") if kind == "ab" else analyse_discrimination(ratings))["pairs"]
    turned = pair["a"] == "B"
    return (
        held(pair["these_items"], here, turned=turned),
        held(pair["items_like_these"], share, turned=turned),
    )


def of_strengths(rng: Rng, listeners: int, differ: float) -> tuple[float, ...]:
    """Return the share of strengths that are held, with eight answers about each pair; listeners `differ` (sd)."""
    own = STRENGTHS + rng.normal(0, differ, (listeners, 4))
    answers = {}
    for a in range(4):
        for b in range(a + 1, 4):
            right = rng.random((listeners, 8)) < 1 / (1 + np.exp(own[:, [b]] - own[:, [a]]))
            answers["abcd"[a], "abcd"[b]] = {f"L{n}": row.tolist() for n, row in enumerate(right.astype(float))}
    truth = dict(zip("abcd", _marginal(differ), strict=True))
    found = bradley_terry_strengths(answers) or []
    return (float(np.mean([each["low95"] <= truth[each["system"]] <= each["high95"] for each in found])),)


def _marginal(differ: float) -> np.ndarray:
    """Return the strengths of very many listeners who differ: the answers of all together are less decided."""
    own = STRENGTHS + np.random.default_rng(0).normal(0, differ, (50_000, 4))
    chance = (1 / (1 + np.exp(own[:, None, :] - own[:, :, None]))).mean(axis=0)
    return bradley_terry(chance * (1 - np.eye(4)))


def coverage(name: str, size: str, panels: int, draw: Callable[[Rng], tuple[float, ...]]) -> Line:
    """Return the line of one kind of panel."""
    rng = np.random.default_rng(0)
    shares = np.mean([draw(rng) for _ in range(panels)], axis=0)
    slack = 2 * math.sqrt(LEAST * (1 - LEAST) / panels)
    return Line(name, size, tuple(shares), bool((shares < LEAST - slack).any()))


def coverages(panels: int, listeners: tuple[int, ...], items: tuple[int, ...]) -> Iterator[Line]:
    """Yield the lines of intervals."""
    for n in listeners:
        for m in items:
            for spread in (0.0, 5.0):
                for latin in (False, True):
                    name = f"scale, {'Latin' if latin else 'complete'}, items {spread:g}"
                    yield coverage(
                        name,
                        f"{n} × {m}",
                        panels,
                        lambda rng, a=n, b=m, c=spread, d=latin: of_scale(rng, a, b, c, latin=d),
                    )
            for share, spread in ((0.5, 0.0), (0.7, 0.1)):
                for kind in ("ab", "abx"):
                    name = f"{kind}, share {share:g}, items {spread:g}"
                    yield coverage(
                        name,
                        f"{n} × {m}",
                        panels,
                        lambda rng, a=n, b=m, c=spread, d=share, e=kind: of_share(rng, a, b, c, d, e),
                    )
        for differ in (0.0, 0.5):
            name = f"Bradley–Terry, listeners {differ:g}"
            yield coverage(name, f"{n} × 8", panels, lambda rng, a=n, b=differ: of_strengths(rng, a, b))


def powers(panels: int) -> Iterator[Line]:
    """Yield the lines of plans: of panels of the planned size, the share in which the difference is found."""
    for difference, spread, items in ((5.0, 0.0, 8), (8.0, 5.0, 8), (8.0, 5.0, 20)):
        yield _power(panels, "mushra", difference, 10.0, items, spread, scale_found)
    for kind in ("ab", "abx"):
        for difference, items in ((0.6, 10), (0.6, 20), (0.7, 1), (0.7, 10)):
            yield _power(panels, kind, difference, 0.1, items, 0.0, lambda *given, k=kind: share_found(*given, k))
    yield _power(panels, "ab", 0.7, 0.1, 10, 0.1, lambda *given: share_found(*given, "ab"))


def _power(
    panels: int, kind: str, difference: float, sd: float, items: int, spread: float, found: Callable[..., bool]
) -> Line:
    options = {"items": items, "item_sd": spread} if spread or kind in ("ab", "abx") else {}
    if not spread:
        options.pop("item_sd", None)
    (row,) = plans(None, kind=kind, difference=difference, sd=sd, **options)["plans"][0]["needs"]
    n = row["items_like_these"] if spread else row["listeners"]
    rng = np.random.default_rng(1)
    share = float(np.mean([found(rng, difference, sd, n, items, spread) for _ in range(panels)]))
    slack = OFF_PLAN + 2 * math.sqrt(POWER * (1 - POWER) / panels)
    name = f"power, {kind} {difference:g}, items {spread:g} (planned {POWER:.0%})"
    return Line(name, f"{n} × {items}", (share,), share < POWER - slack)


def scale_found(rng: Rng, difference: float, sd: float, n: int, items: int, spread: float) -> bool:
    """Return whether a difference is found; half of the variance of listeners is noise of their answers."""
    values = difference + rng.normal(0, sd / math.sqrt(2), (n, 1)) + rng.normal(0, spread, items)
    values = values + rng.normal(0, sd * math.sqrt(items / 2), (n, items))
    found = [
        Rating(f"L{listener}", f"i{item}", system, 50 + (values[listener, item] if system == "A" else 0))
        for listener in range(n)
        for item in range(items)
        for system in "AB"
    ]
    pair = _compared(found)
    claim = pair["items_like_these"] if spread else pair["these_items"]
    return bool(claim["p"] < 0.05 and pair["difference"] > 0)


def share_found(rng: Rng, share: float, _: float, n: int, items: int, spread: float, kind: str) -> bool:
    """Return whether a preference, or that something is heard, is found."""
    ratings, _ = share_panel(rng, n, items, spread, share)
    if kind == "abx":
        return bool(analyse_discrimination(ratings)["pairs"][0]["binomial_p"] < 0.05)
    (pair,) = analyse_preference(ratings, "ab")["pairs"]
    claim = pair["items_like_these"] if spread else pair["these_items"]
    return bool(claim["p"] < 0.05 and pair["a"] == "A")


def main() -> int:
    """Print the table; return 1 if a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer panels and sizes: a minute or two")
    quick = parser.parse_args().quick
    panels = QUICK_PANELS if quick else PANELS
    sizes = (QUICK_LISTENERS, QUICK_ITEMS) if quick else (LISTENERS, ITEMS)
    print(f"{'':48} {'listeners × items':18} these items, items like these; {panels} panels")
    broken = 0
    for lines in (coverages(panels, *sizes), powers(panels)):
        for line in lines:
            shares = "  ".join(f"{100 * share:5.1f} %" for share in line.shares)
            above = " conservative" if "power" not in line.name and max(line.shares) > MOST else ""
            print(f"{line.name:48} {line.size:18} {shares}{' BROKEN' if line.broken else above}", flush=True)
            broken += line.broken
    print(f"{broken} bounds broken")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
