"""Units of other tools as training data: the configuration of a model that speaks them, and the codes of utterances."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vqaudio.errors import UserError
from vqaudio.units.directory import Units, read_info
from vqaudio.units.sequence import UnitSequence
from vqaudio.units.text import parse_durations, parse_units

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from vqaudio.training.recordings import Recordings

logger = logging.getLogger("vqaudio.training")

MAX_APART = 2.0
"""Frames that units and audio may differ by: tools leave out up to two at the end, where their windows do not fit."""

MAX_ABSENT = 0.5
"""Training is refused when more than this share of the utterances have no units."""

MERGED = 64
"""Merged units of a segment that durations are learnt from: whole ones, more than a segment has."""

UNUSED = ("quantizer", "model.encoder", "trainer.codebook_", "trainer.label", "trainer.decoder_start")
"""Beginnings of settings that only training with an encoder reads; `trainer.collapse_usage` is another one."""


def refuse_unused(overrides: list[str]) -> None:
    """Refuse settings that do nothing when units are given.

    Raises:
        UserError: names the first one.
    """
    for override in overrides:
        if override.startswith((*UNUSED, "trainer.collapse_usage")):
            raise UserError(f"train: {override} does nothing with data.units, which need no encoder; leave out either")


def with_units(cfg: "DictConfig") -> "DictConfig":
    """Return the configuration of a model that speaks the units of `data.units`; without these, `cfg` itself.

    It has no encoder and one phase, in which the WaveNet learns; `quantizer` and `units_hash` say what units it speaks.

    Raises:
        UserError: a unit directory cannot be read, or that of the validation set has other units.
    """
    if cfg.data.units is None:
        return cfg
    from omegaconf import OmegaConf

    path, other = (Path(units) / "units.json" for units in (cfg.data.units, cfg.data.valid_units))
    info = read_info(path)
    if difference := info.difference(read_info(other)):
        raise UserError(f"{other}: {difference}, as in {path}; give units of the same kind for data.valid_units")
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    del values["model"]["encoder"]
    values["quantizer"] = {
        "name": "given",
        "options": {"codebook_size": info.codebook_size, "groups": info.groups},
        "units": {
            "sample_rate": info.sample_rate,
            "hop_length": info.hop_length,
            "deduplicated": info.deduplicated,
        },
    }
    values["units_hash"] = info.model_hash
    trainer = {key: value for key, value in values["trainer"].items() if not f"trainer.{key}".startswith(UNUSED)}
    values["trainer"] = trainer | {"codebook_start": 0.0, "decoder_start": 0.0, "collapse_usage": 0.0}
    return OmegaConf.create(values)


class GivenCodes:
    """The units of the utterances of a data directory, read from their text when they are wanted.

    In memory are only the place of each line and the number of frames, `num_frames` (rows,), 0 for utterances without
    units. These get the duration 0 in `recordings`, so that no segment is drawn from them.

    Raises:
        UserError: the unit directory is malformed, most utterances are not in it, or units and audio differ in length.
    """

    def __init__(self, directory: Path, recordings: "Recordings") -> None:
        self.recordings, self.units = recordings, Units(directory)
        names = ["units.txt"] + (["durations.txt"] if self.units.info.deduplicated else [])
        self.paths = [directory / name for name in names]
        utterances = recordings.utterances
        self.num_frames = np.zeros(len(utterances), np.int64)
        self.places = np.zeros((len(names), len(utterances)), np.int64)  # bytes before the line
        row = 0
        # Both are in the order of LC_ALL=C, which is that of Python's strings.
        for sequence, *places in zip(self.units, *map(_places, self.paths), strict=False):
            while row < len(utterances) and utterances[row].utt < sequence.utt:
                row += 1
            if row < len(utterances) and utterances[row].utt == sequence.utt:
                self.num_frames[row], self.places[:, row] = sequence.num_frames, places
        self._check_absent()
        self._check_lengths()
        recordings.durations[self.num_frames == 0] = 0.0

    def segment(self, row: int, first: int, frames: int) -> dict[str, Tensor]:
        """Return what a `Batch` has of an utterance's units, for some frames from `first` on.

        Frames outside the utterance have its first or its last unit.

        Raises:
            UserError: as `read`.
        """
        sequence = self.read(row)
        codes = sequence.codes[:, (first + np.arange(frames)).clip(0, sequence.num_frames - 1)]
        found = {"codes": torch.from_numpy(codes)}
        if sequence.durations is not None:
            begin = int(np.searchsorted(np.cumsum(sequence.durations), first + frames // 2)) - MERGED // 2
            begin = max(0, min(begin, len(sequence.durations) - MERGED))
            units, durations = sequence.units[:, begin:][:, :MERGED], sequence.durations[begin:][:MERGED]
            behind = MERGED - len(durations)
            found["merged"] = torch.from_numpy(np.pad(units, ((0, 0), (0, behind))))
            found["durations"] = torch.from_numpy(np.pad(durations, (0, behind)))
        return found

    def read(self, row: int) -> UnitSequence:
        """Read the units of an utterance.

        Raises:
            UserError: their text is another one than before.
        """
        utt, info = self.recordings.utterances[row].utt, self.units.info
        body, *others = (self._line(i, row, utt) for i in range(len(self.paths)))
        units = parse_units(body, info.groups, info.codebook_size, f"{self.paths[0]}: {utt}")
        durations = None
        if others:
            durations = parse_durations(others[0], units.shape[1], f"{self.paths[1]}: {utt}")
        return UnitSequence(utt, units, durations)

    def _line(self, i: int, row: int, utt: str) -> bytes:
        """Return what follows the utterance's name in its line of a file."""
        with self.paths[i].open("rb") as file:  # a file for every call: several threads read
            file.seek(int(self.places[i, row]))
            key, _, body = file.readline().rstrip(b"\n").partition(b" ")
        if key != utt.encode():
            raise UserError(f"{self.paths[i]}: changed while it was read; run the command again")
        return body

    def _check_absent(self) -> None:
        absent = np.flatnonzero(self.num_frames == 0)
        if not len(absent):
            return
        data, utterances = self.recordings.data, self.recordings.utterances
        found = f"{data}: {len(absent)} of {len(utterances)} utterances, such as {utterances[absent[0]].utt}"
        if len(absent) > MAX_ABSENT * len(utterances):
            raise UserError(f"{found}, have no units in {self.units.directory}; give the units of this data")
        logger.warning("%s, have no units in %s and are left out", found, self.units.directory)

    def _check_lengths(self) -> None:
        seconds, info = self.recordings.durations, self.units.info
        known = (self.num_frames > 0) & (seconds > 0)  # audio that cannot be opened has no length
        apart = np.where(known, np.abs(self.num_frames - seconds * info.frame_rate), 0)
        row = int(apart.argmax())
        if apart[row] > MAX_APART:
            raise UserError(
                f"{self.paths[0]}: {self.recordings.utterances[row].utt}: {self.num_frames[row]} frames, but "
                f"{seconds[row]:.2f} s of audio make {seconds[row] * info.frame_rate:.1f} at {info.frame_rate:g} Hz, "
                f"more than {MAX_APART:g} apart; give the units of this data, or correct their rate in units.json"
            )


def _places(path: Path) -> Iterator[int]:
    """Yield the number of bytes before each line."""
    place = 0
    with path.open("rb") as file:
        for line in file:
            yield place
            place += len(line)
