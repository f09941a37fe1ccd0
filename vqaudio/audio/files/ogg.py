"""Ogg (Vorbis, Opus): its chained streams, one after the other, and streams without their end mark.

Source: RFC 3533, section 6 (page header).
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from vqaudio.audio.files.parts import Part, Piece, Source

_FIRST, _LAST = 2, 4  # flags of a page that begins, and of one that ends a stream
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class _Page(NamedTuple):
    start: int
    end: int
    flags: int


def parts(source: Source, base: int) -> list[Part] | None:
    """Return how to read an Ogg file from byte `base` on, a part for each chained stream; None: as it is."""
    links: list[list[_Page]] = []
    for page in _pages(source, base):
        if page.flags & _FIRST and not (links and links[-1][-1].flags & _FIRST):  # several begin a stream together
            links.append([])
        if links:
            links[-1] = [links[-1][0], page] if links[-1] else [page]
    whole = len(links) == 1 and links[0][-1].flags & _LAST
    return None if whole or not links else [Part(_pieces(source, link[0], link[-1])) for link in links]


def _pages(source: Source, start: int) -> Iterator[_Page]:
    """Yield the complete pages; whatever is between them is passed over."""
    while start < source.size:
        content = source.read(start, 27 + 255)
        if content[:4] == b"OggS" and len(content) >= 27:
            segments = content[26]
            stop = start + 27 + segments + sum(content[27 : 27 + segments])
            if stop <= source.size:
                yield _Page(start, stop, content[5])
                start = stop
                continue
        content = source.read(start, 1 << 16)
        found = content.find(b"OggS", 1)
        start += found if found > 0 else max(1, len(content) - 3)


def _pieces(source: Source, first: _Page, last: _Page) -> tuple[Piece, ...]:
    """Return the stream from its first to its last page, which gets the end mark that it may lack."""
    if last.flags & _LAST:
        return (range(first.start, last.end),)
    page = bytearray(source.read(last.start, last.end - last.start))
    page[5] |= _LAST
    page[22:26] = bytes(4)
    page[22:26] = struct.pack("<I", _crc(bytes(page)))
    return range(first.start, last.start), bytes(page)


def _crc(page: bytes) -> int:
    """Return the checksum of a page: zlib's, with the bits of every byte and of the result in reverse."""
    return int(f"{zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF:032b}"[::-1], 2)
