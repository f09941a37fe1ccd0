"""MP3 (MPEG audio, layers I to III): files without a Xing header, with a wrong one, and files that were joined.

Source: ISO/IEC 11172-3 and 13818-3 (frame header); the Xing or Info header of encoders gives the number of frames.
"""

import dataclasses
import functools
import re
from typing import NamedTuple

from vqaudio.audio.files.parts import Part, RefusedError, Source

_KBITS = {  # by layer
    1: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_KBITS_LOW = {  # by layer, MPEG 2 and 2.5
    1: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44100, 48000, 32000)  # Hz, MPEG 1
_SYNC = re.compile(rb"\xff[\xe2-\xff](?=[\x10-\xef])")
_MAX_FRAME_BYTES = 4096  # more than a frame can have
_MAX_JUNK_BYTES = 1 << 16  # in which the next frame is searched at a time
_HEAD_BYTES = 52  # frame header, side information, and the first 16 bytes of a Xing header


class _Frame(NamedTuple):
    """A frame: its bytes, where a Xing header would be, and what the frames of a stream have in common."""

    size: int
    xing: int
    kind: tuple[int, int, int]  # samples of a frame, sample rate, channels


@dataclasses.dataclass
class _Stream:
    """Frames that are decoded together: a file, or one of several that were joined."""

    kind: tuple[int, int, int]
    declared: int  # frames; 0: unknown
    frames: int = 0
    ranges: list[range] = dataclasses.field(default_factory=list)

    def add(self, start: int, stop: int) -> None:
        """Take in the bytes of a frame."""
        if self.ranges and self.ranges[-1].stop == start:
            start = self.ranges.pop().start
        self.ranges.append(range(start, stop))


def parts(source: Source, base: int, end: int) -> list[Part] | None:
    """Return how to read the MPEG audio from byte `base` to `end`, a part for each file that was joined.

    None: as it is; its header is right, or it is no stream of frames.

    Raises:
        RefusedError: there are fewer frames than declared.
    """
    head = source.read(base, _HEAD_BYTES)
    first = _frame(head[:4])
    declared_bytes = _xing(head, first)[2] if first else 0
    if declared_bytes and end - base - declared_bytes in (0, 128):  # but for an ID3v1 tag, as long as declared
        return None
    streams = _streams(source, base, end)
    for stream in streams:
        if stream.frames < stream.declared:
            raise RefusedError(f"truncated: {stream.frames} of {stream.declared} MP3 frames are present; copy it again")
    if not streams or (len(streams) == 1 and streams[0].declared and len(streams[0].ranges) == 1):
        return None
    return [_part(stream) for stream in streams]


def _part(stream: _Stream) -> Part:
    if stream.declared:
        return Part(tuple(stream.ranges))
    return Part(tuple(stream.ranges), stream.frames * stream.kind[0], stream.frames * _MAX_FRAME_BYTES)


def _streams(source: Source, position: int, end: int) -> list[_Stream]:
    """Return the streams of complete frames between two bytes; what lies between frames is left out."""
    streams: list[_Stream] = []
    kind, room = None, 0  # of the stream that grows; the frames that may follow in it
    while position < end:
        head = source.read(position, _HEAD_BYTES)
        frame = _frame(head[:4])
        if frame is None or not (frame.kind == kind or _is_frame(source, position, frame, end)):
            position = _after_junk(source, position, end)
            continue
        stop = position + frame.size
        if stop > end:
            break
        is_info, declared, _ = _xing(head, frame)
        if is_info or frame.kind != kind or room == 0:
            kind, room = frame.kind, declared or end
            streams.append(_Stream(kind, declared))
        if not is_info:
            streams[-1].frames += 1
            room -= 1
        streams[-1].add(position, stop)
        position = stop
    # A header may count one frame less than there are: that frame is no stream.
    return [s for i, s in enumerate(streams) if s.frames > 1 or i == 0 or not streams[i - 1].declared]


def _after_junk(source: Source, position: int, end: int) -> int:
    """Return the byte after a tag, or at which the next frame begins, or from which on to look for one."""
    content = source.read(position, min(_MAX_JUNK_BYTES, end - position))
    if content.startswith(b"ID3") and len(content) > 10:
        return position + id3_bytes(content)
    if content.startswith(b"TAG"):
        return position + 128
    if content.startswith(b"APETAGEX"):
        return position + 32 + int.from_bytes(content[12:16], "little")
    for match in _SYNC.finditer(content, 1):
        frame = _frame(content[match.start() : match.start() + 4])
        if frame and _is_frame(source, position + match.start(), frame, end):
            return position + match.start()
    return position + max(1, len(content) - 3)


def id3_bytes(head: bytes) -> int:
    """Return the length of the ID3v2 tag with which a file begins, 0 if it does not."""
    if not head.startswith(b"ID3") or len(head) < 10:
        return 0
    a, b, c, d = head[6:10]
    return 10 + (a << 21 | b << 14 | c << 7 | d)


def is_mp3(head: bytes) -> bool:
    """Return whether a file that begins with `head` begins with a frame."""
    return _frame(head[:4]) is not None


def _is_frame(source: Source, position: int, frame: _Frame, end: int) -> bool:
    """Return whether another frame of the same kind, or the end, follows."""
    following = _frame(source.read(position + frame.size, 4))
    return position + frame.size == end or (following is not None and following.kind == frame.kind)


def _xing(head: bytes, frame: _Frame) -> tuple[bool, int, int]:
    """Return whether a frame is a Xing header, the frames and the bytes of the stream that it declares, 0 for none."""
    tag = head[frame.xing :]
    if tag[:4] not in (b"Xing", b"Info"):
        return False, 0, 0
    flags = tag[7] if len(tag) >= 16 else 0
    frames = int.from_bytes(tag[8:12], "big") if flags & 1 else 0
    return True, frames, int.from_bytes(tag[12:16], "big") if flags & 3 == 3 else 0


@functools.lru_cache(maxsize=1 << 12)
def _frame(header: bytes) -> _Frame | None:
    """Return what the four bytes of a frame header say, or None if they are not one."""
    word = int.from_bytes(header, "big")
    version, layer, kbits, rate = word >> 19 & 3, 4 - (word >> 17 & 3), word >> 12 & 15, word >> 10 & 3
    if len(header) < 4 or word >> 21 != 0x7FF or version == 1 or layer == 4 or kbits in (0, 15) or rate == 3:
        return None
    low = version != 3
    sample_rate = _RATES[rate] >> (0, 1, 2)[(3, 2, 0).index(version)]
    bits = (_KBITS_LOW if low else _KBITS)[layer][kbits] * 1000
    padding = word >> 9 & 1
    samples = {1: 384, 2: 1152, 3: 576 if low else 1152}[layer]
    size = (12 * bits // sample_rate + padding) * 4 if layer == 1 else samples // 8 * bits // sample_rate + padding
    mono = word >> 6 & 3 == 3
    side = ((9 if mono else 17) if low else (17 if mono else 32)) if layer == 3 else 0
    return _Frame(size, 4 + side, (samples, sample_rate, 1 if mono else 2))
