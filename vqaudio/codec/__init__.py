"""A trained model for use: `Codec` turns speech into codes and codes into speech, the same every time."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqaudio import audio
from vqaudio.audio import LevelChange
from vqaudio.audio.faults import channel_fault
from vqaudio.audio.streams import ahead, resample_pieces
from vqaudio.codec.decoding import Codes, check_codes, check_sampling, condition_pieces, log_mel, stream_speech
from vqaudio.codec.encoding import WindowEncoder, at_rate, checked
from vqaudio.defaults import SEED, TEMPERATURE, WEIGHTS, Weights
from vqaudio.errors import UserError
from vqaudio.model.penalty import check_penalty
from vqaudio.model_directory import UNKNOWN_SPEAKER, LoadedModel, load_model
from vqaudio.released import model_folder

CHUNK_SECONDS = 2.0
"""Length of the chunks that go through the encoder, the same for every recording."""

STREAM_SECONDS = 0.2
"""New speech in each chunk of `Codec.encode_stream`, and units whose condition is computed at a time."""


class Codec:
    """A loaded model: `encode` returns codes (G, N) int64, `decode` float32 audio (T,) at `sample_rate`.

    Codes do not depend on how a recording reaches the model, bit for bit: the encoder sees chunks of one shape, with
    its receptive field as context, one at a time and on one thread, whatever the length, order or number of jobs.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.model, self.config, self.speakers, self.hash = loaded
        self.units_hash = loaded.units_hash
        self.device = self.model.conditioner.project.weight.device
        self.sample_rate = int(self.config.data.sample_rate)
        """Hz"""
        self.hop_length = self.model.encoder.hop_length
        """samples per frame"""
        self.level_db: float | None = self.config.data.level_db
        """dBFS that recordings are brought to; None leaves them as they are"""
        self.frame_rate = self.sample_rate / self.hop_length
        """frames per second"""
        self.codebook_size = self.model.quantizer.codebook_size
        self.groups = self.model.quantizer.groups
        self.step = max(1, round(CHUNK_SECONDS * self.frame_rate)) * self.hop_length
        self._encoder = WindowEncoder(self.model)

    def encode(
        self,
        wav: np.ndarray | Tensor,
        sample_rate: int,
        change_penalty: float = 0.0,
        level: LevelChange | None = None,
    ) -> np.ndarray:
        """Return the codes (G, N) int64 of `wav` (T,) at `sample_rate` Hz.

        N = ceil(T' / hop_length) with T' the number of samples at the model's rate. With a `change_penalty` codes
        change less often: `vqaudio.model.penalty` says what they minimise. `level` is what `measure_level` returned for
        other speech; None measures all of `wav`.

        Raises:
            UserError: `wav` has no samples, more than one dimension, or a sample that is not finite; or a bad penalty.
        """
        x = at_rate(wav, sample_rate, self.sample_rate)
        change = level or audio.level_change(x, self.level_db)
        blocks = (change.apply(x[i : i + self.step]) for i in range(0, len(x), self.step))
        return self._encoder.encode(blocks, self.step, [change_penalty])[0][0]

    def measure_level(self, wav: np.ndarray | Tensor, sample_rate: int) -> LevelChange:
        """Return what brings `wav` (T,) at `sample_rate` Hz to the level that the model was trained with.

        Raises:
            UserError: as `encode`.
        """
        return audio.level_change(at_rate(wav, sample_rate, self.sample_rate), self.level_db)

    def encode_stream(
        self,
        pieces: Iterable[np.ndarray],
        sample_rate: int,
        level: LevelChange | None = None,
        change_penalty: float = 0.0,
        chunk_seconds: float = STREAM_SECONDS,
    ) -> Iterator[np.ndarray]:
        """Return an iterator over codes (G, n) of speech whose pieces (t,), of any sizes, are still arriving.

        Joined they equal `encode(wav, sample_rate, change_penalty, level)` of the joined pieces, bit for bit. A stream
        cannot know its own level, so `level` comes from `measure_level`: of its first seconds, of earlier speech from
        that microphone, or of everything. A model with `data.level_db: null` needs none.

        The codes of a frame are there when `latency(chunk_seconds)` seconds from its start have arrived, and up to
        0.12 s more if they are resampled. With a `change_penalty` a code waits until no later frame can change it. The
        encoder computes a window of `CHUNK_SECONDS` and its context for every chunk: shorter chunks take more time.

        Raises:
            UserError: `level` is missing, a bad penalty or chunk; while it runs, as `encode`.
        """
        check_penalty(change_penalty)
        if level is None and self.level_db is not None:
            raise UserError(
                f"the model brings recordings to {self.level_db:g} dBFS, and a stream does not know its level; give "
                "level=codec.measure_level(wav, sample_rate) of its first seconds"
            )
        advance = self._advance(chunk_seconds)
        change = level or LevelChange(0.0, 1.0)
        samples: Iterator[np.ndarray] = checked(pieces)
        if sample_rate != self.sample_rate:
            samples = resample_pieces(samples, sample_rate, self.sample_rate)
        return self._encoder.stream(map(change.apply, samples), self.step, advance, change_penalty)

    def latency(self, chunk_seconds: float = STREAM_SECONDS) -> float:
        """Return the seconds of speech after which `encode_stream` knows a frame: a chunk and the encoder's context.

        Raises:
            UserError: there can be no such chunks.
        """
        return (self._advance(chunk_seconds) + self.model.encoder.right) / self.sample_rate

    def _advance(self, chunk_seconds: float) -> int:
        """Return the samples, whole frames, of a chunk of a stream."""
        if not 0 < chunk_seconds <= CHUNK_SECONDS:
            raise UserError(f"chunk_seconds is {chunk_seconds}; give more than 0, and {CHUNK_SECONDS:g} at most")
        return max(1, round(chunk_seconds * self.frame_rate)) * self.hop_length

    def encode_file(
        self,
        path: Path,
        start: float = 0.0,
        end: float | None = None,
        channel: int | None = None,
        change_penalty: float = 0.0,
    ) -> np.ndarray:
        """Return the codes (G, N) int64 of a file from `start` to `end` seconds; memory does not grow with its length.

        With a penalty it grows by K / 8 + 4 bytes per frame and group. `channel`, from 0, is the one to encode; None is
        the average of all.

        Raises:
            UserError: bad penalty; a file missing, broken, not finite or shorter than a frame; channels that cancel.
        """
        return self.encode_at_penalties(path, [change_penalty], start, end, channel)[0]

    def encode_at_penalties(
        self,
        path: Path,
        change_penalties: Sequence[float],
        start: float = 0.0,
        end: float | None = None,
        channel: int | None = None,
    ) -> np.ndarray:
        """Return what `encode_file` returns at each of P penalties, (P, G, N) int64, in one pass through the file.

        Raises:
            UserError: as `encode_file`.
        """

        def blocks() -> Iterator[np.ndarray]:
            return ahead(audio.blocks(path, self.sample_rate, self.step, start, end, channel))

        if channel is None and (fault := channel_fault(path, start, end)):
            raise UserError(f"{path}: {fault}")
        change = audio.level_change(blocks(), self.level_db)
        codes, samples = self._encoder.encode(map(change.apply, blocks()), self.step, change_penalties)
        if samples < self.hop_length:
            raise UserError(
                f"{path}: {samples} samples at {self.sample_rate} Hz are less than a frame ({self.hop_length}); "
                "leave the utterance out"
            )
        return codes

    def decode(
        self,
        codes: Codes,
        speaker: str | None = None,
        seed: int = SEED,
        temperature: float = TEMPERATURE,
        weights: Weights = WEIGHTS,
    ) -> np.ndarray:
        """Return speech (T,) float32 for `codes` (G, N), T = N * hop_length.

        Args:
            codes: integers below `codebook_size`.
            speaker: a speaker of the training set; None is the voice of no known speaker, `<unknown>`.
            seed: of sampling.
            temperature: of sampling; 0 takes the likeliest sample.
            weights: "bfloat16" rounds the decoder's weights to 16 bits, which samples a single utterance 1.3 to 3 times
                as fast on a CPU; the samples differ, but are as likely.

        Raises:
            UserError: codes that do not fit the codebook, a speaker that the model was not trained on, or a
                temperature or weights that cannot be used.
        """
        return self.decode_all([codes], [speaker], [seed], temperature, weights)[0]

    def decode_all(
        self,
        codes: Sequence[Codes],
        speakers: Sequence[str | None],
        seeds: Sequence[int],
        temperature: float = TEMPERATURE,
        weights: Weights = WEIGHTS,
        threads: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[np.ndarray]:
        """Return what `decode` returns for each utterance; decoding them together is faster.

        `threads` share the work (None: all cores); `progress` is called with each further number of samples.
        """
        from vqaudio.sampling import generate  # compiles a loop, which encoding does not need

        check_sampling(temperature, weights)
        if self.device.type == "cuda" and weights != WEIGHTS:
            raise UserError(f"weights {weights} are for a CPU; give {WEIGHTS} on a GPU")
        conditions = [self._condition(c, s) for c, s in zip(codes, speakers, strict=True)]
        levels = generate(
            self.model.decoder,
            conditions,
            steps_per_frame=self.model.steps_per_frame,
            seeds=list(seeds),
            temperature=temperature,
            weights=weights,
            threads=threads,
            progress=progress,
        )
        wavs = (self.model.bands.decode(level) for level in levels)
        return [self.model.shaper.shape(wav, log_mel(self.model, c)) for wav, c in zip(wavs, conditions, strict=True)]

    def decode_stream(
        self,
        codes: Codes | Iterable[Codes],
        speaker: str | None = None,
        seed: int = SEED,
        temperature: float = TEMPERATURE,
        weights: Weights = WEIGHTS,
    ) -> Iterator[np.ndarray]:
        """Return an iterator over the speech of `decode` in pieces (T,), as they are sampled.

        `codes` (G, N) are all of them, or an iterable over pieces (G, n) that are still arriving: their speech follows
        after `STREAM_SECONDS` and the conditioner's context. Joined it equals `decode` of the joined codes, bit for
        bit. Sampling runs on the CPU, and memory does not grow with the length of the speech.

        Raises:
            UserError: as `decode`; for codes that are still arriving, while it runs.
        """
        check_sampling(temperature, weights)
        arriving = [check_codes(codes, self.model)] if isinstance(codes, (np.ndarray, Tensor)) else codes
        pieces = condition_pieces(self.model, arriving, self.speaker_index(speaker), self._condition_step())
        return stream_speech(self.model, pieces, seed, temperature, weights)

    def _condition(self, codes: Codes, speaker: str | None) -> Tensor:
        """Return the WaveNet's condition (C, N) for `codes` (G, N)."""
        whole, index = check_codes(codes, self.model), self.speaker_index(speaker)
        return torch.cat(list(condition_pieces(self.model, [whole], index, self._condition_step())), dim=1)

    def _condition_step(self) -> int:
        """Return the frames whose condition is computed at a time."""
        return self._advance(STREAM_SECONDS) // self.hop_length

    def speaker_index(self, speaker: str | None) -> int:
        """Return the index of a speaker's embedding; None is `<unknown>`.

        Raises:
            UserError: the model was not trained on that speaker.
        """
        try:
            return self.speakers.index(UNKNOWN_SPEAKER if speaker is None else speaker)
        except ValueError:
            known = [name for name in self.speakers if name != UNKNOWN_SPEAKER]
            some = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
            raise UserError(
                f"speaker {speaker!r} is not one the model was trained on ({some}); choose one of them, "
                f"or none for the {UNKNOWN_SPEAKER} voice"
            ) from None


def load(model_dir: str | Path, device: str = "cpu") -> Codec:
    """Return the model that `vqaudio train` wrote to a directory, or the released one (`default`), on `cpu` or `cuda`.

    A GPU adds numbers in another order: where two codes or levels are almost equally good, its choice may differ.
    """
    return Codec(load_model(model_folder(model_dir), device))


def utterance_seed(seed: int, utt: str) -> int:
    """Return the seed of an utterance, a function of `seed` and its name alone: its order in a list does not matter."""
    return int.from_bytes(hashlib.sha256(f"{seed} {utt}".encode()).digest()[:8], "big") >> 1


__all__ = ["Codec", "load", "utterance_seed"]
