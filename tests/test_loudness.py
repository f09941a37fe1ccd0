"""Loudness: the known answers of BS.1770 and EBU Tech 3341, and NaN in place of made-up scores."""

import math

import numpy as np
import pytest
import torch
import torchaudio
from reference import k_weighted_loudness

from vqaudio import audio
from vqaudio.audio.loudness import integrated_loudness, loudness

RATE = 16000
SINE = np.sin(2 * np.pi * 997 * np.arange(48000) / 48000)


def at(level: float, seconds: int) -> np.ndarray:
    """A sine whose peak is `level` dBFS, at 48 kHz."""
    return 10 ** (level / 20) * np.tile(SINE, seconds)


def speech(seed: int = 0) -> np.ndarray:
    """A harmonic tone in noise, 0.5 s at 16 kHz."""
    t = np.arange(RATE // 2) / RATE
    noise = np.random.default_rng(seed).standard_normal(RATE // 2)
    return (0.1 * sum(np.sin(2 * np.pi * 200 * k * t) / k for k in range(1, 11)) + 0.01 * noise).astype(np.float32)


@pytest.mark.parametrize("measure", [loudness, integrated_loudness])
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
def test_a_sine_at_full_scale_measures_what_the_standard_says(measure, rate):
    sine = np.sin(2 * np.pi * 997 * np.arange(2 * rate) / rate)  # BS.1770-4: −3.01 LKFS in one channel
    assert measure(sine, rate) == pytest.approx(-3.01, abs=0.01 if rate == 48000 else 0.05)


def test_the_gate_is_that_of_the_standard():
    # EBU Tech 3341, cases 1 and 3, but of one channel
    assert integrated_loudness(at(-20, 3), 48000) == pytest.approx(-23.01, abs=0.1)
    three = np.concatenate([at(-33, 2), at(-20, 60), at(-33, 2)])  # the ends are gated relative to the middle
    assert integrated_loudness(three, 48000) == pytest.approx(-23.01, abs=0.1)
    assert loudness(three, 48000) < -23.2


def test_loudness_without_the_gate_is_that_of_the_printed_coefficients():
    noise = np.random.default_rng(0).standard_normal(48000)
    assert loudness(noise, 48000) == pytest.approx(k_weighted_loudness(noise), abs=0.01)


def test_loudness_does_not_depend_on_the_rate_and_agrees_with_torchaudio():
    ours = integrated_loudness(speech(), RATE)
    assert integrated_loudness(audio.resample(speech(), RATE, 44100), 44100) == pytest.approx(ours, abs=0.1)
    at_48k = torch.from_numpy(0.5 * audio.resample(speech(), RATE, 48000))[None]
    theirs = float(torchaudio.functional.loudness(at_48k[:, :19300], 48000)) + 20 * math.log10(2)
    assert integrated_loudness(at_48k[0, :19300].numpy() * 2, 48000) == pytest.approx(theirs, abs=0.1)


def test_what_is_near_half_the_sample_rate_counts_in_full():
    for rate in (16000, 48000):
        tone = 0.1 * np.sin(2 * np.pi * 7800 * np.arange(rate) / rate)
        assert loudness(tone, rate) == pytest.approx(-19.7, abs=0.15)


def test_a_gain_is_as_many_decibels_louder():
    for measure in (loudness, integrated_loudness):
        difference = measure(0.5 * speech(), RATE) - measure(speech(), RATE)
        assert difference == pytest.approx(-20 * math.log10(2), abs=1e-3)


def test_the_gate_needs_a_block_of_sound():
    wav = speech()[: round(0.4 * RATE)]
    assert math.isfinite(integrated_loudness(wav, RATE))
    assert math.isnan(integrated_loudness(wav[1:], RATE))
    assert math.isnan(integrated_loudness(1e-4 * wav, RATE))
    assert math.isnan(integrated_loudness(np.zeros(RATE), RATE))
    assert loudness(np.zeros(RATE), RATE) == -math.inf
