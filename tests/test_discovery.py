"""Units read as phones, silence included: the figures of DiscoPhon, by hand and by naive definitions."""

import math
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from vqaudio.datadir import Phone
from vqaudio.errors import UserError
from vqaudio.metrics import bootstrap
from vqaudio.metrics.bootstrap import string_intervals
from vqaudio.metrics.boundaries import r_value
from vqaudio.metrics.discovery import discovery_figures, phone_strings, phones_of_units, phones_one_to_one
from vqaudio.metrics.evaluation import figures

FIGURES = {"phone_error_rate", "mapped_boundary_f1", "mapped_r_value", "pnmi_with_silence"}


def phones_of(names: str) -> list[Phone]:
    """10 ms a letter; '_' is silence, ' ' a gap."""
    named = {"_": "SIL"}
    return [Phone(n / 100, 0.01, named.get(c, c)) for n, c in enumerate(names) if c != " "]


def codes_of(digits: str) -> np.ndarray:
    return np.array([[int(digit) for digit in digits]])


def strings_of(units: dict[str, str], phones: dict[str, str], *, taught=None, step=10, codebook_size=1000):
    """Strings of units; `taught` is more units and phones, or `True` for the scored ones."""
    codes = {utt: codes_of(u) for utt, u in units.items()}
    alignment = {utt: phones_of(p) for utt, p in phones.items()}
    mapping = (codes, alignment) if taught is True else taught
    if mapping and taught is not True:
        mapping = ({utt: codes_of(u) for utt, u in taught[0].items()}, {u: phones_of(p) for u, p in taught[1].items()})
    return phone_strings(codes, alignment, frame_rate=1000 / step, codebook_size=codebook_size, mapping=mapping)


def score_of(units, phones, **kwargs) -> dict[str, float]:
    return discovery_figures(strings_of(units, phones, **kwargs))


def test_a_small_example_is_what_it_is_by_hand():
    # Taught: 0 is silence, 1 is A, 2 is B. Heard: _ A B A B _; said: _ A B _.
    taught = ({"t": "001122"}, {"t": "__AABB"})
    strings = strings_of({"a": "0001111222222112220"}, {"a": "____AAABBBBBBBBBBB_"}, taught=taught)
    assert {name: count.tolist() for name, count in strings.counts.items()} == {
        "phones": [4],
        "edits": [2],
        "true": [3],  # 40, 70 and 180 ms
        "found": [5],  # 30, 70, 130, 150 and 180 ms
        "hits": [3],
    }
    result = discovery_figures(strings)
    assert result["phone_error_rate"] == 2 / 4
    assert result["mapped_boundary_f1"] == 2 * 3 / (5 + 3)
    assert result["mapped_r_value"] == pytest.approx(r_value(1.0, 5 / 3 - 1))
    assert result.keys() == FIGURES


def test_units_that_are_the_phones_make_no_error():
    result = score_of({"a": "00112233"}, {"a": "__AABB__"}, taught=({"t": "0123"}, {"t": "_AB_"}))
    assert result == {"phone_error_rate": 0, "mapped_boundary_f1": 1, "mapped_r_value": 1, "pnmi_with_silence": 1}


def test_too_many_phones_bring_the_error_rate_over_one():
    result = score_of({"a": "01010101"}, {"a": "AAAAAAAA"}, taught=({"t": "01"}, {"t": "AB"}))
    assert result["phone_error_rate"] == 7
    assert result["mapped_boundary_f1"] == 0
    assert math.isnan(result["mapped_r_value"])  # there is no boundary to find
    assert math.isnan(result["pnmi_with_silence"])


def test_pauses_noise_and_gaps_are_one_phone_that_is_kept():
    taught = ({"t": "0123"}, {"t": "_A_B"})
    codes, alignment = {"a": codes_of("11220233")}, {"a": phones_of("AA  _ BB")}
    alignment["a"].append(Phone(0.02, 0.01, "spn"))
    mapping = ({"t": codes_of("0123")}, {"t": phones_of("_A_B")})
    strings = phone_strings(codes, alignment, frame_rate=100, codebook_size=9, mapping=mapping)
    assert strings.counts["phones"] == [3]
    assert strings.counts["edits"] == [0]
    assert strings.phone.tolist() == [1, 1, 0, 0, 0, 0, 2, 2]
    assert score_of({"a": "12"}, {"a": "A_"}, taught=taught)["pnmi_with_silence"] == 1


def test_each_unit_counts_for_all_its_frames_of_ten_milliseconds():
    strings = strings_of({"a": "012"}, {"a": "ABABAB"}, taught=True, step=20)
    assert strings.phone.tolist() == [1, 2, 1, 2, 1, 2]
    assert strings.symbol.tolist() == [0, 0, 1, 1, 2, 2]
    assert discovery_figures(strings)["pnmi_with_silence"] == pytest.approx(0, abs=1e-12)
    faster = strings_of({"a": "01234"}, {"a": "AB"}, taught=True, step=4)
    assert faster.symbol.tolist() == [1, 3]  # at the centres, 5 and 15 ms


def test_boundaries_are_at_the_edges_of_units_of_any_step():
    taught = ({"t": "01"}, {"t": "A" * 16 + "B" * 16})
    strings = strings_of({"a": "001"}, {"a": "A" * 32 + "B" * 16}, taught=taught, step=160)
    assert (strings.counts["hits"], strings.counts["found"]) == ([1], [1])
    late = strings_of({"a": "001"}, {"a": "A" * 29 + "B" * 19}, taught=taught, step=160)
    assert (late.counts["hits"], late.counts["found"]) == ([0], [1])


def test_what_goes_on_for_more_than_one_unit_is_cut():
    taught = ({"t": "01"}, {"t": "AB"})
    assert strings_of({"a": "0010"}, {"a": "AAB"}, taught=taught).counts["edits"] == [1]
    assert strings_of({"a": "00101010"}, {"a": "AAB"}, taught=taught).counts["edits"] == [1]
    assert strings_of({"a": "001"}, {"a": "AABA"}, taught=taught).counts["edits"] == [1]
    assert strings_of({"a": "001"}, {"a": "AABABAB"}, taught=taught).counts["phones"] == [3]


def test_ties_go_to_the_phone_that_is_most_frequent_of_all():
    counts = np.array([[1, 0, 1, 0], [1, 3, 1, 0], [0, 0, 2, 0]])
    assert phones_of_units(counts).tolist() == [1, 1, 2, 1]


def test_without_other_units_each_half_is_read_by_what_the_other_taught():
    units = {"a": "01", "b": "0011", "c": "10", "d": "0111"}
    phones = {"a": "AB", "b": "BBAA", "c": "BA", "d": "BAAA"}
    strings = strings_of(units, phones)
    assert strings.counts["edits"].tolist() == [2, 2, 2, 2]
    assert strings_of({"a": "01", "b": "01"}, {"a": "AB", "b": "AB"}).counts["edits"].tolist() == [0, 0]


def test_what_nothing_teaches_is_not_a_number_but_the_information_is():
    result = score_of({"a": "01"}, {"a": "AB"})
    assert {name for name, value in result.items() if math.isnan(value)} == FIGURES - {"pnmi_with_silence"}
    assert result["pnmi_with_silence"] == 1
    assert all(math.isnan(value) for value in score_of({"a": "01"}, {"a": ""}).values())
    with pytest.raises(UserError, match="none of its 1 utterances"):
        score_of({"a": "01"}, {"b": "AB"})


def test_one_to_one_needs_as_many_units_as_phones_with_silence():
    units, phones = {"a": "0000112"}, {"a": "_AAAAB_"}
    assert score_of(units, phones, taught=True, codebook_size=4).keys() == FIGURES
    assert score_of(units, phones, taught=True, codebook_size=2).keys() == FIGURES
    assert score_of({"a": "0123"}, {"a": "_AAB"}, taught=True, codebook_size=3).keys() == FIGURES  # 3 is no such unit
    result = score_of(units, phones, taught=True, codebook_size=3)
    # 0 is A (3 frames), and then 1 is B and 2 silence (2 frames), although 1 alone could be A too: A B _ for _ A B _
    assert result["phone_error_rate_one_to_one"] == 1 / 4
    assert result["phone_error_rate"] == 2 / 4  # A _
    groups = phone_strings(
        {"a": np.array([[0, 1, 2], [0, 1, 2]])}, {"a": phones_of("_AB")}, frame_rate=100, codebook_size=3
    )
    assert "edits_one_to_one" not in groups.counts


def test_groups_make_one_unit_of_the_tuple():
    codes = {"a": np.array([[0, 0, 1, 1], [0, 1, 0, 1]])}
    alignment = {"a": phones_of("ABBA")}
    strings = phone_strings(codes, alignment, frame_rate=100, codebook_size=2, mapping=(codes, alignment))
    assert discovery_figures(strings)["phone_error_rate"] == 0


@given(st.lists(st.integers(0, 5), min_size=9, max_size=9))
def test_units_of_their_own_phone_are_chosen_for_the_most_frames(entries):
    counts = np.array(entries).reshape(3, 3)
    pairs = [("abc"[y], z) for y in range(3) for z in range(3) for _ in range(counts[y, z])]
    chosen = phones_one_to_one(counts)
    assert sorted(chosen) == [0, 1, 2]
    assert counts[chosen, range(3)].sum() == reference.naive_best_permutation(pairs, list("abc"))


runs = st.lists(st.tuples(st.sampled_from("ABC_"), st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=6)


@given(st.lists(runs, min_size=1, max_size=3), st.lists(runs, min_size=1, max_size=2), st.sampled_from([10, 20]))
def test_every_figure_equals_the_naive_one_on_random_input(scored, teaching, step):
    """A run is a phone for 20, 40 or 60 ms, of which the last unit says the next number."""

    def texts(utterances, name):
        phones = {f"{name}{n}": "".join(y * 2 * k for y, _, k in runs) for n, runs in enumerate(utterances)}
        units = {
            f"{name}{n}": "".join((str(z) * (20 // step * k - 1)) + str(z + 1) for _, z, k in runs)
            for n, runs in enumerate(utterances)
        }
        return units, phones

    def pairs_of(units, phones):
        return [(y, int(units[utt][n * 10 // step])) for utt in units for n, y in enumerate(phones[utt])]

    (units, phones), taught = texts(scored, "a"), texts(teaching, "t")
    reading = reference.naive_reading(pairs_of(*taught))
    edits = length = hits = found = true = 0
    for utt in units:
        heard = [reading.get(int(unit), reading[None]) for unit in units[utt]]
        said, merged = ([y for y, _ in groupby(string)] for string in (phones[utt], heard))
        edits, length = edits + reference.edit_distance(merged, said), length + len(said)
        changes = [
            [width * n for n in range(1, len(string)) if string[n] != string[n - 1]]
            for string, width in ((heard, step), (phones[utt], 10))
        ]
        hits += reference.naive_region_hits(*changes, 20)
        found, true = found + len(changes[0]), true + len(changes[1])
    result = score_of(units, phones, taught=taught, step=step)
    assert result["phone_error_rate"] == edits / length
    if true:
        assert result["mapped_boundary_f1"] == pytest.approx(2 * hits / (found + true))
        assert result["mapped_r_value"] == pytest.approx(r_value(hits / true, found / true - 1))
    if len({y for y, _ in pairs_of(units, phones)}) > 1:
        expected = reference.purities_and_pnmi(pairs_of(units, phones))[2]
        assert result["pnmi_with_silence"] == pytest.approx(expected, abs=1e-12)


@pytest.fixture
def corpus():
    """Eight utterances of four speakers; units and phones, as strings, are random but related."""
    random = np.random.default_rng(0)
    units, phones = {}, {}
    for n in range(8):
        said = np.repeat(random.integers(0, 3, 20), random.integers(3, 9, 20))
        noise = random.random(len(said)) < 0.05 + 0.1 * (n % 4)
        phones[f"u{n}"] = "".join("_AB"[phone] for phone in said)
        units[f"u{n}"] = "".join(map(str, np.where(noise, random.integers(0, 3, len(said)), said)))
    return units, phones, {f"u{n}": f"s{n // 2}" for n in range(8)}


def test_a_draw_gives_the_figures_of_the_corpus_that_was_drawn(corpus, monkeypatch):
    units, phones, speakers = corpus
    taught = ({"t": "012"}, {"t": "_AB"})
    weights = np.array([[2.0, 0, 1, 1], [0, 0, 0, 4]])
    monkeypatch.setattr(bootstrap, "draw_speakers", lambda *_, **__: weights)
    seen = []
    monkeypatch.setattr(bootstrap, "interval", lambda *values: seen.append(values) or [0.0, 0.0])
    strings = strings_of(units, phones, taught=taught, codebook_size=3)
    names = list(string_intervals(strings, [speakers[utt] for utt in strings.utts]))
    assert set(names) == FIGURES | {"phone_error_rate_one_to_one"}
    for n, draw in enumerate(weights):
        copies = [(f"{utt}.{k}", utt) for utt in units for k in range(int(draw[int(speakers[utt][1])]))]
        drawn = [{copy: table[utt] for copy, utt in copies} for table in (units, phones)]
        expected = score_of(*drawn, taught=taught, codebook_size=3)
        assert [values[n] for values, _, _ in seen] == pytest.approx([expected[name] for name in names])
    whole = discovery_figures(strings)
    assert [figure for _, figure, _ in seen] == pytest.approx([whole[name] for name in names])


def test_intervals_hold_their_figures_and_need_speakers_and_frames(corpus):
    units, phones, speakers = corpus
    strings = strings_of(units, phones)
    result = discovery_figures(strings)
    intervals = string_intervals(strings, [speakers[utt] for utt in strings.utts])
    assert intervals.keys() == FIGURES
    for name, (low, high) in intervals.items():
        assert low < result[name] < high
    assert string_intervals(strings, ["s", "t"] * 4) == {}
    few = strings_of({utt: u[:3] for utt, u in units.items()}, {utt: p[:3] for utt, p in phones.items()})
    assert string_intervals(few, few.utts) == {}


def test_error_rates_and_r_values_may_leave_the_bounds_of_shares():
    units = {f"u{n}": "01" * (9 + n) for n in range(4)}
    phones = {utt: "A" * len(u) + "B" for utt, u in units.items()}
    strings = strings_of(units, phones, taught=({"t": "01"}, {"t": "AB"}))
    intervals = string_intervals(strings, strings.utts)
    assert intervals["phone_error_rate"][0] > 5
    assert intervals["mapped_r_value"][1] < -5


def test_all_figures_of_units_include_these_with_the_mapping_that_is_given(corpus):
    units, phones, speakers = corpus
    tables = {utt: codes_of(u) for utt, u in units.items()}, {utt: phones_of(p) for utt, p in phones.items()}
    settings = {"frame_rate": 100.0, "codebook_size": 3}
    mapping = ({"t": codes_of("021")}, {"t": phones_of("_AB")})
    result = figures(*tables, **settings, speakers=speakers, mapping=mapping)
    expected = score_of(units, phones, taught=({"t": "021"}, {"t": "_AB"}), codebook_size=3)
    assert expected.items() <= result.items()
    assert expected["phone_error_rate"] > score_of(units, phones)["phone_error_rate"]
    assert result["intervals"].keys() >= expected.keys()
