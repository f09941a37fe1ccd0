"""A trained model for use: speech to codes and back, the same result every time."""

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqaudio import audio
from vqaudio.errors import UserError
from vqaudio.model_directory import UNKNOWN_SPEAKER, LoadedModel, load_model
from vqaudio.sampling import generate, stream

CHUNK_SECONDS = 2.0
"""Audio that goes through the encoder at once; every chunk has this length, whatever the recording's."""


class Codec:
    """A loaded model. `encode` gives codes (G, N) int64, `decode` float32 audio (T,) at `sample_rate`.

    Codes do not depend on how a recording reaches the model: chunks of one fixed shape, one at a time, on one thread,
    each with the encoder's receptive field as context, give the same bits whatever the length, order or number of jobs.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.model, self.config, self.speakers, self.hash = loaded
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

    def encode(self, wav: np.ndarray | Tensor, sample_rate: int) -> np.ndarray:
        """Return the codes (G, N) int64 of `wav` (T,) at `sample_rate` Hz; N = ceil(T' / hop_length), T' resampled.

        Raises:
            UserError: no samples, a sample that is not finite, or more than one dimension.
        """
        x = np.asarray(wav, dtype=np.float32)
        if x.ndim != 1 or len(x) == 0:
            raise UserError(f"wav has the shape {x.shape}; encode takes (T,) with T of 1 or more")
        if not np.isfinite(x).all():
            raise UserError(f"wav[{int(np.flatnonzero(~np.isfinite(x))[0])}] is not finite; repair the recording")
        x = audio.resample(x, sample_rate, self.sample_rate)
        return self._encode(lambda: (x[i : i + self.step] for i in range(0, len(x), self.step)))[0]

    def encode_file(self, path: Path, start: float = 0.0, end: float | None = None) -> np.ndarray:
        """Return the codes (G, N) int64 of a file from `start` to `end` seconds; memory does not grow with it.

        Raises:
            UserError: the file is missing, broken, not finite, or shorter than a frame.
        """

        def blocks() -> Iterator[np.ndarray]:
            return ahead(audio.blocks(path, self.sample_rate, self.step, start, end))

        codes, samples = self._encode(blocks)
        if samples < self.hop_length:
            raise UserError(
                f"{path}: {samples} samples at {self.sample_rate} Hz are less than a frame ({self.hop_length}); "
                "leave the utterance out"
            )
        return codes

    def _encode(self, blocks: Callable[[], Iterable[np.ndarray]]) -> tuple[np.ndarray, int]:
        """Return the codes of a stream that can be opened twice, and its number of samples."""
        encoder, level_db = self.model.encoder, self.config.data.level_db
        gain = np.float32(1.0 if level_db is None else audio.level_gain(blocks(), level_db))
        codes, samples = [np.zeros((self.groups, 0), dtype=np.int64)], 0
        with torch.inference_mode(), one_thread():
            for window, valid in windows(blocks(), encoder.left, self.step, encoder.right):
                samples += valid
                padded = torch.from_numpy(window * gain).unsqueeze(0).to(self.device)
                chunk = self.model.quantizer.encode(encoder.frames(padded))[0].cpu().numpy()
                codes.append(chunk[:, : encoder.num_frames(valid)])
        return np.concatenate(codes, axis=1), samples

    def decode(
        self, codes: np.ndarray | Tensor, speaker: str | None = None, seed: int = 0, temperature: float = 1.0
    ) -> np.ndarray:
        """Return speech (T,) float32 for `codes` (G, N), T = N * hop_length; None is the voice of no known speaker.

        Raises:
            UserError: codes that do not fit the codebook, or a speaker that the model was not trained on.
        """
        return self.decode_all([codes], [speaker], [seed], temperature)[0]

    def decode_all(
        self,
        codes: Sequence[np.ndarray | Tensor],
        speakers: Sequence[str | None],
        seeds: Sequence[int],
        temperature: float = 1.0,
        threads: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[np.ndarray]:
        """Decode several utterances at once, which is faster; each is what `decode` gives for it alone.

        `threads` (all cores by default) share the work; `progress` is told of each further number of samples.
        """
        if not (math.isfinite(temperature) and temperature >= 0):
            raise UserError(f"temperature {temperature} must be 0 (always the likeliest sample) or more; 1 is usual")
        conditions = [self._condition(c, s) for c, s in zip(codes, speakers, strict=True)]
        levels = generate(
            self.model.decoder,
            conditions,
            hop_length=self.hop_length,
            seeds=list(seeds),
            temperature=temperature,
            threads=threads,
            progress=progress,
        )
        return [self._wav(level) for level in levels]

    def stream(
        self, codes: np.ndarray | Tensor, speaker: str | None = None, seed: int = 0, temperature: float = 1.0
    ) -> Iterator[np.ndarray]:
        """Yield the speech of `decode` in pieces (T,) while it is sampled, on the CPU and in constant memory."""
        levels = stream(
            self.model.decoder,
            self._condition_pieces(codes, speaker),
            hop_length=self.hop_length,
            seed=seed,
            temperature=temperature,
        )
        pieces = (audio.mu_law_decode(piece, self.model.decoder.levels).numpy() for piece in levels)
        yield from audio.de_emphasis_pieces(pieces, self.config.data.pre_emphasis)

    def _condition(self, codes: np.ndarray | Tensor, speaker: str | None) -> Tensor:
        """Return the WaveNet's condition (C, N) for `codes` (G, N)."""
        return torch.cat(list(self._condition_pieces(codes, speaker)), dim=1)

    def _condition_pieces(self, codes: np.ndarray | Tensor, speaker: str | None) -> Iterator[Tensor]:
        """Yield the condition (C, n) for `codes` (G, N) in pieces of up to two seconds, each with its context."""
        codes = torch.as_tensor(codes)
        if codes.ndim != 2 or codes.shape[0] != self.groups or codes.shape[1] == 0:
            raise UserError(
                f"codes have the shape {tuple(codes.shape)}; decode takes ({self.groups}, N), N of 1 or more"
            )
        if codes.min() < 0 or codes.max() >= self.codebook_size:
            bad = int(codes.max() if codes.min() >= 0 else codes.min())
            raise UserError(f"code {bad} lies outside the codebook of {self.codebook_size}; use the model's own codes")
        index = torch.tensor([self.speaker_index(speaker)], device=self.device)
        codes = codes.long().unsqueeze(0).to(self.device)
        step, context = self.step // self.hop_length, self.model.conditioner.context
        for start in range(0, codes.shape[2], step):
            first = max(0, start - context)
            with torch.inference_mode(), one_thread():
                z_q = self.model.quantizer.lookup(codes[:, :, first : start + step + context])
                condition = self.model.condition(z_q, index)[0]
            yield condition[:, start - first : start - first + step]

    def _wav(self, levels: Tensor) -> np.ndarray:
        wav = audio.mu_law_decode(levels, self.model.decoder.levels).numpy()
        return np.asarray(audio.de_emphasis(wav, self.config.data.pre_emphasis), dtype=np.float32)

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
    """Load a model directory, what `vqaudio train` wrote, for encoding and decoding on `cpu` or `cuda`.

    On a GPU sums have another order: a code or a sample may differ from the CPU's where two were as good as equal.
    """
    return Codec(load_model(Path(model_dir), device))


def utterance_seed(seed: int, utt: str) -> int:
    """Return the seed of an utterance: a function of its name, so that neither order nor company matters."""
    return int.from_bytes(hashlib.sha256(f"{seed} {utt}".encode()).digest()[:8], "big") >> 1


def windows(blocks: Iterable[np.ndarray], left: int, step: int, right: int) -> Iterator[tuple[np.ndarray, int]]:
    """Cut a stream into windows of `left + step + right` samples, `step` apart, with zeros outside the stream.

    Yields each window with the number of its `step` samples that lie inside the stream: all but in the last.
    """
    size = left + step + right
    buffer = np.zeros(left, dtype=np.float32)
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        while len(buffer) >= size:
            yield buffer[:size], step
            buffer = buffer[step:]
    while (rest := len(buffer) - left) > 0:
        window = np.zeros(size, dtype=np.float32)
        window[: min(size, len(buffer))] = buffer[:size]
        yield window, min(step, rest)
        buffer = buffer[step:]


def ahead(items: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield `items`, with a thread that makes the next one while this one is used."""
    source = iter(items)
    with ThreadPoolExecutor(1) as reader:
        item = reader.submit(next, source, None)
        while (ready := item.result()) is not None:
            item = reader.submit(next, source, None)
            yield ready


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch on one thread: sums then have one order, whatever the machine's number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


__all__ = ["Codec", "ahead", "load", "one_thread", "utterance_seed", "windows"]
