"""WAV through pipes: read while it arrives, and written before its length is known."""

import fcntl
import io
import os
import stat
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from vqaudio.audio.files.declared import is_pipe_mark
from vqaudio.errors import UserError

UNKNOWN = 0xFFFFFFFF
"""The size in a header that was written before the end was known."""

_READ_SECONDS = 0.05  # decoded at a time
_SUBTYPES = {  # of libsndfile, by the format and the bits of a sample
    (1, 8): "PCM_U8",
    (1, 16): "PCM_16",
    (1, 24): "PCM_24",
    (1, 32): "PCM_32",
    (3, 32): "FLOAT",
    (3, 64): "DOUBLE",
    (6, 8): "ALAW",
    (7, 8): "ULAW",
}
_EXTENSIBLE = 0xFFFE
_FORMAT_BYTES = 40  # of a chunk, at most


class Format(NamedTuple):
    """How samples are stored: rate in Hz, channels, libsndfile's name of their type, bytes of a sample."""

    sample_rate: int
    channels: int
    subtype: str
    sample_bytes: int


def read_header(source: BinaryIO) -> tuple[Format, int | None]:
    """Read a WAV up to its first sample; return its format and its bytes of samples, None if the header does not say.

    Raises:
        UserError: it is no WAV, or one of another kind.
    """
    head = source.read(12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise UserError("standard input: not a WAV; pipe WAV, or 16-bit samples with --raw HZ")
    found: Format | None = None
    while len(header := source.read(8)) == 8:
        name, size = header[:4], int.from_bytes(header[4:], "little")
        if name == b"data":
            if found is None:
                break
            frame = found.channels * found.sample_bytes
            unknown = size == 0 or is_pipe_mark(size, 4, frame)
            return found, None if unknown else size
        content = source.read(min(size, _FORMAT_BYTES))
        left = size + size % 2 - len(content)
        while left > 0 and (skipped := len(source.read(min(left, 1 << 16)))):
            left -= skipped
        if name == b"fmt ":
            found = _format(content)
    raise UserError("standard input: a WAV without samples; check the program that writes it")


def _format(content: bytes) -> Format:
    if len(content) < 16:
        raise UserError("standard input: a WAV with a broken header; check the program that writes it")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", content)
    if kind == _EXTENSIBLE and len(content) >= 26:
        kind = int.from_bytes(content[24:26], "little")
    subtype = _SUBTYPES.get((kind, bits))
    if subtype is None or not channels or not rate:
        raise UserError(
            f"standard input: a WAV of format {kind} with {bits} bits, {channels} channels and {rate} Hz; "
            "pipe 16-bit samples"
        )
    return Format(rate, channels, subtype, bits // 8)


def read_samples(source: BinaryIO, form: Format, size: int | None) -> Iterator[np.ndarray]:
    """Yield samples (n,) float32 as they arrive, channels averaged; `size` in bytes, None is up to the end.

    Raises:
        UserError: fewer arrive.
    """
    import soundfile

    frame = form.channels * form.sample_bytes
    most, left, rest = max(1, round(_READ_SECONDS * form.sample_rate)) * frame, size, b""
    read = getattr(source, "read1", source.read)  # what has arrived, rather than wait for more
    while left is None or left > 0:
        content = read(most if left is None else min(most, left))
        if not content:
            if left:
                raise UserError(f"standard input: ended {left} bytes before the end that its header tells; send all")
            return
        left = None if left is None else left - len(content)
        rest += content
        whole = len(rest) - len(rest) % frame
        if whole:
            samples, _ = soundfile.read(
                io.BytesIO(rest[:whole]), dtype="float32", always_2d=True, samplerate=form.sample_rate,
                channels=form.channels, format="RAW", subtype=form.subtype, endian="LITTLE",
            )  # fmt: skip
            rest = rest[whole:]
            yield samples.mean(axis=1) if form.channels > 1 else samples[:, 0]


def wav_header(sample_rate: int, size: int | None = None) -> bytes:
    """Return the 44 bytes before `size` bytes of 16-bit samples of one channel; None is not known yet."""
    riff, data = (UNKNOWN, UNKNOWN) if size is None else (min(size + 36, UNKNOWN), min(size, UNKNOWN))
    form = struct.pack("<HHIIHH", 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return struct.pack("<4sI4s4sI16s4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16, form, b"data", data)


def complete_header(descriptor: int, start: int, sample_rate: int, size: int) -> None:
    """Write the size into a header at byte `start`, if the output is a file in which that is possible."""
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    if is_file and not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND:
        os.pwrite(descriptor, wav_header(sample_rate, size), start)


__all__ = ["Format", "complete_header", "read_header", "read_samples", "wav_header"]
