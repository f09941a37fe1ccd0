"""Small charts as inline SVG, coloured by the page's style sheet, so that they follow light and dark."""

import math
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 18, 30
MAX_POINTS = 300


class Series(NamedTuple):
    """A line: its name, its class in the style sheet, and its points (x, y) in the order of x."""

    name: str
    style: str
    points: list[tuple[float, float]]


class Scale(NamedTuple):
    """Maps values from `low` to `high` linearly to `start` … `end` of the drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def line_chart(title: str, series: list[Series], *, switch: float | None = None, floor: float | None = None) -> str:
    """Draw lines over training steps; `switch` marks where the second phase begins, `floor` extends the y axis."""
    points = [point for line in series for point in line.points]
    values = [y for _, y in points] + ([] if floor is None else [floor])
    x = Scale(0, max(max(x for x, _ in points), 1), LEFT, WIDTH - RIGHT)
    y = Scale(*_padded(min(values), max(values)), HEIGHT - BOTTOM, TOP)
    parts = _steps(x, "training step")
    for value in ticks(y.low, y.high):
        parts += _level(y(value), _short(value))
    if switch is not None and x.low < switch < x.high:
        at = f"{x(switch):.1f}"
        parts.append(f'<line class="switch" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text class="switch-text" x="{x(switch):.1f}" text-anchor="middle" y="{TOP - 6}">WaveNet joins</text>'
        )
    for line in series:
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in thinned(line.points))
        parts.append(f'<polyline class="line {line.style}" points="{path}"/>')
        if len(line.points) == 1:
            parts.append(
                f'<circle class="{line.style}" cx="{x(line.points[0][0]):.1f}" cy="{y(line.points[0][1]):.1f}" r="3"/>'
            )
    legend = "".join(f'<span class="key {line.style}">{escape(line.name)}</span>' for line in series)
    return _figure(title, parts, legend)


def usage_chart(title: str, shares: list[float], caption: str) -> str:
    """Draw the share of frames of each code, the most frequent first; a dashed line marks the uniform share.

    The axis is logarithmic: pauses make one code many times more frequent than all others.
    """
    used = sorted((share for share in shares if share > 0), reverse=True)
    x = Scale(0, len(shares), LEFT, WIDTH - RIGHT)
    y = Scale(math.log10(min(used[-1], 1 / len(shares))) - 0.1, math.log10(used[0]) + 0.1, HEIGHT - BOTTOM, TOP)
    bottom, uniform = HEIGHT - BOTTOM, f"{y(-math.log10(len(shares))):.1f}"
    path = "".join(f"V{y(math.log10(share)):.1f}H{x(rank):.1f}" for rank, share in enumerate(used, start=1))
    parts = []
    for power in range(math.ceil(y.low), math.floor(y.high) + 1):
        parts += _level(y(power), f"{100 * 10.0**power:g} %")
    parts += [
        *_steps(x, "code, by rank"),
        f'<path class="area" d="M{LEFT},{bottom}{path}V{bottom}Z"/>',
        f'<line class="switch" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{uniform}" y2="{uniform}"/>',
    ]
    return _figure(title, parts, f"<span>{escape(caption)}</span>")


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Replace runs of neighbouring points by their means where a line has more than the eye can tell apart."""
    run = math.ceil(len(points) / MAX_POINTS)
    if run <= 1:
        return points
    runs = [points[i : i + run] for i in range(0, len(points), run)]
    return [(sum(x for x, _ in r) / len(r), sum(y for _, y in r) / len(r)) for r in runs]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round values from `low` to `high`, about `count` of them, 1, 2 or 5 times a power of ten apart.

    >>> ticks(0, 2750)
    [0, 1000, 2000]
    >>> [round(tick, 2) for tick in ticks(0.13, 0.31)]
    [0.15, 0.2, 0.25, 0.3]
    """
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [i * (int(step) if step >= 1 else step) for i in range(first, last + 1)]


def _padded(low: float, high: float) -> tuple[float, float]:
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low if low == 0 else low - margin, high + margin


def _level(y: float, label: str) -> list[str]:
    """Draw a horizontal line of the grid and its label."""
    return [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
        f'<text class="tick" text-anchor="end" x="{LEFT - 6}" y="{y + 3.5:.1f}">{label}</text>',
    ]


def _steps(x: Scale, label: str) -> list[str]:
    """Draw the labels of the horizontal axis and its name."""
    parts = [
        f'<text class="tick" text-anchor="middle" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}">{label}</text>'
    ]
    for value in ticks(x.low, x.high):
        anchor = "end" if x(value) > WIDTH - RIGHT - 12 else "middle"
        place = f'text-anchor="{anchor}" x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 13}"'
        parts.append(f'<text class="tick" {place}>{_short(value)}</text>')
    return parts


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 10000 else f"{value:.6g}"


def _figure(title: str, parts: list[str], legend: str) -> str:
    drawing = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    return f'<figure class="chart"><h3>{escape(title)}</h3>{drawing}<figcaption>{legend}</figcaption></figure>'
