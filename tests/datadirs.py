"""Small data directories that tests validate, break, repair and split."""

from pathlib import Path

import numpy as np

from vqaudio import audio, datadir
from vqaudio.datadir import Phone, Utterance


def noise(samples: int) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(samples) * 0.1).astype(np.float32)


def make(folder: Path) -> Path:
    """Write a sound data directory of two speakers with three utterances each, 0.5 s at 8 kHz, all optional files."""
    utterances = []
    for name in ("s1-a", "s1-b", "s1-c", "s2-a", "s2-b", "s2-c"):
        audio.write(folder / f"{name} .wav", noise(4000), 8000)
        utterances.append(Utterance(name, folder / f"{name} .wav", name[:2]))
    data = folder / "data"
    datadir.write_utterances(data, utterances, {u.utt: f"one {u.utt}" for u in utterances}, {"s1": "f", "s2": "m"})
    datadir.write_ctm(data / "phones.ctm", {u.utt: [Phone(0.0, 0.2, "AH"), Phone(0.2, 0.3, "B")] for u in utterances})
    datadir.write_table(data / "utt2dur", {u.utt: "0.5" for u in utterances})
    datadir.write_table(data / "reco2dur", {u.utt: "0.5" for u in utterances})
    return data


def make_segmented(folder: Path) -> Path:
    """Write a data directory with one recording of 1 s at 8 kHz and two utterances."""
    audio.write(folder / "r.wav", noise(8000), 8000)
    data = folder / "data"
    cuts = [("s-a", 0.0, 0.4), ("s-b", 0.4, 1.0)]
    datadir.write_utterances(data, [Utterance(utt, folder / "r.wav", "s", a, b) for utt, a, b in cuts])
    return data


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new).encode("utf-8", "surrogateescape"))
