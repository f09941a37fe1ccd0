"""Signals in a training: the state is saved, the exit code says which signal it was, and the same command resumes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_training import tiny_overrides, write_tones

from vqaudio.training.signals import STOP_SIGNALS, stop_signals
from vqaudio.training.state import states

STEPS, MAX_SECONDS = 1_000_000, 300
"""A training ends by itself after these seconds, even if nobody is left to end it."""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tones(tmp_path / "data", speakers=1, utterances=2)


@pytest.fixture(autouse=True)
def signals_as_in_a_terminal() -> Iterator[None]:
    """Let no signal be ignored, here and in the processes started here, however the tests are started.

    Under nohup, or in the background of a script, a test would inherit that some are.
    """
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number in STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def start(data: Path) -> Iterator[Start]:
    """Start a training that would take minutes; return when it has logged its first steps. The test's end ends it."""
    started = []

    def start(exp: Path, *more: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "vqaudio", "train", *tiny_overrides(data, exp, steps=STEPS)]
        command += ["trainer.validate_every=1000000", "trainer.save_every=1000000"]
        command += [f"trainer.max_seconds={MAX_SECONDS}", *more]
        training = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        started.append(training)
        wait_for(training, "INFO step 5 ")
        return training

    yield start
    for training in started:
        training.kill()
        training.communicate()


def wait_for(training: "subprocess.Popen[str]", words: str) -> None:
    assert training.stderr is not None
    seen = []
    for line in training.stderr:
        seen.append(line)
        if words in line:
            return
    pytest.fail("".join(seen))


SLOW = [pytest.param(number, marks=pytest.mark.slow) for number in STOP_SIGNALS if number != signal.SIGINT]


@pytest.mark.parametrize("number", [signal.SIGINT, *SLOW])
def test_a_signal_saves_the_state_and_the_same_command_resumes(
    number: signal.Signals, data: Path, tmp_path: Path, start: Start
) -> None:
    exp = tmp_path / "exp"
    training = start(exp)
    training.send_signal(number)
    _, errors = training.communicate(timeout=60)
    assert training.returncode == 128 + number, errors
    last = errors.splitlines()[-1]
    assert last.startswith(f"vqaudio: {exp}: stopped by a signal at step ")
    assert last.endswith("; the same command resumes")
    assert "Traceback" not in errors
    assert "terminate" not in errors
    step = int(last.split("at step ")[1].split(";")[0])
    assert [folder.name for folder in states(exp)] == [f"step-{step}"]
    if number == signal.SIGINT:
        assert f"resuming from {exp}/state/step-{step}" in start_again(data, exp)


def start_again(data: Path, exp: Path) -> str:
    """Run the command of `start` until it resumes; return what it logged."""
    command = [sys.executable, "-m", "vqaudio", "train", *tiny_overrides(data, exp, steps=1)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once_and_without_an_abort(tmp_path: Path, start: Start) -> None:
    training = start(tmp_path / "exp")
    training.send_signal(signal.SIGINT)
    wait_for(training, "saving the state")
    training.send_signal(signal.SIGINT)
    _, errors = training.communicate(timeout=60)
    assert training.returncode == 130, errors
    assert "Traceback" not in errors
    assert "terminate" not in errors
    assert errors.splitlines()[-1].startswith("vqaudio: ")


@pytest.mark.slow
def test_a_signal_stops_all_trainings_of_a_multirun(tmp_path: Path, start: Start) -> None:
    training = start(tmp_path / "exp", "--multirun", "seed=0,1")
    training.send_signal(signal.SIGINT)
    _, errors = training.communicate(timeout=60)
    assert training.returncode == 130, errors
    assert states(tmp_path / "exp" / "seed=0")
    assert not (tmp_path / "exp" / "seed=1").exists()


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stop_signals() as received:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGUSR1)
        assert received == [signal.SIGUSR1]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_ctrl_c_interrupts() -> None:
    handler = signal.getsignal(signal.SIGINT)
    with stop_signals() as received:
        os.kill(os.getpid(), signal.SIGINT)
        assert received == [signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


def test_batches_that_nobody_takes_do_not_abort_the_interpreter() -> None:
    """The iterator is still alive when the interpreter ends, and its thread computes."""
    script = (
        "import torch\nfrom vqaudio.training.prefetch import prefetch\n"
        "def make(step):\n    x = torch.ones(300, 300, requires_grad=True)\n    (x @ x).sum().backward()\n"
        "    return step\n"
        "batches = prefetch(make, 0)\nprint(next(batches))\nraise KeyboardInterrupt"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "0\n"
    assert "terminate" not in done.stderr
    assert done.returncode == -signal.SIGINT
