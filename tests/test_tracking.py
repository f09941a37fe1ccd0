"""Logs of a run: what is dropped at a resume, and which score decides."""

import json
from pathlib import Path

import pytest
import torch

from vqaudio.training.tracking import Tracker

COUNTS = torch.tensor([[3.0, 1.0, 0.0, 0.0]])


@pytest.fixture
def tracker(tmp_path: Path):
    made = Tracker(tmp_path, main=True)
    made.rewind(0)
    yield made
    made.close()


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_means_are_over_the_steps_that_had_a_loss(tracker: Tracker, tmp_path: Path) -> None:
    for i in range(4):
        losses = {"mel": torch.tensor(float(i))}
        if i >= 2:
            losses["nll"] = torch.tensor(5.0 + i)
        tracker.add(losses, {"counts": COUNTS}, torch.tensor(1.0))
    assert tracker.log(4, 1.0, "decoder", 0.5, {"lr": 0.25}) == 0.5
    (line,) = lines(tmp_path)
    assert (line["train/mel"], line["train/nll"], line["train/gradient_norm"], line["lr"]) == (1.5, 7.5, 1.0, 0.25)
    assert line["codebook/usage"] == 0.5
    tracker.add({"mel": torch.tensor(9.0)}, {"counts": COUNTS}, torch.tensor(1.0))
    tracker.log(5, 1.0, "decoder", 0.5, {})
    assert lines(tmp_path)[1]["train/mel"] == 9.0


def test_the_sum_of_the_losses_decides(tracker: Tracker, tmp_path: Path) -> None:
    for value in (1.0, 3.0):
        tracker.add_valid({"mel": torch.tensor(value), "label": torch.tensor(2 * value)}, {"counts": COUNTS})
    assert tracker.log_valid(1, 1.0, "codebook") == 6.0
    for value in (1.0, 3.0):
        tracker.add_valid({"mel": torch.tensor(value), "nll": torch.tensor(10 * value)}, {"counts": COUNTS})
    assert tracker.log_valid(2, 1.0, "decoder") == 22.0
    first, second = lines(tmp_path)
    assert (first["valid/mel"], first["valid/label"], first["valid/usage"]) == (2.0, 4.0, 0.5)
    assert (second["valid/mel"], second["valid/nll"]) == (2.0, 20.0)
    assert "valid/label" not in second


def test_a_resume_drops_what_came_after_its_step_and_torn_lines(tmp_path: Path) -> None:
    good = [json.dumps({"step": step, "train/mel": step / 10}) for step in (5, 10, 15)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(good) + '\n{"step": 2')
    tracker = Tracker(tmp_path, main=True)
    tracker.rewind(10)
    tracker.close()
    assert [line["step"] for line in lines(tmp_path)] == [5, 10]


def test_a_process_that_is_not_the_main_one_writes_nothing(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path, main=False)
    tracker.rewind(0)
    tracker.add({"mel": torch.tensor(1.0)}, {"counts": COUNTS}, torch.tensor(1.0))
    assert tracker.log(1, 1.0, "decoder", 0.5, {}) == 0.5
    tracker.close()
    assert not list(tmp_path.iterdir())


def test_samples_that_are_too_loud_are_clipped_in_silence(tracker: Tracker, capsys: pytest.CaptureFixture[str]) -> None:
    tracker.show(1, torch.rand(8, 5), torch.tensor([0.0, 1.5, -2.0]), 8000)
    assert capsys.readouterr().out == ""
