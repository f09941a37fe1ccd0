"""Charts of change penalties: which lines and figures there are, and where the marks of the pages come from."""

import re

from finished_run import COSTS, Page, curve_rows, finished_run

from vqaudio.report.comparison import build_comparison
from vqaudio.report.page import build_report
from vqaudio.report.penalties import UNITS_ALONE, penalty_charts, penalty_lines

SCORES = {"curve": {"test_seen": {key: curve_rows(cost) for key, cost in COSTS.items()}}}


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def points(svg: str, colour: str) -> list[list[tuple[float, float]]]:
    """The points of each path drawn in a colour that goes on to at least two others."""
    found = re.findall(rf'<path d="([^"]*)"[^>]*style="[^"]*stroke: var\(--{colour}\)', svg)
    lines = [[(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)] for path in found]
    return [line for line in lines if len(line) == 3]


def test_each_model_is_a_line_through_its_penalties_that_goes_left_as_bits_fall():
    (lines,) = penalty_lines(SCORES).values()
    assert list(lines) == ["these units", "k-means on MFCC", "k-means on stacked MFCC"]
    pnmi, errors = penalty_charts(lines)
    assert [pnmi.title, errors.title] == ["PNMI: higher is better", "Phone error rate"]  # no row has ABX or words
    assert pnmi.keys == tuple(zip(lines, ("first", "second", "third"), strict=True))
    first, second = (points(pnmi.svg, colour)[0] for colour in ("first", "second"))
    for line, cost in ((first, 300), (second, 400)):
        x, y = zip(*line, strict=True)
        assert x[0] > x[1] > x[2]
        assert y[0] > y[1] > y[2]  # SVG counts downwards: PNMI rises
        scale = (first[0][0] - first[2][0]) / (300 - 150)
        assert abs((x[0] - x[2]) / scale - cost / 2) < 0.01 * cost
    assert texts(pnmi.svg).count("0.5") >= 3
    assert "bit/s of merged units" in texts(pnmi.svg)


def test_an_interval_is_a_bar_from_bound_to_bound():
    row = {"change_penalty": 2, "bitrate_deduplicated": 100.0, "pnmi": 0.5, "intervals": {"pnmi": [0.4, 0.8]}}
    bars = {}
    for name, intervals in (("with", {"pnmi": [0.4, 0.8]}), ("without", {}), ("broken", {"pnmi": [0.4]})):
        (chart,) = penalty_charts({name: [row | {"intervals": intervals}]})
        found = re.findall(r'<path d="M ([\d.]+) ([\d.]+) L ([\d.]+) ([\d.]+) *"[^>]*stroke-opacity: 0.35', chart.svg)
        bars[name] = [tuple(map(float, bar)) for bar in found]
    ((x, y, x_end, y_end),) = bars["with"]
    assert x == x_end
    assert y > y_end
    assert bars["without"] == bars["broken"] == []


def test_a_comparison_has_the_units_of_the_runs_without_baselines(tmp_path):
    assert [list(lines) for lines in penalty_lines(SCORES, UNITS_ALONE).values()] == [["these units"]]
    runs = [finished_run(tmp_path / tag, tag) for tag in ("a", "b")]
    page = Page(build_comparison(runs, tmp_path / "both.html").read_text(encoding="utf-8"))
    assert "Units that change less often" in page.text
    assert (
        "k-means on MFCC" not in page.text.partition("Units that change less often")[2].partition("Learning curves")[0]
    )
    report = Page(build_report(runs[0]).read_text(encoding="utf-8"))
    assert "k-means on MFCC" in report.text.partition("Units that change less often")[2]
    assert "Each mark is a change penalty" in report.text


def test_a_run_without_a_curve_says_so(tmp_path):
    exp = finished_run(tmp_path, "run")
    (exp / "scores.json").write_text("{}")
    assert "no curve of change penalties yet" in Page(build_report(exp).read_text(encoding="utf-8")).text
