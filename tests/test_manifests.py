"""Manifests of lhotse become data directories: what lhotse would load is what the utterances are."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests import datadirs
from vqaudio import audio
from vqaudio.cli import main
from vqaudio.datadir import Utterance, read_table, read_utterances, validate, write_table, write_utterances
from vqaudio.units import UnitsInfo
from vqaudio.units.conversion import convert
from vqaudio.units.writer import write_units

lhotse = pytest.importorskip("lhotse", reason="lhotse not installed: pip install 'vqaudio[lhotse]'")


def imported(*argv: object) -> int:
    return main(["data", "import", *map(str, argv)])


def stereo(path: Path) -> np.ndarray:
    """Write 1 s of two channels at 8 kHz; return it, (T, 2)."""
    path.parent.mkdir(exist_ok=True)
    wav = np.stack([datadirs.noise(8000), -datadirs.noise(8000) / 2], axis=1)
    soundfile.write(path, wav, 8000, subtype="FLOAT")
    return wav


def supervision(utt: str, start: float, duration: float, **fields: object) -> "lhotse.SupervisionSegment":
    return lhotse.SupervisionSegment(utt, fields.pop("recording_id", "call"), start, duration, **fields)


@pytest.fixture
def call(tmp_path):
    stereo(tmp_path / "in" / "call.wav")
    recording = lhotse.Recording.from_file(tmp_path / "in" / "call.wav")
    said = [
        supervision("s-b", 0.5, 0.3, channel=1, speaker="s", text="two\n words"),
        supervision("r-a", 0.1, 0.2, channel=0, speaker="r"),
        supervision("s-c", 0.9, 0.4, channel=1, speaker=None, text="three"),
    ]
    return recording, said


def check(out: Path, heard: dict) -> None:
    """Check that the utterances of a folder are those of lhotse: by name what it loads (C, T), and the speaker."""
    found = {u.utt: u for u in read_utterances(out)}
    assert validate(out).errors == []
    assert found.keys() == heard.keys()
    for utt, (wav, speaker) in heard.items():
        u = found[utt]
        np.testing.assert_allclose(audio.read(u.path, None, u.start, u.end, u.channel)[0], wav.mean(axis=0), atol=1e-7)
        assert u.speaker == (speaker or utt)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_recordings_and_supervisions_keep_segments_channels_speakers_and_texts(tmp_path, call, suffix):
    recordings = lhotse.RecordingSet.from_recordings([call[0]])
    supervisions = lhotse.SupervisionSet.from_segments(call[1])
    recordings.to_file(tmp_path / f"r{suffix}")
    supervisions.to_file(tmp_path / f"s{suffix}")
    assert imported(tmp_path / f"s{suffix}", tmp_path / f"r{suffix}", tmp_path / "data") == 0
    heard = {
        said.id: (call[0].load_audio(said.channel, said.start, min(said.duration, 1.0 - said.start)), said.speaker)
        for said in call[1]
    }
    check(tmp_path / "data", heard)
    assert (tmp_path / "data/segments").read_text() == "r-a call-A 0.1 0.3\ns-b call-B 0.5 0.8\ns-c call-B 0.9 1\n"
    assert (tmp_path / "data/reco2file_and_channel").read_text() == "call-A call A\ncall-B call B\n"
    assert (tmp_path / "data/text").read_text() == "r-a\ns-b two words\ns-c three\n"
    assert read_table(tmp_path / "data/utt2dur") == {"r-a": "0.2", "s-b": "0.3", "s-c": "0.1"}


def test_all_channels_beside_single_ones_have_no_table_and_a_file_of_one_channel_has_the_first(tmp_path, call, capsys):
    recording, _ = call
    audio.write(tmp_path / "mono.wav", datadirs.noise(8000), 8000)
    mono = lhotse.Recording.from_file(tmp_path / "mono.wav")
    cuts = [
        lhotse.MonoCut("b", 0.0, 1.0, 1, recording=recording),
        lhotse.MonoCut("m", 0.0, 1.0, 0, recording=mono),
        lhotse.MultiCut("both", 0.0, 1.0, [0, 1], recording=recording),
    ]
    for number, some in enumerate((cuts[:2], cuts[1:], cuts)):
        lhotse.CutSet.from_cuts(some).to_file(tmp_path / f"{number}.jsonl")
    assert imported(tmp_path / "0.jsonl", tmp_path / "d0") == 0
    assert read_table(tmp_path / "d0/reco2file_and_channel") == {"b": "call B", "m": "mono A"}
    assert validate(tmp_path / "d0").errors == []
    assert imported(tmp_path / "1.jsonl", tmp_path / "d1") == 0
    assert not (tmp_path / "d1/reco2file_and_channel").exists()
    assert [u.channel for u in read_utterances(tmp_path / "d1")] == [None, None]
    assert imported(tmp_path / "2.jsonl", tmp_path / "d2") == 2
    assert "call.wav: 'both' is all of its channels, but others are single channels" in capsys.readouterr().err


def test_cuts_are_their_supervisions_at_their_places_in_the_recording(tmp_path, call):
    recording, said = call
    cuts = lhotse.CutSet.from_manifests(
        recordings=lhotse.RecordingSet.from_recordings([recording]),
        supervisions=lhotse.SupervisionSet.from_segments(said[:2]),
    )
    trimmed = cuts.trim_to_supervisions(keep_overlapping=False)
    trimmed.to_file(tmp_path / "cuts.jsonl.gz")
    assert imported(tmp_path / "cuts.jsonl.gz", tmp_path / "data") == 0
    heard = {cut.supervisions[0].id: (cut.load_audio(), cut.supervisions[0].speaker) for cut in trimmed}
    check(tmp_path / "data", heard)
    alone = lhotse.MonoCut("piece", 0.25, 0.5, 1, recording=recording)
    lhotse.CutSet.from_cuts([alone]).to_file(tmp_path / "alone.jsonl")
    assert imported(tmp_path / "alone.jsonl", tmp_path / "one") == 0
    assert read_utterances(tmp_path / "one") == [
        Utterance("piece", tmp_path / "in/call.wav", "piece", 0.25, 0.75, channel=1)
    ]


def test_recordings_alone_are_utterances_without_segments(tmp_path):
    datadirs.make(tmp_path)
    paths = sorted(tmp_path.glob("s1*.wav"))
    recordings = [lhotse.Recording.from_file(path, recording_id=path.stem.strip()) for path in paths]
    lhotse.RecordingSet.from_recordings(recordings).to_file(tmp_path / "r.jsonl.gz")
    assert imported(tmp_path / "r.jsonl.gz", tmp_path / "new") == 0
    names = ["s1-a", "s1-b", "s1-c"]
    assert read_utterances(tmp_path / "new") == [Utterance(n, p, n) for n, p in zip(names, paths, strict=True)]
    assert not (tmp_path / "new/segments").exists()


def test_a_channel_of_its_own_file_is_that_file(tmp_path):
    for name in ("left", "right"):
        audio.write(tmp_path / f"{name}.wav", datadirs.noise(8000), 8000)
    sources = [
        lhotse.AudioSource("file", [n], str(tmp_path / f"{name}.wav")) for n, name in enumerate(("left", "right"))
    ]
    recording = lhotse.Recording("call", sources, 8000, 8000, 1.0)
    cut = lhotse.MonoCut("c", 0.0, 1.0, 1, recording=recording)
    lhotse.CutSet.from_cuts([cut]).to_file(tmp_path / "cuts.jsonl")
    assert imported(tmp_path / "cuts.jsonl", tmp_path / "data") == 0
    assert read_utterances(tmp_path / "data") == [Utterance("c", tmp_path / "right.wav", "c")]


def test_a_data_directory_with_units_comes_back_from_its_cuts(tmp_path):
    stereo(tmp_path / "in" / "call.wav")
    places = [("s-a", 0.25, 0.5, 0), ("s-b", 0.5, 1.0, 1), ("t-c", 0.0, 0.5, 0)]
    said = [Utterance(utt, tmp_path / "in/call.wav", utt[0], start, end, c) for utt, start, end, c in places]
    write_utterances(tmp_path / "data", said, {"s-a": "one", "s-b": "two", "t-c": "three"})
    info = UnitsInfo.of(sample_rate=8000, hop_length=80, codebook_size=100, groups=1)
    write_units(tmp_path / "units", info, [(utt, np.array([[7, 7]])) for utt, *_ in places], [])
    convert(tmp_path / "units", tmp_path / "cuts.jsonl.gz", to="lhotse", data=tmp_path / "data")
    assert imported(tmp_path / "cuts.jsonl.gz", tmp_path / "back") == 0
    assert read_utterances(tmp_path / "back") == said
    for name in ("utt2spk", "spk2utt", "text", "utt2dur"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "data" / name).read_bytes()


SOURCE = {"type": "file", "channels": [0], "source": "a.wav"}
RECORDING = {"id": "r", "sources": [SOURCE], "sampling_rate": 8000, "num_samples": 4000, "duration": 0.5}
SAID = {"id": "u", "recording_id": "r", "start": 0.0, "duration": 0.5, "channel": 0}
CUT = {"id": "c", "start": 0.0, "duration": 0.5, "channel": 0, "recording": RECORDING, "type": "MonoCut"}


def changed(line: dict, **fields: object) -> str:
    return json.dumps({**line, **fields})


def source(**fields: object) -> dict:
    return {**RECORDING, "sources": [{**SOURCE, **fields}]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not a line of a manifest of lhotse (JSONDecodeError"),
        ("[]", "not a line of a manifest of lhotse ("),
        ("{}", "not a line of a manifest of lhotse ("),
        ("[" * 100_000, "not a line of a manifest of lhotse (RecursionError"),
        (changed(CUT, type="Cut2"), "not a line of a manifest of lhotse (ValueError: Unexpected cut type"),
        (changed(CUT, id=3), "its id is no text"),
        (changed(RECORDING), "is of recordings, not of cuts as the first line; write two files"),
        (changed(CUT, recording=None), "not a line of a manifest"),
        (json.dumps({k: v for k, v in CUT.items() if k != "recording"}), "the cut c has no recording; save the audio"),
        (changed(CUT, recording=source(type="command", source="touch x")), "the recording r is a command that a shell"),
        (
            changed(CUT, recording=source(type="url", source="http://x")),
            "the recording r is audio of the type url; save",
        ),
        (changed(CUT, recording=source(source="gone.wav")), "the audio gone.wav is no file here"),
        (changed(CUT, recording=source(source="9" * 5000)), "the audio 9999"),
        (changed(CUT, recording=source(source="touch x |")), "'touch x |' is a command that a shell would run"),
        (changed(CUT, recording=source(channels=[0, 1, 2]), channel=2), "channels [2] of r are not one of two, or all"),
        (changed(CUT, channel=1), "channels [1] of r are in no one file; save the audio"),
        (
            changed(CUT, recording={**RECORDING, "transforms": [{"name": "Volume", "kwargs": {"factor": 2}}]}),
            "would change",
        ),
        (changed(CUT, start="x"), "holds what is no time, text or path (TypeError"),
        (changed(CUT, start=float("nan")), "correct the times"),
        (
            changed(CUT, recording={**RECORDING, "id": 3}),
            "holds what is no time, text or path (TypeError: ids 'c' and 3",
        ),
        (changed(CUT, start=0.5, duration=1), "c is from 0.5 s to 0.5 s of its recording; correct the times"),
        (
            changed(CUT, recording={**RECORDING, "sampling_rate": 0}),
            "holds what is no time, text or path (ZeroDivision",
        ),
        (changed(CUT, supervisions=[{**SAID, "text": 3}]), "holds what is no time, text or path (TypeError: text 3"),
        (changed(CUT, supervisions=[{**SAID, "speaker": "a b"}]), "key 'a b' contains white space"),
        (changed(CUT, id="first"), "a second utterance is named 'first'; rename one"),
        (changed(CUT, recording=source(source="b.wav")), "another recording is named 'r' too; rename one"),
    ],
)
def test_a_line_that_is_no_utterance_is_named_and_nothing_is_written(tmp_path, monkeypatch, capsys, line, message):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b.wav"):
        audio.write(tmp_path / name, datadirs.noise(4000), 8000)
    (tmp_path / "cuts.jsonl").write_text(f"{changed(CUT, id='first')}\n{line}\n")
    assert imported("cuts.jsonl", "new/data") == 2
    error = capsys.readouterr().err
    assert error.startswith("vqaudio: cuts.jsonl:2: ")
    assert message in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "new").iterdir())
    assert not (tmp_path / "x").exists()


def test_what_does_not_go_together_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    audio.write(tmp_path / "a.wav", datadirs.noise(4000), 8000)
    (tmp_path / "c.jsonl").write_text(changed(CUT) + "\n")
    (tmp_path / "r.jsonl").write_text(changed(RECORDING) + "\n")
    (tmp_path / "r2.jsonl.gz").write_bytes(gzip.compress(changed(RECORDING).encode()))
    (tmp_path / "s.jsonl").write_text(changed(SAID) + "\n" + changed(SAID, id="v", recording_id="q") + "\n")
    (tmp_path / "empty.jsonl").write_text("")
    mixed = lhotse.MonoCut.from_dict(json.loads(changed(CUT))).pad(duration=1.0).to_dict()
    (tmp_path / "m.jsonl").write_text(json.dumps(mixed) + "\n")
    for sources, message in [
        (["c.jsonl", "r.jsonl"], "c.jsonl: cuts and recordings do not go together; give cuts alone"),
        (["s.jsonl"], "s.jsonl: supervisions need recordings; give the file of the recordings too"),
        (["s.jsonl", "r.jsonl"], "s.jsonl:2: its recording q is in no file of recordings; give that file too"),
        (["s.jsonl", "r.jsonl", "r2.jsonl.gz"], "r2.jsonl.gz:1: a second recording is named 'r'; rename one"),
        (["empty.jsonl"], "empty.jsonl: is empty"),
        (["m.jsonl"], "m.jsonl:1: a MixedCut has no one recording; save the audio with lhotse first"),
        (["c.jsonl", "--speaker", "x"], "c.jsonl: has no columns to choose; leave out --id, --audio"),
    ]:
        assert imported(*sources, "data") == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "data").exists()


def test_without_lhotse_the_error_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "lhotse", None)
    (tmp_path / "c.jsonl").write_text(changed(CUT) + "\n")
    assert imported(tmp_path / "c.jsonl", tmp_path / "data") == 2
    assert "is not installed; install vqaudio[lhotse]" in capsys.readouterr().err
    data = datadirs.make(tmp_path)
    write_table(data / "text", {})
    info = UnitsInfo.of(sample_rate=8000, hop_length=80, codebook_size=100, groups=1)
    write_units(tmp_path / "units", info, [("s1-a", np.array([[7, 7]]))], [])
    argv = ["units", "convert", str(tmp_path / "units"), str(tmp_path / "x.jsonl"), "--to", "lhotse"]
    assert main([*argv, "--data", str(data)]) == 2
    assert "is not installed; install vqaudio[lhotse]" in capsys.readouterr().err
