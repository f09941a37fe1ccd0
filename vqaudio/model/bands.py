"""Speech as mu-law codes of its frequency bands, and back: what the WaveNet reads and writes.

A pseudo-QMF bank splits speech at f Hz into M bands at f / M Hz each. The WaveNet predicts a sample of every band in a
step, so a second of speech takes f / M steps.

Source of the bank: Nguyen, "Near-perfect-reconstruction pseudo-QMF banks" (1994). Source of the idea: Yu et al.,
"DurIAN: Duration Informed Attention Network for Multimodal Synthesis" (2019), section 3.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqaudio.audio import de_emphasis_pieces, mu_law_decode, mu_law_encode, pre_emphasis

TAPS = 63
"""Length of every filter."""

CUTOFFS = {2: 0.2667, 4: 0.1417}
"""Cut-off of the prototype filter, as a share of half the sampling rate, by number of bands."""

BETA = 8.7
"""Of the prototype's Kaiser window; with `CUTOFFS`, bands add up to white noise with an error of −64 dB or less."""

SILENT = 1e-5
"""Bands of less RMS than this share of the whole are raised as if they had it."""


class BandCoder(nn.Module):
    """Turns speech (B, T) into codes (B, S, M) of M bands, and back; S = T / M.

    Gains, which `fit` measures, bring all bands to the level of the whole, where mu-law codes are finest. One band
    is the speech itself. The first and last `side` samples of several bands are less exact, since no step lies beyond.

    Raises:
        ValueError: there is no bank of so many bands.
    """

    analysis: Tensor
    gains: Tensor

    def __init__(self, *, bands: int, levels: int, pre_emphasis: float) -> None:
        super().__init__()
        self.bands, self.levels, self.pre_emphasis = bands, levels, pre_emphasis
        analysis, synthesis = filters(bands)
        self.side = analysis.shape[1] // 2
        self.register_buffer("analysis", torch.from_numpy(analysis[:, ::-1].T.copy()), persistent=False)
        self.register_buffer("gains", torch.ones(bands))
        # taps[j, k, r] weighs band k of step s + j - past in sample r of step s.
        self.past, self.ahead = self.side // bands, (self.side + bands - 1) // bands
        self.taps = np.zeros((self.past + 1 + self.ahead, bands, bands), np.float32)
        for j, r in np.ndindex(len(self.taps), bands):
            n = self.side + r - (j - self.past) * bands
            if 0 <= n < synthesis.shape[1]:
                self.taps[j, :, r] = bands * synthesis[:, n]

    def split(self, wav: Tensor) -> Tensor:
        """Return the bands (B, S, M), without gains, of speech (B, T) with pre-emphasis; T is a multiple of M."""
        wav = pre_emphasis(wav, self.pre_emphasis)
        windows = F.pad(wav, (self.side, self.side)).unfold(1, len(self.analysis), self.bands)
        with torch.autocast(wav.device.type, enabled=False):  # 16 bits would drown a faint band next to a loud one
            return windows @ self.analysis

    @torch.no_grad()
    def fit(self, wav: Tensor) -> None:
        """Set the gains by speech (B, T)."""
        if self.bands > 1:
            power = self.split(wav).square().mean((0, 1))
            whole = power.sum()
            self.gains.copy_((whole / power.clamp_min(SILENT**2 * whole)).sqrt() if whole else torch.ones_like(power))

    def encode(self, wav: Tensor) -> Tensor:
        """Return the codes (B, S, M) int64 of speech (B, T); T is a multiple of M."""
        return mu_law_encode(self.split(wav) * self.gains, self.levels)

    def decode(self, codes: Tensor) -> np.ndarray:
        """Return the speech (T,) float32 of codes (S, M)."""
        return np.concatenate(list(self.decode_pieces([codes])))

    def decode_pieces(self, pieces: Iterable[Tensor]) -> Iterator[np.ndarray]:
        """Yield the speech of codes that come in pieces (s, M); joined it is that of the whole, bit for bit.

        The speech of the last `ahead` steps waits for the steps that follow. No piece of speech is empty.
        """
        merged = (wav for wav in self._merge(pieces) if len(wav))
        return de_emphasis_pieces(merged, self.pre_emphasis)

    def _merge(self, pieces: Iterable[Tensor]) -> Iterator[np.ndarray]:
        gains = self.gains.cpu()
        ends = [torch.zeros(steps, self.bands) for steps in (self.past, self.ahead)]
        held = ends[0].numpy()
        for piece in (mu_law_decode(codes.cpu(), self.levels) / gains for codes in pieces):
            held = np.concatenate([held, piece.numpy()])
            yield self._sum(held)
            held = held[max(0, len(held) - self.past - self.ahead) :]
        yield self._sum(np.concatenate([held, ends[1].numpy()]))

    def _sum(self, held: np.ndarray) -> np.ndarray:
        """Return the samples of the steps whose neighbours on both sides are all in `held` (s, M)."""
        steps = max(0, len(held) - self.past - self.ahead)
        out = np.zeros((steps, self.bands), np.float32)
        for j, k in np.ndindex(*self.taps.shape[:2]):  # one after the other, so that pieces change no bit
            out += held[j : j + steps, k : k + 1] * self.taps[j, k]
        return out.reshape(-1)


def filters(bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the filters of analysis and synthesis, (M, taps) float32 each, centred.

    Raises:
        ValueError: there is no bank of so many bands.
    """
    from scipy.signal import firwin

    if bands == 1:
        return np.ones((1, 1), np.float32), np.ones((1, 1), np.float32)
    if bands not in CUTOFFS:
        raise ValueError(f"bands is {bands}; give 1, 2 or 4")
    prototype = firwin(TAPS, CUTOFFS[bands], window=("kaiser", BETA))
    k = np.arange(bands)[:, None]
    phase = (2 * k + 1) * math.pi / (2 * bands) * (np.arange(TAPS) - TAPS // 2)
    shift = (-1.0) ** k * math.pi / 4
    return tuple((2 * prototype * np.cos(phase + s)).astype(np.float32) for s in (shift, -shift))


__all__ = ["BandCoder", "filters"]
