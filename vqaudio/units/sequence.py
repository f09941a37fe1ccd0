"""Holds the units of one utterance; merges runs of equal units, and expands them again."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class UnitSequence:
    """One utterance: `units` (G, U) int64 as in the file and, if deduplicated, their `durations` (U,) in frames."""

    utt: str
    units: np.ndarray
    durations: np.ndarray | None

    @property
    def num_frames(self) -> int:
        """N, the number of frames before deduplication."""
        return self.units.shape[1] if self.durations is None else int(self.durations.sum())

    @property
    def codes(self) -> np.ndarray:
        """The codes (G, N), one column per frame."""
        return self.units if self.durations is None else expand(self.units, self.durations)


def deduplicate(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge runs of equal frames of `codes` (G, N); return `units` (G, U) and the lengths (U,) of the runs in frames.

    >>> units, durations = deduplicate(np.array([[7, 7, 7, 2, 7]]))
    >>> units.tolist(), durations.tolist()
    ([[7, 2, 7]], [3, 1, 1])
    """
    N = codes.shape[1]
    new = np.ones(N, dtype=bool)
    new[1:] = (codes[:, 1:] != codes[:, :-1]).any(0)
    starts = np.flatnonzero(new)
    return codes[:, starts], np.diff(starts, append=N)


def expand(units: np.ndarray, durations: np.ndarray) -> np.ndarray:
    """Undo `deduplicate`: return codes (G, N), in which each of `units` (G, U) lasts for its duration (U,)."""
    return np.repeat(units, durations, axis=1)
