"""Audio files and waveforms: read, stream, write and resample; level, mu-law and pre-emphasis."""

import io
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vqaudio.audio.streams import regroup, resample_pieces
from vqaudio.errors import JobError, UserError
from vqaudio.files import atomic_write

if TYPE_CHECKING:
    from torch import Tensor

    from vqaudio.audio.files import AudioFile

MAX_OVERSHOOT_SECONDS = 0.5
"""By how much a segment may end after its audio, as Kaldi's extract-segments has it; the segment then ends there."""

MAX_GAIN = 100.0
"""The largest factor of `level_change` (40 dB), so that a recording of faint noise stays faint."""

MIN_VARIANCE = 1e-12
"""Share of the squared mean: to `level_change` a variance of less is rounding."""

MAX_CLIPPED_SHARE = 0.001
"""Share of the samples of a wav that `write` clips at most."""

_CHUNK_SAMPLES = 1 << 16  # decoded at a time


class AudioInfo(NamedTuple):
    """What an audio file contains: `sample_rate` (Hz), `num_samples` per channel, number of `channels`."""

    sample_rate: int
    num_samples: int
    channels: int

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate


def info(path: str | Path) -> AudioInfo:
    """Return the rate, length and channels of an audio file.

    The length is the number of samples that `read` returns: where the header is wrong, the file is measured.

    Raises:
        UserError: the file is missing, may not be read, is empty, not audio or truncated.
    """
    from vqaudio.audio.files import open_audio

    with open_audio(Path(path)) as file:
        return AudioInfo(file.sample_rate, file.num_samples, file.channels)


def read(
    path: str | Path,
    sample_rate: int | None = None,
    start: float = 0.0,
    end: float | None = None,
    channel: int | None = None,
) -> tuple[np.ndarray, int]:
    """Return an audio file, or its part from `start` to `end` (seconds), as float32 (T,), and its rate in Hz.

    The samples are those of `blocks` at `sample_rate` (Hz); None keeps the rate of the file.

    Raises:
        UserError: as `blocks`.
    """
    rate = sample_rate or info(path).sample_rate
    return np.concatenate(list(blocks(path, rate, _CHUNK_SAMPLES, start, end, channel))), rate


def blocks(
    path: str | Path,
    sample_rate: int,
    block: int,
    start: float = 0.0,
    end: float | None = None,
    channel: int | None = None,
) -> Iterator[np.ndarray]:
    """Yield an audio file as arrays of `block` samples at `sample_rate` (the last one shorter), float32.

    Channels are averaged, or one of them is taken, and another rate is resampled (soxr, HQ). Memory does not grow with
    the length of the file, and `block` does not change a bit of the samples. A file is read to its end, whatever its
    header declares, or refused: see `vqaudio.audio.files`. A segment equals the same span of the whole file, bit for
    bit; only in an MP3 file, after its first half minute, the decoder may round otherwise (1e-7).

    Args:
        path: the file.
        sample_rate: Hz.
        block: samples per array.
        start: seconds; the first sample is `round(start * rate)`, `rate` being that of the file.
        end: seconds; the samples end before `round(end * rate)`. None means the end of the file, and so does a time
            up to `MAX_OVERSHOOT_SECONDS` after it.
        channel: from 0, the one to take; None takes the average. A file of one channel has only that one to give.

    Raises:
        UserError: the file is missing, empty, not audio, truncated, lacks the channel, contains NaN or infinity, or
            ends before the segment.
    """
    from vqaudio.audio.files import open_audio

    path = Path(path)
    with open_audio(path) as file:
        first, last = span(path, file, start, end)
        samples = _decode(path, file, first, last, channel)
        if sample_rate != file.sample_rate:
            samples = resample_pieces(samples, file.sample_rate, sample_rate)
        empty = True
        for piece in regroup(samples, block):
            empty = False
            yield piece
        if empty:
            raise UserError(
                f"{path}: {last - first} samples at {file.sample_rate} Hz are less than one at {sample_rate} Hz; "
                "remove the file or the segment"
            )


def write(path: str | Path, wav: np.ndarray, sample_rate: int) -> int:
    """Write a wav (T,) in −1..1 as 16-bit WAV or FLAC, by the suffix, atomically.

    A sample x is stored as `round(32768 x)`, since decoders divide by 32768: 16-bit audio that is read and written
    stays the same.

    Returns:
        The number of samples outside −1..1, which are clipped.

    Raises:
        UserError: the suffix is neither .wav nor .flac, or the folder cannot be written to.
        JobError: a sample is NaN or infinite, or more than `MAX_CLIPPED_SHARE` of them are outside −1..1.
    """
    import soundfile

    path, wav = Path(path), np.asarray(wav)
    kind = {".wav": "WAV", ".flac": "FLAC"}.get(path.suffix.lower())
    if kind is None:
        raise UserError(f"{path}: audio is written as .wav or .flac, not '{path.suffix}'; change the suffix")
    if not np.isfinite(wav).all():
        raise JobError(f"{path}: not written, since {(~np.isfinite(wav)).sum()} of {wav.size} samples are not finite")
    clipped = int((np.abs(wav) > 1).sum())
    if clipped > MAX_CLIPPED_SHARE * wav.size:
        raise JobError(
            f"{path}: not written, since {clipped} of {wav.size} samples are outside −1..1, up to "
            f"{np.abs(wav).max():g}; scale them"
        )
    pcm = np.rint(wav * 32768.0).clip(-32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, pcm, sample_rate, format=kind, subtype="PCM_16")
    atomic_write(path, buffer.getvalue())
    return clipped


def resample(wav: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Return a wav (T,) resampled from one rate (Hz) to another (soxr, HQ), as `read` does; float32."""
    import soxr

    wav = np.ascontiguousarray(wav, dtype=np.float32)
    return wav if from_rate == to_rate else soxr.resample(wav, from_rate, to_rate)


class LevelChange(NamedTuple):
    """What brings a wav to a level: `offset`, its mean, is taken away, and the rest multiplied by `gain`."""

    offset: float
    gain: float

    def apply(self, wav: np.ndarray) -> np.ndarray:
        """Return the wav, or a piece of it, at the level; float32."""
        return (wav - np.float32(self.offset)) * np.float32(self.gain)


def level_change(wav: np.ndarray | Iterable[np.ndarray], level_db: float | None) -> LevelChange:
    """Return what brings a wav, or all its blocks together, to a mean of zero and an RMS of `level_db` dBFS.

    0 dBFS is an RMS of 1; the factor is at most `MAX_GAIN`, and 1 where nothing but the mean is left. None leaves the
    wav as it is. The division into blocks does not change a bit of either number.
    """
    if level_db is None:
        return LevelChange(0.0, 1.0)
    total, power, count = 0.0, 0.0, 0
    for piece in regroup([wav] if isinstance(wav, np.ndarray) else wav, _CHUNK_SAMPLES):
        samples = piece.astype(np.float64)
        total += float(samples.sum())
        power += float(np.square(samples).sum())
        count += len(piece)
    offset = total / count if count else 0.0
    variance = power / count - offset**2 if count else 0.0
    if variance <= MIN_VARIANCE * offset**2:
        return LevelChange(offset, 1.0)
    return LevelChange(offset, min(10 ** (level_db / 20) / math.sqrt(variance), MAX_GAIN))


def mu_law_encode(wav: "Tensor", levels: int) -> "Tensor":
    """Return the mu-law codes (int64, 0..levels − 1) of a wav; samples outside −1..1 are clipped.

    Source: ITU-T G.711 (the companding curve, in its continuous form).
    """
    import torchaudio

    return torchaudio.functional.mu_law_encoding(wav.clamp(-1.0, 1.0), levels)


def mu_law_decode(codes: "Tensor", levels: int) -> "Tensor":
    """Return the float32 samples in −1..1 of mu-law codes (0..levels − 1)."""
    import torchaudio

    return torchaudio.functional.mu_law_decoding(codes, levels).float()


def pre_emphasis(wav: "Tensor", coefficient: float) -> "Tensor":
    """Return y[t] = x[t] − coefficient · x[t − 1] of a wav (…, T); the sample before the first is zero."""
    import torch

    return torch.cat([wav[..., :1], wav[..., 1:] - coefficient * wav[..., :-1]], dim=-1)


def de_emphasis(wav: np.ndarray, coefficient: float) -> np.ndarray:
    """Return the wav (…, T) whose `pre_emphasis` is given: x[t] = y[t] + coefficient · x[t − 1]; float32."""
    from scipy.signal import lfilter

    return lfilter([1.0], [1.0, -coefficient], wav.astype(np.float64)).astype(np.float32)


def de_emphasis_pieces(pieces: Iterable[np.ndarray], coefficient: float) -> Iterator[np.ndarray]:
    """Yield the pieces (T,) of a wav without their `pre_emphasis`; joined they equal `de_emphasis` of the whole."""
    from scipy.signal import lfilter

    state = np.zeros(1)
    for piece in pieces:
        wav, state = lfilter([1.0], [1.0, -coefficient], piece.astype(np.float64), zi=state)
        yield wav.astype(np.float32)


def span(path: Path, file: "AudioFile", start: float, end: float | None) -> tuple[int, int]:
    """Return the first sample and the one after the last, for times in seconds.

    Raises:
        UserError: there is no sample between them, or the audio ends before.
    """
    rate, total = file.sample_rate, file.num_samples
    stop = total / rate if end is None else end
    if not 0 <= start < stop < math.inf:
        raise UserError(f"{path}: no audio from {start:g} s to {stop:g} s in its {total / rate:g} s; correct the times")
    if stop > total / rate + MAX_OVERSHOOT_SECONDS:
        raise UserError(f"{path}: the segment ends at {stop:g} s, the audio at {total / rate:g} s; correct the times")
    first, last = round(start * rate), min(round(stop * rate), total)
    if first >= last:
        raise UserError(
            f"{path}: no sample from {start:g} s to {stop:g} s in its {total / rate:g} s; correct the times"
        )
    return first, last


def _decode(path: Path, file: "AudioFile", first: int, last: int, channel: int | None) -> Iterator[np.ndarray]:
    """Yield the samples from `first` to before `last`: of one channel, or channels averaged."""
    if channel is not None and file.channels == 1:
        channel = 0
    if channel is not None and channel >= file.channels:
        raise UserError(f"{path}: has {file.channels} channels, and channel {channel + 1} is asked for; correct it")
    done = first
    for samples in file.decode(first, last):
        if not np.isfinite(samples).all():
            where = done + int(np.argmin(np.isfinite(samples).all(axis=1)))
            raise UserError(f"{path}: sample {where} is NaN or infinite; write the file again")
        done += len(samples)
        one = 0 if samples.shape[1] == 1 else channel
        yield samples.mean(axis=1) if one is None else samples[:, one]
