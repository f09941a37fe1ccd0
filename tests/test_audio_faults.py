"""Recordings that decode without an error but are no audio: the scale of integers, channels that cancel."""

import numpy as np
import pytest
import soundfile

from vqaudio.audio.faults import channel_fault, scale_fault


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * 0.1).clip(-1, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("peak", "scale"), [(8.1, 128), (127, 128), (32767, 32768), (33000, 32768), (8e6, 8388608), (2e9, 2147483648)]
)
def test_samples_at_the_scale_of_integers_are_a_fault_with_its_cure(peak, scale):
    assert scale_fault(peak).endswith(f"; divide them by {scale}")
    assert f"up to {peak:.0f}," in scale_fault(peak)


def test_samples_that_are_too_loud_are_no_fault_of_scale():
    assert [scale_fault(peak) for peak in (0, 0.5, 1, 1.2, 8)] == [None] * 5


@pytest.mark.parametrize(
    ("right", "words"),
    [
        (-1.0, "their average is silence"),
        (-0.98, "their average is 40 dB below them"),
        (-0.85, "their average is 22 dB below them"),
    ],
)
def test_channels_that_cancel_are_a_fault(tmp_path, right, words):
    left = noise(70_000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right * left], axis=1), 8000, subtype="FLOAT")
    assert f"its 2 channels cancel: {words}" in channel_fault(tmp_path / "a.wav")
    assert "write one of them" in channel_fault(tmp_path / "a.wav", 1.0, 2.0)


def test_channels_that_differ_do_not_cancel(tmp_path):
    left, right = noise(8000), noise(8000, 1)
    for channels in (
        [left],
        [left, right],
        [left, 0 * left],
        [left, -0.7 * left],
        [left, -left, right],
        [1e-4 * left] * 2,
    ):
        soundfile.write(tmp_path / "a.wav", np.stack(channels, axis=1), 8000, subtype="FLOAT")
        assert channel_fault(tmp_path / "a.wav") is None
    hum = np.stack([1e-3 * left, -1e-3 * left], axis=1)  # under −60 dBFS: a pause
    soundfile.write(tmp_path / "a.wav", hum, 8000, subtype="FLOAT")
    assert channel_fault(tmp_path / "a.wav") is None
