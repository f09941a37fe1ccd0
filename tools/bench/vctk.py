"""The data and unit stages of recipes/vctk at the size of VCTK 0.92: time, memory, disk, and what a kill costs.

The corpus is a stand-in in the layout of release 0.92: 110 speakers, 44 000 utterances by two microphones, and as many
texts. Its audio files are links to the 100 shortest files of the embedded corpus, resampled to 48 kHz, so it has fewer
hours than VCTK. Every stage that works utterance by utterance is killed when half of train is done, and started again.
The recipe runs in a copy of the project, since another package would run its stages again. Everything is in the folder
for temporary files (TMPDIR): 3 GB.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import measure

from vqaudio import audio

ROOT = Path(__file__).resolve().parents[2]
RATE = 48000  # Hz
SPEAKERS, UTTERANCES, SOURCES = 110, 400, 100
STAGES = {0: "data directory", 1: "splits", 2: "format", 3: "train, 4 steps", 4: "extract"}
JOURNALS = {2: "data/VCTK/train/cuts.jsonl", 4: "exp/bench/units/train/journal.txt"}
"""The stages that are killed, and where each notes the utterances that are done."""
TRAINING = ("max_steps=4", "validate_every=4", "validate_utterances=2", "save_every=4")


class Cost(NamedTuple):
    """What a run cost: wall and processor time (s), and the peak memory (MiB) of its largest process."""

    wall: float
    cpu: float
    memory: float


def make_corpus(folder: Path, speakers: int, utterances: int, sources: int) -> float:
    """Write the stand-in, and return its hours of speech by one microphone."""
    wavs, seconds = [], []
    (folder / "sources").mkdir(parents=True)
    speech = sorted((ROOT / "recipes/vctk/corpus/wav24").rglob("*.opus"), key=lambda path: path.stat().st_size)
    for number, path in enumerate(speech[:sources]):
        wavs.append(folder / "sources" / f"{number}.flac")
        wav, _ = audio.read(path, RATE)
        seconds.append(len(wav) / RATE)
        audio.write(wavs[-1], wav, RATE)
    committed = (ROOT / "recipes/vctk/splits/unseen_speakers.txt").read_text().split()
    names = [*committed, *(name for n in range(200, 400) if (name := f"p{n}") not in committed)][:speakers]
    total = 0.0
    for index, name in enumerate(sorted(names)):
        recordings, texts = folder / "VCTK/wav48_silence_trimmed" / name, folder / "VCTK/txt" / name
        recordings.mkdir(parents=True)
        texts.mkdir(parents=True)
        for n in range(1, utterances + 1):
            source = (index * utterances + n) % len(wavs)
            total += seconds[source]
            for microphone in (1, 2):
                (recordings / f"{name}_{n:03d}_mic{microphone}.flac").hardlink_to(wavs[source])
            # All speakers read the paragraphs 001 to 024.
            (texts / f"{name}_{n:03d}.txt").write_text(f"Sentence {n} of {'all' if n <= 24 else name}.\n")
    rows = (f"{name}  23  {'MF'[n % 2]}    English    Southern  England\n" for n, name in enumerate(sorted(names)))
    (folder / "VCTK/speaker-info.txt").write_text("ID  AGE  GENDER  ACCENTS  REGION\n" + "".join(rows))
    return total / 3600


def copy_project(folder: Path) -> Path:
    """Copy what the recipe runs, and return its run.sh."""
    ignore = shutil.ignore_patterns("data", "exp", "downloads", "corpus", "__pycache__")
    for name in ("recipes/vctk", "vqaudio", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=None if name == "conf" else ignore)
    (folder / "tools").mkdir()
    shutil.copy(ROOT / "tools/parse_options.sh", folder / "tools")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / "vqaudio/conf").symlink_to(folder / "conf")
    return folder / "recipes/vctk/run.sh"


class Recipe:
    """The recipe on the stand-in."""

    def __init__(self, run: Path, corpus: Path) -> None:
        self.folder = run.parent
        settings = " ".join(f"trainer.{setting}" for setting in TRAINING)
        self.command = [str(run), "--vctk-root", str(corpus), "--model", "tiny", "--trainer", "mini", "--tag", "bench"]
        self.command += ["--train-args", settings]
        self.environment = os.environ | {"PYTHONPATH": str(run.parents[2])}

    def stage(self, number: int) -> Cost:
        """Run a stage to its end."""
        began = time.monotonic()
        process = self.start(number)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"stage {number} failed: {status}")
        memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**20
        return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, memory)

    def killed_stage(self, number: int) -> tuple[Cost, int]:
        """Kill a stage when half of train is done; return what that cost, and the number of utterances done."""
        half = lines(self.folder / "data/VCTK/raw/train/utt2spk") // 2
        journal = self.folder / JOURNALS[number]
        began = time.monotonic()
        process = self.start(number)
        while lines(journal) < half and process.poll() is None:
            time.sleep(0.1)
        cpu = group_time(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return Cost(time.monotonic() - began, cpu, 0.0), lines(journal) - 1

    def start(self, number: int) -> subprocess.Popen[bytes]:
        """Start a stage in a group of processes of its own."""
        command = [*self.command, "--stage", str(number), "--stop-stage", str(number)]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, start_new_session=True)

    def files(self, number: int) -> list[Path]:
        """Return the files that a stage wrote."""
        data = self.folder / "data/VCTK"
        sets = [data / name for name in ("train", "dev", "test_seen", "test_unseen")]
        folders = {0: [data / "all"], 1: [data / "raw"], 2: sets, 3: [], 4: [self.folder / "exp/bench/units"]}
        return [path for folder in folders[number] for path in folder.rglob("*") if path.is_file()]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def group_time(group: int) -> float:
    """Return the processor time (s) of the processes of a group that are running, with their ended children (Linux)."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) if int(fields[2]) == group else 0
    return total / os.sysconf("SC_CLK_TCK")


def measure_stage(recipe: Recipe, number: int) -> list[object]:
    """Run a stage, killed once if it keeps what is done; return the row of the table."""
    first, done = recipe.killed_stage(number) if number in JOURNALS else (Cost(0, 0, 0), 0)
    second = recipe.stage(number)
    row: list[object] = [f"{number} {STAGES[number]}", f"{first.wall + second.wall:.0f}"]
    row += [f"{first.cpu + second.cpu:.0f}", f"{second.memory:.0f}"]
    files = recipe.files(number)
    row.append(f"{sum(path.stat().st_size for path in files) / 1e9:.2f}" if files else "")
    row.append(f"{done} utterances after {first.wall:.0f} s" if done else "")
    print("|", *row, flush=True)
    return row


def main() -> None:
    quick = measure.options(__doc__).quick
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        speakers, utterances, sources = (12, 40, 4) if quick else (SPEAKERS, UTTERANCES, SOURCES)
        hours = make_corpus(folder / "corpus", speakers, utterances, sources)
        recipe = Recipe(copy_project(folder / "project"), folder / "corpus/VCTK")
        rows = [measure_stage(recipe, number) for number in STAGES]
        info = json.loads((recipe.folder / "exp/bench/units/train/units.json").read_text())
    header = ["stage", "wall (s)", "processor (s)", "largest process (MiB)", "disk (GB)"]
    text = [
        measure.machine(["soundfile", "soxr"]),
        f"{speakers} speakers, {speakers * utterances} utterances, {hours:.1f} hours; preset tiny; "
        f"train has {info['num_utterances']} utterances, {info['num_frames']} units",
        measure.table([*header, "kept when killed"], rows),
    ]
    measure.report("The stages of recipes/vctk at the size of VCTK", "\n\n".join(text), save=not quick)


if __name__ == "__main__":
    main()
