"""Learning curves of one run, or of several in the same charts."""

from typing import Any

from vqaudio.report.charts import Series, line_chart

Metrics = list[dict[str, Any]]
"""What `vqaudio.report.facts.read_metrics` returns."""

CURVES = (  # title, lower end of the axis, then name and key of each line
    ("Loss of normalised MFCC", 0.0, (("training", "train/mfcc"), ("validation", "valid/mfcc"))),
    ("Log-mel distance (nats)", None, (("training", "train/mel"), ("validation", "valid/mel"))),
    ("Negative log-likelihood (nats a sample)", None, (("training", "train/nll"), ("validation", "valid/nll"))),
    ("Codebook perplexity", 0.0, (("training", "codebook/perplexity"), ("validation", "valid/perplexity"))),
    ("Share of codes in use", 0.0, (("training", "codebook/usage"), ("validation", "valid/usage"))),
    ("Commitment loss", 0.0, (("training", "train/commitment"), ("validation", "valid/commitment"))),
    ("Diversity loss", None, (("training", "train/diversity"), ("validation", "valid/diversity"))),
    ("Temperature", 0.0, (("Gumbel-softmax", "temperature"),)),
)
STYLES = ("first", "second", "third", "fourth", "fifth", "sixth")


def learning_curves(metrics: Metrics) -> str:
    """Draw training and validation of one run; nothing where nothing was logged."""
    switch = joint_step(metrics)
    charts = []
    for title, floor, lines in CURVES:
        series = [Series(name, style, _points(metrics, key)) for (name, key), style in zip(lines, STYLES, strict=False)]
        charts += _chart(title, series, switch, floor)
    return "".join(charts)


def overlaid_curves(runs: dict[str, Metrics]) -> str:
    """Draw a line a run, of validation where any run has it and else of training; nothing where nothing was logged."""
    switches = {joint_step(metrics) for metrics in runs.values()}
    switch = switches.pop() if len(switches) == 1 else None
    charts = []
    for title, floor, lines in CURVES:
        for name, key in reversed(lines):
            drawn = [
                Series(run, style, _points(metrics, key))
                for (run, metrics), style in zip(runs.items(), STYLES, strict=False)
            ]
            found = _chart(f"{title}, {name}", drawn, switch, floor)
            if found:
                charts += found
                break
    return "".join(charts)


def joint_step(metrics: Metrics) -> float | None:
    """Return the first step at which the WaveNet trained too."""
    return next((float(entry["step"]) for entry in metrics if entry.get("phase") == "joint"), None)


def _chart(title: str, series: list[Series], switch: float | None, floor: float | None) -> list[str]:
    series = [line for line in series if line.points]
    constant = len({y for line in series for _, y in line.points}) == 1  # the temperature of k-means
    if not series or (title.startswith("Temperature") and constant):
        return []
    return [line_chart(title, series, switch=switch, floor=floor)]


def _points(metrics: Metrics, key: str) -> list[tuple[float, float]]:
    return [(float(entry["step"]), float(entry[key])) for entry in metrics if isinstance(entry.get(key), int | float)]
