"""The utterances of a data directory as audio: how long and how loud they are, and which of them cannot be read."""

import functools
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from vqaudio import audio, datadir, distributed, files
from vqaudio.datadir import Utterance
from vqaudio.datadir.tables import parse_seconds
from vqaudio.errors import JobError, UserError

logger = logging.getLogger("vqaudio.training")

MAX_UNREADABLE = 0.5
"""Training ends when more than this share of the utterances cannot be read."""

UNREADABLE_LIST = "failed.txt"
"""File in `exp_dir` with the utterances that cannot be read."""

MAX_KEPT = 100_000
"""Utterances of which a level, and labels, are kept in memory (about 1 kB); those used longest ago are read again."""


class Level(NamedTuple):
    """What one reading of a whole utterance gives: its number of samples, and what brings it to its level."""

    samples: int
    change: audio.LevelChange


class Recordings:
    """The utterances of a data directory, by row: `durations` (rows,) in seconds, samples at `sample_rate`.

    An utterance that cannot be read is no reason to stop: it is in `unreadable` with the reason, and `skip` raises only
    when these are more than the share `MAX_UNREADABLE`. `level` measures an utterance for a scale of `level_db` dBFS
    RMS (None: as it is).

    Raises:
        UserError: the data directory is missing, malformed or empty, or most of its audio cannot be opened.
    """

    def __init__(self, data: Path, *, sample_rate: int, level_db: float | None) -> None:
        self.data, self.sample_rate, self.level_db = data, sample_rate, level_db
        self.utterances = datadir.read_utterances(data)
        if not self.utterances:
            raise UserError(f"{data}: no utterances; training needs at least one")
        self.unreadable: dict[str, str] = {}
        self.durations = self._durations()
        if problem := self._problem(next(iter(self.unreadable.values()), "")):
            raise UserError(problem)
        self.level = functools.lru_cache(MAX_KEPT)(self.measure)

    def read(self, row: int, first: int, last: int) -> np.ndarray:
        """Read samples `first` to `last` of an utterance."""
        utterance = self.utterances[row]
        start, end = (utterance.start + sample / self.sample_rate for sample in (first, last))
        return audio.read(utterance.path, self.sample_rate, start, end, utterance.channel)[0]

    def measure(self, row: int) -> Level:
        """Read a whole utterance; return its level, which no segment of it decides."""
        wav = self._whole(row)
        return Level(len(wav), audio.level_change(wav, self.level_db))

    def whole(self, row: int) -> np.ndarray:
        """Read a whole utterance, at its level."""
        return self.level(row).change.apply(self._whole(row))

    def _whole(self, row: int) -> np.ndarray:
        utterance = self.utterances[row]
        return audio.read(utterance.path, self.sample_rate, utterance.start, utterance.end, utterance.channel)[0]

    def skip(self, row: int, error: UserError) -> None:
        """Record that an utterance cannot be read.

        Raises:
            JobError: more than the share `MAX_UNREADABLE` of the utterances cannot be read.
        """
        self._record(row, str(error))
        if problem := self._problem(str(error)):
            raise JobError(problem)

    def share_unreadable(self, device: torch.device) -> None:
        """Learn which utterances other processes could not read."""
        flags = torch.tensor([int(u.utt in self.unreadable) for u in self.utterances], device=device)
        distributed.all_reduce([flags])
        for row in flags.nonzero().flatten().tolist():
            if self.utterances[row].utt not in self.unreadable:
                try:
                    self.measure(row)
                except UserError as error:
                    self._record(row, str(error))
                else:
                    self._record(row, "another process could not read it")

    def _record(self, row: int, reason: str) -> None:
        utt = self.utterances[row].utt
        if utt not in self.unreadable:
            logger.warning("utterance %s is skipped: %s", utt, reason)
        self.unreadable[utt] = reason

    def _problem(self, reason: str) -> str:
        """Return what is wrong when too many utterances cannot be read, with the reason of one, else nothing."""
        bad, total = len(self.unreadable), len(self.utterances)
        if bad <= MAX_UNREADABLE * total:
            return ""
        return (
            f"{self.data}: {bad} of {total} utterances cannot be read, more than {100 * MAX_UNREADABLE:.0f} %, such as "
            f"{reason}; vqaudio data validate {self.data} lists them all"
        )

    def _durations(self) -> np.ndarray:
        """Return the seconds of each utterance: by segments, by utt2dur, or by the header of its file."""
        listed = datadir.read_optional(self.data / "utt2dur", [u.utt for u in self.utterances])
        durations = np.zeros(len(self.utterances))
        for row, utterance in enumerate(self.utterances):
            if utterance.end is not None:
                durations[row] = utterance.end - utterance.start
            elif utterance.utt in listed:
                durations[row] = self._listed_seconds(utterance, listed[utterance.utt])
            else:
                try:
                    durations[row] = max(0.0, audio.info(utterance.path).duration - utterance.start)
                except UserError as error:
                    self._record(row, str(error))
        return durations

    def _listed_seconds(self, utterance: Utterance, value: str) -> float:
        seconds = parse_seconds(value)
        if not seconds:
            raise UserError(
                f"{self.data / 'utt2dur'}: '{utterance.utt}' is '{value}' and must be seconds above 0; correct it or "
                "remove the file"
            )
        return seconds


def read_unreadable(exp_dir: Path, utterances: list[Utterance]) -> dict[str, str]:
    """Read what `write_unreadable` wrote, as far as it is about `utterances`; nothing if there is no such file."""
    path = exp_dir / UNREADABLE_LIST
    if not path.is_file():
        return {}
    lines = (line.partition("\t") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    listed = {utt: reason for utt, _, reason in lines}
    return {u.utt: listed[u.utt] for u in utterances if u.utt in listed}


def write_unreadable(exp_dir: Path, unreadable: dict[str, str]) -> None:
    """Write lines `utterance <tab> reason`, sorted; without any, remove the file."""
    path = exp_dir / UNREADABLE_LIST
    if unreadable:
        lines = (f"{utt}\t{' '.join(reason.split())}\n" for utt, reason in sorted(unreadable.items()))
        files.atomic_write(path, "".join(lines))
    else:
        path.unlink(missing_ok=True)
