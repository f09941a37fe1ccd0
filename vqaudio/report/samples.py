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
    """Return the card of an utterance: spectrograms with unit boundaries, players, text and units."""
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
    """Return a log-mel picture, with a line wherever the unit changes."""
    from matplotlib import image

    if not wav.any():
        return '<p class="missing">All samples are zero.</p>'
    mel = log_mel(wav, RATE).T
    file = io.BytesIO()
    image.imsave(file, mel, format="png", cmap="magma", origin="lower", vmin=math.log(FLOOR), vmax=3.0)
    source = _data_uri("image/png", file.getvalue())
    seconds = mel.shape[1] * HOP / RATE
    lines = "".join(f"M{t / seconds * 1000:.1f},0V1" for t in boundaries(sample) if t < seconds)
    overlay = f'<svg viewBox="0 0 1000 1" preserveAspectRatio="none" aria-hidden="true"><path d="{lines}"/></svg>'
    axis = f'<div class="axis"><span>0 s</span><span>{seconds:.2f} s</span></div>'
    return f'<div class="spectrogram"><img src="{source}" alt="log-mel spectrogram, 0 to 8 kHz">{overlay}</div>{axis}'


def boundaries(sample: Sample) -> list[float]:
    """Return the times (seconds) at which the unit of an utterance changes."""
    if sample.sequence is None:
        return []
    codes = sample.sequence.codes
    changes = np.flatnonzero((codes[:, 1:] != codes[:, :-1]).any(0)) + 1
    return [float(frame) / sample.frame_rate for frame in changes]


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


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
