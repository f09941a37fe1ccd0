"""Fundamental frequency: known signals, a naive oracle, and NaN in place of made-up scores."""

import math

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from vqaudio.metrics import pitch
from vqaudio.metrics.pyin import pyin

RATE = 16000


def voice(f0: np.ndarray) -> np.ndarray:
    """Ten harmonics of an F0 in Hz given at every sample; silent where it is 0."""
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    return (0.1 * (f0 > 0) * sum(np.sin(k * phase) / k for k in range(1, 11))).astype(np.float32)


def test_the_pitch_of_a_glide_is_followed_and_silence_is_unvoiced():
    f0 = np.concatenate([np.zeros(RATE // 4), np.geomspace(90, 300, RATE // 2), np.zeros(RATE // 4 + 1)])
    found = pitch.track(voice(f0), RATE)
    assert found.shape == (101,)
    middles = f0[np.minimum(np.arange(101) * 160 + 80, len(f0) - 1)]
    inside = slice(29, 71)
    assert np.isnan(found[[*range(20), *range(80, 101)]]).all()
    assert np.abs(np.log(found[inside] / middles[inside])).max() < 0.02  # a grid of 0.2 semitones, and a glide


def test_noise_is_mostly_unvoiced():
    noise = np.random.default_rng(0).standard_normal(RATE // 2).astype(np.float32)
    assert np.isnan(pitch.track(0.1 * noise, RATE)).mean() > 0.8


def test_the_pitch_is_that_of_librosa():
    generator = np.random.default_rng(1)
    glide = voice(np.where(np.arange(RATE) % 4000 < 500, 0.0, np.geomspace(70, 400, RATE)))
    for wav in (glide, glide + 0.05 * generator.standard_normal(RATE), np.zeros(3000)):
        frames = np.lib.stride_tricks.sliding_window_view(wav.astype(np.float32), 1024)[::160]
        range_ = {"fmin": 60.0, "fmax": 500.0, "sr": RATE, "resolution": 0.2}
        expected, voiced, _ = librosa.pyin(
            wav.astype(np.float32), frame_length=1024, hop_length=160, center=False, fill_na=None, **range_
        )
        found = pyin(frames, RATE, hop=160, min_hz=60.0, max_hz=500.0, bins_per_semitone=5)
        np.testing.assert_array_equal(found[1], voiced)
        np.testing.assert_allclose(found[0], expected)


@given(st.lists(st.tuples(*[st.sampled_from([math.nan, 60.0, 100.0, 220.5])] * 2), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_pitch_errors_are_those_of_the_pairs_on_the_path(pairs):
    x, y = np.array(pairs).T
    path = np.arange(len(pairs))[:, None].repeat(2, axis=1)
    assert pitch.pitch_errors(x, y, path) == pytest.approx(reference.pitch_errors(pairs), nan_ok=True)
    twice = np.concatenate([path, path])
    assert pitch.pitch_errors(x, y, twice) == pytest.approx(reference.pitch_errors(pairs), nan_ok=True)
