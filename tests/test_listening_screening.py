"""Post-screening of MUSHRA listeners: both rules of BS.1534-3, their limits and exceptions."""

import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.listening.analysis.ratings import Rating, Results
from vqaudio.listening.analysis.screening import MAX_BAD_ITEMS, MIN_ITEMS, post_screen, verdicts
from vqaudio.listening.anchors import MIN_RATE_7000

GOOD = (100.0, 50.0)  # hidden reference, mid anchor


def ratings(table: dict[str, dict[str, tuple[float, float]]]) -> list[Rating]:
    found = []
    for listener, rated in table.items():
        for item, (hidden, anchor) in rated.items():
            found.append(Rating(listener, item, "reference", hidden))
            found.append(Rating(listener, item, "anchor_7000", anchor))
            found.append(Rating(listener, item, "k-means", 60.0))
    return found


def panel(bad: dict[str, dict[int, tuple[float, float]]], listeners: int = 12, items: int = 10):
    """Good listeners, but for those of `bad`: listener -> number of the item -> hidden reference, mid anchor."""
    names = [f"L{number:02d}" for number in range(listeners)]
    return {name: {f"i{i}": bad.get(name, {}).get(i, GOOD) for i in range(items)} for name in names}


def excluded(table, sample_rate: int = 48000) -> dict[str, tuple[str, ...]]:
    return {found.listener: found.reasons for found in post_screen(ratings(table), sample_rate) if found.reasons}


def test_one_bad_item_of_ten_does_not_exclude_and_two_do():
    table = panel({"L03": {0: (80, 50)}, "L05": {0: (80, 50), 7: (89.9, 50)}})
    assert list(excluded(table)) == ["L05"]
    assert excluded(table)["L05"] == ("rated the hidden reference below 90 on 2 of 10 items (20 %, more than 15 %)",)


def test_exactly_15_percent_and_exactly_90_do_not_exclude():
    three_of_twenty = dict.fromkeys(range(3), (0.0, 50.0))
    assert excluded(panel({"L00": three_of_twenty}, items=20)) == {}
    assert excluded(panel({"L00": dict.fromkeys(range(10), (90.0, 90.0))})) == {}


def test_listeners_who_cannot_hear_the_mid_anchor_are_excluded_by_the_second_rule():
    table = panel({"L02": {0: (100, 95), 1: (100, 91)}, "L04": {5: (100, 99)}})
    assert excluded(table) == {"L02": ("rated the 7 kHz anchor above 90 on 2 of 10 items (20 %, more than 15 %)",)}


def test_a_listener_who_breaks_both_rules_gets_both_reasons():
    table = panel({"L02": dict.fromkeys(range(4), (10.0, 95.0))})
    assert len(excluded(table)["L02"]) == 2


def test_an_item_whose_anchor_fools_more_than_a_quarter_counts_against_nobody():
    """Three who rate the anchor of i0 and i1 above 90 are a quarter of 12 listeners, no more, and 27 % of 11."""
    fooled = {f"L0{n}": {0: (100.0, 95.0), 1: (100.0, 95.0)} for n in range(3)}
    assert list(excluded(panel(fooled, listeners=12))) == ["L00", "L01", "L02"]
    assert excluded(panel(fooled, listeners=11)) == {}


def test_who_is_left_out_by_hand_has_no_say_in_which_anchors_are_unfit():
    """Three of 11 listeners are fooled by two anchors, 27 %; without one of them 2 of 10 are, and these two are out."""
    fooled = {f"L0{n}": {0: (100.0, 95.0), 1: (100.0, 95.0)} for n in range(3)}
    results = Results("mushra", ratings(panel(fooled, listeners=11)), 48000, 0)
    found = verdicts(results, {"L00": "asleep"}, screening=True)
    assert {name: verdict.excluded[0][:20] for name, verdict in found.items() if verdict.excluded} == {
        "L00": "by hand: asleep",
        "L01": "rated the 7 kHz anch",
        "L02": "rated the 7 kHz anch",
    }


def test_from_the_named_number_of_items_on_one_slip_is_forgiven():
    assert 1 / MIN_ITEMS <= MAX_BAD_ITEMS < 1 / (MIN_ITEMS - 1)


def test_counts_are_kept_of_what_the_exemption_passed_over():
    found = post_screen(ratings(panel({f"L0{n}": {0: (100.0, 95.0)} for n in range(4)})), 48000)[0]
    assert (found.anchor_items, found.anchor_high, found.anchor_exempt) == (10, 0, 1)


@pytest.mark.parametrize(
    ("sample_rate", "names"), [(16000, []), (MIN_RATE_7000 - 1, []), (MIN_RATE_7000, ["L02"]), (48000, ["L02"])]
)
def test_the_mid_anchor_rule_is_applied_at_the_rates_at_which_a_test_gets_a_mid_anchor(sample_rate, names):
    table = panel({"L02": dict.fromkeys(range(10), (100.0, 100.0))})
    assert list(excluded(table, sample_rate)) == names


def test_without_a_mid_anchor_only_the_first_rule_is_applied():
    kept = [rating for rating in ratings(panel({"L02": {0: (1, 99), 1: (1, 99)}})) if rating.system != "anchor_7000"]
    reasons = [found.reasons for found in post_screen(kept, 48000) if found.reasons]
    assert len(reasons) == 1
    assert len(reasons[0]) == 1


def test_shares_are_of_the_items_that_a_listener_rated():
    """One bad item of the 5 that were rated before leaving is a fifth."""
    table = panel({"L01": {0: (50, 50)}})
    table["L01"] = {item: table["L01"][item] for item in ("i0", "i1", "i2", "i3", "i4")}
    assert "1 of 5 items (20 %" in excluded(table)["L01"][0]


score = st.sampled_from([0.0, 89.0, 90.0, 91.0, 100.0])


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("ABCDEFGH"),
        st.dictionaries(st.sampled_from("abcdefghij"), st.tuples(score, score), min_size=1),
        min_size=1,
    )
)
def test_the_excluded_listeners_are_those_of_a_naive_reading_of_the_rules(table):
    assert set(excluded(table)) == reference.excluded_listeners(table)
