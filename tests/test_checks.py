"""The tools that compare our figures with those of other packages, without these packages."""

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import reference
from vqaudio.units import UnitsInfo
from vqaudio.units.writer import write_units

TOOLS = Path(__file__).parent.parent / "tools"


def run(tool: str, *arguments) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TOOLS / tool, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("package", ["discophon", "fastabx"])
def test_the_comparison_with_a_package_says_why_there_is_none(package, tmp_path):
    options = ["--units", tmp_path, "--alignment", tmp_path, "--python", tmp_path / "python"]
    done = run(f"check_{package}.py", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("not compared: ")
    assert done.stdout.count("\n") == 1


@pytest.fixture
def spidr(tmp_path):
    """A folder laid out as the one of SpidR: phones every 10 ms, units every 20 ms, and their true figures."""
    random = np.random.default_rng(0)
    phones = {utt: random.choice(["SIL", "AA", "T"], 9).tolist() for utt in ("a", "b", "c")}
    assets, results = tmp_path / "paper" / "assets", tmp_path / "paper" / "results"
    assets.mkdir(parents=True)
    results.mkdir()

    def write(path, key, strings):
        lines = "".join(json.dumps({"name": utt, key: string}) + "\n" for utt, string in strings.items())
        path.write_bytes(gzip.compress(lines.encode()))

    write(assets / "phoneme-dev-clean-and-other.jsonl.gz", "phones", phones)
    rows = [["model", "layer", "metric", "score"]]
    for kind in ("kmeans", "codebooks"):
        units = {utt: random.integers(0, 4, 4).tolist() for utt in phones}
        write(results / f"units-{kind}-spidr-l6-dev-clean-and-other.jsonl.gz", "units", units)
        pairs = [pair for utt in phones for pair in zip(phones[utt], np.repeat(units[utt], 2).tolist(), strict=False)]
        scores = dict(zip(["phone_purity", "cluster_purity", "pnmi"], reference.purities_and_pnmi(pairs), strict=True))
        scores["codebook_perplexity"] = 2 ** reference.bits_per_symbol([unit for _, unit in pairs])
        scores["active_codewords"] = len({unit for _, unit in pairs})
        rows += [[f"spidr_{kind}", "6", *item] for item in scores.items()] + [[f"spidr_{kind}", "5", "pnmi", 0]]
    with (results / "units-quality.csv").open("w") as file:
        csv.writer(file).writerows(rows)
    return tmp_path


def test_figures_with_silence_are_those_that_spidr_publishes(spidr):
    done = run("check_spidr.py", spidr)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("pnmi") == 2


def test_another_figure_than_that_of_spidr_is_pointed_out(spidr):
    published = spidr / "paper" / "results" / "units-quality.csv"
    lines = published.read_text().splitlines()
    kept = [line if "spidr_kmeans,6,phone_purity" not in line else "spidr_kmeans,6,phone_purity,0.1" for line in lines]
    published.write_text("\n".join(kept))
    done = run("check_spidr.py", spidr)
    assert (done.returncode, done.stderr) == (1, "")
    assert [line.split()[0] for line in done.stdout.splitlines() if "DIFFERS" in line] == ["phone_purity"]


def test_without_the_data_of_spidr_nothing_is_compared(tmp_path):
    done = run("check_spidr.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("not compared: ")


def test_an_abx_error_other_than_that_of_fastabx_is_pointed_out(tmp_path):
    # Units that are the phones: no error. The stand-in for fastabx answers .5, and keeps the tokens that it is given.
    phones = "XAXAXBXB"
    info = UnitsInfo.of(sample_rate=16000, hop_length=160, codebook_size=3, groups=1)
    codes = np.array([["XAB".index(phone) for phone in phones for _ in range(2)]])
    write_units(tmp_path / "units", info, [("s1", codes), ("t1", codes)], [])
    rows = [f"{utt} 1 {n * 0.02:.2f} 0.02 {p}\n" for utt in ("s1", "t1") for n, p in enumerate(phones)]
    (tmp_path / "phones.ctm").write_text("".join(rows))
    (tmp_path / "utt2spk").write_text("s1 s\nt1 t\n")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] || {{ cp "$3" "{tmp_path}"; echo \'{{"score": 0.5}}\'; }}\n')
    python.chmod(0o755)
    options = ["--units", tmp_path / "units", "--alignment", tmp_path / "phones.ctm", "--python", python]
    done = run("check_fastabx.py", *options)
    assert done.stderr == ""
    assert done.returncode == 1
    assert [line.split()[2] for line in done.stdout.splitlines() if "DIFFERS" in line] == ["0.00000000"] * 2
    tokens = [json.loads(line) for line in (tmp_path / "tokens.jsonl").read_text().splitlines()]
    assert [token["#phone"] for token in tokens if token["speaker"] == "s"] == list("AXAXBX")
    assert (tokens[0]["onset"], tokens[0]["offset"]) == ("0.000000", "0.060000")
