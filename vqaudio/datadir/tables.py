"""Reads and writes the files of a Kaldi data directory: "key value" tables, and phones in CTM."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqaudio.errors import UserError
from vqaudio.files import atomic_write, atomic_writer

_LINE = re.compile(r"([^ \t]+)(?:[ \t]+(.*))?", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
ODD_SPACE = re.compile("[^\\S \t]|[\u200b\ufeff]")
"""White space other than blank and tab, and two characters of zero width."""
PIPE = "a command that a shell would run; write its output to a file (sox, ffmpeg) and give that path"


@dataclass(frozen=True)
class Utterance:
    """One utterance: `path` from `start` to `end` in seconds (None: the end of the file), spoken by `speaker`.

    `channel`, from 0, is the one of the file that it is on; None is the average of all.
    """

    utt: str
    path: Path
    speaker: str
    start: float = 0.0
    end: float | None = None
    channel: int | None = None


class Phone(NamedTuple):
    """A phone of an alignment; `start` and `duration` are seconds."""

    start: float
    duration: float
    phone: str


@dataclass
class Table:
    """Contents of a table file: `values` by key, the numbers of their `lines` (from 1), and its problems."""

    path: Path
    values: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    malformed: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    contradicting: list[str] = field(default_factory=list)
    unsorted: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """All problems, one line each with its cure."""
        return [
            *self.malformed,
            *(f"{line}; keep one (vqaudio data fix)" for line in self.repeated + self.contradicting),
            *(f"{line}; sort under LC_ALL=C (vqaudio data fix)" for line in summary(self.unsorted)),
        ]


def scan_table(path: Path, what: str, content: bytes | None = None) -> Table:
    """Read as much of a table as possible and note its problems; never raises.

    Of several lines with the same key the first counts.

    Args:
        path: file.
        what: the value that each key needs, in words; "" if it may be absent.
        content: bytes of the file, if they are known.
    """
    table = Table(path)
    previous = ""
    for number, line in scan_lines(path, table.malformed, content):
        match = _LINE.fullmatch(line)
        if not match:
            table.malformed.append(f"{path}:{number}: starts with a blank; write '<key> <value>'")
            continue
        key, value = match[1], (match[2] or "").rstrip(" \t")
        if problem := _key_problem(key):
            table.malformed.append(f"{path}:{number}: {problem}")
        elif not value and what:
            table.malformed.append(f"{path}:{number}: '{key}' has no value; add {what}, or remove the line")
        elif key in table.values:
            same = table.values[key] == value
            words = f"duplicate '{key}', {'as on' if same else 'contradicts'} line {table.lines[key]}"
            (table.repeated if same else table.contradicting).append(f"{path}:{number}: {words}")
        else:
            table.values[key], table.lines[key] = value, number
            if key < previous:
                table.unsorted.append(f"{path}:{number}: '{key}' after '{previous}'")
            previous = key
    return table


def read_table(path: str | Path, *, what: str = "a value") -> dict[str, str]:
    """Read a table of "key value…" lines: UTF-8, sorted as under LC_ALL=C, each key once.

    Args:
        path: file; blanks inside a value are kept, those around it are not.
        what: the value that each key needs, in words for errors; "" if it may be absent.

    Raises:
        UserError: the file is missing, or a line is malformed, unsorted, a duplicate or not UTF-8.
    """
    table = scan_table(Path(path), what)
    refuse(table.problems)
    return table.values


def write_table(path: str | Path, mapping: Mapping[str, str]) -> None:
    """Write a table, sorted by key, so that `read_table` returns the mapping.

    Raises:
        UserError: a key is empty or contains white space, or a value contains a line break or begins or ends with white
            space.
    """
    write_rows(path, sorted(mapping.items()))


def write_rows(path: str | Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write the rows of a table, which are sorted by key, as a stream; raises as `write_table`."""
    with atomic_writer(path) as file:
        for key, value in rows:
            if problem := row_problem(key, value):
                raise UserError(f"{path}: not written: {problem}")
            file.write(f"{key} {value}\n" if value else f"{key}\n")


def row_problem(key: str, value: str) -> str | None:
    """Return why a key and a value cannot be a line of a table; None if they can."""
    problem = _key_problem(key)
    if not problem and (value != value.strip(" \t") or _CONTROL.search(value) or not _is_unicode(value)):
        problem = f"'{key}': value {value!r} does not fit on a line of UTF-8 text; rename it"
    return problem


def read_ctm(path: str | Path) -> dict[str, list[Phone]]:
    """Read phone alignments, lines "utt 1 start duration phone" in seconds, sorted by utterance, then by time.

    Empty lines and comments, which begin with ";;" as in NIST's files, are passed over.

    Raises:
        UserError: the file is missing, or a line is malformed, out of order or not UTF-8.
    """
    phones, problems = scan_ctm(Path(path))
    refuse(problems)
    return phones


def scan_ctm(path: Path, content: bytes | None = None) -> tuple[dict[str, list[Phone]], list[str]]:
    """Read as much of a CTM file as possible, and list its problems; never raises."""
    phones: dict[str, list[Phone]] = {}
    problems: list[str] = []
    previous = ""
    for number, line in scan_lines(path, problems, content, comment=";;"):
        fields = re.split(r"[ \t]+", line.strip(" \t"))
        start, duration = (parse_seconds(x) for x in fields[2:4]) if len(fields) in (5, 6) else (None, None)
        if start is None or duration is None:
            problems.append(f"{path}:{number}: '{line[:80]}' is not '<utt> 1 <start> <duration> <phone>'; correct it")
            continue
        utt, here = fields[0], phones.setdefault(fields[0], [])
        if utt < previous or (here and utt != previous) or (here and start < here[-1].start):
            problems.append(f"{path}:{number}: '{utt}' at {start:g} s is out of order; sort by utterance, then time")
        here.append(Phone(start, duration, fields[4]))
        previous = utt
    return phones, problems


def write_ctm(path: str | Path, mapping: Mapping[str, Iterable[Phone]]) -> None:
    """Write phone alignments so that `read_ctm` returns the mapping, without utterances that have no phones."""
    lines = [
        f"{utt} 1 {format_seconds(phone.start)} {format_seconds(phone.duration)} {phone.phone}\n"
        for utt, phones in sorted(mapping.items())
        for phone in phones
    ]
    atomic_write(path, "".join(lines))


def scan_lines(
    path: Path, problems: list[str], content: bytes | None = None, comment: str = ""
) -> list[tuple[int, str]]:
    """Return the numbered lines of a UTF-8 file that are not empty, and add its problems to `problems`.

    With `comment`, the beginning of a comment, comments and empty lines are passed over; without, these are a problem.
    """
    try:
        content = path.read_bytes() if content is None else content
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        problems.append(f"{path}: cannot be read ({reason}); check the path")
        return []
    if content.startswith(b"\xef\xbb\xbf"):
        problems.append(f"{path}:1: starts with a byte order mark; save the file as UTF-8 without one")
        content = content[3:]
    rows = content.split(b"\n")
    if not rows[-1]:
        rows.pop()
    lines = []
    for number, row in enumerate(rows, 1):
        try:
            line = row.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = row[error.start]
            problems.append(f"{path}:{number}: byte 0x{byte:02x} is not UTF-8; convert the file (iconv -t UTF-8)")
            continue
        if comment and (not line.strip() or line.startswith(comment)):
            continue
        if line.endswith("\r"):
            problems.append(f"{path}:{number}: ends in a carriage return; convert the file (sed -i 's/\\r$//' {path})")
        elif found := _CONTROL.search(line):
            problems.append(f"{path}:{number}: contains the control character {found[0]!r}; remove it")
        elif not line.strip(" \t"):
            problems.append(f"{path}:{number}: empty line; remove it")
        else:
            lines.append((number, line))
    return lines


def parse_seconds(text: str) -> float | None:
    """Return a time in seconds; None if it is not finite, negative or no number."""
    seconds = float(text) if _NUMBER.fullmatch(text) else math.inf
    return seconds if seconds < math.inf else None


def format_seconds(seconds: float) -> str:
    """Return the shortest decimal that reads back as the same float, without an exponent."""
    return np.format_float_positional(seconds, trim="-")


def refuse(problems: list[str]) -> None:
    """Raise the first of `problems` as a `UserError`, with the number of the others."""
    if problems:
        more = f" (and {len(problems) - 1} more problems)"
        raise UserError(problems[0] + (more if len(problems) > 1 else ""))


def summary(lines: list[str]) -> list[str]:
    """Return the first of several similar lines, with the number of the others; an empty list if there is none."""
    more = f", and {len(lines) - 1} more such lines" if len(lines) > 1 else ""
    return [line + more for line in lines[:1]]


def is_pipe(value: str) -> bool:
    """Return whether a wav.scp entry is a shell command instead of a path."""
    return value.startswith("|") or value.endswith("|")


def pipe_problems(path: Path, wavs: Mapping[str, str]) -> list[str]:
    """Return a line for each entry of a wav.scp that is a shell command."""
    return [f"{path}: '{key}' is '{value}', {PIPE}" for key, value in wavs.items() if is_pipe(value)]


def _key_problem(key: str) -> str | None:
    """Return what is wrong with a key, if it would split or break a line."""
    if not key:
        return "a key is empty; name it"
    if any(c.isspace() for c in key) or _CONTROL.search(key) or not _is_unicode(key):
        return f"key {key!r} contains white space or a control character; rename it"
    return None


def _is_unicode(text: str) -> bool:
    """Return whether text can be written as UTF-8; a file name that is not UTF-8 cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
