"""Extraction, merging, decoding and conversion that are killed at random lose nothing and repeat nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # starts many processes

TOOL = Path(__file__).resolve().parents[2] / "tools" / "kill_extraction.py"
KILLS = 4


def test_what_is_killed_and_started_again_ends_with_the_bytes_of_what_was_not() -> None:
    done = subprocess.run([sys.executable, TOOL, str(KILLS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()[2:]]
    assert {row[0] for row in rows} >= {"extract", "extract in 3 shards, and merge", "decode"}
    for _, kills, runs, same in rows:
        assert int(kills) == KILLS
        assert runs == same
