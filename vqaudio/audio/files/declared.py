"""Sizes that headers declare, and how much audio there really is.

libsndfile cuts a declared size to what the file holds, and leaves out what the file holds beyond it; either way audio
is missing without a word. Here the declared size is compared with the file. What follows the declared audio is audio
too, unless it is a chain of chunks, a tag, zeros, or at most `MAX_TRAILER_BYTES` long.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

from vqaudio.audio.files.parts import Piece, RefusedError, Source

MAX_EXCESS_BYTES = 44
"""A header may declare so many bytes more than there are, if whole blocks are: some programs count a WAV header in."""

MAX_TRAILER_BYTES = 4096
"""So much unknown content after the audio is not audio: tags, the rest of a disk block."""

_PIPE_MARKS = {  # declared by programs that write to a pipe, where they cannot return to the header
    4: (
        0xFFFFFFFF,  # ffmpeg, flac
        0x80000000,  # arecord
        0x7FFFFFFF,
        0x7FFFFF00,  # older arecord
        0x7FFFF000,  # sox
        0x7F000000,  # sox (AIFF)
    ),
    8: (0xFFFFFFFFFFFFFFFF, 0x7FFFFFFFFFFFFFFF),
}
_MARK_SLACK = 64  # a mark may be less by the header, or by what is no whole block
_PROBES, _PROBE_BYTES = 64, 1 << 16  # of what follows the audio, to see whether it is zeros
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")
_SECOND_FILES = ((b"RIFF", b"WAVE"), (b"RIFX", b"WAVE"), (b"RF64", b"WAVE"), (b"FORM", b"AIFF"), (b"FORM", b"AIFC"))


class Field(NamedTuple):
    """Where a size is written.

    Args:
        position: its first byte.
        number: how it is written.
        extra: bytes that it counts besides the audio.
        rest: what says "all that follows", for a size that is too large for it; empty: nothing does.
    """

    position: int
    number: struct.Struct
    extra: int = 0
    rest: bytes = b""

    def pack(self, size: int) -> bytes:
        """Return the bytes that declare `size`, empty if none do."""
        try:
            return self.number.pack(size + self.extra)
        except struct.error:
            return self.rest


class Audio(NamedTuple):
    """What a header declares.

    Args:
        offset: byte at which the audio begins.
        size: bytes of audio; `unknown`: the size is a mark of a program that could not know it.
        field: where the size is written, if it can be corrected there.
        block: bytes of a block of the codec, or of a sample of all channels.
        format: content of a WAV's chunk 'fmt '.
        fact: samples per channel that a WAV's chunk 'fact' declares; 0: none.
    """

    offset: int
    size: int
    unknown: bool = False
    field: Field | None = None
    block: int = 1
    format: bytes = b""
    fact: int = 0


def is_pipe_mark(size: int, width: int, block: int = 1) -> bool:
    """Return whether a size in a field of `width` bytes says that its writer did not know the size."""
    size %= 1 << 8 * width  # CAF: −1
    return size >= 0x7E000000 and any(0 <= mark - size < max(_MARK_SLACK, block) for mark in _PIPE_MARKS[width])


def extent(source: Source, audio: Audio, is_chain: Callable[[int], bool]) -> int:
    """Return how many bytes of audio there are; `is_chain` says whether chunks follow from a byte on.

    Raises:
        RefusedError: there is less than declared, or a second file follows.
    """
    present = source.size - audio.offset
    if audio.size >= present:
        if audio.unknown or audio.size == present:
            return present
        if audio.size - present <= MAX_EXCESS_BYTES and present % audio.block == 0:
            return present
        raise RefusedError(f"truncated: {present} of {audio.size} bytes of audio are present; copy it again")
    stop = audio.offset + audio.size
    if audio.size == 0:  # never closed, unless only chunks follow
        return 0 if is_chain(stop) else present
    if _is_trailer(source, stop) or is_chain(stop) or is_chain(stop + 1):
        return audio.size
    wraps = (present - audio.size) >> 32  # of a size that is kept modulo 4 GiB
    whole = stop + (wraps << 32)
    if wraps and (_is_trailer(source, whole) or is_chain(whole)):
        return whole - audio.offset
    return present


def corrected(field: Field, size: int, file: range) -> tuple[Piece, ...] | None:
    """Return the pieces of a range of bytes, with `size` in the place of the declared size; None: impossible."""
    packed, position = field.pack(size), field.position
    return (range(file.start, position), packed, range(position + len(packed), file.stop)) if packed else None


def as_rf64(audio: Audio, size: int) -> tuple[Piece, ...]:
    """Return the audio of a WAV file with the header of RF64, which can declare more than 4 GiB."""
    format_chunk = struct.pack("<4sI", b"fmt ", len(audio.format)) + audio.format + bytes(len(audio.format) % 2)
    sizes = struct.pack("<QQQI", 60 + len(format_chunk) + size, size, 0, 0)
    header = b"RF64\xff\xff\xff\xffWAVE" + struct.pack("<4sI", b"ds64", len(sizes)) + sizes
    return header + format_chunk + b"data\xff\xff\xff\xff", range(audio.offset, audio.offset + size)


def _is_trailer(source: Source, start: int) -> bool:
    """Return whether the bytes from `start` on are no audio, though no chunks either."""
    if source.size - start <= MAX_TRAILER_BYTES:
        return True
    first = source.read(start, 12)
    if (first[:4], first[8:12]) in _SECOND_FILES:
        raise RefusedError("a second audio file follows the first; write them as two files")
    if first.startswith(_TAGS):
        return True
    step = max(_PROBE_BYTES, (source.size - start) // _PROBES)
    places = [*range(start, source.size, step), max(start, source.size - _PROBE_BYTES)]
    return not any(source.read(place, _PROBE_BYTES).strip(b"\0") for place in places)
