"""Writes n-gram models of units as ARPA files, which KenLM and SRILM read too, and reads them again.

Comments before the model, which other tools skip, hold what units need: their settings as in `units.json` and, if runs
of equal frames are one word, how often a run of each word lasts for how many frames:

    # vqaudio {"vqaudio": "0.2.0", "merged": true, "units": {…}}
    # runs 71 1:12 2:30 …
"""

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import vqaudio
from vqaudio import files
from vqaudio.errors import UserError
from vqaudio.outputs import check_file
from vqaudio.units.directory import UnitsInfo, parse_info
from vqaudio.units.language_model import LanguageModel, Order
from vqaudio.units.ngrams import LARGEST, SPECIAL, Vocabulary, first_of_each, frame_numbers
from vqaudio.units.text import parse_units

HEADER = b"# vqaudio {"
NEVER = -99.0
"""What ARPA files give as the logarithm of 0."""
LEAST = -30.0
"""Logarithms below are no probabilities of speech, and products of them might be 0."""


def is_language_model(path: Path) -> bool:
    """Return whether a file is a language model of vqaudio, which another may replace."""
    try:
        with path.open("rb") as file:
            return file.read(len(HEADER)) == HEADER
    except OSError:
        return False


def write(model: LanguageModel, path: Path) -> None:
    """Write a model as an ARPA file, atomically.

    Raises:
        UserError: the file exists and is no language model of vqaudio.
    """
    check_file(path, ours=is_language_model)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"vqaudio": vqaudio.__version__, "merged": model.merged, "units": dataclasses.asdict(model.info)}
    words, size = model.vocabulary.words, len(model.vocabulary)
    with files.atomic_writer(path, "wb") as file:
        file.write(f"# vqaudio {json.dumps(about)}\n".encode())
        for token, lengths in sorted(model.runs.items()):
            counts = " ".join(f"{length}:{count}" for length, count in sorted(lengths.items()))
            file.write(f"# runs {words[token]} {counts}\n".encode())
        file.write(b"\n\\data\\\n")
        for n, order in enumerate(model.orders, start=1):
            file.write(f"ngram {n}={len(order.keys)}\n".encode())
        for n, order in enumerate(model.orders, start=1):
            file.write(f"\n\\{n}-grams:\n".encode())
            for line in _lines(order, n, words, size, last=n == len(model.orders)):
                file.write(line.encode())
        file.write(b"\n\\end\\\n")


def _lines(order: Order, n: int, words: list[str], size: int, last: bool) -> Iterator[str]:
    """Yield the lines of the n-grams of one length; those of the highest order have no weight."""
    for key, probability, weight in zip(order.keys.tolist(), order.probability, order.weight, strict=True):
        ngram = " ".join(words[key // size**j % size] for j in range(n - 1, -1, -1))
        log = math.log10(probability) if probability > 0 else NEVER
        yield f"{log:.7f}\t{ngram}\n" if last else f"{log:.7f}\t{ngram}\t{math.log10(weight):.7f}\n"


def read(path: Path) -> LanguageModel:
    """Read what `write` wrote.

    Raises:
        UserError: the file is missing, or is no language model of vqaudio.
    """
    try:
        with path.open("rb") as file:
            return _Reader(path, file).read()
    except FileNotFoundError:
        raise UserError(f"{path}: no such language model; make one with vqaudio units lm") from None
    except OSError as error:
        raise files.explain(error, path) from None
    except (ValueError, KeyError, TypeError, IndexError, StopIteration, RecursionError) as error:
        reason = str(error) or "it ends too early"
        raise UserError(
            f"{path}: not a language model of vqaudio ({reason}); fit it again with vqaudio units lm"
        ) from None


class _Reader:
    """Reads one ARPA file; what is wrong with it raises an exception that `read` reports."""

    def __init__(self, path: Path, lines: Iterator[bytes]) -> None:
        self.path, self.lines = path, (line.decode().strip() for line in lines)

    def read(self) -> LanguageModel:
        info, merged = self._header()
        runs, counts = self._preamble()
        rows = self._rows(counts[0], 1, last=len(counts) == 1)
        vocabulary = self._vocabulary(info, [words[0] for _, words, _ in rows])
        if len(vocabulary) ** len(counts) > LARGEST or abs(sum(row[0] for row in rows) - 1) > 1e-3:
            raise ValueError("too many orders, or probabilities whose sum is not 1")
        token = {word: number for number, word in enumerate(vocabulary.words)}
        orders = [_order(rows, token, None)]
        for n, count in enumerate(counts[1:], start=2):
            if next(line for line in self.lines if line) != f"\\{n}-grams:":
                raise ValueError(f"no {n}-grams where they should begin")
            orders.append(_order(self._rows(count, n, last=n == len(counts)), token, orders[-1]))
        if next(line for line in self.lines if line) != "\\end\\":
            raise ValueError("no end where it should be")
        if merged and not {token[word] for word in runs} - {0, 1, 2}:
            raise ValueError("no lengths of runs")
        return LanguageModel(info, merged, vocabulary, orders, {token[word]: lengths for word, lengths in runs.items()})

    def _preamble(self) -> tuple[dict[str, dict[int, int]], list[int]]:
        """Return the lengths of runs of each word, and the number of n-grams of each length."""
        runs, counts = {}, []
        for line in self.lines:
            if line.startswith("# runs "):
                word, *lengths = line.removeprefix("# runs ").split()
                runs[word] = dict(map(_run, lengths))
            elif line.startswith("ngram "):
                counts.append(int(line.partition("=")[2]))
            elif line.startswith("\\1-grams:"):
                break
            elif line not in ("", "\\data\\"):
                raise ValueError(f"the line {line[:40]!r}")
        return runs, counts

    def _header(self) -> tuple[UnitsInfo, bool]:
        line = next(self.lines)
        if not line.startswith(HEADER.decode()):
            raise ValueError("its first line does not say so")
        about = json.loads(line.removeprefix("# vqaudio "))
        if not isinstance(about["merged"], bool):
            raise ValueError("merged is neither true nor false")
        return parse_info(about["units"], self.path), about["merged"]

    def _rows(self, count: int, n: int, last: bool) -> list[tuple[float, list[str], float]]:
        """Return probability, words and weight of each of `count` n-grams."""
        rows = []
        for _ in range(count):
            fields = next(self.lines).split("\t")
            log, words = float(fields[0]), fields[1].split(" ")
            weight = 0.0 if last else float(fields[2])
            if not (log == NEVER or LEAST < log <= 0) or not LEAST < weight <= 0 or len(words) != n:
                raise ValueError(f"the {n}-gram {fields[1][:40]!r}")
            rows.append((10**log if log > NEVER else 0.0, words, 10**weight))
        return rows

    def _vocabulary(self, info: UnitsInfo, words: list[str]) -> Vocabulary:
        frames = " ".join(word for word in words if word not in SPECIAL).encode()
        units = parse_units(
            frames, info.groups, info.codebook_size, str(self.path), "fit it again with vqaudio units lm"
        )
        vocabulary = Vocabulary(info.groups, info.codebook_size, frame_numbers(units, info.codebook_size))
        if vocabulary.words != words:
            raise ValueError("the words are not in order")
        return vocabulary


def _run(text: str) -> tuple[int, int]:
    length, _, count = text.partition(":")
    if int(length) < 1 or int(count) < 1:
        raise ValueError(f"the run {text!r}")
    return int(length), int(count)


def _order(rows: list[tuple[float, list[str], float]], token: dict[str, int], lower: Order | None) -> Order:
    """Return the n-grams of one length, in order; each must begin and end with n-grams of the length before."""
    size, keys = len(token), []
    for _, words, _ in rows:
        key = 0
        for word in words:
            key = key * size + token[word]
        keys.append(key)
    ordered = np.array(keys, dtype=np.int64)
    if len(first_of_each(ordered)) != len(ordered) or (np.diff(ordered) < 0).any():
        raise ValueError("n-grams are not in order, or occur twice")
    if lower is not None:
        length = len(rows[0][1]) if rows else 2
        parts = (ordered // size, ordered % size ** (length - 1))
        if not all(lower.find(part)[1].all() for part in parts):
            raise ValueError(f"a {length}-gram without the shorter ones that it consists of")
    probability, _, weight = zip(*rows, strict=True)
    return Order(ordered, np.array(probability), np.array(weight))
