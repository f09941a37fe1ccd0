"""Validating data directories: every problem is found, and repaired if it can be."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from datadirs import edit, make, make_segmented, noise

from vqaudio import audio, datadir
from vqaudio.cli import main
from vqaudio.datadir import Utterance
from vqaudio.errors import UserError
from vqaudio.training.recordings import Recordings


@pytest.fixture(autouse=True, scope="module")
def _no_fsync():
    """Write without waiting for the disk: hundreds of files are written here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture
def data(tmp_path) -> Path:
    return make(tmp_path)


@pytest.fixture
def segmented(tmp_path) -> Path:
    return make_segmented(tmp_path)


def only(lines: list[str], *words: str) -> None:
    """There is one line, a single one, and the words are in it."""
    assert len(lines) == 1, lines
    assert "\n" not in lines[0]
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("kind", ["data", "segmented"])
def test_a_sound_directory_has_no_problems_and_nothing_to_repair(kind, request):
    folder = request.getfixturevalue(kind)
    assert datadir.validate(folder) == datadir.Problems([], [])
    assert datadir.fix(folder) == []
    assert not (folder / ".backup").exists()


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("wav.scp", "s1-b /", "s1-a /", ["wav.scp:2", "duplicate 's1-a', contradicts line 1"]),
        ("utt2spk", "s1-a s1\ns1-b s1\n", "s1-b s1\ns1-a s1\n", ["utt2spk:2", "'s1-a' after 's1-b'"]),
        ("utt2spk", "s1-b s1\n", "s1-b s1\ns1-b s1\n", ["utt2spk:3", "duplicate 's1-b', as on line 2"]),
        ("utt2spk", "s1-a s1", "s1-a s1 s2", ["utt2spk:1", "'s1 s2'", "one word"]),
        ("text", "one s1-b", "one \udce9", ["text:2", "byte 0xe9 is not UTF-8"]),
        ("text", "one s1-b", "one s1-b\r", ["text:2", "carriage return"]),
        ("text", "one s1-b", "one\u00a0s1-b", ["text:2", "U+00A0"]),
        ("text", "one s1-b", "one <s>", ["text:2", "'<s>', a reserved word"]),
        ("text", "one s2-c\n", "one s2-c", ["text", "lacks its newline"]),
        ("text", "s2-b one s2-b\n", "", ["text: lacks 1 utterance of utt2spk ('s2-b')"]),
        ("spk2utt", "s2 s2-a", "s2", ["spk2utt: 's2' does not have the utterances of utt2spk"]),
        ("spk2gender", "s1 f\n", "", ["spk2gender: lacks 1 speaker of utt2spk ('s1')"]),
        ("spk2gender", "s1 f", "s1 x", ["spk2gender:1", "'x', not 'm' or 'f'"]),
        ("utt2dur", "s1-b 0.5", "s1-b 0", ["utt2dur:2", "'0'", "more than 0"]),
        ("reco2dur", "s1-b 0.5", "s1-b -1", ["reco2dur:2", "'-1'"]),
        ("phones.ctm", "s1-b 1 0.2 0.3", "s1-b 1 0.2 0.4", ["'s1-b' has phones until 0.6 s, but audio until 0.5 s"]),
        ("phones.ctm", "s2-c 1", "s3-c 1", ["phones.ctm: has 1 utterance not in", "'s3-c'"]),
    ],
)
def test_every_problem_of_a_table_is_reported_with_file_and_cure(data, name, old, new, words):
    edit(data / name, old, new)
    found = datadir.validate(data)
    assert any(all(word in line for word in words) for line in found.errors), found.errors
    assert all(line.startswith(str(data)) and ": " in line and line.count("; ") == 1 for line in found.errors)


def test_missing_and_empty_files_are_reported(data):
    (data / "spk2utt").unlink()
    (data / "wav.scp").write_text("")
    errors = "\n".join(datadir.validate(data).errors)
    assert "spk2utt: no such file; rebuild it (vqaudio data fix)" in errors
    assert "wav.scp: is empty" in errors
    only(datadir.validate(data / "no").errors, "no such data directory")


def test_an_order_of_speakers_that_only_kaldi_refuses_is_a_warning(data):
    for name, lines in {"utt2spk": "s1-a z\n", "spk2utt": "z s1-a\n", "spk2gender": "z m\n"}.items():
        rest = [x for x in (data / name).read_text().splitlines(keepends=True) if not x.startswith("s1-a ")]
        (data / name).write_text("".join(sorted([*rest, lines])).replace("s1 s1-a", "s1"))
    problems = datadir.validate(data)
    assert not problems.errors
    only(problems.warnings, "'s1-b' of 's1' comes after 's1-a' of 'z', which Kaldi refuses; begin utterance names with")


def test_speakers_with_numbers_for_names_are_sound(tmp_path):
    utterances = [
        Utterance(f"{speaker}_{i}", tmp_path / "a.wav", speaker) for speaker in ("1", "13", "2") for i in "01"
    ]
    audio.write(tmp_path / "a.wav", noise(8000), 8000)
    datadir.write_utterances(tmp_path / "data", utterances)
    problems = datadir.validate(tmp_path / "data")
    assert not problems.errors
    only(problems.warnings, "'1_0' of '1' comes after '13_1' of '13'")


@pytest.mark.parametrize(("first", "second"), [("s1-a", "S1-A"), ("Zo\u00eb", "Zoe\u0308")])
def test_ids_whose_files_would_collide_are_one_error_that_names_both(tmp_path, first, second):
    audio.write(tmp_path / "a.wav", noise(8000), 8000)
    datadir.write_utterances(tmp_path / "data", [Utterance(utt, tmp_path / "a.wav", "s") for utt in (first, second)])
    pair = " and ".join(ascii(utt) for utt in sorted([first, second]))
    only(datadir.validate(tmp_path / "data").errors, f"{pair} differ only in case or Unicode form")


def test_an_id_in_two_unicode_forms_in_two_files_is_named_as_such(tmp_path):
    audio.write(tmp_path / "a.wav", noise(8000), 8000)
    datadir.write_utterances(tmp_path / "data", [Utterance("Zo\u00eb", tmp_path / "a.wav", "s")])
    path = tmp_path / "data" / "utt2spk"
    path.write_text(path.read_text().replace("Zo\u00eb", "Zoe\u0308"))
    assert any(r"'Zo\xeb'" in line and r"'Zoe\u0308'" in line for line in datadir.validate(tmp_path / "data").errors)


def break_audio(data: Path, case: str) -> None:
    path = data.parent / "s1-b .wav"
    if case == "missing":
        path.unlink()
    elif case == "empty":
        path.write_bytes(b"")
    elif case == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif case == "text":
        path.write_text("hello")
    elif case == "non-finite":
        soundfile.write(path, np.append(noise(3999), np.nan), 8000, subtype="FLOAT")
    elif case == "short":
        audio.write(path, noise(3), 8000)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("missing", "no such file"),
        ("empty", "empty file (0 bytes)"),
        ("truncated", "truncated: 4956 of 8000 bytes"),
        ("text", "cannot be decoded"),
        ("non-finite", "sample 3999 is NaN or infinite"),
        ("short", "lasts 0.000375 s, less than a frame of 0.01 s"),
    ],
)
def test_broken_audio_is_an_error_and_is_dropped_by_fix(data, case, words):
    (data / "phones.ctm").unlink()
    break_audio(data, case)
    only(datadir.validate(data).errors, "wav.scp: 's1-b'", words)
    done = datadir.fix(data)
    assert any("dropped 's1-b'" in line and words in line for line in done)
    assert [u.utt for u in datadir.read_utterances(data)] == ["s1-a", "s1-c", "s2-a", "s2-b", "s2-c"]
    assert datadir.validate(data) == datadir.Problems([], [])


def test_samples_at_the_scale_of_integers_and_channels_that_cancel_are_errors(data):
    wav = noise(4000)
    soundfile.write(data.parent / "s1-a .wav", wav * 32768, 8000, subtype="FLOAT")
    soundfile.write(data.parent / "s1-b .wav", np.stack([wav, -wav], axis=1), 8000, subtype="FLOAT")
    soundfile.write(data.parent / "s1-c .wav", wav * 5, 8000, subtype="FLOAT")  # too loud, but audio
    scale, channels = datadir.validate(data).errors
    assert "'s1-a': has samples up to" in scale
    assert scale.endswith("but audio is in −1..1; divide them by 32768")
    assert "'s1-b': its 2 channels cancel: their average is silence; write one of them" in channels
    assert not any("silent" in line for line in datadir.validate(data).warnings)


def test_every_broken_file_is_listed(data):
    for path in data.parent.glob("*.wav"):
        path.unlink()
    assert len(datadir.validate(data).errors) == 6


def test_silence_channels_and_mixed_rates_are_warnings(data):
    audio.write(data.parent / "s1-a .wav", np.zeros(4000), 8000)
    soundfile.write(data.parent / "s1-b .wav", np.stack([noise(8000)] * 2, axis=1), 16000)  # 0.5 s
    found = datadir.validate(data)
    assert found.errors == []
    assert len(found.warnings) == 3
    for line, words in zip(
        found.warnings,
        ["'s1-a' is silent", "'s1-b' has 2 channels", "5 at 8000 Hz (as 's1-a'), 1 at 16000 Hz"],
        strict=True,
    ):
        assert words in line


@pytest.mark.parametrize("entry", ["cat x |", "| cat x", "~/x.wav"])
def test_commands_and_tildes_are_errors(data, entry):
    edit(data / "wav.scp", f"s1-a {data.parent}/s1-a .wav", f"s1-a {entry}")
    only(datadir.validate(data).errors, "wav.scp: 's1-a'", entry)
    if "|" in entry:
        before = (data / "wav.scp").read_bytes()
        with pytest.raises(UserError, match="a command that a shell would run; write"):
            datadir.fix(data)
        assert (data / "wav.scp").read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0.4 1", "0.4 1.6", "'s-b' ends at 1.6 s, its recording 's-a' at 1 s"),
        ("0.4 1", "0.4 0.405", "'s-b' lasts 0.005 s, less than a frame of 0.01 s"),
        ("0.4 1", "0.4 0.4", "'s-b': ends at 0.4 s, starts at 0.4 s"),
        ("0.4 1", "0.4 -2", "'s-b': 's-a 0.4 -2' is not"),
        ("0.4 1", "-1 1", "'s-b': 's-a -1 1' is not"),
        ("0.4 1", "0.4 1 x", "'s-b': 's-a 0.4 1 x' is not"),
        ("s-b s-a", "s-b r", "segments: has 1 recording not in wav.scp ('r')"),
    ],
)
def test_bad_segments_are_errors_and_are_dropped_by_fix(segmented, old, new, words):
    edit(segmented / "segments", old, new)
    only(datadir.validate(segmented).errors, words)
    datadir.fix(segmented)
    assert [u.utt for u in datadir.read_utterances(segmented)] == ["s-a"]
    assert datadir.validate(segmented) == datadir.Problems([], [])


def test_a_segment_may_end_half_a_centisecond_late(segmented):
    edit(segmented / "segments", "0.4 1", "0.4 1.004")
    assert datadir.validate(segmented).errors == []


@pytest.mark.parametrize("end", ["-1", "-1.0", "-1.00"])
def test_a_segment_that_ends_at_minus_one_goes_to_the_end_of_its_recording(segmented, end):
    edit(segmented / "segments", "0.4 1", f"0.4 {end}")
    assert datadir.validate(segmented) == datadir.Problems([], [])
    assert datadir.fix(segmented) == []
    last = datadir.read_utterances(segmented)[1]
    assert (last.start, last.end) == (0.4, None)
    assert len(audio.read(last.path, None, last.start, last.end)[0]) == 4800
    (segmented / "utt2dur").unlink()
    recordings = Recordings(segmented, sample_rate=8000, level_db=None)
    assert recordings.durations == pytest.approx([0.4, 0.6])


def test_segments_that_overshoot_are_cut_with_one_warning_and_survive_fix(segmented):
    edit(segmented / "segments", "0.4 1", "0.4 1.3")
    edit(segmented / "segments", "s-a s-a 0 0.4", "s-a s-a 0 1.02")
    found = datadir.validate(segmented)
    assert not any("data/segments" in line for line in found.errors)
    only(found.warnings, "segments: 's-a' ends at 1.02 s, its recording at 1 s, and 1 more such lines; each is cut")
    datadir.fix(segmented)
    utterances = datadir.read_utterances(segmented)
    assert [len(audio.read(u.path, None, u.start, u.end)[0]) for u in utterances] == [8000, 4800]
    assert datadir.validate(segmented).errors == []
    assert datadir.read_table(segmented / "utt2dur") == {"s-a": "1", "s-b": "0.6"}


@pytest.mark.parametrize(
    ("wav", "words"),
    [
        (noise(4000) * 1e-3, ["'s1-a' is nearly silent (-80 dBFS, less than -65)"]),
        (noise(4000) * 8, ["'s1-a' has samples up to 3.12", "outside −1..1"]),
        (noise(4000) + 0.02, ["'s1-a' has an offset of 0.018", "which is taken away"]),
    ],
)
def test_odd_levels_are_one_warning_each(data, wav, words):
    soundfile.write(data.parent / "s1-a .wav", wav, 8000, subtype="FLOAT")
    found = datadir.validate(data)
    assert found.errors == []
    only(found.warnings, *words)


@pytest.mark.parametrize("table", ["utt2dur", "reco2dur"])
def test_durations_that_are_not_those_of_the_audio_are_errors_which_fix_corrects(data, table):
    edit(data / table, "s1-b 0.5", "s1-b 5")
    edit(data / table, "s2-a 0.5\n", "")
    edit(data / table, "s1-c 0.5", "s1-c 0.49")  # of whole frames
    errors = datadir.validate(data).errors
    assert any(f"{table}: 's1-b' has 5 s, its audio 0.5 s; correct it (vqaudio data fix)" in line for line in errors)
    datadir.fix(data)
    assert datadir.validate(data) == datadir.Problems([], [])
    expected = dict.fromkeys(("s1-a", "s1-b", "s1-c", "s2-a", "s2-b", "s2-c"), "0.5") | {"s1-c": "0.49"}
    assert datadir.read_table(data / table) == expected


def test_fix_writes_the_durations_and_training_opens_no_file(data, monkeypatch):
    (data / "utt2dur").unlink()
    assert datadir.fix(data) == [f"{data / 'utt2dur'}: wrote the durations of 6 of 6 entries"]
    assert datadir.fix(data) == []
    monkeypatch.setattr(audio, "info", lambda path: pytest.fail(f"opens {path}"))
    recordings = Recordings(data, sample_rate=8000, level_db=None)
    assert recordings.durations.tolist() == [0.5] * 6


def test_a_subset_keeps_the_durations(data, tmp_path):
    datadir.copy_subset(data, tmp_path / "out", datadir.read_utterances(data)[:2])
    assert datadir.read_table(tmp_path / "out" / "utt2dur") == {"s1-a": "0.5", "s1-b": "0.5"}


def test_the_findings_are_written_as_records(data, tmp_path, capsys):
    edit(data / "text", "one s1-b", "one <s>")
    edit(data / "spk2gender", "s1 f\n", "")
    audio.write(data.parent / "s1-a .wav", np.zeros(4000), 8000)
    out = tmp_path / "findings.json"
    assert main(["data", "validate", str(data), "--json", str(out)]) == 2
    captured = capsys.readouterr()
    assert captured.out == f"{data}: 2 errors, 1 warnings\n"
    assert captured.err.count("\n") == 3
    rows = json.loads(out.read_text())["findings"]
    assert [(r["severity"], r["kind"], Path(r["file"]).name, r["line"], r["key"]) for r in rows] == [
        ("error", "keys", "spk2gender", None, None),
        ("error", "text", "text", 2, "s1-b"),
        ("warning", "level", "wav.scp", None, "s1-a"),
    ]
    assert all(row["message"] in captured.err for row in rows)
    assert main(["data", "validate", str(data), "--json", str(out)]) == 2  # its own file is replaced
    assert main(["data", "validate", str(data), "--json", str(data / "text")]) == 2
    assert "lies in the input" in capsys.readouterr().err


@pytest.mark.parametrize(("here", "there"), [("Zo\u00eb", "Zoe\u0308"), ("S1-B", "s1-b")])
def test_a_key_that_is_missing_only_in_its_form_is_named_in_the_other(tmp_path, here, there):
    audio.write(tmp_path / "a.wav", noise(4000), 8000)
    names = (here, "zz")
    datadir.write_utterances(tmp_path / "data", [Utterance(utt, tmp_path / "a.wav", "s") for utt in names])
    edit(tmp_path / "data" / "utt2spk", here, there)
    note = f", but {there!a}, which differs in case or Unicode form alone"
    errors = datadir.validate(tmp_path / "data").errors
    assert any(f"utt2spk ('{there}', but {here!a}, which differs" in line for line in errors)
    assert any(f"has 1 utterance not in utt2spk ('{here}'{note}); make" in line for line in errors)
    with pytest.raises(UserError, match="which differs in case or Unicode form alone; add it"):
        datadir.read_utterances(tmp_path / "data")
    assert any(f"'{here}': utt2spk lacks it{note}" in line for line in datadir.fix(tmp_path / "data"))


@pytest.mark.parametrize(
    ("listed", "there"), [("Zo\u00eb.wav", "Zoe\u0308.wav"), ("a.wav", "a.WAV"), ("A.wav", "a.wav"), ("a.wav", "A.WAV")]
)
def test_a_file_that_is_missing_only_in_its_form_is_named_in_the_other(tmp_path, listed, there):
    soundfile.write(tmp_path / "x.wav", noise(4000), 8000)
    (tmp_path / "x.wav").rename(tmp_path / there)
    datadir.write_utterances(tmp_path / "data", [Utterance("u", tmp_path / listed, "s")])
    words = f"no such file, but {there!a}, which differs in case or Unicode form alone; correct the path"
    only(datadir.validate(tmp_path / "data").errors, words)
