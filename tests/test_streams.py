"""Standard output and standard error of the console script, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from os_faults import closed_pipe

from vqaudio import audio, datadir
from vqaudio.datadir import Utterance

PYTHON = [sys.executable, "-m", "vqaudio"]
BUFFERING = [{}, {"PYTHONUNBUFFERED": "1"}]
SPLIT = ["data", "split", "D", "O", "--jobs", "2"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A sound data directory in a folder whose name is not UTF-8."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    audio.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(4000), 8000)
    datadir.write_utterances(
        folder, [Utterance("s-a", tmp_path / "a.wav", "s"), Utterance("s-b", tmp_path / "a.wav", "s")]
    )
    return folder


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | more


@pytest.mark.parametrize("buffering", BUFFERING)
@pytest.mark.parametrize(
    "command", [["--help"], ["train", "--help"], ["--version"], ["data", "split", "D", "O", "--jobs", "2"]]
)
def test_a_reader_who_has_gone_is_no_error_and_no_word(command, buffering, data, tmp_path):
    command = [{"D": str(data), "O": str(tmp_path / "out")}.get(word, word) for word in command]
    with closed_pipe() as pipe:
        done = subprocess.run(
            [*PYTHON, *command], stdout=pipe, stderr=subprocess.PIPE, env=environment(**buffering), check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")
    if "split" in command:  # the job is done all the same
        assert (tmp_path / "out" / "2" / "wav.scp").is_file()


@pytest.mark.parametrize("buffering", BUFFERING)
def test_a_failure_is_reported_even_if_nobody_reads_the_output(buffering, tmp_path):
    (tmp_path / "utt2spk").write_text("a s\n")
    with closed_pipe() as pipe:
        command = [*PYTHON, "data", "validate", str(tmp_path)]
        done = subprocess.run(command, stdout=pipe, stderr=pipe, env=environment(**buffering), check=False)
    assert done.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("buffering", BUFFERING)
@pytest.mark.parametrize("command", [["--help"], SPLIT])
def test_output_on_a_full_disk_is_one_line_and_exit_code_1_after_the_job_is_done(command, buffering, data, tmp_path):
    command = [{"D": str(data), "O": str(tmp_path / "out")}.get(word, word) for word in command]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PYTHON, *command], stdout=full, stderr=subprocess.PIPE, env=environment(**buffering), check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"vqaudio: standard output: cannot be written (No space left on device); ")
    assert done.stderr.count(b"\n") == 1
    if "split" in command:
        assert (tmp_path / "out" / "2" / "wav.scp").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_messages_that_nobody_can_read_do_not_change_the_exit_code(data):
    with Path("/dev/full").open("wb") as full:
        command = [*PYTHON, "data", "validate", str(data)]
        assert subprocess.run(command, stdout=subprocess.DEVNULL, stderr=full, check=False).returncode == 0
        assert subprocess.run([*PYTHON, "nonsense"], stderr=full, check=False).returncode == 2


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", b"caf\xe9"), ("utf-8:strict", b"caf\xe9"), ("ascii:strict", b"caf\\udce9")]
)
def test_a_folder_whose_name_is_not_text_is_printed(encoding, shown, data, tmp_path):
    out = tmp_path / os.fsdecode(b"caf\xe9s")
    command = [*PYTHON, "data", "split", data, out, "--jobs", "1"]
    env = environment(PYTHONIOENCODING=encoding)
    done = subprocess.run(command, capture_output=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == os.fsencode(tmp_path) + b"/" + shown + b"s/1\n"


@pytest.mark.parametrize("descriptor", [0, 1, 2])
def test_a_standard_stream_that_is_closed_gets_no_file_of_ours(descriptor, data, tmp_path):
    script = f"import os, sys; os.close({descriptor}); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    command = ["-m", "vqaudio", "data", "split", data, tmp_path / "out", "--jobs", "1"]
    done = subprocess.run([sys.executable, "-c", script, *map(str, command)], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out" / "1" / "wav.scp").read_bytes() == (data / "wav.scp").read_bytes()
    script = "import os; from vqaudio.cli.streams import safe_streams\nwith safe_streams(): print(os.open('/', 0) > 2)"
    closing = f"import os; os.close({descriptor}); exec({script!r})"
    done = subprocess.run([sys.executable, "-c", closing], capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout in (b"True\n", b"")


def test_ctrl_c_before_a_command_runs_is_one_line(monkeypatch, capsys):
    from vqaudio import cli

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "build_parser", interrupted)
    assert cli.main([]) == 130
    assert capsys.readouterr().err == "vqaudio: interrupted\n"
