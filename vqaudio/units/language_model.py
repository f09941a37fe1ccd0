"""An n-gram model of units: interpolated Kneser-Ney, in the back-off form of ARPA files.

P(w | h) = (max(a(hw) - D, 0) + D · T(h) · P(w | h')) / a(h), where h' is h without its first word, a counts the n-grams
of the highest order and, below it, the different words before an n-gram (except at the beginning of an utterance, where
nothing is before it), a(h) is the sum of a(hw) and T(h) the number of different w. Below single words all are alike.

Source: Kneser and Ney 1995; Chen and Goodman 1998. The discount of each order is D = n1 / (n1 + 2 · n2), with n_i the
number of n-grams with a = i (Ney, Essen and Kneser 1994).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqaudio.errors import UserError
from vqaudio.units.directory import Units, UnitsInfo, read_units
from vqaudio.units.ngrams import (
    BEGIN,
    END,
    LARGEST,
    UNKNOWN,
    Counter,
    Vocabulary,
    first_of_each,
    ngram_keys,
    units_of,
)
from vqaudio.units.sequence import deduplicate

DISCOUNT = 0.5
"""Where the n-grams do not tell one: none occurs once, or none twice, as with single units of a large corpus."""
LONGEST_RUN = 1000
"""Frames; a longer run counts as one of this length."""
LOWER = "use a lower --order"


@dataclass(frozen=True)
class Order:
    """The n-grams of one length."""

    keys: np.ndarray
    """(n-grams,) int64, in order: see `vqaudio.units.ngrams`."""
    probability: np.ndarray
    """(n-grams,) of the last word after the others."""
    weight: np.ndarray
    """(n-grams,): what a word that never followed the n-gram gets of its probability after the n-gram's last words."""

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the place of each of `keys`, and whether it is there."""
        place = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return place, self.keys[place] == keys


@dataclass(frozen=True)
class LanguageModel:
    """Probabilities of units after units; `fit` makes one, `vqaudio.units.arpa` writes and reads it."""

    info: UnitsInfo
    """Settings of the units that it was fitted on, with their numbers of utterances and frames."""
    merged: bool
    """Whether its words are runs of equal frames."""
    vocabulary: Vocabulary
    orders: list[Order]
    """One for each length of n-grams, from 1."""
    runs: dict[int, dict[int, int]]
    """If merged, how often a run of each word (by token) lasts for how many frames: what a sampled word lasts for."""

    def probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """Return the probability (L - 1,) of each of `tokens` (L,) but the first, after those before it."""
        size, word = len(self.vocabulary), tokens[1:]
        found = self.orders[0].probability[word]
        for n in range(2, len(self.orders) + 1):
            lower, order = self.orders[n - 2], self.orders[n - 1]
            place, known = lower.find(ngram_keys(tokens[:-1], n - 1, size))
            rest = np.where(known, lower.weight[place], 1.0) * found[n - 2 :]
            place, known = order.find(ngram_keys(tokens, n, size))
            found = np.append(found[: n - 2], np.where(known, order.probability[place], rest))
        return found

    def distribution(self, context: list[int]) -> np.ndarray:
        """Return the probability (V,) of each token after the tokens of `context`, the latest of which is the last."""
        size = len(self.vocabulary)
        found = self.orders[0].probability.copy()
        for n in range(2, min(len(self.orders), len(context) + 1) + 1):
            lower, order = self.orders[n - 2], self.orders[n - 1]
            (key,) = ngram_keys(np.array(context[len(context) - n + 1 :]), n - 1, size)
            place, known = lower.find(key[None])
            if not known[0]:
                break  # longer contexts, which end in this one, are not known either
            found *= lower.weight[place[0]]
            first, last = np.searchsorted(order.keys, [key * size, (key + 1) * size])
            found[order.keys[first:last] % size] = order.probability[first:last]
        return found

    def perplexity(self, directory: Path) -> dict[str, float]:
        """Return `perplexity` of other units, with the ends of utterances, and their cost in `bits_per_second`.

        `words` and `unknown` count words and, with several groups, frames that are not in the vocabulary.

        Raises:
            UserError: the units cannot be read, or are not those of one model.
        """
        units = read_units(directory)
        self._check_same(units)
        bits = words = unknown = 0.0
        for sequence in units:
            tokens = _tokens(self.vocabulary, units_of(sequence, self.merged))
            bits -= float(np.log2(self.probabilities(tokens)).sum())
            words += len(tokens) - 2
            unknown += int((tokens == UNKNOWN).sum())
        seconds = units.info.num_frames / units.info.frame_rate
        perplexity = float(2 ** (bits / (words + len(units))))
        return {"perplexity": perplexity, "bits_per_second": bits / seconds, "words": words, "unknown": unknown}

    def _check_same(self, units: Units) -> None:
        """Refuse units that are other words than those of the model."""
        for name in ("codebook_size", "groups", "model_hash", "frame_rate"):
            ours, theirs = getattr(self.info, name), getattr(units.info, name)
            if ours != theirs:
                raise UserError(
                    f"{units.directory}: {name} is {theirs!r}, but {ours!r} for the units that the language model was "
                    "fitted on; give units of the same model"
                )
        if units.info.deduplicated and not self.merged:
            raise UserError(
                f"{units.directory}: the units are deduplicated, those of the language model are not; fit it with "
                "--deduplicate"
            )


def fit(directory: Path, order: int, deduplicated: bool) -> LanguageModel:
    """Return the n-gram model of a unit directory; memory holds each different n-gram once.

    Args:
        directory: what `vqaudio extract` wrote.
        order: length of the longest n-grams, at least 1.
        deduplicated: a run of equal frames is one word, as it is anyway in a directory of deduplicated units.

    Raises:
        UserError: the units cannot be read, or `order` is too high for them.
    """
    units = read_units(directory)
    vocabulary, merged = Vocabulary.of(units), deduplicated or units.info.deduplicated
    size = len(vocabulary)
    if size**order > LARGEST:
        raise UserError(f"{directory}: n-grams of {order} of {size} units are too many to count; {LOWER}")
    counters = [Counter(str(directory), LOWER) for _ in range(order)]
    runs = Counter(str(directory), LOWER)
    for sequence in units:
        tokens = _tokens(vocabulary, units_of(sequence, merged))
        for n, counter in enumerate(counters, start=1):
            counter.add(ngram_keys(tokens if n > 1 else tokens[1:], n, size))  # <s> is no word that follows another
        if merged:
            durations = deduplicate(sequence.codes)[1].clip(max=LONGEST_RUN)
            runs.add(tokens[1:-1] * (LONGEST_RUN + 1) + durations)
    counted = [counter.finish() for counter in counters]
    if len(counted[-1][0]) == 0:
        raise UserError(f"{directory}: no utterance has {order} words, beginning and end among them; {LOWER}")
    lengths: dict[int, dict[int, int]] = {}
    for key, count in zip(*runs.finish(), strict=True):
        lengths.setdefault(int(key) // (LONGEST_RUN + 1), {})[int(key) % (LONGEST_RUN + 1)] = int(count)
    return LanguageModel(units.info, merged, vocabulary, _smooth(counted, size), lengths)


def _tokens(vocabulary: Vocabulary, units: np.ndarray) -> np.ndarray:
    """Return the tokens of an utterance, (U + 2,) with its beginning and its end."""
    return np.concatenate([[BEGIN], vocabulary.tokens(units), [END]])


def _smooth(counted: list[tuple[np.ndarray, np.ndarray]], size: int) -> list[Order]:
    """Return the orders of a model from the counts of its n-grams, from single words up."""
    highest = len(counted)
    orders: list[Order] = []
    for n, (keys, counts) in enumerate(counted, start=1):
        adjusted = counts
        if n < highest:
            adjusted = _words_before(keys, counts, counted[n][0], size, n)
        once, twice = (adjusted == 1).sum(), (adjusted == 2).sum()
        discount = once / (once + 2 * twice) if once and twice else DISCOUNT
        starts = first_of_each(keys // size)
        total = np.add.reduceat(adjusted, starts)
        different = np.diff(starts, append=len(keys))
        weight, group = discount * different / total, np.repeat(np.arange(len(starts)), different)
        discounted = (adjusted - discount) / total[group]
        if n == 1:
            orders.append(_single_words(keys, discounted, weight[0], size))
            continue
        lower = orders[-1]
        place, _ = lower.find(keys % size ** (n - 1))
        orders.append(Order(keys, discounted + weight[group] * lower.probability[place], np.ones(len(keys))))
        place, _ = lower.find(keys[starts] // size)
        lower.weight[place] = weight
    return orders


def _words_before(keys: np.ndarray, counts: np.ndarray, longer: np.ndarray, size: int, n: int) -> np.ndarray:
    """Return the number of different words before each n-gram; the count itself where it begins an utterance."""
    order = Order(keys, np.zeros(0), np.zeros(0))
    place, known = order.find(longer % size**n)
    before = np.bincount(place[known], minlength=len(keys))
    return np.where((keys // size ** (n - 1) == BEGIN) & (n > 1), counts, before)


def _single_words(keys: np.ndarray, discounted: np.ndarray, weight: float, size: int) -> Order:
    """Return the first order, which has every token, so that a key is its own place."""
    probability = np.full(size, weight / (size - 1))  # all but <s>
    probability[keys] += discounted
    probability[BEGIN] = 0.0
    return Order(np.arange(size), probability, np.ones(size))
