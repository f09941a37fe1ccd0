"""The package of the benchmark DiscoPhon reads our units and computes our figures; it wants Python 3.12.

VQAUDIO_DISCOPHON names a Python that has it; without the variable, this one is tried.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vqaudio.units import UnitsInfo
from vqaudio.units.conversion import convert
from vqaudio.units.writer import write_units

TOOL = Path(__file__).resolve().parent.parent / "tools" / "check_discophon.py"
PHONES = ("AH", "B", "SIL", "K")


@pytest.fixture(scope="module")
def python() -> str:
    """A Python that imports discophon."""
    named = os.environ.get("VQAUDIO_DISCOPHON", sys.executable)
    tried = subprocess.run([named, "-c", "import discophon.data, discophon.evaluate"], capture_output=True, text=True)
    if tried.returncode:
        if "VQAUDIO_DISCOPHON" in os.environ:
            pytest.fail(f"VQAUDIO_DISCOPHON is {named}, which cannot import discophon: {tried.stderr.splitlines()[-1]}")
        pytest.skip("discophon not installed; set VQAUDIO_DISCOPHON, see CONTRIBUTING.md")
    return named


@pytest.fixture
def units(tmp_path):
    """Deduplicated units at 50 Hz of four utterances, and their phones, on which half of the units depend."""
    random = np.random.default_rng(0)
    records, lines = [], []
    for n in range(4):
        phones = random.integers(0, len(PHONES), 12)
        spoken = np.repeat(phones, 5)  # 0.1 s each
        codes = np.where(random.random(60) < 0.5, spoken, random.integers(0, 8, 60))
        records.append((f"é{n}", codes[None]))
        lines += [f"é{n} 1 {k / 10:.1f} 0.1 {PHONES[phone]}\n" for k, phone in enumerate(phones)]
    info = UnitsInfo.of(sample_rate=16000, hop_length=320, codebook_size=8, groups=1, deduplicated=True)
    write_units(tmp_path / "units", info, records, [])
    (tmp_path / "phones.ctm").write_text("".join(lines))
    return tmp_path / "units", dict(records)


def test_its_reader_finds_each_unit_of_each_frame(tmp_path, units, python):
    convert(units[0], tmp_path / "units.jsonl", to="discophon")
    script = (
        "import json, sys; from discophon.data import read_submitted_units as read; "
        "print(json.dumps({name: list(map(int, units)) for name, units in read(sys.argv[1]).items()}))"
    )
    done = subprocess.run([python, "-c", script, tmp_path / "units.jsonl"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {utt: codes[0].tolist() for utt, codes in units[1].items()}


def test_its_figures_are_ours(tmp_path, units, python):
    argv = ["--python", python, "--units", units[0], "--alignment", tmp_path / "phones.ctm"]
    done = subprocess.run([sys.executable, TOOL, *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "phone_error_rate" in done.stdout
    assert "DIFFERS" not in done.stdout
