"""The rules by which utterances come into sets: nothing leaks, nothing depends on order or chance."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.corpora import splits
from vqaudio.errors import UserError

COMMITTED = Path(__file__).parent.parent / "recipes" / "vctk" / "splits" / "unseen_speakers.txt"


def corpus(speakers: int, utterances: int, parallel: bool = False) -> tuple[dict[str, str], dict[str, str]]:
    speaker_of = {f"p{s:03d}_{u:03d}": f"p{s:03d}" for s in range(speakers) for u in range(utterances)}
    text = {utt: f"Sentence {utt[-3:] if parallel else utt}." for utt in speaker_of}
    return speaker_of, text


def sentences(utts: list[str], text: dict[str, str]) -> set[str]:
    return {splits.normalise(text.get(utt, utt)) for utt in utts}


def assert_nothing_leaks(result: splits.Splits, speaker_of: dict[str, str], text: dict[str, str]) -> None:
    sets = result.sets
    placed = [utt for utts in sets.values() for utt in utts] + [utt for utt, _ in result.drops]
    assert sorted(placed) == sorted(speaker_of)
    heard = sentences(sets["train"], text)
    for name in ("dev", "test_seen", "test_unseen"):
        assert not heard & sentences(sets[name], text)
    assert not sentences(sets["dev"], text) & sentences(sets["test_seen"] + sets["test_unseen"], text)
    for name in ("train", "dev", "test_seen"):
        assert not {speaker_of[utt] for utt in sets[name]} & set(result.unseen)
    assert {speaker_of[utt] for utt in sets["test_unseen"]} <= set(result.unseen)
    assert {speaker_of[utt] for utt in sets["test_seen"]} <= {speaker_of[utt] for utt in sets["train"]}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_sentence_and_no_speaker_leaks_whatever_the_corpus(data: st.DataObject) -> None:
    speaker_of, _ = corpus(data.draw(st.integers(2, 6)), data.draw(st.integers(5, 14)))
    text = {utt: data.draw(st.sampled_from(["", *(f"Text  {n}" for n in range(40))]), label=utt) for utt in speaker_of}
    unseen = splits.choose_unseen(set(speaker_of.values()), {})
    try:
        result = splits.make_splits(speaker_of, text, unseen, cap=5, cap_unseen=7)
    except UserError as error:
        assert "would be empty" in str(error)  # noqa: PT017 - either outcome is right
        return
    filled = {utt: text[utt] or utt for utt in speaker_of}
    assert_nothing_leaks(result, speaker_of, filled)
    assert all(result.sets.values())


def test_the_mini_corpus_is_split_as_the_recipe_promises() -> None:
    speaker_of, text = corpus(8, 24)
    gender = {speaker: "mf"[int(speaker[1:]) % 2] for speaker in speaker_of.values()}
    unseen = splits.choose_unseen(gender, gender)
    assert sorted(gender[speaker] for speaker in unseen) == ["f", "m"]
    result = splits.make_splits(speaker_of, text, unseen, cap_unseen=16)
    assert {name: len(utts) for name, utts in result.sets.items()} == {
        "train": 6 * 19,
        "dev": 6 * 2,
        "test_seen": 6 * 3,
        "test_unseen": 16,
    }
    assert_nothing_leaks(result, speaker_of, text)


def test_sets_do_not_depend_on_the_order_of_the_input() -> None:
    speaker_of, text = corpus(10, 12)
    unseen = splits.choose_unseen(set(speaker_of.values()), {})
    backwards = dict(reversed(speaker_of.items()))
    assert splits.choose_unseen(sorted(set(speaker_of.values()), reverse=True), {}) == unseen
    assert splits.make_splits(speaker_of, text, unseen) == splits.make_splits(backwards, text, unseen)


def test_speakers_who_read_the_same_sentences_are_told_apart_by_sentence() -> None:
    speaker_of, text = corpus(10, 40, parallel=True)
    result = splits.make_splits(speaker_of, text, splits.choose_unseen(set(speaker_of.values()), {}))
    assert_nothing_leaks(result, speaker_of, text)
    assert len(result.sets["train"]) == 9 * (40 - 4 - 2)
    assert sentences(result.sets["test_unseen"], text) == sentences(result.sets["test_seen"], text)


def test_case_and_spaces_do_not_make_another_sentence() -> None:
    speaker_of, text = corpus(2, 10)
    text |= {"p001_000": "  SENTENCE   p000_000. "}
    result = splits.make_splits(speaker_of, text, ["p001"], cap_unseen=99)
    assert ("p000_000" in result.sets["train"]) == ("p001_000" not in result.sets["test_unseen"])


def test_test_sets_are_capped_and_the_rest_trains() -> None:
    speaker_of, text = corpus(20, 100)
    result = splits.make_splits(speaker_of, text, ["p000", "p001"], cap=30, cap_unseen=50)
    assert [len(result.sets[name]) for name in splits.SETS] == [18 * 100 - 60, 30, 30, 50]
    assert {reason for _, reason in result.drops} == {"beyond the cap of test_unseen"}


def test_sentences_kept_for_training_are_never_tested() -> None:
    speaker_of, text = corpus(4, 30)
    fixed = [utt for utt in speaker_of if utt[-3:] < "025"]
    result = splits.make_splits(speaker_of, text, ["p003"], train_only=fixed)
    for name in ("dev", "test_seen", "test_unseen"):
        assert all(utt[-3:] >= "025" for utt in result.sets[name])


def test_speakers_with_few_sentences_only_train() -> None:
    speaker_of, text = corpus(3, 20)
    speaker_of |= {"q1_1": "q1", "q1_2": "q1"}
    result = splits.make_splits(speaker_of, text, ["p000"])
    assert {"q1_1", "q1_2"} <= set(result.sets["train"])


def test_a_speaker_who_says_only_test_sentences_is_not_tested_either() -> None:
    speaker_of, text = corpus(2, 60)
    before = splits.make_splits(speaker_of, text, ["p000"])
    held_out = before.sets["test_seen"] + before.sets["dev"]
    text |= {f"p002_{n:03d}": text[utt] for n, utt in enumerate(held_out)}
    speaker_of |= dict.fromkeys((utt for utt in text if utt.startswith("p002")), "p002")
    after = splits.make_splits(speaker_of, text, ["p000"])
    assert after.sets == before.sets
    assert [utt for utt, _ in after.drops] == sorted(utt for utt in text if utt.startswith("p002"))


def test_the_committed_speakers_are_unseen_when_the_corpus_has_them_all() -> None:
    committed = COMMITTED.read_text(encoding="utf-8").split()
    speakers = {f"p{n}" for n in range(225, 377)}
    assert splits.choose_unseen(speakers, {}, committed) == sorted(committed)
    assert splits.choose_unseen(speakers - {committed[0]}, {}, committed) != sorted(committed)
    assert splits.choose_unseen(speakers, {}, committed, named=["p300"]) == ["p300"]


def test_an_unknown_unseen_speaker_is_refused() -> None:
    with pytest.raises(UserError, match="p999 is not in the corpus"):
        splits.choose_unseen(["p225", "p226"], {}, named=["p999"])


def test_nobody_left_for_training_is_refused() -> None:
    with pytest.raises(UserError, match="nobody is left"):
        splits.choose_unseen(["p225"], {})


def test_an_empty_set_is_refused_with_its_name_and_a_cure() -> None:
    speaker_of, text = corpus(3, 4)
    with pytest.raises(UserError, match="dev would be empty: no speaker has five sentences"):
        splits.make_splits(speaker_of, text, ["p000"])
