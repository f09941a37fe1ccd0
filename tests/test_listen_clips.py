"""The clips of a test: stereo, other lengths, no reference, FLAC; reference conditions and checks; levels and sizes."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from listening import RATE, SYSTEMS, make_test, write_scps

from vqaudio import audio, datadir
from vqaudio.cli import main
from vqaudio.listening.checks import headphone_clips, mnru, with_noise
from vqaudio.listening.clips import loudness_of
from vqaudio.listening.key import read_key

rng = np.random.default_rng(3)


def run_build(folder: Path, test_type: str, *options: object, reference: bool = True) -> int:
    """Build by the command line from files that are there already."""
    arguments = ["--type", test_type, *(["--reference", folder / "reference.scp"] if reference else [])]
    arguments += [part for name in SYSTEMS for part in ("--system", f"{name}={folder / name}.scp")]
    return main(["listen", "build", *map(str, [*arguments, "--out", folder / "test", "--seed", 3, *options])])


def rewrite(folder: Path, name: str, change) -> None:
    """Replace the audio of a system by what a function makes of it."""
    for path in (folder / "audio" / name).iterdir():
        wav, rate = soundfile.read(path)
        soundfile.write(path, change(wav), rate)


def test_flac_is_the_default_and_holds_the_same_samples(tmp_path) -> None:
    write_scps(tmp_path, 3)
    assert run_build(tmp_path, "acr") == 0
    key = read_key(tmp_path / "test")
    assert key.extension == "flac"
    for name, stimulus in key.stimuli.items():
        original, _ = audio.read(tmp_path / "audio" / stimulus.system / f"{stimulus.item}.wav")
        np.testing.assert_array_equal(audio.read(tmp_path / f"test/public/audio/{name}.flac")[0], original)


@pytest.mark.parametrize("test_type", ["mushra", "ab"])
def test_two_channels_stay_two_and_their_loudness_is_matched(tmp_path, test_type) -> None:
    write_scps(tmp_path, 3)
    for name in ("reference", *SYSTEMS):
        gain = 0.25 if name == SYSTEMS[0] else 1.0
        rewrite(tmp_path, name, lambda wav, gain=gain: gain * np.stack([wav, -0.5 * wav], axis=1))
    assert run_build(tmp_path, test_type, "--match-loudness") == 0
    key = read_key(tmp_path / "test")
    for name, stimulus in key.stimuli.items():
        wav, _ = soundfile.read(tmp_path / f"test/public/audio/{name}.flac")
        assert wav.shape[1] == 2
        np.testing.assert_allclose(wav[:, 1], -0.5 * wav[:, 0], atol=2e-4)
        if stimulus.system == SYSTEMS[0] and test_type == "mushra":
            assert stimulus.gain_db == pytest.approx(12.04, abs=1.5)


def test_channels_must_agree_and_three_are_refused(tmp_path, capsys) -> None:
    write_scps(tmp_path, 2)
    rewrite(tmp_path, SYSTEMS[1], lambda wav: np.stack([wav, wav], axis=1))
    assert run_build(tmp_path, "acr") == 2
    assert "not as many channels as its reference" in capsys.readouterr().err
    rewrite(tmp_path, "reference", lambda wav: np.stack([wav] * 3, axis=1))
    assert run_build(tmp_path, "acr") == 2
    assert "3 channels; mix them to one or two" in capsys.readouterr().err


@pytest.mark.parametrize(("test_type", "conditions"), [("acr", 2), ("ccr", 1), ("ab", 1), ("abx", 1)])
def test_without_a_reference_clips_may_have_any_length_and_do_not_run_in_step(tmp_path, test_type, conditions) -> None:
    write_scps(tmp_path, 3)
    rewrite(tmp_path, SYSTEMS[0], lambda wav: np.concatenate([wav, wav]))
    assert run_build(tmp_path, test_type, reference=False) == 0
    key = read_key(tmp_path / "test")
    assert {trial.loop for trial in key.trials.values()} == {False}
    by_item = [sum(trial.item == item for trial in key.trials.values()) for item in ("utterance0", "utterance1")]
    assert by_item == [conditions, conditions]
    lengths = {audio.info(path).num_samples for path in (tmp_path / "test/public/audio").iterdir()}
    assert lengths == {9600, 19200}
    assert "reference" not in {stimulus.system for stimulus in key.stimuli.values()}


def test_clips_of_one_length_run_in_step_in_ab(tmp_path) -> None:
    key = read_key(make_test(tmp_path, "ab"))
    assert {trial.loop for trial in key.trials.values()} == {True}


def test_an_utterance_of_20_seconds_is_for_types_whose_clips_do_not_loop(tmp_path, capsys) -> None:
    write_scps(tmp_path, 2, seconds=20, rate=8000)
    assert run_build(tmp_path, "acr") == 0
    (tmp_path / "test").rename(tmp_path / "before")
    assert run_build(tmp_path, "ab") == 2
    assert "not 0.5 to 12 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("test_type", "pairs", "expected"),
    [
        ("ab", None, {(SYSTEMS[0], SYSTEMS[1])}),
        ("ccr", None, {(name, "reference") for name in SYSTEMS}),
        ("ccr", "systems", {(SYSTEMS[0], SYSTEMS[1])}),
        ("abx", "all", {(SYSTEMS[0], SYSTEMS[1]), *((name, "reference") for name in SYSTEMS)}),
    ],
)
def test_the_pairs_are_those_asked_for(tmp_path, test_type, pairs, expected) -> None:
    key = read_key(make_test(tmp_path, test_type, pairs=pairs))
    assert {tuple(key.stimuli[n].system for n in trial.stimuli) for trial in key.trials.values()} == expected


def test_smos_has_the_voice_open_and_does_not_rate_it(tmp_path) -> None:
    key = read_key(make_test(tmp_path, "smos"))
    for trial in key.trials.values():
        assert key.stimuli[trial.reference].system == "reference"
        assert [key.stimuli[name].system for name in trial.stimuli] != ["reference"]


@pytest.mark.parametrize(
    ("test_type", "options", "reference", "message"),
    [
        ("mushra", [], False, "--reference: mushra needs one"),
        ("smos", [], False, "--reference: smos needs one"),
        ("acr", ["--mnru", "10"], False, "--reference: --mnru needs one"),
        ("ab", ["--pairs", "reference"], False, "--reference: --pairs needs one"),
        ("acr", ["--pairs", "systems"], True, "--pairs: acr compares no pairs"),
        ("mushra", ["--design", "latin"], True, "--design latin: a mushra trial has all systems"),
        ("words", [], True, "--text: what was said is needed for words"),
        ("acr", ["--text", "x"], True, "--text: what was said is needed for words and for no other type"),
        ("dcr", ["--attribute", "naturalness"], True, "--attribute naturalness: is only for acr"),
        ("acr", ["--items-per-listener", "3"], True, "--items-per-listener 3: the test has 2 items"),
        ("acr", ["--mnru", "10", "--mnru", "10"], True, "--mnru: a level is there twice"),
        ("acr", ["--mnru", "nan"], True, "--mnru: a level is there twice, or is not"),
        ("acr", ["--system", "mnru_5=x.scp"], True, "--system mnru_5: not a name"),
    ],
)
def test_what_does_not_fit_together_is_one_line(tmp_path, test_type, options, reference, message, capsys) -> None:
    write_scps(tmp_path, 3)
    before = sorted(tmp_path.iterdir())
    assert run_build(tmp_path, test_type, *options, reference=reference) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_dry_run_says_how_large_a_test_is_and_makes_nothing(tmp_path, capsys) -> None:
    write_scps(tmp_path, 9)
    before = sorted(tmp_path.iterdir())
    assert run_build(tmp_path, "acr", "--dry-run", "--items-per-listener", "2", "--training", "2") == 0
    assert sorted(tmp_path.iterdir()) == before
    said = capsys.readouterr().out
    assert "8 items with 3 systems each. A listener hears 2 of the items in 6 trials, after 2 for training" in said
    assert "Every 4 listeners hear each item equally often" in said


def test_a_test_that_takes_long_says_how_to_shorten_it(tmp_path, capsys) -> None:
    write_scps(tmp_path, 60, seconds=12, rate=8000)
    assert run_build(tmp_path, "acr", "--dry-run") == 0
    error = capsys.readouterr().err
    assert error.endswith("minutes are long; shorten it with --items-per-listener or --design latin\n")


def test_a_system_that_is_much_softer_is_reported_unless_loudness_is_matched(tmp_path, capsys) -> None:
    write_scps(tmp_path, 3)
    rewrite(tmp_path, SYSTEMS[0], lambda wav: 0.01 * wav)
    assert run_build(tmp_path, "acr", "--dry-run") == 0
    error = capsys.readouterr().err
    assert f"{SYSTEMS[0]}: 40 dB softer than" in error
    assert error.count("\n") == 1
    assert run_build(tmp_path, "acr", "--dry-run", "--match-loudness") == 0
    assert capsys.readouterr().err == ""


def test_reference_conditions_are_systems_with_noise_at_their_level(tmp_path) -> None:
    key = read_key(make_test(tmp_path, "acr", mnru=(5.0, 20.0)))
    assert key.systems == (*SYSTEMS, "mnru_5", "mnru_20")
    assert {s.system for s in key.stimuli.values()} == {"reference", *key.systems}
    wav = rng.standard_normal(RATE).astype(np.float32)
    for q_db in (5.0, 20.0):
        noise = mnru(wav, q_db, "a") - wav
        assert 10 * np.log10(np.mean(wav**2) / np.mean(noise**2)) == pytest.approx(q_db, abs=0.3)
        assert abs(noise[np.abs(wav) < 0.001]).max() < 0.005  # where there is no speech there is no noise
    np.testing.assert_array_equal(mnru(wav, 5.0, "a"), mnru(wav, 5.0, "a"))
    assert (mnru(wav, 5.0, "a") != mnru(wav, 5.0, "b")).any()


def test_the_noise_of_the_quiet_check_is_30_db_below_the_clip() -> None:
    wav = 0.1 * rng.standard_normal((RATE, 2)).astype(np.float32)
    noise = with_noise(wav, "a") - wav
    assert 10 * np.log10(np.mean(wav**2) / np.mean(noise**2)) == pytest.approx(30, abs=0.2)


def test_of_three_tones_one_is_softer_and_another_vanishes_from_loudspeakers() -> None:
    clips = headphone_clips(RATE)
    assert sorted(answer for _, answer in clips) == [1, 1, 2, 2, 3, 3]
    for clip, answer in clips:
        tones = [clip[round((0.5 + 1.5 * n) * RATE) : round((1.5 + 1.5 * n) * RATE)] for n in range(3)]
        ears = [loudness_of(tone[:, 0], RATE) for tone in tones]
        room = [np.square(tone.sum(axis=1)).mean() for tone in tones]
        assert np.argmin(ears) == answer - 1
        others = [level for n, level in enumerate(ears) if n != answer - 1]
        assert others[0] == pytest.approx(others[1])
        assert others[0] - ears[answer - 1] == pytest.approx(6)
        assert np.argmin(room) != answer - 1  # where the channels add up, another one is the softest
    assert len({clip.tobytes() for clip, _ in clips}) == 6


def test_words_need_a_text_for_each_item(tmp_path) -> None:
    write_scps(tmp_path, 4)
    datadir.write_table(tmp_path / "text", {"utterance0": "one", "utterance1": "two", "utterance2": "..."})
    assert run_build(tmp_path, "words", "--text", tmp_path / "text") == 0
    skipped = (tmp_path / "test/private/skipped.tsv").read_text()
    assert skipped.count("has no words") == 2
    assert set(read_key(tmp_path / "test").words) == {"utterance0", "utterance1"}
