"""Building a listening test: what goes in, what is refused, what is hidden, what is balanced."""

import collections
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from listening import RATE, SYSTEMS, make_test, write_scps

from vqaudio import audio, datadir, files
from vqaudio.audio.loudness import loudness
from vqaudio.cli import main
from vqaudio.listening.anchors import anchor_filter, make_anchor
from vqaudio.listening.clips import match_gains
from vqaudio.listening.key import read_key
from vqaudio.listening.sessions import balanced_order, make_session
from vqaudio.listening.store import Store

TYPES = ["mushra", "acr", "dcr", "ccr", "ab", "abx"]


def run_build(folder: Path, *options: object, test_type: str = "acr", items: int = 3) -> int:
    """Build by the command line from files that are there already."""
    systems = [part for name in SYSTEMS for part in ("--system", f"{name}={folder / name}.scp")]
    arguments = ["--type", test_type, "--reference", folder / "reference.scp", *systems, "--out", folder / "test"]
    arguments += ["--items", items, "--seed", 3, "--format", "wav", *options]
    return main(["listen", "build", *map(str, arguments)])


def level_db(taps: np.ndarray, frequency: np.ndarray, rate: int) -> np.ndarray:
    """The gain of a filter at frequencies (Hz), from its definition."""
    time = np.arange(len(taps)) / rate
    return 20 * np.log10(np.abs(np.exp(-2j * np.pi * np.outer(frequency, time)) @ taps))


@pytest.mark.parametrize("rate", [16000, 22050, 24000, 44100, 48000])
def test_the_3500_hz_anchor_meets_the_mask(rate: int) -> None:
    taps = anchor_filter(3500, rate)
    assert np.abs(level_db(taps, np.linspace(0, 3500, 400), rate)).max() <= 0.1
    assert level_db(taps, np.linspace(4000, 4500, 100), rate).max() <= -25
    assert level_db(taps, np.linspace(4500, rate / 2, 400), rate).max() <= -50


@pytest.mark.parametrize("rate", [22050, 48000])
def test_the_7000_hz_anchor_is_as_flat_and_as_steep(rate: int) -> None:
    taps = anchor_filter(7000, rate)
    assert np.abs(level_db(taps, np.linspace(0, 7000, 400), rate)).max() <= 0.1
    assert level_db(taps, np.linspace(7500, rate / 2, 400), rate).max() <= -50


def test_an_anchor_is_not_delayed_and_as_long() -> None:
    time = np.arange(8000) / RATE
    low, high = np.sin(2 * np.pi * 500 * time), np.sin(2 * np.pi * 6000 * time)
    made = make_anchor((low + high).astype(np.float32), 3500, RATE)
    assert made.shape == low.shape
    np.testing.assert_allclose(made[500:-500], low[500:-500], atol=0.01)


@pytest.mark.parametrize(("rate", "labels"), [(16000, {"anchor_3500"}), (24000, {"anchor_3500", "anchor_7000"})])
def test_mushra_has_a_hidden_reference_and_the_anchors_that_the_band_allows(tmp_path, rate, labels) -> None:
    key = read_key(make_test(tmp_path, "mushra", rate=rate))
    for trial in key.trials.values():
        assert {key.stimuli[name].system for name in trial.stimuli} == {"reference", *SYSTEMS, *labels}
        assert len(trial.stimuli) == len(SYSTEMS) + 1 + len(labels)
        assert key.stimuli[trial.reference].system == "reference"
        assert trial.reference not in trial.stimuli


@pytest.mark.parametrize(
    ("test_type", "contents"),
    [
        ("acr", [("reference",), ("secretgumbel",), ("secretkmeans",)]),
        ("dcr", [("reference",), ("secretgumbel",), ("secretkmeans",)]),
        ("ccr", [("secretgumbel", "reference"), ("secretkmeans", "reference")]),
        ("ab", [("secretkmeans", "secretgumbel")]),
        ("abx", [("secretgumbel", "reference"), ("secretkmeans", "reference")]),
    ],
)
def test_every_item_gets_the_trials_of_its_type(tmp_path, test_type, contents) -> None:
    key = read_key(make_test(tmp_path, test_type))
    by_item = collections.defaultdict(list)
    for trial in key.trials.values():
        by_item[trial.item].append(tuple(key.stimuli[name].system for name in trial.stimuli))
        assert (trial.reference is not None) == (test_type == "dcr")
        assert [key.stimuli[name].system for name in trial.hidden] == (
            list(by_item[trial.item][-1]) * (test_type == "abx")
        )
    assert len(by_item) == 3
    assert all(sorted(trials) == contents for trials in by_item.values())
    assert len({trial.item for trial in key.trials.values() if trial.training}) == 1


@pytest.mark.parametrize("test_type", TYPES)
def test_no_label_and_no_name_is_in_what_a_browser_gets(tmp_path, test_type) -> None:
    test = make_test(tmp_path, test_type)
    key = read_key(test)
    audio_files = sorted((test / "public" / "audio").iterdir())
    assert {path.stem for path in audio_files} == set(key.stimuli)
    for path in (test / "public").rglob("*"):
        told = path.name.encode() + (path.read_bytes() if path.is_file() else b"")
        assert not any(word in told for word in (b"secret", b"utterance", b"anchor"))
    assert len({path.stat().st_mtime_ns for path in audio_files}) == 1
    names = [name for trial in key.trials.values() for name in (*trial.stimuli, *trial.hidden, trial.reference) if name]
    assert len(names) == len(set(names)) == len(key.stimuli)


def test_the_key_describes_the_files(tmp_path) -> None:
    test = make_test(tmp_path, "acr")
    for name, stimulus in read_key(test).stimuli.items():
        path = test / "public" / "audio" / f"{name}.wav"
        assert files.sha256(path) == stimulus.sha256
        original, _ = audio.read(tmp_path / "audio" / stimulus.system / f"{stimulus.item}.wav")
        np.testing.assert_array_equal(audio.read(path)[0], original)


def test_loudness_is_matched_to_the_reference_and_the_gains_are_kept(tmp_path) -> None:
    paths = write_scps(tmp_path, 4)
    for name, gain in zip(SYSTEMS, (0.3, 4.0), strict=True):
        for path in datadir.read_table(paths[name]).values():
            wav, rate = audio.read(path)
            audio.write(path, wav * gain, rate)
    assert run_build(tmp_path, "--match-loudness") == 0
    key = read_key(tmp_path / "test")
    levels = collections.defaultdict(list)
    for name, stimulus in key.stimuli.items():
        levels[stimulus.item].append(loudness(audio.read(tmp_path / f"test/public/audio/{name}.wav")[0], RATE))
        if stimulus.system == SYSTEMS[0]:
            assert stimulus.gain_db == pytest.approx(-20 * math.log10(0.3), abs=1.0)
    assert all(max(values) - min(values) < 0.05 for values in levels.values())


def test_if_a_gain_would_clip_the_whole_item_is_attenuated(tmp_path) -> None:
    rng = np.random.default_rng(0)
    peaky = 0.01 * rng.standard_normal(RATE)
    peaky[100] = 0.5
    clips = {
        "reference": 0.2 * rng.standard_normal(RATE),
        "peaky": peaky,
        "anchor_3500": 0.1 * rng.standard_normal(RATE),
    }
    gains = match_gains(clips, RATE, True)
    scaled = {name: wav * 10 ** (gains[name] / 20) for name, wav in clips.items()}
    assert max(np.abs(wav).max() for wav in scaled.values()) == pytest.approx(1.0)
    assert loudness(scaled["peaky"], RATE) == pytest.approx(loudness(scaled["reference"], RATE))
    assert gains["anchor_3500"] == gains["reference"] < -10
    assert set(match_gains(clips, RATE, False).values()) == {0.0}


def test_utterances_that_cannot_be_used_are_left_out_with_their_reason(tmp_path) -> None:
    paths = write_scps(tmp_path, 12)
    noise = 0.1 * np.random.default_rng(1).standard_normal(2 * RATE)
    folder = tmp_path / "audio" / SYSTEMS[0]
    audio.write(folder / "utterance0.wav", noise[: round(0.75 * RATE)], RATE)
    loud = np.clip(noise[: round(0.6 * RATE)] * 50, -1, 1)
    audio.write(tmp_path / "audio/reference/utterance1.wav", loud, RATE)
    audio.write(folder / "utterance2.wav", noise[: round(0.6 * 8000)], 8000)
    import soundfile

    soundfile.write(folder / "utterance3.wav", np.stack([noise, noise], axis=1), RATE)
    audio.write(folder / "utterance4.wav", 0 * noise[: round(0.6 * RATE)], RATE)
    (folder / "utterance5.wav").unlink()
    audio.write(tmp_path / "audio/reference/utterance6.wav", np.tile(noise, 7), RATE)
    audio.write(tmp_path / "audio/reference/utterance7.wav", noise[:1000], RATE)
    table = datadir.read_table(paths[SYSTEMS[1]])
    datadir.write_table(paths[SYSTEMS[1]], {utt: path for utt, path in table.items() if utt != "utterance8"})
    assert run_build(tmp_path, items=2, test_type="mushra") == 0
    reasons = dict(line.split("\t") for line in (tmp_path / "test/private/skipped.tsv").read_text().splitlines())
    expected = {
        "utterance0": "they may differ by 0.1 s",
        "utterance1": "clipped",
        "utterance2": "8000 Hz, but its reference 16000 Hz",
        "utterance3": "not as many channels as its reference",
        "utterance4": "silent",
        "utterance5": "no such file",
        "utterance6": "not 0.5 to 12 s",
        "utterance7": "not 0.5 to 12 s",
        "utterance8": "not in the wav.scp of secretgumbel",
    }
    for utt in reasons:  # those that the draw met
        assert expected[utt] in reasons[utt]
    assert {s.item for s in read_key(tmp_path / "test").stimuli.values()} == {f"utterance{n}" for n in (9, 10, 11)}


def test_a_clipped_system_stays_in_and_is_reported(tmp_path, capsys) -> None:
    write_scps(tmp_path, 4)
    for number in range(4):
        path = tmp_path / "audio" / SYSTEMS[0] / f"utterance{number}.wav"
        wav, rate = audio.read(path)
        wav[100 : 105 if number else 102] = 1.0  # two samples in a row are no clipping
        audio.write(path, wav, rate)
    assert run_build(tmp_path, "--match-loudness") == 0
    assert capsys.readouterr().err == "secretkmeans: 3 of its 4 clips are clipped; listeners will hear it\n"
    runs = {(s.system, s.item): s.clipped for s in read_key(tmp_path / "test").stimuli.values() if s.clipped}
    assert runs == {(SYSTEMS[0], f"utterance{number}"): 5 for number in (1, 2, 3)}


def test_a_clip_of_almost_the_length_of_its_reference_is_cut_or_filled(tmp_path) -> None:
    write_scps(tmp_path, 4)
    for number in range(4):
        path = tmp_path / "audio" / SYSTEMS[0] / f"utterance{number}.wav"
        wav, rate = audio.read(path)
        audio.write(path, wav[:-100] if number % 2 else np.concatenate([wav, wav[:100]]), rate)
    assert run_build(tmp_path, test_type="mushra") == 0
    assert {audio.info(path).num_samples for path in (tmp_path / "test/public/audio").iterdir()} == {9600}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--items", "9"], "3 utterances can be used, without one for training, of 9 wanted"),
        (["--system", "reference=x.scp"], "not a name"),
        (["--system", "a/b=x.scp"], "not a name"),
        (["--system", f"{SYSTEMS[0]}=x.scp"], "a name is used twice"),
        (["--type", "mushra", *itertools.chain(*(["--system", f"s{n}=x.scp"] for n in range(8)))], "room for 9"),
        (["--reference", "absent.scp"], "absent.scp"),
    ],
)
def test_a_wrong_command_is_one_line_and_leaves_nothing(tmp_path, options, message, capsys) -> None:
    import re

    write_scps(tmp_path, 4)
    before = sorted(tmp_path.iterdir())
    assert run_build(tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_rate_without_room_for_the_anchor_is_rejected_for_mushra(tmp_path, capsys) -> None:
    write_scps(tmp_path, 4, rate=8000)
    assert run_build(tmp_path, test_type="mushra") == 2
    assert "needs 10000 Hz" in capsys.readouterr().err
    assert run_build(tmp_path, test_type="acr") == 0


def test_fewer_items_than_the_standard_asks_for_are_reported(tmp_path, capsys) -> None:
    write_scps(tmp_path, 8)
    assert run_build(tmp_path, test_type="mushra", items=4) == 0
    error = capsys.readouterr().err
    assert "4 items: BS.1534-3 asks for at least 5 with 2 systems" in error
    assert "4 items: with under 7, one slip on the hidden reference excludes a listener" in error
    (tmp_path / "test").rename(tmp_path / "before")
    assert run_build(tmp_path, test_type="mushra", items=7) == 0
    assert capsys.readouterr().err == ""


def test_the_key_is_for_its_owner_alone(tmp_path) -> None:
    assert make_test(tmp_path, "acr").joinpath("private").stat().st_mode & 0o077 == 0


def test_an_existing_test_is_never_overwritten(tmp_path, capsys) -> None:
    write_scps(tmp_path, 4)
    assert run_build(tmp_path) == 0
    before = (tmp_path / "test/private/key.json").read_bytes()
    assert run_build(tmp_path) == 2
    assert "exists; choose another place, or remove it if nothing in it is needed" in capsys.readouterr().err
    assert (tmp_path / "test/private/key.json").read_bytes() == before


def test_the_seed_decides_items_and_orders_but_no_name(tmp_path) -> None:
    orders = []
    for part in ("one", "two"):
        test = make_test(tmp_path / part, "mushra", items=3)
        key = read_key(test)
        with Store(test) as store:
            sessions = [store.session(listener) for listener, _ in store.listeners()]
        shown = [(key.trials[trial["id"]].item, *trial["stimuli"]) for session in sessions for trial in session]
        orders.append([(item, *(key.stimuli[name].system for name in stimuli)) for item, *stimuli in shown])
        names = set(key.stimuli)
    assert orders[0] == orders[1]
    assert not names & set(read_key(tmp_path / "one" / "test_mushra").stimuli)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 9])
def test_in_a_balanced_design_everything_follows_everything_equally_often(n: int) -> None:
    rows = [balanced_order(n, row) for row in range(2 * n)]
    assert all(sorted(row) == list(range(n)) for row in rows)
    for column in zip(*rows, strict=True):
        assert set(collections.Counter(column).values()) == {2}
    follows = collections.Counter(pair for row in rows for pair in itertools.pairwise(row))
    assert n == 1 or set(follows.values()) == {2}
    assert len(follows) == n * (n - 1)


@pytest.mark.parametrize("test_type", TYPES)
def test_sessions_hold_every_trial_once_training_first_and_are_balanced(tmp_path, test_type) -> None:
    test = make_test(tmp_path, test_type, items=5)
    key = read_key(test)
    sessions = [make_session(key, number) for number in range(20)]
    places = collections.Counter()
    for session in sessions:
        assert sorted(trial["id"] for trial in session) == sorted(key.trials)
        training = [key.trials[trial["id"]].training for trial in session]
        assert training == sorted(training, reverse=True)
        items = [key.trials[trial["id"]].item for trial in session if not key.trials[trial["id"]].training]
        assert all(a != b for a, b in itertools.pairwise(items))
        for trial in session:
            assert sorted(trial["stimuli"]) == sorted(key.trials[trial["id"]].stimuli)
            places[trial["id"], trial["stimuli"][0]] += 1
            assert ("x" in trial) == (test_type == "abx")
    # Each stimulus comes first equally often, counted over listeners.
    assert set(places.values()) == {20 // len(next(iter(key.trials.values())).stimuli)}
    if test_type == "abx":
        hidden = collections.Counter(key.stimuli[trial["x"]].system for session in sessions for trial in session)
        assert hidden["reference"] == sum(hidden.values()) / 2


def test_a_damaged_key_is_one_line(tmp_path, capsys) -> None:
    test = make_test(tmp_path, "acr")
    path = test / "private" / "key.json"
    data = json.loads(path.read_text())
    del data["trials"]
    for content in ("{", json.dumps(data), "[]"):
        path.write_text(content)
        assert main(["listen", "serve", str(test)]) == 2
        assert "key.json: damaged" in capsys.readouterr().err
