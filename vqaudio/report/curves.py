"""Chooses the learning curves of a page: training and validation of one run, or one line for each of several runs."""

import math
from typing import Any

from vqaudio.report.charts import LINE_COLOURS, Chart, Series, line_chart

Metrics = list[dict[str, Any]]
"""What `vqaudio.report.facts.read_metrics` returns."""

CURVES = (  # title, whether the axis begins at 0, then name and key of each line
    ("Loss of labels", True, (("training", "train/label"), ("validation", "valid/label"))),
    ("Log-mel distance (nats)", False, (("training", "train/mel"), ("validation", "valid/mel"))),
    ("NLL (nats per sample)", False, (("training", "train/nll"), ("validation", "valid/nll"))),
    ("Codebook perplexity", True, (("training", "codebook/perplexity"), ("validation", "valid/perplexity"))),
    ("Share of codes in use", True, (("training", "codebook/usage"), ("validation", "valid/usage"))),
    ("Commitment loss", True, (("training", "train/commitment"), ("validation", "valid/commitment"))),
    ("Diversity loss", False, (("training", "train/diversity"), ("validation", "valid/diversity"))),
    ("Temperature", True, (("Gumbel-softmax", "temperature"),)),
)


def learning_curves(metrics: Metrics) -> list[Chart]:
    """Return charts of training and validation of one run; none of what was not logged."""
    switch = decoder_step(metrics)
    charts = []
    for title, from_zero, lines in CURVES:
        series = [
            Series(name, colour, _points(metrics, key))
            for (name, key), colour in zip(lines, LINE_COLOURS, strict=False)
        ]
        charts += _chart(title, series, switch, from_zero)
    return charts


def overlaid_curves(runs: dict[str, Metrics]) -> list[Chart]:
    """Return charts with one line for each run: its validation where any run has one, and its training otherwise."""
    switches = {decoder_step(metrics) for metrics in runs.values()}
    switch = switches.pop() if len(switches) == 1 else None
    charts = []
    for title, from_zero, lines in CURVES:
        for name, key in reversed(lines):
            series = [
                Series(run, colour, _points(metrics, key))
                for (run, metrics), colour in zip(runs.items(), LINE_COLOURS, strict=False)
            ]
            found = _chart(f"{title}, {name}", series, switch, from_zero)
            if found:
                charts += found
                break
    return charts


def decoder_step(metrics: Metrics) -> float | None:
    """Return the first step at which the WaveNet was trained; None if there is none."""
    return next((float(entry["step"]) for entry in metrics if entry.get("phase") == "decoder"), None)


def _chart(title: str, series: list[Series], switch: float | None, from_zero: bool) -> list[Chart]:
    series = [line for line in series if line.points]
    constant = len({y for line in series for _, y in line.points}) == 1  # the temperature of k-means
    if not series or (title.startswith("Temperature") and constant):
        return []
    return [line_chart(title, series, switch=switch, from_zero=from_zero)]


def _points(metrics: Metrics, key: str) -> list[tuple[float, float]]:
    """Return steps and finite values of a metric."""
    found = [(float(entry["step"]), entry.get(key)) for entry in metrics]
    return [(step, float(y)) for step, y in found if isinstance(y, int | float) and math.isfinite(y)]
