"""A study from end to end: platform listeners by one address, a Latin square, codes, and a truth that is found."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import yaml
from listening import RATE, Visitor, ask, serving

from vqaudio import audio, datadir
from vqaudio.cli import main
from vqaudio.listening.key import read_key

QUALITY = {"s1": 4.4, "s2": 4.1, "s3": 3.3, "s4": 3.2, "s5": 2.2, "s6": 1.5}
"""Mean opinion of each system; s3 and s4 are too close for so few listeners."""

LISTENERS, SCREENED, ITEMS = 24, 3, 24
STUDY = {
    "title": "How good are these voices?",
    "consent": "I take part of my own will.",
    "before": [{"name": "hearing", "ask": "Do you hear well?", "type": "choice", "choices": ["yes", "no"],
                "screen_out": ["no"]}],
    "platform": {
        "limit": LISTENERS,
        "finished": {"code": "F1N", "url": "https://app.prolific.com/submissions/complete?cc=F1N"},
        "screened": {"code": "SCR"},
    },
}  # fmt: skip


def build(folder: Path) -> Path:
    """Build a Latin square of six systems and as many items as the study has, by the command line."""
    rng = np.random.default_rng(0)
    systems = []
    for name in QUALITY:
        table = {}
        for number in range(ITEMS + 1):
            path = folder / "audio" / name / f"utterance{number:02d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            audio.write(path, 0.05 * rng.standard_normal(round((0.5 + 0.01 * number) * RATE)), RATE)
            table[path.stem] = str(path)
        datadir.write_table(folder / f"{name}.scp", table)
        systems += ["--system", f"{name}={folder / name}.scp"]
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    arguments = ["--type", "acr", *systems, "--study", folder / "study.yaml", "--design", "latin", "--items", ITEMS]
    assert main(["listen", "build", *map(str, arguments), "--out", str(folder / "test"), "--seed", "5"]) == 0
    return folder / "test"


def opinion(rng: random.Random, mean: float) -> int:
    """A rating around a mean."""
    return min(5, max(1, round(rng.gauss(mean, 0.8))))


def take(test: Path, port: int, number: int) -> dict[str, str]:
    """Let listener `number` take the test; return how it ended for them."""
    key, rng = read_key(test), random.Random(number)
    bias = rng.gauss(0, 0.3)
    of_item = {f"utterance{n:02d}": random.Random(f"item {n}").gauss(0, 0.3) for n in range(ITEMS + 1)}
    visitor = Visitor(port, f"5f3c{number:020d}")
    hears = "no" if number % 9 == 4 else "yes"

    def rate(trial: dict, stimulus: str) -> int:
        known = key.stimuli[stimulus]
        return opinion(rng, QUALITY[known.system] + bias + of_item[known.item])

    return visitor.go_through({"hearing": hears}, rate)


@pytest.fixture(scope="module")
def taken(tmp_path_factory) -> tuple[Path, list[dict[str, str]]]:
    """The test after all listeners, and how it ended for each."""
    test = build(tmp_path_factory.mktemp("study"))
    with serving(test) as port:
        ended = [take(test, port, number) for number in range(LISTENERS + SCREENED)]
        status, answer, _ = ask(port, "/api/join", body={"person": "one-too-many"})
        assert (status, json.loads(answer)["full"]) == (409, True)
    return test, ended


def test_the_command_line_says_the_size_before_anything_is_made(tmp_path, capsys) -> None:
    build(tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(
        "24 items with 6 systems each. A listener hears 24 of the items in 24 trials, after 4 for"
    )
    assert said[1] == "Every 6 listeners hear each of the 144 clips once: a multiple of it is balanced."


def test_each_listener_gets_the_code_that_belongs_to_the_outcome(taken) -> None:
    _, ended = taken
    outcomes = [(end["outcome"], end["code"]) for end in ended]
    assert outcomes.count(("finished", "F1N")) == LISTENERS
    assert outcomes.count(("screened", "SCR")) == SCREENED


def test_every_clip_is_rated_equally_often_although_some_were_screened_out(taken) -> None:
    from collections import Counter

    from vqaudio.listening.analysis.ratings import read_results

    test, _ = taken
    rated = Counter((rating.item, rating.system) for rating in read_results(test).ratings)
    assert len(rated) == ITEMS * len(QUALITY)
    assert set(rated.values()) == {LISTENERS // len(QUALITY)}


def test_status_and_analysis_tell_what_happened_and_find_the_truth(taken, capsys) -> None:
    test, _ = taken
    assert main(["listen", "status", str(test)]) == 0
    assert "24 finished of 24 wanted, 0 at work, 3 screened out" in capsys.readouterr().out
    assert main(["listen", "analyse", str(test)]) == 0
    found = json.loads((test / "private/analysis/analysis.json").read_text())
    means = {system["system"]: system["mean"] for system in found["systems"]}
    assert sorted(means, key=means.__getitem__, reverse=True)[:2] == ["s1", "s2"]
    assert sorted(means, key=means.__getitem__)[:2] == ["s6", "s5"]
    for system in found["systems"]:
        assert abs(system["mean"] - QUALITY[system["system"]]) < 0.35
    pairs = {(pair["a"], pair["b"]): pair for pair in found["pairs"]}
    assert len(pairs) == 15
    for (a, b), pair in pairs.items():
        far = abs(QUALITY[a] - QUALITY[b]) > 0.5
        for claim in ("these_items", "items_like_these"):
            found_different = pair[claim]["low95"] > 0 or pair[claim]["high95"] < 0
            assert found_different if far else {a, b} != {"s3", "s4"} or not found_different
            assert (pair["difference"] > 0) == (QUALITY[a] > QUALITY[b]) or not far
    rows = (test / "private/analysis/questions.csv").read_text().splitlines()
    assert rows[0] == "listener,consent,hearing"
    assert sum(row.endswith(",no") for row in rows) == SCREENED
    text = (test / "private/analysis/ratings.csv").read_text()
    assert "5f3c" not in text  # ids of the platform stay where they are
