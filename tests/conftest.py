"""Fixtures that several test modules share."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def real_speech() -> Path:
    """The folder of real speech beside the repository; skips where it is absent."""
    folder = ROOT.parent / "shared" / "speech"
    if not (folder / "vctk-layout").is_dir():
        pytest.skip(f"real speech is not present at {folder}")
    return folder
