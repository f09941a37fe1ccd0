"""Audio files that are wrong in one place, made out of one synthetic signal."""

import io
import struct
from collections.abc import Iterator

import numpy as np
import soundfile

RATE = 16000
LIST_CHUNK = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf60.3.100\0\0"
PCM_FORMAT = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)


def voice(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """Harmonics that glide, come and go, and a little noise: int16 (T,)."""
    random = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(4.4 * t + seed)) / rate
    wav = sum(np.sin(k * phase) / k for k in range(1, 12)) * (0.5 + 0.5 * np.sign(np.sin(9 * t)))
    wav = 0.2 * wav + 0.003 * random.standard_normal(len(t))
    return np.rint(wav * 16000).clip(-32768, 32767).astype(np.int16)


def encoded(wav: np.ndarray, kind: str, subtype: str, rate: int = RATE, **options: object) -> bytes:
    """Return a wav in a container that libsndfile writes."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", rate, 1 if wav.ndim == 1 else wav.shape[1], subtype, format=kind, **options
    ) as file:
        for start in range(0, len(wav), rate):
            file.write(wav[start : start + rate])
    return buffer.getvalue()


def wav_bytes(
    audio: bytes,
    declared: int | None = None,
    riff: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
    form: bytes = PCM_FORMAT,
) -> bytes:
    """Return a WAV file whose header declares `declared` bytes of audio and `riff` in all, with chunks around it."""
    declared = len(audio) if declared is None else declared
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + before + b"data" + struct.pack("<I", declared) + audio
    body += after
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


def with_samples(flac: bytes, total: int) -> bytes:
    """Return a FLAC file that declares another number of samples."""
    number = int.from_bytes(flac[18:26], "big") >> 36 << 36 | total
    return flac[:18] + number.to_bytes(8, "big") + flac[26:]


def ogg_pages(data: bytes) -> list[bytes]:
    """Return the pages of an Ogg file."""
    pages = []
    while data:
        size = 27 + data[26] + sum(data[27 : 27 + data[26]])
        pages.append(data[:size])
        data = data[size:]
    return pages


def ogg_page(page: bytes, **changes: int) -> bytes:
    """Return a page with other `flags` or another `serial`, and the checksum that belongs to it."""
    page = bytearray(page)
    page[5] = changes.get("flags", page[5])
    page[14:18] = struct.pack("<I", changes["serial"]) if "serial" in changes else page[14:18]
    page[22:26] = bytes(4)
    page[22:26] = struct.pack("<I", ogg_checksum(page))
    return bytes(page)


def ogg_checksum(page: bytes) -> int:
    """Return the remainder of a page's division by the polynomial 0x04C11DB7, bit by bit."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = crc << 1 ^ (0x104C11DB7 if crc & 0x80000000 else 0)
    return crc


def mp3_frames(data: bytes) -> Iterator[bytes]:
    """Yield the frames of an MP3 file of layer III; the first one may be a Xing header."""
    kbits = {
        True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
        False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    }
    while len(data) > 4:
        assert data[0] == 0xFF
        first = data[1] >> 3 & 3 == 3  # MPEG 1
        rate = (44100, 48000, 32000)[data[2] >> 2 & 3] // (1 if first else 2)
        size = (144 if first else 72) * 1000 * kbits[first][data[2] >> 4] // rate + (data[2] >> 1 & 1)
        yield data[:size]
        data = data[size:]
