"""Standard output and standard error of the console script: they never end a job, and never lose an error."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class Stream(io.RawIOBase):
    """A file descriptor to write to; from the first error on, which `failure` keeps, it drops what it gets.

    So a job whose reader has gone (`| head`) or whose log is on a full disk still finishes its files.
    """

    failure: OSError | None = None

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def write(self, data: Any) -> int:
        """Write bytes, perhaps not all of them; return their number."""
        if self.failure is None:
            try:
                return os.write(self.descriptor, data)
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.descriptor

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self.descriptor)

    @property
    def error(self) -> OSError | None:
        """The error that the user should hear of: not that of a reader who has seen enough."""
        return None if self.failure is not None and self.failure.errno == errno.EPIPE else self.failure


@contextlib.contextmanager
def safe_streams() -> Iterator[Stream]:
    """Write standard output and standard error through `Stream`; yield that of standard output.

    Names of files that are not text in the encoding of the output are written byte by byte, and characters that it does
    not have as escapes. A standard descriptor that is closed is opened on /dev/null, so that no file of ours gets it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    kept = sys.stdout, sys.stderr
    out = Stream(1)
    sys.stdout, sys.stderr = _text(out, kept[0]), _text(Stream(2), kept[1])
    try:
        yield out
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = kept


def _text(raw: Stream, old: TextIO | None) -> TextIO:
    """Return a stream of text with the encoding and the buffering of the old one (None: it was closed)."""
    encoding = (old.encoding if old is not None else None) or "utf-8"
    errors = "surrogateescape" if encoding.lower().replace("-", "") == "utf8" else "backslashreplace"
    lines = raw.descriptor == 2 or (old is not None and getattr(old, "line_buffering", False))
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        errors="backslashreplace" if raw.descriptor == 2 else errors,
        line_buffering=lines,
        write_through=bool(getattr(old, "write_through", False)),
    )


def output_failed() -> bool:
    """Return whether standard output takes nothing more, because its reader has gone or its disk is full."""
    return getattr(getattr(sys.stdout.buffer, "raw", None), "failure", None) is not None
