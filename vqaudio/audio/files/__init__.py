"""Audio files, decoded to their end: all of the samples that are there, or a refusal.

libsndfile decodes. What it takes on trust is checked here: the length that a header declares, and that nothing follows
the first stream. Where the header is wrong, libsndfile reads a view of the file with the right one. Ogg declares no
length, nor does MP3 without a Xing header: a cut file of these is read up to its last complete page or frame.
"""

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from vqaudio.audio.files import chunks, declared, fixed_headers, flac, mp3, ogg
from vqaudio.audio.files.parts import Part, Piece, RefusedError, Source, View
from vqaudio.errors import UserError
from vqaudio.names import path_note

LEAD_SECONDS = 30
"""How long before a segment the decoding of a lossy file begins, if not at the file's start.

Decoders that jump agree with those that read on only after a time: Vorbis at once, Opus within 15 s (of 500 segments of
speech; after 10 s, 3 still differed), MP3 but for rounding (1e-7).
"""

_READ_SAMPLES = 1 << 16  # decoded at a time, of all channels together
_COUNTED_SAMPLES = 1 << 12  # per channel, at a time: those before an error are lost
_LOSSY = ("VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")
_MPEG_IN_WAV = (0x50, 0x55)
_HEAD_BYTES = 1024


class _Sound(soundfile.SoundFile):
    """A decoder that reads straight on.

    soundfile seeks after each read, to where it is, if a file can seek: MP3 decoders start anew there.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


class AudioFile:
    """An open audio file: `sample_rate` (Hz), `channels`, and `num_samples` per channel, all that `decode` yields."""

    def __init__(self, path: Path, source: Source) -> None:
        self._path, self._source = path, source
        self._parts = _parts(path, source) or [Part()]
        self._first = self._open(self._parts[0])
        self.sample_rate, self.channels = self._first.samplerate, self._first.channels
        self._lengths = [_length(self._parts[0], self._first)]
        for number, part in enumerate(self._parts[1:], 2):
            with self._open(part) as sound:
                if (sound.samplerate, sound.channels) != (self.sample_rate, self.channels):
                    raise RefusedError(
                        f"{len(self._parts)} recordings were joined; number {number} has {sound.samplerate} Hz and "
                        f"{sound.channels} channels, the first {self.sample_rate} Hz and {self.channels}; "
                        "write each as a file of its own"
                    )
                self._lengths.append(_length(part, sound))
        self.num_samples = sum(self._lengths)
        if self.num_samples <= 0:
            raise RefusedError("holds no samples; write it again or remove it")

    def __enter__(self) -> "AudioFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._first.close()

    def decode(self, first: int, last: int) -> Iterator[np.ndarray]:
        """Yield the samples from `first` to before `last` as float32 (n, channels).

        Raises:
            RefusedError: the file ends before.
        """
        start = 0
        for number, (part, length) in enumerate(zip(self._parts, self._lengths, strict=True)):
            begin, stop = max(first - start, 0), min(last - start, length)
            if begin < stop:
                with self._open(part) if number else self._first as sound:
                    yield from self._samples(sound, start, begin, stop)
            start += length

    def _samples(self, sound: _Sound, start: int, begin: int, stop: int) -> Iterator[np.ndarray]:
        """Yield the samples `begin` to `stop` of the part that begins at sample `start` of the file."""
        done = 0
        if begin and soundfile.SoundFile.seekable(sound):
            done = max(0, begin - LEAD_SECONDS * self.sample_rate) if sound.subtype in _LOSSY else begin
            if done:
                sound.seek(done)
        size = max(1, _READ_SAMPLES // self.channels)
        while done < stop:
            samples = sound.read(min(size, (begin if done < begin else stop) - done), dtype="float32", always_2d=True)
            if not len(samples):
                found = start + done
                raise RefusedError(f"truncated: {found} of {self.num_samples} samples can be decoded; copy it again")
            if done >= begin:
                yield samples
            done += len(samples)

    def _open(self, part: Part) -> _Sound:
        if part.pieces is None:
            return _Sound(str(self._path))
        return _Sound(View(self._source, part.pieces, part.claimed_bytes), "r")


@contextlib.contextmanager
def open_audio(path: Path) -> Iterator[AudioFile]:
    """Open an audio file that holds samples, and name it in whatever goes wrong inside the `with`.

    Raises:
        UserError: the file is missing, forbidden, empty, not audio, or truncated.
    """
    try:
        with Source(path) as source:
            if not stat.S_ISREG(source.status.st_mode):
                raise UserError(f"{path}: not a plain file; give the path of an audio file")
            if source.size == 0:
                raise UserError(f"{path}: empty file (0 bytes); write it again or remove it")
            with AudioFile(path, source) as audio:
                yield audio
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file{path_note(path)}; correct the path or the current directory") from error
    except PermissionError as error:
        raise UserError(f"{path}: permission denied; change the mode or the owner of the file or its folder") from error
    except UserError:
        raise
    except RefusedError as refusal:
        raise UserError(f"{path}: {refusal}") from refusal
    except (OSError, RuntimeError, TypeError, ValueError) as error:  # TypeError: headerless data named .raw
        reason = getattr(error, "strerror", None) or str(error).split(": ", 1)[-1].strip(" .")
        raise UserError(f"{path}: cannot be decoded ({reason}); write it again as WAV or FLAC") from error


def _parts(path: Path, source: Source) -> list[Part] | None:
    """Return how to read a file; None: as it is."""
    base, head = 0, source.read(0, _HEAD_BYTES)
    source.head = head
    while tag := mp3.id3_bytes(head):
        base += tag
        head = source.read(base, _HEAD_BYTES)
    if head.startswith(b"fLaC"):
        return flac.parts(source, base, lambda pieces, most: _count(source, pieces, most))
    if head.startswith(b"OggS"):
        return ogg.parts(source, base)
    kind = chunks.container(head)
    audio = chunks.find_audio(source, kind, base) if kind else fixed_headers.find_audio(head)
    if audio is not None:
        return _declared(source, base, kind, audio) if audio.offset <= source.size else None
    if mp3.is_mp3(head) or path.suffix.lower() == ".mp3":
        return mp3.parts(source, base, source.size)
    return None


def _declared(source: Source, base: int, kind: chunks.Container | None, audio: declared.Audio) -> list[Part] | None:
    """Return how to read a file whose header, at byte `base`, declares the bytes of audio; None: as it is."""
    size = declared.extent(source, audio, lambda start: kind is not None and chunks.is_chain(source, kind, start))
    if audio.format and int.from_bytes(audio.format[:2], "little") in _MPEG_IN_WAV:
        return mp3.parts(source, audio.offset, audio.offset + size)
    pieces = None
    if audio.field and (size != audio.size or audio.field.pack(size) == audio.field.rest):
        pieces = declared.corrected(audio.field, size, range(base, source.size))
        if pieces is None and source.read(base, 4) == b"RIFF":
            pieces = declared.as_rf64(audio, size)
        if pieces is None:
            raise RefusedError(f"{size} bytes of audio are more than its header can declare; write it as RF64 or FLAC")
    return [Part(pieces, fact=audio.fact, blocks=max(1, -(-size // audio.block)))] if pieces or audio.fact else None


def _count(source: Source, pieces: tuple[Piece, ...], most: int) -> int:
    """Return how many samples, up to `most`, can be decoded from pieces of a file."""
    count = 0
    with contextlib.suppress(RuntimeError), _Sound(View(source, pieces), "r") as sound:
        while samples := len(sound.read(min(_COUNTED_SAMPLES, most - count), dtype="float32", always_2d=True)):
            count += samples
    return count


def _length(part: Part, sound: _Sound) -> int:
    """Return the samples per channel of a part; the last block of a codec may be filled up."""
    if part.num_samples is not None:
        return part.num_samples
    frames = int(sound.frames)
    block = frames / part.blocks
    return part.fact if part.fact and block > 2 and 0 < frames - part.fact <= block else frames
