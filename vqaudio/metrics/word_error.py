"""Counts the words that a listener, here a speech recogniser, gets wrong."""

import unicodedata
from typing import NamedTuple

APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼ`´", "'"))
KEPT = "LMN"
"""Unicode categories of the characters of words: letters, marks and numbers."""


class WordErrors(NamedTuple):
    """Counts of an alignment of two word sequences: errors of three kinds, and the `words` of the reference."""

    substitutions: int
    deletions: int
    insertions: int
    words: int

    @property
    def errors(self) -> int:
        """All errors; they may be more than the words."""
        return self.substitutions + self.deletions + self.insertions


def normalise(text: str) -> list[str]:
    """Return the words of a text, lower-case and without punctuation.

    An apostrophe inside a word stays ("don't"), a hyphen parts two words. Numbers stay as they are written.
    """
    text = unicodedata.normalize("NFKC", text.translate(APOSTROPHES)).casefold()
    kept = "".join(c if c == "'" or unicodedata.category(c)[0] in KEPT else " " for c in text)
    return [word for part in kept.split() if (word := part.strip("'"))]


def word_errors(reference: list[str], heard: list[str]) -> WordErrors:
    """Return the counts of the alignment with the fewest errors; of several, that with the most words right.

    Source: Levenshtein 1966 (the distance); the rule for ties is ours.
    """
    error = len(reference) + 1  # one costs more than all words that are right can save
    costs = [error * column for column in range(len(heard) + 1)]
    for row, word in enumerate(reference, 1):
        diagonal, costs[0] = costs[0], error * row
        for column, other in enumerate(heard, 1):
            replaced = diagonal + (-1 if word == other else error)
            diagonal = costs[column]
            costs[column] = min(replaced, diagonal + error, costs[column - 1] + error)
    errors = -(-costs[-1] // error)
    right = errors * error - costs[-1]
    insertions = errors - (len(reference) - right)
    substitutions = len(heard) - right - insertions
    return WordErrors(substitutions, len(reference) - right - substitutions, insertions, len(reference))
