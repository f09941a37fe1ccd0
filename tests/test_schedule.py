"""Phases, learning rate and temperature as functions of progress."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from vqaudio.training.schedule import PHASES, learning_rate, phase_at, run_progress, temperature_at

TRAINER = OmegaConf.create(
    {
        "max_steps": 1000,
        "max_seconds": None,
        "codebook_start": 0.2,
        "decoder_start": 0.5,
        "lr": 2.0,
        "final_lr": 0.1,
        "warmup": 0.01,
    }
)


def changed(**values: object) -> object:
    return OmegaConf.merge(TRAINER, values)


def test_progress_is_the_larger_share_of_steps_and_seconds() -> None:
    assert run_progress(250, 1e6, TRAINER) == 0.25
    assert run_progress(250, 30.0, changed(max_seconds=60.0)) == 0.5
    assert run_progress(250, 6.0, changed(max_seconds=60.0)) == 0.25


def test_phases_follow_progress() -> None:
    phases = [phase_at(progress, "warmup", TRAINER) for progress in (0.0, 0.199, 0.2, 0.499, 0.5, 1.0)]
    assert phases == ["warmup", "warmup", "codebook", "codebook", "joint", "joint"]


@given(st.floats(0, 1), st.sampled_from(PHASES))
def test_a_phase_is_never_followed_by_an_earlier_one(progress: float, current: str) -> None:
    assert PHASES.index(phase_at(progress, current, TRAINER)) >= PHASES.index(current)


def test_the_learning_rate_rises_to_the_end_of_the_warmup() -> None:
    first, half, end = (learning_rate(progress, TRAINER) for progress in (0.0, 0.005, 0.01))
    assert 0 < first < 0.03
    assert half == pytest.approx(1.0, rel=0.03)
    assert end == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("progress", [0.02, 0.25, 0.5, 0.75, 1.0])
def test_the_learning_rate_falls_along_a_cosine_to_its_final_share(progress: float) -> None:
    share = (1 + math.cos(math.pi * progress)) / 2
    assert learning_rate(progress, TRAINER) == pytest.approx(2.0 * (0.1 + 0.9 * share))


def test_the_learning_rate_stays_at_its_end_and_needs_no_warmup() -> None:
    assert learning_rate(1.5, TRAINER) == pytest.approx(0.2)
    assert learning_rate(0.0, changed(warmup=0.0)) == pytest.approx(2.0)


def test_the_temperature_moves_from_the_codebook_s_start_to_the_end() -> None:
    temperature = OmegaConf.create({"schedule": "exponential", "start": 2.0, "end": 0.5})
    found = [temperature_at(progress, temperature, 0.5) for progress in (0.0, 0.5, 0.75, 1.0, 1.5)]
    assert found == pytest.approx([2.0, 2.0, 1.0, 0.5, 0.5])
    temperature.schedule = "linear"
    assert temperature_at(0.75, temperature, 0.5) == pytest.approx(1.25)
    assert temperature_at(0.75, None, 0.5) == 1.0
