"""The page about a listening test: one HTML file with findings, charts, tables and how the figures were made."""

from pathlib import Path
from typing import Any, NamedTuple

from vqaudio.listening.analysis.methods import methods
from vqaudio.listening.analysis.screening import GOOD
from vqaudio.listening.analysis.text import (
    SIGNIFICANT,
    cautions,
    findings,
    interval,
    label,
    number,
    p_text,
    percent,
    share_interval,
)
from vqaudio.report.charts import Chart, Row, ValueAxis, axis_around, row_chart
from vqaudio.report.render import render

TEMPLATE = Path(__file__).parent / "templates" / "analysis.html"

Analysis = dict[str, Any]
"""What `figures.analyse` returns, or a part of it."""

SHARES = tuple((quarter / 4, f"{25 * quarter} %") for quarter in range(5))
AXES = {
    "mushra": ValueAxis("bad · poor · fair · good · excellent", 0, 100, tuple((v, str(v)) for v in range(0, 101, 20))),
    "acr": ValueAxis("rating", 1, 5, ((1, "1 bad"), (2, "2 poor"), (3, "3 fair"), (4, "4 good"), (5, "5 excellent"))),
    "dcr": ValueAxis("rating", 1, 5, ((1, "very annoying"), (2, "2"), (3, "3"), (4, "4"), (5, "inaudible"))),
    "smos": ValueAxis("similarity", 1, 5, tuple((value, str(value)) for value in range(1, 6))),
    "ccr": ValueAxis(
        "rating", -3, 3, tuple((v, f"{v:+d}".replace("-", "−") if v else "0") for v in range(-3, 4)), line=0
    ),
    "ab": ValueAxis("share that prefers the first", 0, 1, SHARES, line=0.5),
    "abx": ValueAxis("share of right answers", 0, 1, SHARES, line=0.5),
}
BOX_CAPTION = "Box: middle half of all ratings; thick line: median; circles: beyond 1.5 interquartile ranges."
MEAN_CAPTION = "Mean and 95 % interval for these items; grey: mean of each listener."
TEST_CAPTION = "Mean and 95 % interval for these items; filled if p (t-test, Holm) is below 0.05."
OTHERS_CAPTION = "Mean and 95 % interval for items like these; filled if p (t-test, Holm) is below 0.05."
SHARE_CAPTION = "Share and 95 % interval for these items; dashed: guessing; filled if p (binomial, Holm) is below 0.05."
LISTENER_CAPTION = "Filled if p (binomial, Holm over listeners) is below 0.05."
STRENGTH_CAPTION = "Log-strength s by Bradley and Terry: a difference s is a preference of 1 / (1 + exp(−s))."
CLAIMS = ("95 %, these items", "95 %, items like these")
DESCRIBED = ("ratings", "mean", *CLAIMS, "median", "IQR", "sd", "b")


class Table(NamedTuple):
    """A table; the first cell of a row is its name."""

    head: tuple[str, ...]
    rows: list[list[str]]


class Part(NamedTuple):
    """A section of the page."""

    title: str
    charts: list[Chart]
    table: Table | None
    missing: str = ""
    """Why a chart or the table is missing, if one is."""


def analysis_page(analysis: Analysis, name: str) -> str:
    """Return the page about what `figures.analyse` found in the test called `name`; it needs no other file."""
    kind, listeners = analysis["type"], analysis["listeners"]
    parts = {"abx": _discrimination, "ccr": _preference, "ab": _preference}.get(kind, _scale)
    screened = kind == "mushra"
    items = "utterances" if analysis["asked_items"] in (None, analysis["items"]) else f"of {analysis['asked_items']}"
    return render(
        TEMPLATE,
        title=name,
        analysis=analysis,
        figures=[
            ("listeners", listeners["kept"], f"{listeners['excluded']} more excluded"),
            ("items", analysis["items"], items),
            ("answers", analysis["ratings"], "of these listeners"),
        ],
        findings=findings(analysis),
        cautions=cautions(analysis),
        parts=[*parts(analysis), _items(analysis)],
        screened=screened,
        good=f"{GOOD:g}",
        methods=methods(analysis),
        minutes=_minutes,
    )


def _scale(analysis: Analysis) -> list[Part]:
    systems, kind = analysis["systems"], analysis["type"]
    axis = _percent_axis(systems) if kind == "words" else AXES[kind]
    boxes = [Row(label(system["system"]), box=system["box"]) for system in systems]
    means = [_mean_row(label(system["system"]), system, axis) for system in systems]
    charts = [row_chart("Ratings", boxes, axis, BOX_CAPTION), row_chart("Means", means, axis, MEAN_CAPTION)]
    head: tuple[str, ...] = ("system", *DESCRIBED)
    rows = [_described(label(system["system"]), system) for system in systems]
    if kind == "words":
        head = (*head, "pooled")
        rows = [[*row, number(system["pooled"])] for row, system in zip(rows, systems, strict=True)]
    return [Part("Systems", charts, Table(head, rows)), _tests(analysis, "Pairs of systems", differences=True)]


def _preference(analysis: Analysis) -> list[Part]:
    kind, pairs = analysis["type"], analysis["pairs"]
    missing = ""
    if kind == "ccr":
        boxes = [Row(_pair(pair, ":"), box=pair["box"]) for pair in pairs]
        charts = [row_chart("Ratings of the first against the second", boxes, AXES["ccr"], BOX_CAPTION)]
        charts.append(_means("Means", pairs, AXES["ccr"]))
        table = Table(("pair", *DESCRIBED), [_described(_pair(pair), pair) for pair in pairs])
    else:
        charts = [_means("Preference", pairs, AXES["ab"])]
        if analysis["strengths"] is None:
            missing = "No strengths: some systems are not linked to the others by any comparison."
        else:
            charts.append(_strengths(analysis["strengths"]))
        head = ("pair", "answers", "first", "second", "neither", "prefer first", "with half of neither")
        table = Table((*head, *CLAIMS), [_preferences(pair) for pair in pairs])
    return [Part("Answers", charts, table, missing), _tests(analysis, "Tests", differences=False)]


def _preferences(pair: Analysis) -> list[str]:
    """Return a row of the table of AB: counts of answers, and the share that prefers the first."""
    counts = [pair[f"prefer_{who}"] for who in ("a", "b", "neither")]
    shares = [percent(counts[0] / pair["votes"]), percent(pair["mean"])]
    claims = [share_interval(pair[claim]) for claim in ("these_items", "items_like_these")]
    return [_pair(pair), str(pair["votes"]), *map(str, counts), *shares, *claims]


def _discrimination(analysis: Analysis) -> list[Part]:
    shares = {_pair(pair, ":"): pair for pair in analysis["pairs"]}
    if len(shares) > 1:
        shares["all pairs"] = analysis["overall"]
    rows = []
    for name, share in shares.items():
        bounds = share["these_items"] or {"low95": None, "high95": None}
        solid = share.get("binomial_p_holm", share["binomial_p"]) < SIGNIFICANT
        rows.append(Row(name, mean=share["share"], low=bounds["low95"], high=bounds["high95"], solid=solid))
    people = [
        Row(share["listener"], mean=share["share"], solid=share["binomial_p_holm"] < SIGNIFICANT)
        for share in analysis["by_listener"]
    ]
    charts = [
        row_chart("Right answers", rows, AXES["abx"], SHARE_CAPTION),
        row_chart("By listener", people, AXES["abx"], LISTENER_CAPTION),
    ]
    head = ("pair", "listeners", "right", "of", "share", "p", "p (Holm)", *CLAIMS, "exact, answers independent")
    lines = []
    for name, share in shares.items():
        adjusted = p_text(share["binomial_p_holm"]) if "binomial_p_holm" in share else "–"
        counts = [str(share[key]) for key in ("listeners", "right", "trials")]
        claims = [share_interval(claim) for claim in (share["these_items"], share["items_like_these"], share)]
        lines.append([name, *counts, percent(share["share"]), p_text(share["binomial_p"]), adjusted, *claims])
    return [Part("Answers", charts, Table(head, lines))]


def _items(analysis: Analysis) -> Part:
    """Return the mean of each system or pair at each item."""
    found = analysis["by_item"]
    names = list(dict.fromkeys(name for item in found for name in item["means"]))
    show = percent if analysis["type"] in ("ab", "abx") else number
    rows = [
        [item["item"], *(show(item["means"][name]) if name in item["means"] else "–" for name in names)]
        for item in found
    ]
    heads = (" : ".join(label(part) for part in name.split(" : ")) for name in names)
    return Part("Items", [], Table(("mean at the item", *heads), rows))


def _tests(analysis: Analysis, title: str, *, differences: bool) -> Part:
    """Return the tests of all pairs, with charts of their `differences` if wanted."""
    pairs, kind = analysis["pairs"], analysis["type"]
    if not pairs:
        return Part(title, [], None, "No pair of systems was rated by two listeners or more.")
    tests = ("these items, p", "p (Holm)", "items like these, p", "p (Holm)")
    head = ("pair", "listeners", "difference", *CLAIMS, *tests, "Wilcoxon p (Holm)", "sign flips, p (Holm)")
    lines = []
    for pair in pairs:
        claims = [pair["these_items"], pair["items_like_these"]]
        values = [p_text(claim[key]) if claim else "–" for claim in claims for key in ("p", "p_holm")]
        signs = [p_text(pair[f"{test}_p_holm"]) for test in ("wilcoxon", "sign_flip")]
        if kind == "ab":
            shown = [f"{number(100 * pair['difference'], '+')} %", *(share_interval(claim) for claim in claims)]
        else:
            shown = [number(pair["difference"], "+"), *(interval(claim, "+") for claim in claims)]
        lines.append([_pair(pair), str(pair["listeners"]), *shown, *values, *signs])
    return Part(title, _difference_charts(pairs) if differences else [], Table(head, lines))


def _difference_charts(pairs: list[Analysis]) -> list[Chart]:
    """Return a chart of the differences with their intervals for these items, and one for items like these."""
    made = []
    for title, claim, caption in (
        ("Differences, these items", "these_items", TEST_CAPTION),
        ("Differences, items like these", "items_like_these", OTHERS_CAPTION),
    ):
        shown = [pair for pair in pairs if pair[claim]]
        rows = [
            Row(
                _pair(pair, "−"),
                mean=pair["difference"],
                low=pair[claim]["low95"],
                high=pair[claim]["high95"],
                solid=pair[claim]["p_holm"] < SIGNIFICANT,
            )
            for pair in shown
        ]
        ends = [pair[claim][end] for pair in shown for end in ("low95", "high95")]
        if rows:
            made.append(row_chart(title, rows, axis_around("difference of means", ends, 0.0), caption))
    return made


def _strengths(strengths: list[Analysis]) -> Chart:
    ends = [system[end] for system in strengths for end in ("low95", "strength", "high95") if system[end] is not None]
    rows = [
        Row(label(system["system"]), mean=system["strength"], low=system["low95"], high=system["high95"])
        for system in strengths
    ]
    return row_chart("Strengths", rows, axis_around("log-strength", ends, 0.0), STRENGTH_CAPTION)


def _percent_axis(systems: list[Analysis]) -> ValueAxis:
    """Return the axis of words that are wrong; so many may be added that it goes beyond 100 %."""
    highest = max(
        [100.0, *(value for system in systems for value in (system["box"]["high"], *system["box"]["outliers"]))]
    )
    return ValueAxis("per cent of words wrong", 0, highest)


def _means(title: str, pairs: list[Analysis], axis: ValueAxis) -> Chart:
    return row_chart(title, [_mean_row(_pair(pair, ":"), pair, axis) for pair in pairs], axis, MEAN_CAPTION)


def _mean_row(name: str, described: Analysis, axis: ValueAxis) -> Row:
    """Return a row with the means of listeners, and the interval of their mean as far as the scale goes."""
    dots = list(described["listener_means"].values())
    claim = described["these_items"]
    bounds = [min(axis.high, max(axis.low, claim[end])) if claim else None for end in ("low95", "high95")]
    return Row(name, dots=dots, mean=described["mean"], low=bounds[0], high=bounds[1])


def _pair(pair: Analysis, sign: str = "over") -> str:
    return f"{label(pair['a'])} {sign} {label(pair['b'])}"


def _described(name: str, described: Analysis) -> list[str]:
    """Return the name of a system or pair, and its statistics."""
    box = described["box"]
    claims = [interval(described[claim]) for claim in ("these_items", "items_like_these")]
    values = [number(value) for value in (box["median"], box["iqr"], described["sd"], described["multimodality"])]
    return [name, str(described["votes"]), number(described["mean"]), *claims, *values]


def _minutes(minutes: float | None) -> str:
    return "–" if minutes is None else f"{minutes:.0f}"
