"""Parts of an audio file, and the views of a file that the decoder reads where a header is wrong."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

Piece = bytes | range
"""Bytes as they are, or the range of the file's bytes that comes next."""

_TAIL_BYTES = 128  # mpg123 looks here for an ID3v1 tag before it decodes


class RefusedError(Exception):
    """A file that must not be read: what is wrong and the cure, without the file's name."""


class Source:
    """The bytes of a file: its `size`, and `read` from any place; `head` is its beginning."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would block
        self.status = os.fstat(self._descriptor)
        self.size = self.status.st_size
        self.head = b""

    def read(self, start: int, count: int) -> bytes:
        """Return `count` bytes from byte `start` on, fewer at the end of the file."""
        if start + count <= len(self.head):
            return self.head[start : start + count]
        count = min(count, self.size - start)  # a header may point anywhere
        return os.pread(self._descriptor, count, start) if count > 0 else b""

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


class Part(NamedTuple):
    """A stretch of audio that is decoded by itself; a file has one, or several where files were joined.

    Args:
        pieces: what the decoder reads; None: the file as it is.
        num_samples: samples per channel, where the decoder does not count them right.
        claimed_bytes: size that the decoder is told, where its estimate of the samples would be too small.
        fact: samples per channel without the filling of the last codec block; 0: not declared.
        blocks: number of codec blocks, where `fact` is declared.
    """

    pieces: tuple[Piece, ...] | None = None
    num_samples: int | None = None
    claimed_bytes: int = 0
    fact: int = 0
    blocks: int = 1


class View(io.RawIOBase):
    """A read-only file made of pieces of another one.

    With `claimed_bytes` it says to be longer than it is: reading ends with the pieces, except for zeros in the place
    of the last 128 bytes.
    """

    def __init__(self, source: Source, pieces: Sequence[Piece], claimed_bytes: int = 0) -> None:
        self._source, self._pieces = source, [piece for piece in pieces if len(piece)]
        self._end = sum(map(len, self._pieces))
        self._size = max(self._end, claimed_bytes)
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position and return it; before the beginning is the beginning."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` as far as there are bytes, and return how many."""
        done, start = 0, 0
        for piece in self._pieces:
            first, start = self._position - start, start + len(piece)
            if first < len(piece) and done < len(buffer):
                chunk = self._read(piece, first, len(buffer) - done)
                buffer[done : done + len(chunk)] = chunk
                done += len(chunk)
                self._position += len(chunk)
        if self._end <= self._size - _TAIL_BYTES <= self._position < self._size:
            done = min(len(buffer), self._size - self._position)
            buffer[:done] = bytes(done)
            self._position += done
        return done

    def _read(self, piece: Piece, first: int, count: int) -> bytes:
        if isinstance(piece, bytes):
            return piece[first : first + count]
        return self._source.read(piece.start + first, min(count, len(piece) - first))
