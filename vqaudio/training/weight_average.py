"""An exponential moving average of the weights, which is what training validates and saves."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """Exponential moving average of a model's floating-point state, codebook included.

    The decay grows with the age n of the average (the number of its updates), min(decay, (1 + n) / (10 + n)), so that
    the weights at the start of a phase are soon forgotten. State that is not floating point is copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.restart()

    def restart(self) -> None:
        """Begin again with the model's present weights."""
        self.age = 0
        self.values = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def take_over(self) -> None:
        """Give the model the averaged weights for good."""
        self.model.load_state_dict(self.values)

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the model's weights: average <- decay · average + (1 - decay) · weights."""
        decay = min(self.decay, (1 + self.age) / (10 + self.age))
        self.age += 1
        current = self.model.state_dict()
        names = [name for name, value in self.values.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.values[n] for n in names], [current[n] for n in names], 1 - decay)
        for name, value in self.values.items():
            if not value.is_floating_point():
                value.copy_(current[name])

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Give the model the averaged weights inside the `with`."""
        own = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.values)
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """Return the average and its age."""
        return {"age": self.age, "values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.age = state["age"]
        for name, value in state["values"].items():
            self.values[name].copy_(value)
