"""Units that change less often: codes of a recording chosen together, with a penalty for every change of code.

The codes minimise the sum over frames of cost(frame, code) / mean_cost + penalty * (number of changes), for each group
on its own. A cost is the squared distance to the codeword or, for Gumbel-softmax, minus the log-probability of the
code. A term that all codes of a frame share changes no path, so ‖z‖² and the softmax's denominator are left out, and
every cost is linear in z.

Source: Kamper 2022, "Word segmentation on discovered phone units with dynamic programming and self-supervised scoring".
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vqaudio.errors import UserError
from vqaudio.model.clustering import rows_at_once
from vqaudio.model.quantizer import GumbelQuantizer, KMeansQuantizer, Quantizer


class CodeCosts(NamedTuple):
    """What each code costs a latent z (G, M, d), in units of the mean cost: `bias` (G, K) - z · `weight` (G, K, d)."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def of_distances(cls, codebook: Tensor) -> "CodeCosts":
        """Return the squared distances to a codebook (G, K, d)."""
        return cls._scaled(2 * codebook, codebook.square().sum(-1), codebook)

    @classmethod
    def of_quantizer(cls, quantizer: Quantizer) -> "CodeCosts":
        """Return the squared distances, or minus the log-probabilities, of a quantizer."""
        G = quantizer.groups
        codebook = quantizer.codebook.detach().expand(G, -1, -1)
        if isinstance(quantizer, KMeansQuantizer):
            return cls.of_distances(codebook)
        assert isinstance(quantizer, GumbelQuantizer)
        weight, bias = quantizer.weight.detach(), quantizer.bias.detach()
        return cls._scaled(weight.expand(G, -1, -1), -bias.expand(G, -1), codebook)

    @classmethod
    def _scaled(cls, weight: Tensor, bias: Tensor, codebook: Tensor) -> "CodeCosts":
        """Divide costs by their mean (G,), which depends on the codebook alone.

        The mean cost is what a latent that is a codeword pays for the second-best code in place of the best, averaged
        over codewords: for distances, the mean squared distance from each codeword to its nearest other codeword.
        """
        words, K = codebook.double(), bias.shape[1]
        gaps = []
        for some in words.split(rows_at_once(K, words.device), dim=1):
            costs = bias.double().unsqueeze(1) - some @ weight.double().transpose(1, 2)
            cheapest = costs.topk(min(2, K), largest=False).values
            gaps.append(cheapest[..., -1] - cheapest[..., 0])
        mean = torch.cat(gaps, dim=1).mean(1)
        mean = torch.where(mean > 0, mean, 1.0).unsqueeze(1)  # 0 if there is a single code, or none differs
        return cls((weight / mean.unsqueeze(2)).float(), (bias / mean).float())


class PenalisedSearch:
    """Chooses the codes (G, N) of a recording: `add` its latents in order, in pieces, then `finish`.

    The codes are those of least cost whatever the pieces; memory is that of `PenalisedPath`, for each group.
    """

    def __init__(self, costs: CodeCosts, change_penalty: float) -> None:
        from vqaudio.model.viterbi import PenalisedPath  # imports numba, which codes without a penalty do not need

        check_penalty(change_penalty)
        self.costs = costs
        G, self.codebook_size = costs.bias.shape
        self.paths = [PenalisedPath(self.codebook_size, change_penalty) for _ in range(G)]

    def add(self, z: Tensor, frames: int | None = None) -> None:
        """Add the first `frames` (None: all) of `z` (G, M, d).

        Padding at the end of `z` is given with it, so that products of matrices have the same shape for every piece.
        """
        left = z.shape[1] if frames is None else frames
        for rows in z.split(rows_at_once(self.codebook_size, z.device), dim=1):
            with torch.autocast(z.device.type, enabled=False):
                costs = torch.baddbmm(self.costs.bias.unsqueeze(1), rows, self.costs.weight.transpose(1, 2), alpha=-1)
            for path, of_group in zip(self.paths, costs[:, :left].cpu().numpy(), strict=True):
                path.add(of_group)
            left = max(0, left - rows.shape[1])

    def decided(self) -> np.ndarray:
        """Return the next codes (G, n) int64, those that no later frame can change, and forget them."""
        waiting = max(path.undecided() for path in self.paths)
        return np.stack([path.take(waiting) for path in self.paths])

    def finish(self) -> np.ndarray:
        """Return the codes (G, N) int64 of all frames that were added, but for those that `decided` returned."""
        return np.stack([path.finish() for path in self.paths])


def check_penalty(change_penalty: float) -> None:
    """Reject a penalty that is negative or not finite."""
    if not (math.isfinite(change_penalty) and change_penalty >= 0):
        raise UserError(f"change penalty is {change_penalty}; give 0 (none) or more, such as 1")
