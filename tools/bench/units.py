"""Times `vqaudio evaluate units` with all its figures, on synthetic units of 3 hours, in a separate process.

Many speakers speak words of an invented language, a few of which are frequent, as in any language; most units are right
for their phone. The second run counts; the first one compiles.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure
import numpy as np
import torch

from vqaudio import files
from vqaudio.datadir import Phone, write_ctm, write_table
from vqaudio.metrics.abx_cells import make_cells
from vqaudio.units import UnitsInfo
from vqaudio.units.kmeans import KMeansUnits
from vqaudio.units.writer import write_units

RATE = 100  # frames per second
K = 512
PHONES = 40
WORDS = 2000
SPEAKERS = 60
UTTERANCE = 8.0  # seconds


def make(folder: Path, hours: float) -> dict[str, list[Phone]]:
    """Write units of utterances, their phones, speakers and the model of the codewords."""
    random = np.random.default_rng(0)
    words = [random.integers(0, PHONES, random.integers(2, 7)) for _ in range(WORDS)]
    frequency = 1 / np.arange(1, WORDS + 1)
    alignment, codes = {}, {}
    for n in range(round(hours * 3600 / UTTERANCE)):
        spoken = np.concatenate([words[w] for w in random.choice(WORDS, 40, p=frequency / frequency.sum())])
        lengths = np.round(random.gamma(4, 2, len(spoken)) + 2).astype(int)  # frames: 100 ms, as in read speech
        last = int(np.searchsorted(np.cumsum(lengths), UTTERANCE * RATE))
        spoken, lengths = spoken[:last], lengths[:last]
        utt = f"s{n % SPEAKERS:02d}-{n // SPEAKERS:03d}"
        starts = np.cumsum(lengths) - lengths
        alignment[utt] = [Phone(s / RATE, d / RATE, f"P{p}") for s, d, p in zip(starts, lengths, spoken, strict=True)]
        frames = np.repeat(spoken, lengths)
        of_phone = frames * (K // PHONES) + (random.random(len(frames)) * (K // PHONES)).astype(int)
        noise = random.integers(0, K, len(frames))
        codes[utt] = np.where(random.random(len(frames)) < 0.5, of_phone, noise)[None]
    write_ctm(folder / "phones.ctm", alignment)
    write_table(folder / "utt2spk", {utt: utt[:3] for utt in alignment})
    book = torch.from_numpy(random.standard_normal((K, 39))).float()
    KMeansUnits("mfcc", 16000, 160, torch.zeros(39), torch.ones(39), book).save(folder / "model.safetensors")
    model_hash = files.sha256(folder / "model.safetensors")
    info = UnitsInfo.of(sample_rate=16000, hop_length=16000 // RATE, codebook_size=K, groups=1, model_hash=model_hash)
    write_units(folder / "units", info, sorted(codes.items()), [])
    return alignment


def run(folder: Path) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak memory in MiB of the command."""
    start = "import sys; from vqaudio.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "evaluate", "units", "--units", folder / "units"]
    command += ["--alignment", folder / "phones.ctm", "--model", folder / "model.safetensors"]
    began = time.perf_counter()
    process = subprocess.Popen([*map(str, command), "--json", str(folder / "scores.json")], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(map(str, command))} failed: {status}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**20
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, peak


def comparisons(folder: Path, alignment: dict[str, list[Phone]]) -> list[int]:
    """Return the triples that ABX compares, within and across speakers, for each of its distances."""
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["abx_across"] < 0.5
    lengths = {utt: round((phones[-1].start + phones[-1].duration) * RATE) for utt, phones in alignment.items()}
    speakers = {utt: utt[:3] for utt in alignment}
    cells = make_cells(lengths, alignment, speakers, frame_rate=RATE, task="triphone", seed=0)
    return [cells.comparisons(cells.within), cells.comparisons(cells.across)]


def main() -> None:
    quick = measure.options(__doc__).quick
    hours = 0.05 if quick else 3.0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        alignment = make(folder, hours)
        rows = [[name, *(f"{value:.1f}" for value in run(folder))] for name in ("first", "second")]
        within, across = comparisons(folder, alignment)
    phones = sum(map(len, alignment.values()))
    text = [
        measure.machine(["numba"]),
        f"{hours:g} hours, {SPEAKERS} speakers, {phones} phones, K = {K}; {within + across:,} comparisons for each of "
        "the four ABX distances; target: 3 hours in 60 s on two cores",
        measure.table(["run", "wall, s", "CPU, s", "peak memory, MiB"], rows),
    ]
    measure.report("Evaluation of units", "\n\n".join(text), save=not quick)


if __name__ == "__main__":
    main()
