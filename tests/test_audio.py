"""Audio files, resampling, levels, mu-law and emphasis."""

import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio import audio
from vqaudio.errors import JobError, UserError


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(samples) * 0.1).clip(-1, 1).astype(np.float32)


@pytest.fixture
def wav(tmp_path) -> Path:
    """One second of noise at 16 kHz."""
    audio.write(tmp_path / "a.wav", noise(16000), 16000)
    return tmp_path / "a.wav"


@pytest.fixture(autouse=True, scope="module")
def _no_fsync():
    """Write without waiting for the disk: many files are written here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One folder for all the examples of a test."""
    return tmp_path_factory.mktemp("folder")


def truncate(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV"])
def test_sixteen_bit_audio_survives_a_round_trip_unchanged(tmp_path, suffix):
    pcm = np.array([-32768, -32767, -1, 0, 1, 12345, 32767], dtype=np.int16)
    path = tmp_path / f"with a space{suffix}"
    audio.write(path, pcm / np.float32(32768), 8000)
    assert soundfile.info(path).subtype == "PCM_16"
    wav, rate = audio.read(path)
    assert rate == 8000
    assert wav.dtype == np.float32
    assert np.array_equal(wav * 32768, pcm)


def test_few_loud_samples_are_clipped_and_counted_and_do_not_wrap(tmp_path):
    loud = np.concatenate([[2.0, 1.0, -1.0, -2.0], noise(2000)])
    assert audio.write(tmp_path / "a.wav", loud, 8000) == 2
    assert (audio.read(tmp_path / "a.wav")[0][:4] * 32768).tolist() == [32767, 32767, -32768, -32768]
    assert audio.write(tmp_path / "a.wav", noise(100), 8000) == 0


def test_a_wav_that_would_be_a_square_wave_is_not_written(tmp_path):
    with pytest.raises(
        JobError, match=r"a\.wav: not written, since \d+ of 2000 samples are outside −1\.\.1, up to [\d.]+;"
    ):
        audio.write(tmp_path / "a.wav", noise(2000) * 32768, 8000)
    with pytest.raises(JobError, match=r"since 2 of 1000 samples"):
        audio.write(tmp_path / "a.wav", np.concatenate([[1.1, -1.1], noise(998)]), 8000)
    assert not list(tmp_path.iterdir())


def test_other_suffixes_and_non_finite_samples_are_not_written(tmp_path):
    with pytest.raises(UserError, match=r"written as \.wav or \.flac, not '\.mp3'"):
        audio.write(tmp_path / "a.mp3", noise(10), 8000)
    with pytest.raises(JobError, match="1 of 3 samples are not finite"):
        audio.write(tmp_path / "a.wav", np.array([0, np.nan, 0]), 8000)
    assert not list(tmp_path.iterdir())


def test_info_returns_rate_length_and_channels(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((4410, 2)), 44100)
    info = audio.info(tmp_path / "a.wav")
    assert info == (44100, 4410, 2)
    assert info.duration == 0.1


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([noise(100), noise(100, 1)], axis=1), 8000, subtype="FLOAT")
    assert np.array_equal(audio.read(tmp_path / "a.wav")[0], (noise(100) + noise(100, 1)) / 2)


def test_three_samples_are_three_samples(tmp_path):
    audio.write(tmp_path / "a.wav", noise(3), 16000)
    assert audio.read(tmp_path / "a.wav")[0].shape == (3,)
    assert audio.read(tmp_path / "a.wav", 48000)[0].shape == (9,)


def test_times_are_rounded_to_samples(wav):
    whole, _ = audio.read(wav)
    part, _ = audio.read(wav, start=0.10003, end=0.2)
    assert np.array_equal(part, whole[1600:3200])
    assert np.array_equal(audio.read(wav, end=0.5)[0], whole[:8000])
    assert np.array_equal(audio.read(wav, start=0.5)[0], whole[8000:])


@pytest.mark.parametrize("end", [1.004, 1.3, 1.5])
def test_a_segment_that_ends_up_to_half_a_second_after_its_audio_is_cut_there(wav, end):
    assert len(audio.read(wav, start=0.9, end=end)[0]) == 1600
    with pytest.raises(UserError, match=r"segment ends at 1\.51 s, the audio at 1 s"):
        audio.read(wav, end=1.51)


@pytest.mark.parametrize(
    ("start", "end"), [(-0.1, None), (0.5, 0.5), (0.5, 0.4), (1.0, None), (0, np.inf), (np.nan, 1)]
)
def test_times_without_audio_are_refused(wav, start, end):
    with pytest.raises(UserError, match=r"a\.wav: no audio from"):
        audio.read(wav, start=start, end=end)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5000), st.integers(1, 4000), st.sampled_from([8000, 16000, 22050, 48000]))
def test_blocks_are_read_cut_up(folder, samples, block, rate):
    path = folder / "a.wav"
    audio.write(path, noise(samples), 16000)
    whole, _ = audio.read(path, rate)
    pieces = list(audio.blocks(path, rate, block))
    assert np.array_equal(np.concatenate(pieces), whole)
    assert {len(piece) for piece in pieces[:-1]} <= {block}
    assert 0 < len(pieces[-1]) <= block


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_streaming_resamples_as_all_at_once(tmp_path, rate):
    audio.write(tmp_path / "a.wav", noise(200_000), 16000)  # longer than what is decoded at a time
    wav, _ = audio.read(tmp_path / "a.wav")
    streamed, _ = audio.read(tmp_path / "a.wav", rate)
    assert np.array_equal(streamed, audio.resample(wav, 16000, rate))
    assert abs(len(streamed) - len(wav) * rate / 16000) <= 1


def test_resampling_keeps_a_tone_and_removes_what_does_not_fit():
    time = np.arange(48000) / 48000
    low, high = np.sin(2 * np.pi * 440 * time), np.sin(2 * np.pi * 15000 * time)
    wav = audio.resample((low + high).astype(np.float32), 48000, 16000)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(wav - expected)[500:-500].max() < 1e-3


def test_too_short_for_one_sample_at_the_new_rate_is_an_error(tmp_path):
    audio.write(tmp_path / "a.wav", noise(1), 48000)
    with pytest.raises(UserError, match="1 samples at 48000 Hz are less than one at 16000 Hz"):
        audio.read(tmp_path / "a.wav", 16000)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff", ".au", ".w64", ".mp3"])
def test_truncated_files_are_refused(tmp_path, suffix, share):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, noise(48000), 16000)
    assert len(audio.read(path)[0]) == 48000
    with pytest.raises(UserError, match=f"a{suffix}: (truncated|cannot be decoded|holds no samples)"):
        audio.read(truncate(path, share))


def test_a_wav_written_to_a_pipe_declares_no_size_and_is_read(wav):
    data = bytearray(wav.read_bytes())
    data[40:44] = b"\xff\xff\xff\xff"
    wav.write_bytes(data)
    assert len(audio.read(wav)[0]) == 16000


def test_damage_in_the_middle_is_refused(tmp_path):
    path = tmp_path / "a.flac"
    audio.write(path, noise(48000), 16000)
    data = bytearray(path.read_bytes())
    data[40000:40100] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.flac: (truncated|cannot be decoded)"):
        audio.read(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_samples_are_refused_with_their_place(tmp_path, value):
    samples = noise(70_000)
    samples[66_000] = value
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    with pytest.raises(UserError, match=r"a\.wav: sample 66000 is NaN or infinite"):
        audio.read(tmp_path / "a.wav", 16000)


def test_what_is_not_audio_is_refused_by_name(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("not audio at all\n" * 100)
    (tmp_path / "data.raw").write_bytes(bytes(100))
    soundfile.write(tmp_path / "header.wav", np.zeros(0), 16000)
    for name, reason in [
        ("empty.wav", "empty file"),
        ("text.wav", "cannot be decoded"),
        ("data.raw", "cannot be decoded"),
        ("header.wav", "holds no samples"),
        ("missing.wav", "no such file"),
        (".", "not a plain file"),
        ("a\0b", "cannot be decoded"),
        ("x" * 300, "File name too long"),
    ]:
        for action in (audio.info, audio.read):
            with pytest.raises(UserError, match=reason) as caught:
                action(tmp_path / name)
            assert str(tmp_path / name).replace("\0", "\\x00") in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_an_hour_long_file_streams_in_constant_memory(tmp_path):
    path = tmp_path / "hour.flac"
    with soundfile.SoundFile(path, "w", 8000, 1, subtype="PCM_16") as file:
        for _ in range(60):
            file.write(np.zeros(8000 * 60, dtype=np.int16))
    audio.read(path, 16000, end=1.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(len(piece) for piece in audio.blocks(path, 16000, 4096)) == 3600 * 16000
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 30_000, f"{grown} KiB more; the whole file would be 230,000"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 90_000), min_size=1, max_size=4), st.sampled_from([0.0, 1e-4, -0.02, 0.7]))
def test_the_level_does_not_depend_on_blocks(sizes, offset):
    wav = noise(sum(sizes)) + np.float32(offset)
    pieces = np.split(wav, np.cumsum(sizes)[:-1])
    change = audio.level_change(wav, -23.0)
    assert audio.level_change(iter(pieces), -23.0) == change
    levelled = np.concatenate([change.apply(piece) for piece in pieces])
    assert np.array_equal(levelled, change.apply(wav))
    assert levelled.dtype == np.float32
    if len(wav) > 3:
        assert np.mean(levelled, dtype=np.float64) == pytest.approx(0, abs=1e-6)
        assert 20 * np.log10(np.sqrt(np.mean(levelled.astype(np.float64) ** 2))) == pytest.approx(-23.0, abs=1e-3)


def test_an_offset_does_not_change_what_is_levelled():
    wav = noise(50_000)
    expected = audio.level_change(wav, -26.0).apply(wav)
    for offset in (1e-4, 0.005, 0.05, -0.5):
        shifted = wav + np.float32(offset)
        assert np.abs(audio.level_change(shifted, -26.0).apply(shifted) - expected).max() < 1e-6


def test_the_level_leaves_silence_alone_and_its_factor_is_limited():
    assert audio.level_change(np.zeros(100, np.float32), -20.0) == (0.0, 1.0)
    assert audio.level_change(iter([]), -20.0) == (0.0, 1.0)
    assert audio.level_change(noise(100) + 1, None) == (0.0, 1.0)
    assert audio.level_change(noise(100) * np.float32(1e-5), -20.0).gain == 100.0
    constant = np.full(100_000, 0.3, np.float32)
    assert not audio.level_change(constant, -20.0).apply(constant).any()


def test_mu_law_is_the_definition_and_clips():
    wav = torch.tensor([-7.0, -1.0, -0.3, -0.01, 0.0, 0.01, 0.3, 1.0, 7.0])
    codes = audio.mu_law_encode(wav, 256)
    x = wav.clamp(-1, 1).double()
    companded = x.sign() * torch.log1p(255 * x.abs()) / np.log(256)
    assert codes.dtype == torch.int64
    assert codes.tolist() == ((companded + 1) / 2 * 255 + 0.5).floor().long().tolist()


@pytest.mark.parametrize("levels", [16, 256])
def test_mu_law_codes_survive_decoding_and_encoding(levels):
    codes = torch.arange(levels)
    wav = audio.mu_law_decode(codes, levels)
    assert wav.dtype == torch.float32
    assert wav.abs().max() <= 1
    assert torch.equal(audio.mu_law_encode(wav, levels), codes)


def test_de_emphasis_undoes_pre_emphasis():
    wav = noise(1000)
    emphasised = audio.pre_emphasis(torch.from_numpy(wav).expand(2, -1), 0.9)
    assert emphasised[0, 0] == wav[0]
    assert emphasised[1, 7].item() == pytest.approx(wav[7] - 0.9 * wav[6])
    restored = audio.de_emphasis(emphasised[0].numpy(), 0.9)
    assert restored.dtype == np.float32
    assert np.abs(restored - wav).max() < 1e-6
