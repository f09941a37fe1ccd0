"""Log-mel and the filter towards it: equal to their definitions, whole or in pieces."""

from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from audio_makers import voice
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import naive_log_mel, naive_shaped

from vqaudio.model.shaping import Shaper

RATE, HOP, BINS = 8000, 80, 20


def shaper_of(strength: float = 1.0, rate: int = RATE, hop: int = HOP, bins: int = BINS) -> Shaper:
    torch.manual_seed(0)
    return Shaper(bins=bins, strength=strength, condition=8, sample_rate=rate, hop_length=hop)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def log_mel(shaper: Shaper, wav: np.ndarray) -> torch.Tensor:
    return shaper.log_mel(torch.from_numpy(wav)[None], 0, 0)[0]


def speech_mel(shaper: Shaper, frames: int, rate: int = RATE, seed: int = 0) -> torch.Tensor:
    wav = voice(frames * shaper.hop / rate, seed, rate)[: frames * shaper.hop] / np.float32(32768)
    return log_mel(shaper, wav.astype(np.float32))


@pytest.mark.parametrize(("rate", "hop", "frames"), [(8000, 80, 9), (8000, 80, 1), (16000, 160, 8), (8000, 31, 12)])
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_shaped_speech_equals_the_naive_one(rate: int, hop: int, frames: int, strength: float) -> None:
    shaper, wav = shaper_of(strength, rate, hop), noise(frames * hop)
    mel = log_mel(shaper, wav) + 10 * torch.rand(BINS, frames) - 5  # some of it beyond the largest gain
    shaped = shaper.shape(wav, mel)
    assert shaped.dtype == np.float32
    assert shaped.shape == wav.shape
    np.testing.assert_allclose(shaped, naive_shaped(wav, mel.numpy(), rate, hop, strength), atol=1e-4)
    assert np.abs(shaped - wav).max() > 0.02


@pytest.mark.parametrize(("rate", "hop", "bins"), [(8000, 80, 20), (16000, 320, 80), (16000, 160, 40)])
def test_shaping_brings_noise_close_to_the_log_mel_of_speech(rate: int, hop: int, bins: int) -> None:
    shaper = shaper_of(1.0, rate, hop, bins)
    wanted, wav = speech_mel(shaper, 100, rate), noise(100 * hop)
    before, after = ((log_mel(shaper, x) - wanted).abs().mean() for x in (wav, shaper.shape(wav, wanted)))
    assert before > 1
    assert after < 0.5 * before


def test_speech_that_has_the_log_mel_already_stays_as_it_is() -> None:
    shaper, wav = shaper_of(), noise(50 * HOP)
    np.testing.assert_allclose(shaper.shape(wav, log_mel(shaper, wav)), wav, atol=1e-5)


def test_a_strength_of_0_leaves_the_samples_unchanged() -> None:
    shaper, wav = shaper_of(0.0), noise(10 * HOP)
    assert np.array_equal(shaper.shape(wav, torch.zeros(BINS, 10)), wav)
    mels: deque[np.ndarray] = deque()
    [piece] = shaper.shape_pieces([wav], mels)  # no log-mel is asked for
    assert piece is wav
    mels.extend([np.zeros((BINS, 5)), np.zeros((BINS, 5))])
    assert list(shaper.shape_pieces([wav], mels))
    assert not mels  # an endless stream would fill it


def arriving(wav: np.ndarray, cuts: list[int], mel: np.ndarray, mels: "deque[np.ndarray]") -> Iterator[np.ndarray]:
    """Yield the wav in pieces; put the log-mel of a piece's frames into the queue just before it, in one chunk."""
    known = 0
    for first, last in zip([0, *cuts], [*cuts, len(wav)], strict=True):
        if last // HOP > known:
            mels.append(mel[:, known : last // HOP])
            known = last // HOP
        yield wav[first:last]


@given(frames=st.integers(1, 30), data=st.data())
@settings(max_examples=40, deadline=None)
def test_pieces_of_any_length_give_the_bits_of_the_whole(frames: int, data: st.DataObject) -> None:
    shaper, wav = shaper_of(), noise(frames * HOP)
    mel = speech_mel(shaper, frames).numpy()
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wav) - 1), max_size=12)))
    mels: deque[np.ndarray] = deque()
    pieces = list(shaper.shape_pieces(arriving(wav, cuts, mel, mels), mels))
    assert all(map(len, pieces))
    assert np.array_equal(np.concatenate(pieces), shaper.shape(wav, torch.from_numpy(mel)))
    assert not mels  # one column for each frame


def test_a_piece_waits_for_no_more_than_the_window_of_its_last_frame() -> None:
    shaper, wav = shaper_of(), noise(100 * HOP)
    mels = deque([speech_mel(shaper, 100).numpy()])
    given_so_far, taken = 0, 0

    def pieces() -> Iterator[np.ndarray]:
        nonlocal given_so_far
        for piece in wav.reshape(10, -1):
            given_so_far += len(piece)
            yield piece

    for shaped in shaper.shape_pieces(pieces(), mels):
        taken += len(shaped)
        assert taken == given_so_far or given_so_far - taken < shaper.size + HOP
    assert taken == len(wav)


def test_silence_stays_finite() -> None:
    shaper, silence = shaper_of(), np.zeros(20 * HOP, np.float32)
    with np.errstate(divide="raise", invalid="raise"):
        for wanted in (torch.full((BINS, 20), 3.0), torch.full((BINS, 20), -50.0)):
            assert np.array_equal(shaper.shape(silence, wanted), silence)
            assert np.isfinite(shaper.shape(noise(20 * HOP), wanted)).all()
    assert log_mel(shaper, silence).isfinite().all()


def test_what_is_as_soft_as_silence_is_not_raised_to_it() -> None:
    shaper, wav = shaper_of(), 1e-7 * noise(20 * HOP)
    np.testing.assert_allclose(shaper.shape(wav, log_mel(shaper, wav)), wav, rtol=1e-4, atol=1e-13)


@pytest.mark.parametrize(("left", "right"), [(0, 0), (30, 17), (300, 600)])
def test_log_mel_equals_the_naive_one_and_hears_the_context(left: int, right: int) -> None:
    shaper, padded = shaper_of(), noise(left + 6 * HOP + right)
    mel = shaper.log_mel(torch.from_numpy(padded)[None], left, right)[0]
    assert mel.shape == (BINS, 6)
    np.testing.assert_allclose(mel, naive_log_mel(padded, left, 6, RATE, HOP, BINS), atol=1e-3)


def test_log_mel_is_centred_on_its_frames() -> None:
    wav = np.zeros(16000, np.float32)
    wav[160 * 40 + 80] = 1.0  # the middle of frame 40
    energy = log_mel(shaper_of(1.0, 16000, 160, 80), wav).exp().sum(0)
    assert energy.shape == (100,)
    assert energy.argmax() == 40
    assert torch.allclose(energy[39], energy[41], rtol=1e-2)


def test_16_bits_do_not_drown_what_is_soft() -> None:
    shaper, wav = shaper_of(), noise(30 * HOP)
    with torch.autocast("cpu", torch.bfloat16):
        half = log_mel(shaper, wav)
    assert torch.equal(half, log_mel(shaper, wav))


def test_the_prediction_is_one_of_each_frame_alone_and_starts_at_the_level_of_quiet_speech() -> None:
    shaper = shaper_of()
    condition = torch.randn(2, 8, 5)
    predicted = shaper(condition)
    assert predicted.shape == (2, BINS, 5)
    assert abs(predicted.mean().item() + 5) < 0.5
    condition[:, 3, 2] += 1
    assert (shaper(condition) != predicted).any(1).any(0).tolist() == [False, False, True, False, False]
