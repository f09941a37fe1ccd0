"""The labels of frames: nearest centroids of MFCC normalised over the whole utterance."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from audio_makers import voice
from reference import naive_labels

from vqaudio import audio
from vqaudio.errors import UserError
from vqaudio.training.labels import Labeller
from vqaudio.training.recordings import Recordings

RATE, HOP, OFFSETS = 8000, 80, [-3, 0, 2]  # in frames


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two utterances of 0.6 s and one of a frame and a half."""
    for name, seconds, seed in (("a", 0.6, 0), ("b", 0.6, 1), ("c", 1.5 * HOP / RATE, 2)):
        soundfile.write(tmp_path / f"{name}.wav", voice(seconds, seed, RATE), RATE)
    (tmp_path / "wav.scp").write_text("".join(f"{name} {tmp_path / name}.wav\n" for name in "abc"))
    (tmp_path / "utt2spk").write_text("a s\nb s\nc s\n")
    return tmp_path


def labeller_of(data: Path, coefficients: int = 13, level_db: float | None = None) -> Labeller:
    return Labeller(
        Recordings(data, sample_rate=RATE, level_db=level_db), HOP, coefficients, [n * HOP / RATE for n in OFFSETS]
    )


def centroids_of(labeller: Labeller, seed: int = 0, count: int = 20) -> torch.Tensor:
    return torch.randn(count, labeller.centroids.shape[1], generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("coefficients", "level_db"), [(13, None), (39, -40.0)])
def test_labels_are_the_nearest_centroids_of_the_normalised_mfcc_around_each_frame(
    data: Path, coefficients: int, level_db: float | None
) -> None:
    labeller = labeller_of(data, coefficients, level_db)
    centroids = centroids_of(labeller)
    labeller.use(centroids)
    for row, name, frames in ((0, "a", 60), (1, "b", 60)):
        wav, _ = audio.read(data / f"{name}.wav")
        if level_db is not None:
            wav = 10 ** (level_db / 20) * (wav - wav.mean()) / wav.std()
        labels = labeller.labels(row)
        assert labels.dtype == np.int32
        assert labels.tolist() == naive_labels(wav, centroids, RATE, HOP, coefficients, OFFSETS)
        assert labels.shape == (frames,)
        assert len(set(labels.tolist())) > 2
    assert labeller.labels(2).shape == (2,)


def test_features_are_frames_at_offsets_each_normalised_over_the_utterance(data: Path) -> None:
    features = labeller_of(data).features(0).view(60, len(OFFSETS), 13)
    assert torch.equal(features[0, 0], features[0, 1])  # beyond the end the outermost frame is repeated
    assert torch.equal(features[58, 2], features[59, 1])
    assert torch.equal(features[20, 0], features[17, 1])
    torch.testing.assert_close(features[:, 1].mean(0), torch.zeros(13), atol=1e-4, rtol=0)
    torch.testing.assert_close(features[:, 1].std(0, correction=0), torch.ones(13), atol=1e-3, rtol=0)


def test_labels_are_made_once_and_again_for_other_centroids(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labeller = labeller_of(data)
    assert labeller.labels(0).tolist() == [0] * 60  # there are no centroids yet
    first, second = centroids_of(labeller, 0), centroids_of(labeller, 1)
    labeller.use(first)
    wav, _ = audio.read(data / "a.wav")
    labels = labeller.labels(0)
    assert labels.any()
    labeller.use(second)
    assert labeller.labels(0).tolist() == naive_labels(wav, second, RATE, HOP, 13, OFFSETS) != labels.tolist()
    (data / "a.wav").unlink()
    assert labeller.labels(0).any()  # nothing is read again


def test_silence_has_labels_and_an_unreadable_utterance_none(data: Path) -> None:
    soundfile.write(data / "b.wav", np.zeros(4000), RATE)
    labeller = labeller_of(data)
    labeller.use(centroids_of(labeller))
    assert labeller.features(1).isfinite().all()
    (data / "a.wav").unlink()
    for _ in range(2):  # nothing is kept of a failure: the file may be repaired
        with pytest.raises(UserError, match=r"a\.wav"):
            labeller.labels(0)
