"""Training segments: any step on its own, real context, masks, gains, speakers."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from segments import HOP, LEFT, RATE, RIGHT, dataset, middle, spoil, write_noise
from tiny_training import write_tones

from vqaudio import audio
from vqaudio.errors import JobError, UserError
from vqaudio.model_directory import UNKNOWN_SPEAKER
from vqaudio.training.dataset import speaker_list, take_turns


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_noise(tmp_path)


def test_a_batch_is_a_function_of_the_step(data: Path) -> None:
    first, second = dataset(data), dataset(data)
    for step in (0, 1):
        first.batch(step, size=4, frames=20)
    ours, theirs = first.batch(7, size=4, frames=20), second.batch(7, size=4, frames=20)
    assert all(torch.equal(x, y) for x, y in zip(ours, theirs, strict=True))
    assert not torch.equal(ours.padded, second.batch(8, size=4, frames=20).padded)
    assert not torch.equal(ours.padded, second.batch(7, size=4, frames=20, stream=1).padded)


def test_segments_carry_the_audio_around_them_and_zeros_beyond_the_ends(data: Path) -> None:
    wav, _ = audio.read(data / "a_1.wav")
    around = np.concatenate([np.zeros(LEFT, np.float32), wav, np.zeros(20 * HOP + RIGHT, np.float32)])
    batch = dataset(data).batch(3, size=30, frames=20)
    found = 0
    for row in batch.padded.numpy():
        for start in range(len(wav) - 20 * HOP + 1):
            if np.array_equal(wav[start : start + 40], row[LEFT : LEFT + 40]):
                assert np.array_equal(around[start : start + len(row)], row)
                found += 1
    assert found >= 10


def test_frames_beyond_the_end_are_masked_out(data: Path) -> None:
    segment = dataset(data)._segment(2, 10, 0.0, 1.0, 1.0, 0)
    assert segment.mask.tolist() == [True] + [False] * 9
    assert segment.padded.shape == (LEFT + 10 * HOP + RIGHT,)
    assert segment.padded[LEFT + 31 :].abs().sum() == 0
    assert dataset(data)._segment(0, 100, 0.0, 1.0, 1.0, 0).mask.all()


def test_segments_are_drawn_by_duration(data: Path) -> None:
    speakers = torch.cat([dataset(data).batch(step, size=50, frames=5).speaker for step in range(10)])
    assert (speakers == 1).float().mean() > 0.97
    assert dataset(data).seconds == pytest.approx((8000 + 4000 + 31) / RATE)


def test_recordings_are_scaled_to_the_level_as_a_whole(data: Path) -> None:
    wav, _ = audio.read(data / "a_1.wav")
    levelled = 10 ** (-26 / 20) * (wav - wav.mean()) / wav.std()  # as in Codec.encode
    padded = middle(dataset(data, level_db=-26.0), "a_1", 10).padded[0, LEFT : LEFT + 800].numpy()
    assert np.allclose(padded, levelled[3600:4400], atol=1e-6)


def test_a_segment_played_faster_has_a_higher_pitch(tmp_path: Path) -> None:
    time = np.arange(2 * RATE) / RATE
    soundfile.write(tmp_path / "a.wav", 0.3 * np.sin(2 * np.pi * 400 * time), RATE)
    (tmp_path / "wav.scp").write_text(f"a {tmp_path / 'a.wav'}\n")
    (tmp_path / "utt2spk").write_text("a a\n")
    inside = dataset(tmp_path).batch(0, size=20, frames=50, speed=0.25).padded[:, LEFT + 800 : LEFT + 3200]
    pitches = (inside[:, 1:].sign() != inside[:, :-1].sign()).sum(1) / 2 / (2400 / RATE)  # Hz, by zero crossings
    assert 315 < pitches.min() < 370
    assert 430 < pitches.max() < 505


def test_speaker_dropout_and_new_speakers_become_unknown(data: Path) -> None:
    assert speaker_list(data) == [UNKNOWN_SPEAKER, "a", "b"]
    batch = dataset(data, speaker_dropout=0.5).batch(0, size=400, frames=5)
    assert (batch.speaker == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert middle(dataset(data, speakers=[UNKNOWN_SPEAKER, "b"]), "a_1", 5).speaker.tolist() == [0]


def test_validation_takes_the_middle_and_always_the_same(data: Path) -> None:
    wav, _ = audio.read(data / "a_1.wav")
    batch = middle(dataset(data), "a_1", 20)
    assert np.array_equal(batch.padded[0].numpy(), wav[3200 - LEFT : 3200 + 20 * HOP + RIGHT])
    first, second = (list(dataset(data, seed=seed).middles(3, 20)) for seed in (0, 1))
    assert all(torch.equal(x.padded, y.padded) for x, y in zip(first, second, strict=True))
    assert len(first) == len(list(dataset(data).middles(9, 20))) == 3
    assert len(list(dataset(data).middles(2, 20))) == 2
    assert middle(dataset(data), "b_1", 20).padded.shape == (1, LEFT + HOP + RIGHT)  # 31 samples are one frame


@pytest.mark.parametrize("count", range(1, 13))
def test_speakers_take_turns_in_validation(count: int) -> None:
    speakers = ["a"] * 3 + ["b"] * 6 + ["c"] * 3
    rows = take_turns(speakers)
    assert sorted(rows) == list(range(12))
    chosen = [speakers[row] for row in rows[:count]]
    counts = [chosen.count(name) for name in "abc"]
    assert max(counts) - min(counts) <= 1 if count <= 9 else counts == [3, count - 6, 3]


def test_turns_do_not_follow_the_order_of_names() -> None:
    speakers = [f"{gender}{i:02}" for gender in "fm" for i in range(20)]
    chosen = [speakers[row][0] for row in take_turns(speakers)[:16]]
    assert 4 <= chosen.count("f") <= 12


@pytest.mark.parametrize("how", ["NaN", "truncated", "deleted"])
def test_an_utterance_that_cannot_be_read_is_skipped_and_moves_no_other_segment(tmp_path, how, caplog) -> None:
    data = write_tones(tmp_path / "data")
    (data / "utt2dur").write_text("".join(f"s{s}_{u} 0.6\n" for s in range(2) for u in range(3)))  # no header is read
    steps = range(4)
    whole = [dataset(data).batch(step, size=8, frames=5, speed=0.1) for step in steps]
    spoil(data / "s1_0.wav", how)
    source = dataset(data)
    skipped = [source.batch(step, size=8, frames=5, speed=0.1) for step in steps]
    assert list(source.recordings.unreadable) == ["s1_0"]
    assert caplog.text.count("utterance s1_0 is skipped") == 1
    moved = torch.cat([(x.padded != y.padded).any(1) for x, y in zip(whole, skipped, strict=True)])
    assert 2 < moved.sum() < 12  # a sixth of 32 segments
    for step in (3, 1):  # a resumed run has not seen the steps before
        again = dataset(data).batch(step, size=8, frames=5, speed=0.1)
        assert all(torch.equal(x, y) for x, y in zip(skipped[step], again, strict=True))


def test_an_utterance_that_is_repaired_is_used_again(data: Path) -> None:
    content = (data / "a_2.wav").read_bytes()
    (data / "utt2dur").write_text("a_2 0.5\n")
    source = dataset(data)
    expected = source.batch(0, size=20, frames=5)
    (data / "a_2.wav").unlink()
    source.batch(0, size=20, frames=5)
    assert list(source.recordings.unreadable) == ["a_2"]
    (data / "a_2.wav").write_bytes(content)
    assert torch.equal(source.batch(0, size=20, frames=5).padded, expected.padded)
    assert not source.recordings.unreadable


def test_validation_skips_what_cannot_be_read(data: Path) -> None:
    whole = list(dataset(data).middles(3, 20))
    spoil(data / "a_2.wav", "NaN")
    source = dataset(data)
    found = list(source.middles(3, 20))
    assert len(found) == 2
    assert all(any(torch.equal(x.padded, y.padded) for y in whole) for x in found)
    assert list(source.recordings.unreadable) == ["a_2"]


def test_speech_that_cannot_be_read_at_all_ends_the_job(data: Path) -> None:
    source = dataset(data)
    for name in ("a_1", "a_2", "b_1"):
        (data / f"{name}.wav").unlink()
    with pytest.raises(JobError, match="2 of 3 utterances cannot be read, more than 50 %"):
        source.batch(0, size=4, frames=5)


def test_many_unreadable_utterances_in_a_row_end_the_job(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vqaudio.training.recordings.MAX_UNREADABLE", 1.0)
    source = dataset(data)
    for name in ("a_1", "a_2", "b_1"):
        (data / f"{name}.wav").unlink()
    with pytest.raises(JobError, match="101 utterances drawn in a row cannot be read; vqaudio data validate"):
        source.batch(0, size=4, frames=5)


def test_an_utt2dur_that_promises_too_much_does_not_lose_the_utterance(data: Path) -> None:
    (data / "utt2dur").write_text("a_1 3.0\na_2 0.5\n")
    source = dataset(data)
    for step in range(3):
        source.batch(step, size=20, frames=5)
    assert not source.recordings.unreadable


def test_an_empty_data_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("")
    (tmp_path / "utt2spk").write_text("")
    with pytest.raises(UserError, match="no utterances; training needs at least one"):
        dataset(tmp_path)
