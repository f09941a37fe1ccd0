"""Streams of samples: resampled, cut into pieces of one size or windows with context, computed one piece ahead."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np


def windows(
    blocks: Iterable[np.ndarray], left: int, step: int, right: int, advance: int | None = None
) -> Iterator[tuple[np.ndarray, int]]:
    """Cut a stream into windows of `left + step + right` samples, `step` apart, with zeros outside the stream.

    With an `advance` of less than `step`, windows are so many samples apart and come earlier: of their `step` samples
    only the first `advance`, and `right` more, are those of the stream, zeros follow.

    Yields:
        Each window, with the number of its new samples that are inside the stream: fewer in the last.
    """
    advance = advance or step
    size, needed = left + step + right, left + advance + right
    buffer = np.zeros(left, dtype=np.float32)
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        while len(buffer) >= needed:
            yield _padded(buffer[:needed], size), advance
            buffer = buffer[advance:]
    while (rest := len(buffer) - left) > 0:
        yield _padded(buffer[:needed], size), min(advance, rest)
        buffer = buffer[advance:]


def _padded(samples: np.ndarray, size: int) -> np.ndarray:
    """Return `size` samples: these, then zeros."""
    return samples if len(samples) == size else np.pad(samples, (0, size - len(samples)))


def ahead(items: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield `items`, while a thread computes the next one."""
    source = iter(items)
    with ThreadPoolExecutor(1) as reader:
        item = reader.submit(next, source, None)
        while (ready := item.result()) is not None:
            item = reader.submit(next, source, None)
            yield ready


def resample_pieces(samples: Iterable[np.ndarray], from_rate: int, to_rate: int) -> Iterator[np.ndarray]:
    """Yield resampled pieces; joined they are the same however the input is divided."""
    import soxr

    stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")
    for piece in samples:
        yield stream.resample_chunk(piece)
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def regroup(pieces: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Yield the samples of `pieces` in arrays of `size`; the last is shorter, none is empty."""
    kept: list[np.ndarray] = []
    count = 0
    for piece in pieces:
        kept.append(piece)
        count += len(piece)
        if count < size:
            continue
        joined = np.concatenate(kept)
        whole = count - count % size
        for i in range(0, whole, size):
            yield joined[i : i + size]
        kept, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(kept)
