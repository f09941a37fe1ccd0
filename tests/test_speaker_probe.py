import math

import numpy as np
import pytest

from vqaudio.metrics.speaker_probe import histogram, speaker_probe


def utterances(favourites: dict[str, list[int]], each: int) -> tuple[dict, dict]:
    """Utterances of 200 frames of random units, half of them a favourite unit of the speaker."""
    random = np.random.default_rng(0)
    units, speakers = {}, {}
    for speaker, favourite in favourites.items():
        for n in range(each):
            codes = np.where(random.random(200) < 0.5, random.choice(favourite, 200), random.integers(0, 16, 200))
            units[f"{speaker}{n}"], speakers[f"{speaker}{n}"] = codes[None], speaker
    return units, speakers


def test_speakers_with_units_of_their_own_are_named():
    units, speakers = utterances({"a": [0], "b": [1], "c": [2]}, 10)
    result = speaker_probe(units, speakers, codebook_size=16)
    assert result == {"speaker_probe": 1.0, "speaker_probe_chance": 1 / 3, "speaker_probe_speakers": 3}


def test_units_that_do_not_know_the_speaker_are_near_chance():
    units, speakers = utterances({"a": [0], "b": [0]}, 40)
    assert 0.3 < speaker_probe(units, speakers, codebook_size=16)["speaker_probe"] < 0.7


def test_the_favourite_class_is_the_chance():
    units, speakers = utterances({"a": [0], "b": [1]}, 6)
    for n in range(4):
        del units[f"b{n}"]
    assert speaker_probe(units, speakers, codebook_size=16)["speaker_probe_chance"] == 6 / 8


def test_speakers_of_one_utterance_are_left_out():
    units, speakers = utterances({"a": [0], "b": [1]}, 4)
    units["c0"], speakers["c0"] = units["a0"], "c"
    assert speaker_probe(units, speakers, codebook_size=16)["speaker_probe_speakers"] == 2
    alone = speaker_probe({"a0": units["a0"], "b0": units["b0"]}, speakers, codebook_size=16)
    assert math.isnan(alone["speaker_probe"])
    assert alone["speaker_probe_speakers"] == 0


def test_histograms_stand_group_after_group():
    codes = np.array([[0, 0, 0, 1], [2, 2, 2, 2]])
    assert histogram(codes, 3) == pytest.approx([math.sqrt(3 / 4), 1 / 2, 0, 0, 0, 1])
