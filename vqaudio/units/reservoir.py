"""Draws a uniform sample of rows from a stream of unknown length (Vitter 1985, algorithm R)."""

import numpy as np


class Reservoir:
    """A uniform sample of at most `size` of the rows that were added; memory holds the sample alone."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seen = size, 0
        self.kept: np.ndarray | None = None
        self.generator = np.random.default_rng(seed)

    def add(self, rows: np.ndarray) -> None:
        """Add `rows` (n, D): the i-th row of all draws one of i places, and is kept if the sample has that place."""
        if self.kept is None:
            self.kept = np.empty((self.size, rows.shape[1]), dtype=np.float32)  # pages are taken when written to
        order = np.arange(self.seen, self.seen + len(rows))
        places = np.where(order < self.size, order, self.generator.integers(0, order + 1))
        ours = places < self.size
        self.kept[places[ours]] = rows[ours]  # of two rows with one place the later wins, as if added one by one
        self.seen += len(rows)

    @property
    def rows(self) -> np.ndarray:
        """The sample (min(size, seen), D)."""
        assert self.kept is not None
        return self.kept[: self.seen]
