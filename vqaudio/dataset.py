"""Training segments out of a data directory: any step's batch can be made without those before it."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vqaudio import audio, datadir
from vqaudio.errors import UserError

UNKNOWN_SPEAKER = "<unknown>"
"""Index 0 of every speaker list: the voice for speakers the model has not seen, trained by speaker dropout."""


class Batch(NamedTuple):
    """``padded`` (B, left + N * hop_length + right), ``speaker`` (B,), ``mask`` (B, N): frames inside recordings."""

    padded: Tensor
    speaker: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> "Batch":
        """Move all three tensors."""
        return Batch(*(x.to(device, non_blocking=True) for x in self))


class SegmentDataset:
    """Segments of N frames, drawn by duration, with the audio the encoder needs around them.

    Each recording is scaled to ``level_db`` dBFS RMS (None: as it is). A speaker is replaced by ``<unknown>`` with
    probability ``speaker_dropout``. Speakers outside ``speakers`` are ``<unknown>``.
    """

    def __init__(
        self,
        data: Path,
        *,
        speakers: list[str],
        sample_rate: int,
        level_db: float | None,
        hop_length: int,
        left: int,
        right: int,
        speaker_dropout: float,
        seed: int,
    ) -> None:
        self.utterances = datadir.read_utterances(data)
        if not self.utterances:
            raise UserError(f"{data}: no utterances; training needs at least one")
        self.speakers = {name: index for index, name in enumerate(speakers)}
        self.sample_rate, self.level_db = sample_rate, level_db
        self.hop_length, self.left, self.right = hop_length, left, right
        self.speaker_dropout, self.seed = speaker_dropout, seed
        self.gains: dict[str, float] = {}
        self.durations = np.array([u.end - u.start if u.end else audio.info(u.path).duration for u in self.utterances])
        self.weights = np.cumsum(self.durations) / self.durations.sum()

    @property
    def seconds(self) -> float:
        """Seconds of speech in the data directory."""
        return float(self.durations.sum())

    def batch(self, step: int, *, size: int, frames: int, stream: int = 0) -> Batch:
        """Return the batch of ``size`` segments of ``frames`` frames that belongs to ``step``.

        ``stream`` tells apart the processes of a distributed run, and other uses of the same step.
        """
        random = np.random.default_rng([self.seed, stream, step])
        rows = np.searchsorted(self.weights, random.random(size), side="right").clip(max=len(self.weights) - 1)
        items = [self._segment(int(row), frames, random.random(), random.random()) for row in rows]
        return self._collate(items)

    def whole(self, index: int, frames: int) -> Batch:
        """Return the first ``frames`` frames of an utterance as a batch of one, for validation."""
        return self._collate([self._segment(index, frames, 0.0, 1.0)])

    def _segment(self, row: int, frames: int, where: float, drop: float) -> tuple[np.ndarray, int, np.ndarray]:
        """Cut ``frames`` frames at the share ``where`` of the room there is; zeros stand outside the utterance."""
        utterance = self.utterances[row]
        total = round(float(self.durations[row]) * self.sample_rate)
        first = int(where * max(0, total - frames * self.hop_length + 1)) - self.left
        last = first + self.left + frames * self.hop_length + self.right
        wav = self._read(row, max(0, first), min(last, total))
        padded = np.zeros(last - first, dtype=np.float32)
        begin = max(0, -first)
        wav = wav[: len(padded) - begin]
        padded[begin : begin + len(wav)] = wav
        mask = np.arange(frames) * self.hop_length + first + self.left < total
        known = self.speakers.get(utterance.speaker, 0)
        return padded, 0 if drop < self.speaker_dropout else known, mask

    def _read(self, row: int, first: int, last: int) -> np.ndarray:
        """Read samples ``first`` to ``last`` of an utterance, scaled."""
        utterance = self.utterances[row]
        if utterance.utt not in self.gains:  # the gain belongs to the utterance, not to the segment
            wav, _ = audio.read(utterance.path, self.sample_rate, start=utterance.start, end=utterance.end)
            self.gains[utterance.utt] = audio.level_gain(wav, self.level_db)
        start = utterance.start + first / self.sample_rate
        end = utterance.start + last / self.sample_rate
        wav, _ = audio.read(utterance.path, self.sample_rate, start=start, end=end)
        return wav * self.gains[utterance.utt]

    def _collate(self, items: list[tuple[np.ndarray, int, np.ndarray]]) -> Batch:
        padded, speaker, mask = zip(*items, strict=True)
        return Batch(torch.from_numpy(np.stack(padded)), torch.tensor(speaker), torch.from_numpy(np.stack(mask)))


def speaker_list(data: Path) -> list[str]:
    """Return ``<unknown>`` and the sorted speakers of a data directory: the model's speaker indices."""
    return [UNKNOWN_SPEAKER, *sorted({u.speaker for u in datadir.read_utterances(data)})]


def prefetch(make: Callable[[int], Batch], first: int, ahead: int = 4) -> Iterator[Batch]:
    """Yield ``make(first)``, ``make(first + 1)``, … with a thread that reads up to ``ahead`` batches in advance."""
    ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=ahead)
    stop = threading.Event()

    def put(item: Batch | BaseException) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def read() -> None:
        step = first
        while not stop.is_set():
            try:
                put(make(step))
            except BaseException as error:  # handed to the consumer, which raises it
                put(error)
                return
            step += 1

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
