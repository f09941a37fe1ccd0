"""The page about a listening test: one HTML file with findings, charts, tables and how the figures were made."""

from pathlib import Path
from typing import Any, NamedTuple

from vqaudio.listening.analysis.screening import GOOD
from vqaudio.listening.analysis.text import SIGNIFICANT, findings, interval, label, methods, number, p_text
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
    "ccr": ValueAxis("rating", -3, 3, tuple((value, f"{value:+d}" if value else "0") for value in range(-3, 4)), 0),
    "ab": ValueAxis("share that prefers the first", 0, 1, SHARES, line=0.5),
    "abx": ValueAxis("share of right answers", 0, 1, SHARES, line=0.5),
}
BOX_CAPTION = "Box: middle half of all ratings; thick line: median; circles: beyond 1.5 interquartile ranges."
MEAN_CAPTION = "Mean and 95 % interval over listeners; grey: mean of each listener."
TEST_CAPTION = "Mean and 95 % interval over listeners; filled if p (Wilcoxon, Holm) is below 0.05."
SHARE_CAPTION = "Share and exact 95 % interval; dashed: guessing; filled if p is below 0.05."
LISTENER_CAPTION = "Filled if p is below 0.05."
STRENGTH_CAPTION = "Log-strength s by Bradley and Terry: a difference s is a preference of 1 / (1 + exp(−s))."


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
    excluded = f"{listeners['excluded']} more excluded by post-screening"
    return render(
        TEMPLATE,
        title=name,
        analysis=analysis,
        figures=[
            ("listeners", listeners["kept"], excluded if screened else "all who answered"),
            ("items", analysis["items"], "utterances"),
            ("answers", analysis["ratings"], "of these listeners"),
        ],
        findings=findings(analysis),
        parts=parts(analysis),
        screened=screened,
        good=f"{GOOD:g}",
        methods=methods(analysis),
    )


def _scale(analysis: Analysis) -> list[Part]:
    systems, axis = analysis["systems"], AXES[analysis["type"]]
    boxes = [Row(label(system["system"]), box=system["box"]) for system in systems]
    means = [_mean_row(label(system["system"]), system) for system in systems]
    charts = [row_chart("Ratings", boxes, axis, BOX_CAPTION), row_chart("Means", means, axis, MEAN_CAPTION)]
    head = ("system", "ratings", "mean", "95 % interval", "median", "IQR", "sd", "b")
    table = Table(head, [_described(label(system["system"]), system) for system in systems])
    return [Part("Systems", charts, table), _tests(analysis, "Pairs of systems", differences=True)]


def _preference(analysis: Analysis) -> list[Part]:
    kind, pairs = analysis["type"], analysis["pairs"]
    missing = ""
    if kind == "ccr":
        boxes = [Row(_pair(pair, ":"), box=pair["box"]) for pair in pairs]
        charts = [row_chart("Ratings of the first against the second", boxes, AXES["ccr"], BOX_CAPTION)]
        charts.append(_means("Means", pairs, AXES["ccr"]))
        head: tuple[str, ...] = ("pair", "answers", "mean", "95 % interval", "median", "IQR", "sd", "b")
        rows = [_described(_pair(pair), pair) for pair in pairs]
    else:
        charts = [_means("Preference", pairs, AXES["ab"])]
        if analysis["strengths"] is None:
            missing = "No strengths: some systems are not linked to the others by any comparison."
        else:
            charts.append(_strengths(analysis["strengths"]))
        head = ("pair", "answers", "prefer the first", "95 % interval")
        rows = [[_pair(pair), str(pair["votes"]), f"{100 * pair['mean']:.1f} %", interval(pair)] for pair in pairs]
    return [Part("Answers", charts, Table(head, rows), missing), _tests(analysis, "Tests", differences=False)]


def _discrimination(analysis: Analysis) -> list[Part]:
    shares = {_pair(pair, ":"): pair for pair in analysis["pairs"]}
    if len(shares) > 1:
        shares["all pairs"] = analysis["overall"]
    rows = [
        Row(
            name, mean=share["share"], low=share["low95"], high=share["high95"], solid=share["binomial_p"] < SIGNIFICANT
        )
        for name, share in shares.items()
    ]
    people = [
        Row(share["listener"], mean=share["share"], solid=share["binomial_p"] < SIGNIFICANT)
        for share in analysis["by_listener"]
    ]
    charts = [
        row_chart("Right answers", rows, AXES["abx"], SHARE_CAPTION),
        row_chart("By listener", people, AXES["abx"], LISTENER_CAPTION),
    ]
    head = ("pair", "listeners", "right", "of", "share", "95 % interval", "p", "p (Holm)")
    lines = []
    for name, share in shares.items():
        adjusted = p_text(share["binomial_p_holm"]) if "binomial_p_holm" in share else "–"
        counts = [str(share[key]) for key in ("listeners", "right", "trials")]
        lines.append(
            [name, *counts, f"{100 * share['share']:.1f} %", interval(share), p_text(share["binomial_p"]), adjusted]
        )
    return [Part("Answers", charts, Table(head, lines))]


def _tests(analysis: Analysis, title: str, *, differences: bool) -> Part:
    """Return the tests of all pairs, with a chart of their `differences` if wanted."""
    pairs = analysis["pairs"]
    if not pairs:
        return Part(title, [], None, "No pair of systems was rated by two listeners or more.")
    head = ("pair", "listeners", "difference", "95 % interval", "Wilcoxon p", "p (Holm)", "sign-flip p", "p (Holm)")
    lines = []
    for pair in pairs:
        tests = [p_text(pair[f"{test}{suffix}"]) for test in ("wilcoxon_p", "sign_flip_p") for suffix in ("", "_holm")]
        shown = interval({"low95": pair["difference_low95"], "high95": pair["difference_high95"]})
        lines.append([_pair(pair), str(pair["listeners"]), f"{pair['difference']:+.2f}", shown, *tests])
    return Part(title, [_differences(pairs)] if differences else [], Table(head, lines))


def _differences(pairs: list[Analysis]) -> Chart:
    rows = [
        Row(
            _pair(pair, "−"),
            mean=pair["difference"],
            low=pair["difference_low95"],
            high=pair["difference_high95"],
            solid=pair["wilcoxon_p_holm"] < SIGNIFICANT,
        )
        for pair in pairs
    ]
    ends = [pair[f"difference_{end}95"] for pair in pairs for end in ("low", "high")]
    return row_chart("Differences", rows, axis_around("difference of means", ends, 0.0), TEST_CAPTION)


def _strengths(strengths: list[Analysis]) -> Chart:
    ends = [system[end] for system in strengths for end in ("low95", "high95")]
    rows = [
        Row(label(system["system"]), mean=system["strength"], low=system["low95"], high=system["high95"])
        for system in strengths
    ]
    return row_chart("Strengths", rows, axis_around("log-strength", ends, 0.0), STRENGTH_CAPTION)


def _means(title: str, pairs: list[Analysis], axis: ValueAxis) -> Chart:
    return row_chart(title, [_mean_row(_pair(pair, ":"), pair) for pair in pairs], axis, MEAN_CAPTION)


def _mean_row(name: str, described: Analysis) -> Row:
    dots = list(described["listener_means"].values())
    return Row(name, dots=dots, mean=described["mean"], low=described["low95"], high=described["high95"])


def _pair(pair: Analysis, sign: str = "over") -> str:
    return f"{label(pair['a'])} {sign} {label(pair['b'])}"


def _described(name: str, described: Analysis) -> list[str]:
    """Return the name of a system or pair, and its statistics."""
    box = described["box"]
    values = [described["mean"], interval(described), box["median"], box["iqr"], described["sd"]]
    texts = [value if isinstance(value, str) else number(value) for value in values]
    return [name, str(described["votes"]), *texts, number(described["multimodality"])]
