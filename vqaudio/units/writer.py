"""Writes unit directories: at once from a sorted stream, or bit by bit through a journal that survives a killed job."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from vqaudio import files
from vqaudio.datadir import read_table
from vqaudio.errors import UserError
from vqaudio.outputs import claim_folder
from vqaudio.units.directory import Units, UnitsInfo, read_failed, read_info
from vqaudio.units.sequence import deduplicate
from vqaudio.units.text import format_frames, format_units, parse_units

START_AFRESH = "remove it or choose another --out"
KIND = "units"
"""What the mark of a unit directory says (see `vqaudio.outputs`)."""
HASHES = "utt2sha256"
"""File in a unit directory with the SHA-256 of the file that each utterance was made from."""
UNKNOWN_HASH = "-"
"""Stands for a hash in the journal, if there is none."""
VERSION = 2  # of the form of the journal
SHARDS = "shards"
"""Folder inside a unit directory for the unit directories of its shards."""


class Record(NamedTuple):
    """The codes (G, N) of an utterance, and the SHA-256 of the file that they were made from, "" if it is unknown."""

    utt: str
    codes: np.ndarray
    sha256: str = ""


def write_units(
    directory: Path, settings: UnitsInfo, records: Iterable[tuple], failed: Iterable[tuple[str, str]]
) -> UnitsInfo:
    """Write a unit directory from a sorted stream of `Record`s, or (utt, codes (G, N)), and one of (utt, reason).

    Each file replaces the old one atomically, `units.json` last: a directory that has one is complete.

    Raises:
        UserError: the directory holds files that vqaudio did not make.
    """
    claim_folder(directory, KIND)
    (directory / "units.json").unlink(missing_ok=True)
    utterances = frames = 0
    with ExitStack() as stack:
        units_file = stack.enter_context(files.atomic_writer(directory / "units.txt", "wb"))
        count_file = stack.enter_context(files.atomic_writer(directory / "utt2num_units", "wb"))
        hash_file = stack.enter_context(files.atomic_writer(directory / HASHES, "wb"))
        if settings.deduplicated:
            durations_file = stack.enter_context(files.atomic_writer(directory / "durations.txt", "wb"))
        for utt, codes, sha256 in (Record(*record) for record in records):
            utterances += 1
            frames += codes.shape[1]
            units = codes
            if settings.deduplicated:
                units, durations = deduplicate(codes)
                durations_file.write(f"{utt} {' '.join(map(str, durations.tolist()))}\n".encode())
            units_file.write(format_units(utt, units))
            count_file.write(f"{utt} {units.shape[1]}\n".encode())
            if sha256:
                hash_file.write(f"{utt} {sha256}\n".encode())
    if (directory / HASHES).stat().st_size == 0:
        (directory / HASHES).unlink()  # units that were not made from files have none
    with files.atomic_writer(directory / "failed.txt", "wb") as failed_file:
        for utt, reason in failed:
            failed_file.write(f"{utt}\t{_one_line(reason)}\n".encode())
    info = dataclasses.replace(settings, num_utterances=utterances, num_frames=frames)
    files.atomic_write(directory / "units.json", json.dumps(dataclasses.asdict(info), indent=2) + "\n")
    return info


def check_settings(directory: Path, settings: UnitsInfo) -> None:
    """Raise unless a folder may be written to or completed.

    Raises:
        UserError: it holds units of other settings.
    """
    if (directory / "units.json").exists():
        difference = settings.difference(read_info(directory / "units.json"))
        if difference:
            raise UserError(f"{directory}: contains units whose {difference}; {START_AFRESH}")


class UnitWriter:
    """Collects units in a journal, in any order, and writes a unit directory from it at the end.

    Every complete line of the journal survives a killed job. Memory holds an id and an offset for each utterance, never
    units. If nothing is written and nothing has failed anew, a finished directory stays as it is, file by file.
    """

    JOURNAL = "journal.txt"

    def __init__(self, directory: Path, settings: UnitsInfo) -> None:
        self.directory, self.settings = directory, settings
        self.path = directory / self.JOURNAL
        self.offsets: dict[str, int] = {}
        self.file: BinaryIO | None = None
        claim_folder(directory, KIND)
        check_settings(directory, settings)
        if self.path.exists():
            self._reopen()
        elif (directory / "units.json").exists():
            self.offsets = dict.fromkeys((sequence.utt for sequence in Units(directory)), 0)

    def _header(self) -> bytes:
        return json.dumps({"journal": VERSION} | dataclasses.asdict(self.settings)).encode() + b"\n"

    def _reopen(self) -> None:
        """Open a journal to continue it after its last complete line."""
        self.offsets = {}
        with self.path.open("rb") as file:
            try:
                header = json.loads(file.readline())
                version = header.pop("journal", 1)
                difference = self.settings.difference(UnitsInfo(**header))
                if version != VERSION:
                    difference = f"journal has version {version}, not {VERSION}"
            except (ValueError, TypeError, AttributeError):
                difference = "journal has no first line"
            if difference:
                raise UserError(f"{self.path}: is of units whose {difference}; remove {self.directory}")
            end = file.tell()
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self.offsets[line.partition(b" ")[0].decode()] = end
                end += len(line)
        self.file = files.open_to_write(self.path, "r+")
        self.file.truncate(end)
        self.file.seek(end)

    def _begin(self) -> None:
        """Start a journal with the units of the finished directory, if there is one."""
        with files.atomic_writer(self.path, "wb") as file:
            file.write(self._header())
            if (self.directory / "units.json").exists():
                for record in read_records(self.directory):
                    file.write(_line(record))
        self._reopen()

    def write(self, utt: str, codes: np.ndarray, sha256: str = "") -> None:
        """Add the codes (G, N) of an utterance, and the hash of its file; they replace earlier ones."""
        if self.file is None:
            self._begin()
        assert self.file is not None
        self.offsets[utt] = self.file.tell()
        self.file.write(_line(Record(utt, codes, sha256)))
        self.file.flush()

    def hashes(self) -> dict[str, str]:
        """Return the hash of the file of each utterance that is there, "" if it is unknown."""
        if self.file is None and (self.directory / "units.json").exists():
            return {record.utt: record.sha256 for record in read_records(self.directory)}
        return {record.utt: record.sha256 for record in self._sorted()} if self.offsets else {}

    def finish(self, failed: Mapping[str, str]) -> UnitsInfo:
        """Write the unit directory, with `failed` (utt to reason), and delete the journal."""
        if self.is_finished(failed):
            return read_info(self.directory / "units.json")
        if self.file is None:
            self._begin()
        info = write_units(self.directory, self.settings, self._sorted(), failed.items())
        self.path.unlink()
        return info

    def is_finished(self, failed: Mapping[str, str]) -> bool:
        """Return whether the directory is complete and already holds all that is known."""
        if self.file is not None or not (self.directory / "units.json").exists():
            return False
        return dict(read_failed(self.directory)) == {utt: _one_line(reason) for utt, reason in failed.items()}

    def _sorted(self) -> Iterator[Record]:
        with self.path.open("rb") as file:
            for utt in sorted(self.offsets, key=str.encode):
                file.seek(self.offsets[utt])
                _, sha256, body = file.readline().split(b" ", 2)
                codes = parse_units(body, self.settings.groups, self.settings.codebook_size, f"{self.path}: {utt}")
                yield Record(utt, codes, sha256.decode().removeprefix(UNKNOWN_HASH))

    def __enter__(self) -> "UnitWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()


def read_records(directory: Path) -> Iterator[Record]:
    """Yield the records of a finished unit directory in order, each checked."""
    hashes = read_table(directory / HASHES) if (directory / HASHES).exists() else {}
    for sequence in Units(directory):
        yield Record(sequence.utt, sequence.codes, hashes.get(sequence.utt, ""))


def _line(record: Record) -> bytes:
    """Return the line of a record in the journal: `utt sha256 71-3 12-40`."""
    return f"{record.utt} {record.sha256 or UNKNOWN_HASH} {format_frames(record.codes)}\n".encode()


def _one_line(reason: str) -> str:
    return " ".join(reason.split())
