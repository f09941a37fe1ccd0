"""Formatting: what is trimmed, what phone times become, and what happens to files that are not as they should be."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqaudio import audio, datadir
from vqaudio.corpora.formatting import CUTS, format_data, shift_phones, sound_span
from vqaudio.datadir import Phone, Utterance, copy_subset
from vqaudio.errors import UserError

RATE = 16000


def speech(seconds: float, rate: int = RATE, level: float = 0.3) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def with_silence(before: float, sound: float, after: float, rate: int = RATE) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 1e-4, round((before + sound + after) * rate)).astype(np.float32)
    first = round(before * rate)
    noise[first : first + round(sound * rate)] += speech(sound, rate)
    return noise


def make_data(folder: Path, wavs: dict[str, tuple[np.ndarray, int]]) -> Path:
    folder.mkdir(parents=True)
    for utt, (wav, rate) in wavs.items():
        soundfile.write(folder / f"{utt}.wav", wav, rate, subtype="FLOAT")
    datadir.write_utterances(folder, [Utterance(utt, folder / f"{utt}.wav", utt.split("-")[0]) for utt in wavs])
    return folder


def drops(folder: Path) -> dict[str, str]:
    return dict(line.split("\t") for line in (folder / "drops.tsv").read_text().splitlines())


def test_long_silence_is_trimmed_to_a_margin_of_a_tenth_of_a_second() -> None:
    first, last = sound_span(with_silence(0.8, 1.0, 0.5), RATE)
    assert first / RATE == pytest.approx(0.7, abs=0.021)
    assert last / RATE == pytest.approx(1.9, abs=0.021)


def test_speech_without_silence_is_kept_whole() -> None:
    wav = speech(0.5)
    assert sound_span(wav, RATE) == (0, len(wav))


def test_a_pause_inside_is_kept() -> None:
    wav = np.concatenate([speech(0.5), np.zeros(RATE, np.float32), speech(0.5)])
    assert sound_span(wav, RATE) == (0, len(wav))


def test_rumble_before_speech_is_not_taken_for_speech() -> None:
    rumble = (0.05 * np.sin(2 * np.pi * 15 * np.arange(RATE) / RATE)).astype(np.float32)
    first, _ = sound_span(np.concatenate([rumble, speech(1.0)]), RATE)
    assert first / RATE == pytest.approx(0.9, abs=0.021)


@pytest.mark.parametrize("length", [1, 3, 319, 320, 321])
def test_the_shortest_signals_have_a_span_inside_them(length: int) -> None:
    first, last = sound_span(np.random.default_rng(0).normal(size=length).astype(np.float32), RATE)
    assert 0 <= first <= last <= length


def test_phone_times_follow_the_cut_and_are_clipped_to_it() -> None:
    phones = [Phone(0.0, 0.7, "SIL"), Phone(0.7, 0.2, "AH"), Phone(0.9, 0.6, "SIL"), Phone(1.5, 0.1, "SIL")]
    assert shift_phones(phones, 0.6, 0.4) == [Phone(0.0, 0.1, "SIL"), Phone(0.1, 0.2, "AH"), Phone(0.3, 0.1, "SIL")]


def test_audio_that_is_a_little_too_loud_is_scaled_down_and_not_clipped(tmp_path: Path) -> None:
    wav = with_silence(0.1, 1.0, 0.1)
    source = make_data(tmp_path / "in", {"s1-1": (wav, RATE), "s1-2": (wav * 4, RATE), "s1-3": (wav * 20, RATE)})
    assert format_data(source, tmp_path / "out", sample_rate=RATE, jobs=1) == (3, 0)
    quiet, loud, louder = (audio.read(u.path)[0] for u in datadir.read_utterances(tmp_path / "out"))
    peak = np.abs(wav).max()
    assert np.abs(quiet - wav).max() < 2**-15
    for scaled in (loud, louder):  # peaks of 1.2 and 6
        assert np.abs(scaled - wav / peak).max() < 2**-14
        assert np.mean(np.abs(scaled) > 0.9999) < 0.03  # as a sine has


def test_samples_at_the_scale_of_integers_and_channels_that_cancel_are_dropped(tmp_path: Path) -> None:
    wav = with_silence(0.1, 1.0, 0.1)
    opposite = np.stack([wav, -0.99 * wav], axis=1)
    wavs = {"s1-1": (wav, RATE), "s1-2": (wav * 32768, RATE), "s1-3": (opposite, RATE)}
    source = make_data(tmp_path / "in", wavs)
    assert format_data(source, tmp_path / "out", sample_rate=RATE, jobs=1) == (1, 2)
    found = drops(tmp_path / "out")
    assert found["s1-2"].endswith("but audio is in −1..1; divide them by 32768")
    assert "its 2 channels cancel: their average is 46 dB below them" in found["s1-3"]
    assert not list((tmp_path / "out" / "wav").glob("s1-[23]*"))


def test_stereo_and_other_rates_become_mono_at_the_rate_of_the_recipe(tmp_path: Path) -> None:
    wav = with_silence(0.4, 1.0, 0.4, 48000)
    stereo = np.stack([wav, np.zeros_like(wav)], axis=1)
    source = make_data(tmp_path / "a b", {"s1-1": (stereo, 48000), "s1-2": (with_silence(0.1, 1, 0.1, 8000), 8000)})
    assert format_data(source, tmp_path / "out dir", sample_rate=RATE, jobs=2) == (2, 0)
    for utterance in datadir.read_utterances(tmp_path / "out dir"):
        found = soundfile.info(utterance.path)
        assert (found.samplerate, found.channels, found.subtype) == (RATE, 1, "PCM_16")
        assert found.duration == pytest.approx(1.2, abs=0.05)
    assert np.abs(audio.read(tmp_path / "out dir" / "wav" / "s1-1.wav")[0]).max() == pytest.approx(0.15, abs=0.01)


def test_bad_files_are_recorded_with_a_reason_and_good_ones_kept(tmp_path: Path) -> None:
    good = (with_silence(0.2, 0.5, 0.2), RATE)
    broken = np.concatenate([speech(0.5), [np.nan], speech(0.5)])
    source = make_data(
        tmp_path / "in",
        {
            "s-good": good,
            "s-nan": (broken, RATE),
            "s-short": (speech(0.5)[100:103], RATE),
            "s-silent": (np.zeros(RATE), RATE),
            "s-truncated": (speech(1.0), RATE),
        },
    )
    whole = (source / "s-truncated.wav").read_bytes()
    (source / "s-truncated.wav").write_bytes(whole[: len(whole) // 2])
    assert format_data(source, tmp_path / "out", sample_rate=RATE, jobs=1) == (1, 4)
    found = drops(tmp_path / "out")
    assert list(found) == ["s-nan", "s-short", "s-silent", "s-truncated"]
    assert "NaN" in found["s-nan"]
    assert "less than 0.1 s" in found["s-short"]
    assert "silent" in found["s-silent"]
    assert [u.utt for u in datadir.read_utterances(tmp_path / "out")] == ["s-good"]
    assert [path.name for path in (tmp_path / "out" / "wav").iterdir()] == ["s-good.wav"]


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    source = make_data(tmp_path / "in", {"s-1": (np.zeros(RATE), RATE)})
    with pytest.raises(UserError, match="none of 1 utterances"):
        format_data(source, tmp_path / "out", sample_rate=RATE, jobs=1)


def test_segments_become_files_of_their_own_with_their_phones(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.concatenate([with_silence(0.5, 1, 0.5)] * 2), RATE)
    source = tmp_path / "in"
    utterances = [Utterance(f"s-{n}", tmp_path / "long.wav", "s", 2.0 * n, 2.0 * n + 2) for n in (0, 1)]
    datadir.write_utterances(source, utterances)
    datadir.write_ctm(source / "phones.ctm", {"s-1": [Phone(0.0, 0.5, "SIL"), Phone(0.5, 1.0, "AH")]})
    format_data(source, tmp_path / "out", sample_rate=RATE, jobs=1)
    assert not (tmp_path / "out" / "segments").exists()
    silence, vowel = datadir.read_ctm(tmp_path / "out" / "phones.ctm")["s-1"]
    assert vowel.start == pytest.approx(0.1, abs=0.021)
    assert vowel.start == pytest.approx(silence.duration, abs=1e-6)
    assert vowel.duration == pytest.approx(1.0, abs=1e-6)


def test_the_durations_are_those_of_the_files_written(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.concatenate([with_silence(0.5, 1, 0.5)] * 2), RATE)
    source = tmp_path / "in"
    datadir.write_utterances(source, [Utterance(f"s-{n}", tmp_path / "long.wav", "s", 2.0 * n, 4.0) for n in (0, 1)])
    format_data(source, tmp_path / "out", sample_rate=RATE, jobs=1)
    durations = datadir.read_table(tmp_path / "out" / "utt2dur")
    lengths = {u.utt: audio.info(u.path).duration for u in datadir.read_utterances(tmp_path / "out")}
    assert {utt: float(value) for utt, value in durations.items()} == pytest.approx(lengths, abs=1e-6)
    assert len(durations) == 2


def test_formatting_again_leaves_no_file_of_before(tmp_path: Path) -> None:
    good = (with_silence(0.2, 0.5, 0.2), RATE)
    format_data(make_data(tmp_path / "in", {"s-1": good, "s-2": good}), tmp_path / "out", sample_rate=RATE, jobs=1)
    format_data(make_data(tmp_path / "in2", {"s-2": good}), tmp_path / "out", sample_rate=RATE, jobs=1)
    assert [path.name for path in (tmp_path / "out" / "wav").iterdir()] == ["s-2.wav"]


def test_an_interrupted_run_is_continued_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    utts = [f"s-{n}" for n in range(40)]
    wavs = {utt: (with_silence(0.2, 0.3 + n / 100, 0.2), RATE) for n, utt in enumerate(utts)}
    source = make_data(tmp_path / "in", wavs | {"s-silent": (np.zeros(RATE), RATE)})
    out = tmp_path / "out"
    assert format_data(source, out, sample_rate=RATE, jobs=2) == (40, 1)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    lines = (out / CUTS).read_text().splitlines(keepends=True)
    (out / CUTS).write_text("".join(lines[:12]) + lines[12][:9])  # killed while it wrote a line
    for line in lines[12:]:
        (out / "wav" / f"{json.loads(line)[0]}.wav").unlink(missing_ok=True)
    (out / "wav" / "s-0.wav").unlink()  # lost since
    for table in ("wav.scp", "utt2spk", "utt2dur", "drops.tsv"):
        (out / table).unlink()
    kept = {path: path.stat().st_mtime_ns for path in (out / "wav").iterdir()}
    assert len(kept) == 10
    assert format_data(source, out, sample_rate=RATE, jobs=2) == (40, 1)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert all(path.read_bytes() == content for path, content in before.items() if path.name != CUTS)
    assert sorted((out / CUTS).read_text().splitlines()) == sorted("".join(lines).splitlines())


@pytest.mark.parametrize("change", ["rate", "source"])
def test_files_of_another_rate_or_source_are_written_anew(change: str, tmp_path: Path) -> None:
    source = make_data(tmp_path / "in", {"s-1": (with_silence(0.2, 0.5, 0.2), RATE)})
    format_data(source, tmp_path / "out", sample_rate=RATE, jobs=1)
    before = (tmp_path / "out" / "wav" / "s-1.wav").read_bytes()
    if change == "source":
        source = make_data(tmp_path / "other", {"s-1": (with_silence(0.2, 0.6, 0.2), RATE)})
    format_data(source, tmp_path / "out", sample_rate=8000 if change == "rate" else RATE, jobs=1)
    assert (tmp_path / "out" / "wav" / "s-1.wav").read_bytes() != before


def test_a_table_that_does_not_cover_a_subset_is_left_out(tmp_path: Path) -> None:
    good = (speech(0.5), RATE)
    source = make_data(tmp_path / "in", {"s-1": good, "t-1": good})
    datadir.write_table(source / "text", {"s-1": "hello"})
    both = datadir.read_utterances(source)
    copy_subset(source, tmp_path / "one", both[:1])
    copy_subset(source, tmp_path / "both", both)
    assert (tmp_path / "one" / "text").is_file()
    assert not (tmp_path / "both" / "text").exists()


def test_formatting_deletes_only_what_an_earlier_run_wrote(tmp_path: Path) -> None:
    good = (with_silence(0.2, 0.5, 0.2), RATE)
    for folder, utts in (("in", ("s-1", "s-2")), ("in2", ("s-2",))):
        source = make_data(tmp_path / folder, dict.fromkeys(utts, good))
        format_data(source, tmp_path / "out", sample_rate=RATE, jobs=1)
        (tmp_path / "out" / "wav" / "mine.wav").write_text("mine")
    assert sorted(path.name for path in (tmp_path / "out" / "wav").iterdir()) == ["mine.wav", "s-2.wav"]
