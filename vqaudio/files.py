"""Files that are there whole or not at all: whoever reads a name never sees half of what was written."""

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from vqaudio.errors import UserError


@contextlib.contextmanager
def atomic_writer(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file beside `path` for writing, and rename it to `path` once all of it is on the disk.

    `mode` is `"w"` (UTF-8, lines end in LF) or `"wb"`. An exception inside the `with` leaves `path` as it
    was and nothing beside it.

    Raises:
        UserError: the folder is missing or may not be written to.
    """
    path = Path(path)
    partial = path.with_name(f".partial-{secrets.token_hex(8)}")
    text: dict[str, str] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        file = partial.open(mode.replace("w", "x"), **text)  # type: ignore[call-overload]
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}): check the folder {path.parent}") from error
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
    """Write a whole file, text as UTF-8, so that it is there complete or not at all; see `atomic_writer`."""
    with atomic_writer(path, "wb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Bring a rename itself to the disk, where the system lets a folder be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Make the folder and hold it, so that a second job that writes to it is refused.

    Raises:
        UserError: another process holds it, or it cannot be made.
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
            pass  # some network file systems cannot lock a folder: there it is up to the user
        yield
    finally:
        os.close(handle)
