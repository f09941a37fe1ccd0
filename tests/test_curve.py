"""The curve of change penalties: its figures are those of the commands, one pass through the audio, words of speech."""

import hashlib
import json
import math

import numpy as np
import pytest
from tiny_model import save_tiny_model

from vqaudio import audio
from vqaudio.cli import main
from vqaudio.codec import load
from vqaudio.datadir import Phone, Utterance, write_ctm, write_table, write_utterances
from vqaudio.errors import UserError
from vqaudio.metrics import judge_models
from vqaudio.metrics.alignment import read_alignment
from vqaudio.metrics.curve import Speech, curve_table, evaluate_curve, load_unit_model
from vqaudio.metrics.curve_words import Listener
from vqaudio.metrics.judge_models import Judges, load_listener
from vqaudio.metrics.judges import judge_audio

RATE = 8000
TONES = {"A": 300, "B": 900, "C": 2500}
SETS = {"train": ["p225-1", "s9-2"], "test": ["p225-3", "p225-4", "s9-5", "s9-6"]}
PHONE_SECONDS = 0.05
PENALTIES = [0.0, 1.0]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Tones with their phones, of a speaker whom the model knows and of another; a trained model and a k-means file."""
    root = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    for name, utts in SETS.items():
        phones = {}
        for utt in utts:
            names = generator.choice([*TONES], 60)
            t = np.arange(int(PHONE_SECONDS * RATE)) / RATE
            wav = np.concatenate([np.sin(2 * np.pi * TONES[p] * t) for p in names])
            audio.write(root / f"{utt}.wav", 0.1 * wav + 0.02 * generator.standard_normal(len(wav)), RATE)
            phones[utt] = [Phone(n * PHONE_SECONDS, PHONE_SECONDS, p) for n, p in enumerate(names)]
        utterances = [Utterance(utt, root / f"{utt}.wav", utt.split("-")[0]) for utt in utts]
        write_utterances(root / name, utterances, dict.fromkeys(utts, "one two three"))
        write_ctm(root / name / "phones.ctm", phones)
    save_tiny_model(root / "exp")
    fit = ["--features", "mfcc", "--data", root / "train", "--codebook-size", 12, "--out", root / "km.safetensors"]
    assert main(["kmeans", "fit", *map(str, fit), "--sample-rate", str(RATE), "--hop-length", "80"]) == 0
    return root


def speech(corpus, name="test") -> Speech:
    return Speech(corpus / name, read_alignment(corpus / name / "phones.ctm"))


def figures_of_commands(corpus, out, model: str, penalty: float) -> dict:
    """What `evaluate units` says of units that were extracted with a penalty."""
    verb = ["extract"] if model == "exp" else ["kmeans", "apply"]
    for name in SETS:
        argv = ["--model", corpus / model, "--data", corpus / name, "--out", out / name, "--change-penalty", penalty]
        assert main([*verb, *map(str, argv)]) == 0
    argv = ["--units", out / "test", "--alignment", corpus / "test" / "phones.ctm", "--model", corpus / model]
    argv += ["--mapping-units", out / "train", "--mapping-alignment", corpus / "train" / "phones.ctm"]
    assert main(["evaluate", "units", *map(str, argv), "--json", str(out / "scores.json")]) == 0
    return json.loads((out / "scores.json").read_text())


def test_each_row_is_what_extract_and_evaluate_units_say_at_that_penalty(corpus, tmp_path, capsys):
    argv = ["--data", corpus / "test", "--alignment", corpus / "test" / "phones.ctm", "--mapping-data"]
    argv += [
        corpus / "train",
        "--mapping-alignment",
        corpus / "train" / "phones.ctm",
        "--json",
        tmp_path / "curve.json",
    ]
    models = ["--model", str(corpus / "exp"), "--model", str(corpus / "km.safetensors")]
    assert main(["evaluate", "curve", *models, *map(str, argv), "--change-penalties", "0", "1"]) == 0
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "curve.json").read_text())["rows"]
    order = [(str(corpus / model), p) for model in ("exp", "km.safetensors") for p in PENALTIES]
    assert [(row["model"], row["change_penalty"]) for row in rows] == order
    for number, row in enumerate(rows):
        del row["model"]
        intervals = row.pop("intervals")
        known = figures_of_commands(
            corpus, tmp_path / str(number), "exp" if number < 2 else "km.safetensors", row["change_penalty"]
        )
        assert {key: known[key] for key in row} == row
        assert intervals.items() <= known.get("intervals", {}).items()
        assert f"{row['pnmi']:.3f}" in printed
    assert not rows[0].keys() & {"abx_within", "abx_edit_across", "abx_phone_across", "speaker_probe", "wer"}
    for without, with_penalty in (rows[:2], rows[2:]):
        assert with_penalty["runs_per_second"] < without["runs_per_second"]
        assert 0 < with_penalty["bitrate_deduplicated"] < without["bitrate_deduplicated"]


def test_a_recording_is_encoded_once_for_all_penalties(corpus, monkeypatch):
    codec = load(corpus / "exp")
    path, windows, encode = corpus / "p225-3.wav", [], codec.model.encoder.frames
    monkeypatch.setattr(codec.model.encoder, "frames", lambda wav: windows.append(wav) or encode(wav))
    codes = codec.encode_at_penalties(path, [1.0, 0.0, 0.3], 0.1, 2.9)
    together = len(windows)
    assert together == 2  # chunks of two seconds
    for penalty, found in zip([1.0, 0.0, 0.3], codes, strict=True):
        np.testing.assert_array_equal(found, codec.encode_file(path, 0.1, 2.9, None, penalty))
    assert len(windows) == 4 * together
    assert len({found.tobytes() for found in codes}) == 3


def test_npy_features_are_a_folder_and_need_no_speakers(tmp_path):
    generator = np.random.default_rng(0)
    alignment = {}
    (tmp_path / "npy").mkdir()
    for utt in ("a", "b"):
        phones = generator.integers(0, 3, 40)
        frames = np.repeat(np.eye(3)[phones], 5, axis=0) + 0.3 * generator.standard_normal((200, 3))
        np.save(tmp_path / "npy" / f"{utt}.npy", frames.astype(np.float32))
        alignment[utt] = [Phone(n * 0.05, 0.05, "ABC"[p]) for n, p in enumerate(phones)]
    fit = ["--features", "npy", "--data", tmp_path / "npy", "--codebook-size", 8, "--out", tmp_path / "km"]
    assert main(["kmeans", "fit", *map(str, fit), "--sample-rate", "8000", "--hop-length", "80"]) == 0
    rows = evaluate_curve([tmp_path / "km"], [0.0, 4.0], Speech(tmp_path / "npy", alignment), jobs=1)["rows"]
    assert rows[1]["pnmi"] > rows[0]["pnmi"] > 0.5  # the penalty takes the noise away
    assert "abx_across" not in rows[0]
    assert rows[0]["intervals"] == {}


def test_what_cannot_be_encoded_is_told_and_the_rest_is_scored(corpus, tmp_path, caplog):
    utterances = [Utterance(utt, corpus / f"{utt}.wav", "s") for utt in SETS["test"]]
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    write_utterances(tmp_path / "data", [Utterance("bad", tmp_path / "bad.wav", "s"), *utterances])
    some = Speech(tmp_path / "data", speech(corpus).alignment)
    found = evaluate_curve([corpus / "exp"], [0.0], some, jobs=2)
    assert found["rows"][0]["utterances_scored"] == 4
    assert list(found["failed"][str(corpus / "exp")]) == ["bad"]
    assert "1 of 5 utterances cannot be encoded, such as bad" in caplog.text
    write_utterances(tmp_path / "none", [Utterance("bad", tmp_path / "bad.wav", "s")])
    with pytest.raises(UserError, match=r"none: 1 of 1 utterances cannot be encoded.*; repair the data"):
        evaluate_curve([corpus / "exp"], [0.0], Speech(tmp_path / "none", some.alignment), jobs=1)


def heard(wav: np.ndarray) -> str:
    """Words whose number depends on every sample."""
    return "wrong " * hashlib.sha256(wav.tobytes()).digest()[0]


JUDGES = Judges(heard, lambda _: math.nan, lambda _: np.zeros(1))


def test_words_are_those_heard_in_what_decode_makes_in_voices_that_the_model_knows(corpus, tmp_path):
    listener = Listener(corpus / "test" / "text", JUDGES)
    models, utt2spk = [corpus / "exp", corpus / "km.safetensors"], corpus / "test" / "utt2spk"
    rows = evaluate_curve(models, PENALTIES, speech(corpus), utt2spk=utt2spk, listener=listener, jobs=2)["rows"]
    assert ["wer" in row for row in rows] == [True, True, False, False]
    voices = {utt: "p225" if utt.startswith("p225") else "<unknown>" for utt in SETS["test"]}
    write_table(tmp_path / "voices", voices)
    for row in rows[:2]:
        units, wav = (tmp_path / f"{kind}{row['change_penalty']:g}" for kind in ("units", "wav"))
        argv = ["--data", corpus / "test", "--out", units, "--change-penalty", row["change_penalty"]]
        assert main(["extract", "--model", str(corpus / "exp"), *map(str, argv)]) == 0
        argv = ["--units", units, "--out", wav, "--utt2spk", tmp_path / "voices"]
        assert main(["decode", "--model", str(corpus / "exp"), *map(str, argv)]) == 0
        known = judge_audio(corpus / "test", wav / "wav.scp", corpus / "test" / "text", JUDGES, jobs=1)
        assert {key: known[key] for key in ("wer", "reference_wer", "words")} == {
            key: row[key] for key in ("wer", "reference_wer", "words")
        }
    assert rows[0]["wer"] != rows[1]["wer"]  # the recordings differ, and so do the words


def test_words_need_a_model_that_speaks(corpus):
    listener = Listener(corpus / "test" / "text", JUDGES)
    with pytest.raises(UserError, match=r"km\.safetensors: k-means units cannot be turned into speech; drop --judges"):
        evaluate_curve([corpus / "km.safetensors"], [0.0], speech(corpus), listener=listener, jobs=1)


def test_a_listener_hears_each_recording_once(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(judge_models, "require_judges", lambda: None)
    monkeypatch.setattr(judge_models, "_whisper", lambda *_: lambda wav: calls.append(wav) or f"heard {len(calls)}")
    listener = load_listener(tmp_path, language="en", jobs=1)
    one, other = np.ones(4, np.float32), np.zeros(4, np.float32)
    assert [listener.transcribe(wav) for wav in (one, other, one)] == ["heard 1", "heard 2", "heard 1"]
    assert math.isnan(listener.naturalness(one))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--change-penalties", "0", "-1"], "change penalty is -1.0; give 0"),
        (["--change-penalties", "1", "1.0"], "1: this penalty is given twice; name each once"),
        (["--mapping-alignment", "x"], "--mapping-alignment is of --mapping-data; give that too"),
        (["--whisper", "x"], "--text and --whisper are for judges; add --judges"),
        (["--judges", "--text", "absent"], "absent: no such file, but --judges needs what is said; give --text"),
        (["--model", "absent"], "absent"),
    ],
)
def test_a_wrong_option_is_one_line(corpus, capsys, options, message):
    argv = ["--model", corpus / "exp", "--data", corpus / "test", "--alignment", corpus / "test" / "phones.ctm"]
    assert main(["evaluate", "curve", *map(str, argv), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_scores_do_not_replace_what_is_not_ours_and_may_lie_in_the_model_directory(corpus, tmp_path, capsys):
    argv = ["--model", corpus / "exp", "--data", corpus / "test", "--alignment", corpus / "test" / "phones.ctm"]
    argv = ["evaluate", "curve", *map(str, argv), "--change-penalties", "0", "--json"]
    assert main([*argv, str(corpus / "exp" / "curve.json")]) == 0
    (tmp_path / "mine.json").write_text("{}")
    assert main([*argv, str(tmp_path / "mine.json")]) == 2
    assert "vqaudio did not make it" in capsys.readouterr().err


def test_a_model_is_given_once(corpus):
    with pytest.raises(UserError, match="exp: this model is given twice"):
        evaluate_curve([corpus / "exp"] * 2, [0.0], speech(corpus), jobs=1)


def test_the_codebook_and_the_rate_are_the_model_s(corpus):
    units = load_unit_model(corpus / "km.safetensors")
    assert (units.frame_rate, units.codebook.shape[:2], units.codec) == (100.0, (1, 12), None)
    trained = load_unit_model(corpus / "exp")
    assert (trained.frame_rate, trained.codebook.shape) == (100.0, (1, 16, 8))


def test_the_table_is_aligned_and_shows_intervals_and_dashes():
    first = {"model": "a", "bitrate_deduplicated": 312.4, "pnmi": 0.5, "intervals": {"pnmi": [0.4, 0.6]}}
    rows = [{**first, "change_penalty": 0.0, "wer": 0.25}, {**first, "change_penalty": 0.25}]
    rows.append({"model": "b", "change_penalty": 4.0, "bitrate_deduplicated": 99.5, "pnmi": math.nan})
    assert curve_table(rows).splitlines() == [
        "penalty  bit/s  PNMI                  word errors",
        "a",
        "0        312    0.500 [0.400, 0.600]  0.250",
        "0.25     312    0.500 [0.400, 0.600]  –",
        "b",
        "4        100    –                     –",
    ]
