"""The training loop: phases, exact resume, signals, warnings, several processes."""

import json
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import states_agree, tiny_overrides, write_tones

from vqaudio import model_directory
from vqaudio.errors import JobError, UserError
from vqaudio.training.app import compose, run
from vqaudio.training.dataset import Batch, SegmentDataset
from vqaudio.training.loop import VALIDATION_SECONDS, Training, train
from vqaudio.training.state import load_state, states
from vqaudio.training.tracking import Tracker

FEW_FRAMES = 1000
"""Latents that the codebook starts from in these tests, so that they take seconds."""

SCRIPT = f"""
import sys
from vqaudio.cli import main
from vqaudio.training import start
start.START_FRAMES = {FEW_FRAMES}
sys.exit(main(sys.argv[1:]))
"""
COMMAND = [sys.executable, "-c", SCRIPT, "train", "trainer.validate_every=50"]


@pytest.fixture(autouse=True)
def a_quick_start_of_the_codebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vqaudio.training.start.START_FRAMES", FEW_FRAMES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones(tmp_path_factory.mktemp("training") / "data")


def metrics(exp: Path) -> list[dict]:
    return [json.loads(line) for line in (exp / "metrics.jsonl").read_text().splitlines()]


def stopping_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run get SIGTERM after a step."""
    housekeeping = Training.housekeeping

    def interrupted(self: Training, *args: float) -> None:
        housekeeping(self, *args)
        if self.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Training, "housekeeping", interrupted)


@pytest.mark.parametrize("quantizer", ["kmeans", "gumbel"])
def test_a_run_passes_through_its_phases_and_leaves_a_model(data: Path, tmp_path: Path, quantizer: str) -> None:
    train(compose(tiny_overrides(data, tmp_path / "exp", quantizer=quantizer)))
    lines = metrics(tmp_path / "exp")
    phases = [line["phase"] for line in lines]
    assert list(dict.fromkeys(phases)) == ["warmup", "codebook", "decoder"]
    assert all(("train/nll" in line) == (line["phase"] == "decoder") for line in lines if "train/mel" in line)
    trained = [line["train/mel"] for line in lines if "train/mel" in line]
    assert trained[-1] < trained[0]
    loaded = model_directory.load_model(tmp_path / "exp")
    assert loaded.speakers == ["<unknown>", "s0", "s1"]
    assert loaded.model.encode(torch.randn(1, 8000)).shape == (1, 1, 100)
    saved = load_file(tmp_path / "exp" / "model.safetensors")
    assert saved.keys() == loaded.model.state_dict().keys()  # no head of training
    assert not any("label" in name for name in saved)
    assert len(states(tmp_path / "exp")) == 2


def test_both_phases_lower_their_losses(data: Path, tmp_path: Path) -> None:
    overrides = tiny_overrides(data, tmp_path / "exp", steps=150)
    train(compose([*overrides, "trainer.lr=3e-3", "trainer.log_every=10"]))
    lines = [line for line in metrics(tmp_path / "exp") if "train/mel" in line]
    units, decoder = ([line for line in lines if (line["phase"] == "decoder") == last] for last in (False, True))
    assert units[-1]["train/mel"] < 0.7 * units[0]["train/mel"]
    assert units[-1]["train/label"] < units[0]["train/label"] - 0.1
    assert decoder[-1]["train/nll"] < decoder[0]["train/nll"] - 0.3
    assert decoder[-1]["train/mel"] < units[-1]["train/mel"]
    valid = [line["valid/nll"] for line in metrics(tmp_path / "exp") if "valid/nll" in line]
    assert valid[-1] < math.log(256) - 0.4  # an untrained network has log(256)


@pytest.mark.slow
def test_a_run_stopped_by_sigterm_continues_bit_for_bit(data: Path, tmp_path: Path, monkeypatch) -> None:
    cfg = compose(tiny_overrides(data, tmp_path / "whole", quantizer="gumbel"))
    train(cfg)
    cfg.exp_dir = str(tmp_path / "stopped")
    for step in (3, 8, 17):
        with monkeypatch.context() as patch:
            stopping_at(step, patch)
            with pytest.raises(JobError, match=f"at step {step}; the same command resumes"):
                train(cfg)
    train(cfg)
    assert states_agree(tmp_path / "whole", tmp_path / "stopped")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert weights[0] == weights[1]
    whole, stopped = (
        [{**line, "seconds": 0} for line in metrics(tmp_path / name) if "valid/mel" in line]
        for name in ("whole", "stopped")
    )
    assert whole == stopped


@pytest.mark.slow
def test_a_run_killed_at_any_moment_continues_bit_for_bit(data: Path, tmp_path: Path) -> None:
    overrides = tiny_overrides(data, tmp_path / "whole", steps=150)
    subprocess.run([*COMMAND, *overrides], check=True, capture_output=True)
    overrides = tiny_overrides(data, tmp_path / "killed", steps=150)
    process = subprocess.Popen([*COMMAND, *overrides], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(states(tmp_path / "killed")) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    newest = states(tmp_path / "killed")[0]
    assert int(newest.name.removeprefix("step-")) < 150
    subprocess.run([*COMMAND, *overrides], check=True, capture_output=True)
    assert states_agree(tmp_path / "whole", tmp_path / "killed")


def test_a_broken_state_falls_back_to_the_one_before(data: Path, tmp_path: Path, caplog) -> None:
    cfg = compose(tiny_overrides(data, tmp_path / "exp"))
    train(cfg)
    whole = load_state(states(tmp_path / "exp")[0])
    newest = states(tmp_path / "exp")[0] / "state.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING, logger="vqaudio.training"):
        train(cfg)
    assert "not a complete training state" in caplog.text
    again = load_state(states(tmp_path / "exp")[0])
    assert all(torch.equal(whole["net"][name], again["net"][name]) for name in whole["net"])


def test_a_finished_run_does_nothing_when_started_again(data: Path, tmp_path: Path) -> None:
    cfg = compose(tiny_overrides(data, tmp_path / "exp"))
    train(cfg)
    before = (tmp_path / "exp" / "model.safetensors").read_bytes()
    train(cfg)
    assert (tmp_path / "exp" / "model.safetensors").read_bytes() == before


def test_a_loss_that_is_not_finite_stops_with_one_line(data: Path, tmp_path: Path) -> None:
    cfg = compose([*tiny_overrides(data, tmp_path / "exp"), "trainer.lr=1e30"])
    with pytest.raises(JobError, match=r"the loss is (inf|nan) at step 1; lower trainer\.lr") as caught:
        train(cfg)
    assert "\n" not in str(caught.value)


def test_a_collapsed_codebook_is_a_loud_warning(data: Path, tmp_path: Path, caplog) -> None:
    cfg = compose([*tiny_overrides(data, tmp_path / "exp"), "trainer.collapse_usage=1.01"])
    with caplog.at_level(logging.WARNING, logger="vqaudio.training"):
        train(cfg)
    assert "CODEBOOK COLLAPSE at step 10" in caplog.text
    assert "CODEBOOK COLLAPSE at step 5:" not in caplog.text  # before the codebook exists there is none to collapse


@pytest.mark.parametrize("override", ["model.latent_dim=12", "data.level_db=0", "data.pre_emphasis=0.5"])
def test_a_refused_run_leaves_the_model_directory_as_it_was(data: Path, tmp_path: Path, override: str) -> None:
    overrides = tiny_overrides(data, tmp_path / "exp", steps=10)
    train(compose(overrides))
    before = {path: path.read_bytes() for path in (tmp_path / "exp").rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=f"{override.partition('=')[0]} is .* there and .* here"):
        train(compose([*overrides, override]))
    shutil.rmtree(tmp_path / "exp" / "state")
    with pytest.raises(UserError, match=f"{override.partition('=')[0]} is .* there and .* here"):
        train(compose([*overrides, override]))
    after = {path: path.read_bytes() for path in (tmp_path / "exp").rglob("*") if path.is_file()}
    assert after == {path: content for path, content in before.items() if "state" not in path.parts}


def test_a_longer_run_stays_in_its_phase_and_keeps_its_best_model(data: Path, tmp_path: Path, monkeypatch) -> None:
    overrides = tiny_overrides(data, tmp_path / "exp", steps=20)
    train(compose(overrides))
    model = (tmp_path / "exp" / "model.safetensors").read_bytes()
    longer = compose([*overrides, "trainer.max_steps=200"])  # step 20 is a tenth of it: before the codebook's start
    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "log_valid", lambda *_: 100.0)  # worse than any
        stopping_at(30, patch)
        with pytest.raises(JobError, match="stopped by a signal at step 30"):
            train(longer)
    later = [line for line in metrics(tmp_path / "exp") if line["step"] > 20]
    assert {line["phase"] for line in later} == {"decoder"}
    rates = [line["lr"] for line in metrics(tmp_path / "exp") if "lr" in line]
    assert rates[-1] > 5 * rates[3]  # step 30 of 200 against step 20 of 20: the schedule is that of the longer run
    assert (tmp_path / "exp" / "model.safetensors").read_bytes() == model
    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "log_valid", lambda *_: 0.001)  # better than any
        stopping_at(40, patch)
        with pytest.raises(JobError, match="stopped by a signal at step 40"):
            train(longer)
    assert (tmp_path / "exp" / "model.safetensors").read_bytes() != model


def test_a_broken_recording_does_not_end_a_run_nor_its_resume(tmp_path: Path, monkeypatch, caplog) -> None:
    data = write_tones(tmp_path / "data")
    (data / "utt2dur").write_text("".join(f"s{s}_{u} 0.6\n" for s in range(2) for u in range(3)))
    (data / "s1_1.wav").write_bytes((data / "s1_1.wav").read_bytes()[:2000])
    train(compose(tiny_overrides(data, tmp_path / "whole")))
    assert "1 utterances could not be read and were skipped" in caplog.text
    (line,) = (tmp_path / "whole" / "failed.txt").read_text().splitlines()
    assert line.startswith("s1_1\t")
    assert "truncated" in line
    with monkeypatch.context() as patch:
        stopping_at(13, patch)
        with pytest.raises(JobError):
            train(compose(tiny_overrides(data, tmp_path / "stopped")))
    train(compose(tiny_overrides(data, tmp_path / "stopped")))
    assert states_agree(tmp_path / "whole", tmp_path / "stopped")
    assert (tmp_path / "stopped" / "failed.txt").read_text().startswith("s1_1\t")


def test_validation_takes_two_seconds_whatever_the_frame_rate(data: Path, tmp_path: Path, monkeypatch) -> None:
    frames: list[int] = []
    middles = SegmentDataset.middles

    def recorded(self: SegmentDataset, count: int, length: int) -> Iterator[Batch]:
        frames.append(length)
        return middles(self, count, length)

    monkeypatch.setattr(SegmentDataset, "middles", recorded)
    for name, strides in (("slow", "[8,10]"), ("fast", "[4,8]")):
        train(compose([*tiny_overrides(data, tmp_path / name, steps=2), f"model.encoder.strides={strides}"]))
    assert VALIDATION_SECONDS == 2.0
    assert frames == [200, 500]


def test_validation_does_not_change_what_is_trained(data: Path, tmp_path: Path) -> None:
    for name, every in (("often", 3), ("once", 30)):
        train(compose([*tiny_overrides(data, tmp_path / name), f"trainer.validate_every={every}"]))
    often, once = (load_state(states(tmp_path / name)[0]) for name in ("often", "once"))
    assert all(torch.equal(often["net"][name], value) for name, value in once["net"].items())
    steps = [line["step"] for line in metrics(tmp_path / "once") if "valid/mel" in line]
    assert steps == [30]  # not twice at the end


def test_two_runs_do_not_write_to_one_folder(data: Path, tmp_path: Path) -> None:
    from vqaudio.files import locked

    with locked(tmp_path / "exp"), pytest.raises(UserError, match="another job is writing here"):
        train(compose(tiny_overrides(data, tmp_path / "exp")))


def test_a_missing_required_value_is_named(data: Path) -> None:
    with pytest.raises(UserError, match="exp_dir is required"):
        run([f"data.train={data}", f"data.valid={data}"], [])
