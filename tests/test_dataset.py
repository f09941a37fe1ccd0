"""Training segments: any step on its own, real context, masks, gains, speakers."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vqaudio import audio
from vqaudio.errors import UserError
from vqaudio.features import mfcc
from vqaudio.model_directory import UNKNOWN_SPEAKER
from vqaudio.training.dataset import SegmentDataset, prefetch, speaker_list

RATE, HOP, LEFT, RIGHT = 8000, 80, 200, 120


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three utterances of two speakers: 1 s, 0.5 s and 31 samples."""
    random = np.random.default_rng(0)
    lengths = {"a_1": 8000, "a_2": 4000, "b_1": 31}
    scp = ""
    for utt, length in lengths.items():
        path = tmp_path / f"{utt}.wav"
        soundfile.write(path, random.uniform(-0.5, 0.5, length).astype(np.float32), RATE, subtype="FLOAT")
        scp += f"{utt} {path}\n"
    (tmp_path / "wav.scp").write_text(scp)
    (tmp_path / "utt2spk").write_text("a_1 a\na_2 a\nb_1 b\n")
    return tmp_path


def dataset(data: Path, **changes: object) -> SegmentDataset:
    options = {
        "speakers": speaker_list(data),
        "sample_rate": RATE,
        "level_db": None,
        "hop_length": HOP,
        "left": LEFT,
        "right": RIGHT,
        "speaker_dropout": 0.0,
        "seed": 0,
    }
    return SegmentDataset(data, **{**options, **changes})


def test_a_batch_is_a_function_of_the_step(data: Path) -> None:
    first, second = dataset(data), dataset(data)
    for step in (0, 1):
        first.batch(step, size=4, frames=20, speed=0.0)
    ours, theirs = first.batch(7, size=4, frames=20, speed=0.0), second.batch(7, size=4, frames=20, speed=0.0)
    assert all(torch.equal(x, y) for x, y in zip(ours, theirs, strict=True))
    assert not torch.equal(ours.padded, second.batch(8, size=4, frames=20, speed=0.0).padded)
    assert not torch.equal(ours.padded, second.batch(7, size=4, frames=20, speed=0.0, stream=1).padded)


def test_segments_carry_the_audio_around_them_and_zeros_beyond_the_ends(data: Path) -> None:
    wav, _ = audio.read(data / "a_1.wav")
    around = np.concatenate([np.zeros(LEFT, np.float32), wav, np.zeros(20 * HOP + RIGHT, np.float32)])
    batch = dataset(data).batch(3, size=30, frames=20, speed=0.0)
    found = 0
    for row in batch.padded.numpy():
        for start in range(len(wav) - 20 * HOP + 1):
            if np.array_equal(wav[start : start + 40], row[LEFT : LEFT + 40]):
                assert np.array_equal(around[start : start + len(row)], row)
                found += 1
    assert found >= 10


def test_frames_beyond_the_end_are_masked_out(data: Path) -> None:
    batch = dataset(data).whole(2, 10)
    assert batch.mask.tolist() == [[True] + [False] * 9]
    assert batch.padded.shape == (1, LEFT + 10 * HOP + RIGHT)
    assert batch.padded[0, LEFT + 31 :].abs().sum() == 0
    assert dataset(data).whole(0, 100).mask.all()


def test_segments_are_drawn_by_duration(data: Path) -> None:
    speakers = torch.cat([dataset(data).batch(step, size=50, frames=5, speed=0.0).speaker for step in range(10)])
    assert (speakers == 1).float().mean() > 0.97
    assert dataset(data).seconds == pytest.approx((8000 + 4000 + 31) / RATE)


def test_recordings_are_scaled_to_the_level_as_a_whole(data: Path) -> None:
    wav, _ = audio.read(data / "a_1.wav")
    gain = 10 ** (-26 / 20) / np.sqrt(np.mean(wav**2))
    padded = dataset(data, level_db=-26.0).whole(0, 10).padded[0, LEFT : LEFT + 800].numpy()
    assert np.allclose(padded, wav[:800] * gain, atol=1e-6)


def test_mfcc_are_those_of_the_utterance_normalised_over_it(data: Path) -> None:
    wav, _ = audio.read(data / "a_1.wav")
    whole = mfcc(torch.from_numpy(wav), sample_rate=RATE, hop_length=HOP)
    whole = (whole - whole.mean(0)) / whole.std(0, correction=0)
    source = dataset(data)
    assert torch.allclose(source.whole(0, 100).mfcc[0, 4:90], whole[4:90], atol=1e-3)  # Δ differ at the ends
    faster = source._segment(0, 70, 0.0, 1.0, 1.25)  # frame n of it is frame 1.25 (n + ½) − ½ of the utterance
    rows = [round(1.25 * (n + 0.5) - 0.5) for n in range(70)]
    assert torch.allclose(faster.mfcc[4:64], whole[rows][4:64], atol=1e-3)


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
    batch = dataset(data, speaker_dropout=0.5).batch(0, size=400, frames=5, speed=0.0)
    assert (batch.speaker == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert dataset(data, speakers=[UNKNOWN_SPEAKER, "b"]).whole(0, 5).speaker.tolist() == [0]


def test_prefetching_yields_the_same_batches_in_order_and_passes_errors_on(data: Path) -> None:
    source = dataset(data)
    ahead = prefetch(lambda step: source.batch(step, size=2, frames=5, speed=0.0), 3)
    for step in (3, 4, 5):
        assert torch.equal(next(ahead).padded, source.batch(step, size=2, frames=5, speed=0.0).padded)
    ahead.close()

    def broken(step: int) -> None:
        raise UserError("broken.wav: empty")

    with pytest.raises(UserError, match=r"broken\.wav"):
        next(prefetch(broken, 0))


def test_an_empty_data_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("")
    (tmp_path / "utt2spk").write_text("")
    with pytest.raises(UserError):
        SegmentDataset(
            tmp_path,
            speakers=[UNKNOWN_SPEAKER],
            sample_rate=RATE,
            level_db=None,
            hop_length=HOP,
            left=0,
            right=0,
            speaker_dropout=0.0,
            seed=0,
        )
