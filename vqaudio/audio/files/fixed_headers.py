"""Containers whose header says at a fixed place how much audio follows: AU, SPHERE, AVR, VOC, MATLAB, WVE, MPC 2000."""

import re
import struct

from vqaudio.audio.files.declared import Audio, Field, is_pipe_mark

_SPHERE_FIELD = re.compile(rb"^(sample_count|channel_count|sample_n_bytes) -\w+ (\d+)", re.MULTILINE)
_MAT4_WIDTHS = {0: 8, 1: 4, 2: 4, 3: 2}  # by the tens of the type: float64, float32, int32, int16


def find_audio(head: bytes) -> Audio | None:
    """Return what the header declares that begins with `head`; None: it is none of these, or not complete."""
    for magic, parse in _HEADERS.items():
        if head.startswith(magic):
            try:
                return parse(head)
            except (struct.error, KeyError, ValueError, IndexError):
                return None  # the decoder says what is wrong
    return None


def _au(head: bytes) -> Audio:
    order = ">" if head.startswith(b".snd") else "<"
    offset, size = struct.unpack_from(order + "II", head, 4)
    field = Field(8, struct.Struct(order + "i"), rest=b"\xff" * 4)  # libsndfile takes it for signed
    return Audio(offset, size, is_pipe_mark(size, 4), field)


def _sphere(head: bytes) -> Audio | None:
    if b"embedded-" in head:
        return None  # compressed: the size of the samples says nothing about the file
    value = {name: int(number) for name, number in _SPHERE_FIELD.findall(head)}
    return Audio(int(head[8:16]), value[b"sample_count"] * value.get(b"channel_count", 1) * value[b"sample_n_bytes"])


def _avr(head: bytes) -> Audio:
    stereo, bits = struct.unpack_from(">HH", head, 12)
    (samples,) = struct.unpack_from(">I", head, 26)
    return Audio(128, samples * (1 + (stereo & 1)) * bits // 8)


def _voc(head: bytes) -> Audio:
    (start,) = struct.unpack_from("<H", head, 20)
    while head[start] not in (1, 9):  # blocks of sound, old and new
        start += 4 + int.from_bytes(head[start + 1 : start + 4], "little")
    skip = 2 if head[start] == 1 else 12
    return Audio(start + 4 + skip, int.from_bytes(head[start + 1 : start + 4], "little") - skip)


def _mat4(head: bytes) -> Audio:
    order = ">" if head[3] else "<"
    (name_bytes,) = struct.unpack_from(order + "I", head, 16)
    start = 20 + name_bytes + 8  # after the sample rate
    kind, rows, columns, _, name_bytes = struct.unpack_from(order + "5I", head, start)
    return Audio(start + 20 + name_bytes, rows * columns * _MAT4_WIDTHS[kind % 100 // 10])


def _mat5(head: bytes) -> Audio:
    order = "<" if head[126:128] == b"IM" else ">"
    (size,) = struct.unpack_from(order + "I", head, 132)  # of the array that holds the sample rate
    start = 136 + size + 8
    for _ in range(3):  # flags, dimensions and name
        kind, size = struct.unpack_from(order + "II", head, start)
        start += 8 if kind >> 16 else 8 + size + -size % 8
    return Audio(start + 8, struct.unpack_from(order + "I", head, start + 4)[0])


def _wve(head: bytes) -> Audio:
    return Audio(32, *struct.unpack_from(">I", head, 18))


def _mpc2000(head: bytes) -> Audio:
    (samples,) = struct.unpack_from("<I", head, 30)
    return Audio(42, 2 * samples * (2 if head[21] else 1))


_HEADERS = {
    b".snd": _au,
    b"dns.": _au,
    b"NIST_1A\n": _sphere,
    b"2BIT": _avr,
    b"Creative Voice File\x1a": _voc,
    b"\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00": _mat4,
    b"\x00\x00\x03\xe8\x00\x00\x00\x01\x00\x00\x00\x01": _mat4,
    b"MATLAB 5": _mat5,
    b"ALawSoundFile**\0": _wve,
    b"\x01\x04": _mpc2000,
}
