"""Labels and margins of training segments: those of the whole utterance, wherever it is cut and however fast."""

from pathlib import Path

import numpy as np
import pytest
import torch
from reference import naive_labels
from segments import HOP, LEFT, RIGHT, dataset, middle, spoil, write_noise

from vqaudio import audio
from vqaudio.errors import JobError
from vqaudio.training.dataset import SegmentDataset
from vqaudio.training.labels import LabelSpace


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_noise(tmp_path)


def with_labels(source: SegmentDataset, row: int = 0) -> tuple[SegmentDataset, torch.Tensor]:
    """Let every tenth frame of an utterance be a centroid; return the dataset and the utterance's labels."""
    features = source.labeller.voices.features(row)
    projection = torch.eye(features.shape[1])[:, 26:52]  # of the frame alone
    centroids = (features @ projection)[::10].clone()
    source.labeller.use(LabelSpace(source.labeller.voices.centroids, projection, centroids))
    labels = torch.tensor(naive_labels(features.numpy(), projection.numpy(), centroids.numpy()))
    assert len(labels.unique()) == len(centroids)
    return source, labels


def test_labels_of_a_segment_are_those_of_its_frames_in_the_whole_utterance(data: Path) -> None:
    source, whole = with_labels(dataset(data))
    assert torch.equal(middle(source, "a_1", 100).labels[0], whole)
    assert torch.equal(middle(source, "a_1", 20).labels[0], whole[40:60])
    assert torch.equal(source._segment(0, 30, 0.0, 1.0, 1.0, 0).labels, whole[:30])
    assert torch.equal(source._segment(0, 30, 0.999999, 1.0, 1.0, 0).labels, whole[70:])


@pytest.mark.parametrize("speed", [0.8, 1.25, 1.1])
@pytest.mark.parametrize("margin", [0, 4])
def test_labels_follow_the_speed_and_are_0_outside_the_utterance(data: Path, speed: float, margin: int) -> None:
    source, whole = with_labels(dataset(data))
    frames = int(100 / speed)
    segment = source._segment(0, frames, 0.0, 1.0, speed, margin)  # frame n is frame speed (n + ½) − ½ of the utterance
    rows = [round(speed * (n + 0.5) - 0.5) for n in range(-margin, frames + margin)]
    inside = [n >= 0 and speed * n * HOP < 8000 for n in range(-margin, frames + margin)]
    expected = [int(whole[min(row, 99)]) if ok else 0 for row, ok in zip(rows, inside, strict=True)]
    assert segment.mask.tolist() == inside
    assert segment.labels.tolist() == expected


def test_labels_stay_with_the_audio_at_any_place_of_a_margin(data: Path) -> None:
    source, whole = with_labels(dataset(data))
    for where in (0.0, 0.3, 0.999999):
        for margin in (0, 3, 30):
            segment = source._segment(0, 20, where, 1.0, 1.0, margin)
            first = int(where * (8000 - 20 * HOP + 1))
            starts = [first + (n - margin) * HOP for n in range(20 + 2 * margin)]
            expected = [int(whole[min(99, round(start / HOP))]) if 0 <= start < 8000 else 0 for start in starts]
            assert segment.labels.tolist() == expected, (where, margin)


@pytest.mark.parametrize("margin", [2, 7, 200])
def test_margins_beyond_the_utterance_are_zeros_and_masked_out_on_both_sides(data: Path, margin: int) -> None:
    wav, _ = audio.read(data / "a_2.wav")
    segment = dataset(data)._segment(1, 60, 0.5, 1.0, 1.0, margin)  # ten frames longer than the utterance
    assert segment.mask.tolist() == [False] * margin + [True] * 50 + [False] * (10 + margin)
    before, after = LEFT + margin * HOP, (10 + margin) * HOP + RIGHT
    expected = np.concatenate([np.zeros(before), wav, np.zeros(after)])
    assert np.array_equal(segment.padded.numpy(), expected.astype(np.float32))


@pytest.mark.parametrize("speed", [1.0, 0.9, 1.2])
def test_a_margin_only_adds_to_the_segment(data: Path, speed: float) -> None:
    source, margin = dataset(data), 3
    for where in (0.0, 0.4, 0.999999):
        with_margin = source._segment(0, 20, where, 1.0, speed, margin)
        without = source._segment(0, 20, where, 1.0, speed, 0)
        inner = with_margin.padded[margin * HOP : -margin * HOP]
        assert torch.equal(with_margin.mask[margin:-margin], without.mask)
        torch.testing.assert_close(inner, without.padded, atol=1e-5, rtol=0)
        assert torch.equal(with_margin.labels[margin:-margin], without.labels)


def test_batches_with_a_margin_are_a_function_of_the_step(data: Path) -> None:
    options = {"size": 8, "frames": 10, "margin": 4}
    first, second = dataset(data), dataset(data)
    second.batch(2, **options)
    ours, theirs = first.batch(5, **options), second.batch(5, **options)
    assert all(torch.equal(x, y) for x, y in zip(ours, theirs, strict=True))
    assert ours.mask.shape == ours.labels.shape == (8, 18)
    assert ours.padded.shape == (8, LEFT + 18 * HOP + RIGHT)
    assert not torch.equal(ours.padded, first.batch(6, **options).padded)


def test_label_features_are_of_whole_utterances_until_there_are_enough(data: Path) -> None:
    source = dataset(data)
    features = [source.labeller.voices.features(row) for row in range(3)]
    everything = source.label_features(10_000)
    assert sorted(map(len, everything)) == [1, 50, 100]
    assert all(any(torch.equal(x, y) for y in features) for x in everything)
    assert len(torch.cat(source.label_features(len(everything[0])))) == len(everything[0])
    assert [len(x) for x in dataset(data).label_features(10_000)] == [len(x) for x in everything]


def test_label_features_skip_what_cannot_be_read_but_not_most_of_it(data: Path) -> None:
    source = dataset(data)
    spoil(data / "a_2.wav", "NaN")
    assert sorted(map(len, source.label_features(10_000))) == [1, 100]
    spoil(data / "a_1.wav", "NaN")
    with pytest.raises(JobError, match="2 of 3 utterances cannot be read, more than 50 %"):
        source.label_features(10_000)
