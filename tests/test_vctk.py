"""Real VCTK's layouts, its speaker table and its known gaps, on small trees made here."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqaudio.corpora import vctk
from vqaudio.errors import UserError

TABLE = """ID  AGE  GENDER  ACCENTS  REGION COMMENTS
p225  23  F    English    Southern  England
p226  22  M    English    Surrey
p248  23  F    Indian
p280  25  F    Unknown  France   (mic2 files unavailable)
p315  18  M    American  New  England (no text)
"""


def add_wav(path: Path, rate: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(rate // 10, 0.1, dtype=np.float32), rate)


def add_text(top: Path, utt: str, text: str | bytes = "Please call Stella.\n") -> None:
    path = top / "txt" / utt.split("_")[0] / f"{utt}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def add_092(top: Path, utt: str, text: str | bytes | None = "Please call Stella.\n") -> None:
    add_wav(top / "wav48_silence_trimmed" / utt.split("_")[0] / f"{utt}_mic1.flac")
    if text is not None:
        add_text(top, utt, text)


def reasons(corpus: vctk.Corpus) -> dict[str, str]:
    return dict(corpus.drops)


@pytest.mark.parametrize("folder", ["", "VCTK-Corpus-0.92"])
def test_release_092_is_found_flat_and_in_a_folder(tmp_path: Path, folder: str) -> None:
    top = tmp_path / "my corpora" / folder
    add_092(top, "p225_001")
    add_092(top, "s5_001")
    corpus = vctk.read(tmp_path / "my corpora")
    assert [(u.utt, u.speaker, u.path.name) for u in corpus.utterances] == [
        ("p225_001", "p225", "p225_001_mic1.flac"),
        ("s5_001", "s5", "s5_001_mic1.flac"),
    ]
    assert corpus.text["p225_001"] == "Please call Stella."


@pytest.mark.parametrize("recordings", ["wav48", "wav16", "wav"])
def test_release_080_is_found_also_when_resampled(tmp_path: Path, recordings: str) -> None:
    top = tmp_path / "VCTK-Corpus"
    add_wav(top / recordings / "p225" / "p225_001.wav", 22050)
    add_text(top, "p225_001")
    assert [u.path.name for u in vctk.read(tmp_path).utterances] == ["p225_001.wav"]


def test_recordings_and_texts_without_speaker_folders_are_found(tmp_path: Path) -> None:
    add_wav(tmp_path / "wav48" / "p225_001.wav")
    (tmp_path / "txt").mkdir()
    (tmp_path / "txt" / "p225_001.txt").write_text("Ask her.")
    assert vctk.read(tmp_path).text == {"p225_001": "Ask her."}


def test_another_folder_is_refused_and_the_error_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    with pytest.raises(UserError, match=r"wav48_silence_trimmed/ \(0.92\) or wav48/ \(0.80\)"):
        vctk.read(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        vctk.read(tmp_path / "absent")


def test_a_layout_without_recordings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wav48_silence_trimmed" / "p225").mkdir(parents=True)
    (tmp_path / "txt").mkdir()
    with pytest.raises(UserError, match=r"no recording here.*_mic1.flac"):
        vctk.read(tmp_path)


def test_a_corpus_without_any_usable_recording_is_refused(tmp_path: Path) -> None:
    add_092(tmp_path, "p315_001", text=None)
    (tmp_path / "txt").mkdir()
    with pytest.raises(UserError, match="recordings is usable"):
        vctk.read(tmp_path)


def test_every_known_gap_is_dropped_with_its_reason_and_nothing_else(tmp_path: Path) -> None:
    add_092(tmp_path, "p225_001")
    add_092(tmp_path, "p225_002", text=None)
    add_092(tmp_path, "p225_003", text=" \n")
    add_092(tmp_path, "p225_004", text=b"caf\xe9")
    add_092(tmp_path, "p315_001", text=None)
    add_wav(tmp_path / "wav48_silence_trimmed" / "p226" / "p226_001_mic2.flac")
    add_text(tmp_path, "p226_001")
    (tmp_path / "wav48_silence_trimmed" / "p225" / "p376_295.raw").write_bytes(b"\0\0")
    for number, content in ((5, b""), (6, b"no audio at all")):
        (tmp_path / "wav48_silence_trimmed" / "p225" / f"p225_00{number}_mic1.flac").write_bytes(content)
        add_text(tmp_path, f"p225_00{number}")
    corpus = vctk.read(tmp_path)
    assert [u.utt for u in corpus.utterances] == ["p225_001"]
    found = reasons(corpus)
    expected = {
        "p225_002": "no text",
        "p225_003": "text is empty",
        "p225_004": "not UTF-8",
        "p225_005": "empty file",
        "p225_006": "decode",
        "p226_001": "no recording by mic1",
        "p315_001": "VCTK has no text of p315",
        "p376_295": "p376_295.raw: not named like a recording",
    }
    assert found.keys() == expected.keys()
    for utt, reason in expected.items():
        assert reason in found[utt]
        assert "\t" not in found[utt]
        assert str(tmp_path) not in found[utt]


def test_links_that_lead_nowhere_are_dropped_with_their_target(tmp_path: Path) -> None:
    for number in range(1, 5):
        add_092(tmp_path, f"p225_00{number}")
    for path in (
        tmp_path / "wav48_silence_trimmed" / "p225" / "p225_002_mic1.flac",
        tmp_path / "txt" / "p225" / "p225_003.txt",
    ):
        path.unlink()
        path.symlink_to(f"../../.git/annex/{path.name}")
    corpus = vctk.read(tmp_path)
    assert [u.utt for u in corpus.utterances] == ["p225_001", "p225_004"]
    found = reasons(corpus)
    assert found.keys() == {"p225_002", "p225_003"}
    assert "the link leads nowhere, to ../../.git/annex/p225_002_mic1.flac; fetch" in found["p225_002"]
    assert "the link leads nowhere, to ../../.git/annex/p225_003.txt; fetch" in found["p225_003"]


def test_a_corpus_of_links_alone_says_why_nothing_is_usable(tmp_path: Path) -> None:
    for utt in ("p225_001", "p225_002"):
        add_text(tmp_path, utt)
        path = tmp_path / "wav48" / "p225" / f"{utt}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("nowhere.wav")
    with pytest.raises(UserError, match=r"none of 2 recordings is usable, e\.g\. p225_002: .*the link leads nowhere"):
        vctk.read(tmp_path)


def test_files_of_other_names_alone_are_named(tmp_path: Path) -> None:
    add_wav(tmp_path / "wav48" / "p226" / "p226_001_mic2.flac")
    add_text(tmp_path, "p226_001")
    with pytest.raises(UserError, match=r"no recording here \(but p226_001: no recording by mic1\)"):
        vctk.read(tmp_path)


def test_twins_that_macos_makes_are_passed_over(tmp_path: Path) -> None:
    add_092(tmp_path, "p225_001")
    for folder, name in (("wav48_silence_trimmed", "._p225_001_mic1.flac"), ("txt", "._p225_001.txt")):
        (tmp_path / folder / "p225" / name).write_bytes(b"\0\5\x16\7Mac OS X")
        (tmp_path / folder / "._p225").write_bytes(b"\0\5\x16\7Mac OS X")
    (tmp_path / "._wav48_silence_trimmed").write_bytes(b"\0\5\x16\7Mac OS X")
    corpus = vctk.read(tmp_path)
    assert ([u.utt for u in corpus.utterances], corpus.drops) == (["p225_001"], [])


def test_of_two_recordings_of_one_utterance_the_one_that_is_not_used_is_named(tmp_path: Path) -> None:
    add_092(tmp_path, "p225_001")
    add_wav(tmp_path / "wav48_silence_trimmed" / "p225" / "p225_001.wav")
    corpus = vctk.read(tmp_path)
    assert [utterance.path.name for utterance in corpus.utterances] == ["p225_001_mic1.flac"]
    assert corpus.drops == [
        ("p225_001", "p225_001.wav: p225_001_mic1.flac is used, a recording of the same utterance"),
    ]


def test_text_is_one_line_with_single_spaces(tmp_path: Path) -> None:
    add_092(tmp_path, "p225_001", text='\ufeffShe said  "yes"\tto\r\nthem. \n')
    assert vctk.read(tmp_path).text["p225_001"] == 'She said "yes" to them.'


def test_the_speaker_table_is_read_by_tokens(tmp_path: Path) -> None:
    path = tmp_path / "speaker-info.txt"
    path.write_text(TABLE + "s5  --  F\n")
    speakers = vctk.read_speakers(path)
    assert speakers["p225"] == vctk.Speaker(23, "f", "English", "Southern England")
    assert speakers["p248"] == vctk.Speaker(23, "f", "Indian", "")
    assert speakers["p280"].region == "France"
    assert speakers["p315"].region == "New England"
    assert speakers["s5"] == vctk.Speaker(None, "f", "", "")


def test_the_table_of_release_080_gets_its_p(tmp_path: Path) -> None:
    path = tmp_path / "speaker-info.txt"
    path.write_text("ID  AGE  GENDER  ACCENTS  REGION\n225  23  F    English    Southern  England\n")
    assert list(vctk.read_speakers(path)) == ["p225"]


def test_a_speaker_without_a_row_has_no_gender_and_the_others_do(tmp_path: Path) -> None:
    for utt in ("p225_001", "p226_001", "p999_001"):
        add_092(tmp_path, utt)
    (tmp_path / "speaker-info.txt").write_text(TABLE)
    assert vctk.read(tmp_path).gender == {"p225": "f", "p226": "m"}


def test_real_speech_in_this_layout_is_read_whole(real_speech: Path) -> None:
    corpus = vctk.read(real_speech / "vctk-layout")
    assert (len(corpus.utterances), len(corpus.gender), corpus.drops) == (1500, 125, [])
