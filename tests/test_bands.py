"""Frequency bands: split and merged they are the speech again, in pieces of any length."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import naive_bands

from vqaudio.audio import mu_law_decode
from vqaudio.model.bands import SILENT, BandCoder

MANY_LEVELS = 1 << 20  # so many that mu-law codes lose nothing


def noise(samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))


def coder(bands: int, levels: int = 256, pre_emphasis: float = 0.85) -> BandCoder:
    return BandCoder(bands=bands, levels=levels, pre_emphasis=pre_emphasis)


def error_db(wav: torch.Tensor, back: np.ndarray) -> float:
    """The power of the error over that of the wav, without the ends, beyond which there are no steps."""
    original, inner = wav[0].double().numpy(), slice(31, -31)
    return 10 * np.log10(np.square(back - original)[inner].sum() / np.square(original)[inner].sum())


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_bands_are_those_of_the_definition(bands: int) -> None:
    wav = noise(bands * 50)
    ours = coder(bands).split(wav)
    assert ours.shape == (1, 50, bands)
    np.testing.assert_allclose(ours[0].numpy(), naive_bands(wav[0].numpy(), bands, 0.85), atol=1e-6)


@pytest.mark.parametrize("bands", [2, 4])
def test_noise_comes_back_with_an_error_of_60_db_below(bands: int) -> None:
    wav = noise(16000)
    bank = coder(bands, MANY_LEVELS, pre_emphasis=0.0)
    assert error_db(wav, bank.decode(bank.encode(wav)[0])) < -60
    bank.fit(wav)
    assert error_db(wav, bank.decode(bank.encode(wav)[0])) < -60


def test_one_band_is_the_speech_itself() -> None:
    wav, bank = noise(1000), coder(1, pre_emphasis=0.0)
    assert torch.equal(bank.split(wav)[..., 0], wav)
    bank.fit(wav)
    codes = bank.encode(wav)
    assert np.array_equal(bank.decode(codes[0]), mu_law_decode(codes[0, :, 0], 256).numpy())


@pytest.mark.parametrize(("bands", "hertz"), [(2, [1000, 3000]), (4, [500, 1500, 2500, 3500])])
def test_a_tone_sounds_in_its_own_band(bands: int, hertz: list[int]) -> None:
    for band, pitch in enumerate(hertz):
        tone = torch.sin(2 * torch.pi * pitch / 8000 * torch.arange(4000)).unsqueeze(0)
        power = coder(bands, pre_emphasis=0.0).split(tone)[:, 100:-100].square().mean((0, 1))
        assert power.argmax() == band
        assert power[band] > 0.999 * power.sum()


@given(st.sampled_from([1, 2, 4]), st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any))
@settings(max_examples=60, deadline=None)
def test_pieces_of_any_lengths_join_to_the_whole(bands: int, lengths: list[int]) -> None:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(0, 256, (sum(lengths), bands), generator=generator)
    bank = coder(bands)
    pieces = list(bank.decode_pieces(codes.split(lengths)))
    whole = bank.decode(codes)
    assert all(map(len, pieces))
    assert whole.dtype == np.float32
    assert whole.shape == (codes.numel(),)
    assert np.array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("bands", [2, 4])
def test_a_piece_is_spoken_as_soon_as_its_neighbours_are_known(bands: int) -> None:
    bank = coder(bands)
    pieces = [len(piece) for piece in bank.decode_pieces([torch.zeros(100, bands, dtype=torch.int64)] * 3)]
    assert pieces == [bands * steps for steps in (100 - bank.ahead, 100, 100, bank.ahead)]


@pytest.mark.parametrize("bands", [2, 4])
def test_gains_bring_all_bands_to_the_level_of_the_whole(bands: int) -> None:
    wav, bank = noise(16000).cumsum(1), coder(bands)  # low frequencies are the loudest
    bank.fit(wav)
    levels = (bank.split(wav) * bank.gains).square().mean((0, 1)).sqrt()
    whole = coder(1).split(wav).square().mean().sqrt()
    np.testing.assert_allclose(levels.numpy(), float(whole), rtol=0.02)


def test_a_silent_band_does_not_blow_up() -> None:
    bank = coder(2, pre_emphasis=0.0)
    time = torch.arange(16000)
    bank.fit(torch.sin(0.1 * time * (time % 16000 < 15000)).unsqueeze(0) * torch.hann_window(16000))
    assert 10 < bank.gains[1] <= 1.001 / SILENT
    wav = noise(16000)
    back = bank.decode(bank.encode(wav)[0])
    assert np.abs(back).max() < 1
    bank.fit(torch.zeros(1, 100))
    assert bank.gains.tolist() == [1.0, 1.0]


def test_bf16_training_sees_the_codes_of_full_precision() -> None:
    wav, bank = noise(4000), coder(4)
    bank.fit(wav)
    with torch.autocast("cpu", torch.bfloat16):
        codes = bank.encode(wav)
    assert torch.equal(codes, bank.encode(wav))


def test_three_bands_are_refused() -> None:
    with pytest.raises(ValueError, match="bands is 3; give 1, 2 or 4"):
        coder(3)
