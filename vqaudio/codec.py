"""A trained model for use: `Codec` turns speech into codes and codes into speech, the same every time."""

import functools
import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from vqaudio import audio
from vqaudio.audio.faults import channel_fault
from vqaudio.audio.streams import ahead, windows
from vqaudio.defaults import SEED, TEMPERATURE, WEIGHTS, Weights
from vqaudio.errors import UserError
from vqaudio.model.penalty import CodeCosts, PenalisedSearch
from vqaudio.model_directory import UNKNOWN_SPEAKER, LoadedModel, load_model
from vqaudio.released import model_folder
from vqaudio.threads import one_thread

CHUNK_SECONDS = 2.0
"""Length of the chunks that go through the encoder, the same for every recording."""


class Codec:
    """A loaded model: `encode` returns codes (G, N) int64, `decode` float32 audio (T,) at `sample_rate`.

    Codes do not depend on how a recording reaches the model, bit for bit: the encoder sees chunks of one shape, with
    its receptive field as context, one at a time and on one thread, whatever the length, order or number of jobs.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.model, self.config, self.speakers, self.hash = loaded
        self.units_hash = loaded.units_hash
        self.device = self.model.encoder.project.weight.device
        self.sample_rate = int(self.config.data.sample_rate)
        """Hz"""
        self.hop_length = self.model.encoder.hop_length
        """samples per frame"""
        self.frame_rate = self.sample_rate / self.hop_length
        """frames per second"""
        self.codebook_size = self.model.quantizer.codebook_size
        self.groups = self.model.quantizer.groups
        self.step = max(1, round(CHUNK_SECONDS * self.frame_rate)) * self.hop_length
        self._costs = functools.cache(lambda: CodeCosts.of_quantizer(self.model.quantizer))

    def encode(self, wav: np.ndarray | Tensor, sample_rate: int, change_penalty: float = 0.0) -> np.ndarray:
        """Return the codes (G, N) int64 of `wav` (T,) at `sample_rate` Hz.

        N = ceil(T' / hop_length) with T' the number of samples at the model's rate. With a `change_penalty` codes
        change less often: `vqaudio.model.penalty` says what they minimise.

        Raises:
            UserError: `wav` has no samples, more than one dimension, or a sample that is not finite; or a bad penalty.
        """
        x = np.asarray(wav, dtype=np.float32)
        if x.ndim != 1 or len(x) == 0:
            raise UserError(f"wav has the shape {x.shape}; give (T,) with T of 1 or more")
        if not np.isfinite(x).all():
            raise UserError(f"wav[{int(np.flatnonzero(~np.isfinite(x))[0])}] is not finite; repair the recording")
        x = audio.resample(x, sample_rate, self.sample_rate)
        return self._encode(lambda: (x[i : i + self.step] for i in range(0, len(x), self.step)), [change_penalty])[0][0]

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
        codes, samples = self._encode(blocks, change_penalties)
        if samples < self.hop_length:
            raise UserError(
                f"{path}: {samples} samples at {self.sample_rate} Hz are less than a frame ({self.hop_length}); "
                "leave the utterance out"
            )
        return codes

    def _encode(
        self, blocks: Callable[[], Iterable[np.ndarray]], change_penalties: Sequence[float]
    ) -> tuple[np.ndarray, int]:
        """Return the codes (P, G, N) of a recording, which `blocks` opens twice, and its number of samples."""
        encoder, quantizer, level_db = self.model.encoder, self.model.quantizer, self.config.data.level_db
        change = audio.level_change(blocks(), level_db)
        plain, samples = [np.zeros((self.groups, 0), dtype=np.int64)], 0
        with torch.inference_mode(), one_thread():
            searches = [PenalisedSearch(self._costs(), p) if p else None for p in change_penalties]
            for window, valid in windows(map(change.apply, blocks()), encoder.left, self.step, encoder.right):
                samples += valid
                frames = encoder.num_frames(valid)
                z = encoder.frames(torch.from_numpy(window).unsqueeze(0).to(self.device))
                if None in searches:
                    plain.append(quantizer.encode(z)[0, :, :frames].cpu().numpy())
                for search in filter(None, searches):
                    search.add(quantizer.split(z), frames)
        unpenalised = np.concatenate(plain, axis=1)
        return np.stack([search.finish() if search else unpenalised for search in searches]), samples

    def decode(
        self,
        codes: np.ndarray | Tensor,
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
        codes: Sequence[np.ndarray | Tensor],
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

        self._check_sampling(temperature, weights)
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
        return [self.model.shaper.shape(wav, self._mel(c)) for wav, c in zip(wavs, conditions, strict=True)]

    def stream(
        self,
        codes: np.ndarray | Tensor,
        speaker: str | None = None,
        seed: int = SEED,
        temperature: float = TEMPERATURE,
        weights: Weights = WEIGHTS,
    ) -> Iterator[np.ndarray]:
        """Return an iterator over the speech of `decode` in pieces (T,) of about 4000 samples, as they are sampled.

        Sampling runs on the CPU, and memory does not grow with the length of the speech.

        Raises:
            UserError: as `decode`.
        """
        from vqaudio.sampling import stream

        self._check_sampling(temperature, weights)
        mels: deque[np.ndarray] = deque()  # of the frames that are being sampled

        def conditions() -> Iterator[Tensor]:
            for condition in pieces:
                mels.append(self._mel(condition).numpy())
                yield condition

        pieces = self._condition_pieces(codes, speaker)
        levels = stream(
            self.model.decoder,
            conditions(),
            steps_per_frame=self.model.steps_per_frame,
            seed=seed,
            temperature=temperature,
            weights=weights,
        )
        return self.model.shaper.shape_pieces(self.model.bands.decode_pieces(levels), mels)

    def _mel(self, condition: Tensor) -> Tensor:
        """Return the log-mel (bins, N) that is predicted from a condition (C, N), a frame at a time on one thread."""
        with torch.inference_mode(), one_thread():
            return torch.cat([self.model.shaper(c.unsqueeze(0))[0] for c in condition.split(1, dim=1)], dim=1).cpu()

    def _condition(self, codes: np.ndarray | Tensor, speaker: str | None) -> Tensor:
        """Return the WaveNet's condition (C, N) for `codes` (G, N)."""
        return torch.cat(list(self._condition_pieces(codes, speaker)), dim=1)

    def _condition_pieces(self, codes: np.ndarray | Tensor, speaker: str | None) -> Iterator[Tensor]:
        """Return an iterator over the condition (C, n) for `codes` (G, N) in pieces of `CHUNK_SECONDS`."""
        codes = torch.as_tensor(codes)
        if codes.ndim != 2 or codes.shape[0] != self.groups or codes.shape[1] == 0:
            raise UserError(f"codes have the shape {tuple(codes.shape)}; give ({self.groups}, N) with N of 1 or more")
        if codes.min() < 0 or codes.max() >= self.codebook_size:
            bad = int(codes.max() if codes.min() >= 0 else codes.min())
            raise UserError(f"code {bad} lies outside the codebook of {self.codebook_size}; use codes of this model")
        index = torch.tensor([self.speaker_index(speaker)], device=self.device)
        codes = codes.long().unsqueeze(0).to(self.device)
        step = self.step // self.hop_length
        return (self._condition_piece(codes, index, start, step) for start in range(0, codes.shape[2], step))

    def _condition_piece(self, codes: Tensor, speaker: Tensor, start: int, step: int) -> Tensor:
        """Return the condition (C, n) of `step` frames of `codes` (1, G, N) from `start`, computed with its context."""
        context = self.model.conditioner.context
        first = max(0, start - context)
        with torch.inference_mode(), one_thread():
            z_q = self.model.quantizer.lookup(codes[:, :, first : start + step + context])
            condition = self.model.condition(z_q, speaker)[0]
        return condition[:, start - first : start - first + step]

    @staticmethod
    def _check_sampling(temperature: float, weights: Weights) -> None:
        if not (math.isfinite(temperature) and temperature >= 0):
            raise UserError(f"temperature is {temperature}; give 0 (always the likeliest sample) or more, usually 1")
        if weights not in get_args(Weights):
            raise UserError(f"weights is {weights!r}; give {' or '.join(get_args(Weights))}")

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
