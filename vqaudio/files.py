"""Atomic file writes (readers see the old file or the new one, never a half), checksums, and locks between jobs."""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from vqaudio.errors import UserError


@contextlib.contextmanager
def atomic_writer(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file for writing, and rename it to `path` when all of it is on disk.

    An exception inside the `with` block deletes the temporary file and leaves `path` as it was.

    Args:
        path: file to write or to replace.
        mode: `"w"` (UTF-8, lines end in LF) or `"wb"`.

    Raises:
        UserError: the folder is missing or cannot be written to.
    """
    path = Path(path)
    partial = path.with_name(f".partial-{secrets.token_hex(8)}")
    text: dict[str, str] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        file = partial.open(mode.replace("w", "x"), **text)  # type: ignore[call-overload]
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); check the folder {path.parent}") from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def atomic_write(path: str | Path, content: str | bytes) -> None:
    """Write a whole file, text as UTF-8, with `atomic_writer`."""
    with atomic_writer(path, "wb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


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
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{directory}: cannot be made ({error.strerror}); choose another folder") from None
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
    with path.open("ab") as file:  # network file systems lock only what is open for writing
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
