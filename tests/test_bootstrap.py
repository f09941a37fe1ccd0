import math

import numpy as np
import pytest

from vqaudio.datadir import Phone
from vqaudio.metrics import bootstrap
from vqaudio.metrics.abx import average, averages
from vqaudio.metrics.bootstrap import (
    MIN_COMPARISONS,
    MIN_SPEAKERS,
    abx_interval,
    draw_speakers,
    interval,
    phone_intervals,
)
from vqaudio.metrics.phone_scores import label_frames, phone_figures

FIGURES = ("phone_purity", "cluster_purity", "pnmi", "mapping_accuracy", "prior_accuracy")


def score(codes, alignment):
    return phone_figures(label_frames(codes, alignment, frame_rate=100))


@pytest.fixture
def corpus():
    """Eight utterances of four speakers, phones and units random but related."""
    random = np.random.default_rng(0)
    units, alignment, speakers = {}, {}, {}
    for n in range(8):
        phones = random.integers(0, 4, 60)
        noise = random.random(60) < 0.1 + 0.1 * (n % 4)
        units[f"u{n}"] = np.where(noise, random.integers(0, 8, 60), 2 * phones)[None]
        alignment[f"u{n}"] = [Phone(k / 100, 0.01, "ABCD"[p]) for k, p in enumerate(phones)]
        speakers[f"u{n}"] = f"s{n % 4}"
    return units, alignment, speakers


def figures_of_draw(units, alignment, speakers, weights):
    """The figures of a corpus in which each utterance stands as often as its speaker was drawn."""
    names = sorted(set(speakers.values()))
    copies = [(f"{utt}.{n}", utt) for utt in units for n in range(int(weights[names.index(speakers[utt])]))]
    drawn = [{copy: table[utt] for copy, utt in copies} for table in (units, alignment)]
    return score(*drawn)


def test_a_draw_gives_the_figures_of_the_corpus_that_was_drawn(corpus, monkeypatch):
    units, alignment, speakers = corpus
    weights = np.array([[2.0, 0, 1, 1], [0, 0, 0, 4]])
    monkeypatch.setattr(bootstrap, "draw_speakers", lambda *_, **__: weights)
    seen = []
    monkeypatch.setattr(bootstrap, "interval", lambda *values: seen.append(values) or [0.0, 0.0])
    frames = label_frames(units, alignment, frame_rate=100)
    phone_intervals(frames, [speakers[utt] for utt in frames.utts])
    for n, draw in enumerate(weights):
        expected = figures_of_draw(units, alignment, speakers, draw)
        assert [values[n] for values, _ in seen[:3]] == pytest.approx([expected[name] for name in FIGURES[:3]])
    whole = score(units, alignment)
    assert [figure for _, figure in seen] == pytest.approx([whole[name] for name in FIGURES])


def test_small_pieces_of_draws_change_nothing(corpus, monkeypatch):
    units, alignment, speakers = corpus
    frames = label_frames(units, alignment, frame_rate=100)
    names = [speakers[utt] for utt in frames.utts]
    whole = phone_intervals(frames, names)
    monkeypatch.setattr(bootstrap, "MAX_COUNTS", 1)
    for name, bounds in phone_intervals(frames, names).items():
        assert bounds == pytest.approx(whole[name])


def test_intervals_hold_the_figure_and_narrow_with_speakers(corpus):
    units, alignment, speakers = corpus
    figures = score(units, alignment)
    frames = label_frames(units, alignment, frame_rate=100)
    few = phone_intervals(frames, [speakers[utt] for utt in frames.utts])
    many = phone_intervals(frames, frames.utts)
    for name in ("pnmi", "phone_purity", "mapping_accuracy"):
        low, high = few[name]
        assert low < figures[name] < high
    assert np.diff(many["mapping_accuracy"]) < np.diff(few["mapping_accuracy"])


def test_an_abx_draw_weighs_speakers_as_if_they_were_there_so_often():
    errors = np.random.default_rng(0).random((3, 4, 4))
    errors[0, 1] = errors[1:, 2, 3] = np.nan
    draw = np.array([[2.0, 0, 1]])
    assert averages(errors, draw)[0] == pytest.approx(average(errors[[0, 0, 2]]))
    low, high = abx_interval(errors, MIN_COMPARISONS)
    assert low < average(errors) < high


def test_draws_have_as_many_speakers_as_there_are_and_follow_the_seed():
    draws = draw_speakers(5, seed=1, draws=50)
    assert (draws.sum(axis=1) == 5).all()
    assert (draws == draw_speakers(5, seed=1, draws=50)).all()
    assert (draws != draw_speakers(5, seed=2, draws=50)).any()


def test_an_interval_is_the_middle_of_its_values_around_the_figure():
    values = np.array([*np.linspace(0.4, 0.6, 101), math.nan])
    assert interval(values, 0.5) == pytest.approx([0.405, 0.595])
    assert interval(values, 0.45) == pytest.approx([0.355, 0.545])
    assert interval(values, 0.95) == pytest.approx([0.855, 1.0])


def test_a_handful_of_comparisons_without_an_error_has_no_interval():
    errors = np.full((4, 2, 2), np.nan)
    errors[:MIN_SPEAKERS, 0, 1] = 0.0
    assert abx_interval(errors, MIN_COMPARISONS) == [0.0, 0.0]
    assert abx_interval(errors, MIN_COMPARISONS - 1) is None
    errors[MIN_SPEAKERS - 1] = np.nan  # its speaker has no cell any more
    assert abx_interval(errors, 1000) is None


def test_figures_of_two_speakers_or_a_few_frames_have_no_interval(corpus):
    units, alignment, _ = corpus
    frames = label_frames(units, alignment, frame_rate=100)
    assert phone_intervals(frames, ["s", "t"] * 4) == {}
    assert phone_intervals(frames, ["s", "t", "r", "r"] * 2).keys() == set(FIGURES)
    short = {utt: codes[:, :3] for utt, codes in units.items()}
    few = label_frames(short, alignment, frame_rate=100)
    assert len(few.phone) < MIN_COMPARISONS
    assert phone_intervals(few, few.utts) == {}


def test_a_figure_that_is_not_a_number_has_no_interval():
    codes = {f"u{n}": np.arange(20)[None] % 3 for n in range(3)}
    alignment = {utt: [Phone(0.0, 0.2, "A")] for utt in codes}
    frames = label_frames(codes, alignment, frame_rate=100)
    assert math.isnan(phone_figures(frames)["pnmi"])
    assert phone_intervals(frames, frames.utts).keys() == set(FIGURES) - {"pnmi"}
