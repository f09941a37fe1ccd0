"""Paragraphs for a paper that say how the figures of a test were made."""

from typing import Any

from vqaudio.listening.analysis.statistics import fewest_listeners
from vqaudio.listening.analysis.text import SIGNIFICANT
from vqaudio.listening.anchors import MIN_RATE_7000


def methods(analysis: dict[str, Any]) -> list[str]:
    """Return paragraphs that say how the figures of a test were made."""
    kind = analysis["type"]
    if kind == "abx":
        return [_guessing(), _claims(kind), *_by_hand(analysis)]
    paragraphs = [_screening(analysis)] if kind == "mushra" else []
    paragraphs += [*_by_hand(analysis), _claims(kind), _pairs(kind, analysis)]
    if kind != "ab":
        paragraphs.append(
            "b is the coefficient of multimodality of ITU-R BS.1534-3; if it is above 5/9, listeners may fall into "
            "groups. Values outside the whiskers are shown and were not removed."
        )
    if kind == "words":
        paragraphs.append(
            "Words wrong are the replaced, missing and added words in per cent of the words spoken: lower is better. "
            "The mean is over listeners; pooled errors are those of all answers in per cent of all their words."
        )
    if kind == "ab":
        paragraphs.append(
            "Strengths are Bradley and Terry's by maximum likelihood (Hunter 2004), after one undecided answer was "
            "added to each pair compared; their intervals, about these items, leave out each listener in turn "
            "(jackknife, Student's t), and are at least those of independent answers."
        )
    return paragraphs


def _guessing() -> str:
    return (
        "p is the probability of at least as many right answers by guessing (exact binomial test, one-sided), adjusted "
        "over pairs, and for listeners over listeners, by Holm's method. It says whether anything is heard; how often "
        "listeners are right is for the intervals to say. These are two-sided, so at a p from 0.025 on they may hold "
        "50 %. Exact intervals are Clopper and Pearson's; they treat answers as independent."
    )


def _claims(kind: str) -> str:
    """Return how the intervals of both claims are made."""
    coarse = (
        "intervals are at least as wide as if all answers were independent, with one more for either side, and half a "
        "step between possible means is added (correction for continuity); shares end at 0 and 100 %"
        if kind in ("ab", "abx")
        else "answers are taken to vary at least as rounding to whole numbers makes them"
    )
    return (
        "Means and 95 % intervals for these items are Student's t over the means of listeners. Those for items like "
        "these take listeners and items as samples: the variance is (MS_L + MS_I − MS_LI) / answers, with the mean "
        "squares of listeners, items and the rest, and Satterthwaite's degrees of freedom; the interval is never "
        f"narrower, nor p smaller, than over listeners or items alone. In both, {coarse}."
    )


def _pairs(kind: str, analysis: dict[str, Any]) -> str:
    """Return how pairs are tested."""
    neutral = {"ccr": "0 (neither is better)", "ab": "50 % (no preference)"}.get(kind)
    tested = f"mean answer, against {neutral}" if neutral else "mean difference over the items rated with both"
    text = (
        f"Pairs: each listener's {tested}. The main test is the t-test of the intervals (two-sided); p-values are "
        "adjusted over pairs by Holm's method, intervals are those of a pair alone. Wilcoxon's signed-rank test and "
        "flipping signs (exact, for these items) assume less and stand beside it."
    )
    if not neutral:
        text += (
            " Where listeners hear each item with one system only, means are taken after the main effects of listeners "
            "and items (least squares), and components of variance are estimated from the same three sums of squares."
        )
    if kind == "mushra":
        text += " Anchors are not tested."
    pairs, kept = max(1, len(analysis["pairs"])), analysis["listeners"]["kept"]
    least = fewest_listeners(SIGNIFICANT / pairs)
    if kept < least:
        text += (
            f" With {kept} listeners and {pairs} pairs, those two cannot reach p < 0.05; that takes at least {least}."
        )
    return text


def _by_hand(analysis: dict[str, Any]) -> list[str]:
    """Return who was left out by hand or failed checks, if anybody."""
    reasons = {line["listener"]: line["excluded"] for line in analysis["screening"] if line["excluded"]}
    if not reasons:
        return []
    named = "; ".join(f"{listener} ({', '.join(why)})" for listener, why in reasons.items())
    return [f"Left out: {named}. Their ratings are in ratings.csv."]


def _screening(analysis: dict[str, Any]) -> str:
    text = (
        "Post-screening follows ITU-R BS.1534-3. Listeners are excluded if they rate the hidden reference below 90 on "
        "more than 15 % of the items, or the 7 kHz anchor above 90 on more than 15 % of the items; the second rule "
        "skips items whose anchor more than 25 % of the listeners rate above 90. "
    )
    if not analysis["screening_applied"]:
        text += "It was not applied here. "
    if any(line.get("anchor_items") for line in analysis["screening"]):
        return text
    why = (
        f"at {analysis['sample_rate']} Hz a 7 kHz anchor keeps nearly the whole band"
        if analysis["sample_rate"] < MIN_RATE_7000
        else "there is no 7 kHz anchor"
    )
    return f"{text}The second rule was not applied: {why}. A test without both anchors may not be called MUSHRA."
