"""Collects the utterances of a corpus, in any order, and writes a data directory; memory does not grow with them."""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from vqaudio import audio, files
from vqaudio.datadir.tables import PIPE, format_seconds, is_pipe, row_problem, write_rows
from vqaudio.errors import JobError, UserError
from vqaudio.names import file_name

AUDIO = "audio"
"""Folder in the data directory for audio that was inside another file."""
DATABASE = f"{files.PARTIAL}utterances.sqlite"
SUFFIXES = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3"}
"""How files of audio begin, and what their names end in."""
SCHEMA = """
CREATE TABLE recordings (recording TEXT PRIMARY KEY, path TEXT, channel INTEGER) WITHOUT ROWID;
CREATE TABLE utterances (
    utt TEXT PRIMARY KEY, speaker TEXT, text TEXT, recording TEXT, start REAL, end REAL, whole INTEGER
) WITHOUT ROWID;
CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""


class Found(NamedTuple):
    """An utterance that another format describes."""

    where: str
    """The line or row, for messages."""
    utt: str
    speaker: str
    text: str | None
    audio: Path | bytes
    """The file, or its content."""
    recording: str
    """Name of the file, or of the channel of it."""
    channel: int | None = None
    start: float = 0.0
    end: float | None = None
    """Seconds; None is not known, and then the utterance is the whole recording."""
    whole: bool = True


class Collection:
    """Utterances in a database on disk.

    Args:
        folder: where the data directory is being made.
        place: where it will be.
    """

    def __init__(self, folder: Path, place: Path) -> None:
        self.folder, self.place = folder, place
        self.connection = sqlite3.connect(folder / DATABASE, isolation_level=None)
        with self._explained():
            self.connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + SCHEMA + "BEGIN;")

    def __enter__(self) -> "Collection":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        (self.folder / DATABASE).unlink(missing_ok=True)

    def note(self, key: str, value: str) -> bool:
        """Keep a text; return whether the key is new."""
        with self._explained():
            row = "INSERT OR IGNORE INTO notes VALUES (?, ?)"
            return self.connection.execute(row, (key, value)).rowcount > 0

    def notes(self) -> Iterator[tuple[str, str]]:
        """Yield what was noted, sorted by key."""
        with self._explained():
            yield from self.connection.execute("SELECT key, value FROM notes ORDER BY key")

    def noted(self, key: str) -> str | None:
        """Return what was noted; None if nothing was."""
        with self._explained():
            row = self.connection.execute("SELECT value FROM notes WHERE key = ?", (key,)).fetchone()
        return row and row[0]

    def add(self, found: Found) -> None:
        """Add an utterance; audio that is given as bytes is written to a file.

        Raises:
            UserError: its names do not fit on a line, they were there before, or the file of its audio is missing.
        """
        text = None if found.text is None else " ".join(found.text.split())
        values = ((found.utt, text or ""), (found.recording, ""), (found.speaker, ""))
        if problem := next(filter(None, (row_problem(key, value) for key, value in values)), None):
            raise UserError(f"{found.where}: {problem}")
        path = self._saved(found) if isinstance(found.audio, bytes) else self._checked(found, found.audio)
        spoken = (found.utt, found.speaker, text, found.recording, found.start, found.end, found.whole)
        recorded = (found.recording, path, found.channel)
        with self._explained():
            new = self.connection.execute("INSERT OR IGNORE INTO utterances VALUES (?, ?, ?, ?, ?, ?, ?)", spoken)
            if not new.rowcount:
                raise UserError(f"{found.where}: a second utterance is named '{found.utt}'; rename one")
            self.connection.execute("INSERT OR IGNORE INTO recordings VALUES (?, ?, ?)", recorded)
            known = self.connection.execute("SELECT * FROM recordings WHERE recording = ?", recorded[:1]).fetchone()
            if known != recorded:
                raise UserError(f"{found.where}: another recording is named '{found.recording}' too; rename one")

    def _saved(self, found: Found) -> str:
        """Write audio to a file; return its place."""
        assert isinstance(found.audio, bytes)
        if not found.audio:
            raise UserError(f"{found.where}: {found.utt} has audio of no bytes; leave it out")
        suffix = next((suffix for head, suffix in SUFFIXES.items() if found.audio.startswith(head)), ".audio")
        name = f"{file_name(found.utt)}{suffix}"
        (self.folder / AUDIO).mkdir(exist_ok=True)
        if (self.folder / AUDIO / name).exists():
            raise UserError(f"{found.where}: '{found.utt}' and another utterance share the file {name}; rename one")
        files.atomic_write(self.folder / AUDIO / name, found.audio)
        return str(self.place / AUDIO / name)

    def _checked(self, found: Found, path: Path) -> str:
        """Return the absolute path of a file that exists and that wav.scp can hold."""
        whole = str(path.absolute())
        if is_pipe(whole):
            raise UserError(f"{found.where}: '{path}' is {PIPE}")
        if problem := row_problem(found.recording, whole):
            raise UserError(f"{found.where}: {problem}")
        try:
            there = path.is_file()
        except OSError:  # such as a name that is too long
            there = False
        if not there:
            raise UserError(
                f"{found.where}: the audio {str(path)[:200]} is no file here; save it on this machine first"
            )
        return whole

    def write(self) -> int:
        """Write the tables of the data directory; return the number of utterances."""
        with self._explained():
            count, cut, named, timed, told = self.connection.execute(
                "SELECT count(*), sum(NOT whole), (SELECT count(channel) FROM recordings), count(end), count(text) "
                "FROM utterances"
            ).fetchone()
            if not count:
                return 0
            self._table("utt2spk", "SELECT utt, speaker FROM utterances ORDER BY utt")
            write_rows(self.folder / "spk2utt", self._speakers())
            if told:
                self._table("text", "SELECT utt, coalesce(text, '') FROM utterances ORDER BY utt")
            if timed == count:
                lengths = self.connection.execute("SELECT utt, end - start FROM utterances ORDER BY utt")
                seconds = ((utt, format_seconds(round(length, 6))) for utt, length in lengths)
                write_rows(self.folder / "utt2dur", seconds)
            # Without segments, wav.scp has a line for each utterance.
            key = "recording" if cut else "utt"
            joined = "recordings" if cut else "utterances JOIN recordings USING (recording)"
            self._table("wav.scp", f"SELECT {key}, path FROM {joined} ORDER BY {key}")  # noqa: S608
            if cut:
                spans = self.connection.execute("SELECT utt, recording, start, end FROM utterances ORDER BY utt")
                lines = ((utt, f"{name} {format_seconds(a)} {format_seconds(b)}") for utt, name, a, b in spans)
                write_rows(self.folder / "segments", lines)
            if named:
                rows = self.connection.execute(f"SELECT {key}, path, channel FROM {joined} ORDER BY {key}")  # noqa: S608
                write_rows(self.folder / "reco2file_and_channel", itertools.starmap(_channel_row, rows))
            return count

    def _table(self, name: str, query: str) -> None:
        write_rows(self.folder / name, self.connection.execute(query))

    def _speakers(self) -> Iterator[tuple[str, str]]:
        """Yield each speaker with the utterances; those of one speaker are in memory."""
        utts: list[str] = []
        speaker = None
        for name, utt in self.connection.execute("SELECT speaker, utt FROM utterances ORDER BY speaker, utt"):
            if speaker not in (None, name):
                yield speaker, " ".join(utts)
                utts = []
            speaker = name
            utts.append(utt)
        yield speaker or "", " ".join(utts)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise JobError(f"{self.place}: cannot be written ({error}); check the disk and run it again") from None


def _channel_row(recording: str, path: str, channel: int | None) -> tuple[str, str]:
    """Return a row of reco2file_and_channel, which must name all recordings if it names one."""
    if channel is None and audio.info(path).channels > 1:
        raise UserError(
            f"{path}: '{recording}' is all of its channels, but others are single channels, and no table of a data "
            "directory has both; import them apart"
        )
    return recording, f"{file_name(Path(path).stem)} {'AB'[channel or 0]}"
