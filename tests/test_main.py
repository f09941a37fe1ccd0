"""`python -m vqaudio`: the console script under another name."""

import subprocess
import sys

import pytest

from vqaudio import __version__


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["no-such-command"], 2)])
def test_python_m_vqaudio_runs_the_command_line_and_returns_its_exit_code(arguments: list[str], code: int) -> None:
    command = [sys.executable, "-m", "vqaudio", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stdout == (f"vqaudio {__version__}\n" if code == 0 else "")
    assert "see vqaudio --help" in done.stderr or code == 0
