"""Codes of speech that is still arriving, and speech of codes that are: equal to those of the whole, bit for bit."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import save_tiny_model

import vqaudio
from vqaudio.codec import CHUNK_SECONDS, STREAM_SECONDS, Codec
from vqaudio.errors import UserError
from vqaudio.model import build_model
from vqaudio.model.viterbi import PenalisedPath
from vqaudio.threads import one_thread
from vqaudio.training.app import compose


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    return vqaudio.load(save_tiny_model(tmp_path_factory.mktemp("model"), groups=2))


def noise(samples: int, seed: int = 0) -> np.ndarray:
    swell = 0.5 + 0.4 * np.sin(np.arange(samples) / 3000)
    return (0.2 * swell * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def cut(x: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    """Yield pieces of the last axis of these sizes, again and again."""
    start = 0
    for size in itertools.cycle(sizes):
        if start >= x.shape[-1]:
            return
        yield x[..., start : start + size]
        start += size


@pytest.mark.parametrize("chunk", [0.01, 0.07, STREAM_SECONDS, CHUNK_SECONDS])
@pytest.mark.parametrize("rate", [8000, 11025, 44100])
def test_codes_of_a_stream_equal_those_of_the_whole(codec: Codec, rate: int, chunk: float) -> None:
    wav = noise(int(5.01 * rate))
    level = codec.measure_level(wav[:rate], rate)
    stream = codec.encode_stream(cut(wav, [1, 0, 333, 4096]), rate, level, chunk_seconds=chunk)
    np.testing.assert_array_equal(np.concatenate(list(stream), axis=1), codec.encode(wav, rate, level=level))


@pytest.mark.parametrize("samples", [1, 79, 80, 81, 1600, 16001])
def test_a_stream_of_any_length_has_a_code_for_every_begun_frame(codec: Codec, samples: int) -> None:
    wav = noise(samples)
    level = codec.measure_level(wav, 8000)
    codes = np.concatenate(list(codec.encode_stream([wav], 8000, level)), axis=1)
    np.testing.assert_array_equal(codes, codec.encode(wav, 8000))


@pytest.mark.parametrize("name", ["tiny", "base", "paper"])
def test_a_frame_has_the_same_bits_wherever_it_lies_in_a_window(name: str) -> None:
    """The sizes of every preset, since a library's matrix products may treat the last rows of a block otherwise."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = build_model(compose([f"model={name}", "quantizer=kmeans"]), speakers=1).encoder.eval()
    hop, wav = encoder.hop_length, torch.from_numpy(noise(encoder.left + 32000 + encoder.right))
    with torch.inference_mode(), one_thread():
        whole = encoder.frames(wav[None])[0]
        for start in (1, 5, 17, 42, 77):
            window, known = torch.zeros_like(wav), encoder.left + 3 * hop + encoder.right
            window[:known] = wav[start * hop :][:known]
            assert torch.equal(encoder.frames(window[None])[0, :, :3], whole[:, start : start + 3])


@pytest.mark.parametrize("chunk", [0.02, STREAM_SECONDS])
def test_the_codes_of_a_frame_are_known_after_the_latency(codec: Codec, chunk: float) -> None:
    wav, arrived = noise(24000), 0

    def arriving() -> Iterator[np.ndarray]:
        nonlocal arrived
        for piece in cut(wav, [1]):
            arrived += 1
            yield piece

    latency, done = round(codec.latency(chunk) * 8000), 0
    for codes in codec.encode_stream(arriving(), 8000, codec.measure_level(wav, 8000), chunk_seconds=chunk):
        assert arrived <= done * 80 + latency
        done += codes.shape[1]
    assert codec.latency(chunk) == pytest.approx(chunk + codec.model.encoder.right / 8000)


@pytest.mark.parametrize("penalty", [0.3, 2.0, 1e9])
def test_penalised_codes_of_a_stream_come_as_soon_as_they_are_decided(codec: Codec, penalty: float) -> None:
    wav = noise(40000)
    level = codec.measure_level(wav, 8000)
    pieces = list(codec.encode_stream([wav], 8000, level, change_penalty=penalty))
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), codec.encode(wav, 8000, penalty))
    assert len(pieces) > 5 if penalty < 1e9 else len(pieces) == 1


@given(st.integers(0, 30), st.lists(st.integers(1, 9), min_size=1, max_size=5), st.floats(0, 3))
@settings(max_examples=60, deadline=None)
def test_what_is_taken_from_a_path_is_what_its_end_would_say(frames: int, sizes: list[int], penalty: float) -> None:
    costs = np.random.default_rng(frames).random((frames, 5))
    whole, path, taken = PenalisedPath(5, penalty), PenalisedPath(5, penalty), []
    whole.add(costs)
    for part in cut(costs.T, sizes):
        path.add(np.ascontiguousarray(part.T))
        taken.append(path.take(path.undecided()))
    joined = np.concatenate([*taken, path.finish()])
    np.testing.assert_array_equal(joined, whole.finish())


def test_without_a_level_a_stream_needs_a_model_that_takes_any(codec: Codec, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"-26 dBFS, and a stream does not know its level; give level=codec\.measure"):
        codec.encode_stream([noise(800)], 8000)
    unlevelled = vqaudio.load(save_tiny_model(tmp_path, level_db=None))
    codes = np.concatenate(list(unlevelled.encode_stream(cut(noise(20000), [500]), 8000)), axis=1)
    np.testing.assert_array_equal(codes, unlevelled.encode(noise(20000), 8000))


def test_the_level_of_other_speech_changes_codes_as_its_loudness_says(codec: Codec) -> None:
    wav = noise(20000)
    level = codec.measure_level(wav, 8000)
    np.testing.assert_array_equal(codec.encode(wav, 8000, level=level), codec.encode(wav, 8000))
    assert not np.array_equal(codec.encode(10 * wav, 8000, level=level), codec.encode(wav, 8000))


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([], "the stream has no samples"),
        ([np.zeros(0)], "the stream has no samples"),
        ([np.zeros((2, 5))], r"shape \(2, 5\); give \(n,\)"),
        ([np.zeros(7), np.array([0.0, np.inf])], "sample 8 of the stream is not finite"),
    ],
)
def test_a_stream_that_is_no_speech_is_refused(codec: Codec, pieces: list[np.ndarray], message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(codec.encode_stream(pieces, 8000, codec.measure_level(noise(800), 8000)))


@pytest.mark.parametrize("chunk", [0.0, -1.0, float("nan"), 2.1])
def test_a_chunk_that_no_window_holds_is_refused(codec: Codec, chunk: float) -> None:
    with pytest.raises(UserError, match=r"chunk_seconds is .*; give more than 0, and 2 at most"):
        codec.latency(chunk)


@pytest.mark.parametrize("sizes", [[1], [7, 0, 30], [19, 21, 500]])
def test_speech_of_codes_that_arrive_in_pieces_equals_that_of_the_whole(codec: Codec, sizes: list[int]) -> None:
    codes = codec.encode(noise(8000), 8000)
    pieces = (piece for piece in cut(codes, sizes) if piece.shape[1])
    speech = np.concatenate(list(codec.decode_stream(pieces, "p226", seed=3)))
    np.testing.assert_array_equal(speech, codec.decode(codes, "p226", seed=3))


def test_speech_comes_while_codes_arrive(codec: Codec) -> None:
    codes, given_out = codec.encode(noise(16000), 8000), 0

    def arriving() -> Iterator[np.ndarray]:
        nonlocal given_out
        for piece in cut(codes, [1]):
            given_out += 1
            yield piece

    pieces = codec.decode_stream(arriving())
    next(pieces)
    assert given_out <= 2 * STREAM_SECONDS * 100  # the shaper's window reaches into a second piece
    next(pieces)
    assert given_out <= 3 * STREAM_SECONDS * 100


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([], "there are no codes to decode"),
        ([np.zeros((2, 3)), np.full((2, 1), 16)], "code 16 lies outside the codebook of 16"),
        ([np.zeros((1, 3))], r"codes have the shape \(1, 3\)"),
    ],
)
def test_arriving_codes_that_do_not_fit_are_refused(codec: Codec, pieces: list[np.ndarray], message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(codec.decode_stream(pieces))
