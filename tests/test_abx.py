import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from vqaudio.datadir import Phone
from vqaudio.errors import UserError
from vqaudio.metrics import abx as module
from vqaudio.metrics import abx_cells
from vqaudio.metrics.abx import average, make_frames, speaker_errors
from vqaudio.metrics.abx_cells import make_cells

RATE = 100.0


def abx(features, alignment, speakers, *, task, distance="angular", codebook=None, seed=0) -> dict[str, float]:
    """The errors of features (N, D) or codes (G, N), as the evaluation of units computes them."""
    lengths = {utt: x.shape[1] if np.issubdtype(x.dtype, np.integer) else len(x) for utt, x in features.items()}
    cells = make_cells(lengths, alignment, speakers, frame_rate=RATE, task=task, seed=seed)
    frames = make_frames([features[utt] for utt in sorted(features.keys() & alignment.keys())], distance, codebook)
    return {
        "abx_within": average(speaker_errors(cells, cells.within, frames)),
        "abx_across": average(speaker_errors(cells, cells.across, frames)),
    }


def phones_of(names: str, frames: int = 2) -> list[Phone]:
    """A letter is a phone of `frames` frames; '_' is silence. All are moved by half a frame, to the published grid."""
    lasting = frames / RATE
    return [Phone(0.005 + n * lasting, lasting, "SIL" if c == "_" else c) for n, c in enumerate(names)]


def features_of(values: list[float]) -> np.ndarray:
    """Unit vectors whose angles, in half turns, are the values: distances are differences of values."""
    return np.stack([np.cos(np.pi * np.array(values)), np.sin(np.pi * np.array(values))], axis=1)


def test_a_small_example_is_what_it_is_by_hand():
    # One frame a phone, all between two X. Speaker s: A at .1 and .2, B at .5; speaker t: A at .4.
    features = {"s1": features_of([0.9, 0.1, 0.9, 0.2, 0.9, 0.5, 0.9]), "t1": features_of([0.9, 0.4, 0.9])}
    alignment = {"s1": phones_of("XAXAXBX", 1), "t1": phones_of("XAX", 1)}
    result = abx(features, alignment, {"s1": "s", "t1": "t"}, task="phone")
    # within, (A, B): X .1: A .1, B .4 away; X .2: A .1, B .3. Both right. (B, A) has no second B.
    assert result["abx_within"] == 0
    # across, (A, B): X .4 is .3 and .2 from the As, .1 from B: both wrong.
    assert result["abx_across"] == 1


def test_equal_distances_are_half_an_error():
    units = {"u": np.array([[9, 1, 9, 1, 9, 1, 9, 2, 9]])}
    result = abx(units, {"u": phones_of("XAXAXBXCX", 1)}, {"u": "s"}, task="phone", distance="identical")
    assert result["abx_within"] == (0.5 + 0) / 2  # (A, B) cannot be told apart, (A, C) can
    assert math.isnan(result["abx_across"])


def test_frames_of_a_token_are_those_of_the_published_formula():
    def tokens_of(start: float, duration: float, frames: int) -> list[list[int]]:
        end = start + duration
        phones = [Phone(start - 0.01, 0.01, "X"), Phone(start, duration, "A"), Phone(end, 0.01, "X")]
        cells = make_cells({"u": frames}, {"u": phones}, {"u": "s"}, frame_rate=100, task="phone", seed=0)
        return cells.tokens.tolist()

    # on = .014: ceil(1.4 - .5) = 1; off = .046: floor(4.6 - .5) = 4
    assert tokens_of(0.014, 0.032, 9) == [[1, 4]]
    assert tokens_of(0.014, 0.032, 3) == [[1, 3]]
    # 100 · .285 is 28.499999999999996 in floating point, and still begins with frame 28
    assert tokens_of(0.285, 0.1, 99) == [[28, 38]]


def test_triphones_cover_their_neighbours_and_phones_do_not():
    alignment = {"u": phones_of("BAC", 3), "v": phones_of("BAD", 3)}
    lengths, speakers = {"u": 9, "v": 9}, {"u": "s", "v": "s"}
    for task, tokens in (("triphone", [[0, 9], [9, 18]]), ("phone", [[3, 6], [12, 15]])):
        cells = make_cells(lengths, alignment, speakers, frame_rate=RATE, task=task, seed=0)
        assert cells.tokens.tolist() == tokens


def test_silence_and_gaps_make_no_token_and_no_context():
    gap = [Phone(0.005, 0.02, "A"), Phone(0.025, 0.02, "B"), Phone(0.055, 0.02, "C")]
    alignment = {"u": phones_of("_ABCD_"), "v": gap}
    lengths, speakers = {"u": 12, "v": 12}, {"u": "s", "v": "s"}
    cells = make_cells(lengths, alignment, speakers, frame_rate=RATE, task="phone", seed=0)
    assert sorted(cells.tokens.tolist()) == [[4, 6], [6, 8]]  # B and C of u: A and D have silence next to them


letters = st.text("AB_C", min_size=3, max_size=10)


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(letters, min_size=1, max_size=5),
    task=st.sampled_from(["triphone", "phone"]),
    distance=st.sampled_from(["angular", "identical", "edit"]),
    groups=st.integers(1, 2),
    data=st.data(),
)
def test_errors_are_those_of_the_definition(texts, task, distance, groups, data):
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    alignment = {f"u{n}": phones_of(text, int(random.integers(1, 4))) for n, text in enumerate(texts)}
    speakers = {utt: data.draw(st.sampled_from(["s", "t", "r"])) for utt in alignment}
    lengths = {utt: int(random.integers(1, 3 * len(phones) + 1)) for utt, phones in alignment.items()}
    codes = {utt: random.integers(0, 3, (groups, N)) for utt, N in lengths.items()}
    codebook = random.standard_normal((groups, 3, 2))
    words = {utt: np.concatenate([b[k] for b, k in zip(codebook, c, strict=True)], 1) for utt, c in codes.items()}
    words = {utt: w / np.linalg.norm(w, axis=1, keepdims=True) for utt, w in words.items()}

    def token_distance(x, y):
        (utt_x, _, _, frames_x), (utt_y, _, _, frames_y) = x, y
        symbols_x, symbols_y = ([tuple(codes[u][:, n]) for n in f] for u, f in ((utt_x, frames_x), (utt_y, frames_y)))
        if distance == "edit":
            runs_x, runs_y = ([s for s, _ in reference.deduplicate_slowly(z)] for z in (symbols_x, symbols_y))
            return reference.edit_distance(runs_x, runs_y) / max(len(runs_x), len(runs_y))
        if distance == "identical":
            return reference.warped_cost(np.array([[float(p != q) for q in symbols_y] for p in symbols_x]))
        angles = np.arccos(np.clip(words[utt_x][frames_x] @ words[utt_y][frames_y].T, -1, 1)) / np.pi
        return reference.warped_cost(np.where(angles < 1e-6, 0, angles.astype(np.float32)))

    tokens = reference.abx_tokens(alignment, lengths, RATE, task)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(abx_cells, "MAX_TOKENS", 99)  # the definition draws no sample
        result = abx(codes, alignment, speakers, task=task, distance=distance, codebook=codebook)
    for key, across in [("abx_within", False), ("abx_across", True)]:
        expected = reference.abx_error(tokens, speakers, token_distance, across)
        assert result[key] == pytest.approx(expected, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("task", ["triphone", "phone"])
def test_continuous_features_match_the_definition_exactly(task, monkeypatch):
    random = np.random.default_rng(3)
    alignment = {f"u{n}": phones_of("AABBABACABBCA", 3) for n in range(3)}
    speakers = {utt: "sst"[n % 3] for n, utt in enumerate(alignment)}
    features = {utt: random.standard_normal((39, 5)).astype(np.float32) for utt in alignment}

    def token_distance(x, y):
        units = [features[utt][frames].astype(float) for utt, _, _, frames in (x, y)]
        units = [u / np.linalg.norm(u, axis=1, keepdims=True) for u in units]
        return reference.warped_cost(np.arccos(np.clip(units[0] @ units[1].T, -1, 1)) / np.pi)

    tokens = reference.abx_tokens(alignment, dict.fromkeys(alignment, 39), RATE, task)
    monkeypatch.setattr(abx_cells, "MAX_TOKENS", 99)
    result = abx(features, alignment, speakers, task=task)
    assert result["abx_within"] == pytest.approx(reference.abx_error(tokens, speakers, token_distance, False))
    assert result["abx_across"] == pytest.approx(reference.abx_error(tokens, speakers, token_distance, True))
    assert 0 < result["abx_across"] < 1


def test_codewords_by_table_equal_codewords_as_features(monkeypatch):
    random = np.random.default_rng(0)
    alignment = {f"u{n}": phones_of("ABCADCABCADCA", 3) for n in range(6)}
    speakers = {utt: "st"[n % 2] for n, utt in enumerate(alignment)}
    codes = {utt: random.integers(0, 16, (2, 39)) for utt in alignment}
    codebook = random.standard_normal((2, 16, 3))
    by_table = abx(codes, alignment, speakers, codebook=codebook, task="phone")
    monkeypatch.setattr(module, "MAX_TABLE_SYMBOLS", 0)
    as_features = abx(codes, alignment, speakers, codebook=codebook, task="phone")
    assert 0 < by_table["abx_across"] < 1
    assert as_features == pytest.approx(by_table, abs=1e-3)


def test_at_most_ten_tokens_and_five_speakers_of_x_are_drawn():
    alignment = {f"s{n}": phones_of("XA" * 12 + "XB" * 12 + "X", 1) for n in range(8)}
    lengths, speakers = dict.fromkeys(alignment, 49), {utt: utt for utt in alignment}
    cells = make_cells(lengths, alignment, speakers, frame_rate=RATE, task="phone", seed=0)
    of_a_and_b = cells.group_phone < cells.phones.index("X")
    assert (cells.groups[of_a_and_b, 1] - cells.groups[of_a_and_b, 0]).tolist() == [10] * 8 * 2
    assert cells.comparisons(cells.within) == 8 * 2 * 10 * 9 * 10
    assert cells.comparisons(cells.across) == 8 * 2 * 5 * 10 * 10 * 10
    x, a = cells.across[:, 0], cells.across[:, 1]
    assert (cells.group_speaker[x] != cells.group_speaker[a]).all()
    assert (cells.group_phone[x] == cells.group_phone[a]).all()
    assert len({tuple(pair) for pair in zip(x.tolist(), a.tolist(), strict=True)}) == 8 * 2 * 5


def test_the_seed_draws_the_tokens():
    alignment = {f"s{n}": phones_of("XA" * 20 + "XB" * 20 + "X", 1) for n in range(2)}
    features = {utt: np.random.default_rng(n).standard_normal((81, 4)) for n, utt in enumerate(alignment)}
    figures = [abx(features, alignment, {u: u for u in alignment}, task="phone", seed=s) for s in (0, 0, 1)]
    assert figures[0] == figures[1] != figures[2]


def test_random_units_are_at_chance_and_units_that_are_the_phones_are_right():
    random = np.random.default_rng(0)
    texts = ["".join(random.choice([*"ABC"], 60)) for _ in range(8)]
    alignment = {f"u{n}": phones_of(text, 4) for n, text in enumerate(texts)}
    speakers = {utt: "st"[n % 2] for n, utt in enumerate(alignment)}
    perfect = {f"u{n}": np.repeat([["ABC".index(c) for c in text]], 4, axis=1) for n, text in enumerate(texts)}
    noise = {utt: random.integers(0, 64, codes.shape) for utt, codes in perfect.items()}
    for distance, task in [("identical", "phone"), ("edit", "phone")]:
        right = abx(perfect, alignment, speakers, task=task, distance=distance)
        chance = abx(noise, alignment, speakers, task=task, distance=distance)
        assert right == {"abx_within": 0, "abx_across": 0}
        assert 0.4 < chance["abx_across"] < 0.6


def test_no_cell_is_not_a_number():
    result = abx({"u": np.ones((4, 2))}, {"u": phones_of("_")}, {"u": "s"}, task="triphone")
    assert math.isnan(result["abx_within"])
    assert math.isnan(result["abx_across"])


def test_a_zero_vector_is_half_a_turn_away_from_everything():
    frames = make_frames([np.array([[0, 1]])], "angular", np.array([[[0.0, 0.0], [1.0, 0.0]]]))
    assert frames.table.tolist() == [[0.5, 0.5], [0.5, 0.0]]


def test_speakers_count_equally_however_many_contexts_they_have():
    errors = np.full((2, 2, 2), np.nan)
    errors[0, 0, 1], errors[1, 0, 1], errors[1, 1, 0] = 0.2, 0.4, 0.8
    assert average(errors) == pytest.approx((0.3 + 0.8) / 2)


def test_errors_are_kept_by_speaker():
    units = {"u": np.array([[9, 1, 9, 1, 9, 2, 9]]), "v": np.array([[9, 1, 9, 1, 9, 1, 9]])}
    alignment = dict.fromkeys(units, phones_of("XAXAXBX", 1))
    cells = make_cells({"u": 7, "v": 7}, alignment, {"u": "s", "v": "t"}, frame_rate=RATE, task="phone", seed=0)
    errors = speaker_errors(cells, cells.within, make_frames([units["u"], units["v"]], "identical"))
    assert errors[:, 0, 1].tolist() == [0, 0.5]
    assert np.isnan(errors[:, 1, 0]).all()


def test_a_missing_speaker_or_no_common_utterance_is_an_error():
    with pytest.raises(UserError, match="1 utterances have no speaker, such as u"):
        abx({"u": np.ones((4, 2))}, {"u": phones_of("AB")}, {}, task="phone")
    with pytest.raises(UserError, match="none of 1 utterances is in the alignment"):
        abx({"u": np.ones((4, 2))}, {"v": phones_of("AB")}, {"u": "s"}, task="phone")
