"""What a run does at a progress from 0 to 1: its phase, learning rate and Gumbel temperature, as pure functions.

Progress follows from `trainer.max_steps` and `trainer.max_seconds` as they are now. A run that is resumed with more
steps is therefore earlier in its schedule: learning rate and temperature take the values of the longer schedule, so
both may rise again. Phases alone never go back.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig

PHASES = ("warmup", "codebook", "decoder")
"""In their order: no codebook yet; encoder, codebook and heads; the WaveNet on units that no longer change."""

WARMUP_OFFSET = 1e-4
"""Added to the progress of the warm-up, so that the first step has a learning rate above 0."""


def run_progress(step: int, seconds: float, trainer: "DictConfig") -> float:
    """Return the share of the run that is done: of its steps or its seconds, whichever is larger."""
    share = step / trainer.max_steps
    return max(share, seconds / trainer.max_seconds) if trainer.max_seconds else share


def phase_at(progress: float, current: str, trainer: "DictConfig") -> str:
    """Return the phase of a run in the phase `current` at `progress`: the one that is due, but never an earlier one."""
    if progress >= trainer.decoder_start:
        due = "decoder"
    else:
        due = "codebook" if progress >= trainer.codebook_start else "warmup"
    return max(due, current, key=PHASES.index)


def learning_rate(progress: float, phase: str, trainer: "DictConfig") -> float:
    """Return the learning rate: a linear warm-up times a cosine from `lr` down to the share `final_lr` of it.

    Units take one such course, from the start to `decoder_start`, and the WaveNet another one.
    """
    start = trainer.decoder_start
    first, last = (start, 1.0) if phase == "decoder" else (0.0, start)
    share = (progress - first) / (last - first) if last > first else 0.0
    # A run that was made longer may be before the start of its phase, where the rate is the largest one.
    warmup = min(1.0, (share + WARMUP_OFFSET) / trainer.warmup) if trainer.warmup and share >= 0 else 1.0
    cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, max(0.0, share)))
    return trainer.lr * warmup * (trainer.final_lr + (1 - trainer.final_lr) * cosine)


def temperature_at(progress: float, temperature: "DictConfig | None", trainer: "DictConfig") -> float:
    """Return the Gumbel temperature, from `start` at the codebook's start to `end` at the WaveNet's; None gives 1."""
    if temperature is None:
        return 1.0
    first, last = trainer.codebook_start, trainer.decoder_start
    share = min(1.0, max(0.0, (progress - first) / (last - first))) if last > first else 1.0
    if temperature.schedule == "exponential":
        return temperature.start * (temperature.end / temperature.start) ** share
    return temperature.start + (temperature.end - temperature.start) * share
