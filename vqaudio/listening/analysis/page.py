"""The page about a listening test: one file of HTML with charts, tables and how they were made."""

from collections.abc import Iterable
from datetime import date
from html import escape
from importlib.resources import files as resources
from typing import Any

from vqaudio.listening.analysis.charts import Axis, Row, axis_around, row_chart
from vqaudio.listening.analysis.text import SIGNIFICANT, findings, interval, label, methods, number, p_text
from vqaudio.report.html import html_page, missing, section

Analysis = dict[str, Any]
AXES = {
    "mushra": Axis("bad · poor · fair · good · excellent", 0, 100, tuple((v, str(v)) for v in range(0, 101, 20))),
    "acr": Axis("rating", 1, 5, ((1, "1 bad"), (2, "2 poor"), (3, "3 fair"), (4, "4 good"), (5, "5 excellent"))),
    "dcr": Axis("rating", 1, 5, ((1, "very annoying"), (2, "2"), (3, "3"), (4, "4"), (5, "inaudible"))),
    "ccr": Axis("rating", -3, 3, tuple((value, f"{value:+d}" if value else "0") for value in range(-3, 4)), line=0),
    "ab": Axis("share that prefers the first", 0, 1, tuple((v / 4, f"{25 * v} %") for v in range(5)), line=0.5),
    "abx": Axis("share of right answers", 0, 1, tuple((v / 4, f"{25 * v} %") for v in range(5)), line=0.5),
}
BOX_CAPTION = "Box: middle half of all ratings; thick line: median; circles: beyond 1.5 interquartile ranges."
MEAN_CAPTION = "Mean and 95 % interval over listeners; grey: mean of each listener."
TEST_CAPTION = "Mean and 95 % interval over listeners; a filled mark where p (Wilcoxon, Holm) is below 0.05."


def analysis_page(analysis: Analysis, name: str) -> str:
    """Return the page about what `analysis.analyse` found in the test called `name`; it needs no other file."""
    kind = analysis["type"]
    results = {"abx": _discrimination, "ccr": _preference, "ab": _preference}.get(kind, _scale)
    body = _header(analysis, name) + results(analysis) + _listeners(analysis)
    body += section("How this was made", "".join(f"<p>{escape(text)}</p>" for text in methods(analysis)))
    style = resources("vqaudio.listening.analysis").joinpath("page.css").read_text(encoding="utf-8")
    return html_page(name, body, style)


def _header(analysis: Analysis, name: str) -> str:
    listeners = analysis["listeners"]
    screened = f"{listeners['excluded']} more excluded by post-screening"
    tiles = {
        "listeners": (str(listeners["kept"]), screened if analysis["type"] == "mushra" else "all who answered"),
        "items": (str(analysis["items"]), "utterances"),
        "answers": (str(analysis["ratings"]), "of these listeners"),
    }
    shown = "".join(
        f'<div class="tile"><dt>{what}</dt><dd>{value}<small>{beside}</small></dd></div>'
        for what, (value, beside) in tiles.items()
    )
    line = f"{analysis['title']} · {date.today().isoformat()} · vqaudio {analysis['vqaudio']}"
    found = "".join(f"<li>{escape(sentence)}</li>" for sentence in findings(analysis))
    return (
        f'<header>\n<h1>{escape(name)}</h1>\n<p class="muted">{escape(line)}</p>\n<dl class="tiles">{shown}</dl>\n'
        f'</header>\n<ul class="findings">{found}</ul>\n'
    )


def _scale(analysis: Analysis) -> str:
    systems, axis = analysis["systems"], AXES[analysis["type"]]
    boxes = [Row(label(system["system"]), box=system["box"]) for system in systems]
    charts = row_chart("Ratings", boxes, axis, BOX_CAPTION) + row_chart(
        "Means", [_mean_row(label(system["system"]), system) for system in systems], axis, MEAN_CAPTION
    )
    head = ("system", "ratings", "mean", "95 % interval", "median", "IQR", "sd", "b")
    table = _table(head, [_described(label(system["system"]), system) for system in systems])
    found = section("Systems", f'<div class="charts">{charts}</div>{table}')
    return found + _pairs(analysis, "Pairs of systems", 0.0)


def _preference(analysis: Analysis) -> str:
    kind, pairs = analysis["type"], analysis["pairs"]
    axis = AXES[kind]
    rows = [_mean_row(f"{label(pair['a'])} : {label(pair['b'])}", pair) for pair in pairs]
    charts = row_chart("Means" if kind == "ccr" else "Preference", rows, axis, MEAN_CAPTION)
    if kind == "ccr":
        boxes = [Row(f"{label(pair['a'])} : {label(pair['b'])}", box=pair["box"]) for pair in pairs]
        charts = row_chart("Ratings of the first against the second", boxes, axis, BOX_CAPTION) + charts
        head: tuple[str, ...] = ("pair", "answers", "mean", "95 % interval", "median", "IQR", "sd", "b")
        lines = [_described(f"{label(pair['a'])} over {label(pair['b'])}", pair) for pair in pairs]
    else:
        charts += _strengths(analysis["strengths"])
        head = ("pair", "answers", "prefer the first", "95 % interval")
        lines = [
            [
                f"{label(pair['a'])} over {label(pair['b'])}",
                str(pair["votes"]),
                f"{100 * pair['mean']:.1f} %",
                interval(pair),
            ]
            for pair in pairs
        ]
    table = _table(head, lines)
    return section("Answers", f'<div class="charts">{charts}</div>{table}') + _pairs(analysis, "Tests", None)


def _strengths(strengths: list[Analysis] | None) -> str:
    if strengths is None:
        return missing("No strengths: some systems are not linked to the others by any comparison.")
    values = [system[end] for system in strengths for end in ("low95", "high95")]
    rows = [
        Row(label(system["system"]), mean=system["strength"], low=system["low95"], high=system["high95"])
        for system in strengths
    ]
    caption = "Log-strength s by Bradley and Terry: a difference s is a preference of 1 / (1 + exp(−s))."
    return row_chart("Strengths", rows, axis_around("log-strength", values, 0.0), caption)


def _discrimination(analysis: Analysis) -> str:
    shares = {f"{label(pair['a'])} : {label(pair['b'])}": pair for pair in analysis["pairs"]}
    if len(shares) > 1:
        shares["all pairs"] = analysis["overall"]
    rows = [
        Row(
            name, mean=share["share"], low=share["low95"], high=share["high95"], solid=share["binomial_p"] < SIGNIFICANT
        )
        for name, share in shares.items()
    ]
    caption = "Share and exact 95 % interval; dashed: guessing; a filled mark where p is below 0.05."
    chart = row_chart("Right answers", rows, AXES["abx"], caption)
    people = [
        Row(share["listener"], mean=share["share"], solid=share["binomial_p"] < SIGNIFICANT)
        for share in analysis["by_listener"]
    ]
    chart += row_chart("By listener", people, AXES["abx"], "A filled mark where p is below 0.05.")
    head = ("pair", "listeners", "right", "of", "share", "95 % interval", "p", "p (Holm)")
    lines = []
    for name, share in shares.items():
        adjusted = p_text(share["binomial_p_holm"]) if "binomial_p_holm" in share else "–"
        counts = [str(share[key]) for key in ("listeners", "right", "trials")]
        lines.append(
            [name, *counts, f"{100 * share['share']:.1f} %", interval(share), p_text(share["binomial_p"]), adjusted]
        )
    return section("Answers", f'<div class="charts">{chart}</div>{_table(head, lines)}')


def _pairs(analysis: Analysis, title: str, line: float | None) -> str:
    """Show the tests of all pairs, and with `line` a chart of their differences."""
    pairs = analysis["pairs"]
    if not pairs:
        return section(title, missing("No pair of systems was rated by two listeners or more."))
    head = ("pair", "listeners", "difference", "95 % interval", "Wilcoxon p", "p (Holm)", "sign-flip p", "p (Holm)")
    lines = []
    for pair in pairs:
        tests = [p_text(pair[f"{test}{suffix}"]) for test in ("wilcoxon_p", "sign_flip_p") for suffix in ("", "_holm")]
        name = f"{label(pair['a'])} over {label(pair['b'])}"
        shown = interval({"low95": pair["difference_low95"], "high95": pair["difference_high95"]})
        lines.append([name, str(pair["listeners"]), f"{pair['difference']:+.2f}", shown, *tests])
    chart = ""
    if line is not None:
        rows = [
            Row(
                f"{label(pair['a'])} − {label(pair['b'])}",
                mean=pair["difference"],
                low=pair["difference_low95"],
                high=pair["difference_high95"],
                solid=pair["wilcoxon_p_holm"] < SIGNIFICANT,
            )
            for pair in pairs
        ]
        ends = [pair[f"difference_{end}95"] for pair in pairs for end in ("low", "high")]
        chart = row_chart("Differences", rows, axis_around("difference of means", ends, line), TEST_CAPTION)
        chart = f'<div class="charts">{chart}</div>'
    return section(title, chart + _table(head, lines))


def _listeners(analysis: Analysis) -> str:
    screened = analysis["type"] == "mushra"
    head = ["listener", "ratings", "verdict"]
    if screened:
        head[2:2] = ["reference below 90", "7 kHz anchor above 90"]
    rows = []
    for line in analysis["screening"]:
        cells = [line["listener"], str(line["ratings"])]
        if screened:
            cells += [
                _of(line["reference_low"], line["reference_items"]),
                _of(line["anchor_high"], line["anchor_items"]),
            ]
        rows.append([*cells, "excluded: " + "; ".join(line["reasons"]) if line["reasons"] else "counts"])
    return section("Listeners", _table(head, rows))


def _of(bad: int, items: int) -> str:
    return f"{bad} of {items}" if items else "–"


def _mean_row(name: str, described: Analysis) -> Row:
    dots = list(described["listener_means"].values())
    return Row(name, dots=dots, mean=described["mean"], low=described["low95"], high=described["high95"])


def _described(name: str, described: Analysis) -> list[str]:
    box = described["box"]
    values = [described["mean"], interval(described), box["median"], box["iqr"], described["sd"]]
    texts = [value if isinstance(value, str) else number(value) for value in values]
    return [name, str(described["votes"]), *texts, number(described["multimodality"])]


def _table(head: Iterable[str], rows: list[list[str]]) -> str:
    """Return a table whose first column names the rows; rows that say `excluded` stand out."""
    top = "".join(f"<th{' class=text' if name == 'verdict' else ''}>{escape(name)}</th>" for name in head)
    body = []
    for name, *cells in rows:
        out = bool(cells) and cells[-1].startswith("excluded")
        shown = "".join(f"<td{_style(cell)}>{escape(cell)}</td>" for cell in cells)
        body.append(f"<tr{' class=out' if out else ''}><th>{escape(name)}</th>{shown}</tr>")
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _style(cell: str) -> str:
    return " class=text" if cell.startswith(("excluded", "counts")) else ""
