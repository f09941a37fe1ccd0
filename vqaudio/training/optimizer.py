"""The optimizer: which weights decay, and how a codeword that moved forgets its past."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vqaudio.model.given import GivenUnits
from vqaudio.model.quantizer import KMeansQuantizer
from vqaudio.training.objective import Objective

if TYPE_CHECKING:
    from omegaconf import DictConfig

BETAS = (0.9, 0.99)
"""Decay of Adam's two moments; 0.99 suits runs of some thousand steps better than the usual 0.999."""


def make_optimizer(net: Objective, trainer: "DictConfig") -> torch.optim.AdamW:
    """Return AdamW over all parameters.

    Codewords of k-means do not decay, because decay moves them off their means, nor do those of given units, of which
    many are seldom used.
    """
    quantizer = net.model.quantizer
    kept = set(quantizer.parameters()) if isinstance(quantizer, KMeansQuantizer | GivenUnits) else set()
    groups: list[dict[str, Any]] = [{"params": [parameter for parameter in net.parameters() if parameter not in kept]}]
    if kept:
        groups.append({"params": list(kept), "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=trainer.lr, betas=BETAS, weight_decay=trainer.weight_decay)


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restore moments and steps from a `state_dict`; what the configuration decides stays as it is now.

    The learning rate is that of the last step, until the loop sets that of the next.
    """
    options = [{k: v for k, v in group.items() if k not in ("params", "lr")} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, values in zip(optimizer.param_groups, options, strict=True):
        group.update(values)


def forget_rows(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, rows: Tensor) -> None:
    """Clear the gradient and the moments of some rows of a parameter (…, d); `rows` (…) is true where to clear.

    To be called between `backward` and `step`: the gradient was computed for the rows as they were, and old moments
    would carry them back to where they came from.
    """
    for tensor in (parameter.grad, *optimizer.state.get(parameter, {}).values()):
        if isinstance(tensor, Tensor) and tensor.shape == parameter.shape:
            tensor[rows] = 0.0
