"""F0, multi-resolution spectra and loudness: known signals, naive oracles, and NaN in place of made-up scores."""

import math
import sys
import types

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from vqaudio import audio
from vqaudio.datadir import write_table
from vqaudio.metrics import pitch, reconstruction, spectra
from vqaudio.metrics.reconstruction import evaluate

RATE = 16000


def voice(f0: np.ndarray) -> np.ndarray:
    """Ten harmonics of an F0 in Hz given at every sample; silent where it is 0."""
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    return (0.1 * (f0 > 0) * sum(np.sin(k * phase) / k for k in range(1, 11))).astype(np.float32)


def scores_of(tmp_path, x, y, rate=RATE):
    """Score one pair; `failed_…` are counts of it."""
    for name, wav in (("x", x), ("y", y)):
        audio.write(tmp_path / f"{name}.wav", wav, rate)
        write_table(tmp_path / f"{name}.scp", {"u": str(tmp_path / f"{name}.wav")})
    return evaluate(tmp_path / "x.scp", tmp_path / "y.scp")


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


@given(st.lists(st.tuples(*[st.sampled_from([math.nan, 60.0, 100.0, 220.5])] * 2), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_pitch_errors_are_those_of_the_pairs_on_the_path(pairs):
    x, y = np.array(pairs).T
    path = np.arange(len(pairs))[:, None].repeat(2, axis=1)
    assert pitch.pitch_errors(x, y, path) == pytest.approx(reference.pitch_errors(pairs), nan_ok=True)
    twice = np.concatenate([path, path])
    assert pitch.pitch_errors(x, y, twice) == pytest.approx(reference.pitch_errors(pairs), nan_ok=True)


def test_a_voice_a_tenth_higher_is_ln_1_1_away(tmp_path):
    f0 = np.full(RATE // 2, 120.0)
    result = scores_of(tmp_path, voice(f0), voice(1.1 * f0))
    assert result["log_f0_rmse"] == pytest.approx(math.log(1.1), abs=0.012)
    assert result["vuv_error"] < 0.1
    assert result["failed_log_f0_rmse"] == 0


def test_a_whisper_is_wrong_in_voicing(tmp_path):
    x = voice(np.full(RATE // 2, 150.0))
    y = 0.05 * np.random.default_rng(0).standard_normal(len(x)).astype(np.float32)
    y[1:] -= 0.9 * y[:-1]  # like an s: pyin calls it unvoiced throughout
    result = scores_of(tmp_path, x, y)
    assert result["vuv_error"] > 0.7


def test_audio_without_any_pitch_has_no_pitch_error(tmp_path, monkeypatch):
    monkeypatch.setattr(reconstruction, "track", lambda wav, rate: np.full(-(-len(wav) // 160), np.nan))
    wav = voice(np.full(RATE // 2, 150.0))
    result = scores_of(tmp_path, wav, wav)
    assert math.isnan(result["log_f0_rmse"])
    assert (result["failed_log_f0_rmse"], result["failed_vuv_error"], result["failed"]) == (1, 0, 0)


def test_equal_audio_is_at_distance_zero(tmp_path):
    wav = voice(np.full(RATE // 2, 150.0))
    result = scores_of(tmp_path, wav, wav)
    assert [result[name] for name in ("log_f0_rmse", "vuv_error", "mr_stft", "loudness_difference")] == [0, 0, 0, 0]
    assert not any(value for name, value in result.items() if name.startswith("failed"))
    assert result["recipe"] == reconstruction.RECIPE


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 400), st.integers(0, 99))
def test_spectra_at_three_resolutions_are_compared_as_defined(samples, seed):
    generator = np.random.default_rng(seed)
    x, y = 0.1 * generator.standard_normal((2, samples))
    y[samples // 2 :] = 0.0
    naive = [reference.stft_distance(x, y, *resolution, spectra.FLOOR) for resolution in spectra.RESOLUTIONS]
    assert spectra.multi_resolution_stft(x, y) == pytest.approx(np.mean(naive), rel=1e-6)


def test_blocks_do_not_change_the_distance_of_spectra(monkeypatch):
    x, y = np.random.default_rng(0).standard_normal((2, 3000))
    whole = spectra.multi_resolution_stft(x, y)
    monkeypatch.setattr(spectra, "BLOCK", 7)
    assert spectra.multi_resolution_stft(x, y) == pytest.approx(whole)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_loudness_difference_is_the_gain_and_has_no_sign(rate):
    wav = voice(np.full(rate, 200.0))[:rate]
    for gain in (0.5, 2.0):
        assert spectra.loudness_difference(wav, gain * wav, rate) == pytest.approx(20 * math.log10(2), abs=1e-3)


def test_loudness_is_that_of_the_standard():
    # BS.1770-4: a full-scale sine of 997 Hz reads −3.01 LKFS; EBU Tech 3341, cases 1 and 3, but of one channel.
    t = np.arange(48000) / 48000
    sine = np.sin(2 * np.pi * 997 * t)
    assert spectra.loudness(sine, 48000) == pytest.approx(-3.01, abs=0.01)
    at = lambda level, seconds: 10 ** (level / 20) * np.tile(sine, seconds)  # noqa: E731
    assert spectra.loudness(at(-20, 3), 48000) == pytest.approx(-23.01, abs=0.1)
    three = np.concatenate([at(-33, 2), at(-20, 60), at(-33, 2)])  # the ends are gated relative to the middle
    assert spectra.loudness(three, 48000) == pytest.approx(-23.01, abs=0.1)


def test_loudness_does_not_depend_on_the_rate_and_agrees_with_torchaudio():
    generator = np.random.default_rng(0)
    wav = voice(np.full(RATE // 2, 200.0)) + 0.01 * generator.standard_normal(RATE // 2).astype(np.float32)
    ours = spectra.loudness(wav, RATE)
    assert spectra.loudness(audio.resample(wav, RATE, 44100), 44100) == pytest.approx(ours, abs=0.1)
    at_48k = torch.from_numpy(0.5 * audio.resample(wav, RATE, 48000))[None]
    theirs = float(torchaudio.functional.loudness(at_48k[:, :19300], 48000)) + 20 * math.log10(2)
    assert spectra.loudness(at_48k[0, :19300].numpy() * 2, 48000) == pytest.approx(theirs, abs=0.1)


def test_loudness_needs_a_block_of_sound():
    wav = voice(np.full(round(0.4 * RATE), 200.0))
    assert spectra.loudness_difference(wav, wav, RATE) == 0
    assert math.isnan(spectra.loudness_difference(wav[1:], wav[1:], RATE))
    assert math.isnan(spectra.loudness_difference(wav, 1e-4 * wav, RATE))
    assert math.isnan(spectra.loudness(np.zeros(RATE), RATE))


def test_scores_that_do_not_exist_are_counted_metric_by_metric(tmp_path):
    short = voice(np.full(3000, 150.0))
    result = scores_of(tmp_path, short, short)
    assert result["failed"] == 1
    for metric in ("stoi", "estoi", "loudness_difference"):
        assert math.isnan(result[metric])
        assert result[f"failed_{metric}"] == 1
    for metric in ("mcd", "log_mel_l1", "mr_stft", "vuv_error"):
        assert result[metric] == 0
        assert result[f"failed_{metric}"] == 0


def test_pesq_is_scored_where_it_is_installed(tmp_path, monkeypatch):
    calls = []

    def pesq(rate, x, y, mode):
        calls.append((rate, len(x), len(y), mode))
        if len(calls) > 1:
            raise RuntimeError("No utterances detected")
        return 3.5

    wav = voice(np.full(RATE // 2, 150.0))
    monkeypatch.setitem(sys.modules, "pesq", None)
    assert "pesq" not in scores_of(tmp_path, wav, wav)
    monkeypatch.setitem(sys.modules, "pesq", types.SimpleNamespace(pesq=pesq))
    result = scores_of(tmp_path, wav, wav)
    assert (result["pesq"], result["failed_pesq"]) == (3.5, 0)
    assert calls == [(RATE, len(wav), len(wav), "wb")]
    failed = scores_of(tmp_path, wav, wav)
    low = scores_of(tmp_path, wav, wav, rate=8000)
    for result in (failed, low):
        assert math.isnan(result["pesq"])
        assert result["failed_pesq"] == 1
    assert len(calls) == 2
