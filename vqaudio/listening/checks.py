"""Makes the clips whose right answer is known: reference conditions, checks of the headphones and the room, gold."""

import itertools
from pathlib import Path

import numpy as np

from vqaudio.errors import UserError

TONE_HZ, TONE_SECONDS, RAMP_SECONDS, GAP_SECONDS = 200.0, 1.0, 0.1, 0.5
TONE_PEAK, SOFT_DB = 0.25, -6.0
QUIET_PAIRS, QUIET_SNR_DB = 4, 30.0
GOLD_Q_DB = 0.0
"""Level Q of the reference condition that everybody calls bad."""


def mnru(wav: np.ndarray, q_db: float, seed: str) -> np.ndarray:
    """Return a wav (T,) or (T, C) with noise that follows its amplitude, `q_db` below it; float32.

    Source: the modulated noise reference unit of ITU-T P.810, equation 1, without its band-pass filters.
    """
    rng = np.random.default_rng(list(seed.encode()))
    return (wav * (1 + 10 ** (-q_db / 20) * rng.standard_normal(wav.shape))).astype(np.float32)


def with_noise(wav: np.ndarray, seed: str) -> np.ndarray:
    """Return a wav (T,) or (T, C) with white noise at `QUIET_SNR_DB` below its mean level; float32."""
    rng = np.random.default_rng(list(seed.encode()))
    level = np.sqrt(np.square(wav, dtype=np.float64).mean()) * 10 ** (-QUIET_SNR_DB / 20)
    return (wav + level * rng.standard_normal(wav.shape)).astype(np.float32)


def headphone_clips(sample_rate: int) -> list[tuple[np.ndarray, int]]:
    """Return six clips (T, 2) of three tones each, and which tone of each is the softest, from 1.

    One tone is 6 dB softer, and one has opposite signs in the two channels: from loudspeakers it is the faintest.

    Source: Woods, Siegel, Traer, McDermott (2017), Attention, Perception & Psychophysics 79, 2064–2072.
    """
    time = np.arange(round(TONE_SECONDS * sample_rate)) / sample_rate
    ramp = np.clip(np.minimum(time, time[::-1]) / RAMP_SECONDS, 0, 1)
    tone = TONE_PEAK * np.sin(2 * np.pi * TONE_HZ * time) * ramp
    soft = tone * 10 ** (SOFT_DB / 20)
    tones = [np.stack(pair, axis=1) for pair in ((tone, tone), (tone, -tone), (soft, soft))]
    gap = np.zeros((round(GAP_SECONDS * sample_rate), 2))
    return [
        (
            np.concatenate([gap, *(part for n in order for part in (tones[n], gap))]).astype(np.float32),
            1 + order.index(2),
        )
        for order in itertools.permutations(range(3))
    ]


def read_attention(path: Path, scale: tuple[int, int]) -> list[tuple[Path, int]]:
    """Return the clips that say what to answer, and the answers: lines "path answer".

    Raises:
        UserError: the file cannot be read, or a line is something else.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); check the path in the study") from None
    found = []
    for number, line in enumerate(filter(str.strip, lines), 1):
        clip, _, answer = line.strip().rpartition(" ")
        low, high = scale
        if not clip or not answer.isdigit() or not low <= int(answer) <= high:
            raise UserError(
                f"{path}: line {number}: '{line}' is not a path and an answer from {low} to {high}; correct it"
            )
        found.append((path.parent / clip.strip(), int(answer)))
    if not found:
        raise UserError(f"{path}: no lines; write 'path answer' on each, or leave attention out of the study")
    return found
