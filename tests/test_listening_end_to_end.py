"""From `listen build` over saved answers to `listen analyse`: what goes in by random names comes out by true ones."""

import csv
import json
from pathlib import Path

import pytest
from listening import SYSTEMS, make_test

from vqaudio.cli import main
from vqaudio.listening.key import Key, read_key
from vqaudio.listening.sessions import rated_stimuli
from vqaudio.listening.store import Event, Store

GOOD, BAD = SYSTEMS
QUALITY = {"reference": 100, GOOD: 70, BAD: 40, "anchor_3500": 10, "anchor_7000": 30}


def answer(key: Key, trial: dict, stimulus: str, listener: int) -> int:
    """What a listener with good ears says of a stimulus; everybody has a small bias of their own."""
    quality = QUALITY[key.stimuli[stimulus].system]
    if key.type == "mushra":
        return min(100, quality + (listener if quality < 100 else 0))
    if key.type in ("acr", "dcr", "smos"):
        return 1 + quality // 25
    first, second = (key.stimuli[name].system for name in trial["stimuli"])
    if key.type == "abx":
        scale = {False: -1, True: 1}
        return scale[key.stimuli[stimulus].system == second]
    better = QUALITY[second] - QUALITY[first]
    return better // 30 if key.type == "ccr" else better // abs(better)


@pytest.mark.parametrize("kind", ["mushra", "acr", "dcr", "ccr", "ab", "abx", "smos"])
def test_what_listeners_prefer_is_what_the_analysis_finds(kind: str, tmp_path: Path) -> None:
    test = make_test(tmp_path, kind, items=3, listeners=6)
    key = read_key(test)
    with Store(test) as store:
        for number, (listener, _) in enumerate(store.listeners()):
            rated = [(trial, s) for trial in store.session(listener) for s in rated_stimuli(kind, trial)]
            events = [Event(t["id"], s, seq, answer(key, t, s, number), seq) for seq, (t, s) in enumerate(rated)]
            store.save(listener, events, 0)
    assert main(["listen", "analyse", str(test)]) == 0
    found = json.loads((test / "private" / "analysis" / "analysis.json").read_text())
    assert found["type"] == kind
    assert found["listeners"] == {"rated": 6, "kept": 6, "excluded": 0}
    assert found["items"] == 3
    if kind in ("ccr", "ab"):
        expected = {(GOOD, "reference"): -1, (BAD, "reference"): -2} if kind == "ccr" else {(GOOD, BAD): 1}
        assert {(pair["a"], pair["b"]): pair["mean"] for pair in found["pairs"]} == expected
    elif kind == "abx":
        assert found["overall"]["share"] == 1
    if kind in ("ccr", "ab", "abx"):
        rows = csv.DictReader((test / "private" / "analysis" / "ratings.csv").read_text(encoding="utf-8").splitlines())
        assert {(row["system"], row["other"]) for row in rows} == {(pair["a"], pair["b"]) for pair in found["pairs"]}
    else:
        means = {system["system"]: system["mean"] for system in found["systems"]}
        assert means[GOOD] == {"mushra": 72.5, "acr": 3, "dcr": 3, "smos": 3}[kind]
        assert means[BAD] == {"mushra": 42.5, "acr": 2, "dcr": 2, "smos": 2}[kind]
