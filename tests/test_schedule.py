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
    assert phases == ["warmup", "warmup", "codebook", "codebook", "decoder", "decoder"]


@given(st.floats(0, 1), st.sampled_from(PHASES))
def test_a_phase_is_never_followed_by_an_earlier_one(progress: float, current: str) -> None:
    assert PHASES.index(phase_at(progress, current, TRAINER)) >= PHASES.index(current)


@pytest.mark.parametrize("phase", PHASES)
def test_the_learning_rate_rises_to_the_end_of_each_warmup(phase: str) -> None:
    start = 0.5 if phase == "decoder" else 0.0
    first, half, end = (learning_rate(start + 0.5 * share, phase, TRAINER) for share in (0.0, 0.005, 0.01))
    assert 0 < first < 0.03
    assert half == pytest.approx(1.0, rel=0.03)
    assert end == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 0.75, 1.0])
def test_the_learning_rate_falls_along_a_cosine_to_its_final_share_and_restarts_for_the_wavenet(share: float) -> None:
    expected = 2.0 * (0.1 + 0.9 * (1 + math.cos(math.pi * share)) / 2)
    for phase in ("warmup", "codebook"):
        assert learning_rate(0.5 * share, phase, TRAINER) == pytest.approx(expected)
    assert learning_rate(0.5 + 0.5 * share, "decoder", TRAINER) == pytest.approx(expected)


def test_the_learning_rate_stays_at_its_end_and_needs_no_warmup() -> None:
    assert learning_rate(1.5, "decoder", TRAINER) == pytest.approx(0.2)
    assert learning_rate(0.6, "codebook", TRAINER) == pytest.approx(0.2)
    for progress, phase in ((0.0, "warmup"), (0.5, "decoder")):
        assert learning_rate(progress, phase, changed(warmup=0.0)) == pytest.approx(2.0)


def test_a_wavenet_whose_run_was_made_longer_has_the_full_rate_until_its_phase_is_due() -> None:
    assert [learning_rate(progress, "decoder", TRAINER) for progress in (0.0, 0.1, 0.499)] == pytest.approx([2.0] * 3)


@given(st.floats(0, 2), st.sampled_from(PHASES), st.floats(0, 1), st.sampled_from([0.0, 0.3, 1.0]), st.floats(0, 1))
def test_the_learning_rate_is_always_above_0_and_never_above_its_largest(progress, phase, start, warmup, final) -> None:
    rate = learning_rate(progress, phase, changed(decoder_start=start, warmup=warmup, final_lr=final))
    assert 0 <= rate <= 2.0
    assert rate > 0 or (final < 1e-9 and progress > 0)


def test_the_temperature_moves_from_the_codebook_s_start_to_the_wavenet_s() -> None:
    temperature, trainer = (
        OmegaConf.create({"schedule": "exponential", "start": 2.0, "end": 0.5}),
        changed(codebook_start=0.2, decoder_start=0.6),
    )
    found = [temperature_at(progress, temperature, trainer) for progress in (0.0, 0.2, 0.4, 0.6, 1.5)]
    assert found == pytest.approx([2.0, 2.0, 1.0, 0.5, 0.5])
    temperature.schedule = "linear"
    assert temperature_at(0.4, temperature, trainer) == pytest.approx(1.25)
    assert temperature_at(0.4, None, trainer) == 1.0
    assert temperature_at(0.2, temperature, changed(decoder_start=0.2)) == 0.5  # no codebook phase at all
