"""MFCC and log-mel: those of torchaudio, on the frames of the units."""

import math

import pytest
import torch
import torchaudio

from vqaudio.audio.features import log_mel_power, mfcc, stacked_mfcc, warped_mfcc

RATE, HOP = 16000, 160


@pytest.mark.parametrize("hop", [160, 640])
def test_mfcc_are_those_of_torchaudio_and_log_mel_what_they_are_made_of(hop):
    wav = torch.randn(30 * hop, generator=torch.Generator().manual_seed(0))
    window = max(400, hop)
    fft = 512 if hop == 160 else 1024
    kwargs = {"n_fft": fft, "win_length": window, "hop_length": hop, "n_mels": 40, "center": False}
    padded = torch.nn.functional.pad(wav, ((fft - hop) // 2, (fft - hop) // 2))
    static = torchaudio.transforms.MFCC(RATE, n_mfcc=13, log_mels=True, melkwargs=kwargs)(padded)
    torch.testing.assert_close(mfcc(wav, sample_rate=RATE, hop_length=hop)[:, :13], static.T, atol=1e-4, rtol=1e-4)
    bands = torchaudio.transforms.MelSpectrogram(RATE, **kwargs)(padded)
    mel = log_mel_power(wav, sample_rate=RATE, hop_length=hop)
    assert mel.shape == (30, 40)
    torch.testing.assert_close(mel.exp(), bands.T + 1e-6, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("sample_rate", "hop_length"), [(16000, 160), (16000, 64), (16000, 640), (22050, 221), (8000, 80)]
)
@pytest.mark.parametrize("extra", [1, 0, -1])
def test_there_is_a_frame_for_every_started_hop(sample_rate, hop_length, extra):
    samples = 7 * hop_length + extra
    features = mfcc(torch.randn(samples), sample_rate=sample_rate, hop_length=hop_length)
    assert features.shape == (math.ceil(samples / hop_length), 39)
    assert features.isfinite().all()


@pytest.mark.parametrize("hop_length", [64, 160, 320])
def test_windows_are_centred_on_their_frames(hop_length):
    wav = torch.zeros(41 * hop_length)
    wav[20 * hop_length + hop_length // 2] = 1.0  # the middle of frame 20
    energy = mfcc(wav, sample_rate=RATE, hop_length=hop_length)[:, 0]
    assert energy.argmax() == 20
    torch.testing.assert_close(energy[:20], energy[21:].flip(0), atol=0.5, rtol=0.01)


def test_one_sample_is_a_frame():
    assert mfcc(torch.ones(1), sample_rate=RATE, hop_length=HOP).shape == (1, 39)


@pytest.mark.parametrize("hop", [160, 320])
def test_stacked_mfcc_are_normalised_over_the_utterance_and_stand_beside_their_neighbours(hop):
    wav = torch.randn(20 * hop, generator=torch.Generator().manual_seed(1))
    frames = mfcc(wav, sample_rate=RATE, hop_length=hop)
    stacked = stacked_mfcc(wav, sample_rate=RATE, hop_length=hop, coefficients=3, seconds=[-0.02, 0.0, 0.04])
    assert stacked.shape == (20, 9)
    for n in range(20):
        for column, seconds in enumerate([-0.02, 0.0, 0.04]):
            neighbour = min(19, max(0, n + int(seconds * RATE / hop)))
            for c in range(3):
                values = frames[:, c].tolist()
                mean = sum(values) / 20
                std = (sum((value - mean) ** 2 for value in values) / 20) ** 0.5
                expected = (values[neighbour] - mean) / std
                assert stacked[n, 3 * column + c].item() == pytest.approx(expected, abs=1e-4)


def test_stacked_mfcc_of_silence_and_of_one_sample_are_finite():
    for wav in (torch.zeros(1600), torch.ones(1)):
        stacked = stacked_mfcc(wav, sample_rate=RATE, hop_length=HOP)
        assert stacked.shape == (math.ceil(len(wav) / HOP), 130)
        assert stacked.isfinite().all()


def test_a_warp_moves_frequencies_to_those_of_a_shorter_vocal_tract():
    t = torch.arange(RATE) / RATE
    tone = lambda scale: sum(0.05 * torch.sin(2 * math.pi * f * scale * t) for f in (300, 700, 1300, 1900, 2500))  # noqa: E731
    warps = [0.8, 0.9, 1.0, 1.1, 1.2]
    warped = warped_mfcc(tone(1.0), warps, sample_rate=RATE, hop_length=HOP)
    assert warped.shape == (5, 100, 39)
    assert torch.equal(warped[2], mfcc(tone(1.0), sample_rate=RATE, hop_length=HOP))
    distances = (warped - mfcc(tone(1.1), sample_rate=RATE, hop_length=HOP))[:, 50].norm(dim=1)
    assert warps[int(distances.argmin())] == 1.1
    assert distances.min() < 0.3 * distances[2]
