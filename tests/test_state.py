"""Training states: which runs may continue, from which state, and with which random numbers."""

import logging
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tiny_training import tiny_overrides

from vqaudio.distributed import World
from vqaudio.errors import UserError
from vqaudio.model_directory import save_config
from vqaudio.training.app import compose
from vqaudio.training.state import (
    load_state,
    random_state,
    require_same_model,
    restore_random_state,
    resume_newest,
    save_state,
    states,
)

SPEAKERS = ["<unknown>", "a", "b"]
CPU = torch.device("cpu")
ONE = World(0, 1, CPU)

OTHER_MODEL = [
    "model.latent_dim=12",
    "model.encoder.kernels=[16,12]",
    "model.encoder.context_layers=1",
    "model.conditioner.layers=1",
    "model.decoder.cycle=2",
    "model.shaper.bins=21",
    "model.shaper.strength=0",
    "quantizer=gumbel",
    "quantizer.options.codebook_size=17",
    "quantizer.options.groups=2",
    "quantizer.options.shared=true",
    "quantizer.options.update=gradient",
    "data.sample_rate=16000",
    "data.level_db=-20",
    "data.level_db=null",
    "data.pre_emphasis=0",
]
OTHER_HEADS = ["trainer.labels=17", "trainer.label_coefficients=13", "trainer.label_offsets=[-0.02,0,0.02,0.04,0.06]"]
FREE = [
    "seed=1",
    "data.train=elsewhere",
    "data.valid=elsewhere",
    "quantizer.options.decay=0.9",
    "quantizer.options.commitment=1",
    "quantizer.options.restart_threshold=0",
    "trainer.max_steps=31",
    "trainer.max_seconds=60",
    "trainer.lr=1",
    "trainer.mel_weight=2",
    "trainer.jitter=0.1",
    "trainer.precision=bf16",
    "trainer.codebook_phase.segments=2",
    "trainer.decoder_phase.segments=2",
    "trainer.decoder_start=1",
]


def config(*overrides: str):
    return compose([*tiny_overrides(Path("data"), Path("exp")), *overrides])


@pytest.fixture
def with_state(tmp_path: Path) -> Path:
    save_config(tmp_path, config(), SPEAKERS)
    save_state(tmp_path, 10, {"step": 10})
    return tmp_path


@pytest.fixture
def with_model(tmp_path: Path) -> Path:
    save_config(tmp_path, config(), SPEAKERS)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


@pytest.mark.parametrize("override", OTHER_MODEL)
@pytest.mark.parametrize("made", ["with_state", "with_model"])
def test_weights_are_not_used_with_settings_that_change_their_meaning(override: str, made: str, request) -> None:
    folder = request.getfixturevalue(made)
    key = "quantizer.name" if override == "quantizer=gumbel" else override.partition("=")[0]
    with pytest.raises(UserError, match=f"{key} is .* there and .* here; give another exp_dir") as caught:
        require_same_model(folder, config(override), SPEAKERS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("override", OTHER_HEADS)
def test_heads_bind_a_state_but_not_a_model(override: str, tmp_path: Path, with_model: Path) -> None:
    require_same_model(with_model, config(override), SPEAKERS)
    save_state(with_model, 10, {})
    with pytest.raises(UserError, match=f"{override.partition('=')[0]} is"):
        require_same_model(with_model, config(override), SPEAKERS)


@pytest.mark.parametrize("override", FREE)
def test_what_does_not_change_the_meaning_of_weights_may_change(override: str, with_state: Path) -> None:
    require_same_model(with_state, config(override), SPEAKERS)


@pytest.mark.parametrize("made", ["with_state", "with_model"])
def test_other_speakers_are_refused(made: str, request) -> None:
    folder = request.getfixturevalue(made)
    require_same_model(folder, config(), SPEAKERS)
    for speakers in (SPEAKERS[:2], [*SPEAKERS, "c"], ["<unknown>", "b", "a"]):
        with pytest.raises(UserError, match="other speakers; give another exp_dir"):
            require_same_model(folder, config(), speakers)


def test_weights_without_their_configuration_are_refused(with_model: Path) -> None:
    (with_model / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"weights, but no config\.yaml; restore it"):
        require_same_model(with_model, config(), SPEAKERS)


def test_a_folder_without_weights_takes_any_configuration(tmp_path: Path) -> None:
    require_same_model(tmp_path, config(), SPEAKERS)
    save_config(tmp_path, config(), SPEAKERS)  # a run that ended before its first state
    require_same_model(tmp_path, config("model.latent_dim=12"), ["<unknown>"])


def test_the_two_newest_states_are_kept(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        save_state(tmp_path, step, {"step": step})
    (tmp_path / "state" / "step-x").mkdir()
    assert [folder.name for folder in states(tmp_path)] == ["step-100", "step-10"]
    assert load_state(states(tmp_path)[0]) == {"step": 100}


def test_a_state_that_does_not_fit_gives_way_to_the_one_before(tmp_path: Path, caplog) -> None:
    save_state(tmp_path, 1, {"step": 1, "new": 0})
    save_state(tmp_path, 2, {"step": 2})
    taken = []
    with caplog.at_level(logging.WARNING, logger="vqaudio.training"):
        resume_newest(tmp_path, lambda state: taken.append(state["new"]), ONE)
    assert taken == [0]
    assert "step-2: of another version of vqaudio" in caplog.text


def test_a_run_whose_states_are_all_broken_does_not_begin_again(tmp_path: Path) -> None:
    resume_newest(tmp_path, lambda state: None, ONE)  # there is no state at all
    for step in (1, 2):
        save_state(tmp_path, step, {})
        (tmp_path / "state" / f"step-{step}" / "state.pt").write_bytes(b"torn")
    with pytest.raises(UserError, match="none of 2 states can be used; remove the folder"):
        resume_newest(tmp_path, lambda state: None, ONE)


class Lagging(NamedTuple):
    """One of two processes, of which the other one has `step` as its newest state, or cannot restore any."""

    step: int
    broken: bool = False
    size: int = 2
    main: bool = True

    def agree(self, value: float) -> float:
        """Return the larger value of both processes, given what a process is asked by `resume_newest`."""
        if isinstance(value, bool):
            return max(value, self.broken)
        return max(value, -self.step)


def test_processes_resume_from_the_newest_state_that_all_of_them_have(tmp_path: Path) -> None:
    for step in (1, 2):
        save_state(tmp_path, step, {"step": step})
    for other, expected in ((1, 1), (2, 2), (3, 2)):
        taken: list[int] = []
        resume_newest(tmp_path, lambda state: taken.append(state["step"]), Lagging(other))  # noqa: B023
        assert taken == [expected]


def test_a_process_that_sees_no_state_does_not_begin_again_beside_one_that_does(tmp_path: Path) -> None:
    save_state(tmp_path, 1, {"step": 1})
    for other in (Lagging(-1), Lagging(1, broken=True)):
        with pytest.raises(UserError, match="can be used, or not by every process, which all need this folder"):
            resume_newest(tmp_path, lambda state: None, other)


def test_half_a_state_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    save_state(tmp_path, 1, {"step": 1})
    (tmp_path / "state" / ".step-2.partial").mkdir()
    resume_newest(tmp_path, lambda state: None, ONE)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-1"]


def draw(state: dict, world: World, step: int = 3) -> list[float]:
    restore_random_state(state, world, seed=0, step=step)
    return torch.rand(4).tolist()


def test_a_process_continues_with_its_own_random_numbers() -> None:
    states_of_ranks, expected = [], []
    for seed in (5, 6):
        torch.manual_seed(seed)
        states_of_ranks += random_state(World(0, 1, CPU))["cpu"]
        expected.append(torch.rand(4).tolist())
    state = {"cpu": states_of_ranks, "cuda": []}
    assert [draw(state, World(rank, 2, CPU)) for rank in (0, 1)] == expected


@pytest.mark.parametrize(("before", "cuda", "now"), [(1, 0, 2), (2, 0, 1), (2, 0, 3), (2, 2, 2)])
def test_with_other_processes_or_devices_each_draws_new_numbers_of_its_own(before, cuda, now, caplog) -> None:
    torch.manual_seed(0)
    state = {"cpu": [torch.get_rng_state()] * before, "cuda": [torch.zeros(16, dtype=torch.uint8)] * cuda}
    with caplog.at_level(logging.WARNING, logger="vqaudio.training"):
        draws = [draw(state, World(rank, now, CPU)) for rank in range(now)]
    assert f"this run has {now} on the CPU: it draws new random numbers" in caplog.text
    assert len({tuple(numbers) for numbers in draws}) == now
    assert draws == [draw(state, World(rank, now, CPU)) for rank in range(now)]
    assert draw(state, World(0, now, CPU), step=4) != draws[0]
