import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from vqaudio.datadir import Phone
from vqaudio.errors import UserError
from vqaudio.metrics.boundaries import boundary_scores, count_hits, count_regions, phone_times, r_value, run_lengths

RATE = 100.0


def phones_of(*durations: float) -> list[Phone]:
    starts = np.cumsum([0.0, *durations[:-1]])
    return [Phone(float(start), d, "AB"[n % 2]) for n, (start, d) in enumerate(zip(starts, durations, strict=True))]


def codes_of(*runs: int) -> np.ndarray:
    return np.repeat([np.arange(len(runs)) % 2], runs, axis=1)


def test_a_small_example_is_what_it_is_by_hand():
    # Phones change at .10 and .20; units at .08 (2 frames early, a hit), .15 (a miss), .23 (3 frames late, a miss).
    scores = boundary_scores({"u": codes_of(8, 7, 8, 7)}, {"u": phones_of(0.1, 0.1, 0.1)}, frame_rate=RATE)
    assert scores["boundary_precision"] == 1 / 3
    assert scores["boundary_recall"] == 1 / 2
    assert scores["boundary_f1"] == 2 / 5
    over = 3 / 2 - 1
    far, off_line = math.hypot(1 - 0.5, over), abs(-over + 0.5 - 1) / math.sqrt(2)
    assert scores["boundary_r_value"] == pytest.approx(1 - (far + off_line) / 2)


def test_units_that_change_with_the_phones_are_perfect():
    scores = boundary_scores({"u": codes_of(10, 10, 10)}, {"u": phones_of(0.1, 0.1, 0.1)}, frame_rate=RATE)
    assert set(scores.values()) == {1.0}


def test_a_boundary_everywhere_recalls_all_but_its_r_value_is_low():
    scores = boundary_scores({"u": codes_of(*[1] * 30)}, {"u": phones_of(0.1, 0.1, 0.1)}, frame_rate=RATE)
    assert scores["boundary_recall"] == 1
    assert scores["boundary_r_value"] < 0


def test_r_values_are_those_of_the_paper_at_its_corners():
    assert r_value(1.0, 0.0) == 1.0
    assert r_value(0.0, -1.0) == pytest.approx(1 - (math.sqrt(2) + 0) / 2)  # no boundary at all
    assert r_value(1.0, 1.0) == pytest.approx(1 - (1 + 1 / math.sqrt(2)) / 2)  # twice as many as there are


def test_edges_of_the_utterance_and_changes_outside_the_alignment_do_not_count():
    phones = {"u": [Phone(0.1, 0.1, "A"), Phone(0.2, 0.1, "B")]}
    scores = boundary_scores({"u": codes_of(5, 5, 10, 10, 5)}, phones, frame_rate=RATE)
    assert scores["boundary_precision"] == scores["boundary_recall"] == 1  # .05, .10 and .30 are out, .20 is a hit


def test_ends_before_gaps_are_boundaries_and_rounded_joints_are_one():
    phones = [Phone(0.0, 0.1, "A"), Phone(0.1005, 0.1, "B"), Phone(0.3, 0.1, "C")]
    assert phone_times(phones).round(4).tolist() == [0.1, 0.2005, 0.3]
    assert len(phone_times([])) == 0


def test_without_boundaries_scores_are_not_numbers():
    scores = boundary_scores({"u": codes_of(10)}, {"u": phones_of(0.1)}, frame_rate=RATE)
    assert all(math.isnan(value) for value in scores.values())
    with pytest.raises(UserError, match="none of 1 utterances is in the alignment"):
        boundary_scores({"u": codes_of(10)}, {"v": phones_of(0.1)}, frame_rate=RATE)


times = st.lists(st.integers(0, 30), max_size=6, unique=True).map(sorted)


@given(times, times, st.integers(0, 4))
def test_hits_are_as_many_as_any_choice_of_pairs_gives(found, true, tolerance):
    expected = reference.boundary_hits(found, true, tolerance)
    assert count_hits(np.array(found, float), np.array(true, float), float(tolerance)) == expected


def test_runs_end_with_utterances_and_a_group_that_changes_ends_one():
    groups = np.array([[1, 1, 2, 2], [5, 5, 5, 6]])
    assert run_lengths([groups, groups[:, :2]], frame_rate=50) == {
        "run_length_mean": 6 / 4,
        "runs_per_second": 4 / 0.12,
    }


def test_a_region_ends_halfway_to_the_next_boundary_and_the_middle_is_the_earlier_one_s():
    assert count_regions(np.array([20, 21]), np.array([10, 30]), 20) == 2
    assert count_regions(np.array([20]), np.array([10, 30]), 20) == 1
    assert count_regions(np.array([19, 20]), np.array([10, 30]), 20) == 1  # any choice of pairs would give 2
    assert count_regions(np.array([51]), np.array([10, 30]), 20) == 0
    assert count_regions(np.array([]), np.array([10]), 20) == count_regions(np.array([10]), np.array([]), 20) == 0


@given(times, times, st.integers(0, 6))
def test_regions_hit_are_those_of_the_definition(found, true, tolerance):
    expected = reference.naive_region_hits(found, true, tolerance)
    assert count_regions(np.array(found), np.array(true), tolerance) == expected
