"""The corpus committed in recipes/vctk/corpus: whole, in VCTK's layout, with phone times, and split without loss."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqaudio.corpora import vctk
from vqaudio.corpora.splits import choose_unseen, make_splits, normalise
from vqaudio.datadir import Phone, read_ctm

CORPUS = Path(__file__).parents[1] / "recipes" / "vctk" / "corpus"
MAX_BYTES = 12_000_000
PHONES = {
    *("P", "B", "T", "D", "K", "G", "DX", "CH", "JH", "F", "V", "TH", "DH", "S", "Z", "SH", "ZH", "HH"),
    *("M", "N", "NG", "L", "R", "Y", "W", "IY", "IH", "EH", "AE", "AA", "AO", "AH", "AX", "ER", "UH", "UW"),
    *("EY", "AY", "OY", "AW", "OW", "sil"),
}
SPEAKERS = {f"p00{i}": 30 if i in (1, 8) else 80 for i in range(1, 9)}
UTTS = [f"{speaker}_{k + 1:03d}" for speaker, count in SPEAKERS.items() for k in range(count)]


def audio_file(utt: str) -> Path:
    return CORPUS / "wav24" / utt[:4] / f"{utt}.opus"


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    layout = vctk.find_layout(CORPUS)
    return {utt: vctk.read_text(layout, utt) for utt in UTTS}


@pytest.fixture(scope="module")
def phones() -> dict[str, list[Phone]]:
    return read_ctm(CORPUS / "phones.ctm")


def test_the_corpus_is_the_one_that_was_committed():
    sums = [line.split("  ", 1) for line in (CORPUS / "SHA256SUMS").read_text().splitlines()]
    assert {name: hashlib.sha256((CORPUS / name).read_bytes()).hexdigest() for _, name in sums} == {
        name: digest for digest, name in sums
    }
    listed = {CORPUS / name for _, name in sums} | {
        CORPUS / name for name in ("SHA256SUMS", "CARD.md", ".gitattributes")
    }
    assert {path for path in CORPUS.rglob("*") if path.is_file()} == listed


def test_the_corpus_holds_at_most_12_mb():
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) <= MAX_BYTES


def test_every_utterance_has_audio_and_text_in_the_layout_of_vctk(texts):
    layout = vctk.find_layout(CORPUS)
    assert layout == vctk.Layout(CORPUS, CORPUS / "wav24", CORPUS / "txt")
    assert sorted(layout.recordings.glob("*/*")) == [audio_file(utt) for utt in UTTS]
    assert sorted(path.stem for path in layout.texts.glob("*/*")) == UTTS
    assert all(text.isascii() and text[-1] in ".?" for text in texts.values())


def test_the_reader_of_vctk_reads_every_utterance(texts):
    corpus = vctk.read(CORPUS)
    assert [utterance.utt for utterance in corpus.utterances] == UTTS
    assert corpus.text == texts
    assert corpus.drops == []
    assert corpus.gender == dict(zip(SPEAKERS, "ffmfmfmm", strict=True))


def test_half_the_speakers_are_women_and_half_are_british():
    table = vctk.read_speakers(CORPUS / "speaker-info.txt")
    assert list(table) == list(SPEAKERS)
    assert sorted((row.gender, row.accent) for row in table.values()) == sorted(
        [("f", "American"), ("f", "English"), ("m", "American"), ("m", "English")] * 2
    )


def test_phones_follow_each_other_from_0_to_the_end_of_the_audio(phones):
    assert list(phones) == UTTS
    for utt, row in phones.items():
        info = soundfile.info(audio_file(utt))
        assert (info.samplerate, info.channels, info.format, info.subtype) == (24000, 1, "OGG", "OPUS")
        ends = np.cumsum([phone.duration for phone in row])
        np.testing.assert_allclose([phone.start for phone in row], [0.0, *ends[:-1]], atol=1e-6)
        assert ends[-1] == pytest.approx(info.duration, abs=1e-4)
        assert min(phone.duration for phone in row) >= 0.015
        assert (row[0].phone, row[-1].phone) == ("sil", "sil")


def test_phones_are_those_of_the_card(phones):
    assert {phone.phone for row in phones.values() for phone in row} == PHONES


def test_silence_is_silent_and_speech_is_at_one_level(phones):
    for utt in UTTS[::30]:
        wav, _ = soundfile.read(audio_file(utt))
        first, last = (round(time * 24000) for time in (phones[utt][0].duration, phones[utt][-1].start))
        quiet = np.concatenate([wav[: first - 600], wav[last + 1200 :]])  # the edges may hold the end of a sound
        assert -27 < 20 * np.log10(wav[first:last].std()) < -22.5  # dBFS: -23, or less where a peak would clip
        assert 20 * np.log10(quiet.std() + 1e-9) < -60
        assert np.abs(wav).max() < 1


def test_the_splits_lose_no_utterance_and_the_test_of_seen_speakers_is_parallel(texts):
    speaker_of = {utt: utt[:4] for utt in UTTS}
    gender = {name: row.gender for name, row in vctk.read_speakers(CORPUS / "speaker-info.txt").items()}
    unseen = choose_unseen(set(SPEAKERS), gender)
    assert unseen == ["p001", "p008"]
    splits = make_splits(speaker_of, texts, unseen)
    assert splits.drops == []
    assert {name: len(utts) for name, utts in splits.sets.items()} == {
        "train": 408,
        "dev": 24,
        "test_seen": 48,
        "test_unseen": 60,
    }
    sentences = {name: {normalise(texts[utt]) for utt in utts} for name, utts in splits.sets.items()}
    assert len(sentences["test_seen"]) == 8  # read by all six
    assert not sentences["train"] & (sentences["test_seen"] | sentences["test_unseen"] | sentences["dev"])
