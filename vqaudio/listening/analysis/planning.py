"""Computes how many listeners a test needs to find a difference."""

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from vqaudio.errors import UserError
from vqaudio.listening.analysis.statistics import fewest_listeners

ALPHA, POWER = 0.05, 0.8
EFFICIENCY = 3 / math.pi  # of Wilcoxon's test relative to the t-test, for normal differences (Pitman)
MAX_LISTENERS = 1_000_000


@dataclass(frozen=True)
class Assumption:
    """What is assumed about a type of test: differences to list, their unit, the standard deviation."""

    unit: str
    differences: tuple[float, ...]
    sd: float | None  # over listeners, of a listener's mean difference; None if answers are counted


ASSUMED = {
    "mushra": Assumption("points of 100", (3, 5, 10, 20), 10.0),
    "acr": Assumption("MOS", (0.1, 0.25, 0.5, 1), 0.5),
    "dcr": Assumption("DMOS", (0.1, 0.25, 0.5, 1), 0.5),
    "ccr": Assumption("CMOS, from 0", (0.1, 0.25, 0.5, 1), 0.7),
    "ab": Assumption("share that prefers one", (0.55, 0.6, 0.7, 0.8), None),
    "abx": Assumption("share of right answers", (0.55, 0.6, 0.7, 0.8), None),
}


def plans(
    test: Path | None,
    *,
    kind: str | None = None,
    difference: float | None = None,
    sd: float | None = None,
    trials: int | None = None,
    pairs: int = 1,
) -> dict[str, Any]:
    """Return how many listeners tests need to find differences with probability 0.8, at the 5 % level.

    Args:
        test: folder of a test with ratings (a pilot), which gives the type and the spread; None assumes usual ones.
        kind: mushra, acr, dcr, ccr, ab or abx; None plans all of them.
        difference: difference to find: points, MOS, or in ab and abx a share above 1/2; None takes several usual ones.
        sd: standard deviation over listeners of a listener's mean difference, in the unit of the difference.
        trials: answers of each listener, in ab and abx.
        pairs: pairs of systems to compare; the level is divided by it (Bonferroni, the first step of Holm).

    Raises:
        UserError: the type does not have an option, a value is out of range, a million listeners would not find the
            difference, or the pilot does not have two listeners.
    """
    if test is not None:
        if kind is not None or sd is not None:
            raise UserError(f"{test}: the pilot gives the type and the sd; leave out --type and --sd, or the folder")
        kind, sd = _pilot(test)
    if kind is None and (difference, sd, trials) != (None, None, None):
        raise UserError("--difference, --sd and --trials: each type of test needs its own; give --type too")
    if kind is not None and sd is not None and ASSUMED[kind].sd is None:
        raise UserError(f"--sd {sd:g}: {kind} counts answers and has no sd; leave it out")
    if kind is not None and trials is not None and ASSUMED[kind].sd is not None:
        raise UserError(f"--trials {trials}: is only for ab and abx; for {kind}, give the --sd of a pilot")
    alpha = ALPHA / pairs
    found = [_plan(name, difference, sd, trials or 1, alpha) for name in ([kind] if kind else ASSUMED)]
    if test is not None and sd is not None:
        found[0]["sd_source"] = f"from {test}"
    return {"alpha": ALPHA, "power": POWER, "pairs": pairs, "plans": found}


def plan_text(planned: dict[str, Any]) -> str:
    """Return a plan as lines for a terminal, with its assumptions."""
    lines = [
        f"Listeners needed to find a difference with probability {planned['power']:g}, at level {planned['alpha']:g} "
        f"divided by {planned['pairs']} (the pairs compared); two-sided, abx one-sided."
    ]
    for of_type in planned["plans"]:
        if of_type["sd"] is not None:
            lines.append(f"\n{of_type['type']}: Wilcoxon signed-rank over listeners; differences in {of_type['unit']};")
            lines.append(
                f"  sd over listeners of a listener's mean difference {of_type['sd']:.3g} ({of_type['sd_source']})"
            )
        else:
            lines.append(f"\n{of_type['type']}: exact binomial; {of_type['unit']};")
            answers = "1 answer" if of_type["trials"] == 1 else f"{of_type['trials']} answers"
            lines.append(f"  {answers} from each listener, treated as independent")
        for row in of_type["needs"]:
            answers = f" ({row['answers']} answers)" if "answers" in row else ""
            lines.append(f"  {row['difference']:<6g} {row['listeners']} listeners{answers}")
    return "\n".join(lines)


def paired_t_listeners(effect: float, alpha: float, power: float = POWER) -> int:
    """Return the listeners for a two-sided paired t-test to find `effect`, the mean difference over its sd.

    A significant difference of the opposite sign does not count as found.

    Source: the noncentral t distribution; Cohen, Statistical Power Analysis (1988), 2.
    """
    from scipy.stats import nct, t

    def reaches(n: int) -> bool:
        critical, shift = t.isf(alpha / 2, n - 1), effect * math.sqrt(n)
        return bool(nct.sf(critical, n - 1, shift) >= power)

    enough = 2
    while not reaches(enough):
        enough *= 2
        if enough > MAX_LISTENERS:
            raise UserError(f"a difference of {effect:.2g} sd needs over {MAX_LISTENERS} listeners; give a larger one")
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        too_few, enough = (too_few, middle) if reaches(middle) else (middle, enough)
    return enough


def binomial_answers(share: float, alpha: float, *, two_sided: bool, power: float = POWER) -> int:
    """Return the number of answers from which on an exact binomial test against 1/2 has enough power to find `share`.

    The power of an exact test is a saw-tooth: a few more answers may have less power. With this number of answers or
    any higher one, the power is at least `power`.
    """
    import numpy as np
    from scipy.stats import binom, norm

    tail = alpha / 2 if two_sided else alpha
    spread = 0.5 * norm.isf(tail) + math.sqrt(share * (1 - share)) * norm.isf(1 - power)
    about = (spread / (share - 0.5)) ** 2  # the normal approximation
    if about > MAX_LISTENERS:
        raise UserError(f"a share of {share:g} needs over {MAX_LISTENERS} answers; give a larger one")
    n = np.arange(1, 2 * math.ceil(about) + 100)
    critical = binom.isf(tail, n, 0.5) + 1  # the smallest significant number of one answer
    found = binom.sf(critical - 1, n, share)
    return int(n[found < power].max(initial=0)) + 1


def _plan(kind: str, difference: float | None, sd: float | None, trials: int, alpha: float) -> dict[str, Any]:
    """Return the plan of one type of test."""
    assumed = ASSUMED[kind]
    differences = assumed.differences if difference is None else (difference,)
    found: dict[str, Any] = {"type": kind, "unit": assumed.unit}
    if assumed.sd is None:
        needs = [_plan_share(kind, share, trials, alpha) for share in differences]
        return {**found, "sd": None, "sd_source": None, "trials": trials, "needs": needs}
    spread = assumed.sd if sd is None else sd
    if not (math.isfinite(spread) and spread > 0):
        raise UserError(f"--sd {spread:g}: not above 0; give a positive number")
    source = "assumed; measure yours in a pilot, or give --sd" if sd is None else "given"
    needs = [_plan_mean(value, spread, alpha) for value in differences]
    return {**found, "sd": spread, "sd_source": source, "trials": None, "needs": needs}


def _plan_mean(difference: float, sd: float, alpha: float) -> dict[str, Any]:
    if not (math.isfinite(difference) and difference > 0):
        raise UserError(f"--difference {difference:g}: not above 0; give a positive number")
    with_t = paired_t_listeners(difference / sd, alpha)
    wilcoxon = max(math.ceil(with_t / EFFICIENCY), fewest_listeners(alpha))
    return {"difference": difference, "sd": sd, "t_test": with_t, "listeners": wilcoxon}


def _plan_share(kind: str, share: float, trials: int, alpha: float) -> dict[str, Any]:
    if not 0.5 < share <= 1:
        raise UserError(f"--difference {share:g}: not a share for {kind}; give one above 0.5 and up to 1")
    answers = binomial_answers(share, alpha, two_sided=kind == "ab")
    listeners = math.ceil(answers / trials)
    if kind == "ab":  # its tests are over listeners: a few with many answers each would never be significant
        listeners = max(listeners, fewest_listeners(alpha))
    return {"difference": share, "answers": answers, "listeners": listeners}


def _pilot(test: Path) -> tuple[str, float | None]:
    """Return the type of a test, and the median over its pairs of the standard deviation over listeners."""
    from vqaudio.listening.analysis.figures import analyse
    from vqaudio.listening.analysis.ratings import read_results

    results = read_results(test)
    if ASSUMED[results.type].sd is None:
        return results.type, None
    spreads = [pair["difference_sd"] for pair in analyse(results)["pairs"]]
    spread = median(spreads) if spreads else 0.0
    if spread == 0:
        raise UserError(f"{test}: no two listeners differ about a pair; give --type and --sd instead of the folder")
    return results.type, spread
