"""Reads unit directories: codes on disk, as text that other tools read too.

    units.txt         utt-id 71 71 12 …     one line per utterance, sorted; G > 1 joins groups: 71-3 12-40
    utt2num_units     utt-id N
    units.json        settings and counts (`UnitsInfo`)
    durations.txt     only if deduplicated: utt-id d1 d2 …, in frames
    failed.txt        utt-id <tab> reason

Text is UTF-8 and sorted by bytes, as `LC_ALL=C sort` does.
"""

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import vqaudio
from vqaudio.errors import UserError
from vqaudio.units.sequence import UnitSequence
from vqaudio.units.text import EXTRACT_AGAIN, parse_durations, parse_units, printable

Line = tuple[int, str, bytes]
"""Number, key and rest of a line."""

MAX_NUMBER = 2**53
"""Largest number in `units.json`: up to here every whole number is exact in any JSON reader."""


@dataclass(frozen=True)
class UnitsInfo:
    """The contents of `units.json`: settings and counts of a unit directory; `of` makes one without counts."""

    sample_rate: int
    """Hz, of the audio that the model works on."""
    hop_length: int
    """Samples per frame."""
    frame_rate: float
    """Frames per second (Hz): `sample_rate` / `hop_length`."""
    codebook_size: int
    """K: units are 0 to K - 1."""
    groups: int
    """G: units per frame."""
    deduplicated: bool
    """Whether runs of equal frames are one unit, whose lengths are in `durations.txt`."""
    change_penalty: float = dataclasses.field(default=0.0, kw_only=True)
    """Penalty for every change of unit (see `vqaudio.model.penalty`); 0 is none, or unknown."""
    model_hash: str
    """SHA-256 of the weights that made the units (`LoadedModel.units_hash`); empty if unknown: not decoded."""
    vqaudio_version: str
    num_utterances: int = 0
    num_frames: int = 0
    """Frames before deduplication."""

    @classmethod
    def of(
        cls,
        *,
        sample_rate: int,
        hop_length: int,
        codebook_size: int,
        groups: int,
        deduplicated: bool = False,
        change_penalty: float = 0.0,
        model_hash: str = "",
    ) -> "UnitsInfo":
        """Return settings without counts; the frame rate and vqaudio's version are derived here and nowhere else."""
        frame_rate = sample_rate / hop_length
        return cls(
            sample_rate,
            hop_length,
            frame_rate,
            codebook_size,
            groups,
            deduplicated,
            model_hash,
            vqaudio.__version__,
            change_penalty=float(change_penalty),
        )

    def difference(self, other: "UnitsInfo") -> str | None:
        """Say how `other` differs in its first different setting; None if all settings are equal."""
        for name in _SETTINGS:
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                return f"{name} is {_short(theirs)}, not {_short(ours)}"
        return None


_FIELDS = {field.name: field.type for field in dataclasses.fields(UnitsInfo)}
_SETTINGS = [name for name in _FIELDS if name not in ("vqaudio_version", "num_utterances", "num_frames")]


class Units:
    """A unit directory; iterating yields its `UnitSequence`s in order and checks every line.

    With `predictable` durations, merged units may come without durations.txt; they are then `untimed`, and have None.
    """

    def __init__(self, directory: Path, *, predictable: bool = False) -> None:
        self.directory = directory
        self.info = read_info(directory / "units.json")
        self.untimed = predictable and self.info.deduplicated and not (directory / "durations.txt").exists()

    def __len__(self) -> int:
        return self.info.num_utterances

    def __iter__(self) -> Iterator[UnitSequence]:
        info, path = self.info, self.directory / "units.txt"
        timed = info.deduplicated and not self.untimed
        names = ["units.txt", "utt2num_units"] + (["durations.txt"] if timed else [])
        utterances = frames = 0
        for rows in zip_longest(*(_lines(self.directory / name) for name in names)):
            (line, utt, body), *others = self._aligned(names, rows)
            where = f"{path}:{line}: {utt}"
            units = parse_units(body, info.groups, info.codebook_size, where)
            self._check_count(line, others[0][2], units.shape[1])
            durations = None
            if timed:
                durations = parse_durations(others[1][2], units.shape[1], f"{self.directory / 'durations.txt'}:{line}")
            sequence = UnitSequence(utt, units, durations)
            utterances += 1
            frames += sequence.num_frames
            yield sequence
        counts = {"num_utterances": utterances} | ({} if self.untimed else {"num_frames": frames})
        for name, found in counts.items():
            if getattr(info, name) != found:
                raise UserError(
                    f"{self.directory / 'units.json'}: {name} is {getattr(info, name)}, but units.txt holds {found}; "
                    f"{EXTRACT_AGAIN}"
                )

    def _aligned(self, names: list[str], rows: tuple[Line | None, ...]) -> list[Line]:
        """Return one line of each file; raise if a file has ended or has another utterance here."""
        line, utt, _ = next(row for row in rows if row is not None)
        for name, row in zip(names, rows, strict=True):
            if row is None or row[1] != utt:
                found = "ends" if row is None else f"has {row[1]}"
                raise UserError(
                    f"{self.directory / name}:{line}: {found} where another file has {utt}; {EXTRACT_AGAIN}"
                )
        return [row for row in rows if row is not None]

    def _check_count(self, line: int, body: bytes, units: int) -> None:
        if body.strip() != str(units).encode():
            raise UserError(
                f"{self.directory / 'utt2num_units'}:{line}: {printable(body)!r} units, but units.txt holds {units}; "
                f"{EXTRACT_AGAIN}"
            )


def read_units(directory: Path, *, expected_hash: str | None = None, predictable: bool = False) -> Units:
    """Open a unit directory after checking all of it; memory does not grow with its size.

    Args:
        directory: what `vqaudio extract` wrote.
        expected_hash: hash of the model that will read the units.
        predictable: see `Units`.

    Raises:
        UserError: a file is missing or malformed; a unit lies outside the codebook; a line has no units; keys are
            unsorted or repeated; counts disagree; there is no utterance; the units belong to another model.
    """
    units = Units(directory, predictable=predictable)
    if expected_hash is not None and units.info.model_hash != expected_hash:
        made_by = _short(units.info.model_hash) or "unknown (if this one made them, convert them again with --model)"
        raise UserError(
            f"{directory / 'units.json'}: the units belong to model {made_by}, not {_short(expected_hash)}; use the "
            f"model that made them, or {EXTRACT_AGAIN}"
        )
    for _ in units:
        pass
    if len(units) == 0:
        raise UserError(f"{directory / 'units.txt'}: no utterances; see failed.txt there, then {EXTRACT_AGAIN}")
    return units


def read_failed(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield (utt, reason) of `failed.txt`."""
    with (directory / "failed.txt").open("rb") as file:
        for line in file:
            utt, _, reason = line.decode().rstrip("\n").partition("\t")
            yield utt, reason


def read_info(path: Path) -> UnitsInfo:
    """Read a `units.json`.

    Raises:
        UserError: it is missing, malformed or contradicts itself.
    """
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: not found, so this is no complete unit directory; run vqaudio extract") from None
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}); {EXTRACT_AGAIN}") from None
    return parse_info(values, path)


def parse_info(values: object, path: Path) -> UnitsInfo:
    """Return the settings and counts that a `units.json`, or another file with its keys, holds.

    Raises:
        UserError: they are malformed or contradict each other.
    """
    if isinstance(values, dict):
        values = {"change_penalty": 0.0, **values}  # which earlier versions did not write
    if not isinstance(values, dict) or values.keys() != _FIELDS.keys():
        raise UserError(f"{path}: must be an object with the keys {', '.join(_FIELDS)}; {EXTRACT_AGAIN}")
    for name, kind in _FIELDS.items():
        accepted = (int, float) if kind is float else kind
        value = values[name]
        good = isinstance(value, accepted) and isinstance(value, bool) == (kind is bool)  # type: ignore[arg-type]
        least = 0 if name.startswith("num_") else 1
        if not good or (kind is int and not least <= value <= MAX_NUMBER):
            raise UserError(f"{path}: {name} is {value!r}; {EXTRACT_AGAIN}")
    if not (math.isfinite(values["change_penalty"]) and values["change_penalty"] >= 0):
        raise UserError(f"{path}: change_penalty is {values['change_penalty']}, not 0 or more; {EXTRACT_AGAIN}")
    rate = values["sample_rate"] / values["hop_length"]
    if values["frame_rate"] != rate:
        raise UserError(
            f"{path}: frame_rate is {values['frame_rate']}, but sample_rate / hop_length is {rate}; {EXTRACT_AGAIN}"
        )
    return UnitsInfo(**values)


def _lines(path: Path) -> Iterator[Line]:
    """Yield number, key and rest of each line; keys must be UTF-8, sorted by bytes and unique."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {EXTRACT_AGAIN}") from None
    previous = b""
    with file:
        for number, line in enumerate(file, start=1):
            key, _, body = line.rstrip(b"\n").partition(b" ")
            where = f"{path}:{number}"
            if not line.endswith(b"\n") or not key:
                raise UserError(f"{where}: the line is cut off; {EXTRACT_AGAIN}")
            if key <= previous:
                wrong = (
                    "occurs twice"
                    if key == previous
                    else f"comes after {printable(previous)}, not in the order of LC_ALL=C"
                )
                raise UserError(f"{where}: {printable(key)} {wrong}; {EXTRACT_AGAIN}")
            try:
                yield number, key.decode(), body
            except UnicodeDecodeError:
                raise UserError(f"{where}: the key is not UTF-8; {EXTRACT_AGAIN}") from None
            previous = key


def _short(value: object) -> object:
    return value[:12] if isinstance(value, str) else value
