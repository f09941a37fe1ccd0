"""Puts the results of a test into words: findings, formatted numbers, and how the numbers were made."""

from typing import Any

from vqaudio.listening.analysis.statistics import BIMODAL, fewest_listeners
from vqaudio.listening.anchors import MIN_RATE_7000
from vqaudio.listening.key import ANCHOR_3500, ANCHOR_7000, REFERENCE

SIGNIFICANT = 0.05
MAX_SENTENCES = 12
LABELS = {REFERENCE: "reference", ANCHOR_3500: "anchor 3.5 kHz", ANCHOR_7000: "anchor 7 kHz"}


def label(system: str) -> str:
    """Return the name of a system for readers."""
    return LABELS.get(system, system)


def number(value: float | None) -> str:
    """Return a figure with two decimals, or a dash for None."""
    return "–" if value is None else f"{value:.2f}"


def interval(described: dict[str, Any]) -> str:
    """Return the 95 % interval, or a dash if there is none."""
    low, high = described["low95"], described["high95"]
    return "–" if low is None else f"{low:.2f} to {high:.2f}"


def p_text(p: float) -> str:
    """Return a p-value with three decimals.

    >>> p_text(0.04126), p_text(0.0004)
    ('0.041', '<0.001')
    """
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def findings(analysis: dict[str, Any]) -> list[str]:
    """Return sentences about which system is better, which ones are not told apart, and where listeners disagree."""
    if analysis["type"] == "abx":
        return [_heard(pair) for pair in analysis["pairs"]]
    sentences = []
    omnibus = analysis.get("omnibus")
    if omnibus:
        differ = "differ" if omnibus["p"] < SIGNIFICANT else "cannot be told apart as a group"
        sentences.append(f"The systems {differ} (Friedman χ² = {omnibus['chi2']:.2f}, p {_p(omnibus['p'])}).")
    pairs = sorted(analysis["pairs"], key=lambda pair: REFERENCE in (pair["a"], pair["b"]))
    sentences += [_preferred(pair, analysis["type"]) for pair in pairs[:MAX_SENTENCES]]
    if len(pairs) > MAX_SENTENCES:
        sentences.append(f"{len(pairs) - MAX_SENTENCES} more pairs are in the table below.")
    for described in analysis.get("systems", []):
        if (described["multimodality"] or 0) > BIMODAL and described["system"] not in LABELS:
            sentences.append(
                f"Ratings of {described['system']} may fall into groups (b above 5/9); look at its box plot."
            )
    return sentences


def summary(analysis: dict[str, Any]) -> str:
    """Return lines for a terminal: listeners, means and findings."""
    listeners = analysis["listeners"]
    lines = [f"{analysis['title']}: {listeners['kept']} listeners count, {listeners['excluded']} excluded"]
    for line in analysis["screening"]:
        if line["reasons"]:
            lines.append(f"excluded {line['listener']}: {'; '.join(line['reasons'])}")
    for described in analysis.get("systems", []):
        lines.append(f"{label(described['system']):24} {described['mean']:.2f}, 95 % interval {interval(described)}")
    return "\n".join([*lines, *findings(analysis)])


def methods(analysis: dict[str, Any]) -> list[str]:
    """Return paragraphs for a paper that say how the figures of a test were made."""
    kind, kept = analysis["type"], analysis["listeners"]["kept"]
    if kind == "abx":
        return [
            "p is the probability of at least as many right answers by guessing (exact binomial test, one-sided), "
            "adjusted over pairs by Holm's method. Intervals of shares are Clopper and Pearson's; they treat answers "
            "as independent."
        ]
    paragraphs = [_screening(analysis)] if kind == "mushra" else []
    paragraphs.append(
        f"Intervals are 95 % percentile bootstrap intervals: {analysis['bootstrap_resamples']} resamples of whole "
        f"listeners (seed {analysis['seed']}). b is the coefficient of multimodality of ITU-R BS.1534-3; if it is "
        "above 5/9, listeners may fall into groups. Values outside the whiskers are shown and were not removed."
    )
    neutral = {"ccr": "0 (neither is better) ", "ab": "1/2 (no preference) "}.get(kind, "")
    tested = f"answer, tested against {neutral}" if neutral else "difference over the items rated, tested "
    paragraphs.append(
        f"Pairs: each listener's mean {tested}by the two-sided Wilcoxon signed-rank test and by flipping signs "
        "(all patterns up to 16 listeners, 10 000 random ones above); p-values adjusted over pairs by Holm's method. "
        + ("Anchors are not tested. " if kind == "mushra" else "")
    )
    if kind == "ab":
        paragraphs.append(
            "Strengths are Bradley and Terry's by maximum likelihood (Hunter 2004), after one undecided answer was "
            "added to each pair compared; their intervals are bootstrapped over listeners."
        )
    if kept < fewest_listeners(SIGNIFICANT):
        paragraphs.append(
            f"With {kept} listeners no pair can reach p < 0.05; that takes at least {fewest_listeners(SIGNIFICANT)}."
        )
    return paragraphs


def _screening(analysis: dict[str, Any]) -> str:
    text = (
        "Post-screening follows ITU-R BS.1534-3. Listeners are excluded if they rate the hidden reference below 90 on "
        "more than 15 % of the items, or the 7 kHz anchor above 90 on more than 15 % of the items; the second rule "
        "skips items whose anchor more than 25 % of the listeners rate above 90. "
    )
    if any(line["anchor_items"] for line in analysis["screening"]):
        return text
    why = (
        f"at {analysis['sample_rate']} Hz a 7 kHz anchor keeps nearly the whole band"
        if analysis["sample_rate"] < MIN_RATE_7000
        else "there is no 7 kHz anchor"
    )
    return f"{text}The second rule was not applied: {why}. A test without both anchors may not be called MUSHRA."


def _preferred(pair: dict[str, Any], kind: str) -> str:
    a, b = label(pair["a"]), label(pair["b"])
    p = pair["wilcoxon_p_holm"]
    if kind == "ab":
        better, worse, share = (a, b, pair["mean"]) if pair["difference"] >= 0 else (b, a, 1 - pair["mean"])
        answers = f"{100 * share:.0f} % of answers prefer {better}, p {_p(p)}"
        if p >= SIGNIFICANT:
            return f"There is no clear preference between {a} and {b} ({answers})."
        return f"{better} is preferred to {worse} ({answers})."
    if p >= SIGNIFICANT:
        return f"{a} and {b} cannot be told apart (difference {pair['difference']:+.2f}, p {_p(p)})."
    better, worse = (a, b) if pair["difference"] > 0 else (b, a)
    return f"{better} is better than {worse} (by {abs(pair['difference']):.2f}, p {_p(p)})."


def _heard(pair: dict[str, Any]) -> str:
    p = pair["binomial_p_holm"]
    verdict = "are told apart" if p < SIGNIFICANT else "were not told apart"
    return (
        f"{label(pair['a'])} and {label(pair['b'])} {verdict}: {pair['right']} of {pair['trials']} right (p {_p(p)})."
    )


def _p(p: float) -> str:
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"
