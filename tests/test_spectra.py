"""Spectra at three resolutions: the distance is the naive one, and blocks do not change it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from vqaudio.metrics import spectra


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 400), st.integers(0, 99))
def test_spectra_at_three_resolutions_are_compared_as_defined(samples, seed):
    generator = np.random.default_rng(seed)
    x, y = 0.1 * generator.standard_normal((2, samples))
    y[samples // 2 :] = 0.0
    naive = [reference.stft_distance(x, y, *resolution, spectra.MIN_MAGNITUDE) for resolution in spectra.RESOLUTIONS]
    assert spectra.multi_resolution_stft(x, y) == pytest.approx(np.mean(naive), rel=1e-6)


def test_blocks_do_not_change_the_distance_of_spectra(monkeypatch):
    x, y = np.random.default_rng(0).standard_normal((2, 3000))
    whole = spectra.multi_resolution_stft(x, y)
    monkeypatch.setattr(spectra, "BLOCK_FRAMES", 7)
    assert spectra.multi_resolution_stft(x, y) == pytest.approx(whole)
