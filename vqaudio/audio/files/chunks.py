"""Containers made of chunks (WAV, RF64, W64, AIFF, 8SVX, CAF): where their audio lies and how long it is said to be."""

import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

from vqaudio.audio.files.declared import Audio, Field, is_pipe_mark
from vqaudio.audio.files.parts import RefusedError, Source

_MAX_CHUNKS = 10_000
_AFTER_AUDIO = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"_PMX", b"JUNK", b"cue ", b"smpl", b"PEAK")
_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # ends the identifiers of W64


class Container(NamedTuple):
    """How a container is laid out.

    Args:
        start: byte of the first chunk; the next ones begin at multiples of `align` bytes from there.
        id_bytes: length of a chunk's identifier.
        size: the number that follows it, which counts `inclusive` bytes of the chunk's header.
        audio: identifier of the chunk of audio; `skip`: its bytes before the samples.
    """

    start: int
    id_bytes: int
    size: struct.Struct
    audio: bytes
    skip: int = 0
    inclusive: int = 0
    align: int = 2

    def chunks(self, source: Source, first: int) -> Iterator[tuple[bytes, int, int]]:
        """Yield identifier, first byte and declared size of the chunks from byte `first` on."""
        start, header_bytes = first, self.id_bytes + self.size.size
        for _ in range(_MAX_CHUNKS):
            header = source.read(start, header_bytes)
            if len(header) < header_bytes:
                return
            (size,) = self.size.unpack_from(header, self.id_bytes)
            start += header_bytes
            yield header[: self.id_bytes], start, size
            start += max(0, size - self.inclusive)
            start += (first - start) % self.align


_LITTLE, _BIG = struct.Struct("<I"), struct.Struct(">I")
_CONTAINERS = {
    (b"RIFF", b"WAVE"): Container(12, 4, _LITTLE, b"data"),
    (b"RIFX", b"WAVE"): Container(12, 4, _BIG, b"data"),
    (b"RF64", b"WAVE"): Container(12, 4, _LITTLE, b"data"),
    (b"FORM", b"AIFF"): Container(12, 4, _BIG, b"SSND", skip=8),
    (b"FORM", b"AIFC"): Container(12, 4, _BIG, b"SSND", skip=8),
    (b"FORM", b"8SVX"): Container(12, 4, _BIG, b"BODY"),
    (b"FORM", b"16SV"): Container(12, 4, _BIG, b"BODY"),
    (b"riff", b"\xa5\xd6\x28\xdb"): Container(40, 16, struct.Struct("<Q"), b"data" + _GUID, inclusive=24, align=8),
    (b"caff", b"desc"): Container(8, 4, struct.Struct(">q"), b"data", skip=4, align=1),
}


def container(head: bytes) -> Container | None:
    """Return the layout of a file that begins with `head`, or None if it is not made of chunks."""
    return _CONTAINERS.get((head[:4], head[8:12]))


def find_audio(source: Source, kind: Container, base: int) -> Audio | None:
    """Return what the container that begins at byte `base` declares; None: it has no chunk of audio."""
    order: Literal["big", "little"] = "big" if kind.size is _BIG else "little"
    format_chunk, fact, long_size = b"", 0, None
    for name, body, size in kind.chunks(source, base + kind.start):
        if name == kind.audio:
            field = Field(body - kind.size.size, kind.size, kind.inclusive + kind.skip)
            if long_size is not None:
                field, size = long_size
            block = int.from_bytes(format_chunk[12:14], order) or 1
            unknown = is_pipe_mark(size, field.number.size, block)
            return Audio(body + kind.skip, max(0, size - field.extra), unknown, field, block, format_chunk, fact)
        content = source.read(body, max(0, min(size - kind.inclusive, 64)))
        if name[:4] == b"fmt ":
            format_chunk = content
        elif name[:4] == b"fact":
            fact = int.from_bytes(content[:4], order)
        elif name == b"ds64" and len(content) >= 16:  # RF64 declares its size here
            long_size = Field(body + 8, struct.Struct("<Q")), int.from_bytes(content[8:16], "little")
    return None


def is_chain(source: Source, kind: Container, start: int) -> bool:
    """Return whether a well-known chunk follows at byte `start`, or chunks that end with the file.

    Raises:
        RefusedError: one of them is a second chunk of audio.
    """
    reached = start
    for name, body, size in kind.chunks(source, start):
        if name[:4] in _AFTER_AUDIO:
            return True
        if not (name[:4].isascii() and name[:4].decode().isprintable()):
            break
        if name == kind.audio:
            raise RefusedError("holds several chunks of audio, and decoders read one; write it again as WAV or FLAC")
        reached = body + max(0, size - kind.inclusive)
    return start < reached and abs(reached - source.size) <= 8
