"""Chooses the charts of what units lose and gain when they change less often, from the rows of `evaluate curve`."""

from typing import Any

from vqaudio.report.charts import Chart, Mark, mark_chart
from vqaudio.report.tables import BASELINES, Scores, filled, is_figure, ordered

COST = "bitrate_deduplicated"
FIGURES = {
    "pnmi": "PNMI: higher is better",
    "abx_across": "ABX error of codewords, across speakers",
    "abx_units_across": "ABX error of units, across speakers",
    "phone_error_rate": "Phone error rate",
    "wer": "Word error rate of speech from the units",
}
UNITS_ALONE = {"units": "these units"}
LINES = UNITS_ALONE | {key: f"k-means on {called}" for key, called in BASELINES.items()}
"""Keys under which scores.json has rows, and the names of their lines."""

Rows = list[dict[str, Any]]


def penalty_lines(scores: Scores, names: dict[str, str] = LINES) -> dict[str, dict[str, Rows]]:
    """Return for each set of a scores.json with a curve the rows of its lines, by their names."""
    found = {}
    for of_set in ordered(scores.get("curve", {})):
        lines = {called: _rows(filled(scores, "curve", of_set).get(key)) for key, called in names.items()}
        if any(lines.values()):
            found[of_set] = {called: rows for called, rows in lines.items() if rows}
    return found


def penalty_charts(lines: dict[str, Rows]) -> list[Chart]:
    """Return a chart of each figure against bit/s, with a line for each name; none of what no row has."""
    charts = []
    for key, title in FIGURES.items():
        marks = {name: [_mark(row, key) for row in rows if is_figure(row.get(key))] for name, rows in lines.items()}
        if any(marks.values()):
            charts.append(mark_chart(title, marks, "bit/s of merged units"))
    return charts


def _rows(values: Any) -> Rows:
    """Return the rows that have a place on the horizontal axis."""
    rows = values if isinstance(values, list) else []
    return [
        row for row in rows if isinstance(row, dict) and all(map(is_figure, (row.get(COST), row.get("change_penalty"))))
    ]


def _mark(row: dict[str, Any], key: str) -> Mark:
    intervals = row.get("intervals")
    found = intervals.get(key) if isinstance(intervals, dict) else None
    bounds = None
    if isinstance(found, list) and len(found) == 2 and all(map(is_figure, found)):
        bounds = found[0], found[1]
    return Mark(row[COST], row[key], f"{row['change_penalty']:g}", bounds)
