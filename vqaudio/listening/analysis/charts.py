"""Charts of listening tests as inline SVG: a row a system or pair, values along the horizontal axis."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import Any

from vqaudio.report.charts import Scale, ticks

WIDTH, RIGHT, TOP, ROW, BOTTOM = 420, 32, 6, 26, 34
MAX_LABEL = 26
CHARACTER = 5.8  # average width of a label's characters


@dataclass(frozen=True)
class Axis:
    """A horizontal axis from `low` to `high`: its name, its labels if not round numbers, a line to compare with."""

    name: str
    low: float
    high: float
    labels: tuple[tuple[float, str], ...] = ()
    line: float | None = None


@dataclass(frozen=True)
class Row:
    """What is drawn of a system or pair: a box (see `statistics.box`), or dots and a mean with its interval.

    `solid` fills the mean's mark; an open one says that the interval's test found nothing.
    """

    label: str
    box: dict[str, Any] | None = None
    dots: list[float] = field(default_factory=list)
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    solid: bool = True


def row_chart(title: str, rows: list[Row], axis: Axis, caption: str) -> str:
    """Draw the rows from top to bottom; `caption` is HTML."""
    height = TOP + ROW * len(rows) + BOTTOM
    names = [row.label if len(row.label) <= MAX_LABEL else row.label[: MAX_LABEL - 1] + "…" for row in rows]
    x = Scale(axis.low, axis.high, 20 + CHARACTER * max(map(len, names)), WIDTH - RIGHT)
    parts = _axis(x, axis, height)
    for number, (row, name) in enumerate(zip(rows, names, strict=True)):
        y = TOP + ROW * (number + 0.5)
        parts.append(
            f'<text class="row" text-anchor="end" x="{x.start - 8:.1f}" y="{y + 3.5:.1f}">{escape(name)}'
            f"<title>{escape(row.label)}</title></text>"
        )
        parts += _box(x, y, row.box) if row.box else _mean(x, y, row)
    drawing = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    return f'<figure class="chart"><h3>{escape(title)}</h3>{drawing}<figcaption>{caption}</figcaption></figure>'


def axis_around(name: str, values: Iterable[float], line: float) -> Axis:
    """Return an axis with a line at `line` that all values fit in with some room."""
    seen = [line, *values]
    room = 0.08 * (max(seen) - min(seen)) or 1.0
    return Axis(name, min(seen) - room, max(seen) + room, line=line)


def _axis(x: Scale, axis: Axis, height: int) -> list[str]:
    bottom = height - BOTTOM
    parts = [
        f'<text class="tick" text-anchor="middle" x="{(x.start + x.end) / 2:.1f}" y="{height - 4}">'
        f"{escape(axis.name)}</text>"
    ]
    for value, label in axis.labels or [(value, f"{value:.6g}") for value in ticks(x.low, x.high)]:
        at = f"{x(value):.1f}"
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" text-anchor="middle" x="{at}" y="{bottom + 13}">{escape(label)}</text>')
    if axis.line is not None:
        at = f"{x(axis.line):.1f}"
        parts.append(f'<line class="switch" x1="{at}" x2="{at}" y1="{TOP}" y2="{bottom}"/>')
    return parts


def _box(x: Scale, y: float, box: dict[str, Any]) -> list[str]:
    low, q1, median, q3, high = (x(box[name]) for name in ("low", "q1", "median", "q3", "high"))
    half = ROW * 0.3
    parts = [
        f'<line class="whisker" x1="{low:.1f}" x2="{q1:.1f}" y1="{y}" y2="{y}"/>',
        f'<line class="whisker" x1="{q3:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>',
        f'<rect class="box" x="{q1:.1f}" y="{y - half:.1f}" width="{max(q3 - q1, 1):.1f}" height="{2 * half:.1f}"/>',
        f'<line class="median" x1="{median:.1f}" x2="{median:.1f}" y1="{y - half:.1f}" y2="{y + half:.1f}"/>',
    ]
    parts += [f'<circle class="outlier" cx="{x(value):.1f}" cy="{y}" r="2"/>' for value in box["outliers"]]
    return parts


def _mean(x: Scale, y: float, row: Row) -> list[str]:
    parts = [f'<circle class="dot" cx="{x(value):.1f}" cy="{y + 6:.1f}" r="1.8"/>' for value in row.dots]
    level = y - 2 if row.dots else y
    if row.low is not None and row.high is not None:
        parts.append(f'<line class="interval" x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{level}" y2="{level}"/>')
    if row.mean is not None:
        style = "mean" if row.solid else "mean open"
        parts.append(f'<circle class="{style}" cx="{x(row.mean):.1f}" cy="{level}" r="4"/>')
    return parts
