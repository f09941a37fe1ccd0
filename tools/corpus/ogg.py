"""Ogg streams with a serial number of our choice, since libsndfile draws one at random for every file."""

import struct

_HEADER = struct.Struct("<4sBBqIIIB")  # capture, version, flags, position, serial, page, checksum, segments
_CHECKSUM_AT = 22  # bytes from the start of a page


def _make_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return table


_TABLE = _make_table()


def number_stream(content: bytes, serial: int) -> bytes:
    """Return the pages of `content`, one Ogg stream, with the serial number `serial` and checksums to match.

    Source: RFC 3533, section 6.
    """
    pages = []
    at = 0
    while at < len(content):
        capture, version, flags, position, _, page, _, segments = _HEADER.unpack_from(content, at)
        if capture != b"OggS":
            raise ValueError(f"no Ogg page at byte {at}")
        lacing = at + _HEADER.size
        end = lacing + segments + sum(content[lacing : lacing + segments])
        header = _HEADER.pack(capture, version, flags, position, serial, page, 0, segments)
        whole = bytearray(header + content[lacing:end])
        struct.pack_into("<I", whole, _CHECKSUM_AT, _checksum(whole))
        pages.append(bytes(whole))
        at = end
    return b"".join(pages)


def _checksum(page: bytearray) -> int:
    value = 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ _TABLE[(value >> 24) ^ byte]
    return value
