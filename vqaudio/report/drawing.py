"""Draws a recording, its units and the speech made from these, one below the other, as one picture."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vqaudio import audio, files
from vqaudio.codec import Codec
from vqaudio.outputs import check_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT, DPI = 9.0, 3.2, 150
"""Inches, and dots per inch."""
LETTER = 0.055
"""Inches that a digit of a unit takes."""
SIGN = b"Software\0vqaudio"
"""What the pictures that vqaudio made contain near their beginning, and only these are replaced."""


def draw(codec: Codec, wav: Path, out: Path, seconds: float, speaker: str | None, seed: int) -> None:
    """Draw the first `seconds` of a recording, its units, and the speech that the model makes from them.

    Raises:
        UserError: the recording cannot be read, the speaker is unknown, or `out` is a file that this did not write.
    """
    check_file(out, inputs=[wav], ours=is_drawing)
    x, _ = audio.read(wav, codec.sample_rate, 0.0, min(seconds, audio.info(wav).duration))
    codes = codec.encode(x, codec.sample_rate)
    speech = codec.decode(codes, speaker, seed)
    picture = io.BytesIO()
    _figure(codec, x, codes, speech).savefig(picture, format="png", dpi=DPI, metadata={"Software": "vqaudio"})
    files.atomic_write(out, picture.getvalue())


def is_drawing(path: Path) -> bool:
    """Return whether this wrote a file."""
    with path.open("rb") as file:
        return SIGN in file.read(200)


def _figure(codec: Codec, wav: np.ndarray, codes: np.ndarray, speech: np.ndarray) -> "Figure":
    """Return a figure of two waveforms with the units between them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[3, codes.shape[0], 3])
    _waveform(top, wav, codec.sample_rate, "recording")
    _units(middle, codes, codec.frame_rate)
    _waveform(bottom, speech, codec.sample_rate, "speech from\nthe units")
    bottom.set_xlim(0, len(wav) / codec.sample_rate)
    bottom.set_xlabel("seconds")
    return figure


def _waveform(axes: "Axes", wav: np.ndarray, sample_rate: int, name: str) -> None:
    axes.plot(np.arange(len(wav)) / sample_rate, wav / max(1e-9, float(np.abs(wav).max())), linewidth=0.4)
    axes.set_ylim(-1.05, 1.05)
    _bare(axes, name)


def _units(axes: "Axes", codes: np.ndarray, frame_rate: float) -> None:
    """Draw a row of boxes for each group of codes (G, N), one for each run of the same code."""
    from matplotlib import colormaps

    seconds = codes.shape[1] / frame_rate
    for row, group in enumerate(codes):
        starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
        ends = np.append(starts[1:], len(group))
        for start, end in zip(starts / frame_rate, ends / frame_rate, strict=True):
            code = str(group[round(start * frame_rate)])
            colour = colormaps["hsv"](int(code) * 0.618034 % 1, alpha=0.45)
            axes.barh(row, end - start, left=start, height=1, color=colour, edgecolor="white", linewidth=0.3)
            if len(code) * LETTER < (end - start) / seconds * WIDTH:
                axes.text((start + end) / 2, row, code, ha="center", va="center", fontsize=5)
    axes.set_ylim(codes.shape[0] - 0.5, -0.5)
    _bare(axes, "units")


def _bare(axes: "Axes", name: str) -> None:
    """Give axes a name at their left, and take away their frame and ticks."""
    axes.set_ylabel(name, rotation=0, ha="right", va="center")
    axes.set_yticks([])
    axes.tick_params(bottom=False)
    for side in ("left", "right", "top", "bottom"):
        axes.spines[side].set_visible(False)
