"""The charts of all pages: where their marks are, and that they fit into a page."""

import math
import re
import xml.etree.ElementTree as ET

import pytest

import vqaudio.report.render
from vqaudio.report.charts import (
    COLOURS,
    MAX_POINTS,
    Chart,
    Row,
    Series,
    ValueAxis,
    axis_around,
    line_chart,
    row_chart,
    thinned,
    usage_chart,
)

BOX = {"low": 20.0, "q1": 40.0, "median": 50.0, "q3": 60.0, "high": 80.0, "outliers": [5.0, 99.0]}
SHARES = ValueAxis("share", 0.0, 100.0, ((0, "none"), (100, "all")), line=50.0)
ROWS = [Row("boxed", box=BOX), Row("open", dots=[10.0, 30.0], mean=20.0, low=15.0, high=25.0, solid=False)]


def sample_charts() -> list[Chart]:
    lines = [Series("training", "first", [(0.0, 3.0), (500.0, 2.0), (1000.0, 1.0)]), Series("x", "sixth", [(5.0, 2.0)])]
    return [
        line_chart("lines", lines, switch=400.0, from_zero=True),
        usage_chart("usage", [0.5, 0.25, 0.25, 0.0], "caption"),
        row_chart("rows", ROWS, SHARES, "caption"),
    ]


def paths(chart: Chart, colour: str, *, dashed: bool = False) -> list[list[tuple[float, float]]]:
    """The points of each path drawn in a colour."""
    found = re.findall(r'<path d="([^"]*)"[^>]*style="([^"]*)"', chart.svg)
    chosen = [path for path, style in found if f"var(--{colour})" in style and ("dasharray" in style) == dashed]
    return [[(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)] for path in chosen]


def plot(chart: Chart) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the axes."""
    names = ("x", "y", "width", "height")
    x, y, width, height = (float(re.search(rf'<rect[^>]* {name}="([^"]*)"', chart.svg)[1]) for name in names)
    return x, y, x + width, y + height


def test_points_are_drawn_in_proportion_and_the_second_phase_is_marked_at_its_first_step():
    chart = sample_charts()[0]
    left, _, right, bottom = plot(chart)
    (line,) = (path for path in paths(chart, "first") if len(path) == 3)
    assert [(x - left) / (right - left) for x, _ in line] == pytest.approx([0, 0.5, 1], abs=1e-4)
    heights = [bottom - y for _, y in line]
    assert heights == pytest.approx([3 * heights[2], 2 * heights[2], heights[2]])  # the axis begins at 0
    ((start, end),) = paths(chart, "muted", dashed=True)
    assert start[0] == end[0] == pytest.approx(left + 0.4 * (right - left), abs=1e-3)
    assert "WaveNet starts" in chart.svg


def test_boxes_means_and_intervals_are_drawn_in_proportion():
    chart = sample_charts()[2]
    left, _, right, _ = plot(chart)

    def shares(points: list[tuple[float, float]]) -> list[float]:
        return [round(100 * (x - left) / (right - left), 2) for x, _ in points]

    found = [shares(path) for path in paths(chart, "first")]
    for expected in ([40, 40, 60, 60, 40], [40, 20], [60, 80], [50, 50]):  # box, whiskers, median
        assert expected in found or expected[::-1] in found
    marks = re.findall(r'<use href="#\w+" x="([\d.]+)" y="[\d.]+" style="([^"]*)"', chart.svg)
    drawn = {(shares([(float(x), 0)])[0], style.partition(";")[0]) for x, style in marks}
    outliers = {(5, "fill-opacity: 0"), (99, "fill-opacity: 0")}
    assert drawn == outliers | {(20, "fill: var(--paper)"), (10, "fill: var(--muted)"), (30, "fill: var(--muted)")}
    assert [15, 25] in [shares(path) for path in paths(chart, "second")]
    ((start, end),) = paths(chart, "muted", dashed=True)
    assert shares([start, end]) == [50, 50]


def test_the_uniform_share_is_a_line_and_codes_are_sorted_by_their_share():
    chart = sample_charts()[1]
    left, _, right, _ = plot(chart)
    ((start, end),) = paths(chart, "muted", dashed=True)
    (outline,) = (path for path in paths(chart, "first") if len(path) > 4)
    levels = sorted({round(y, 3) for _, y in outline})
    assert start[1] == end[1] == pytest.approx(levels[1], abs=1e-3)  # a quarter: codes 2 and 3 of 4
    assert max(x for x, _ in outline) == pytest.approx(left + 0.75 * (right - left), abs=1e-3)


def test_a_chart_takes_all_its_colours_from_the_style_sheet():
    sheet = (vqaudio.report.render.TEMPLATES / "page.css").read_text(encoding="utf-8")
    light, dark = (set(re.findall(r"--(\w+):", part)) for part in sheet.split("@media")[:2])
    for chart in sample_charts():
        used = set(re.findall(r"var\(--(\w+)\)", chart.svg))
        assert {"muted", "first"} <= used <= light & dark & set(COLOURS)
        assert not re.search(r": #[0-9a-f]{3}", chart.svg)


def test_charts_are_well_formed_small_alike_each_time_and_share_no_identifier():
    first, again = sample_charts(), sample_charts()
    assert first == again
    names: list[str] = []
    for chart in first:
        root = ET.fromstring(chart.svg)
        ours = [element.get("id") for element in root.iter() if element.get("id")]
        assert {element.get("href", "")[1:] for element in root.iter("use")} <= set(ours)
        assert not [
            element
            for element in root.iter()
            if element.tag not in ("svg", "g", "path", "text", "use", "defs", "clipPath", "rect")
        ]
        assert len(chart.svg) < 12_000
        names += ours
    assert len(names) == len(set(names))


def test_labels_are_text_in_the_font_of_the_page_with_their_characters_as_they_are():
    rows = [Row(label, mean=1.0) for label in ("a $b$ c", "$\\frac", "<b>&\"'", "_x")]
    chart = row_chart('t<"&', rows, ValueAxis("v", 0, 2), "")
    root = ET.fromstring(chart.svg)
    assert root.get("aria-label") == 't<"&'
    assert {row.label for row in rows} <= {element.text for element in root.iter("text")}
    assert "font-family" not in chart.svg


@pytest.mark.parametrize("length", [1, 26, 60, 200])
def test_long_labels_leave_room_for_the_values(length):
    chart = row_chart("t", [Row("x" * length, mean=1.0), Row("y", box=BOX)], SHARES, "")
    left, _, right, _ = plot(chart)
    width = float(re.search(r'viewBox="0 0 ([\d.]+) ', chart.svg)[1])
    assert right - left > 180
    assert 0 < left < right < width


def test_long_lines_are_thinned_to_means():
    points = [(float(i), float(i % 2)) for i in range(1000)]
    assert len(thinned(points)) == 250 <= MAX_POINTS
    assert {y for _, y in thinned(points)} == {0.5}


@pytest.mark.parametrize("points", [[(0.0, 1.0)], [(5.0, 0.0), (6.0, 0.0)], [(0.0, -2.0), (9.0, 3e5)]])
@pytest.mark.parametrize("from_zero", [False, True])
def test_charts_of_odd_data_hold_finite_numbers_only(points, from_zero):
    chart = line_chart("t", [Series("a", "first", points)], switch=5.0, from_zero=from_zero)
    usage = usage_chart("u", [1.0, 0.0, 0.0], "caption")
    assert not re.search(r"nan|inf", chart.svg + usage.svg)


@pytest.mark.parametrize("values", [[], [0.0], [-3.0, 8.0], [1e-9]])
def test_an_axis_has_room_around_its_line_and_all_values(values):
    axis = axis_around("a", values, 0.0)
    assert axis.low < min([0.0, *values])
    assert axis.high > max([0.0, *values])
    assert math.isfinite(axis.high - axis.low)
