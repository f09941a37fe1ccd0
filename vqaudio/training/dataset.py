"""Training segments out of a data directory: any step's batch can be made without those before it."""

import contextlib
import math
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vqaudio import audio, datadir
from vqaudio.datadir import Utterance
from vqaudio.errors import UserError
from vqaudio.features import mfcc
from vqaudio.model_directory import UNKNOWN_SPEAKER


class Batch(NamedTuple):
    """Segments of N frames.

    `padded` (B, left + N * hop_length + right), `speaker` (B,), `mask` (B, N): frames inside recordings;
    `mfcc` (B, N, 39): `vqaudio.features.mfcc` with zero mean and unit variance over the utterance.
    """

    padded: Tensor
    speaker: Tensor
    mask: Tensor
    mfcc: Tensor

    def to(self, device: torch.device) -> "Batch":
        """Move all tensors."""
        return Batch(*(x.to(device, non_blocking=True) for x in self))


class Level(NamedTuple):
    """What is measured once on a whole utterance: its gain, and mean and standard deviation (39,) of its MFCC."""

    gain: float
    mfcc_mean: Tensor
    mfcc_std: Tensor


class SegmentDataset:
    """Segments of N frames, drawn by duration, with the audio the encoder needs around them.

    Each recording is scaled to `level_db` dBFS RMS (None: as it is). A speaker is replaced by `<unknown>` with
    probability `speaker_dropout`. Speakers outside `speakers` are `<unknown>`.
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
        self.levels: dict[str, Level] = {}
        self.durations = np.array([u.end - u.start if u.end else audio.info(u.path).duration for u in self.utterances])
        self.weights = np.cumsum(self.durations) / self.durations.sum()

    @property
    def seconds(self) -> float:
        """Seconds of speech in the data directory."""
        return float(self.durations.sum())

    def batch(self, step: int, *, size: int, frames: int, speed: float, stream: int = 0) -> Batch:
        """Return the batch of `size` segments of `frames` frames that belongs to `step`.

        Each segment is played faster or slower by a factor of up to `1 + speed`, which moves pitch and formants to
        another speaker's; its MFCC stay those of the utterance as it is. `stream` tells apart the processes of a
        distributed run, and other uses of the same step.
        """
        random = np.random.default_rng([self.seed, stream, step])
        rows = np.searchsorted(self.weights, random.random(size), side="right").clip(max=len(self.weights) - 1)
        items = []
        for row in rows:
            where, drop, faster = random.random(), random.random(), random.uniform(-1, 1)
            items.append(self._segment(int(row), frames, where, drop, (1 + speed) ** faster))
        return _collate(items)

    def whole(self, index: int, frames: int) -> Batch:
        """Return the first `frames` frames of an utterance as a batch of one, for validation."""
        return _collate([self._segment(index, frames, 0.0, 1.0, 1.0)])

    def _segment(self, row: int, frames: int, where: float, drop: float, speed: float) -> Batch:
        """Cut `frames` frames at the share `where` of the room there is; zeros stand outside the utterance."""
        utterance, hop = self.utterances[row], self.hop_length
        total = round(float(self.durations[row]) * self.sample_rate)
        level = self._level(utterance)
        first = int(where * max(0, total - speed * frames * hop + 1))
        # The audio as it is, from a whole number of hops before the segment, so that frames of MFCC start with it.
        lead = math.ceil(self.left * speed / hop)
        length = (lead + 1) * hop + math.ceil(speed * (frames * hop + self.right))
        audible = np.zeros(length, dtype=np.float32)
        begin = max(0, lead * hop - first)
        wav = self._read(utterance, max(0, first - lead * hop), min(first - lead * hop + length, total))
        audible[begin : begin + len(wav)] = wav[: length - begin] * level.gain
        centres = lead + speed * (np.arange(frames) + 0.5) - 0.5  # in frames of MFCC
        target = mfcc(torch.from_numpy(audible), sample_rate=self.sample_rate, hop_length=hop)[
            np.rint(centres).astype(int)
        ]
        padded = audible[lead * hop - self.left : lead * hop + frames * hop + self.right]
        if speed != 1:
            times = lead * hop + speed * np.arange(-self.left, frames * hop + self.right)
            padded = np.interp(times, np.arange(length), audible).astype(np.float32)
        mask = torch.from_numpy(first + speed * np.arange(frames) * hop < total)
        speaker = 0 if drop < self.speaker_dropout else self.speakers.get(utterance.speaker, 0)
        return Batch(torch.from_numpy(padded), torch.tensor(speaker), mask, (target - level.mfcc_mean) / level.mfcc_std)

    def _read(self, utterance: Utterance, first: int, last: int) -> np.ndarray:
        """Read samples `first` to `last` of an utterance."""
        start = utterance.start + first / self.sample_rate
        end = utterance.start + last / self.sample_rate
        return audio.read(utterance.path, self.sample_rate, start=start, end=end)[0]

    def _level(self, utterance: Utterance) -> Level:
        """Measure an utterance, once: neither its gain nor its normalisation depends on the segment."""
        if utterance.utt not in self.levels:
            wav, _ = audio.read(utterance.path, self.sample_rate, start=utterance.start, end=utterance.end)
            gain = audio.level_gain(wav, self.level_db)
            frames = mfcc(torch.from_numpy(wav * gain), sample_rate=self.sample_rate, hop_length=self.hop_length)
            std, mean = torch.std_mean(frames, dim=0, correction=0)
            self.levels[utterance.utt] = Level(gain, mean, std.clamp_min(1e-2))
        return self.levels[utterance.utt]


def _collate(segments: list[Batch]) -> Batch:
    """Stack segments without a batch axis."""
    return Batch(*(torch.stack(parts) for parts in zip(*segments, strict=True)))


def speaker_list(data: Path) -> list[str]:
    """Return `<unknown>` and the sorted speakers of a data directory: the model's speaker indices."""
    return [UNKNOWN_SPEAKER, *sorted({u.speaker for u in datadir.read_utterances(data)})]


def prefetch(make: Callable[[int], Batch], first: int, ahead: int = 4) -> Iterator[Batch]:
    """Yield `make(first)`, `make(first + 1)`, … with a thread that reads up to `ahead` batches in advance."""
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
