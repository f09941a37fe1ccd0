"""What `vqaudio units stats` says about a unit directory."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from reference import deduplicate_slowly

from vqaudio.cli import main
from vqaudio.errors import UserError
from vqaudio.metrics.phone_scores import code_statistics
from vqaudio.units import UnitsInfo
from vqaudio.units.statistics import describe, unit_statistics
from vqaudio.units.writer import write_units


def make_units(folder: Path, *, groups: int = 1, deduplicated: bool = False) -> tuple[Path, list[np.ndarray]]:
    random = np.random.default_rng(0)
    codes = [random.integers(0, 4, (groups, n)).repeat(2, axis=1) for n in (30, 7, 1)]
    settings = UnitsInfo.of(
        sample_rate=8000, hop_length=80, codebook_size=8, groups=groups, deduplicated=deduplicated, model_hash="a" * 64
    )
    write_units(folder, settings, [(f"u{i}", code) for i, code in enumerate(codes)], [])
    return folder, codes


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("deduplicated", [False, True])
def test_shared_figures_are_those_of_the_evaluation(tmp_path, groups, deduplicated):
    folder, codes = make_units(tmp_path / "units", groups=groups, deduplicated=deduplicated)
    found = unit_statistics(folder, 2)
    for name, value in code_statistics(codes, frame_rate=100.0, codebook_size=8).items():
        assert found[name] == pytest.approx(value), name
    assert found["utterances"] == 3
    assert found["hours"] == pytest.approx(76 / 100 / 3600)


@pytest.mark.parametrize("groups", [1, 2])
def test_runs_and_ngrams_are_counted_within_utterances(tmp_path, groups):
    folder, codes = make_units(tmp_path / "units", groups=groups)
    found = unit_statistics(folder, 3)
    runs = [deduplicate_slowly([tuple(frame) for frame in code.T]) for code in codes]
    lengths = sorted(length for utterance in runs for _, length in utterance)
    assert found["run_length"]["mean"] == pytest.approx(np.mean(lengths))
    assert found["run_length"]["longest"] == lengths[-1]
    assert found["run_length"]["p50"] == lengths[(len(lengths) + 1) // 2 - 1]
    bigrams = Counter(pair for utterance in runs for pair in pairwise(frame for frame, _ in utterance))
    assert found["ngrams"]["2"]["total"] == bigrams.total()
    assert found["ngrams"]["2"]["different"] == len(bigrams)
    assert found["ngrams"]["2"]["once"] == list(bigrams.values()).count(1)
    assert found["ngrams"]["2"]["most_frequent"][0][1] == max(bigrams.values())
    assert found["ngrams"]["3"]["total"] == sum(max(0, len(utterance) - 2) for utterance in runs)


def test_frequent_and_unused_units_are_named(tmp_path):
    folder, codes = make_units(tmp_path / "units")
    found = unit_statistics(folder, 1)
    counts = np.bincount(np.concatenate(codes, axis=1)[0], minlength=8)
    word, share = found["most_frequent"][0]
    assert int(word) == counts.argmax()
    assert share == pytest.approx(counts.max() / counts.sum())
    assert {int(word) for word, share in found["least_frequent"] if share == 0} == {4, 5, 6, 7}


def test_the_command_prints_lines_and_writes_json(tmp_path, capsys):
    folder, _ = make_units(tmp_path / "units")
    assert main(["units", "stats", str(folder), "--json", str(tmp_path / "stats.json")]) == 0
    assert capsys.readouterr().out == describe(unit_statistics(folder, 3)) + "\n"
    assert json.loads((tmp_path / "stats.json").read_text())["utterances"] == 3


def test_ngrams_that_are_too_long_to_count_are_refused(tmp_path):
    folder, _ = make_units(tmp_path / "units")
    with pytest.raises(UserError, match="use a lower --order"):
        unit_statistics(folder, 20)


def test_ngrams_longer_than_all_utterances_are_none(tmp_path):
    folder, _ = make_units(tmp_path / "units")
    assert unit_statistics(folder, 17)["ngrams"]["17"]["total"] < unit_statistics(folder, 2)["ngrams"]["2"]["total"]
