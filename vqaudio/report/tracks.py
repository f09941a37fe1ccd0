"""Lays out the drawing of an utterance: spectrograms on one time axis, with rows of phones and of units above them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vqaudio.datadir import Phone
from vqaudio.metrics.boundaries import change_times
from vqaudio.metrics.reconstruction import MIN_MAGNITUDE, RATE, levelled_log_mel
from vqaudio.report.embed import picture_uri

SCALE = 400
"""Pixels per second: the name of a phone fits into 50 ms."""
PICTURE, TIER, TITLE, AXIS = 104, 16, 17, 16
"""Heights in pixels of a spectrogram, of a row of phones or codes, of a title, and of the time axis."""
LETTER = 6.2
"""Width of a letter of a label in pixels."""
LOUDEST = 3.5
"""Log-mel magnitude of the brightest colour; speech at the level of `levelled_log_mel` hardly exceeds it."""


class Box(NamedTuple):
    """A phone or a run of one code: its text when pointed at, its label if there is room, and its colour."""

    style: str
    x: float
    y: int
    width: float
    hover: str
    label: str
    colour: str


class Picture(NamedTuple):
    """A spectrogram: its title, its place, the picture as a data URI, and the places at which units change."""

    title: str
    y: int
    width: float
    uri: str
    changes: list[float]


class Tracks:
    """A drawing that grows downwards, one track at a time; the macro `tracks` of `parts.html` draws it.

    Places and sizes are in pixels; `ticks` holds the labels of the time axis, if there is one.
    """

    def __init__(self, label: str, seconds: float) -> None:
        self.label = label
        self.seconds = seconds
        self.width = math.ceil(seconds * SCALE) + 1
        self.height = 0
        self.boxes: list[Box] = []
        self.pictures: list[Picture] = []
        self.ticks: list[tuple[float, str]] = []
        self.sizes = {"title": TITLE, "picture": PICTURE, "tier": TIER}

    def add_phones(self, phones: Sequence[Phone]) -> None:
        """Add a row of phones."""
        for phone in phones:
            hover = f"{phone.phone}, {1000 * phone.duration:.0f} ms"
            self._add_box("phone", phone.start, phone.start + phone.duration, phone.phone, hover)
        self.height += TIER + 2

    def add_units(self, codes: np.ndarray, frame_rate: float) -> None:
        """Add a row for each group of codes (G, N), with one box for each run of the same code."""
        for group in codes:
            starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
            ends = np.append(starts[1:], len(group))
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
                code = int(group[start])
                hover = f"code {code}, {1000 * (end - start) / frame_rate:.0f} ms"
                self._add_box("unit", start / frame_rate, end / frame_rate, str(code), hover, code_colour(code))
            self.height += TIER
        self.height += 2

    def add_spectrogram(self, title: str, wav: np.ndarray, codes: np.ndarray | None, frame_rate: float) -> None:
        """Add a title and the log-mel spectrogram of a wav (T,), with lines where codes (G, N) change."""
        width = len(wav) / RATE * SCALE
        times = np.array([]) if codes is None else change_times(codes, frame_rate) * SCALE
        self.pictures.append(
            Picture(title, self.height, width, _spectrogram(wav), [float(x) for x in times if x < width])
        )
        self.height += TITLE + PICTURE + 2

    def add_axis(self) -> None:
        """Add the time axis, with a label every half second."""
        self.ticks = [(half / 2 * SCALE, f"{half / 2:g} s") for half in range(math.floor(2 * self.seconds) + 1)]
        self.height += AXIS

    def _add_box(self, style: str, start: float, end: float, label: str, hover: str, colour: str = "") -> None:
        """Add a box from `start` to `end` (seconds), cut off at the end of the drawing."""
        x, width = start * SCALE, (min(end, self.seconds) - start) * SCALE
        if width > 0:
            shown = label if len(label) * LETTER <= width else ""
            self.boxes.append(Box(style, x, self.height, width, hover, shown, colour))


def code_colour(code: int) -> str:
    """Return a light colour for a code, for dark text on it: hues a golden section apart, in three shades."""
    return f"hsl({360 * (code * 0.618034 % 1):.0f} 55% {66 + 9 * (code % 3)}%)"


def _spectrogram(wav: np.ndarray) -> str:
    mel = levelled_log_mel(wav, RATE).T
    return picture_uri(mel, cmap="magma", origin="lower", vmin=math.log(MIN_MAGNITUDE), vmax=LOUDEST)
