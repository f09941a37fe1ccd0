"""Utterances to look at and listen to: the original, what came back from its units, and another voice."""

import base64
import io
import math
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vqaudio import audio
from vqaudio.datadir import Utterance
from vqaudio.errors import UserError
from vqaudio.metrics.audio import FLOOR, HOP, RATE, log_mel
from vqaudio.units import UnitSequence

LONGEST = 12.0
"""Seconds of an utterance that the page holds at most."""
LEVEL = -26.0
"""dBFS RMS that all players have, so that loudness does not decide which sounds better."""
LOUDEST = 3.5
"""Log-mel magnitude of the brightest colour; speech at the level of `log_mel` hardly passes it."""
SHOWN = 4
"""Utterances of each set."""


class Sample(NamedTuple):
    """An utterance of a test set and where its audio is; what is missing is None."""

    utt: str
    text: str | None
    original: Utterance | None
    reconstruction: Path
    swap: Path | None
    voice: str | None
    """The speaker of ``swap``."""
    sequence: UnitSequence | None
    frame_rate: float
    estoi: float | None


def choose(utts: list[str], scores: dict[str, Any]) -> list[str]:
    """Choose utterances evenly from the best to the worst by ESTOI, or by name where there are no scores."""
    ranked = sorted(utts, key=lambda utt: (-(_estoi(scores, utt) or 0.0), utt))
    if len(ranked) <= SHOWN:
        return ranked
    return [ranked[round(i * (len(ranked) - 1) / (SHOWN - 1))] for i in range(SHOWN)]


def _estoi(scores: dict[str, Any], utt: str) -> float | None:
    value = scores.get(utt, {}).get("estoi")
    return value if isinstance(value, float | int) and math.isfinite(value) else None


def sample_html(sample: Sample) -> str:
    """Return the card of an utterance: spectrograms over strips of units, players, text and units."""
    title = escape(sample.utt)
    if sample.estoi is not None:
        title += f' <span class="muted">ESTOI {sample.estoi:.2f}</span>'
    text = f"<p>“{escape(sample.text)}”</p>" if sample.text else ""
    columns = [("Original", sample.original), ("From its units", Utterance(sample.utt, sample.reconstruction, ""))]
    if sample.swap is not None:
        name = f"From its units, voice of {sample.voice}" if sample.voice else "From its units, another voice"
        columns.append((name, Utterance(sample.utt, sample.swap, "")))
    clips = "".join(_clip(name, source, sample) for name, source in columns)
    return f'<article><h4>{title}</h4>{text}<div class="clips">{clips}</div>{_units(sample)}</article>'


def _clip(name: str, source: Utterance | None, sample: Sample) -> str:
    """Return one audio: heading, spectrogram, player; a sentence when it cannot be read."""
    heading = f"<figcaption>{escape(name)}</figcaption>"
    if source is None:
        reason = "The original is not where the training configuration says."
        return f'<figure>{heading}<p class="missing">{reason}</p></figure>'
    try:
        end = audio.info(source.path).duration if source.end is None else source.end
        wav, _ = audio.read(source.path, RATE, source.start, min(end, source.start + LONGEST))
    except UserError as error:
        return f'<figure>{heading}<p class="missing">{escape(str(error))}</p></figure>'
    wav = np.clip(wav * audio.level_gain(wav, LEVEL), -1, 1)
    player = f'<audio controls preload="none" src="{_flac(wav)}"></audio>'
    return f"<figure>{heading}{_spectrogram(wav, sample)}{player}</figure>"


def _spectrogram(wav: np.ndarray, sample: Sample) -> str:
    """Return a log-mel picture with the strip of units under it, on one axis of time."""
    if not wav.any():
        return '<p class="missing">All samples are zero.</p>'
    from matplotlib import image

    mel = log_mel(wav, RATE).T
    file = io.BytesIO()
    image.imsave(file, mel, format="png", cmap="magma", origin="lower", vmin=math.log(FLOOR), vmax=LOUDEST)
    seconds = mel.shape[1] * HOP / RATE
    picture = f'<img class="spectrogram" src="{_png(file)}" alt="log-mel spectrogram, 0 to 8 kHz">'
    axis = f'<div class="axis"><span>0 s</span><span>{seconds:.2f} s</span></div>'
    return picture + _strip(sample, seconds) + axis


def _strip(sample: Sample, seconds: float) -> str:
    """Return a picture of the units up to a time: a row a group, a colour a code."""
    if sample.sequence is None:
        return ""
    from matplotlib import image

    codes = sample.sequence.codes[:, : max(1, round(seconds * sample.frame_rate))]
    file = io.BytesIO()
    image.imsave(file, code_colours(codes), format="png")
    width = min(100.0, 100 * codes.shape[1] / sample.frame_rate / seconds)
    size = f"width: {width:.2f}%; height: {14 * len(codes)}px"
    return f'<img class="strip" style="{size}" src="{_png(file)}" alt="units, a colour each">'


def code_colours(codes: np.ndarray) -> np.ndarray:
    """Return a colour (G, N, 3) in 0..1 for each of ``codes`` (G, N); hues a golden section apart, in three shades."""
    from matplotlib.colors import hsv_to_rgb

    hue = codes * 0.618034 % 1
    value = 0.55 + 0.2 * (codes % 3)
    return hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.55), value], axis=-1))


def _units(sample: Sample) -> str:
    """Return the units as they stand in units.txt."""
    if sample.sequence is None:
        return '<p class="missing">The units of this utterance are not there.</p>'
    columns = sample.sequence.units.T
    text = " ".join("-".join(map(str, column)) for column in columns)
    return f'<details><summary>{len(columns)} units</summary><p class="units">{text}</p></details>'


def _flac(wav: np.ndarray) -> str:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, wav, RATE, format="FLAC", subtype="PCM_16")
    return _data_uri("audio/flac", file.getvalue())


def _png(file: io.BytesIO) -> str:
    return _data_uri("image/png", file.getvalue())


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
