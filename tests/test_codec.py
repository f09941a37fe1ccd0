"""Speech to codes and back: the same result however a recording reaches the model."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import save_tiny_model

import vqaudio
from vqaudio import audio
from vqaudio.audio.streams import ahead, windows
from vqaudio.codec import Codec, utterance_seed
from vqaudio.errors import UserError
from vqaudio.sampling import generate, generate_reference
from vqaudio.threads import one_thread


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def codec(model_dir) -> Codec:
    return vqaudio.load(model_dir)


@pytest.fixture(scope="module")
def unshaped(tmp_path_factory) -> Codec:
    """The same model, whose samples are speech as they are."""
    return vqaudio.load(save_tiny_model(tmp_path_factory.mktemp("unshaped"), strength=0.0))


def noise(samples: int, seed: int = 0) -> np.ndarray:
    swell = 0.5 + 0.4 * np.sin(np.arange(samples) / 3000)
    return (0.2 * swell * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def unchunked(codec: Codec, wav: np.ndarray) -> np.ndarray:
    offset = np.mean(wav, dtype=np.float64)
    rms = np.sqrt(np.mean(np.square(wav, dtype=np.float64)) - offset**2)
    gain = 10 ** (-26 / 20) / rms if rms > 1e-6 * abs(offset) else 1.0
    levelled = (wav - np.float32(offset)) * np.float32(gain)
    with torch.inference_mode():
        return codec.model.encode(torch.from_numpy(levelled).unsqueeze(0))[0].numpy()


@pytest.mark.parametrize("samples", [1, 3, 79, 80, 81, 15999, 16000, 16001, 16080, 50000, 3 * 16000])
def test_chunked_codes_equal_those_of_the_whole(codec, samples):
    wav = noise(samples)
    codes = codec.encode(wav, 8000)
    assert codes.dtype == np.int64
    assert codes.shape == (1, -(-samples // 80))
    np.testing.assert_array_equal(codes, unchunked(codec, wav))


def test_a_tiny_model_uses_its_codes(codec):
    assert len(np.unique(codec.encode(noise(40000), 8000))) > 12  # else the tests above would compare constants


@given(st.integers(0, 400), st.integers(0, 9), st.integers(1, 30), st.integers(0, 9), st.integers(1, 50))
@settings(max_examples=80, deadline=None)
def test_windows_cut_the_stream_padded_with_zeros(samples, left, step, right, block):
    stream = np.arange(1, samples + 1, dtype=np.float32)
    found = list(windows((stream[i : i + block] for i in range(0, samples, block)), left, step, right))
    count = -(-samples // step)
    padded = np.concatenate([np.zeros(left), stream, np.zeros(count * step - samples + right)])
    assert len(found) == count
    for i, (window, valid) in enumerate(found):
        np.testing.assert_array_equal(window, padded[i * step : i * step + left + step + right])
        assert valid == min(step, samples - i * step)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_file_gives_the_codes_of_its_samples(codec, tmp_path, name):
    soundfile.write(tmp_path / name, noise(50000), 8000, subtype="PCM_16")
    wav, _ = soundfile.read(tmp_path / name, dtype="float32")
    np.testing.assert_array_equal(codec.encode_file(tmp_path / name), codec.encode(wav, 8000))
    part = codec.encode_file(tmp_path / name, start=1.0, end=3.5)
    np.testing.assert_array_equal(part, codec.encode(wav[8000:28000], 8000))


def test_a_file_of_another_rate_and_several_channels_is_converted(codec, tmp_path):
    wav = noise(48000)
    soundfile.write(tmp_path / "a.wav", np.stack([wav, wav], axis=1), 22050, subtype="FLOAT")
    codes = codec.encode_file(tmp_path / "a.wav")
    np.testing.assert_array_equal(codes, codec.encode(wav, 22050))
    assert codes.shape[1] == -(-round(48000 * 8000 / 22050) // 80)


def test_codes_do_not_depend_on_loudness(codec):
    wav = noise(20000)
    np.testing.assert_array_equal(codec.encode(wav, 8000), codec.encode(0.25 * wav, 8000))


def test_a_file_of_channels_that_cancel_is_an_error(codec, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([noise(8000), -0.98 * noise(8000)], axis=1), 8000)
    with pytest.raises(UserError, match=r"a\.wav: its 2 channels cancel: their average is 40 dB below them; write one"):
        codec.encode_file(tmp_path / "a.wav")


@pytest.mark.parametrize("offset", [0.001, 0.005, -0.05, 0.4])
def test_an_offset_hardly_changes_codes(codec, offset):
    wav = noise(40000)
    assert np.mean(codec.encode(wav, 8000) == codec.encode(wav + np.float32(offset), 8000)) > 0.99


def test_without_a_level_loudness_is_left_as_it_is(tmp_path):
    codec = vqaudio.load(save_tiny_model(tmp_path, level_db=None))
    wav = noise(20000)
    with torch.inference_mode():
        expected = codec.model.encode(torch.from_numpy(wav).unsqueeze(0))[0].numpy()
    np.testing.assert_array_equal(codec.encode(wav, 8000), expected)


def test_codes_do_not_depend_on_the_number_of_threads(codec):
    wavs = [noise(9000 + 1000 * i, seed=i) for i in range(6)]
    alone = [codec.encode(wav, 8000) for wav in wavs]
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(3) as pool:
            together = list(pool.map(lambda wav: codec.encode(wav, 8000), wavs))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_threads_that_overlap_on_one_thread_leave_the_setting_of_before() -> None:
    found, inside, first_left = {}, Event(), Event()

    def second() -> None:
        with one_thread():
            found["second inside"] = torch.get_num_threads()
            inside.set()
            first_left.wait(30)
            found["second after the first left"] = torch.get_num_threads()
        found["second outside"] = torch.get_num_threads()

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with one_thread():
            thread = Thread(target=second)
            thread.start()
            inside.wait(30)
        first_left.set()
        thread.join()
        later = Thread(target=lambda: found.update(later=torch.get_num_threads()))
        later.start()
        later.join()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert found == {"second inside": 1, "second after the first left": 1, "second outside": 3, "later": 3}


@pytest.mark.parametrize(
    ("wav", "message"),
    [
        (np.zeros(0), r"shape \(0,\)"),
        (np.zeros((2, 100)), r"shape \(2, 100\)"),
        (np.array([0.0, np.nan]), r"wav\[1\] is not finite"),
    ],
)
def test_encode_refuses_what_is_not_a_recording(codec, wav, message):
    with pytest.raises(UserError, match=message):
        codec.encode(wav, 8000)


def test_groups_give_a_row_each(tmp_path):
    codec = vqaudio.load(save_tiny_model(tmp_path, groups=2))
    codes = codec.encode(noise(20000), 8000)
    assert codes.shape == (2, 250)
    assert codec.decode(codes[:, :3]).shape == (240,)


def test_decode_gives_a_hop_of_samples_per_code_and_repeats_with_its_seed(codec):
    codes = codec.encode(noise(1000), 8000)
    wav = codec.decode(codes, speaker="p225", seed=1)
    assert wav.dtype == np.float32
    assert wav.shape == (13 * 80,)
    np.testing.assert_array_equal(wav, codec.decode(torch.from_numpy(codes), speaker="p225", seed=1))
    assert not np.array_equal(wav, codec.decode(codes, speaker="p225", seed=2))
    assert not np.array_equal(wav, codec.decode(codes, speaker="p226", seed=1))
    assert not np.array_equal(wav, codec.decode(codes, speaker=None, seed=1))


def test_decoding_together_equals_decoding_alone(codec):
    codes = [codec.encode(noise(n), 8000) for n in (300, 1500, 700)]
    together = codec.decode_all(codes, ["p225", None, "p226"], [3, 4, 5], threads=2)
    for wav, code, speaker, seed in zip(together, codes, ["p225", None, "p226"], [3, 4, 5], strict=True):
        np.testing.assert_array_equal(wav, codec.decode(code, speaker, seed))


@pytest.mark.parametrize("levels", [64, 300])
def test_a_model_with_another_number_of_levels_decodes(tmp_path, levels):
    codec = vqaudio.load(save_tiny_model(tmp_path, levels=levels, strength=0.0))
    codes = np.array([[1, 2, 3]])
    [expected] = generate_reference(codec.model.decoder, [codec._condition(codes, None)], steps_per_frame=80, seeds=[0])
    assert expected.max() < levels
    wav = audio.de_emphasis(audio.mu_law_decode(expected[:, 0], levels).numpy(), 0.85)
    np.testing.assert_array_equal(codec.decode(codes), wav)


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_decoded_and_streamed_speech_merge_the_bands(tmp_path, bands):
    codec = vqaudio.load(save_tiny_model(tmp_path, bands=bands))
    codes = codec.encode(noise(8000 * 3), 8000)  # longer than a piece of condition
    wav, pieces = codec.decode(codes, "p226", seed=3), list(codec.decode_stream(codes, "p226", seed=3))
    assert wav.shape == (codes.shape[1] * 80,)
    assert len(pieces) > 5
    assert all(map(len, pieces))
    np.testing.assert_array_equal(np.concatenate(pieces), wav)
    short = codec.decode(codes[:, :2], "p226", seed=3)
    condition = codec._condition(codes[:, :2], "p226")
    [levels] = generate_reference(codec.model.decoder, [condition], steps_per_frame=80 // bands, seeds=[3])
    assert levels.shape == (160 // bands, bands)
    with torch.inference_mode():
        mel = codec.model.shaper(condition[None])[0]
    merged = codec.model.bands.decode(levels)
    np.testing.assert_allclose(short, codec.model.shaper.shape(merged, mel), atol=1e-5)
    assert np.abs(short - merged).max() > 1e-2
    np.testing.assert_array_equal(
        np.concatenate(list(codec.decode_stream(codes[:, :1], "p226"))), codec.decode(codes[:, :1], "p226")
    )


def test_decoding_undoes_the_pre_emphasis(unshaped):
    codes = np.array([[1, 2, 3]])
    condition = unshaped._condition(codes, None)
    [levels] = generate(unshaped.model.decoder, [condition], steps_per_frame=80, seeds=[0])
    emphasised = audio.mu_law_decode(levels[:, 0], 256).numpy()
    wav = unshaped.decode(codes, seed=0)
    np.testing.assert_allclose(wav[1:] - 0.85 * wav[:-1], emphasised[1:], atol=1e-5)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.array([[0, 16]]), "code 16 lies outside the codebook of 16"),
        (np.array([[-1, 3]]), "code -1 lies outside the codebook of 16"),
        (np.array([1, 2]), r"shape \(2,\)"),
        (np.zeros((1, 0), dtype=int), r"shape \(1, 0\)"),
        (np.zeros((2, 5), dtype=int), r"shape \(2, 5\)"),
    ],
)
def test_decode_refuses_codes_of_another_codebook(codec, codes, message):
    with pytest.raises(UserError, match=message):
        codec.decode(codes)


def test_an_unknown_speaker_is_refused_with_the_known_ones(codec):
    with pytest.raises(UserError, match=r"'p999' is not one the model was trained on \(p225, p226\)"):
        codec.decode(np.array([[1]]), speaker="p999")


@pytest.mark.parametrize("temperature", [-1.0, float("nan")])
def test_a_temperature_below_zero_is_refused(codec, temperature):
    for decode in (codec.decode, codec.decode_stream):
        with pytest.raises(UserError, match="temperature"):
            decode(np.array([[1]]), temperature=temperature)


def test_unknown_weights_are_refused(codec):
    for decode in (codec.decode, codec.decode_stream):
        with pytest.raises(UserError, match="weights is 'float16'; give float32 or bfloat16"):
            decode(np.array([[1]]), weights="float16")


def test_16_bit_weights_give_other_samples_at_first_the_same(unshaped):
    codes = unshaped.encode(noise(8000 * 5), 8000)
    full, half = unshaped.decode(codes), unshaped.decode(codes, weights="bfloat16")
    assert not np.array_equal(full, half)
    np.testing.assert_array_equal(full[:20], half[:20])


def test_seeds_of_utterances_differ_and_stay():
    assert utterance_seed(0, "a") == 7473381847846152037
    assert len({utterance_seed(seed, utt) for seed in range(3) for utt in "abc"}) == 9


def test_ahead_passes_on_items_and_errors():
    assert [x.tolist() for x in ahead(iter([np.ones(1), np.zeros(2)]))] == [[1], [0, 0]]

    def broken():
        yield np.ones(1)
        raise UserError("cut off")

    with pytest.raises(UserError, match="cut off"):
        list(ahead(broken()))


def test_the_package_encodes_and_decodes_in_one_call(model_dir, codec):
    wav = noise(1000)
    codes = vqaudio.encode(model_dir, wav, 8000)
    np.testing.assert_array_equal(codes, codec.encode(wav, 8000))
    np.testing.assert_array_equal(vqaudio.decode(model_dir, codes, "p226", seed=5), codec.decode(codes, "p226", 5))


def test_importing_the_package_does_not_import_torch():
    code = "import sys, vqaudio; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_streamed_speech_equals_decoded_speech(codec: Codec, weights):
    codes = codec.encode(noise(8000 * 5), 8000)  # longer than two pieces of condition
    pieces = list(codec.decode_stream(codes, "p226", seed=3, weights=weights))
    assert len(pieces) > 5
    assert np.array_equal(np.concatenate(pieces), codec.decode(codes, "p226", seed=3, weights=weights))


def test_a_condition_in_pieces_is_that_of_the_whole(codec: Codec):
    codes = torch.as_tensor(codec.encode(noise(8000 * 5), 8000))
    with torch.inference_mode():
        whole = codec.model.condition(codec.model.quantizer.lookup(codes[None]), torch.tensor([1]))[0]
    torch.testing.assert_close(codec._condition(codes, "p225"), whole, atol=1e-5, rtol=0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_on_a_machine_without_one_is_refused(tmp_path):
    with pytest.raises(UserError, match="torch finds no GPU here; use cpu"):
        vqaudio.load(save_tiny_model(tmp_path / "exp"), "cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_gives_nearly_the_same_codes_and_decodes_them(tmp_path):
    folder = save_tiny_model(tmp_path / "exp")
    wav = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    codes, there = vqaudio.load(folder).encode(wav, 8000), vqaudio.load(folder, "cuda").encode(wav, 8000)
    assert (codes == there).mean() > 0.99
    assert vqaudio.load(folder, "cuda").decode(codes).shape == (16000,)


def test_a_channel_of_a_file_has_the_codes_of_that_channel_alone(codec, tmp_path):
    wav = 0.1 * np.random.default_rng(0).standard_normal((8000, 2))
    soundfile.write(tmp_path / "both.wav", wav, 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "second.wav", wav[:, 1], 8000, subtype="FLOAT")
    expected = codec.encode_file(tmp_path / "second.wav")
    np.testing.assert_array_equal(codec.encode_file(tmp_path / "both.wav", channel=1), expected)
    with pytest.raises(UserError, match=r"both\.wav: has 2 channels, and channel 3 is asked for; correct it"):
        codec.encode_file(tmp_path / "both.wav", channel=2)
