import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.model.clustering import kmeans, nearest, nearest_label, rows_at_once


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(k: int, each: int, spread: float = 0.05, offset: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Well separated clusters: points (k · each, 2) and their centres on a circle of radius 10."""
    angles = torch.arange(k) * 2 * torch.pi / k
    centres = 10 * torch.stack([angles.cos(), angles.sin()], dim=1) + offset
    return centres.repeat_interleave(each, 0) + spread * torch.randn(k * each, 2, generator=generator(1)), centres


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 5), st.integers(0, 1000))
def test_nearest_is_the_row_of_least_squared_distance(n, k, d, seed):
    x, centroids = torch.randn(n, d, generator=generator(seed)), torch.randn(k, d, generator=generator(seed + 1))
    labels, distances = nearest(x, centroids)
    expected = (x[:, None] - centroids[None]).square().sum(dim=2)
    assert torch.equal(labels, expected.argmin(dim=1))
    torch.testing.assert_close(distances, expected.min(dim=1).values, atol=1e-5, rtol=1e-4)


def test_nearest_is_the_same_across_the_rows_it_takes_at_once():
    x = torch.randn(rows_at_once(4, torch.device("cpu")) + 5, 3, generator=generator())
    assert torch.equal(nearest(x, x[:4])[0][-9:], nearest(x[-9:], x[:4])[0])
    assert torch.equal(nearest(x, x[:4])[0], nearest_label(x, x[:4]))


def test_ties_go_to_the_lowest_index():
    assert nearest(torch.zeros(3, 2), torch.ones(4, 2))[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_separate_clusters_are_all_found(seed, offset):
    points, centres = blobs(12, 50, offset=offset)
    found = kmeans(points, 12, generator=generator(seed))
    assert torch.cdist(centres, found).min(dim=1).values.max() < 0.1


def test_centroids_are_the_means_of_their_clusters():
    x = torch.randn(500, 4, generator=generator())
    centroids = kmeans(x, 7, generator=generator(), iterations=200)
    labels, _ = nearest(x, centroids)
    means = torch.stack([x[labels == k].mean(dim=0) for k in range(7)])
    torch.testing.assert_close(centroids, means, atol=1e-5, rtol=1e-5)


def test_iterations_lower_the_distance_to_the_centroids():
    x = torch.randn(2000, 8, generator=generator())
    errors = [nearest(x, kmeans(x, 32, generator=generator(), iterations=i))[1].sum() for i in (0, 1, 5, 20)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.9 * errors[0]


def test_the_generator_decides_everything():
    x = torch.randn(300, 4, generator=generator())
    first = kmeans(x, 8, generator=generator(3))
    torch.rand(5)  # the global state plays no part
    assert torch.equal(first, kmeans(x, 8, generator=generator(3)))
    assert not torch.equal(first, kmeans(x, 8, generator=generator(4)))


def test_fewer_points_than_centroids_makes_every_point_a_centroid():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [-5.0, 6.0]])
    centroids = kmeans(x, 8, generator=generator())
    assert centroids.shape == (8, 2)
    assert torch.cdist(x, centroids).min(dim=1).values.max() < 1e-5
    assert torch.cdist(centroids, x).min(dim=1).values.max() < 1e-5


def test_an_empty_cluster_moves_to_the_farthest_point(monkeypatch):
    x = torch.tensor([[0.0], [1.0], [2.0], [50.0]])
    # Both seeds on the same point: the second cluster is empty after the first assignment.
    monkeypatch.setattr("vqaudio.model.clustering._seed", lambda points, k, generator: points[[1, 1]])
    centroids = kmeans(x, 2, generator=generator())
    assert sorted(centroids.flatten().tolist()) == pytest.approx([1.0, 50.0])


def test_points_of_any_float_type_keep_their_type():
    x = torch.randn(50, 3, generator=generator())
    assert kmeans(x.double(), 4, generator=generator()).dtype == torch.float64
    assert kmeans(x.bfloat16(), 4, generator=generator()).dtype == torch.bfloat16


@pytest.mark.parametrize("x", [torch.zeros(0, 3), torch.zeros(5), torch.tensor([[0.0], [float("nan")]])])
def test_points_that_cannot_be_clustered_are_refused(x):
    with pytest.raises(ValueError, match="kmeans needs"):
        kmeans(x, 2, generator=generator())
