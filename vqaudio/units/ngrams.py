"""Numbers units as words and counts their n-grams; memory holds each different n-gram once, however long the corpus.

A word is a whole frame: one unit, or the G units of a frame. An n-gram is one number of base V, the size of the
vocabulary, whose digits are its tokens.
"""

import functools
from dataclasses import dataclass

import numpy as np

from vqaudio.errors import UserError
from vqaudio.units.directory import Units
from vqaudio.units.sequence import UnitSequence, deduplicate
from vqaudio.units.text import format_frames

BEGIN, END, UNKNOWN = 0, 1, 2
"""Tokens of the beginning and the end of an utterance, and of a frame that is no word."""
SPECIAL = ["<s>", "</s>", "<unk>"]
"""Their names in ARPA files."""
MAX_NGRAMS = 50_000_000
"""Different n-grams of one length, 16 bytes each."""
LARGEST = 2**63 - 1


class Counter:
    """Counts whole numbers: `add` them, then `finish`.

    Raises:
        UserError: there are more different numbers than `MAX_NGRAMS`.
    """

    def __init__(self, name: str, cure: str) -> None:
        self.name, self.cure = name, cure
        self.keys, self.counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.pending: list[np.ndarray] = []
        self.waiting = 0

    def add(self, numbers: np.ndarray) -> None:
        """Count `numbers` (n,) int64."""
        self.pending.append(numbers)
        self.waiting += len(numbers)
        if self.waiting > max(2**20, len(self.keys)):
            self._merge()

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the different numbers in order, and how often each was added."""
        self._merge()
        return self.keys, self.counts

    def _merge(self) -> None:
        keys = np.concatenate([self.keys, *self.pending])
        counts = np.concatenate([self.counts, np.ones(self.waiting, np.int64)])
        self.pending, self.waiting = [], 0
        if len(keys) == 0:
            return
        order = np.argsort(keys, kind="stable")
        starts = first_of_each(keys[order])
        self.keys, self.counts = keys[order][starts], np.add.reduceat(counts[order], starts)
        if len(self.keys) > MAX_NGRAMS:
            raise UserError(f"{self.name}: more than {MAX_NGRAMS} different n-grams of one length; {self.cure}")


def first_of_each(ordered: np.ndarray) -> np.ndarray:
    """Return where each different value of a sorted array begins.

    >>> first_of_each(np.array([4, 4, 7, 9, 9])).tolist()
    [0, 2, 3]
    """
    return np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])


def ngram_keys(tokens: np.ndarray, n: int, size: int) -> np.ndarray:
    """Return the number of each n-gram of `tokens` (L,), at most L - n + 1 of them; `size` is that of the vocabulary.

    >>> ngram_keys(np.array([1, 2, 3]), 2, 10).tolist()
    [12, 23]
    """
    count = max(0, len(tokens) - n + 1)
    keys = np.zeros(count, np.int64)
    for j in range(n):
        keys = keys * size + tokens[j : j + count]
    return keys


def units_of(sequence: UnitSequence, merged: bool) -> np.ndarray:
    """Return the units (G, U) of an utterance; `merged`: a run of equal frames is one."""
    return deduplicate(sequence.codes)[0] if merged else sequence.units


@dataclass(frozen=True)
class Vocabulary:
    """The words of a language model; token 0 is `<s>`, 1 is `</s>`, 2 is `<unk>`, and the others are frames."""

    groups: int
    """G: units per frame."""
    codebook_size: int
    """K: units are 0 to K - 1."""
    frames: np.ndarray
    """(words,) int64, in order: numbers of base K whose digits are the units of a frame."""

    @classmethod
    def of(cls, units: Units) -> "Vocabulary":
        """Return all units of the codebook as words or, with several groups, all frames that occur.

        Raises:
            UserError: the frames are too many to be numbered.
        """
        info = units.info
        if info.groups == 1:
            return cls(1, info.codebook_size, np.arange(info.codebook_size))
        if info.codebook_size**info.groups > LARGEST:
            raise UserError(
                f"{units.directory}: {info.groups} groups of {info.codebook_size} units have more frames than 2^63; "
                "use units with fewer groups"
            )
        counter = Counter(str(units.directory), "use units with fewer groups")
        for sequence in units:
            counter.add(frame_numbers(sequence.units, info.codebook_size))
        return cls(info.groups, info.codebook_size, counter.finish()[0])

    def __len__(self) -> int:
        return len(SPECIAL) + len(self.frames)

    @functools.cached_property
    def words(self) -> list[str]:
        """The name of each token: `71`, or `71-3` with two groups."""
        return [*SPECIAL, *format_frames(self.units(np.arange(len(SPECIAL), len(self)))).split()]

    def tokens(self, units: np.ndarray) -> np.ndarray:
        """Return the token of each frame of `units` (G, U): (U,) int64."""
        numbers = frame_numbers(units, self.codebook_size)
        place = np.searchsorted(self.frames, numbers).clip(max=len(self.frames) - 1)
        return np.where(self.frames[place] == numbers, place + len(SPECIAL), UNKNOWN)

    def units(self, tokens: np.ndarray) -> np.ndarray:
        """Return the frames (G, U) of `tokens` (U,), none of which may be special."""
        numbers = self.frames[tokens - len(SPECIAL)]
        powers = self.codebook_size ** np.arange(self.groups - 1, -1, -1, dtype=np.int64)
        return numbers // powers[:, None] % self.codebook_size


def frame_numbers(units: np.ndarray, codebook_size: int) -> np.ndarray:
    """Return the number of each frame of `units` (G, U), whose digits of base K are its units."""
    return functools.reduce(lambda number, group: number * codebook_size + group, units.astype(np.int64))
