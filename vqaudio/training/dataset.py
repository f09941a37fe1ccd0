"""Training segments out of a data directory: any step's batch can be made without those before it."""

import itertools
import math
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vqaudio import datadir
from vqaudio.errors import JobError, UserError
from vqaudio.model_directory import UNKNOWN_SPEAKER
from vqaudio.training.given_units import GivenCodes
from vqaudio.training.labels import Labeller
from vqaudio.training.recordings import Recordings

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from vqaudio.model.encoder import Encoder
    from vqaudio.model.given import NoEncoder

MAX_SUBSTITUTES = 100
"""Utterances that are tried in place of one that cannot be read."""


NOTHING = torch.zeros(0, dtype=torch.long)


class Batch(NamedTuple):
    """Segments of N frames.

    `padded` (B, left + N * hop_length + right), `speaker` (B,), `mask` (B, N): frames inside recordings; `labels`
    (B, N): what `Labeller` calls each frame, 0 outside recordings and where units are given.

    With given units also `codes` (B, G, N); and if they are merged, `merged` (B, G, U), which lie about the
    segment, and their `durations` (B, U) in frames, 0 behind the last one of an utterance.
    """

    padded: Tensor
    speaker: Tensor
    mask: Tensor
    labels: Tensor
    codes: Tensor = NOTHING
    merged: Tensor = NOTHING
    durations: Tensor = NOTHING

    def to(self, device: torch.device) -> "Batch":
        """Move all tensors; those from `pinned` move while the device computes."""
        return Batch(*(x.to(device, non_blocking=True) for x in self))

    def pinned(self) -> "Batch":
        """Return the batch in memory that a GPU reads by itself."""
        return Batch(*(x.pin_memory() for x in self))


class SegmentDataset:
    """Segments of N frames, drawn by duration, with the audio the encoder needs around them, or with given units.

    Each utterance is scaled to `level_db` dBFS RMS (None: as it is). A speaker is replaced by `<unknown>` with
    probability `speaker_dropout`. Speakers outside `speakers` are `<unknown>`. An utterance that cannot be read is
    skipped for another one, which depends on nothing but the seed, the step and the segment.

    Raises:
        UserError: as `Recordings` and `GivenCodes`.
    """

    @classmethod
    def of(
        cls, cfg: "DictConfig", name: str, speakers: list[str], encoder: "Encoder | NoEncoder", speaker_dropout: float
    ) -> "SegmentDataset":
        """Return the `train` or `valid` set of a configuration."""
        units = cfg.data["units" if name == "train" else f"{name}_units"]
        return cls(
            Path(cfg.data[name]),
            speakers=speakers,
            sample_rate=cfg.data.sample_rate,
            level_db=cfg.data.level_db,
            hop_length=encoder.hop_length,
            left=encoder.left,
            right=encoder.right,
            speaker_dropout=speaker_dropout,
            seed=cfg.seed,
            coefficients=cfg.trainer.get("label_coefficients", 0),
            offsets=list(cfg.trainer.get("label_offsets", [])),
            units=units and Path(units),
        )

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
        coefficients: int,
        offsets: Sequence[float],
        units: Path | None = None,
    ) -> None:
        self.recordings = Recordings(data, sample_rate=sample_rate, level_db=level_db)
        self.given = None if units is None else GivenCodes(units, self.recordings)
        self.labeller = Labeller(self.recordings, hop_length, coefficients, offsets)
        self.speakers = {name: index for index, name in enumerate(speakers)}
        self.sample_rate, self.hop_length, self.left, self.right = sample_rate, hop_length, left, right
        self.speaker_dropout, self.seed = speaker_dropout, seed
        durations = self.recordings.durations
        self.weights = np.cumsum(durations) / durations.sum()

    @property
    def seconds(self) -> float:
        """Seconds of speech in the data directory."""
        return float(self.recordings.durations.sum())

    def batch(
        self,
        step: int,
        *,
        size: int,
        frames: int,
        speed: float = 0.0,
        margin: int = 0,
        stream: int = 0,
        rank: int = 0,
        processes: int = 1,
    ) -> Batch:
        """Return the batch of `size` segments of `margin + frames + margin` frames that belongs to `step`.

        The margins may lie outside the utterance. Each segment is played faster or slower by a factor of up to
        `1 + speed`, which moves pitch and formants to another speaker's; its labels stay those of the utterance as it
        is. `stream` tells apart the uses of a step. The batches of all `processes` in the order of their `rank` are
        what one process draws for a batch of `size * processes`.

        Raises:
            JobError: too many utterances cannot be read.
        """
        random = np.random.default_rng([self.seed, stream, step])
        rows = self._rows(random.random(size * processes))
        items = []
        for i, row in enumerate(rows):
            where, drop, faster = random.random(), random.random(), random.uniform(-1, 1)
            if i // size != rank:
                continue
            tried = self._with_substitutes(row, stream, step, i)
            segments = (self._readable_segment(r, frames, where, drop, (1 + speed) ** faster, margin) for r in tried)
            segment = next((segment for segment in segments if segment is not None), None)
            if segment is None:
                data = self.recordings.data
                raise JobError(
                    f"{data}: {MAX_SUBSTITUTES + 1} utterances drawn in a row cannot be read; "
                    f"vqaudio data validate {data} lists them all"
                )
            items.append(segment)
        return _collate(items)

    def shuffled(self) -> list[int]:
        """Return all rows in an order that depends on the seed alone."""
        return np.random.default_rng(self.seed).permutation(len(self.recordings.utterances)).tolist()

    def label_features(self, frames: int) -> list[Tensor]:
        """Return features of labels, (N, F) of each utterance of a fixed shuffle, until they are `frames` or all.

        Raises:
            JobError: too many utterances cannot be read.
        """
        parts: list[Tensor] = []
        for row in self.shuffled():
            try:
                parts.append(self.labeller.voices.features(row))
            except UserError as error:
                self.recordings.skip(row, error)
            if sum(map(len, parts)) >= frames:
                break
        return parts

    def middles(self, count: int, frames: int) -> Iterator[Batch]:
        """Yield the middle of up to `count` utterances as batches of one, for validation.

        It has `frames` frames, or all frames of a shorter utterance. It is the same at every call. Speakers take turns,
        so that each has as many as the others or one less.
        """
        rows = take_turns([utterance.speaker for utterance in self.recordings.utterances])
        if self.given is not None:
            rows = [row for row in rows if self.given.num_frames[row]]
        segments = (self._readable_segment(row, frames, 0.5, 1.0, 1.0, 0, inside=True) for row in rows)
        yield from itertools.islice((_collate([segment]) for segment in segments if segment is not None), count)

    def _rows(self, shares: np.ndarray) -> list[int]:
        """Return the utterances that lie at some shares of all speech."""
        rows = np.searchsorted(self.weights, shares, side="right").clip(max=len(self.weights) - 1)
        return [int(row) for row in rows]

    def _with_substitutes(self, row: int, stream: int, step: int, segment: int) -> Iterator[int]:
        """Yield the utterance that was drawn for a segment, then those to try in its place."""
        yield row
        yield from self._rows(np.random.default_rng([self.seed, stream, step, segment + 1]).random(MAX_SUBSTITUTES))

    def _readable_segment(self, row: int, *args: Any, **kwargs: Any) -> Batch | None:
        """Cut a segment as `_segment` does; return None and record it if the utterance cannot be read."""
        recordings = self.recordings
        try:
            segment = self._segment(row, *args, **kwargs)
        except UserError as error:
            recordings.skip(row, error)
            return None
        recordings.unreadable.pop(recordings.utterances[row].utt, None)
        return segment

    def _segment(
        self, row: int, frames: int, where: float, drop: float, speed: float, margin: int, inside: bool = False
    ) -> Batch:
        """Cut `frames` frames at the share `where` of the possible starts, and a margin on both sides.

        Outside the utterance there are zeros. With `inside` there are no more frames than the utterance has.
        """
        recordings, hop = self.recordings, self.hop_length
        level = recordings.level(row)
        total = min(round(float(recordings.durations[row]) * self.sample_rate), level.samples)
        if self.given is not None:
            total = min(total, int(self.given.num_frames[row]) * hop)
        frames = min(frames, math.ceil(total / hop)) if inside else frames
        if self.given is None:
            first = int(where * max(0, total - speed * frames * hop + 1) - speed * margin * hop)
        else:  # units are those of whole frames
            first = (int(where * (max(0, total // hop - frames) + 1)) - margin) * hop
        frames += 2 * margin
        begin = first - math.ceil(speed * self.left)
        audible = np.zeros(math.ceil(speed * (self.left + frames * hop + self.right)) + 2, dtype=np.float32)
        if begin < total and begin + len(audible) > 0:
            wav = recordings.read(row, max(0, begin), min(begin + len(audible), total))[: len(audible) - max(0, -begin)]
            audible[max(0, -begin) :][: len(wav)] = level.change.apply(wav)
        starts = first + speed * np.arange(frames) * hop
        inner = (starts >= 0) & (starts < total)
        padded = audible[: self.left + frames * hop + self.right]
        if speed != 1:
            times = first - begin + speed * np.arange(-self.left, frames * hop + self.right)
            padded = np.interp(times, np.arange(len(audible)), audible).astype(np.float32)
        name = recordings.utterances[row].speaker
        speaker = 0 if drop < self.speaker_dropout else self.speakers.get(name, 0)
        segment = Batch(*map(torch.as_tensor, (padded, speaker, inner, np.zeros(frames, int))))
        if self.given is not None:
            return segment._replace(**self.given.segment(row, first // hop, frames))
        labels = self.labeller.labels(row)
        centres = np.rint((starts + speed * hop / 2) / hop - 0.5).astype(int).clip(0, len(labels) - 1)
        return segment._replace(labels=torch.as_tensor(np.where(inner, labels[centres], 0).astype(int)))


def _collate(segments: list[Batch]) -> Batch:
    """Return the batch of some segments, whose tensors have no batch axis yet."""
    return Batch(*(torch.stack(parts) for parts in zip(*segments, strict=True)))


def speaker_list(data: Path) -> list[str]:
    """Return `<unknown>` and the sorted speakers of a data directory: the model's speaker indices."""
    return [UNKNOWN_SPEAKER, *sorted({u.speaker for u in datadir.read_utterances(data)})]


def take_turns(speakers: Sequence[str]) -> list[int]:
    """Return all rows in an order in which speakers take turns; the order of each speaker's rows is a fixed shuffle."""
    turns: Counter[str] = Counter()
    ordered = []
    for row in np.random.default_rng(0).permutation(len(speakers)).tolist():
        ordered.append((turns[speakers[row]], row))
        turns[speakers[row]] += 1
    return [row for _, row in sorted(ordered, key=operator.itemgetter(0))]
