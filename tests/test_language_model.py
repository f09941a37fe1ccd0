"""N-gram models of units: their probabilities, their ARPA files, and units that are sampled from them."""

import dataclasses
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from reference import naive_kneser_ney, read_arpa
from tiny_model import save_tiny_model

import vqaudio
from vqaudio.cli import main
from vqaudio.errors import UserError
from vqaudio.outputs import MARK
from vqaudio.units import UnitsInfo, read_units
from vqaudio.units import language_model as lm
from vqaudio.units.arpa import read, write
from vqaudio.units.ngrams import BEGIN, UNKNOWN, Counter, Vocabulary
from vqaudio.units.writer import write_units

SENTENCES = [[0, 1, 1, 2, 0], [1, 1, 2], [0, 1, 2, 2, 2, 3], [3], [0, 1, 1, 2, 0], [2, 0, 1]]
K = 5  # unit 4 never occurs


def make_units(
    folder: Path, sentences=SENTENCES, *, size: int = K, deduplicated: bool = False, groups: int = 1
) -> Path:
    """Write utterances of units, or of (G,) frames."""
    settings = UnitsInfo.of(
        sample_rate=8000,
        hop_length=80,
        codebook_size=size,
        groups=groups,
        deduplicated=deduplicated,
        model_hash="a" * 64,
    )
    records = ((f"u{i:02d}", np.array(s, dtype=np.int64).reshape(len(s), groups).T) for i, s in enumerate(sentences))
    write_units(folder, settings, records, [])
    return folder


def words(sentences) -> list[list[str]]:
    return [list(map(str, sentence)) for sentence in sentences]


def vocabulary_of(model: lm.LanguageModel) -> list[str]:
    return model.vocabulary.words[1:]  # all but <s>


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_are_those_of_the_definition(tmp_path, order):
    model = lm.fit(make_units(tmp_path / "units"), order, False)
    oracle = naive_kneser_ney(words(SENTENCES), vocabulary_of(model), order)
    for sentence in words([*SENTENCES, [4, 4, 1, 3, 2, 1, 0]]):
        tokens = np.array([model.vocabulary.words.index(word) for word in ["<s>", *sentence, "</s>"]])
        expected = [oracle(word, ("<s>", *sentence[:i])) for i, word in enumerate([*sentence, "</s>"])]
        np.testing.assert_allclose(model.probabilities(tokens), expected, rtol=1e-12)


def test_probabilities_after_every_context_sum_to_1(tmp_path):
    model = lm.fit(make_units(tmp_path / "units"), 3, False)
    oracle = naive_kneser_ney(words(SENTENCES), vocabulary_of(model), 3)
    names = model.vocabulary.words
    for context in product(range(len(names)), repeat=2):
        shares = model.distribution(list(context))
        assert shares.sum() == pytest.approx(1, abs=1e-12)
        history = tuple(names[token] for token in context)
        np.testing.assert_allclose(shares[1:], [oracle(word, history) for word in names[1:]], rtol=1e-12)
    assert model.distribution([BEGIN])[1:].sum() == pytest.approx(1)


def test_another_reader_of_arpa_files_finds_the_same_probabilities(tmp_path):
    model = lm.fit(make_units(tmp_path / "units"), 3, False)
    write(model, tmp_path / "units.arpa")
    theirs = read_arpa((tmp_path / "units.arpa").read_text())
    names = model.vocabulary.words
    for context in [[BEGIN], *map(list, product(range(3, len(names)), repeat=2))]:
        history = tuple(names[token] for token in context)
        found = [theirs(word, history) for word in names[1:]]
        np.testing.assert_allclose(found, model.distribution(context)[1:], rtol=1e-6)


def test_kenlm_finds_the_same_probabilities(tmp_path):
    kenlm = pytest.importorskip("kenlm", reason="needs kenlm, or kenlm-ex, which has wheels")
    model = lm.fit(make_units(tmp_path / "units"), 3, False)
    write(model, tmp_path / "units.arpa")
    theirs = kenlm.Model(str(tmp_path / "units.arpa"))
    assert theirs.order == 3
    for sentence in words([*SENTENCES, [4, 2, 1, 3, 3]]):
        tokens = np.array([model.vocabulary.words.index(word) for word in ["<s>", *sentence, "</s>"]])
        logs = [log for log, _, _ in theirs.full_scores(" ".join(sentence), bos=True, eos=True)]
        np.testing.assert_allclose(logs, np.log10(model.probabilities(tokens)), atol=1e-5)


@pytest.mark.parametrize("merged", [False, True])
def test_a_model_is_written_and_read_without_loss(tmp_path, merged):
    model = lm.fit(make_units(tmp_path / "units"), 3, merged)
    write(model, tmp_path / "units.arpa")
    again = read(tmp_path / "units.arpa")
    assert (again.info, again.merged, again.runs) == (model.info, merged, model.runs)
    assert again.vocabulary.words == model.vocabulary.words
    for ours, theirs in zip(model.orders, again.orders, strict=True):
        assert ours.keys.tolist() == theirs.keys.tolist()
        np.testing.assert_allclose(theirs.probability, ours.probability, rtol=1e-6)
        np.testing.assert_allclose(theirs.weight, ours.weight, rtol=1e-6)


def test_merged_words_are_those_of_a_deduplicated_directory(tmp_path):
    plain, merged = make_units(tmp_path / "a"), make_units(tmp_path / "b", deduplicated=True)
    ours, theirs = lm.fit(plain, 3, True), lm.fit(merged, 3, False)
    assert ours.runs == theirs.runs
    assert all((a.probability == b.probability).all() for a, b in zip(ours.orders, theirs.orders, strict=True))
    assert ours.perplexity(plain) == theirs.perplexity(merged)


def test_perplexity_is_that_of_the_definition_and_its_bits_are_per_second(tmp_path):
    units = make_units(tmp_path / "units")
    model = lm.fit(units, 2, False)
    oracle = naive_kneser_ney(words(SENTENCES), vocabulary_of(model), 2)
    bits, count = 0.0, 0
    for sentence in words(SENTENCES):
        for i, word in enumerate([*sentence, "</s>"]):
            bits, count = bits - np.log2(oracle(word, ("<s>", *sentence[:i]))), count + 1
    found = model.perplexity(units)
    assert found["perplexity"] == pytest.approx(2 ** (bits / count))
    assert found["bits_per_second"] == pytest.approx(bits / (sum(map(len, SENTENCES)) / 100))
    assert (found["words"], found["unknown"]) == (sum(map(len, SENTENCES)), 0)


def test_frames_of_several_groups_are_words_and_new_ones_are_unknown(tmp_path):
    frames = [[[0, 1], [2, 3], [0, 1]], [[2, 3], [4, 4]]]
    model = lm.fit(make_units(tmp_path / "units", frames, groups=2), 2, False)
    assert model.vocabulary.words == ["<s>", "</s>", "<unk>", "0-1", "2-3", "4-4"]
    tokens = model.vocabulary.tokens(np.array([[4, 0, 2], [4, 0, 3]]))
    assert tokens.tolist() == [5, UNKNOWN, 4]
    assert model.vocabulary.units(np.array([5, 4])).tolist() == [[4, 2], [4, 3]]
    other = make_units(tmp_path / "other", [[[0, 0], [0, 1]]], groups=2)
    assert model.perplexity(other)["unknown"] == 1
    write(model, tmp_path / "units.arpa")
    assert read(tmp_path / "units.arpa").vocabulary.words == model.vocabulary.words


def test_units_of_another_model_have_no_perplexity(tmp_path):
    model = lm.fit(make_units(tmp_path / "units"), 2, False)
    with pytest.raises(UserError, match="codebook_size is 6, but 5"):
        model.perplexity(make_units(tmp_path / "other", size=6))
    with pytest.raises(UserError, match="--deduplicate"):
        model.perplexity(make_units(tmp_path / "merged", deduplicated=True))


def test_an_order_that_is_too_high_is_refused(tmp_path):
    units = make_units(tmp_path / "units")
    with pytest.raises(UserError, match=r"too many to count; use a lower --order"):
        lm.fit(units, 30, False)
    with pytest.raises(UserError, match=r"no utterance has 9 words.*; use a lower --order"):
        lm.fit(units, 9, False)


def test_too_many_ngrams_are_an_error_and_not_a_full_memory(monkeypatch):
    monkeypatch.setattr("vqaudio.units.ngrams.MAX_NGRAMS", 3)
    counter = Counter("units", "use fewer")
    counter.add(np.arange(4))
    with pytest.raises(UserError, match="units: more than 3 different n-grams of one length; use fewer"):
        counter.finish()


def test_counts_are_the_same_however_they_arrive():
    numbers = np.random.default_rng(0).integers(0, 1000, 3_000_000)
    counter = Counter("x", "y")
    for part in np.array_split(numbers, 7):
        counter.add(part)
    keys, counts = counter.finish()
    assert keys.tolist() == list(range(1000))
    assert counts.tolist() == np.bincount(numbers).tolist()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# vqaudio", "# of others"),
        ('"merged": false', '"merged": 1'),
        ('"codebook_size": 5', '"codebook_size": 4'),
        ("ngram 2=", "ngram 2=9"),
        ("ngram 1=", "ngram 1=-"),
        ("\\2-grams:", "\\3-grams:"),
        ("\\end\\", ""),
        ("\t0 1\t", "\t0 9\t"),
        ("\t0 1\t", "\t1 0\t"),
        ("\t0 1\t", "\t0 1 1\t"),
        ("\t0 1\t", "\t0 1\tnan"),
        ("\t4\t", "\t3\t"),
        ("-99.0000000\t<s>", "-0.1\t<s>"),
        ("\n-99", "\nx"),
    ],
)
def test_a_damaged_model_is_refused_in_one_line(tmp_path, old, new):
    path = tmp_path / "units.arpa"
    write(lm.fit(make_units(tmp_path / "units"), 3, False), path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_whose_ngrams_lack_shorter_ones_is_refused(tmp_path):
    path = tmp_path / "units.arpa"
    model = lm.fit(make_units(tmp_path / "units"), 3, False)
    write(model, path)
    before, _, after = path.read_text().partition("\\2-grams:\n")
    count = len(model.orders[1].keys)
    before = before.replace(f"ngram 2={count}", f"ngram 2={count - 1}")
    path.write_text(before + "\\2-grams:\n" + after.partition("\n")[2])
    with pytest.raises(UserError, match="3-gram without the shorter ones"):
        read(path)


def test_a_model_whose_ngrams_are_not_in_order_is_refused(tmp_path):
    path = tmp_path / "units.arpa"
    write(lm.fit(make_units(tmp_path / "units"), 2, False), path)
    before, mark, after = path.read_text().partition("\\2-grams:\n")
    first, second, *others = after.splitlines(keepends=True)
    path.write_text(before + mark + second + first + "".join(others))
    with pytest.raises(UserError, match="not in order"):
        read(path)


def test_a_model_with_too_many_orders_is_refused(tmp_path):
    path = tmp_path / "units.arpa"
    write(lm.fit(make_units(tmp_path / "units"), 1, False), path)
    path.write_text(path.read_text().replace("ngram 1=", "".join(f"ngram {n}=1\n" for n in range(9)) + "ngram 1="))
    with pytest.raises(UserError, match="not a language model"):
        read(path)


def test_sampled_units_are_spoken_and_are_a_function_of_the_seed(tmp_path, capsys):
    exp = save_tiny_model(tmp_path / "exp")
    codec = vqaudio.load(exp)
    units = make_units(tmp_path / "units", size=16)
    info = json.loads((units / "units.json").read_text()) | {"model_hash": codec.hash}
    (units / "units.json").write_text(json.dumps(info))
    arpa = tmp_path / "units.arpa"
    assert main(["units", "lm", str(units), "--order", "3", "--out", str(arpa), "--test", str(units)]) == 0
    assert "perplexity" in capsys.readouterr().out
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        options = ["--out", str(tmp_path / name), "--utterances", "3", "--seconds", "0.1", "--seed", seed]
        assert main(["units", "sample", str(arpa), *options]) == 0
    texts = [(tmp_path / name / "units.txt").read_text() for name in "abc"]
    assert texts[0] == texts[1] != texts[2]
    sampled = read_units(tmp_path / "a", expected_hash=codec.hash)
    assert [(s.utt, s.num_frames) for s in sampled] == [(f"sample-{i}", 10) for i in (1, 2, 3)]
    wavs = tmp_path / "wavs"
    assert main(["decode", "--model", str(exp), "--units", str(tmp_path / "a"), "--out", str(wavs), "--jobs", "1"]) == 0
    assert len(list(wavs.glob("*.wav"))) == 3


def test_samples_have_the_frequencies_of_the_model_and_its_run_lengths(tmp_path):
    from vqaudio.units.unit_samples import sample

    model = lm.fit(make_units(tmp_path / "units", [[0, 0, 0, 1, 2, 2], [2, 2, 1, 0, 0, 0]] * 4), 2, True)
    random = np.random.default_rng(0)
    codes = [sample(model, 1000, True, random)[0] for _ in range(300)]
    first = np.bincount([code[0] for code in codes], minlength=3) / 300
    np.testing.assert_allclose(first[:3], model.distribution([BEGIN])[3:6], atol=0.08)
    runs = [len(run) for code in codes for run in np.split(code, np.flatnonzero(np.diff(code)) + 1) if run[0] == 0]
    assert np.mean([run % 3 == 0 for run in runs]) > 0.99  # the other words may repeat too


def test_an_utterance_that_the_model_does_not_end_has_the_longest_length(tmp_path):
    from vqaudio.units.unit_samples import sample_directory

    write(lm.fit(make_units(tmp_path / "units", [[0, 1] * 2000]), 2, False), tmp_path / "units.arpa")
    info = sample_directory(tmp_path / "units.arpa", tmp_path / "out", 1, None, 0)
    assert info.num_frames <= 3000
    assert (tmp_path / "out" / MARK).is_file()
    assert dataclasses.replace(info, num_utterances=0, num_frames=0) == dataclasses.replace(
        read_units(tmp_path / "units").info, num_utterances=0, num_frames=0
    )
    with pytest.raises(UserError, match="shorter than a frame"):
        sample_directory(tmp_path / "units.arpa", tmp_path / "out", 1, 0.001, 0)


def test_a_vocabulary_of_too_many_frames_is_refused(tmp_path):
    units = make_units(tmp_path / "units", [[[0] * 8]], size=256, groups=8)
    with pytest.raises(UserError, match="more frames than 2"):
        Vocabulary.of(read_units(units))
