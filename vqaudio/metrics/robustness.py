"""Measures how much units change when speech is changed in ways that keep what is said."""

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vqaudio import audio
from vqaudio.codec import Codec, load, utterance_seed
from vqaudio.datadir import Utterance, read_utterances
from vqaudio.errors import UserError
from vqaudio.metrics.dtw import edit_distance
from vqaudio.metrics.symbols import number_symbols
from vqaudio.units import deduplicate

RATE = 16000  # Hz, at which speech is changed


@dataclass(frozen=True)
class Changes:
    """The amount of each change."""

    gain: float
    """dB; above 0 it may clip, as a loud recording does."""
    noise: float
    """Signal-to-noise ratio of white noise in dB."""
    tempo: float
    """Speed at the same pitch: 1.1 is 10 % faster."""
    pitch: float
    """Semitones at the same duration."""
    resampling: float
    """Hz: the sample rate to which the speech is resampled, and back."""
    offset: float
    """What is added to every sample, of a full scale of 1."""


def evaluate_robustness(model: Path, data: Path, *, changes: Changes, jobs: int, seed: int) -> dict[str, Any]:
    """Measure the unit edit distance (UED) of a model under each of `Changes`.

    UED = mean over utterances x of LEV(merged units of x, merged units of the changed x) / T_x, where LEV is the
    Levenshtein distance, a unit is the codes of all groups of a frame, runs of a unit are merged into one, and T_x is
    the number of frames of x. 0 is robust; more than 1 is possible only if the changed x has more frames.

    Args:
        model: model directory.
        data: data directory.
        changes: amounts.
        jobs: threads.
        seed: of the noise.

    Returns:
        `ued_gain`, `ued_noise`, `ued_tempo`, `ued_pitch`, `ued_resampling`, `ued_offset`; `utterances`, the number
        scored; `failed`, the number that cannot be read, and their reasons as `errors`; `changes`, the amounts.

    Raises:
        UserError: model or data cannot be read, an amount is out of range, or no utterance can be scored.

    Source: Gat et al. 2022, "On the robustness of self-supervised representations for spoken language modeling".
    """
    transforms = make_transforms(changes)
    codec = load(model)
    codec.model.require_encoder()
    utterances = list(read_utterances(data))
    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(lambda utterance: score_utterance(codec, utterance, transforms, seed), utterances))
    errors = {u.utt: result for u, result in zip(utterances, results, strict=True) if isinstance(result, str)}
    scores = [result for result in results if not isinstance(result, str)]
    if not scores:
        reason = next(iter(errors.values()), "it is empty")
        raise UserError(f"{data}: no utterance can be scored ({reason}); repair the data")
    return {
        **{f"ued_{name}": sum(score[name] for score in scores) / len(scores) for name in transforms},
        "utterances": len(scores),
        "failed": len(errors),
        "errors": errors,
        "changes": asdict(changes),
    }


Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Changes a wav (T,) at `RATE`."""


def make_transforms(changes: Changes) -> dict[str, Transform]:
    """Return the function of each change, by its name in `Changes`.

    Raises:
        UserError: an amount is out of range.
    """
    ranges = {
        "gain": (-60, 60),
        "noise": (-60, 120),
        "tempo": (0.25, 4),
        "pitch": (-24, 24),
        "resampling": (1000, RATE),
        "offset": (-1, 1),
    }
    for name, (low, high) in ranges.items():
        value = getattr(changes, name)
        if not (math.isfinite(value) and low <= value <= high):
            raise UserError(f"--{name} {value:g}: out of range; give {low} to {high}")
    return {
        "gain": lambda wav, _: np.clip(wav * np.float32(10 ** (changes.gain / 20)), -1, 1),
        "noise": lambda wav, random: add_noise(wav, changes.noise, random),
        "tempo": lambda wav, _: _librosa("time_stretch", wav, rate=changes.tempo),
        "pitch": lambda wav, _: _librosa("pitch_shift", wav, sr=RATE, n_steps=changes.pitch),
        "resampling": lambda wav, _: through_rate(wav, round(changes.resampling)),
        "offset": lambda wav, _: np.clip(wav + np.float32(changes.offset), -1, 1),
    }


def score_utterance(
    codec: Codec, utterance: Utterance, transforms: Mapping[str, Transform], seed: int
) -> dict[str, float] | str:
    """Return the edit distance divided by the number of frames for each change, or the reason why there is none."""
    try:
        wav, _ = audio.read(utterance.path, RATE, utterance.start, utterance.end, utterance.channel)
        if len(wav) < RATE * codec.hop_length / codec.sample_rate or not wav.any():
            return f"{utterance.path}: shorter than a frame or silent"
        units = codec.encode(wav, RATE)
        random = np.random.default_rng(utterance_seed(seed, utterance.utt))
        changed = {name: codec.encode(change(wav, random), RATE) for name, change in transforms.items()}
    except UserError as error:
        return str(error)
    return {name: unit_edits(units, codes) / units.shape[1] for name, codes in changed.items()}


def unit_edits(x: np.ndarray, y: np.ndarray) -> int:
    """Return the number of edits between the units of codes x (G, N) and y (G, M), runs merged.

    >>> unit_edits(np.array([[1, 1, 2, 2, 3]]), np.array([[1, 3, 3]]))
    1
    """
    x, y = deduplicate(x)[0], deduplicate(y)[0]
    symbols = number_symbols(np.concatenate([x, y], axis=1))
    return int(edit_distance(symbols[: x.shape[1]], symbols[x.shape[1] :]))


def add_noise(wav: np.ndarray, snr: float, random: np.random.Generator) -> np.ndarray:
    """Return a wav (T,) with white noise whose power is `snr` dB under that of the whole wav."""
    noise = random.standard_normal(len(wav)).astype(np.float32)
    scale = np.sqrt(np.square(wav, dtype=np.float64).mean() / np.square(noise, dtype=np.float64).mean())
    return wav + noise * np.float32(scale * 10 ** (-snr / 20))


def through_rate(wav: np.ndarray, rate: int) -> np.ndarray:
    """Return a wav (T,) at `RATE` after resampling to another rate and back, at the same length."""
    back = audio.resample(audio.resample(wav, RATE, rate), rate, RATE)
    return np.pad(back[: len(wav)], (0, max(0, len(wav) - len(back))))


def _librosa(name: str, wav: np.ndarray, **options: float) -> np.ndarray:
    import librosa

    return np.asarray(getattr(librosa.effects, name)(wav, **options), dtype=np.float32)
