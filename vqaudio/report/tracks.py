"""Spectrograms on one axis of time, with phones above and units, their boundaries drawn, between them."""

import io
import math
from collections.abc import Sequence
from html import escape

import numpy as np

from vqaudio.datadir import Phone
from vqaudio.metrics.boundaries import change_times
from vqaudio.metrics.reconstruction import FLOOR, RATE, log_mel
from vqaudio.report.embed import png_uri

SCALE = 400
"""Pixels a second: a phone of 50 ms has room for its name."""
PICTURE, TIER, TITLE, AXIS = 104, 16, 17, 16
"""Heights in pixels of a spectrogram, of a row of phones or codes, of a title, and of the axis."""
LETTER = 6.2
"""Pixels that a letter of a label takes."""
LOUDEST = 3.5
"""Log-mel magnitude of the brightest colour; speech at the level of `log_mel` hardly passes it."""


class Tracks:
    """A drawing that grows downwards, a track after the other."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.height = 0
        self.parts: list[str] = []

    def phones(self, phones: Sequence[Phone]) -> None:
        """Add a row of phones between ticks."""
        for phone in phones:
            x, end = phone.start * SCALE, min(phone.start + phone.duration, self.seconds) * SCALE
            if x < end:
                self._box("phone", x, end, phone.phone, f"{phone.phone}, {1000 * phone.duration:.0f} ms")
        self.height += TIER + 2

    def units(self, codes: np.ndarray, frame_rate: float) -> None:
        """Add a row for each group of codes (G, N): a box a run of the same code, of the code's colour."""
        for group in codes:
            starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
            ends = np.append(starts[1:], len(group))
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
                if start / frame_rate < self.seconds:
                    right = min(end / frame_rate, self.seconds) * SCALE
                    code = int(group[start])
                    says = f"code {code}, {1000 * (end - start) / frame_rate:.0f} ms"
                    self._box("unit", start / frame_rate * SCALE, right, str(code), says, code_colour(code))
            self.height += TIER
        self.height += 2

    def spectrogram(self, name: str, wav: np.ndarray, codes: np.ndarray | None, frame_rate: float) -> None:
        """Add a title and the log-mel picture of a recording, with lines where codes (G, N) change."""
        self.parts.append(f'<text class="track" x="0" y="{self.height + 13}">{escape(name)}</text>')
        top = self.height + TITLE
        width = len(wav) / RATE * SCALE
        self.parts.append(
            f'<image x="0" y="{top}" width="{width:.1f}" height="{PICTURE}" preserveAspectRatio="none" '
            f'href="{_picture(wav)}"/>'
        )
        times = np.array([]) if codes is None else change_times(codes, frame_rate) * SCALE
        lines = "".join(f"M{x:.1f},{top}v{PICTURE}" for x in times if x < width)
        if lines:
            self.parts.append(f'<path class="bound" d="{lines}"/>')
        self.height = top + PICTURE + 2

    def axis(self) -> None:
        """Add the axis of time, with a label every half second."""
        for half in range(math.floor(2 * self.seconds) + 1):
            x = half / 2 * SCALE
            anchor = "start" if half == 0 else "middle"
            self.parts.append(
                f'<text class="tick" x="{x:.0f}" y="{self.height + 12}" text-anchor="{anchor}">{half / 2:g} s</text>'
            )
        self.height += AXIS

    def svg(self, label: str) -> str:
        """Return the drawing, which scrolls sideways where the page is too narrow."""
        width = math.ceil(self.seconds * SCALE) + 1
        return (
            f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><svg class="tracks" '
            f'width="{width}" height="{self.height}" role="img" aria-label="{escape(label)}">'
            f"{''.join(self.parts)}</svg></div>"
        )

    def _box(self, style: str, x: float, end: float, label: str, says: str, colour: str = "") -> None:
        """Draw a box with what it says when pointed at, and its label where there is room."""
        fill = f' fill="{colour}"' if colour else ""
        self.parts.append(
            f'<rect class="{style}" x="{x:.1f}" y="{self.height}" width="{end - x:.1f}" height="{TIER}"{fill}>'
            f"<title>{escape(says)}</title></rect>"
        )
        if len(label) * LETTER <= end - x:
            self.parts.append(
                f'<text class="{style}-name" x="{(x + end) / 2:.1f}" y="{self.height + 12}" text-anchor="middle">'
                f"{escape(label)}</text>"
            )


def code_colour(code: int) -> str:
    """Return a light colour for a code, hues a golden section apart in three shades, for dark letters on it."""
    return f"hsl({360 * (code * 0.618034 % 1):.0f} 55% {66 + 9 * (code % 3)}%)"


def _picture(wav: np.ndarray) -> str:
    from matplotlib import image

    file = io.BytesIO()
    mel = log_mel(wav, RATE).T
    image.imsave(file, mel, format="png", cmap="magma", origin="lower", vmin=math.log(FLOOR), vmax=LOUDEST)
    return png_uri(file)
