import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from tests.datadirs import make
from tests.tiny_model import save_tiny_model
from vqaudio import load
from vqaudio.cli import main
from vqaudio.datadir import Utterance, read_utterances
from vqaudio.errors import UserError
from vqaudio.metrics.dtw import edit_distance
from vqaudio.metrics.robustness import (
    RATE,
    Changes,
    add_noise,
    evaluate_robustness,
    make_transforms,
    score_utterance,
    unit_edits,
)

NONE = Changes(gain=0.0, noise=120.0, tempo=1.0, pitch=0.0, resampling=RATE, offset=0.0)
SOME = Changes(gain=-10.0, noise=10.0, tempo=1.1, pitch=1.0, resampling=8000, offset=0.01)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robustness")
    return save_tiny_model(folder / "exp"), make(folder)


def evaluate(exp, data, changes, jobs=1, seed=0):
    return evaluate_robustness(exp, data, changes=changes, jobs=jobs, seed=seed)


def tone(seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.1 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


def pitch_of(wav: np.ndarray) -> float:
    """The strongest frequency in Hz, of the middle half second."""
    middle = wav[len(wav) // 2 - RATE // 4 :][: RATE // 2]
    return 2.0 * int(np.abs(np.fft.rfft(middle * np.hanning(len(middle)))).argmax())


def test_edits_are_counted_on_merged_units_and_divided_by_frames():
    x, y = np.array([[1, 1, 2, 2, 3, 3]]), np.array([[1, 2, 2, 2, 4, 4, 5]])
    assert unit_edits(x, y) == 2  # 1 2 3 to 1 2 4 5

    class Codec:
        hop_length, sample_rate = 160, RATE
        codes = iter([x, y])

        def encode(self, wav, rate):
            return next(self.codes)

    data = Utterance("u", Path("u.wav"), "s")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vqaudio.audio.read", lambda *_: (np.ones(RATE, np.float32), RATE))
        assert score_utterance(Codec(), data, {"gain": lambda wav, _: wav}, 0) == {"gain": 2 / 6}


def test_groups_are_one_unit():
    assert unit_edits(np.array([[1, 1], [1, 2]]), np.array([[1, 1], [1, 3]])) == 1


symbols = st.lists(st.integers(0, 3), max_size=8)


@given(symbols, symbols)
def test_edit_distances_are_those_of_the_recursion(x, y):
    assert edit_distance(np.array(x, int), np.array(y, int)) == reference.edit_distance(x, y)


def test_changes_change_what_they_say_and_nothing_else():
    random = np.random.default_rng(0)
    wav = tone(2.0)
    changed = {name: change(wav, random) for name, change in make_transforms(SOME).items()}
    assert np.abs(changed["gain"]).max() == pytest.approx(0.1 * 10 ** (-10 / 20), rel=1e-3)
    assert len(changed["tempo"]) == pytest.approx(len(wav) / 1.1, abs=1)
    assert pitch_of(changed["tempo"]) == pytest.approx(440, abs=4)
    assert len(changed["pitch"]) == len(changed["resampling"]) == len(wav)
    assert pitch_of(changed["pitch"]) == pytest.approx(440 * 2 ** (1 / 12), abs=4)
    hiss = random.standard_normal(RATE).astype(np.float32)
    narrow = np.abs(np.fft.rfft(make_transforms(SOME)["resampling"](hiss, random))) ** 2
    assert narrow[5000:].sum() < 1e-4 * narrow[:3500].sum()  # bins of 1 Hz
    assert make_transforms(replace(SOME, gain=40.0))["gain"](wav, random).max() == 1
    np.testing.assert_allclose(changed["offset"], wav + 0.01, atol=1e-7)
    assert make_transforms(replace(SOME, offset=-1.0))["offset"](wav, random).min() == -1


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_has_the_power_that_was_asked_for(snr):
    wav = tone(1.0)
    noise = add_noise(wav, snr, np.random.default_rng(0)) - wav
    ratio = 10 * np.log10(np.square(wav, dtype=float).mean() / np.square(noise, dtype=float).mean())
    assert ratio == pytest.approx(snr, abs=0.01)


def test_changes_of_nothing_leave_the_units_and_noise_changes_more_the_louder_it_is(corpus):
    exp, data = corpus
    same = evaluate(exp, data, changes=NONE)
    assert [same[f"ued_{name}"] for name in ("gain", "resampling", "offset")] == [0, 0, 0]
    assert same["ued_noise"] < 0.05
    quiet, loud = (evaluate(exp, data, changes=replace(NONE, noise=snr))["ued_noise"] for snr in (30.0, 0.0))
    assert same["ued_noise"] < quiet < loud


def test_the_model_s_level_undoes_a_gain(corpus):
    exp, data = corpus
    assert evaluate(exp, data, changes=replace(NONE, gain=-20.0))["ued_gain"] < 0.02


def test_the_model_s_level_undoes_an_offset(corpus):
    exp, data = corpus
    assert evaluate(exp, data, changes=replace(NONE, offset=0.05))["ued_offset"] < 0.02


def test_results_do_not_depend_on_jobs_and_follow_the_seed(corpus):
    exp, data = corpus
    one, three = (evaluate(exp, data, changes=SOME, jobs=jobs) for jobs in (1, 3))
    assert one == three
    assert one["utterances"] == 6
    assert one["changes"]["noise"] == 10
    assert evaluate(exp, data, changes=SOME, seed=1)["ued_noise"] != one["ued_noise"]


def test_broken_files_are_counted_and_only_no_file_at_all_is_an_error(tmp_path):
    exp, data = save_tiny_model(tmp_path / "exp"), make(tmp_path)
    whole = score_utterance(load(exp), read_utterances(data)[1], make_transforms(NONE), 0)
    (tmp_path / "s1-a .wav").write_bytes(b"RIFF")
    result = evaluate(exp, data, changes=NONE)
    assert (result["utterances"], result["failed"], list(result["errors"])) == (5, 1, ["s1-a"])
    assert isinstance(whole, dict)
    for utterance in read_utterances(data):
        utterance.path.write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"no utterance can be scored \(.*s1-a \.wav"):
        evaluate(exp, data, changes=NONE)


@pytest.mark.parametrize(
    ("name", "value"), [("tempo", 0.0), ("noise", float("nan")), ("resampling", 96000.0), ("offset", 2.0)]
)
def test_amounts_out_of_range_are_errors(name, value):
    with pytest.raises(UserError, match=rf"--{name} {value:g}: out of range; give"):
        make_transforms(replace(NONE, **{name: value}))


def test_the_command_writes_its_scores(corpus, tmp_path, capsys):
    exp, data = corpus
    argv = ["evaluate", "robustness", "--model", str(exp), "--data", str(data), "--noise", "5"]
    assert main([*argv, "--json", str(tmp_path / "scores.json")]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["changes"] == {"gain": -10, "noise": 5, "tempo": 1.1, "pitch": 1, "resampling": 8000, "offset": 0.01}
    assert f"{scores['ued_pitch']:.4g}" in capsys.readouterr().out
