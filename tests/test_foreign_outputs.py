"""No command touches files of somebody else: each is pointed at a folder full of them, and every byte stays.

The table `CASES` has the arguments of every command, or says that it writes nothing; a new command without an entry
fails the first test.
"""

import argparse
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listening import make_test
from tiny_model import save_tiny_model
from tiny_training import tiny_overrides, write_tones

import vqaudio
from vqaudio.cli import build_parser, main
from vqaudio.datadir import read_wav_scp
from vqaudio.outputs import MARK
from vqaudio.units.extraction import settings_of
from vqaudio.units.writer import write_units

NAMES = (
    *(
        "units.txt",
        "units.json",
        "utt2num_units",
        "failed.txt",
        "durations.txt",
        "journal.txt",
        "shards/1-of-2/units.txt",
    ),
    *("wav.scp", "utt2spk", "spk2utt", "utt2stamp", "s0_0.wav", "1/wav.scp", "2/notes", "9/notes", "drops.tsv"),
    *("config.yaml", "model.safetensors", "speakers.txt", "state/step-1/state.pt", "train.log", "metrics.jsonl"),
    *("private/key.json", "private/results.sqlite", "public/index.html", "key.json", "sessions/a.json"),
    *("analysis.json", "analysis.html", "ratings.csv", "report.html", "comparison.html", "scores.json", "notes.txt"),
    *("x.tsv", "x.km", "x.units.json", "x.failed.txt", "phones.ctm", ".backup/utt2spk", "multirun/a"),
)
"""Files of somebody else, with the names of ours."""


class World:
    """Inputs of every kind, and a folder full of foreign files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = write_tones(root / "data")
        self.model = save_tiny_model(root / "model")
        codec = vqaudio.load(self.model)
        self.units, self.ctm = root / "units", root / "phones.ctm"
        utts = sorted(read_wav_scp(self.data / "wav.scp"))
        write_units(self.units, settings_of(codec, False), [(utt, np.array([[1, 2, 3] * 20])) for utt in utts], [])
        self.ctm.write_text("".join(f"{utt} 1 0.0 0.3 a\n{utt} 1 0.3 0.3 b\n" for utt in utts))
        self.km = root / "km.safetensors"
        assert main(["kmeans", "fit", "--features", "mfcc", "--data", str(self.data), "--codebook-size", "4",
                     "--out", str(self.km)]) == 0  # fmt: skip
        self.lm = root / "units.arpa"
        assert main(["units", "lm", str(self.units), "--order", "2", "--out", str(self.lm)]) == 0
        self.test = make_test(root, "ab")
        rate_everything(self.test)
        self.foreign = root / "foreign"

    def refill(self, names: tuple[str, ...] = NAMES) -> None:
        """Put foreign files in place."""
        shutil.rmtree(self.foreign, ignore_errors=True)
        for name in names:
            path = self.foreign / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} of somebody else\n")


def rate_everything(test: Path) -> None:
    """Answer every trial of an AB test as each listener."""
    from vqaudio.listening.key import read_key
    from vqaudio.listening.store import Event, Store

    assert read_key(test).type == "ab"
    with Store(test) as store:
        for listener, _ in store.listeners():
            events = [
                Event(trial["id"], trial["stimuli"][1], seq, 1, 1) for seq, trial in enumerate(store.session(listener))
            ]
            store.save(listener, events, 1)


WRITES_NOTHING = "writes nothing"

CASES: dict[str, str | list[Callable[[World], list[Any]]]] = {
    "data validate": WRITES_NOTHING,
    "data fix": [lambda w: [unsorted_with_backup(w)]],
    "data split": [lambda w: [w.data, w.foreign, "--jobs", 2]],
    "data import": [lambda w: [w.root / "corpus.parquet", w.foreign]],
    "train": [lambda w: tiny_overrides(w.data, w.foreign)],
    "extract": [
        lambda w: ["--model", w.model, "--data", w.data, "--out", w.foreign],
        lambda w: ["--model", w.model, "--data", w.data, "--out", w.foreign, "--shard", "1/2"],
        lambda w: ["--model", w.model, "--out", w.foreign, w.data / "s0_0.wav"],
    ],
    "decode": [lambda w: ["--model", w.model, "--units", w.units, "--out", w.foreign, "--jobs", 1]],
    "export": [lambda w: exported(w, w.foreign / "notes.txt")],
    "stream encode": WRITES_NOTHING,
    "stream decode": WRITES_NOTHING,
    "units convert": [
        lambda w: [w.units, w.foreign / "notes.txt", "--to", "gslm"],
        lambda w: [w.units, w.foreign / "units.txt", "--to", "espnet"],
        lambda w: [w.units, w.foreign / "scores.json", "--to", "jsonl"],
        lambda w: [w.units, w.foreign / "x", "--to", "fairseq"],
        lambda w: [converted(w), w.foreign, "--to", "vqaudio", "--from", "gslm"],
        lambda w: [w.units, w.foreign, "--to", "textgrid"],
        lambda w: [w.units, w.foreign / "notes.txt", "--to", "lhotse", "--data", w.data],
    ],
    "units stats": [lambda w: [w.units, "--json", w.foreign / "scores.json"]],
    "units lm": [lambda w: [w.units, "--order", 2, "--out", w.foreign / "notes.txt"]],
    "units sample": [lambda w: [w.lm, "--out", w.foreign, "--utterances", 2]],
    "kmeans fit": [
        lambda w: ["--features", "mfcc", "--data", w.data, "--codebook-size", 4, "--out", w.foreign / "notes.txt"],
        lambda w: ["--features", "mfcc", "--data", w.data, "--codebook-size", 4,
                   "--out", w.foreign / "model.safetensors"],
    ],
    "kmeans apply": [lambda w: ["--model", w.km, "--data", w.data, "--out", w.foreign]],
    "evaluate units": [lambda w: ["--units", w.units, "--alignment", w.ctm, "--json", w.foreign / "scores.json"]],
    "evaluate curve": [
        lambda w: ["--model", w.km, "--data", w.data, "--alignment", w.ctm, "--json", w.foreign / "scores.json"]
    ],
    "evaluate audio": [
        lambda w: ["--reference", w.data / "wav.scp", "--system", w.data / "wav.scp", "--jobs", 1,
                   "--json", w.foreign / "notes.txt"],
    ],
    "evaluate robustness": [
        lambda w: ["--model", w.model, "--data", w.data, "--jobs", 1, "--json", w.foreign / "scores.json"]
    ],
    "listen build": [
        lambda w: ["--type", "ab", "--reference", w.root / "reference.scp", "--system",
                   f"a={w.root / 'secretkmeans.scp'}", "--out", w.foreign],
    ],
    "listen serve": [lambda w: [w.foreign, "--port", 0]],
    "listen links": [lambda w: [w.foreign, "--add", 1, "--url", "http://localhost"]],
    "listen static": [lambda w: [w.test, w.foreign]],
    "listen import": [lambda w: [w.foreign, w.foreign / "scores.json"]],
    "listen status": WRITES_NOTHING,
    "listen backup": [lambda w: [w.test, w.foreign]],
    "listen reset": [lambda w: [w.foreign, "L001"]],
    "listen remove": [lambda w: [w.foreign, "L001"]],
    "listen forget": [lambda w: [w.foreign]],
    "listen analyse": [lambda w: [w.test, "--out", w.foreign], lambda w: [w.foreign]],
    "push": WRITES_NOTHING,
    "pull": [lambda w: ["anna/units", w.foreign]],
    "voice add": [lambda w: ["--model", w.model, "--data", w.data, "--speaker", "s1", "--out", w.foreign]],
    "report": [
        lambda w: [w.foreign],
        lambda w: [w.model, "--out", w.foreign / "report.html"],
        lambda w: [w.model, w.units, "--out", w.foreign / "comparison.html"],
    ],
    "draw": [lambda w: ["--model", w.model, w.data / "s0_0.wav", "--out", w.foreign / "notes.txt"]],
    "info": WRITES_NOTHING,
    "doctor": WRITES_NOTHING,
}  # fmt: skip


def unsorted_with_backup(world: World) -> Path:
    """Make the foreign folder a data directory that `data fix` would repair, with a `.backup/` of somebody else."""
    for name in ("wav.scp", "utt2spk"):
        lines = (world.data / name).read_text().splitlines(keepends=True)
        (world.foreign / name).write_text("".join(reversed(lines)))
    for name in ("spk2utt", "phones.ctm"):
        (world.foreign / name).unlink()
    return world.foreign


def exported(world: World, out: Path) -> list[Any]:
    """Return the arguments of an export, which needs its extra."""
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    return ["--model", world.model, "--out", out]


def converted(world: World) -> Path:
    """Return the units as a file of another tool."""
    path = world.root / "units.gslm"
    assert main(["units", "convert", str(world.units), str(path), "--to", "gslm"]) == 0
    return path


def commands(parser: argparse.ArgumentParser, path: str = "") -> Iterator[str]:
    """Yield the names of all commands of a parser."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield path
    for group in groups:
        for name, child in group.choices.items():
            yield from commands(child, f"{path} {name}".strip())


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file in a folder, and the names of its folders."""
    return {str(path.relative_to(folder)): b"" if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def test_every_command_has_an_entry_here():
    assert sorted(commands(build_parser())) == sorted(CASES)


ARGUMENTS = [
    pytest.param(name, arguments, id=f"{name} {number}")
    for name, cases in CASES.items()
    if cases != WRITES_NOTHING
    for number, arguments in enumerate(cases)
]


@pytest.mark.parametrize(("name", "arguments"), ARGUMENTS)
def test_the_files_of_somebody_else_stay(world, name, arguments, capsys, monkeypatch):
    monkeypatch.chdir(world.root)
    world.refill()
    argv = [*name.split(), *map(str, arguments(world))]
    capsys.readouterr()
    before, names = content(world.foreign), {path.name for path in world.root.iterdir()}
    assert main(argv) == 2
    assert content(world.foreign) == before
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert str(world.foreign) in error
    assert {path.name for path in world.root.iterdir()} == names


MAKE_FOLDERS = (
    "data split",
    "train",
    "extract",
    "decode",
    "units sample",
    "kmeans apply",
    "listen build",
    "voice add",
    "pull",
)


@pytest.mark.parametrize("file", ["config.yaml", "notes.txt", "units.txt", "1/wav.scp"])
@pytest.mark.parametrize("name", MAKE_FOLDERS)
def test_one_file_of_somebody_else_is_enough(world, name, file, capsys, monkeypatch):
    """Files of ours that are missing or damaged must not be what saves the folder."""
    monkeypatch.chdir(world.root)
    world.refill((file,))
    for arguments in CASES[name]:
        before = content(world.foreign)
        assert main([*name.split(), *map(str, arguments(world))]) == 2
        assert content(world.foreign) == before
        assert f"{world.foreign}: " in capsys.readouterr().err


INSIDE = {
    "data split": lambda w: [w.data, w.data / "parts", "--jobs", 2],
    "data split ": lambda w: [w.data, w.root, "--jobs", 2],
    "data import": lambda w: [w.data, w.data / "new"],
    "train": lambda w: tiny_overrides(w.data, w.data / "exp"),
    "extract": lambda w: ["--model", w.model, "--data", w.data, "--out", w.data / "units"],
    "extract ": lambda w: ["--model", w.model, "--data", w.data, "--out", w.model],
    "decode": lambda w: ["--model", w.model, "--units", w.units, "--out", w.units / "wavs"],
    "decode ": lambda w: ["--model", w.model, "--units", w.units, "--out", w.units],
    "export": lambda w: exported(w, w.model / "model.safetensors"),
    "units convert": lambda w: [w.units, w.units / "units.txt", "--to", "gslm"],
    "units convert ": lambda w: [w.units, w.units / "new", "--to", "fairseq"],
    "units stats": lambda w: [w.units, "--json", w.units / "stats.json"],
    "units lm": lambda w: [w.units, "--order", 2, "--out", w.units / "units.arpa"],
    "units sample": lambda w: [w.lm, "--out", w.root, "--utterances", 2],
    "units convert  ": lambda w: [w.units, w.data / "cuts.jsonl", "--to", "lhotse", "--data", w.data],
    "kmeans fit": lambda w: ["--features", "mfcc", "--data", w.data, "--codebook-size", 4, "--out", w.data / "km"],
    "kmeans apply": lambda w: ["--model", w.km, "--data", w.data, "--out", w.data / "units"],
    "evaluate units": lambda w: ["--units", w.units, "--alignment", w.ctm, "--json", w.ctm],
    "evaluate units ": lambda w: ["--units", w.units, "--alignment", w.ctm, "--json", w.units / "scores.json"],
    "evaluate curve": lambda w: ["--model", w.km, "--data", w.data, "--alignment", w.ctm, "--json", w.ctm],
    "evaluate curve ": lambda w: ["--model", w.km, "--data", w.data, "--alignment", w.ctm, "--json", w.data / "c.json"],
    "listen static": lambda w: [w.test, w.test / "public" / "static"],
    "listen backup": lambda w: [w.test, w.test / "private" / "copy"],
    "listen analyse": lambda w: [w.test, "--out", w.test],
    "voice add": lambda w: ["--model", w.model, "--data", w.data, "--speaker", "s1", "--out", w.model],
    "voice add ": lambda w: ["--model", w.model, "--data", w.data, "--speaker", "s1", "--out", w.data / "exp"],
}
"""Commands whose output is, holds or lies in an input."""


@pytest.mark.parametrize("name", INSIDE)
def test_an_output_that_overlaps_an_input_is_refused_and_the_input_stays(world, name, capsys, monkeypatch):
    monkeypatch.chdir(world.root)
    world.refill()
    before = content(world.root)
    assert main([*name.split(), *map(str, INSIDE[name](world))]) == 2
    error = capsys.readouterr().err
    assert any(f" {words} the input " in error for words in ("is", "holds", "lies in")), error
    after = content(world.root)
    assert {path: after.get(path) for path in before} == before
    assert {path for path in after.keys() - before.keys() if not path.endswith(("-wal", "-shm"))} == set()


def test_what_vqaudio_made_is_completed_and_replaced(world, tmp_path, capsys):
    """Every command that may be run again with the same output is."""
    runs = [
        ["extract", "--model", world.model, "--data", world.data, "--out", tmp_path / "units"],
        ["decode", "--model", world.model, "--units", tmp_path / "units", "--out", tmp_path / "wavs", "--jobs", 1],
        ["kmeans", "fit", "--features", "mfcc", "--data", world.data, "--codebook-size", 4, "--out", tmp_path / "km"],
        ["kmeans", "apply", "--model", tmp_path / "km", "--data", world.data, "--out", tmp_path / "km_units"],
        ["evaluate", "units", "--units", world.units, "--alignment", world.ctm, "--json", tmp_path / "scores.json"],
        ["data", "split", world.data, tmp_path / "parts", "--jobs", 2],
        ["listen", "analyse", world.test],
        ["listen", "analyse", world.test, "--out", tmp_path / "analysis"],
        ["report", world.model],
        ["report", world.model, tmp_path / "units", "--out", tmp_path / "comparison.html"],
        *(
            ["units", "convert", world.units, tmp_path / to, "--to", to]
            for to in ("fairseq", "gslm", "jsonl", "discophon", "espnet")
        ),
    ]
    for argv in [*runs, *runs]:
        assert main(list(map(str, argv))) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "scores.json").read_text())["vqaudio"] == vqaudio.__version__
    assert (tmp_path / "wavs" / MARK).read_text() == "decoded speech\n"
    assert not list(tmp_path.rglob(".partial-*"))


def test_shards_that_start_at_once_in_a_new_folder_all_finish(world, tmp_path):
    codes: dict[int, int] = {}

    def job(index: int) -> None:
        argv = [
            "--model",
            world.model,
            "--data",
            world.data,
            "--out",
            tmp_path / "a" / "units",
            "--shard",
            f"{index}/4",
        ]
        codes[index] = main(["extract", *map(str, argv)])

    threads = [threading.Thread(target=job, args=(index,)) for index in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == dict.fromkeys(range(1, 5), 0)
    assert (tmp_path / "a" / "units" / "units.json").is_file()
