"""The averaged weights equal their definition."""

import pytest
import torch
from torch import nn

from vqaudio.training.weight_average import WeightAverage


class Counter(nn.Module):
    """One weight and one whole number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("count", torch.tensor(0))

    def set(self, weight: float, count: int) -> None:
        with torch.no_grad():
            self.weight.fill_(weight)
        self.count.fill_(count)


@pytest.mark.parametrize("limit", [0.3, 0.999])
def test_the_average_is_that_of_its_definition(limit: float) -> None:
    model = Counter()
    model.set(4.0, 0)
    average, expected = WeightAverage(model, limit), 4.0
    for n, weight in enumerate([1.0, -2.0, 5.0, 0.5, 3.0]):
        model.set(weight, n)
        average.update()
        decay = min(limit, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight
        assert average.values["weight"].item() == pytest.approx(expected)
        assert average.values["count"].item() == n


def test_a_long_average_hardly_follows_one_step() -> None:
    model = Counter()
    average = WeightAverage(model, 0.99)
    average.age = 10_000
    model.set(1.0, 0)
    average.update()
    assert average.values["weight"].item() == pytest.approx(0.01)


def test_the_model_has_the_average_inside_the_with_and_its_own_weights_after_it() -> None:
    model = Counter()
    average = WeightAverage(model, 0.5)
    model.set(8.0, 7)
    with average.swapped_in():
        assert (model.weight.item(), model.count.item()) == (0.0, 0)
    assert (model.weight.item(), model.count.item()) == (8.0, 7)


def test_a_model_that_takes_the_average_over_keeps_it() -> None:
    model = Counter()
    average = WeightAverage(model, 0.5)
    model.set(8.0, 7)
    average.update()
    average.take_over()
    assert (model.weight.item(), model.count.item()) == (pytest.approx(0.9 * 8), 7)
    model.set(1.0, 1)  # the average does not share memory with the model
    assert average.values["weight"].item() == pytest.approx(0.9 * 8)


def test_a_restart_forgets_what_was_averaged() -> None:
    model = Counter()
    average = WeightAverage(model, 0.9)
    for _ in range(20):
        average.update()
    model.set(3.0, 1)
    average.restart()
    assert average.values["weight"].item() == 3.0
    model.set(13.0, 1)
    average.update()
    assert average.values["weight"].item() == pytest.approx(0.1 * 3 + 0.9 * 13)  # a decay of 1 / 10, that of age 0


def test_a_restored_average_continues_like_the_one_that_was_saved() -> None:
    model = Counter()
    average = WeightAverage(model, 0.9)
    for weight in (1.0, 2.0, 3.0):
        model.set(weight, 0)
        average.update()
    restored = WeightAverage(model, 0.9)
    restored.load_state_dict({"age": average.age, "values": {k: v.clone() for k, v in average.values.items()}})
    model.set(9.0, 1)
    average.update()
    restored.update()
    assert torch.equal(restored.values["weight"], average.values["weight"])
