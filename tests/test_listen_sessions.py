"""Which trials a listener gets, in which order, and what their answers mean: balanced over trials and listeners."""

import collections
import itertools

import pytest
from listening import make_test

from vqaudio.listening.key import Key, Stimulus, Trial, read_key
from vqaudio.listening.sessions import make_session, oriented


def make_key(test_type: str, conditions: int, items: int, *, design: str = "full", per_listener: int = 0) -> Key:
    """A key without audio: one clip for each system of a trial, named after item and system."""
    trials, stimuli = {}, {}
    for item in range(items):
        for condition in range(conditions):
            systems = [f"s{condition}"] if test_type == "acr" else [f"s{condition}", "reference"]
            names = [f"{item}-{condition}-{system}" for system in systems]
            hidden = [f"{name}-x" for name in names] if test_type == "abx" else []
            for name, system in zip([*names, *hidden], 2 * systems, strict=False):
                stimuli[name] = Stimulus(f"i{item:02d}", system, 0.0, "")
            trials[f"{item}-{condition}"] = Trial(f"i{item:02d}", False, tuple(names), hidden=tuple(hidden))
    systems = tuple(f"s{n}" for n in range(conditions))
    return Key(test_type, 7, 16000, systems, trials, stimuli, design=design, items_per_listener=per_listener)


@pytest.mark.parametrize(("conditions", "items"), [(1, 8), (2, 12), (3, 7), (1, 20)])
def test_x_is_the_first_as_often_as_the_second_for_each_listener_and_in_each_trial(conditions, items) -> None:
    key = make_key("abx", conditions, items)
    firsts: dict[int, list[bool]] = {}
    by_trial, combined = collections.Counter(), collections.Counter()
    for number in range(20):
        for shown in make_session(key, number):
            systems = [key.stimuli[name].system for name in shown["stimuli"]]
            first = key.stimuli[shown["x"]].system == systems[0]
            firsts.setdefault(number, []).append(first)
            by_trial[shown["id"], first] += 1
            combined[shown["id"], first, systems[1] == "reference"] += 1
    for of_listener in firsts.values():
        assert abs(sum(of_listener) - len(of_listener) / 2) <= 0.5
    assert set(by_trial.values()) == {10}
    assert set(combined.values()) == {5}  # over four listeners, all combinations of order and place of X
    for one, two in itertools.pairwise(firsts):
        assert firsts[one] != firsts[two]


def test_who_always_says_b_in_abx_is_right_in_half_of_the_trials() -> None:
    key = make_key("abx", 2, 6)
    for number in range(9):
        right = [oriented(key, shown, shown["x"], 1) for shown in make_session(key, number)]
        assert sum(right) == len(right) / 2


@pytest.mark.parametrize(("conditions", "items", "heard"), [(6, 24, 0), (6, 24, 12), (5, 20, 5), (4, 6, 0)])
def test_in_a_latin_square_each_item_comes_once_and_listeners_share_out_the_systems(conditions, items, heard) -> None:
    key = make_key("acr", conditions, items, design="latin", per_listener=heard)
    count = heard or items
    heard_by_all, at_place = collections.Counter(), collections.Counter()
    listeners = conditions * (items // count)
    for number in range(listeners):
        session = make_session(key, number)
        assert len(session) == len({key.trials[shown["id"]].item for shown in session}) == count
        systems = collections.Counter(key.stimuli[shown["stimuli"][0]].system for shown in session)
        assert max(systems.values()) - min(systems.values()) <= 1
        heard_by_all.update(shown["id"] for shown in session)
        at_place.update((place, key.stimuli[shown["stimuli"][0]].system) for place, shown in enumerate(session))
    assert heard_by_all == dict.fromkeys(key.trials, 1)
    assert set(at_place.values()) == {listeners // conditions}  # each system is at each place equally often
    orders = {tuple(shown["id"] for shown in make_session(key, number)) for number in range(listeners)}
    assert len(orders) == listeners


def test_with_some_items_per_listener_each_item_is_heard_equally_often() -> None:
    key = make_key("acr", 3, 10, per_listener=4)
    heard = collections.Counter()
    for number in range(5):
        session = make_session(key, number)
        assert len(session) == 12
        heard.update(shown["id"] for shown in session)
    assert set(heard.values()) == {2}


@pytest.mark.parametrize("test_type", ["ccr", "ab"])
def test_in_pairs_each_order_is_as_frequent_for_each_listener(test_type) -> None:
    key = make_key(test_type, 3, 8)
    for number in range(8):
        swapped = collections.Counter(
            key.stimuli[shown["stimuli"][0]].system == "reference" for shown in make_session(key, number)
        )
        assert swapped[True] == swapped[False]


def test_at_most_four_trials_are_for_training_and_of_one_item(tmp_path) -> None:
    for training, expected in ((4, 3), (2, 2), (0, 0)):
        key = read_key(make_test(tmp_path / str(training), "acr", items=3, training=training))
        assert sum(trial.training for trial in key.trials.values()) == expected
        assert len({trial.item for trial in key.trials.values() if not trial.training}) == 3
