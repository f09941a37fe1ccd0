from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from vqaudio.metrics.word_error import WordErrors, normalise, word_errors

WORDS = st.lists(st.sampled_from("abc"), max_size=5)


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS)
def test_errors_are_those_of_the_best_of_all_alignments(words, heard):
    found = word_errors(words, heard)
    assert found[:3] == reference.word_alignment(words, heard)
    assert found.words == len(words)


def test_each_kind_of_error_is_counted_as_itself():
    words = ["she", "sells", "sea", "shells"]
    assert word_errors(words, words) == WordErrors(0, 0, 0, 4)
    assert word_errors(words, ["she", "sells", "see", "shells"]) == WordErrors(1, 0, 0, 4)
    assert word_errors(words, ["she", "sea", "shells"]) == WordErrors(0, 1, 0, 4)
    assert word_errors(words, ["she", "sells", "the", "sea", "shells"]) == WordErrors(0, 0, 1, 4)
    assert word_errors([], ["noise"]) == WordErrors(0, 0, 1, 0)


def test_more_errors_than_words_are_counted_all():
    assert word_errors(["a"], list("bcd")) == WordErrors(1, 0, 2, 1)
    assert word_errors(["a"], list("bcd")).errors == 3


def test_of_two_best_alignments_the_one_with_a_word_right_counts():
    assert word_errors(["a", "b"], ["b", "c"]) == WordErrors(0, 1, 1, 2)


def test_case_and_punctuation_do_not_count_and_apostrophes_inside_words_do():
    assert normalise(" “Don’t,” he said — well-known: 'Yes'! ") == ["don't", "he", "said", "well", "known", "yes"]
    assert normalise("ÉTÉ Straße 3.5") == ["été", "strasse", "3", "5"]
    assert normalise("… — '") == []


def test_a_letter_and_its_accent_written_apart_are_the_letter_with_the_accent():
    assert normalise("e\u0301te\u0301") == normalise("été")
    assert normalise("हिन्दी") == ["हिन्दी"]
