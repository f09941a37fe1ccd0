"""k-means by matrix products: the first codebook of a quantizer and units of features."""

from collections.abc import Iterator

import torch
from torch import Tensor

CACHED = 1 << 18
"""Items (float32: 1 MiB) of a matrix that stay in the cache of a core from one operation to the next."""


def rows_at_once(columns: int, device: torch.device) -> int:
    """Return how many rows of a large matrix to work on at a time: a cacheful, or what keeps a GPU busy."""
    return max(1, (CACHED if device.type == "cpu" else 32 * CACHED) // columns)


def nearest(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Find the nearest centroid of each row by squared Euclidean distance; ties go to the lowest index.

    Args:
        x: points, (n, d).
        centroids: (k, d).

    Returns:
        Indices (n,) int64 and squared distances (n,), never negative.
    """
    labels, distances = [], []
    for rows, score, label in _search(x, centroids):
        labels.append(label)
        distances.append((rows.square().sum(dim=1) + 2 * score).clamp_min(0))
    return torch.cat(labels), torch.cat(distances)


def nearest_label(x: Tensor, centroids: Tensor) -> Tensor:
    """Return the indices (n,) of `nearest` alone, without the distances."""
    return torch.cat([label for _, _, label in _search(x, centroids)])


def _search(x: Tensor, centroids: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield some rows of x, their least ‖c‖²/2 − x·c over the centroids, and its index."""
    half_squares = centroids.square().sum(dim=1) / 2
    for rows in x.split(rows_at_once(len(centroids), x.device)):
        # ‖x − c‖² = ‖x‖² + 2 (‖c‖²/2 − x·c): only the part in brackets depends on c.
        with torch.autocast(x.device.type, enabled=False):  # 16 bits would confuse neighbours
            score, label = torch.addmm(half_squares, rows, centroids.T, alpha=-1).min(dim=1)
        yield rows, score, label


@torch.no_grad()
def kmeans(x: Tensor, k: int, *, generator: torch.Generator, iterations: int = 20) -> Tensor:
    """Cluster points into k centroids: k-means++ seeding, then Lloyd's iterations.

    A cluster that loses all its points moves to the points farthest from their centroids. With fewer
    distinct points than k, every point is a centroid and the surplus centroids repeat some of them.

    Args:
        x: points, (n, d) floating point, n ≥ 1.
        k: number of centroids, k ≥ 1.
        generator: the only source of randomness.
        iterations: Lloyd iterations at most; stops when no point changes its cluster.

    Returns:
        Centroids, (k, d), of the type and on the device of x.

    Raises:
        ValueError: x has no rows, is not a matrix or has non-finite values, or k < 1.

    Source: Arthur and Vassilvitskii 2007 (seeding), Lloyd 1982.
    """
    if x.ndim != 2 or len(x) == 0 or k < 1:
        raise ValueError(f"kmeans needs points (n ≥ 1, d) and k ≥ 1, got {tuple(x.shape)} and k = {k}")
    if not x.isfinite().all():
        raise ValueError("kmeans needs finite points, got NaN or infinity")
    # Distances by matrix products cancel badly far from the origin, so the cloud is moved there.
    points = x.float()
    mean = points.mean(dim=0)
    points = points - mean
    centroids = _seed(points, k, generator)
    previous = None
    for _ in range(iterations):
        labels, distances = nearest(points, centroids)
        if previous is not None and torch.equal(labels, previous):
            break
        previous = labels
        sums = torch.zeros_like(centroids).index_add_(0, labels, points)
        counts = torch.bincount(labels, minlength=k)
        centroids = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp_min(1), centroids)
        empty = (counts == 0).nonzero().squeeze(1)[: len(points)]
        centroids[empty] = points[distances.topk(len(empty)).indices]
    return (centroids + mean).to(x.dtype)


def _seed(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Draw k rows, each with a probability proportional to its squared distance to those drawn before."""
    draws = torch.rand(k, generator=generator, device=generator.device, dtype=torch.float64).to(points.device)
    squares = points.square().sum(dim=1)
    distances = torch.ones_like(squares)
    chosen = []
    for draw in draws:
        cumulative = distances.double().cumsum(0)
        # Where every point is a centroid already, all are 0 and the search ends past the last: repeat that one.
        index = torch.searchsorted(cumulative, draw * cumulative[-1], right=True).clamp_max(len(points) - 1)
        chosen.append(index)
        to_new = (squares + squares[index] - 2 * (points @ points[index])).clamp_min(0)
        to_new[index] = 0  # exact, so that no row is drawn twice by rounding
        distances = to_new if len(chosen) == 1 else torch.minimum(distances, to_new)
    return points[torch.stack(chosen)]
