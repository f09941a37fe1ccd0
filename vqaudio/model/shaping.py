"""Log-mel that is predicted from the condition, and the filter that brings sampled speech to it.

A WaveNet of few steps keeps pitch and fine structure but blurs the spectrum, and what it blurs once it reads again. The
condition knows the spectrum better: a linear map of it learns the log-mel of the speech. So each frame of the samples
passes a filter that turns its log-mel into the predicted one, by a short-time Fourier transform.
"""

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_MAGNITUDE = 1e-5
"""Mel magnitudes below this count as silence."""

MIN_WINDOW_SECONDS = 0.04
"""Shortest window."""

MAX_GAIN = 3.0
"""Largest change of log magnitude, either way: 26 dB."""


class Shaper(nn.Module):
    """Predicts log-mel (B, bins, N) from the condition (B, C, N), and shapes speech by it.

    Natural logarithms of magnitudes; Hann windows centred on frames, of a power of two that is at least
    `MIN_WINDOW_SECONDS` and four hops; zeros outside the speech; Slaney's mel scale up to half of `sample_rate` (Hz).
    `strength` is the share of the difference between both log-mel that the filter takes away: 0 leaves the samples as
    they are.
    """

    filters: Tensor

    def __init__(self, *, bins: int, strength: float, condition: int, sample_rate: int, hop_length: int) -> None:
        super().__init__()
        import torchaudio

        self.strength, self.hop = strength, hop_length
        self.size = 2 ** math.ceil(max(MIN_WINDOW_SECONDS * sample_rate, 4 * hop_length) - 1).bit_length()
        self.margin = (self.size - hop_length) // 2  # samples of the window before its frame
        self.norm = nn.LayerNorm(condition)
        self.linear = nn.Linear(condition, bins)
        nn.init.constant_(self.linear.bias, -5.0)  # about the mean of speech
        filters = torchaudio.functional.melscale_fbanks(
            self.size // 2 + 1, 0.0, sample_rate / 2, bins, sample_rate, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("filters", filters, persistent=False)  # (frequencies, bins)
        self.window, self.mel = np.hanning(self.size + 1)[:-1], filters.double().numpy()
        self.spread = self.mel / np.maximum(self.mel.sum(1, keepdims=True), 1e-9)  # of a gain over its frequencies

    def forward(self, condition: Tensor) -> Tensor:
        """Predict log-mel (B, bins, N) from the condition (B, C, N)."""
        return self.linear(self.norm(condition.transpose(1, 2))).transpose(1, 2)

    def log_mel(self, padded: Tensor, left: int, right: int) -> Tensor:
        """Return the log-mel (B, bins, N) of `padded` (B, left + N * hop + right), whose ends are context."""
        padded = F.pad(padded.float(), (self.margin - left, self.size - self.hop - self.margin - right))
        window = torch.hann_window(self.size, device=padded.device)
        spectrum = torch.stft(padded, self.size, self.hop, window=window, center=False, return_complex=True).abs()
        with torch.autocast(padded.device.type, enabled=False):  # 16 bits would drown what is soft
            mel = spectrum.transpose(1, 2) @ self.filters
        return mel.clamp_min(MIN_MAGNITUDE).log().transpose(1, 2)

    def shape(self, wav: np.ndarray, mel: Tensor) -> np.ndarray:
        """Return the shaped speech (N * hop,) of speech (N * hop,) and its log-mel (bins, N)."""
        return np.concatenate(list(self.shape_pieces([wav], deque([mel.float().cpu().numpy()]))))

    def shape_pieces(self, pieces: Iterable[np.ndarray], mels: "deque[np.ndarray]") -> Iterator[np.ndarray]:
        """Yield shaped speech for speech (t,) that comes in pieces; joined it is that of the whole, bit for bit.

        `mels` (bins, n) hold the log-mel of each frame by the time that the last sample of it comes, and are taken out
        of the queue. The speech waits for the end of the window of its last frame. No piece of speech is empty.
        """
        if not self.strength:
            for samples in pieces:
                mels.clear()
                yield samples
            return
        columns, skip = _columns(mels), self.margin
        held = np.zeros(self.margin, np.float32)  # from the window of the next frame on
        sums = np.zeros((2, self.size))  # of windows of filtered speech, and of their weights
        for piece in itertools.chain(pieces, [np.zeros(self.size - self.hop - self.margin, np.float32), None]):
            out = []
            held = held if piece is None else np.concatenate([held, piece])
            while len(held) >= self.size:
                sums += self._filtered(held[: self.size], next(columns)), self.window**2
                out.append(_mean(sums[:, : self.hop])[skip:])
                skip = max(0, skip - self.hop)
                sums = np.concatenate([sums[:, self.hop :], np.zeros((2, self.hop))], axis=1)
                held = held[self.hop :]
            if piece is None:
                out.append(_mean(sums[:, : self.margin])[skip:])
            if sum(map(len, out)):
                yield np.concatenate(out)

    def _filtered(self, samples: np.ndarray, mel: np.ndarray) -> np.ndarray:
        """Return the samples (size,) of a window whose log-mel shall be `mel` (bins,), weighted by the window twice."""
        spectrum = np.fft.rfft(samples * self.window)
        now = np.log(np.maximum(np.abs(spectrum) @ self.mel, MIN_MAGNITUDE))
        change = np.clip(mel - now, -MAX_GAIN, MAX_GAIN) * self.strength
        return np.fft.irfft(spectrum * np.exp(self.spread @ change), self.size) * self.window


def _mean(sums: np.ndarray) -> np.ndarray:
    """Return the weighted mean (n,) of sums and weights (2, n); where there is no weight, 0."""
    return (sums[0] / np.maximum(sums[1], 1e-9)).astype(np.float32)


def _columns(mels: "deque[np.ndarray]") -> Iterator[np.ndarray]:
    """Take the log-mel (bins,) of one frame after the other out of the queue."""
    while True:
        yield from mels.popleft().T


__all__ = ["Shaper"]
