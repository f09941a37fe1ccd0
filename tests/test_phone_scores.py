import json
import math
from dataclasses import asdict
from itertools import chain, groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from vqaudio.datadir import Phone, write_ctm
from vqaudio.errors import UserError
from vqaudio.files import write_json
from vqaudio.metrics.evaluation import evaluate_units
from vqaudio.metrics.phone_scores import code_statistics, frame_phones, label_frames, phone_figures
from vqaudio.metrics.symbols import SILENCE
from vqaudio.units import UnitsInfo

RATE = 100.0


def phones_of(names: str) -> list[Phone]:
    """One frame a letter; '_' is silence, ' ' a gap."""
    named = {"_": "SIL"}
    return [Phone(n / RATE, 1 / RATE, named.get(c, c)) for n, c in enumerate(names) if c != " "]


def codes_of(digits: str) -> np.ndarray:
    return np.array([[int(d) for d in digits]])


def score(codes, alignment, *, codebook_size, mapping=None) -> dict[str, float]:
    statistics = code_statistics(codes.values(), frame_rate=RATE, codebook_size=codebook_size)
    return statistics | phone_figures(label_frames(codes, alignment, frame_rate=RATE, mapping=mapping))


def score_of(units: dict[str, str], phones: dict[str, str], **kwargs) -> dict[str, float]:
    return score(
        {utt: codes_of(u) for utt, u in units.items()},
        {utt: phones_of(p) for utt, p in phones.items()},
        codebook_size=kwargs.pop("codebook_size", 10),
        **kwargs,
    )


def test_figures_of_a_small_example_match_those_worked_out_by_hand():
    # joint counts: A1 ×3, A2 ×1, B2 ×2, B1 ×2
    result = score_of({"a": "1112", "b": "2211"}, {"a": "AAAA", "b": "BBBB"}, codebook_size=4)
    assert result["phone_purity"] == (3 + 2) / 8
    assert result["cluster_purity"] == (3 + 2) / 8
    mutual = sum(
        p * math.log(p / (0.5 * q)) for p, q in [(3 / 8, 5 / 8), (1 / 8, 3 / 8), (2 / 8, 3 / 8), (2 / 8, 5 / 8)]
    )
    assert result["pnmi"] == pytest.approx(mutual / math.log(2))
    # taught by b, every unit is B, and a has none; taught by a, every unit is A, and b has none
    assert result["mapping_accuracy"] == result["prior_accuracy"] == 0
    assert result["usage"] == 2 / 4
    assert result["codes_used"] == 2
    entropy = -(5 / 8 * math.log2(5 / 8) + 3 / 8 * math.log2(3 / 8))
    assert result["perplexity"] == pytest.approx(2**entropy)
    assert result["bitrate_nominal"] == 100 * 2
    assert result["bitrate_entropy"] == pytest.approx(100 * entropy)
    assert result["bitrate_deduplicated"] == pytest.approx(100 * 4 / 8 * 1)  # 1 2 | 2 1: runs end with utterances


def test_a_frame_takes_the_phone_at_its_centre():
    phones = [Phone(0.0, 0.014, "A"), Phone(0.014, 0.011, "B"), Phone(0.025, 0.005, "C"), Phone(0.05, 0.006, "D")]
    assert frame_phones(phones, 8, RATE).tolist() == ["A", "B", "C", "", "", "D", "", ""]
    assert frame_phones(phones[::-1], 1, RATE).tolist() == ["A"]
    assert frame_phones([], 2, RATE).tolist() == ["", ""]


@pytest.mark.parametrize(
    "name",
    [
        *("", "SIL", "sil", "Sil", "SIL_S", "SPN_B", "sil_E", "NSN_I", "spn_S", "sp", "SP", "oov_S", "silB", "[SIL]"),
        *("<eps>", "<sil>", "<p:>", "<nib>", "+NSN+", "pau", "PAU", "h#", "H#", "_", "#"),
    ],
)
def test_silence_counts_for_usage_and_bitrate_but_not_for_phones(name):
    units = {"a": codes_of("1399")}
    phones = {"a": [Phone(0, 0.01, "A"), Phone(0.01, 0.01, "B"), Phone(0.02, 0.02, name)]}
    result = score(units, phones, codebook_size=10)
    assert (result["frames"], result["frames_scored"], result["codes_used"]) == (4, 2, 3)
    assert result["phone_purity"] == result["pnmi"] == 1


def test_frames_in_gaps_and_beyond_the_alignment_are_dropped():
    result = score_of({"a": "0123456"}, {"a": "A B"})
    assert result["frames_scored"] == 2
    assert result["frames"] == 7


def test_an_alignment_longer_than_the_units_is_cut():
    assert score_of({"a": "01"}, {"a": "ABCDE"})["frames_scored"] == 2


def test_utterances_on_one_side_only_are_counted_and_do_not_shift_the_others():
    alone = score_of({"b": "0011"}, {"b": "AABB"})
    result = score_of({"a": "5555", "b": "0011"}, {"b": "AABB", "c": "AAAA", "d": "AAAA"})
    assert result["utterances"] == 2
    assert result["utterances_scored"] == 1
    assert result["utterances_without_alignment"] == 1
    assert result["utterances_without_units"] == 2
    assert result["pnmi"] == alone["pnmi"] == 1


def test_without_training_units_each_half_is_named_by_the_mapping_of_the_other():
    # Taught by b and d, 0 is A and 1 is B; taught by a and c, 0 is A and 1 is A. 2 is only in c: the prior, A.
    units = {"a": "000", "b": "0011", "c": "1112", "d": "0001"}
    phones = {"a": "AAB", "b": "AABB", "c": "AABA", "d": "AAAB"}
    result = score_of(units, phones)
    right_in_a_and_c = 2 + 2
    right_in_b_and_d = 2 + 3
    assert result["mapping_accuracy"] == (right_in_a_and_c + right_in_b_and_d) / 15
    assert result["prior_accuracy"] == (2 + 2 + 1 + 1 + 1 + 1 + 2) / 15


def test_mapping_is_learned_on_the_training_units_when_they_are_given():
    train = ({"t": codes_of("001112")}, {"t": phones_of("ABBBAC")})
    result = score_of({"a": "0129"}, {"a": "ABCB"}, mapping=train)
    # 0 is a tie of A and B, which A wins; 9 was never seen and takes the most frequent phone, B
    assert result["mapping_accuracy"] == 1
    assert result["prior_accuracy"] == 2 / 4
    assert result["frames_scored"] == 4
    assert result["phone_purity"] == 1


def test_one_utterance_without_training_units_has_no_held_out_accuracy():
    result = score_of({"a": "01"}, {"a": "AB"})
    assert math.isnan(result["mapping_accuracy"])
    assert math.isnan(result["prior_accuracy"])


def test_phones_that_only_end_in_a_place_of_the_word_are_not_silence():
    assert not {"AH0_B", "B_I", "S_S", "s", "P", "I", "n", "p"} & set(SILENCE)


def test_a_half_without_frames_has_no_held_out_accuracy_and_the_file_says_null(tmp_path):
    result = score_of({"a": "01", "b": "01", "c": "10"}, {"a": "AB", "b": "", "c": "BA"})
    write_json(tmp_path / "scores.json", result)
    assert json.loads((tmp_path / "scores.json").read_text())["mapping_accuracy"] is None
    assert result["pnmi"] == 1


def test_pnmi_of_a_single_phone_is_not_a_number():
    assert math.isnan(score_of({"a": "01"}, {"a": "AA"})["pnmi"])


def test_groups_make_one_symbol_of_the_tuple():
    # Neither group alone tells A from B (exclusive or); both together do.
    units = {"a": np.array([[0, 0, 1, 1], [0, 1, 0, 1]])}
    result = score(units, {"a": phones_of("ABBA")}, codebook_size=4)
    assert result["pnmi"] == pytest.approx(1)
    assert result["perplexity"] == pytest.approx(4)
    assert result["bitrate_nominal"] == 100 * 2 * 2
    assert result["bitrate_entropy"] == pytest.approx(200)
    assert result["codes_used"] == 4
    assert result["usage"] == 4 / 8


def test_repeats_across_utterances_are_not_merged():
    one = code_statistics([codes_of("0110")], frame_rate=RATE, codebook_size=2)
    two = code_statistics([codes_of("01"), codes_of("10")], frame_rate=RATE, codebook_size=2)
    assert one["bitrate_deduplicated"] == pytest.approx(100 * 3 / 4 * reference.bits_per_symbol([0, 1, 0]))
    assert two["bitrate_deduplicated"] == pytest.approx(100)


def test_a_constant_unit_costs_nothing():
    result = code_statistics([codes_of("777")], frame_rate=50, codebook_size=256)
    assert (result["perplexity"], result["bitrate_entropy"], result["bitrate_deduplicated"]) == (1, 0, 0)
    assert result["bitrate_nominal"] == 400


frames = st.lists(st.tuples(st.sampled_from("ABC_"), st.integers(0, 5)), min_size=1, max_size=12)


@given(st.lists(frames, min_size=2, max_size=5))
def test_every_figure_equals_the_naive_one_on_random_input(utterances):
    kept = [[(y, z) for y, z in utterance if y != "_"] for utterance in utterances]
    units = {f"u{n}": "".join(str(z) for _, z in u) for n, u in enumerate(utterances)}
    phones = {f"u{n}": "".join(y for y, _ in u) for n, u in enumerate(utterances)}
    pairs = list(chain(*kept))
    if len({y for y, _ in pairs}) < 2:
        return
    result = score_of(units, phones)
    expected = reference.purities_and_pnmi(pairs)
    assert [result[k] for k in ("phone_purity", "cluster_purity", "pnmi")] == pytest.approx(expected)
    even, odd = list(chain(*kept[::2])), list(chain(*kept[1::2]))
    if even and odd:
        a, b = reference.mapping_and_prior_accuracy(even, odd), reference.mapping_and_prior_accuracy(odd, even)
        for name, of_odd, of_even in zip(("mapping_accuracy", "prior_accuracy"), a, b, strict=True):
            assert result[name] == pytest.approx((of_odd * len(odd) + of_even * len(even)) / len(pairs))
    symbols = [z for utterance in utterances for _, z in utterance]
    runs = [z for u in utterances for n, (_, z) in enumerate(u) if n == 0 or u[n - 1][1] != z]
    bits = reference.bits_per_symbol(symbols)
    assert result["bitrate_entropy"] == pytest.approx(RATE * bits, abs=1e-9)
    deduplicated = RATE * len(runs) / len(symbols) * reference.bits_per_symbol(runs)
    assert result["bitrate_deduplicated"] == pytest.approx(deduplicated, abs=1e-9)
    assert result["perplexity"] == pytest.approx(2**bits)


@given(frames, st.permutations(range(6)))
def test_new_numbers_for_the_units_change_nothing(utterance, order):
    phones = {"a": "ABC" + "".join(y for y, _ in utterance)}
    units = [0, 1, 2] + [z for _, z in utterance]
    first = score_of({"a": "".join(map(str, units))}, phones)
    second = score_of({"a": "".join(str(order[z]) for z in units)}, phones)
    assert first == pytest.approx(second, nan_ok=True)


@given(frames)
def test_shares_stay_between_their_bounds(utterance):
    phones = "ABC" + "".join(y for y, _ in utterance)
    result = score_of({"a": "012" + "".join(str(z) for _, z in utterance)}, {"a": phones})
    spoken = phones.replace("_", "")
    assert max(map(spoken.count, "ABC")) / len(spoken) <= result["phone_purity"] <= 1
    assert 0 < result["cluster_purity"] <= 1
    assert 0 <= result["pnmi"] <= 1


def test_independent_units_tell_nothing():
    assert score_of({"a": "0011"}, {"a": "ABAB"})["pnmi"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("units", "phones", "message"),
    [
        ({"a": "01"}, {"b": "AB"}, "none of its 1 utterances is among the 1 of the alignment"),
        ({"a": "01"}, {"a": "__"}, "no frame is in a phone other than silence"),
        ({}, {"a": "AB"}, "no utterance has a unit"),
    ],
)
def test_nothing_to_score_is_an_error(units, phones, message):
    with pytest.raises(UserError, match=message):
        score_of(units, phones)


def test_scored_utterances_may_not_teach_the_mapping():
    train = ({"a": codes_of("01"), "t": codes_of("01")}, {"a": phones_of("AB"), "t": phones_of("AB")})
    with pytest.raises(UserError, match="1 utterances, such as a, also teach the mapping"):
        score_of({"a": "01"}, {"a": "AB"}, mapping=train)


def write(directory, units: dict[str, str], *, deduplicated=False):
    """Write a unit directory of one group, K = 10, at 100 Hz."""
    runs = {utt: [(u, len(list(g))) for u, g in groupby(units[utt])] for utt in sorted(units)}
    if not deduplicated:
        runs = {utt: [(u, 1) for u in units[utt]] for utt in sorted(units)}
    directory.mkdir()
    for name, value in {
        "units.txt": lambda run: " ".join(u for u, _ in run),
        "durations.txt": lambda run: " ".join(str(d) for _, d in run),
        "utt2num_units": len,
    }.items():
        if deduplicated or name != "durations.txt":
            (directory / name).write_text("".join(f"{utt} {value(run)}\n" for utt, run in runs.items()))
    num_frames = sum(map(len, units.values()))
    info = UnitsInfo(16000, 160, 100.0, 10, 1, deduplicated, "hash", "0", len(units), num_frames)
    (directory / "units.json").write_text(json.dumps(asdict(info)))
    return directory


def test_unit_directories_are_scored_the_same_deduplicated_or_not(tmp_path):
    units = {"a": "00011", "b": "0111"}
    phones = {"a": phones_of("AAABB"), "b": phones_of("AABB")}
    write_ctm(tmp_path / "phones.ctm", phones)
    plain = evaluate_units(write(tmp_path / "plain", units), tmp_path / "phones.ctm")
    merged = evaluate_units(write(tmp_path / "merged", units, deduplicated=True), tmp_path / "phones.ctm")
    assert plain == merged
    figures = score_of(units, {"a": "AAABB", "b": "AABB"})
    assert figures.items() <= plain.items()


def test_the_mapping_may_come_from_another_directory_and_alignment(tmp_path):
    write_ctm(tmp_path / "test.ctm", {"a": phones_of("AB")})
    write_ctm(tmp_path / "train.ctm", {"t": phones_of("BA")})
    result = evaluate_units(
        write(tmp_path / "test", {"a": "01"}),
        tmp_path / "test.ctm",
        mapping_units=write(tmp_path / "train", {"t": "01"}),
        mapping_alignment=tmp_path / "train.ctm",
    )
    assert result["mapping_accuracy"] == 0
    assert result["pnmi"] == 1


def test_the_error_names_the_unit_directory(tmp_path):
    write_ctm(tmp_path / "phones.ctm", {"b": phones_of("AB")})
    with pytest.raises(UserError, match=f"{tmp_path / 'units'}: none"):
        evaluate_units(write(tmp_path / "units", {"a": "01"}), tmp_path / "phones.ctm")
