"""Puts the results of a test into words: findings, cautions, and formatted numbers."""

import math
from collections.abc import Callable
from typing import Any

from vqaudio.listening.analysis.screening import MIN_ITEMS
from vqaudio.listening.analysis.statistics import BIMODAL, fewest_listeners
from vqaudio.listening.key import ANCHOR_3500, ANCHOR_7000, REFERENCE

SIGNIFICANT = 0.05
MAX_SENTENCES = 12
LABELS = {REFERENCE: "reference", ANCHOR_3500: "anchor 3.5 kHz", ANCHOR_7000: "anchor 7 kHz"}
BETTER = {
    "mushra": "{a} is better than {b}",
    "acr": "{a} is better than {b}",
    "dcr": "{a} is better than {b}",
    "ccr": "{a} is better than {b}",
    "smos": "{a} is more similar than {b}",
    "words": "{a} is better understood than {b} (per cent of words wrong)",
}

Figures = dict[str, Any]


def label(system: str) -> str:
    """Return the name of a system for readers."""
    return LABELS.get(system, system)


def number(value: float | None, sign: str = "") -> str:
    """Return a figure with two decimals, or a dash for None; `sign` "+" marks what is above 0.

    >>> number(-0.5), number(2, "+"), number(-0.001, "+"), number(None)
    ('−0.50', '+2.00', '0.00', '–')
    """
    if value is None:
        return "–"
    text = f"{value:{sign}.2f}".replace("-", "−")
    return "0.00" if text in ("−0.00", "+0.00") else text


def percent(share: float) -> str:
    """Return a share in per cent.

    >>> percent(0.5), percent(0.0625)
    ('50 %', '6 %')
    """
    return f"{100 * share:.0f} %"


def interval(claim: Figures | None, sign: str = "", between: str = " to ") -> str:
    """Return the 95 % interval of a claim, or a dash if there is none; `sign` is that of `number`."""
    return "–" if claim is None else f"{number(claim['low95'], sign)}{between}{number(claim['high95'], sign)}"


def share_interval(claim: Figures | None) -> str:
    """Return the 95 % interval of a claim about a share, or a dash if there is none."""
    return "–" if claim is None else f"{100 * claim['low95']:.0f} to {100 * claim['high95']:.0f} %"


def p_text(p: float) -> str:
    """Return a p-value with three decimals; none below 0.05 reads 0.050.

    >>> p_text(0.04126), p_text(0.0004), p_text(0.0495)
    ('0.041', '<0.001', '0.0495')
    """
    if p < 0.001:
        return "<0.001"
    if p < SIGNIFICANT and f"{p:.3f}" == f"{SIGNIFICANT:.3f}":
        return f"{min(p, 0.0499):.4f}"
    return f"{p:.3f}"


def findings(analysis: Figures) -> list[str]:
    """Return sentences about which system is better, what the test was too small for, and where listeners disagree."""
    kind, pairs = analysis["type"], analysis["pairs"]
    if kind == "abx":
        return [_heard(pair, len(pairs)) for pair in pairs]
    sentences = [_as_a_group(analysis["omnibus"])] if analysis.get("omnibus") else []
    ordered = sorted(pairs, key=lambda pair: REFERENCE in (pair["a"], pair["b"]))
    for pair in ordered[:MAX_SENTENCES]:
        sentences.append(_preferred(pair, len(pairs)) if kind == "ab" else _better(pair, kind, len(pairs)))
    if len(pairs) > MAX_SENTENCES:
        sentences.append(f"{len(pairs) - MAX_SENTENCES} more pairs are in the table below.")
    for described in analysis.get("systems", []):
        if (described["multimodality"] or 0) > BIMODAL and described["system"] not in LABELS:
            sentences.append(
                f"Ratings of {described['system']} may fall into groups (b above 5/9); look at its box plot."
            )
    return sentences


def cautions(analysis: Figures) -> list[str]:
    """Return sentences about what to know before believing the findings."""
    found = []
    if analysis["type"] == "mushra" and analysis["screening_applied"] and analysis["items"] < MIN_ITEMS:
        found.append(
            f"With {analysis['items']} items, a single one is more than 15 %: post-screening excludes whoever slips "
            f"once. From {MIN_ITEMS} items on it lets one slip pass."
        )
    if not analysis["screening_applied"]:
        flagged = [line["listener"] for line in analysis["screening"] if line["reasons"] and line["ratings"]]
        names = ", ".join(flagged) or "nobody"
        found.append(f"Post-screening and checks were not applied; they would exclude {names}.")
    if analysis["items"] == 1:
        found.append("There is one item only: nothing can be said about others.")
    unpaired = sum(pair.get("unpaired", 0) for pair in analysis["pairs"])
    if unpaired:
        found.append(
            f"Tests leave out {unpaired} ratings, counted in each pair, of items that a listener rated with only one "
            "of the two systems."
        )
    return found


def summary(analysis: Figures) -> str:
    """Return lines for a terminal: listeners, means, findings and cautions."""
    listeners = analysis["listeners"]
    lines = [f"{analysis['title']}: {listeners['kept']} listeners count, {listeners['excluded']} excluded"]
    for line in analysis["screening"]:
        if line["excluded"]:
            lines.append(f"excluded {line['listener']}: {'; '.join(line['excluded'])}")
    for described in analysis.get("systems", []):
        shown = f"{number(described['mean'])}, 95 % interval {interval(described['these_items'])} for these items"
        if described["items_like_these"]:
            shown += f", {interval(described['items_like_these'])} for items like these"
        lines.append(f"{label(described['system']):24} {shown}")
    return "\n".join([*lines, *findings(analysis), *cautions(analysis)])


def _as_a_group(omnibus: Figures) -> str:
    """Return whether the systems differ, by Friedman's test; it may be too small to say."""
    shown = f"Friedman χ² = {omnibus['chi2']:.2f}, p {_p(omnibus['p'])}"
    if omnibus["p"] < SIGNIFICANT:
        return f"The systems differ ({shown})."
    degrees = omnibus["systems"] - 1
    # If all listeners agree on the order, χ² is their number times the degrees of freedom.
    if _chi2_tail(omnibus["listeners"] * degrees, degrees) >= SIGNIFICANT:
        return f"{omnibus['listeners']} listeners are too few to say whether the systems differ as a group ({shown})."
    return f"No difference was found between the systems as a group ({shown})."


def _chi2_tail(chi2: float, degrees: int) -> float:
    from scipy.stats import chi2 as distribution

    return float(distribution.sf(chi2, degrees))


def _better(pair: Figures, kind: str, pairs: int) -> str:
    """Return which of two systems is better and by how much, or between what bounds the difference is."""
    a, b = label(pair["a"]), label(pair["b"])
    here, elsewhere = pair["these_items"], pair["items_like_these"]
    if here["p_holm"] >= SIGNIFICANT:
        bounds = f"{a} − {b} is between {interval(here, '+', ' and ')} for these items (p {_p(here['p_holm'])})"
        if elsewhere:
            bounds += (
                f", between {interval(elsewhere, '+', ' and ')} for items like these (p {_p(elsewhere['p_holm'])})"
            )
        return f"{_undecided(pair, pairs)}: {bounds}."
    up = pair["difference"] > 0
    better = BETTER[kind].format(a=a, b=b) if up != (kind == "words") else BETTER[kind].format(a=b, b=a)
    turn = 1 if up else -1
    bounds = _both([_scaled(claim, turn) for claim in (here, elsewhere)], interval)
    return f"{better} by {number(abs(pair['difference']))}: {bounds}."


def _undecided(pair: Figures, pairs: int) -> str:
    """Return that a pair is not decided; if the test was too small for it, what it takes."""
    a, b, least = label(pair["a"]), label(pair["b"]), fewest_listeners(SIGNIFICANT / pairs)
    if pair["listeners"] < least:
        among = f" among {pairs} pairs" if pairs > 1 else ""
        return (
            f"{pair['listeners']} listeners are too few to say whether {a} or {b} is better (it takes at least {least} "
            f"to decide a pair{among})"
        )
    if pair["these_items"]["p"] < SIGNIFICANT:
        return f"{a} and {b} may differ, but among {pairs} pairs it is not certain"
    return f"No difference was found between {a} and {b}"


def _preferred(pair: Figures, pairs: int) -> str:
    """Return which of two systems is preferred, with the answers for and against it."""
    a, b = label(pair["a"]), label(pair["b"])
    counts = [pair[f"prefer_{who}"] for who in ("a", "b", "neither")]
    answers = sum(counts)
    votes = f"{counts[0]} of {answers} answers ({percent(counts[0] / answers)}) prefer {a}, {counts[1]} {b}"
    if counts[2]:
        votes += f", {counts[2]} neither. With half of these, {a} has {percent(pair['mean'])}"
    decided = pair["these_items"]["p_holm"] < SIGNIFICANT
    verdict = f"{a} is preferred to {b}" if decided else _undecided(pair, pairs)
    return f"{verdict}: {votes}: {_both([pair['these_items'], pair['items_like_these']], share_interval)}."


def _both(claims: list[Figures | None], show: Callable[[Figures | None], str]) -> str:
    """Return the intervals for these items and for items like these; what is not certain for the latter is said so."""
    here, elsewhere = claims
    assert here is not None
    text = f"{show(here)} for these items (p {_p(here['p_holm'])})"
    if elsewhere is None:
        return text
    text += f", {show(elsewhere)} for items like these (p {_p(elsewhere['p_holm'])})"
    return f"{text}, so not certain for others" if here["p_holm"] < SIGNIFICANT <= elsewhere["p_holm"] else text


def _scaled(claim: Figures | None, turn: int) -> Figures | None:
    """Return a claim about the difference the other way round if `turn` is −1."""
    if claim is None or turn > 0:
        return claim
    return {**claim, "low95": -claim["high95"], "high95": -claim["low95"]}


def _heard(pair: Figures, pairs: int) -> str:
    """Return whether two systems are told apart, and how often listeners are right."""
    names, p = f"{label(pair['a'])} and {label(pair['b'])}", pair["binomial_p_holm"]
    shown = f"{pair['right']} of {pair['trials']} right, {percent(pair['share'])} (p {_p(p)})"
    if pair["these_items"]:
        shown += f"; over listeners {share_interval(pair['these_items'])} for these items"
    if pair["items_like_these"]:
        shown += f", {share_interval(pair['items_like_these'])} for items like these"
    least = math.ceil(-math.log2(SIGNIFICANT / pairs))
    if p < SIGNIFICANT:
        return f"{names} are told apart: {shown}."
    if pair["trials"] < least:
        return f"Too few answers to say whether {names} are told apart; it takes at least {least}: {shown}."
    return f"{names} were not found to be told apart: {shown}."


def _p(p: float) -> str:
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"
