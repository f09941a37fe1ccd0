"""Codes with a penalty for changes: the cheapest path whatever the pieces, in units of the model."""

import itertools
import json
import math

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import save_tiny_model

import vqaudio
from tests import reference
from vqaudio.cli import main
from vqaudio.codec import Codec, encoding
from vqaudio.errors import UserError
from vqaudio.model.penalty import CodeCosts, PenalisedSearch
from vqaudio.model.quantizer import GumbelQuantizer
from vqaudio.model.viterbi import PenalisedPath


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def codec(model_dir) -> Codec:
    return vqaudio.load(model_dir)


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def path_of(costs: np.ndarray, penalty: float, cuts: list[int]) -> list[int]:
    path = PenalisedPath(costs.shape[1], penalty)
    for part in np.split(costs, cuts):
        path.add(np.ascontiguousarray(part))
    return path.finish().tolist()


@st.composite
def tables(draw) -> tuple[np.ndarray, float, list[int]]:
    """Costs with many ties, all exact in float32; a penalty; and places to cut between frames."""
    frames, size = draw(st.integers(1, 30)), draw(st.sampled_from([1, 2, 3, 8, 9, 17]))
    values = st.lists(st.integers(-3, 3), min_size=frames * size, max_size=frames * size)
    costs = np.array(draw(values), np.float32).reshape(frames, size) / 2
    cuts = draw(st.lists(st.integers(0, frames), max_size=4))
    return costs, draw(st.sampled_from([0.25, 0.5, 1.0, 2.0, 7.5])), sorted(cuts)


@given(tables())
@settings(max_examples=300, deadline=None)
def test_the_path_is_the_cheapest_of_the_full_table_for_any_pieces(table):
    costs, penalty, cuts = table
    assert path_of(costs, penalty, cuts) == reference.cheapest_codes(costs.tolist(), penalty)


@pytest.mark.parametrize("penalty", [0.0, 0.3, 1.0, 4.0])
def test_no_other_path_is_cheaper(penalty):
    costs = np.random.default_rng(1).random((7, 3))

    def price(path) -> float:
        changes = sum(a != b for a, b in itertools.pairwise(path))
        return sum(row[k] for row, k in zip(costs, path, strict=True)) + penalty * changes

    best = min(itertools.product(range(3), repeat=7), key=price)
    assert path_of(costs, penalty, [2, 3]) == list(best)


def test_ties_stay_and_then_take_the_lowest_code():
    assert path_of(np.zeros((4, 3)), 1.0, []) == [0, 0, 0, 0]
    costs = np.array([[9, 0, 9], [9, 9, 1], [9, 1, 1]], np.float32)  # 1 2 2 costs as much as 1 2 1 and a change less
    assert path_of(costs, 1.0, []) == [1, 2, 2]
    assert path_of(np.array([[0.0, 1.0], [1.0, 0.0]]), 1.0, []) == [0, 0]  # as cheap: 0 1 and 1 1


def test_long_recordings_lose_no_precision():
    generator = np.random.default_rng(0)
    exact = 2**41 + generator.integers(0, 6, (2**14, 3))  # in halves; a float64 sum of all has a precision of 4
    found = path_of(exact / 2, 1.5, [100, 5000])
    assert found == reference.cheapest_codes(exact.tolist(), 3)


def test_no_frames_have_no_codes():
    assert PenalisedPath(5, 1.0).finish().shape == (0,)


def test_a_frame_takes_an_eighth_of_a_byte_for_each_code_and_four_bytes():
    path = PenalisedPath(256, 1.0)
    path.add(np.zeros((100, 256), np.float32))
    assert sum(array.nbytes for part in path.parts for array in part) == 100 * (256 / 8 + 4)


def latents(codec: Codec, wav: np.ndarray) -> torch.Tensor:
    """The latents (1, D, N) of a wav at the model's rate, encoded at once."""
    wav = wav - wav.mean(dtype=np.float64).astype(np.float32)
    wav *= np.float32(10 ** (-26 / 20) / np.sqrt(np.mean(np.square(wav, dtype=np.float64))))
    with torch.inference_mode():
        return codec.model.encoder(torch.from_numpy(wav).unsqueeze(0))


def use_gumbel(codec: Codec) -> GumbelQuantizer:
    """Give a codec a started Gumbel quantizer whose logits are no longer distances."""
    quantizer = GumbelQuantizer(codebook_size=16, latent_dim=8, groups=2, shared=False, diversity=0.1, sharpness=4.0)
    generator = torch.Generator().manual_seed(0)
    quantizer.initialise(latents(codec, noise(40000, seed=5))[0].T, generator)
    with torch.no_grad():
        quantizer.bias.add_(torch.randn(quantizer.bias.shape, generator=generator))
    codec.model.quantizer, codec.groups = quantizer, 2
    return quantizer


@pytest.mark.parametrize("penalty", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("groups", [1, 2])
def test_codes_of_kmeans_are_those_of_least_scaled_distance(tmp_path, penalty, groups):
    codec = vqaudio.load(save_tiny_model(tmp_path, groups=groups))
    wav = noise(40000)
    parts = codec.model.quantizer.split(latents(codec, wav)).numpy()
    books = codec.model.quantizer.codebook.numpy()
    expected = [
        reference.cheapest_codes(reference.scaled_distances(z, book), penalty)
        for z, book in zip(parts, books, strict=True)
    ]
    codes = codec.encode(wav, 8000, change_penalty=penalty)
    assert codes.dtype == np.int64
    assert codes.tolist() == expected
    assert len(np.unique(codes)) > 3  # else constants would be compared
    assert (codes != codec.encode(wav, 8000)).mean() > 0.02


def test_codes_of_gumbel_are_those_of_least_scaled_negative_log_probability(codec):
    quantizer, wav = use_gumbel(codec), noise(40000)
    with torch.no_grad():
        costs = -quantizer.logits(quantizer.split(latents(codec, wav))).double().log_softmax(-1)
        of_words = (-quantizer.logits(quantizer.codebook).double().log_softmax(-1)).sort(-1).values
    for g, codes in enumerate(codec.encode(wav, 8000, change_penalty=1.0)):
        gap = (of_words[g, :, 1] - of_words[g, :, 0]).mean()
        assert codes.tolist() == reference.cheapest_codes((costs[g] / gap).tolist(), 1.0)


@pytest.mark.parametrize("gumbel", [False, True])
@pytest.mark.parametrize("seconds", [0.05, 0.37, 7.0])
def test_penalised_codes_do_not_depend_on_the_length_of_chunks(codec, gumbel, seconds):
    if gumbel:
        use_gumbel(codec)
    wav = noise(44444)
    codes = codec.encode(wav, 8000, change_penalty=0.7)
    codec.step = round(seconds * 100) * 80
    np.testing.assert_array_equal(codec.encode(wav, 8000, change_penalty=0.7), codes)


def test_a_file_has_the_penalised_codes_of_its_samples(codec, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(50001), 8000, subtype="FLOAT")
    part = codec.encode_file(tmp_path / "a.wav", 1.0, 3.5, None, 1.0)
    np.testing.assert_array_equal(part, codec.encode(noise(50001)[8000:28000], 8000, 1.0))


def test_without_a_penalty_codes_take_the_path_they_always_took(codec, monkeypatch):
    before = codec.encode(noise(40000), 8000)
    monkeypatch.setattr(encoding, "PenalisedSearch", None)
    np.testing.assert_array_equal(codec.encode(noise(40000), 8000, change_penalty=0.0), before)


def test_a_small_penalty_changes_nothing_and_a_large_one_leaves_one_code(codec):
    wav = noise(40000)
    plain = codec.encode(wav, 8000)
    np.testing.assert_array_equal(codec.encode(wav, 8000, change_penalty=1e-9), plain)
    changes = [
        int((np.diff(codec.encode(wav, 8000, change_penalty=p)) != 0).sum()) for p in (0, 0.1, 0.3, 1, 3, 10, 1e300)
    ]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > 1.5 * changes[3] > 0
    assert changes[-1] == 0


def test_the_scale_of_a_codebook_does_not_change_what_a_penalty_means():
    generator = torch.Generator().manual_seed(0)
    z, book = torch.randn(2, 300, 4, generator=generator), torch.randn(2, 9, 4, generator=generator)
    found = []
    for scale in (1.0, 64.0, 2.0**-10):
        search = PenalisedSearch(CodeCosts.of_distances(scale * book), 0.5)
        search.add(scale * z)
        found.append(search.finish().tolist())
    assert found[0] == found[1] == found[2]
    search = PenalisedSearch(CodeCosts.of_distances(book), 8.0)
    search.add(z)
    assert search.finish().tolist() != found[0]


def test_codebooks_without_a_second_codeword_have_codes_too():
    for book in (torch.ones(1, 1, 3), torch.ones(1, 4, 3)):
        costs = CodeCosts.of_distances(book)
        assert torch.equal(costs.bias, book.square().sum(-1))
        search = PenalisedSearch(costs, 1.0)
        search.add(torch.randn(1, 10, 3, generator=torch.Generator().manual_seed(0)))
        assert search.finish().tolist() == [[0] * 10]


def test_padding_is_part_of_no_path():
    generator = torch.Generator().manual_seed(0)
    book, z = torch.randn(1, 5, 2, generator=generator), torch.randn(1, 20, 2, generator=generator)
    search = PenalisedSearch(CodeCosts.of_distances(book), 1.0)
    search.add(z, 12)
    whole = PenalisedSearch(CodeCosts.of_distances(book), 1.0)
    whole.add(z[:, :12])
    assert search.finish().shape == (1, 12)
    search.add(z, 0)
    assert search.finish().tolist() == whole.finish().tolist()


@pytest.mark.parametrize("penalty", [-1.0, -1e-9, math.nan, math.inf, -math.inf])
def test_a_penalty_that_cannot_be_is_refused_in_one_line(codec, model_dir, tmp_path, penalty, capsys):
    with pytest.raises(UserError, match=r"change penalty is .*; give 0 \(none\) or more"):
        codec.encode(noise(800), 8000, change_penalty=penalty)
    argv = ["--out", str(tmp_path / "units"), f"--change-penalty={penalty}"]
    assert main(["extract", "--model", str(model_dir), "a.wav", *argv]) == 2
    assert main(["kmeans", "apply", "--model", "km", "--data", "d", *argv]) == 2
    for line in capsys.readouterr().err.splitlines():
        assert f"change penalty is {penalty}; give 0 (none) or more" in line
    assert not (tmp_path / "units").exists()


def test_penalised_units_are_decoded_evaluated_and_converted(model_dir, tmp_path, capsys):
    for utt in "ab":
        soundfile.write(tmp_path / f"{utt}.wav", noise(8000, seed=ord(utt)), 8000)
    units, model = tmp_path / "units", str(model_dir)
    wavs = [str(tmp_path / f"{utt}.wav") for utt in "ab"]
    options = ["--deduplicate", "--change-penalty", "0.5"]
    assert main(["extract", "--model", model, *wavs, "--out", str(units), *options]) == 0
    assert main(["decode", "--model", model, "--units", str(units), "--out", str(tmp_path / "speech")]) == 0
    (tmp_path / "phones.ctm").write_text("a 1 0 0.5 AA\na 1 0.5 0.5 B\nb 1 0 1 C\n")
    scores = ["--alignment", str(tmp_path / "phones.ctm"), "--json", str(tmp_path / "scores.json")]
    assert main(["evaluate", "units", "--units", str(units), *scores]) == 0
    assert main(["units", "convert", str(units), str(tmp_path / "u.jsonl"), "--to", "jsonl"]) == 0
    back = [str(tmp_path / "u.jsonl"), str(tmp_path / "back"), "--to", "vqaudio"]
    assert main(["units", "convert", *back, "--model", model]) == 0
    assert json.loads((tmp_path / "back" / "units.json").read_text())["change_penalty"] == 0.5
    assert (tmp_path / "back" / "units.txt").read_bytes() == (units / "units.txt").read_bytes()
    capsys.readouterr()
