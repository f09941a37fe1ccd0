"""Speech to codes in windows of one shape, each with the encoder's context, on one thread.

A frame has the same codes, bit for bit, wherever it lies in a window; so a stream may take fewer frames of each.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from vqaudio.audio import resample
from vqaudio.audio.streams import windows
from vqaudio.errors import UserError
from vqaudio.model import VQAutoencoder
from vqaudio.model.penalty import CodeCosts, PenalisedSearch
from vqaudio.threads import one_thread


class WindowEncoder:
    """Turns speech at the rate and level of a model into codes; `step` samples of a window are new."""

    def __init__(self, model: VQAutoencoder) -> None:
        self.model = model
        self.device = model.conditioner.project.weight.device
        self._costs = functools.cache(lambda: CodeCosts.of_quantizer(model.quantizer))

    def encode(
        self, blocks: Iterable[np.ndarray], step: int, change_penalties: Sequence[float]
    ) -> tuple[np.ndarray, int]:
        """Return the codes (P, G, N) of a recording at each of P penalties, and its number of samples."""
        self.model.require_encoder()
        encoder = self.model.encoder
        plain, samples = [self._no_codes()], 0
        with torch.inference_mode(), one_thread():
            searches = [PenalisedSearch(self._costs(), p) if p else None for p in change_penalties]
            for window, valid in windows(blocks, encoder.left, step, encoder.right):
                samples += valid
                codes = self._codes(window, valid, list(filter(None, searches)), plain=None in searches)
                plain.append(codes)
        unpenalised = np.concatenate(plain, axis=1)
        return np.stack([search.finish() if search else unpenalised for search in searches]), samples

    def stream(
        self, pieces: Iterable[np.ndarray], step: int, advance: int, change_penalty: float
    ) -> Iterator[np.ndarray]:
        """Yield the codes (G, n) of `encode` while pieces of speech arrive; each window brings `advance` new samples.

        With a penalty codes wait until no later frame can change them. No array is empty.
        """
        self.model.require_encoder()
        encoder = self.model.encoder
        search = PenalisedSearch(self._costs(), change_penalty) if change_penalty else None
        searches = [search] if search else []
        for window, valid in windows(pieces, encoder.left, step, encoder.right, advance):
            with torch.inference_mode(), one_thread():
                codes = self._codes(window, valid, searches, plain=search is None)
            if search:
                codes = search.decided()
            if codes.shape[1]:
                yield codes
        if search and (codes := search.finish()).shape[1]:
            yield codes

    def _codes(self, window: np.ndarray, valid: int, searches: list[PenalisedSearch], *, plain: bool) -> np.ndarray:
        """Return the best code (G, n) of each frame of the first `valid` samples if asked; searches get the frames."""
        encoder, quantizer = self.model.encoder, self.model.quantizer
        frames = encoder.num_frames(valid)
        z = encoder.frames(torch.from_numpy(window).unsqueeze(0).to(self.device))
        for search in searches:
            search.add(quantizer.split(z), frames)
        return quantizer.encode(z)[0, :, :frames].cpu().numpy() if plain else self._no_codes()

    def _no_codes(self) -> np.ndarray:
        return np.zeros((self.model.quantizer.groups, 0), dtype=np.int64)


def at_rate(wav: np.ndarray | torch.Tensor, sample_rate: int, to_rate: int) -> np.ndarray:
    """Return a recording (T,) at `sample_rate` Hz as float32 at another rate.

    Raises:
        UserError: it has no samples, more than one dimension, or a sample that is not finite.
    """
    x = np.asarray(wav, dtype=np.float32)
    if x.ndim != 1 or len(x) == 0:
        raise UserError(f"wav has the shape {x.shape}; give (T,) with T of 1 or more")
    if not np.isfinite(x).all():
        raise UserError(f"wav[{int(np.flatnonzero(~np.isfinite(x))[0])}] is not finite; repair the recording")
    return resample(x, sample_rate, to_rate)


def checked(pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the pieces (n,) of a stream as float32.

    Raises:
        UserError: a piece has another shape or a sample that is not finite, or the stream ends without a sample.
    """
    done = 0
    for piece in pieces:
        x = np.asarray(piece, dtype=np.float32)
        if x.ndim != 1:
            raise UserError(f"a piece of the stream has the shape {x.shape}; give (n,)")
        if not np.isfinite(x).all():
            bad = done + int(np.flatnonzero(~np.isfinite(x))[0])
            raise UserError(f"sample {bad} of the stream is not finite; repair its source")
        done += len(x)
        yield x
    if not done:
        raise UserError("the stream has no samples; check its source")


__all__ = ["WindowEncoder", "at_rate", "checked"]
