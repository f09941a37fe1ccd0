"""The training loop: phases, exact resume, signals, warnings, several processes."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import tiny_overrides, write_tones

from vqaudio import model_directory
from vqaudio.errors import JobError, UserError
from vqaudio.training.app import compose
from vqaudio.training.loop import Run, train
from vqaudio.training.state import load_state, states

COMMAND = [sys.executable, "-c", "import sys; from vqaudio.cli import main; sys.exit(main(sys.argv[1:]))", "train"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones(tmp_path_factory.mktemp("training") / "data")


def states_agree(exp: Path, other: Path) -> bool:
    """Whether the newest states hold the same bits."""
    first, second = (load_state(states(folder)[0]) for folder in (exp, other))

    def same(x: object, y: object) -> bool:
        if isinstance(x, torch.Tensor):
            return torch.equal(x, y)
        if isinstance(x, dict):
            return x.keys() == y.keys() and all(same(x[key], y[key]) for key in x if key != "elapsed")
        if isinstance(x, list):
            return len(x) == len(y) and all(same(a, b) for a, b in zip(x, y, strict=True))
        return x == y

    return same(first, second)


def metrics(exp: Path) -> list[dict]:
    return [json.loads(line) for line in (exp / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("quantizer", ["kmeans", "gumbel"])
def test_a_run_passes_through_its_phases_and_leaves_a_model(data: Path, tmp_path: Path, quantizer: str) -> None:
    train(compose(tiny_overrides(data, tmp_path / "exp", quantizer=quantizer)))
    lines = metrics(tmp_path / "exp")
    phases = [line["phase"] for line in lines]
    assert list(dict.fromkeys(phases)) == ["warmup", "codebook", "joint"]
    assert "train/nll" not in lines[0]
    assert lines[-1]["valid/nll"] < 5.6
    trained = [line["train/mel"] for line in lines if "train/mel" in line]
    assert trained[-1] < trained[0]
    loaded = model_directory.load_model(tmp_path / "exp")
    assert loaded.speakers == ["<unknown>", "s0", "s1"]
    assert loaded.model.encode(torch.randn(1, 8000)).shape == (1, 1, 100)
    assert "head" not in " ".join(name for name in load_file(tmp_path / "exp" / "model.safetensors") if "mel" in name)
    assert len(states(tmp_path / "exp")) == 2


def test_both_phases_lower_their_losses(data: Path, tmp_path: Path) -> None:
    overrides = tiny_overrides(data, tmp_path / "exp", steps=150)
    train(compose([*overrides, "trainer.lr=3e-3", "trainer.log_every=10"]))
    lines = [line for line in metrics(tmp_path / "exp") if "train/mel" in line]
    nll = [line["train/nll"] for line in lines if "train/nll" in line and line["step"] > 70]
    assert lines[-1]["train/mel"] < 0.6 * lines[0]["train/mel"]
    assert nll[-1] < nll[0] - 0.3


@pytest.mark.slow
def test_a_run_stopped_by_sigterm_continues_bit_for_bit(data: Path, tmp_path: Path, monkeypatch) -> None:
    cfg = compose(tiny_overrides(data, tmp_path / "whole", quantizer="gumbel"))
    train(cfg)
    cfg.exp_dir = str(tmp_path / "stopped")
    housekeeping = Run.housekeeping

    def interrupted(self: Run, *args: float) -> None:
        housekeeping(self, *args)
        if self.step in (3, 8, 17):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "housekeeping", interrupted)
        for step in (3, 8, 17):
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
    overrides = tiny_overrides(data, tmp_path / "whole", steps=400)
    subprocess.run([*COMMAND, *overrides], check=True, capture_output=True)
    overrides = tiny_overrides(data, tmp_path / "killed", steps=400)
    process = subprocess.Popen([*COMMAND, *overrides], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(states(tmp_path / "killed")) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    newest = states(tmp_path / "killed")[0]
    assert int(newest.name.removeprefix("step-")) < 400
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
    cfg = compose([*tiny_overrides(data, tmp_path / "exp"), "trainer.mel_weight=inf"])
    with pytest.raises(JobError, match=r"the loss is inf at step 0; lower trainer\.lr") as caught:
        train(cfg)
    assert "\n" not in str(caught.value)


def test_a_collapsed_codebook_is_a_loud_warning(data: Path, tmp_path: Path, caplog) -> None:
    cfg = compose([*tiny_overrides(data, tmp_path / "exp"), "trainer.collapse_usage=1.01"])
    with caplog.at_level(logging.WARNING, logger="vqaudio.training"):
        train(cfg)
    assert "CODEBOOK COLLAPSE at step 10" in caplog.text
    assert "CODEBOOK COLLAPSE at step 5:" not in caplog.text  # before the codebook exists there is none to collapse


def test_the_temperature_follows_its_schedule(data: Path, tmp_path: Path) -> None:
    from vqaudio import distributed

    cfg = compose([*tiny_overrides(data, tmp_path / "exp", quantizer="gumbel"), "trainer.codebook_start=0.5"])
    cfg.quantizer.temperature = {"schedule": "exponential", "start": 2.0, "end": 0.5}
    with distributed.processes() as world:
        run = Run(cfg, tmp_path / "exp", world)
        assert [run.temperature(p) for p in (0.0, 0.5, 0.75, 1.0)] == pytest.approx([2.0, 2.0, 1.0, 0.5])
        cfg.quantizer.temperature.schedule = "linear"
        assert run.temperature(0.75) == pytest.approx(1.25)


@pytest.mark.slow
def test_two_processes_hold_the_same_weights_and_codebook(data: Path, tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(
        "import sys, torch\n"
        "from vqaudio.training import loop as training\n"
        "from vqaudio.training.app import compose\n"
        "loop = training.Run.loop\n"
        "def kept(self, stop):\n"
        "    loop(self, stop)\n"
        "    torch.save(self.net.state_dict(), f'{self.cfg.exp_dir}/rank{self.world.rank}.pt')\n"
        "training.Run.loop = kept\n"
        "training.train(compose(sys.argv[1:]))\n"
    )
    overrides = tiny_overrides(data, tmp_path / "exp", steps=20)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(
        [*launch, *overrides], capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ranks = [torch.load(tmp_path / "exp" / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name, value in ranks[0].items():
        assert torch.equal(value, ranks[1][name]), name
    assert ranks[0]["model.quantizer.initialised"]


def test_a_run_does_not_continue_with_another_model(data: Path, tmp_path: Path) -> None:
    overrides = tiny_overrides(data, tmp_path / "exp")
    train(compose(overrides))
    with pytest.raises(UserError, match=r"model\.latent_dim is 8 there and 12 here"):
        train(compose([*overrides, "model.latent_dim=12"]))
    assert model_directory.load_config(tmp_path / "exp").model.latent_dim == 8
    train(compose([*overrides, "trainer.max_steps=32"]))  # a longer run of the same model continues
    assert states(tmp_path / "exp")[0].name == "step-32"


def test_two_runs_do_not_write_to_one_folder(data: Path, tmp_path: Path) -> None:
    from vqaudio.files import locked

    with locked(tmp_path / "exp"), pytest.raises(UserError, match="another job is writing here"):
        train(compose(tiny_overrides(data, tmp_path / "exp")))


def test_a_missing_required_value_is_named(data: Path) -> None:
    from vqaudio.training.app import run

    with pytest.raises(UserError, match="exp_dir is required"):
        run([f"data.train={data}", f"data.valid={data}"])
