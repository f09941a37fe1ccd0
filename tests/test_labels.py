"""The labels of frames: clusters of projected MFCC, whose changes are penalised."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from audio_makers import voice
from reference import cheapest_codes, naive_labels, naive_voice_features, scaled_distances

from vqaudio import audio
from vqaudio.errors import UserError
from vqaudio.model.clustering import kmeans
from vqaudio.training.heads import LabelHead
from vqaudio.training.labels import DIMENSIONS, Labeller, LabelSpace, fit_projection
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


def space_of(labeller: Labeller, seed: int = 0, count: int = 20) -> LabelSpace:
    """A label space without a warp."""
    generator = torch.Generator().manual_seed(seed)
    features = labeller.voices.centroids.shape[1]
    projection = torch.randn(features, 5, generator=generator)
    return LabelSpace(labeller.voices.centroids, projection, 6 * torch.randn(count, 5, generator=generator))


@pytest.mark.parametrize(("coefficients", "level_db"), [(13, None), (39, -40.0)])
def test_labels_are_the_cheapest_clusters_of_the_projected_mfcc_around_each_frame(
    data: Path, coefficients: int, level_db: float | None
) -> None:
    labeller = labeller_of(data, coefficients, level_db)
    space = space_of(labeller)
    labeller.use(space)
    wavs = [audio.read(data / f"{name}.wav")[0] for name in "abc"]
    if level_db is not None:
        wavs = [(10 ** (level_db / 20) * (wav - wav.mean()) / wav.std()).astype(np.float32) for wav in wavs]
    for row, frames in ((0, 60), (1, 60), (2, 2)):
        labels = labeller.labels(row)
        features = naive_voice_features(wavs, row, 1.0, RATE, HOP, coefficients, OFFSETS)
        assert labels.dtype == np.int32
        assert labels.tolist() == naive_labels(features, space.projection.numpy(), space.centroids.numpy())
        assert labels.shape == (frames,)
    assert len(set(labeller.labels(0).tolist())) > 2
    assert (np.diff(labeller.labels(0)) == 0).mean() > 0.3


def test_labels_are_made_once_and_again_in_another_space(data: Path) -> None:
    labeller = labeller_of(data)
    assert labeller.labels(0).tolist() == [0] * 60  # there is no space yet
    labeller.use(space_of(labeller, 0))
    first = labeller.labels(0)
    labeller.use(space_of(labeller, 1))
    second = labeller.labels(0)
    assert first.any()
    assert first.tolist() != second.tolist()
    (data / "a.wav").unlink()
    assert labeller.labels(0).tolist() == second.tolist()  # nothing is read again


def test_silence_has_labels_and_an_unreadable_utterance_none(data: Path) -> None:
    soundfile.write(data / "b.wav", np.zeros(4000), RATE)
    labeller = labeller_of(data)
    labeller.use(space_of(labeller))
    assert labeller.labels(1).shape == (50,)
    (data / "a.wav").unlink()
    for _ in range(2):  # nothing is kept of a failure: the file may be repaired
        with pytest.raises(UserError, match=r"a\.wav"):
            labeller.labels(0)


def clusters_in_noise(clusters: int = 4, noise: float = 30.0) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Utterances whose clusters lie in the first three of eight features; the others are noise of large variance."""
    generator = torch.Generator().manual_seed(0)
    centres = 100 * torch.randn(clusters, 3, generator=generator)
    truth = torch.randint(0, clusters, (6, 40), generator=generator).repeat_interleave(4, dim=1)
    signal = centres[truth] + torch.randn(*truth.shape, 3, generator=generator)
    return list(torch.cat([signal, noise * torch.randn(*truth.shape, 5, generator=generator)], dim=2)), truth


def test_the_projection_finds_the_features_that_tell_clusters_apart_and_makes_their_variance_one() -> None:
    utterances, truth = clusters_in_noise()
    projection = fit_projection(utterances, 4, torch.Generator().manual_seed(0))
    assert projection.shape == (8, 8)
    best = projection[:, :3]
    assert best[3:].abs().max() < 0.01 * best[:3].abs().max()
    projected = torch.cat(utterances) @ projection
    within = [projected[truth.flatten() == k] for k in range(4)]
    covariance = sum(((x - x.mean(0)).T @ (x - x.mean(0)) for x in within), torch.zeros(8, 8)) / len(projected)
    torch.testing.assert_close(covariance, torch.eye(8), atol=2e-2, rtol=0)
    spread = torch.stack([x.mean(0) for x in within]).var(0)
    assert spread.argsort(descending=True)[:3].tolist() == [0, 1, 2]


def test_the_projection_is_that_of_clusters_that_change_seldom() -> None:
    random = torch.Generator().manual_seed(3)
    utterances = [torch.randn(60, 3, generator=random) for _ in range(2)]
    found = fit_projection(utterances, 5, torch.Generator().manual_seed(0))
    centroids = kmeans(torch.cat(utterances), 5, generator=torch.Generator().manual_seed(0)).numpy()
    of_penalty = {}
    for penalty in (0, 1.0):
        labels = np.array(
            [k for x in utterances for k in cheapest_codes(scaled_distances(x.numpy(), centroids), penalty)]
        )
        x = torch.cat(utterances).double().numpy()
        means = np.array([x[labels == k].mean(0) for k in labels])
        within, between = (x - means).T @ (x - means) / len(x), (means - x.mean(0)).T @ (means - x.mean(0)) / len(x)
        root = np.linalg.inv(np.linalg.cholesky(within + 1e-3 * np.eye(3)))
        of_penalty[penalty] = np.abs(root.T @ np.linalg.eigh(root @ between @ root.T)[1][:, ::-1])
    np.testing.assert_allclose(found.abs().numpy(), of_penalty[1.0], atol=1e-4)
    assert np.abs(of_penalty[0] - of_penalty[1.0]).max() > 0.1


def test_the_label_space_has_the_sizes_that_its_head_was_made_for() -> None:
    utterances, truth = clusters_in_noise()
    head = LabelHead(5, 4, 8)
    head.start(torch.zeros(64, 8), utterances, torch.Generator().manual_seed(0))
    assert head.started
    assert head.space.projection.shape == (8, 8)
    assert head.space.centroids.shape == (4, 8)
    assert LabelHead(5, 4, 130).space.projection.shape == (130, DIMENSIONS)
    labels = ((torch.cat(utterances) @ head.projection)[:, None] - head.centroids).square().sum(2).argmin(1)
    assert len(set(zip(truth.flatten().tolist(), labels.tolist(), strict=True))) == 4
