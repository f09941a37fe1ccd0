"""Draws the charts of all pages with matplotlib, as inline SVG: lines over training steps, code usage, rows of ratings.

Their colours are those of the style sheet, so that they are readable on light and on dark paper.
"""

import io
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHART_WIDTH, CHART_HEIGHT, ROWS_WIDTH, ROW_HEIGHT, BELOW_ROWS, LETTER = 360, 220, 420, 26, 40, 7
"""Sizes in pixels, at which text has its size in `SETTINGS`; the page scales a drawing as a whole."""
MAX_POINTS = 300
"""Points of a line; in a drawing of this width nobody could see more."""
LINE_COLOURS = ("first", "second", "third", "fourth", "fifth", "sixth")
COLOURS = {
    name: f"#00f0{number:02x}" for number, name in enumerate(("paper", "ink", "muted", "rule", *LINE_COLOURS), start=1)
}
"""What matplotlib draws with for each colour of the style sheet; `_inline` puts in the variable of that name."""
DASHED: dict[str, Any] = {"color": COLOURS["muted"], "linewidth": 1, "linestyle": "dashed"}
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, in the font of the page
    "text.parse_math": False,  # names may hold dollar signs
    "font.size": 10,
    **{f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")},
    "axes.labelcolor": COLOURS["muted"],
    "axes.labelsize": 10,
    "axes.axisbelow": True,
    "grid.color": COLOURS["rule"],
    "grid.linewidth": 1,
    "lines.linewidth": 1.8,
    "lines.markeredgewidth": 1.6,
    "lines.solid_capstyle": "butt",
    "lines.dashed_pattern": (3, 3),
    "lines.scale_dashes": False,
    **{f"{axis}tick.{name}.size": 0 for axis in "xy" for name in ("major", "minor")},
    **{f"{axis}tick.color": COLOURS["muted"] for axis in "xy"},
}


class Chart(NamedTuple):
    """A chart as the macro `chart` of `parts.html` takes it; `keys` names its lines and their colours."""

    title: str
    svg: Markup
    caption: str = ""
    keys: tuple[tuple[str, str], ...] = ()


class Series(NamedTuple):
    """A line: its name, its colour, and its points (x, y) in the order of x."""

    name: str
    colour: str
    points: list[tuple[float, float]]


class Mark(NamedTuple):
    """A point of a `mark_chart`, the text beside it, and the bounds of its interval if it has one."""

    x: float
    y: float
    label: str
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True)
class ValueAxis:
    """A horizontal axis from `low` to `high`: its name, its ticks if not at round numbers, and a dashed line."""

    name: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] = ()
    line: float | None = None


@dataclass(frozen=True)
class Row:
    """A row of a chart: a box (see `statistics.box`), or dots and a mean with its interval.

    The mark of the mean is filled if `solid`, open if not.
    """

    label: str
    box: dict[str, Any] | None = None
    dots: list[float] = field(default_factory=list)
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    solid: bool = True


def line_chart(title: str, series: list[Series], *, switch: float | None = None, from_zero: bool = False) -> Chart:
    """Return a chart of lines over training steps; `switch` marks the step at which the second phase begins.

    The vertical axis begins at 0 if `from_zero`, else just below the lowest value.
    """
    last = max(x for line in series for x, _ in line.points)
    lowest = min(y for line in series for _, y in line.points)

    def draw(axes: "Axes") -> None:
        axes.grid(axis="y", clip_on=False)
        for line in series:
            x, y = zip(*thinned(line.points), strict=True)
            marker = "o" if len(x) == 1 else None
            axes.plot(x, y, color=COLOURS[line.colour], marker=marker, markersize=5, clip_on=marker is None)
        axes.set_xlim(0, max(last, 1))
        if from_zero:
            axes.set_ylim(bottom=min(0, lowest))
        _set_ticks(axes.xaxis, "training step")
        _set_ticks(axes.yaxis)
        if switch is not None and 0 < switch < last:
            axes.axvline(switch, **DASHED)
            axes.annotate(
                "WaveNet starts",
                (switch, 1),
                (0, 4),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                color=COLOURS["muted"],
                ha="center",
            )

    keys = tuple((line.name, line.colour) for line in series)
    return Chart(title, _svg(title, CHART_WIDTH, CHART_HEIGHT, draw), keys=keys)


def mark_chart(title: str, lines: dict[str, list[Mark]], x_name: str) -> Chart:
    """Return a chart of lines, by their names, through marks, whose intervals are vertical bars."""
    colours = dict(zip(lines, LINE_COLOURS, strict=False))

    def draw(axes: "Axes") -> None:
        axes.grid(axis="y", clip_on=False)
        for name, colour in colours.items():
            drawn = COLOURS[colour]
            for mark in lines[name]:
                if mark.bounds:
                    axes.plot([mark.x, mark.x], mark.bounds, color=drawn, alpha=0.35, linewidth=1, clip_on=False)
                place: dict[str, Any] = {"textcoords": "offset points", "color": drawn, "fontsize": 8}
                axes.annotate(mark.label, (mark.x, mark.y), (4, 4), **place)
            x, y = [mark.x for mark in lines[name]], [mark.y for mark in lines[name]]
            axes.plot(x, y, color=drawn, marker="o", markersize=4.5, clip_on=False)
        _set_ticks(axes.xaxis, x_name)
        _set_ticks(axes.yaxis)

    return Chart(title, _svg(title, CHART_WIDTH, CHART_HEIGHT, draw), keys=tuple(colours.items()))


def usage_chart(title: str, shares: list[float], caption: str) -> Chart:
    """Return a chart of the share of frames of each code, the most frequent first; a dashed line is the uniform share.

    The vertical axis is logarithmic: pauses make one code many times more frequent than all others.
    """
    used = sorted((share for share in shares if share > 0), reverse=True)
    uniform = 1 / len(shares)
    low, high = 0.8 * min(used[-1], uniform), 1.25 * used[0]

    def draw(axes: "Axes") -> None:
        axes.set_yscale("log")
        axes.grid(axis="y", clip_on=False)
        axes.stairs(used, baseline=low, fill=True, color=COLOURS["first"], alpha=0.75)
        axes.axhline(uniform, **DASHED)
        axes.set_xlim(0, len(shares))
        axes.set_ylim(low, high)
        _set_ticks(axes.xaxis, "code, by rank")
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
        axes.yaxis.set_minor_formatter(lambda *_: "")

    return Chart(title, _svg(title, CHART_WIDTH, CHART_HEIGHT, draw), caption)


def row_chart(title: str, rows: list[Row], axis: ValueAxis, caption: str) -> Chart:
    """Return a chart of rows from top to bottom, their values along the horizontal axis.

    Long labels make the drawing wider, and its text smaller on the page.
    """

    def draw(axes: "Axes") -> None:
        axes.grid(axis="x", clip_on=False)
        axes.set_xlim(axis.low, axis.high)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [row.label for row in rows], color=COLOURS["ink"], fontsize=11)
        axes.tick_params(axis="y", pad=8)
        _set_ticks(axes.xaxis, axis.name)
        if axis.ticks:
            axes.set_xticks([value for value, _ in axis.ticks], [label for _, label in axis.ticks])
        if axis.line is not None:
            axes.axvline(axis.line, **DASHED)
        for place, row in enumerate(rows):
            if row.box:
                _draw_box(axes, place, row.box)
            else:
                _draw_mean(axes, place, row)

    width = max(ROWS_WIDTH, ROWS_WIDTH * 6 // 10 + LETTER * max(len(row.label) for row in rows))
    return Chart(title, _svg(title, width, ROW_HEIGHT * len(rows) + BELOW_ROWS, draw), caption)


def axis_around(name: str, values: Iterable[float], line: float) -> ValueAxis:
    """Return an axis with a dashed line at `line` and room for all values."""
    seen = [line, *values]
    room = 0.08 * (max(seen) - min(seen)) or 1.0
    return ValueAxis(name, min(seen) - room, max(seen) + room, line=line)


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most `MAX_POINTS` points: where there are more, neighbours are replaced by their mean."""
    size = math.ceil(len(points) / MAX_POINTS)
    if size <= 1:
        return points
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _draw_box(axes: "Axes", place: int, box: dict[str, Any]) -> None:
    """Draw a box with its whiskers and outliers."""
    colour = COLOURS["first"]
    names = {"whislo": "low", "q1": "q1", "med": "median", "q3": "q3", "whishi": "high", "fliers": "outliers"}
    axes.bxp(
        [{theirs: box[ours] for theirs, ours in names.items()}],
        positions=[place],
        orientation="horizontal",
        widths=0.6,
        patch_artist=True,
        showcaps=False,
        manage_ticks=False,
        boxprops={"facecolor": (colour, 0.2), "edgecolor": colour},
        whiskerprops={"color": colour},
        medianprops={"color": colour, "linewidth": 2.5},
        flierprops={"markeredgecolor": colour, "markeredgewidth": 1, "markersize": 4, "clip_on": False},
    )


def _draw_mean(axes: "Axes", place: float, row: Row) -> None:
    """Draw a mean with its interval, above the dots of the row."""
    colour = COLOURS["second"]
    if row.dots:
        dots: dict[str, Any] = {"color": COLOURS["muted"], "alpha": 0.45, "markersize": 3.6, "markeredgewidth": 0}
        axes.plot(row.dots, [place + 0.23] * len(row.dots), "o", clip_on=False, **dots)
        place -= 0.08
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2, clip_on=False)
    if row.mean is not None:
        inside = colour if row.solid else COLOURS["paper"]
        axes.plot(row.mean, place, "o", color=colour, markerfacecolor=inside, markersize=8, clip_on=False)


def _set_ticks(axis: Any, name: str = "") -> None:
    """Give an axis a name and a few ticks at round numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_label_text(name)
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(lambda value, _: _tick(value).replace("-", "−"))


def _tick(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 10000 else f"{value:.6g}"


def _svg(title: str, width: int, height: int, draw: Callable[["Axes"], None]) -> Markup:
    """Return what `draw` draws on axes, the same bytes for the same drawing."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    file = io.StringIO()
    # The salt is in the names of clip paths and marks, which have to differ between the charts of a page.
    with rc_context({**SETTINGS, "svg.hashsalt": title}):
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")  # inches of 72 pixels
        draw(figure.subplots())
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return _inline(title, file.getvalue())


def _inline(title: str, svg: str) -> Markup:
    """Return matplotlib's SVG file as an element of a page.

    Its header, global style, fixed size, names of groups and fonts are left out, and its colours become variables.
    """
    view = re.search(r'viewBox="[\d. ]+"', svg)
    assert view is not None
    drawing = svg.partition("</style>\n </defs>")[2]
    drawing = re.sub(r'(?<=<g) id="[^"]*"| font-family: [^;"]*;?| transform="rotate\(-0 [^"]*"', "", drawing)
    drawing = re.sub(r"\s*\n\s*", " ", drawing).replace("xlink:href", "href")
    for name, colour in COLOURS.items():
        drawing = drawing.replace(colour, f"var(--{name})")
    head = f'<svg {view[0]} role="img" aria-label="{escape(title)}">'
    return Markup(head + drawing)  # noqa: S704 (matplotlib has escaped the texts)
