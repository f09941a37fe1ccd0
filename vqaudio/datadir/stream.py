"""Reads data directories of any size as streams: the utterances of a part, in order, without a list of all of them."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vqaudio.datadir.tables import Utterance, parse_seconds, pipe_problems, read_table, refuse, scan_table
from vqaudio.datadir.utterances import check_utterances, parse_segment, read_channels, read_wav_scp
from vqaudio.errors import UserError

_PLAIN = re.compile(rb"([!-~]+)[ \t]+([!-~](?:[ -~]*[!-~])?)[ \t]*\n?")  # most lines: ASCII, key and value
_CHUNK = 1 << 20  # bytes


def read_utterances(data: str | Path) -> list[Utterance]:
    """Return the utterances of a data directory, sorted by name.

    Relative paths in wav.scp are relative to the current directory, as in Kaldi.

    Raises:
        UserError: a file is missing or malformed, wav.scp contains a command ("… |"), or the files do not have the same
            utterances.
    """
    return list(Manifest(data).utterances())


def read_audio_list(path: Path) -> dict[str, Utterance]:
    """Return the utterances of a data directory, or those of a wav.scp alone, each by a speaker of its own.

    Raises:
        UserError: as in `read_utterances` and `read_wav_scp`.
    """
    if path.is_dir():
        return {utterance.utt: utterance for utterance in read_utterances(path)}
    return {utt: Utterance(utt, file, speaker=utt) for utt, file in read_wav_scp(path).items()}


class Listed:
    """Utterances that are in memory, sorted by name, cut into parts by their number; used as a `Manifest`."""

    def __init__(self, utterances: list[Utterance]) -> None:
        self.listed = utterances

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.listed)

    def bounds(self, index: int, parts: int) -> tuple[int, int]:
        """Return the bounds of part `index` (from 1)."""
        return (index - 1) * len(self.listed) // parts, index * len(self.listed) // parts

    def seconds(self) -> float | None:
        """Return None: how long they are is not known."""
        return None

    def utterances(self, first: int = 0, after: int | None = None) -> Iterator[Utterance]:
        """Yield utterances."""
        return iter(self.listed[first:after])


class Manifest:
    """The utterances of a data directory, which is read anew for every use: memory does not grow with it.

    Parts are cut by duration: `utt2dur` has it, or `segments`; where neither does, every utterance weighs the same.
    """

    def __init__(self, data: str | Path) -> None:
        self.data = Path(data)
        if not self.data.is_dir():
            raise UserError(f"{self.data}: no such data directory; check the path")
        self.source = self.data / ("segments" if (self.data / "segments").exists() else "wav.scp")

    def __len__(self) -> int:
        """Return the number of utterances."""
        return _count_lines(self.source)

    def seconds(self) -> float | None:
        """Return the duration of all utterances; None if it is not known."""
        known = (self.data / "utt2dur").exists() or self.source.name == "segments"
        return sum(self._weights()) if known else None

    def bounds(self, index: int, parts: int) -> tuple[int, int]:
        """Return the numbers (from 0) of the first utterance of part `index` (from 1) and of the first after it.

        A part may be empty, if an utterance is longer than a part.

        Raises:
            UserError: a line of utt2dur is malformed, or its utterances are not those of the directory.
        """
        if parts == 1:
            return 0, len(self)
        return cut(np.fromiter(self._weights(), float), index, parts)  # eight bytes an utterance

    def utterances(self, first: int = 0, after: int | None = None) -> Iterator[Utterance]:
        """Yield utterances, sorted by name, from number `first` to before number `after` (None: to the end).

        Raises:
            UserError: as `read_utterances` raises it, when the stream comes to what is wrong.
        """
        recordings = read_wav_scp(self.data / "wav.scp") if self.source.name == "segments" else None
        channels = read_channels(self.data)
        lines = stream_table(self.source, "the path of its audio" if recordings is None else "its segment")
        pairs = itertools.zip_longest(lines, stream_table(self.data / "utt2spk", "its speaker"))
        for line, other in itertools.islice(pairs, first, after):
            if line is None or other is None or line[0] != other[0]:
                raise self._explanation()
            utt, value = line
            if recordings is None:
                refuse(pipe_problems(self.source, {utt: value}))
                yield Utterance(utt, Path(value), other[1], channel=channels.get(utt))
                continue
            span = parse_segment(value)
            if isinstance(span, str) or span[0] not in recordings:
                raise self._explanation()
            yield Utterance(utt, recordings[span[0]], other[1], span[1], span[2], channels.get(span[0]))

    def _explanation(self) -> UserError:
        """Return an error for a directory in which nothing is wrong any more; raise the error if there is one."""
        check_utterances(self.data)
        return UserError(f"{self.data}: changed while it was read; run the command again")

    def _weights(self) -> Iterator[float]:
        """Yield the duration of each utterance in seconds, or 1 if durations are not known."""
        path = self.data / "utt2dur"
        if path.exists():
            names = (utt for utt, _ in stream_table(self.source, ""))
            for utt, line in itertools.zip_longest(names, stream_table(path, "its duration in seconds")):
                seconds = parse_seconds(line[1]) if line else None
                if line is None or utt != line[0] or seconds is None:
                    found = "ends" if line is None else f"has '{' '.join(line)}'"
                    raise UserError(f"{path}: {found} where {self.source.name} has '{utt}'; repair it or remove it")
                yield seconds
        elif self.source.name == "segments":
            for _, value in stream_table(self.source, "its segment"):
                span = parse_segment(value)
                known = not isinstance(span, str) and span[2] is not None
                yield span[2] - span[1] if known else 1.0  # type: ignore[operator]
        else:
            yield from itertools.repeat(1.0, len(self))


def cut(weights: np.ndarray, index: int, parts: int) -> tuple[int, int]:
    """Return the bounds of part `index` (from 1) of things in order, cut so that parts weigh about the same.

    >>> [cut(np.array([1.0, 1.0, 2.0, 4.0]), index, 2) for index in (1, 2)]
    [(0, 3), (3, 4)]
    """
    ends = np.cumsum(weights)
    part = (ends - weights / 2) / ends[-1] * parts if len(ends) else ends
    return int(np.searchsorted(part, index - 1)), int(np.searchsorted(part, index)) if index < parts else len(part)


def stream_table(path: Path, what: str) -> Iterator[tuple[str, str]]:
    """Yield key and value of each line of a table that is sorted as under LC_ALL=C, each key once.

    Raises:
        UserError: as `read_table`, when the stream comes to what is wrong.
    """
    try:
        file = path.open("rb")
    except OSError:
        read_table(path, what=what)
        raise
    previous = ""
    with file:
        for row in file:
            if plain := _PLAIN.fullmatch(row):
                key, value = plain[1].decode(), plain[2].decode()
            else:
                table = scan_table(path, what, content=row)
                ((key, value),) = table.values.items() if not table.problems else (("", ""),)
            if key <= previous:
                read_table(path, what=what)  # says what is wrong
                raise UserError(f"{path}: changed while it was read; run the command again")
            yield key, value
            previous = key


def _count_lines(path: Path) -> int:
    """Return the number of lines of a file; the last one may lack its end."""
    try:
        with path.open("rb") as file:
            count, last = 0, b"\n"
            while chunk := file.read(_CHUNK):
                count += chunk.count(b"\n")
                last = chunk[-1:]
            return count + (last != b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None
