"""Files are written here (readers see the old file or the new one, never a half) and locked here; also checksums.

Everything that writes uses `atomic_writer`, `open_to_write` or `copy_file`, so that every error of the operating system
names its file. `explain` makes the one line out of it that ends a command.
"""

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from vqaudio.errors import JobError, UserError

try:
    import fcntl
except ModuleNotFoundError:  # Windows: see `require_supported_system`
    fcntl = None  # type: ignore[assignment]

SYSTEMS = "vqaudio runs on Linux and macOS; on Windows run it inside WSL"

PARTIAL = ".partial-"
"""How the names of files begin that are being written; a killed job may leave them."""

MISTAKES = {
    errno.EACCES: "correct its permissions or choose another place",
    errno.EPERM: "correct its permissions or choose another place",
    errno.EROFS: "choose another place",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "check the path",
    errno.EEXIST: "remove it or choose another place",
    errno.ENOTEMPTY: "empty it or choose another place",
    errno.ELOOP: "correct the links in the path",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.EINVAL: "use another name",
    errno.EILSEQ: "use another name",
}
"""Errors that the user corrects at the place itself, with their cures: exit code 2. All others are failed jobs."""

FAILURES = {
    errno.ENOSPC: "free space on that disk and run the same command again",
    errno.EDQUOT: "free space within the quota and run the same command again",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f) or choose another file system, and run it again",
    errno.ESTALE: "mount the network file system again and run the same command again",
    errno.EMFILE: "raise the limit of open files (ulimit -n) and run the same command again",
    errno.ENFILE: "close other programs and run the same command again",
}


def require_supported_system() -> None:
    """Raise unless files can be locked here.

    Raises:
        UserError: this is Windows.
    """
    if fcntl is None:
        raise UserError(SYSTEMS)


def explain(error: OSError, path: str | Path | None = None, what: str = "") -> UserError | JobError:
    """Return the one line for an error of the operating system: the file, the reason and the cure.

    Args:
        error: the error; without `path` it says which file it is about, and of two files it is the second, the target.
        path: the file that the user knows, where `error` has a temporary one or none.
        what: what failed: `cannot be written`.
    """
    named = path or error.filename2 or error.filename
    if isinstance(named, bytes):
        named = os.fsdecode(named)
    if isinstance(named, (str, Path)) and Path(named).name.startswith(PARTIAL):
        named = Path(named).parent
    where = f"{named}: " if isinstance(named, (str, Path)) else ""
    reason = error.strerror or str(error) or type(error).__name__
    reason = f"{what} ({reason})" if what else reason
    if error.errno in MISTAKES:
        return UserError(f"{where}{reason}; {MISTAKES[error.errno]}")
    cure = FAILURES.get(error.errno or 0, "check the disk or the network and run the same command again")
    return JobError(f"{where}{reason}; {cure}")


class NamedFile(io.FileIO):
    """A file open for writing; errors name it, and the first one is kept in `failure`.

    Libraries such as torch replace errors of the file that they write to by errors of their own.
    """

    failure: OSError | None = None

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode, opener=lambda name, flags: os.open(name, flags, 0o666))

    def write(self, data: Any) -> int:
        """Write bytes, perhaps not all of them; return their number."""
        try:
            return os.write(self.fileno(), data)
        except OSError as error:
            error.filename = self.name
            self.failure = self.failure or error
            raise


def open_to_write(path: str | Path, mode: str) -> io.BufferedWriter:
    """Open a file to write bytes into it: `"a"` appends, `"r+"` changes a part; errors name the file."""
    return io.BufferedWriter(NamedFile(Path(path), mode))


@contextlib.contextmanager
def atomic_writer(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file for writing, and rename it to `path` when all of it is on disk.

    An exception inside the `with` block deletes the temporary file and leaves `path` as it was.

    Args:
        path: file to write or to replace.
        mode: `"w"` (UTF-8, lines end in LF) or `"wb"`.

    Raises:
        UserError: the folder is missing, or the file may not be written.
        JobError: the file cannot be written completely, such as on a full disk.
    """
    path = Path(path)
    partial = path.with_name(f"{PARTIAL}{secrets.token_hex(8)}")
    try:
        raw = NamedFile(partial, "x")
    except OSError as error:
        raise explain(error, path, "cannot be written") from error
    file: IO[Any] = io.BufferedWriter(raw)
    if "b" not in mode:
        file = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
    try:
        with file:
            yield file
            _sync(file, raw)
        _replace(partial, path, raw)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if raw.failure is not None and isinstance(error, Exception):
            raise explain(raw.failure, path, "cannot be written") from error
        raise
    _sync_folder(path.parent)


def _sync(file: IO[Any], raw: NamedFile) -> None:
    """Bring what was written to the disk."""
    file.flush()
    try:
        os.fsync(raw.fileno())
        file.close()
    except OSError as error:
        raw.failure = error
        raise


def _replace(partial: Path, path: Path, raw: NamedFile) -> None:
    """Rename the finished file."""
    try:
        partial.replace(path)
    except OSError as error:
        raw.failure = error
        raise


def atomic_write(path: str | Path, content: str | bytes) -> None:
    """Write a whole file, text as UTF-8, with `atomic_writer`."""
    with atomic_writer(path, "wb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def copy_file(source: str | Path, path: str | Path) -> None:
    """Copy the content of a file, its mode and its times, with `atomic_writer`."""
    with Path(source).open("rb") as content, atomic_writer(path, "wb") as file:
        shutil.copyfileobj(content, file)
        file.flush()  # a later write would change the times
        shutil.copystat(source, file.name)


def write_json(path: str | Path, value: Any) -> None:
    """Write dictionaries, lists, numbers and text as strict JSON with `atomic_write`; NaN and infinity become null."""
    atomic_write(path, json.dumps(_finite(value), indent=1, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """Replace numbers that JSON cannot hold with None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Write a rename to disk, if the system can sync a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Make a folder and hold its lock, so that a second job that writes there is refused.

    Raises:
        UserError: another process holds the lock, or the folder cannot be made.
        JobError: the folder cannot be made, such as on a full disk.
    """
    require_supported_system()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise explain(error, directory, "cannot be made") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{directory}: another job is writing here; wait for it or choose another folder") from None
        except OSError:
            pass  # some network file systems cannot lock a folder; there the user must see to it
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Make a lock file and hold it, after waiting for the process that holds it.

    A file system that cannot lock files lets everybody through.
    """
    require_supported_system()
    with path.open("ab") as file:  # network file systems lock only what is open for writing
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
