"""Fixtures that several test modules share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def real_speech() -> Path:
    """The folder of real speech that VQAUDIO_SPEECH names; the test is skipped if the variable is not set."""
    folder = os.environ.get("VQAUDIO_SPEECH")
    if not folder:
        pytest.skip("needs real speech; set VQAUDIO_SPEECH, see CONTRIBUTING.md")
    if not (Path(folder) / "vctk-layout").is_dir():
        pytest.fail(f"VQAUDIO_SPEECH is {folder}, which has no folder vctk-layout; see CONTRIBUTING.md")
    return Path(folder)
