"""Utterances as audio: durations without headers, a bounded memory of levels, and files that cannot be read."""

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqaudio import audio
from vqaudio.errors import JobError, UserError
from vqaudio.training import recordings
from vqaudio.training.recordings import Recordings, read_unreadable, write_unreadable

RATE = 8000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five FLAC files of 0.5 to 0.9 s."""
    random = np.random.default_rng(0)
    scp = ""
    for i in range(5):
        wav = random.uniform(-0.5, 0.5, 4000 + 800 * i)
        soundfile.write(tmp_path / f"u{i}.flac", wav, RATE)
        scp += f"u{i} {tmp_path / f'u{i}.flac'}\n"
    (tmp_path / "wav.scp").write_text(scp)
    (tmp_path / "utt2spk").write_text("".join(f"u{i} s\n" for i in range(5)))
    return tmp_path


def recordings_of(data: Path, level_db: float | None = -26.0) -> Recordings:
    return Recordings(data, sample_rate=RATE, level_db=level_db)


def test_durations_come_from_utt2dur_and_no_header_is_read(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = recordings_of(data).durations
    assert expected.tolist() == [0.5, 0.6, 0.7, 0.8, 0.9]
    (data / "utt2dur").write_text("".join(f"u{i} {seconds}\n" for i, seconds in enumerate(expected)))
    opened: list[Path] = []
    monkeypatch.setattr(audio, "info", opened.append)
    assert np.array_equal(recordings_of(data).durations, expected)
    assert not opened


def test_what_utt2dur_lacks_comes_from_the_header(data: Path) -> None:
    (data / "utt2dur").write_text("u1 0.55\n")
    assert recordings_of(data).durations.tolist() == [0.5, 0.55, 0.7, 0.8, 0.9]


def test_segments_tell_durations_themselves(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "segments").write_text("".join(f"u{i} u{i} 0.1 0.4\n" for i in range(5)))
    monkeypatch.setattr(audio, "info", None)
    assert recordings_of(data).durations == pytest.approx([0.3] * 5)


@pytest.mark.parametrize("value", ["0", "-1", "long", "1.0 2.0"])
def test_a_duration_that_is_none_is_refused(data: Path, value: str) -> None:
    (data / "utt2dur").write_text(f"u1 {value}\n")
    with pytest.raises(UserError, match=f"utt2dur: 'u1' is '{value}' and must be seconds above 0; correct it"):
        recordings_of(data)


def test_a_level_is_measured_once_as_long_as_it_is_kept(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "MAX_KEPT", 2)
    source = recordings_of(data)
    first = source.level(0)
    assert source.level(0) is first
    for row in range(1, 5):
        source.level(row)
    assert source.level.cache_info().currsize == 2
    again = source.level(0)
    assert again is not first
    assert again == first
    assert first.samples == 4000


def test_the_whole_utterance_decides_its_level(data: Path) -> None:
    wav, _ = audio.read(data / "u2.flac")
    levelled = recordings_of(data).level(2).change.apply(wav)
    assert 20 * np.log10(np.sqrt(np.mean(np.square(levelled)))) == pytest.approx(-26, abs=0.01)
    assert np.array_equal(recordings_of(data).whole(2), levelled)
    assert np.array_equal(recordings_of(data, None).level(2).change.apply(wav), wav)


def test_a_header_that_cannot_be_read_gives_no_speech_and_a_line(data: Path, caplog) -> None:
    (data / "u3.flac").write_bytes(b"not audio")
    with caplog.at_level(logging.WARNING, logger="vqaudio.training"):
        source = recordings_of(data)
    assert source.durations.tolist() == [0.5, 0.6, 0.7, 0.0, 0.9]
    assert "utterance u3 is skipped" in caplog.text
    assert list(source.unreadable) == ["u3"]


def test_a_file_with_a_good_header_and_bad_samples_is_found_when_it_is_measured(data: Path) -> None:
    wav, _ = audio.read(data / "u3.flac")
    wav[5000] = np.nan
    soundfile.write(data / "u3.flac", wav, RATE, format="WAV", subtype="FLOAT")
    source = recordings_of(data)
    assert source.durations[3] == 0.8
    for _ in range(2):  # nothing is kept of a failure: the file may be repaired
        with pytest.raises(UserError, match=r"u3\.flac"):
            source.level(3)


def test_audio_that_cannot_be_opened_at_all_is_a_mistake(data: Path) -> None:
    for i in range(3):
        (data / f"u{i}.flac").unlink()
    with pytest.raises(UserError, match=r"3 of 5 utterances cannot be read, more than 50 %, such as .*; vqaudio data"):
        recordings_of(data)


def test_too_many_unreadable_utterances_end_the_job(data: Path, caplog) -> None:
    source = recordings_of(data)
    for row in (0, 1, 1, 0):
        source.skip(row, UserError("torn"))
    assert len(caplog.records) == 2  # one line for each utterance, however often it is drawn
    with pytest.raises(JobError, match="3 of 5 utterances cannot be read"):
        source.skip(2, UserError("torn"))


def test_the_list_of_unreadable_utterances_is_read_back(data: Path, tmp_path: Path) -> None:
    utterances = recordings_of(data).utterances
    assert read_unreadable(tmp_path, utterances) == {}
    write_unreadable(tmp_path, {"u4": "u4.flac: torn\nover two lines", "gone": "of other data", "u1": "a\tb"})
    assert (tmp_path / "failed.txt").read_text().startswith("gone\tof other data\nu1\ta b\nu4\t")
    assert read_unreadable(tmp_path, utterances) == {"u1": "a b", "u4": "u4.flac: torn over two lines"}
    write_unreadable(tmp_path, {})
    assert not (tmp_path / "failed.txt").exists()
