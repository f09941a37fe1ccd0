"""Batches made ahead: the same ones in the same order for any number of threads, which disturb nothing else."""

import threading
from pathlib import Path

import pytest
import torch
from segments import dataset, write_noise

from vqaudio.errors import UserError
from vqaudio.training import prefetch as module
from vqaudio.training.prefetch import AHEAD, MAX_WORKERS, prefetch, workers_for


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_batches_come_in_order_for_any_number_of_threads(tmp_path: Path, workers: int) -> None:
    source = dataset(write_noise(tmp_path))
    ahead = prefetch(lambda step: source.batch(step, size=2, frames=5), 3, workers)
    for step in range(3, 12):
        assert torch.equal(next(ahead).padded, source.batch(step, size=2, frames=5).padded)
    ahead.close()


def test_threads_work_at_the_same_time_and_not_too_far_ahead() -> None:
    together, begun = threading.Barrier(3), []
    before = set(threading.enumerate())

    def make(step: int) -> int:
        begun.append(step)
        if step < 3:
            together.wait(timeout=60)  # breaks unless three threads wait here
        return step

    ahead = prefetch(make, 0, 3)
    assert [next(ahead) for _ in range(5)] == [0, 1, 2, 3, 4]
    ahead.close()
    assert max(begun) <= 5 + 3 * AHEAD
    assert set(threading.enumerate()) <= before  # none is left


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_in_the_place_of_its_batch(workers: int) -> None:
    def broken(step: int) -> int:
        if step == 2:
            raise UserError("broken.wav: empty")
        return step

    ahead = prefetch(broken, 0, workers)
    assert [next(ahead), next(ahead)] == [0, 1]
    with pytest.raises(UserError, match=r"broken\.wav"):
        next(ahead)


def test_a_gpu_gets_as_many_threads_as_its_process_has_cores_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_cores", lambda: 32)
    gpu = torch.device("cuda")
    assert workers_for(torch.device("cpu")) == 1
    assert workers_for(gpu) == MAX_WORKERS
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert workers_for(gpu) == 3
    monkeypatch.setattr(module, "available_cores", lambda: 2)
    assert workers_for(gpu) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_made_on_one_thread_of_torch_which_leaves_those_of_training_alone(workers: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for _ in range(2):
            ahead = prefetch(lambda step: torch.get_num_threads(), 0, workers)
            assert (next(ahead), torch.get_num_threads()) == (1, 2)
            ahead.close()
    finally:
        torch.set_num_threads(before)
