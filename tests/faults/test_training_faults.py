"""A training that is killed, runs out of disk, or finds its states, recordings or fellow processes broken.

Each ends as one that nothing happened to, or says in one line why not.
"""

import contextlib
import errno
import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from os_faults import Fault
from tiny_training import states_agree, tiny_overrides, write_tones

from vqaudio.errors import JobError, UserError
from vqaudio.training.app import compose
from vqaudio.training.loop import Training, train
from vqaudio.training.state import states

if TYPE_CHECKING:
    from omegaconf import DictConfig

ROOT = Path(__file__).resolve().parents[2]
FEW_FRAMES = 1000
"""Latents that the codebook starts from in these tests, so that they take seconds."""

KILLED = f"""
import os, shutil, signal, sys
from pathlib import Path
from vqaudio import files
from vqaudio.training import loop, start
from vqaudio.training.app import compose
start.START_FRAMES = {FEW_FRAMES}

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def half(file, data):
    os.write(file.fileno(), bytes(data)[: len(data) // 2])
    die()

POINTS = {{
    "in the middle of the file": lambda: setattr(files.NamedFile, "write", half),
    "before the file is on disk": lambda: setattr(os, "fsync", die),
    "before the file has its name": lambda: setattr(Path, "replace", die),
    "before the folder has its name": lambda: setattr(Path, "rename", die),
    "before an old state is removed": lambda: setattr(shutil, "rmtree", lambda path, **_: die() if "step-1" in path.name
        and "partial" not in path.name else None),
}}
whole_save = loop.save_state

def in_child(work):
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1]

def train(exp, point=None):
    def save(exp_dir, step, state):
        if step == 30 and point:
            POINTS[point]()
        whole_save(exp_dir, step, state)
    loop.save_state = save
    loop.train(compose([*sys.argv[2:], f"exp_dir={{exp}}"]))

folder = Path(sys.argv[1])
assert in_child(lambda: train(folder / "whole")) == 0
for i, point in enumerate(POINTS):
    assert in_child(lambda: train(folder / str(i), point)) == signal.SIGKILL, point
    print(point, max(path.name for path in (folder / str(i) / "state").glob("step-*")), sep="\\t")
    assert in_child(lambda: train(folder / str(i))) == 0, point
"""

COMMAND = f"""
import os, signal, sys
from vqaudio.cli import main
from vqaudio.training import loop, start
start.START_FRAMES = {FEW_FRAMES}
housekeeping = loop.Training.housekeeping

def dying(self, *args):
    housekeeping(self, *args)
    if self.step == 17 and self.world.rank == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)

if "DIE" in os.environ:
    loop.Training.housekeeping = dying
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """Start codebooks from few latents, on one thread, which is faster for so small a network."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vqaudio.training.start.START_FRAMES", FEW_FRAMES)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones(tmp_path_factory.mktemp("training") / "data")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    exp = tmp_path_factory.mktemp("whole") / "exp"
    train(compose(tiny_overrides(data, exp)))
    return exp


def test_a_kill_at_any_moment_of_writing_a_state_costs_at_most_that_state(data: Path, tmp_path: Path) -> None:
    overrides = tiny_overrides(data, Path("unused"), steps=40)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), *overrides],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = dict(line.split("\t") for line in done.stdout.splitlines())
    assert len(found) == 5
    for i, (point, newest) in enumerate(found.items()):
        assert newest == ("step-30" if "old state" in point else "step-20"), point
        assert states_agree(tmp_path / "whole", tmp_path / str(i)), point
        assert names(tmp_path / str(i) / "state") == ["step-30", "step-40"], point
        weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", str(i))]
        assert weights[0] == weights[1], point


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    """tools/kill_training.py does this a hundred times."""
    sys.path.insert(0, str(ROOT / "tools"))
    import kill_training

    assert kill_training.kill(tmp_path, 2, random.Random(1)) == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_while_a_state_is_written_leaves_the_one_before(
    number: int, data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vqaudio.training import loop

    save, exp = loop.save_state, tmp_path / "exp"

    def failing(exp_dir: Path, step: int, state: dict) -> None:
        with monkeypatch.context() as patch:
            if step == 20:
                Fault(patch, "write", number, 1)
            save(exp_dir, step, state)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_state", failing)
        with pytest.raises(
            JobError, match=rf"state\.pt: cannot be written \({os.strerror(number)}\); .*again"
        ) as caught:
            train(compose(tiny_overrides(data, exp)))
    assert "\n" not in str(caught.value)
    assert names(exp / "state") == ["step-10"]
    train(compose(tiny_overrides(data, exp)))
    assert states_agree(whole, exp)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [truncate, flip_a_bit, empty, Path.unlink])
def test_a_broken_state_gives_way_to_the_one_before(
    spoil: Callable[[Path], None], data: Path, whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exp, cfg = tmp_path / "exp", compose(tiny_overrides(data, tmp_path / "exp"))
    stop_at(25, cfg)
    newest = states(exp)[0]
    assert newest.name == "step-25"
    spoil(newest / "state.pt")
    with caplog.at_level(logging.INFO, logger="vqaudio.training"):
        train(cfg)
    (line,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert line.startswith(f"{newest}/state.pt: not a complete training state (")
    assert line.endswith(f"; remove {newest}; trying the one before")
    assert f"resuming from {exp}/state/step-20" in caplog.text
    assert states_agree(whole, exp)


@contextlib.contextmanager
def after(step: int, work: Callable[[], object]) -> Iterator[None]:
    """Do something once, after a step of training."""
    housekeeping = Training.housekeeping

    def then(run: Training, *args: float) -> None:
        housekeeping(run, *args)
        if run.step == step:
            work()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "housekeeping", then)
        yield


def stop_at(step: int, cfg: "DictConfig") -> None:
    """Let a run get SIGTERM after a step, as a scheduler sends it."""
    stopped = f"stopped by a signal at step {step}; the same command resumes"
    with after(step, lambda: os.kill(os.getpid(), signal.SIGTERM)), pytest.raises(JobError, match=stopped):
        train(cfg)


def test_sigterm_loses_no_step(data: Path, whole: Path, tmp_path: Path) -> None:
    cfg = compose(tiny_overrides(data, tmp_path / "exp"))
    for step in (7, 23):
        stop_at(step, cfg)
        assert states(tmp_path / "exp")[0].name == f"step-{step}"
    train(cfg)
    assert states_agree(whole, tmp_path / "exp")


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    return write_tones(tmp_path / "own")


def test_a_recording_that_vanishes_in_mid_training_is_skipped(own_data: Path, tmp_path: Path) -> None:
    exp = tmp_path / "exp"
    with after(12, (own_data / "s1_0.wav").unlink):
        train(compose(tiny_overrides(own_data, exp)))
    assert states(exp)[0].name == "step-30"
    (line,) = (exp / "failed.txt").read_text().splitlines()
    assert line.startswith("s1_0\t")
    assert "no such file" in line.lower()


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_recording_that_the_disk_cannot_give_in_mid_training_is_skipped(
    number: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: set[str] = set()
    pread = os.pread

    def reading(descriptor: int, count: int, offset: int) -> bytes:
        if Path(f"/proc/self/fd/{descriptor}").resolve().name in broken:
            raise OSError(number, os.strerror(number))
        return pread(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", reading)
    exp = tmp_path / "exp"
    with after(12, lambda: broken.add("s0_1.wav")):
        train(compose(tiny_overrides(data, exp)))
    assert states(exp)[0].name == "step-30"
    (line,) = (exp / "failed.txt").read_text().splitlines()
    assert line.startswith("s0_1\t")
    assert os.strerror(number) in line


def test_a_second_run_in_the_same_folder_is_refused_in_one_line(data: Path, tmp_path: Path) -> None:
    exp, refused = tmp_path / "exp", []

    def second() -> None:
        command = [sys.executable, "-m", "vqaudio", "train", *tiny_overrides(data, exp)]
        refused.append(subprocess.run(command, capture_output=True, text=True, check=False))

    with after(12, second):
        train(compose(tiny_overrides(data, exp)))
    (done,) = refused
    assert done.returncode == 2
    assert done.stderr == f"vqaudio: {exp}: another job is writing here; wait for it or choose another folder\n"
    assert states(exp)[0].name == "step-30"


def torchrun(script: Path, overrides: list[str], **more: str) -> "subprocess.CompletedProcess[str]":
    """Train in two processes, which torchrun starts again once."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    command += [str(script), "train", *overrides]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(COMMAND)
    return tmp_path / "train.py"


def test_torchrun_starts_a_training_again_whose_process_was_killed(data: Path, tmp_path: Path, script: Path) -> None:
    own_store = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    for name, die in (("whole", {}), ("killed", {"DIE": "1"})):
        done = torchrun(script, tiny_overrides(data, tmp_path / name), **own_store, **die)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    # The other process says so in one line, unless torchrun, which looks every 0.1 s, stops it before, by a signal.
    lines = [line for line in done.stderr.splitlines() if line.startswith("vqaudio: ")]
    said = ("process 0 of 2: another process ended or cannot be reached", "stopped by a signal")
    assert [line for line in lines if not any(words in line for words in said)] == []
    assert f"resuming from {tmp_path}/killed/state/step-10" in done.stderr
    assert states_agree(tmp_path / "whole", tmp_path / "killed")


def test_restarts_that_would_wait_for_ever_are_refused(data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "1")
    with pytest.raises(UserError, match="set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for torchrun"):
        train(compose(tiny_overrides(data, tmp_path / "exp")))
