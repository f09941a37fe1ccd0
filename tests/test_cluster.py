"""Extraction on Ray: the same bytes as by one process, whatever the workers, parts and lost nodes."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_model import save_tiny_model

from vqaudio.cli import main
from vqaudio.datadir import Utterance, write_utterances

ray = pytest.importorskip("ray", reason="ray not installed: pip install 'vqaudio[ray]'")
pytestmark = pytest.mark.slow  # starts a cluster

UTTERANCES = 24


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A model, a data directory, and the units that one process makes."""
    folder = tmp_path_factory.mktemp("ray")
    save_tiny_model(folder / "model")
    rng = np.random.default_rng(0)
    utterances = []
    for n in range(UTTERANCES):
        path = folder / f"u{n:02d}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(4000 + 2000 * (n % 5)), 8000)
        utterances.append(Utterance(path.stem, path, "s"))
    write_utterances(folder / "data", utterances)
    assert extract(folder, "whole") == 0
    return folder


@pytest.fixture(scope="module", autouse=True)
def stop_ray():
    yield
    ray.shutdown()


def extract(root: Path, name: str, *options: object) -> int:
    command = [
        "extract",
        "--model",
        root / "model",
        "--data",
        root / "data",
        "--out",
        root / name,
        "--jobs",
        1,
        *options,
    ]
    return main(list(map(str, command)))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(("workers", "parts"), [(1, 1), (2, 5), (2, 24)])
def test_ray_writes_the_bytes_of_one_process(root, workers, parts) -> None:
    name = f"ray-{workers}-{parts}"
    assert extract(root, name, "--engine", "ray", "--workers", workers, "--parts", parts) == 0
    assert contents(root / name) == contents(root / "whole")


def test_a_broken_file_costs_no_other_on_ray(root, capsys) -> None:
    broken = root / "broken"
    broken.mkdir()
    for n in range(3):
        (broken / f"b{n}.wav").write_bytes((root / f"u{n:02d}.wav").read_bytes() if n else b"RIFF")
    command = ["extract", "--model", root / "model", "--out", root / "broken units", "--engine", "ray", "--parts", 3]
    assert main([*map(str, command), *map(str, sorted(broken.glob("*.wav")))]) == 1
    assert "1 of 3 utterances failed, such as b0" in capsys.readouterr().err
    assert [line.split()[0] for line in (root / "broken units/units.txt").read_text().splitlines()] == ["b1", "b2"]


def test_options_of_ray_without_it_are_refused(root, capsys) -> None:
    assert extract(root, "refused", "--workers", 2) == 2
    assert extract(root, "refused", "--parts", 2) == 2
    assert extract(root, "refused", "--engine", "ray", "--shard", "1/2") == 2
    error = capsys.readouterr().err
    assert "--workers: is for --engine ray" in error
    assert "--shard: --engine ray does all parts" in error
    assert not (root / "refused").exists()


def test_k_means_units_are_made_on_ray_too(root) -> None:
    fit = ["kmeans", "fit", "--features", "mfcc", "--data", root / "data", "--codebook-size", 8, "--out", root / "km"]
    assert main(list(map(str, fit))) == 0
    for name, options in (("km-one", []), ("km-ray", ["--engine", "ray", "--parts", "4"])):
        command = ["kmeans", "apply", "--model", root / "km", "--data", root / "data", "--out", root / name, *options]
        assert main(list(map(str, command))) == 0
    assert contents(root / "km-one") == contents(root / "km-ray")


def test_speech_is_made_on_ray_too(root) -> None:
    for name, options in (("speech-one", []), ("speech-ray", ["--engine", "ray", "--parts", 5, "--jobs", 1])):
        command = ["decode", "--model", root / "model", "--units", root / "whole", "--out", root / name, *options]
        assert main(list(map(str, command))) == 0
    found = [
        {path.name: path.read_bytes() for path in (root / name).glob("*.wav")} for name in ("speech-one", "speech-ray")
    ]
    assert found[0] == found[1]
    assert len((root / "speech-ray" / "wav.scp").read_text().splitlines()) == UTTERANCES == len(found[0])


def test_a_node_that_is_lost_in_the_middle_costs_nothing(root, monkeypatch) -> None:
    from ray.cluster_utils import Cluster

    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    out = root / "lost"
    killed = []

    def kill_a_node() -> None:
        deadline = time.monotonic() + 120
        while not list(out.glob("shards/*/units.json")) and time.monotonic() < deadline:
            time.sleep(0.01)
        cluster.remove_node(nodes[0], allow_graceful=False)
        killed.append(len(list(out.glob("shards/*/units.json"))))

    killer = threading.Thread(target=kill_a_node)
    try:
        killer.start()
        assert extract(root, "lost", "--engine", "ray", "--workers", 2, "--parts", 24) == 0
    finally:
        killer.join()
        ray.shutdown()
        cluster.shutdown()
    assert killed[0] < 24  # it was lost before the end
    assert contents(out) == contents(root / "whole")


def test_workers_that_are_killed_are_replaced(root) -> None:
    out = root / "killed"
    stop = threading.Event()
    killed = []

    def kill_workers() -> None:
        while not stop.is_set() and len(killed) < 3:
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    name = (process / "cmdline").read_bytes()
                except OSError:
                    continue
                if b"ray::" in name and b"MapWorker" in name and list(out.glob("shards/*/units.json")):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.append(process.name)
                    break
            time.sleep(0.3)

    killer = threading.Thread(target=kill_workers)
    killer.start()
    try:
        assert extract(root, "killed", "--engine", "ray", "--workers", 2, "--parts", 24) == 0
    finally:
        stop.set()
        killer.join()
    assert contents(out) == contents(root / "whole")
