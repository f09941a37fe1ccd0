"""What a shard of a large corpus costs before and after its work: start-up, end, and the rate in between.

The data directories name files that do not exist; the encoder returns the same codes for every utterance, so that all
that is measured is ours around it. Each row is a process of its own. Hashes of files are left out.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import measure

START = """
import sys, time, resource
from pathlib import Path
import vqaudio.units.extraction as extraction
from vqaudio.datadir import Manifest
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
imports = peak()
began = time.process_time()
manifest = Manifest(Path(sys.argv[1]))
first, after = manifest.bounds(50, 100)
for utterance in manifest.utterances(first, after): pass
print(after - first, time.process_time() - began, imports, peak())
"""
RATE = """
import sys, time, resource
from pathlib import Path
import numpy as np
import vqaudio.units.extraction as extraction
from vqaudio import files
from vqaudio.datadir import Manifest
from vqaudio.units.directory import UnitsInfo
files.sha256 = lambda path: "0" * 64
codes = np.arange(250).reshape(1, -1)
settings = UnitsInfo.of(sample_rate=16000, hop_length=320, codebook_size=256, groups=1, model_hash="a" * 64)
began = time.process_time()
options = {"out": Path(sys.argv[2]), "jobs": 1}
extraction.write_shard(Manifest(Path(sys.argv[1])), lambda utterance: codes, settings, shard=(1, 1), **options)
seconds = time.process_time() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
print(seconds, peak)
"""


def make(folder: Path, utterances: int) -> Path:
    """Write a data directory of so many utterances with durations, and return it."""
    folder.mkdir()
    names = ("wav.scp", "utt2spk", "utt2dur")
    with (
        (folder / names[0]).open("w") as wavs,
        (folder / names[1]).open("w") as speakers,
        (folder / names[2]).open("w") as durations,
    ):
        for n in range(utterances):
            speaker = f"s{n // 1000:06d}"
            utt = f"{speaker}-{n:09d}"
            wavs.write(f"{utt} /corpora/of/somebody/{speaker}/{utt}.flac\n")
            speakers.write(f"{utt} {speaker}\n")
            durations.write(f"{utt} {1 + n * 7919 % 1500 / 100}\n")
    return folder


def run(script: str, *arguments: object) -> list[float]:
    """Run a script in a process of its own, and return the numbers that it prints last."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return [float(number) for number in done.stdout.splitlines()[-1].split()]


def main() -> None:
    quick = measure.options(__doc__).quick
    sizes = (1000, 10_000) if quick else (1000, 10_000, 100_000, 1_000_000, 10_000_000)
    starts, rates = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for size in sizes:
            data = make(folder / str(size), size)
            count, seconds, imports, peak = run(START, data)
            starts.append([f"{size:,}", f"{count:,.0f}", f"{seconds:.2f}", f"{imports:.0f}", f"{peak:.0f}"])
            if size <= 100_000:
                seconds, peak = run(RATE, data, folder / f"units{size}")
                rates.append([f"{size:,}", f"{seconds:.1f}", f"{size / seconds:,.0f}", f"{peak:.0f}"])
    start = ["utterances", "in the shard", "CPU, s", "memory after imports, MiB", "peak memory, MiB"]
    rate = ["utterances", "CPU, s", "utterances a CPU second", "peak memory, MiB"]
    text = [
        measure.machine(),
        "Start of shard 50 of 100, cut by duration, until its last utterance is known:",
        measure.table(start, starts),
        "Everything around the encoder, from an empty folder to the finished unit directory, 250 units an utterance:",
        measure.table(rate, rates),
    ]
    measure.report("A shard of a large corpus", "\n\n".join(text), save=not quick)


if __name__ == "__main__":
    main()
