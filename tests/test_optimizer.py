"""The optimizer: what decays, and that a codeword which moved has no past."""

from pathlib import Path

import pytest
import torch
from tiny_training import tiny_overrides, write_tones
from torch import nn

from vqaudio.model import build_model
from vqaudio.model.quantizer import KMeansQuantizer
from vqaudio.training.app import compose
from vqaudio.training.loop import Training, train
from vqaudio.training.objective import Objective
from vqaudio.training.optimizer import forget_rows, make_optimizer, restore_optimizer


@pytest.mark.parametrize(
    ("options", "undecayed"),
    [
        (["quantizer=kmeans", "quantizer.options.update=gradient"], ["model.quantizer.codebook"]),
        (["quantizer=kmeans"], []),
        (["quantizer=gumbel"], []),
    ],
)
def test_every_parameter_is_optimized_once_and_means_of_clusters_do_not_decay(options, undecayed) -> None:
    cfg = compose([*tiny_overrides(Path("data"), Path("exp")), *options, "trainer.weight_decay=0.5"])
    net = Objective(build_model(cfg, speakers=2), cfg)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    decays = {}
    for group in make_optimizer(net, cfg.trainer).param_groups:
        for parameter in group["params"]:
            decays[names.pop(id(parameter))] = group["weight_decay"]
    assert not names
    assert {name for name, decay in decays.items() if decay != 0.5} == set(undecayed)


def test_rows_that_are_forgotten_start_like_new_ones_and_the_others_do_not_notice() -> None:
    torch.manual_seed(0)
    book = nn.Parameter(torch.randn(1, 3, 2))
    optimizer = torch.optim.AdamW([book], lr=0.1, weight_decay=0.0)
    for _ in range(5):
        book.grad = torch.ones_like(book)
        optimizer.step()
    kept = optimizer.state[book]["exp_avg"][0, 0].clone()
    book.grad = torch.ones_like(book)
    forget_rows(optimizer, book, torch.tensor([[False, True, False]]))
    before = book.detach().clone()
    optimizer.step()
    moved = (book - before).abs().sum(2)[0]
    assert moved[1] == 0
    assert (moved[[0, 2]] > 0.1).all()
    assert torch.allclose(optimizer.state[book]["exp_avg"][0, 0], 0.9 * kept + 0.1)


def test_a_restored_optimizer_has_the_moments_of_the_state_and_the_options_of_the_configuration() -> None:
    book = nn.Parameter(torch.zeros(2))
    before = torch.optim.AdamW([book], lr=0.1, weight_decay=0.5)
    book.grad = torch.ones_like(book)
    before.step()
    after = torch.optim.AdamW([book], lr=0.2, weight_decay=0.0)
    restore_optimizer(after, before.state_dict())
    assert torch.equal(after.state[book]["exp_avg"], before.state[book]["exp_avg"])
    (group,) = after.param_groups
    assert group["lr"] == 0.1  # of the last step; the loop sets that of each step
    assert group["weight_decay"] == 0.0


def test_a_first_step_may_forget_too() -> None:
    book = nn.Parameter(torch.zeros(1, 2, 2))
    optimizer = torch.optim.AdamW([book], lr=0.1)
    book.grad = torch.ones_like(book)
    forget_rows(optimizer, book, torch.tensor([[True, False]]))
    optimizer.step()
    assert (book[0, 0] == 0).all()
    assert (book[0, 1] != 0).all()


def test_a_code_that_restarts_stays_on_its_latent_when_the_optimizer_steps(tmp_path: Path, monkeypatch) -> None:
    restarts: list[tuple[torch.Tensor, torch.Tensor]] = []
    restart_dead, housekeeping = KMeansQuantizer._restart_dead, Training.housekeeping

    def restart(self: KMeansQuantizer, z: torch.Tensor) -> torch.Tensor:
        dead = restart_dead(self, z)
        restarts.append((dead, self.codebook.detach().clone()))
        return dead

    found = []

    def after_the_step(self: Training, *args: float) -> None:
        if restarts:
            dead, placed = restarts.pop()
            found.append((dead.sum().item(), torch.equal(self.model.quantizer.codebook[dead], placed[dead])))
        housekeeping(self, *args)

    monkeypatch.setattr("vqaudio.training.start.START_FRAMES", 1000)
    monkeypatch.setattr(KMeansQuantizer, "_restart_dead", restart)
    monkeypatch.setattr(Training, "housekeeping", after_the_step)
    data = write_tones(tmp_path / "data")
    options = [
        "quantizer.options.update=gradient",
        "quantizer.options.restart_threshold=0.9",
        "trainer.weight_decay=0.5",
        "trainer.decoder_start=1",
    ]
    train(compose([*tiny_overrides(data, tmp_path / "exp", steps=20), *options, "quantizer.options.decay=0.5"]))
    assert sum(count for count, _ in found) > 20
    assert all(stayed for _, stayed in found)
