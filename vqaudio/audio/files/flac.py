"""FLAC: the end of the last frame, which tells the number of samples whatever the header declares.

Source: RFC 9639, sections 8.2 (streaminfo) and 9.1 (frame header).
"""

import itertools
from collections.abc import Callable, Iterator

from vqaudio.audio.files.parts import Part, Piece, RefusedError, Source

_TOTAL_MASK = (1 << 36) - 1  # in the eight bytes of streaminfo that end with the number of samples
_BLOCK_SIZES = {1: 192} | {c: 576 << c - 2 for c in range(2, 6)} | {c: 256 << c - 8 for c in range(8, 16)}
_CRC8 = list(range(256))  # of one byte
for _bit in range(8):
    _CRC8 = [crc << 1 ^ (0x107 if crc & 0x80 else 0) for crc in _CRC8]
_TAIL_BYTES = (1 << 13, 1 << 16, 1 << 20)  # searched at the end of the file, one after the other
_MAX_CANDIDATES = 64  # of what looks like the header of a frame


def parts(source: Source, base: int, count: Callable[[tuple[Piece, ...], int], int]) -> list[Part] | None:
    """Return how to read the FLAC stream that begins at byte `base`; None: as it is.

    `count` decodes pieces of the file, and returns the number of samples up to a limit.

    Raises:
        RefusedError: the last frame ends before the samples that are declared.
    """
    head, end = source.read(base, 42), source.size
    if len(head) < 42:
        return None
    streaminfo = int.from_bytes(head[18:26], "big")
    declared = streaminfo & _TOTAL_MASK
    last = next(_frames(source, head, base, _TAIL_BYTES[0]), None)
    if last and last[1] + last[2] == declared:
        return None
    unknown = (streaminfo & ~_TOTAL_MASK).to_bytes(8, "big")
    stream_head = b"fLaC\x80" + head[5:18] + unknown + bytes(16)
    candidates = (frame for tail in _TAIL_BYTES for frame in _frames(source, head, base, tail))
    total = 0
    for start, first, samples in itertools.islice(candidates, _MAX_CANDIDATES):  # the decoder knows a frame
        if count((stream_head, range(start, end)), samples) == samples:
            total = first + samples
            break
    total = total or count((head[:18] + unknown, range(base + 26, end)), _TOTAL_MASK)
    if total < declared:
        raise RefusedError(f"truncated: {total} of {declared} samples are present; copy it again")
    if total == declared:
        return None
    number = (streaminfo & ~_TOTAL_MASK | total).to_bytes(8, "big")
    return [Part((head[:18] + number, range(base + 26, end)), num_samples=total)]


def _frames(source: Source, head: bytes, base: int, tail: int) -> Iterator[tuple[int, int, int]]:
    """Yield byte, first sample and number of samples of the frames in the last `tail` bytes, the last one first."""
    start = max(base + 42, source.size - tail)
    content = source.read(start, source.size - start)
    place = len(content)
    while (place := max(content.rfind(b"\xff\xf8", 0, place), content.rfind(b"\xff\xf9", 0, place))) >= 0:
        frame = _frame(content[place : place + 16], int.from_bytes(head[10:12], "big"))
        if frame:
            yield start + place, *frame
        place += 1


def _frame(header: bytes, block_size: int) -> tuple[int, int] | None:
    """Return first sample and number of samples of the frame that begins with `header`; None: it is no frame."""
    header = header.ljust(16, b"\0")
    code, rate = header[2] >> 4, header[2] & 15
    number_bytes = max(1, 8 - (header[4] ^ 0xFF).bit_length())
    if not code or rate == 15 or header[3] & 1 or header[3] >> 4 > 10 or number_bytes > 7:
        return None
    number = header[4] & (0x7F if number_bytes == 1 else 0x7F >> number_bytes)
    for byte in header[5 : 4 + number_bytes]:
        number = number << 6 | byte & 0x3F
    at = 4 + number_bytes
    samples = _BLOCK_SIZES.get(code, 0)
    if code in (6, 7):
        samples = int.from_bytes(header[at : at + code - 5], "big") + 1
        at += code - 5
    at += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if _crc8(header[:at]) != header[at : at + 1]:
        return None
    return number if header[1] & 1 else number * block_size, samples


def _crc8(content: bytes) -> bytes:
    """Return the checksum of a frame header, one byte (polynomial x⁸ + x² + x + 1)."""
    crc = 0
    for byte in content:
        crc = _CRC8[crc ^ byte]
    return bytes([crc])
