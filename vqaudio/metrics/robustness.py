"""How far units change when speech is changed in ways that do not change what is said."""

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
    """How much each change changes."""

    gain: float
    """dB; above 0 it may clip, as a loud recording does."""
    noise: float
    """Signal-to-noise ratio in dB, of white noise."""
    tempo: float
    """Speed, the pitch kept: 1.1 is 10 % faster."""
    pitch: float
    """Semitones, the duration kept."""
    resampling: float
    """Hz, through which the speech goes and comes back."""


def evaluate(model: Path, data: Path, *, changes: Changes, jobs: int = 1, seed: int = 0) -> dict[str, Any]:
    """Measure the unit edit distance (UED) of a model under each of `Changes`.

    UED = mean over utterances x of LEV(merged units of x, merged units of the changed x) / T_x, where LEV is the
    Levenshtein distance, merged units are those of which runs are one, a frame's codes of all groups are one unit, and
    T_x is the number of frames of x, not merged. 0 is robust; it can pass 1 only where units become more than frames.

    Args:
        model: model directory.
        data: data directory.
        changes: how much each change changes.
        jobs: threads.
        seed: of the noise.

    Returns:
        `ued_gain`, `ued_noise`, `ued_tempo`, `ued_pitch`, `ued_resampling`; `utterances` scored; `failed`, those that
        cannot be read, whose reasons are in `errors`; `changes`, the amounts.

    Raises:
        UserError: model or data cannot be read, an amount is out of its range, or no utterance can be scored.

    Source: Gat et al. 2022, "On the robustness of self-supervised representations for spoken language modeling".
    """
    transforms = make_transforms(changes)
    codec = load(model)
    utterances = list(read_utterances(data))
    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(lambda utterance: score_utterance(codec, utterance, transforms, seed), utterances))
    errors = {u.utt: result for u, result in zip(utterances, results, strict=True) if isinstance(result, str)}
    scores = [result for result in results if not isinstance(result, str)]
    if not scores:
        raise UserError(f"{data}: no utterance can be scored: {next(iter(errors.values()), 'it is empty')}")
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
        UserError: an amount is out of its range.
    """
    ranges = {
        "gain": (-60, 60),
        "noise": (-60, 120),
        "tempo": (0.25, 4),
        "pitch": (-24, 24),
        "resampling": (1000, RATE),
    }
    for name, (low, high) in ranges.items():
        value = getattr(changes, name)
        if not (math.isfinite(value) and low <= value <= high):
            raise UserError(f"--{name} {value:g}: must be from {low} to {high}")
    return {
        "gain": lambda wav, _: np.clip(wav * np.float32(10 ** (changes.gain / 20)), -1, 1),
        "noise": lambda wav, random: add_noise(wav, changes.noise, random),
        "tempo": lambda wav, _: _librosa("time_stretch", wav, rate=changes.tempo),
        "pitch": lambda wav, _: _librosa("pitch_shift", wav, sr=RATE, n_steps=changes.pitch),
        "resampling": lambda wav, _: through_rate(wav, round(changes.resampling)),
    }


def score_utterance(
    codec: Codec, utterance: Utterance, transforms: Mapping[str, Transform], seed: int
) -> dict[str, float] | str:
    """Return the edit distance over the number of frames for each change, or why there is none."""
    try:
        wav, _ = audio.read(utterance.path, RATE, utterance.start, utterance.end)
        if len(wav) < RATE * codec.hop_length / codec.sample_rate or not wav.any():
            return f"{utterance.path}: shorter than a frame or silent"
        units = codec.encode(wav, RATE)
        random = np.random.default_rng(utterance_seed(seed, utterance.utt))
        changed = {name: codec.encode(change(wav, random), RATE) for name, change in transforms.items()}
    except UserError as error:
        return str(error)
    return {name: unit_edits(units, codes) / units.shape[1] for name, codes in changed.items()}


def unit_edits(x: np.ndarray, y: np.ndarray) -> int:
    """Count the edits between the units of codes x (G, N) and y (G, M), runs merged.

    >>> unit_edits(np.array([[1, 1, 2, 2, 3]]), np.array([[1, 3, 3]]))
    1
    """
    x, y = deduplicate(x)[0], deduplicate(y)[0]
    symbols = number_symbols(np.concatenate([x, y], axis=1))
    return int(edit_distance(symbols[: x.shape[1]], symbols[x.shape[1] :]))


def add_noise(wav: np.ndarray, snr: float, random: np.random.Generator) -> np.ndarray:
    """Add white noise whose power is `snr` dB under that of the whole wav (T,)."""
    noise = random.standard_normal(len(wav)).astype(np.float32)
    scale = np.sqrt(np.square(wav, dtype=np.float64).mean() / np.square(noise, dtype=np.float64).mean())
    return wav + noise * np.float32(scale * 10 ** (-snr / 20))


def through_rate(wav: np.ndarray, rate: int) -> np.ndarray:
    """Resample a wav (T,) at `RATE` to another rate and back, to the same length."""
    back = audio.resample(audio.resample(wav, RATE, rate), rate, RATE)
    return np.pad(back[: len(wav)], (0, max(0, len(wav) - len(back))))


def _librosa(name: str, wav: np.ndarray, **options: float) -> np.ndarray:
    import librosa

    return np.asarray(getattr(librosa.effects, name)(wav, **options), dtype=np.float32)
