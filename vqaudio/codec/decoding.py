"""Codes to the WaveNet's condition, a few frames at a time and on one thread, and to speech while codes arrive."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from vqaudio.defaults import Weights
from vqaudio.errors import UserError
from vqaudio.model import VQAutoencoder
from vqaudio.threads import one_thread

Codes = np.ndarray | Tensor
"""Integers (G, N) below the codebook's size."""


def check_codes(codes: Codes, model: VQAutoencoder) -> Tensor:
    """Return codes (G, N) as int64.

    Raises:
        UserError: they have another shape, or lie outside the codebook.
    """
    codes, (groups, size) = torch.as_tensor(codes), (model.quantizer.groups, model.quantizer.codebook_size)
    if codes.ndim != 2 or codes.shape[0] != groups or codes.shape[1] == 0:
        raise UserError(f"codes have the shape {tuple(codes.shape)}; give ({groups}, N) with N of 1 or more")
    if codes.min() < 0 or codes.max() >= size:
        bad = int(codes.max() if codes.min() >= 0 else codes.min())
        raise UserError(f"code {bad} lies outside the codebook of {size}; use codes of this model")
    return codes.long()


def condition_pieces(model: VQAutoencoder, pieces: Iterable[Codes], speaker: int, step: int) -> Iterator[Tensor]:
    """Yield the condition (C, n) of codes that come in pieces (G, n), `step` frames at a time, the last time fewer.

    Each is computed with its context; so it is the same for any division into pieces, bit for bit.

    Raises:
        UserError: codes do not fit the codebook, or there are none.
    """
    context = model.conditioner.context
    device = model.conditioner.project.weight.device
    index = torch.tensor([speaker], device=device)
    held = torch.zeros(model.quantizer.groups, 0, dtype=torch.long)
    before = 0  # frames of `held` that are the context of the next ones

    def of_held() -> Tensor:
        with torch.inference_mode(), one_thread():
            z_q = model.quantizer.lookup(held[None, :, : before + step + context].to(device))
            return model.condition(z_q, index)[0, :, before : before + step]

    empty = True
    for piece in pieces:
        held = torch.cat([held, check_codes(piece, model)], dim=1)
        while held.shape[1] >= before + step + context:
            yield of_held()
            empty, before, held = False, min(context, before + step), held[:, max(0, before + step - context) :]
    while held.shape[1] > before:
        yield of_held()
        empty, before, held = False, min(context, before + step), held[:, max(0, before + step - context) :]
    if empty:
        raise UserError("there are no codes to decode; give one or more")


def log_mel(model: VQAutoencoder, condition: Tensor) -> Tensor:
    """Return the log-mel (bins, N) that is predicted from a condition (C, N), a frame at a time on one thread."""
    with torch.inference_mode(), one_thread():
        return torch.cat([model.shaper(c.unsqueeze(0))[0] for c in condition.split(1, dim=1)], dim=1).cpu()


def stream_speech(
    model: VQAutoencoder, pieces: Iterable[Tensor], seed: int, temperature: float, weights: Weights
) -> Iterator[np.ndarray]:
    """Return an iterator over speech (t,) that is sampled under a condition which comes in pieces (C, n)."""
    from vqaudio.sampling import stream  # compiles a loop, which encoding does not need

    mels: deque[np.ndarray] = deque()  # of the frames that are being sampled

    def conditions() -> Iterator[Tensor]:
        for condition in pieces:
            mels.append(log_mel(model, condition).numpy())
            yield condition

    levels = stream(
        model.decoder,
        conditions(),
        steps_per_frame=model.steps_per_frame,
        seed=seed,
        temperature=temperature,
        weights=weights,
    )
    return model.shaper.shape_pieces(model.bands.decode_pieces(levels), mels)


def check_sampling(temperature: float, weights: Weights) -> None:
    """Reject a temperature or weights that cannot be used."""
    if not (math.isfinite(temperature) and temperature >= 0):
        raise UserError(f"temperature is {temperature}; give 0 (always the likeliest sample) or more, usually 1")
    if weights not in get_args(Weights):
        raise UserError(f"weights is {weights!r}; give {' or '.join(get_args(Weights))}")


__all__ = ["Codes", "check_codes", "check_sampling", "condition_pieces", "log_mel", "stream_speech"]
