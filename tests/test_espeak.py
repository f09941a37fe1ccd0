import hashlib
import itertools
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from vqaudio.corpora import espeak
from vqaudio.corpora.espeak import MAX_SPEAKERS, VOICES, make_corpus
from vqaudio.datadir import read_ctm
from vqaudio.errors import JobError, UserError
from vqaudio.outputs import MARK

SPEAKERS, UTTERANCES = 4, 6
SMALL = {"speakers": 2, "utterances": 2, "seed": 0}


def need_espeak():
    pytest.importorskip("espeakng_loader", reason='the extra "mini" is not installed: pip install "vqaudio[mini]"')


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    need_espeak()
    out = tmp_path_factory.mktemp("corpus") / "mini"
    make_corpus(out, speakers=SPEAKERS, utterances=UTTERANCES, seed=0)
    return out


@pytest.fixture(scope="module")
def spoken(corpus) -> list[tuple[str, np.ndarray, list]]:
    """Utterance, its samples at 48 kHz and its phones."""
    found = []
    for utt, phones in read_ctm(corpus / "phones.ctm").items():
        wav, _ = soundfile.read(corpus / "wav48_silence_trimmed" / utt[:4] / f"{utt}_mic1.flac")
        found.append((utt, wav, phones))
    return found


@pytest.fixture
def synthesizer(tmp_path):
    need_espeak()
    instances = []

    def make(variant: str = "m3"):
        instances.append(espeak._Synthesizer(tmp_path, f"library{len(instances)}", variant))
        return instances[-1]

    yield make
    for instance in instances:
        instance.close()


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def level(wav: np.ndarray) -> float:
    """RMS in dB of full scale."""
    return float(10 * np.log10(np.mean(wav**2) + 1e-12))


def cut(wav: np.ndarray, phone) -> np.ndarray:
    return wav[round(phone.start * 48000) : round((phone.start + phone.duration) * 48000)]


def test_the_corpus_has_the_layout_of_vctk(corpus):
    ids = [f"p{i:03d}_{k:03d}" for i in range(1, SPEAKERS + 1) for k in range(1, UTTERANCES + 1)]
    audio = [f"wav48_silence_trimmed/{utt[:4]}/{utt}_mic1.flac" for utt in ids]
    texts = [f"txt/{utt[:4]}/{utt}.txt" for utt in ids]
    assert sorted(digests(corpus)) == sorted([*audio, *texts, "phones.ctm", "speaker-info.txt", MARK])
    for name in audio:
        info = soundfile.info(corpus / name)
        assert (info.samplerate, info.channels, info.subtype, info.format) == (48000, 1, "PCM_16", "FLAC")
    for name in texts:
        assert (corpus / name).read_text().removesuffix("\n") in espeak._read_sentences()
    header, *rows = (corpus / "speaker-info.txt").read_text().splitlines()
    assert header == "ID  AGE  GENDER  ACCENTS  REGION COMMENTS"
    assert [row.split()[0] for row in rows] == [f"p{i:03d}" for i in range(1, SPEAKERS + 1)]
    assert [row.split()[2] for row in rows] == ["M", "F", "M", "F"]


def test_another_process_with_the_same_arguments_writes_the_same_bytes(corpus, tmp_path):
    code = f"from pathlib import Path; from vqaudio.corpora.espeak import make_corpus; \
make_corpus(Path({str(tmp_path / 'again')!r}), speakers={SPEAKERS}, utterances={UTTERANCES}, seed=0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert digests(tmp_path / "again") == digests(corpus)


def test_what_a_speaker_says_does_not_depend_on_what_else_the_process_spoke(synthesizer):
    sentence = espeak._read_sentences()[0]
    alone, _ = synthesizer("m1").synthesise(sentence, 170, 50, 50)
    other = synthesizer("f1")
    other.synthesise(sentence, 180, 60, 50)
    after, _ = synthesizer("m1").synthesise(sentence, 170, 50, 50)
    np.testing.assert_array_equal(alone, after)


def test_another_seed_gives_another_corpus(corpus, tmp_path):
    make_corpus(tmp_path / "other", speakers=1, utterances=2, seed=1)
    for name, digest in digests(tmp_path / "other").items():
        if name not in ("speaker-info.txt", MARK):
            assert digest != digests(corpus)[name], name


def test_an_interrupted_run_is_completed_by_the_same_call(tmp_path, monkeypatch):
    need_espeak()
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    make_corpus(whole, **SMALL)
    writes = itertools.count()
    write = espeak.audio.write

    def interrupted(path, *args):
        if next(writes) == 3:
            (path.parent / ".partial-0123").write_bytes(b"half of a file")
            raise KeyboardInterrupt
        write(path, *args)

    monkeypatch.setattr(espeak.audio, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_corpus(broken, **SMALL)
    assert not (broken / "phones.ctm").exists()
    make_corpus(broken, **SMALL)
    assert digests(broken) == digests(whole)


def test_phones_cover_each_recording_from_its_start_to_its_end_without_gaps(spoken):
    assert len(spoken) == SPEAKERS * UTTERANCES
    for utt, wav, phones in spoken:
        assert phones[0].start == 0, utt
        for phone, following in itertools.pairwise(phones):
            assert phone.start + phone.duration == pytest.approx(following.start, abs=1e-9), utt
            assert phone.duration > 0, utt
        assert phones[-1].start + phones[-1].duration == pytest.approx(len(wav) / 48000, abs=1e-9), utt


def test_recordings_begin_and_end_with_a_tenth_to_a_fifth_of_a_second_of_silence(spoken):
    for utt, wav, phones in spoken:
        for edge in (phones[0], phones[-1]):
            assert edge.phone == "SIL", utt
            assert 0.099 <= edge.duration <= 0.201, utt
        assert np.abs(wav).max() == pytest.approx(0.7, abs=1e-3), utt


def test_silence_is_quiet_to_the_millisecond_and_every_phone_sounds(spoken):
    for utt, wav, phones in spoken:
        for phone in phones:
            part = cut(wav, phone)
            if phone.phone == "SIL":
                assert level(part[48:-48]) < -50, (utt, phone)  # the resampler rings for a millisecond
            else:
                assert level(part) > -46, (utt, phone)


def test_vowels_are_loud_and_low_and_fricatives_are_quieter_and_high(spoken):
    levels, high = {}, {}
    for _, wav, phones in spoken:
        for phone in phones:
            power = np.abs(np.fft.rfft(cut(wav, phone))) ** 2 + 1e-12
            frequencies = np.fft.rfftfreq(len(cut(wav, phone)), 1 / 48000)
            levels.setdefault(phone.phone, []).append(level(cut(wav, phone)))
            high.setdefault(phone.phone, []).append(power[frequencies > 3000].sum() / power.sum())
    for vowel in ("IY", "IH", "EH", "AE", "AH", "AA", "AO", "ER", "EY", "AY", "OW"):
        assert np.median(levels[vowel]) > -24, vowel
        assert np.median(high[vowel]) < 0.2, vowel
    for fricative in ("S", "CH", "SH", "TH"):
        assert np.median(levels[fricative]) < -23, fricative
        assert np.median(high[fricative]) > 0.4, fricative


def test_a_voiceless_stop_begins_with_its_closure(spoken):
    openings = [
        level(cut(wav, phone)[48 : 15 * 48])
        for _, wav, phones in spoken
        for before, phone in itertools.pairwise(phones)
        if phone.phone in ("P", "T", "K") and before.phone != "SIL"
    ]
    assert np.median(openings) < -55


def test_phone_times_go_on_over_the_clauses_of_a_sentence(synthesizer):
    samples, events = synthesizer().synthesise("Stop, said she, and sit down now.", 170, 50, 50)
    marks = espeak._marks(samples, events, 22050)
    phones = [phone for _, phone in marks]
    assert " ".join(phones) == "SIL S T AA P SIL S EH D SH IY SIL AE N D S IH T D AW N N AW SIL"
    for (start, phone), (end, _) in itertools.pairwise(marks):
        if phone == "SIL":
            assert not samples[start:end].any()
        if phone == "S":
            crossings = np.mean(np.diff(np.sign(samples[start:end])) != 0)
            assert crossings > 0.3, "an s is where its event says"


def test_an_l_that_closes_a_syllable_gets_a_part_of_its_vowel(synthesizer):
    samples, events = synthesizer().synthesise("Cold hills fell.", 170, 50, 50)
    marks = espeak._marks(samples, events, 22050)
    spans = [(phone, (end - start) / 22050) for (start, phone), (end, _) in itertools.pairwise(marks)]
    assert " ".join(phone for phone, _ in spans if phone != "SIL") == "K OW L D HH IH L Z F EH L"
    for phone, seconds in spans:
        if phone == "L":
            assert 0.05 < seconds < 0.2


def test_the_sentences_are_distinct_short_and_hold_every_phone(synthesizer):
    sentences = espeak._read_sentences()
    assert len(set(sentences)) == len(sentences) >= 260
    for sentence in sentences:
        assert sentence.isascii()
        assert 5 <= len(sentence.split()) <= 11, sentence
    speaker = synthesizer()
    counts: dict[str, int] = {}
    for sentence in sentences:
        for _, phone in espeak._marks(*speaker.synthesise(sentence, 170, 50, 50), 22050):
            counts[phone] = counts.get(phone, 0) + 1
    assert set(counts) == {*espeak._PHONES.values(), "SIL"}
    assert min(counts.values()) >= 10
    assert len(counts) <= 50


def median_pitch(wav: np.ndarray) -> float:
    """F0 in Hz: the strongest autocorrelation of loud frames of 50 ms, from 70 to 400 Hz."""
    frames = wav[: len(wav) // 2400 * 2400].reshape(-1, 2400)
    loud = frames[(frames**2).mean(axis=1) > np.mean(wav**2)]
    power = np.abs(np.fft.rfft(loud, 4800)) ** 2
    correlation = np.fft.irfft(power)[:, 120:686] / (2400 - np.arange(120, 686))
    return float(np.median(48000 / (120 + correlation.argmax(axis=1))))


def test_speakers_differ_in_voice_and_women_speak_higher_than_men(spoken):
    pitch, spectra = {}, {}
    for utt, wav, phones in spoken:
        pitch.setdefault(utt[:4], []).append(median_pitch(wav))
        for phone in phones:
            if phone.phone == "AX":
                power = np.abs(np.fft.rfft(cut(wav, phone), 9600)) ** 2
                bands = np.log([band.sum() for band in np.array_split(power[:800], 20)])  # 0 to 4 kHz
                spectra.setdefault(utt[:4], []).append(bands - bands.mean())
    men, women = ("p001", "p003"), ("p002", "p004")
    assert min(np.median(pitch[woman]) for woman in women) > 1.3 * max(np.median(pitch[man]) for man in men)
    for one, other in itertools.combinations(spectra, 2):
        distance = np.abs(np.mean(spectra[one], axis=0) - np.mean(spectra[other], axis=0)).mean()
        assert distance > 1, (one, other)


def test_every_voice_exists_and_a_voice_that_returns_has_another_pitch(synthesizer):
    sentence = espeak._read_sentences()[0]
    first = {}
    for i in range(MAX_SPEAKERS):
        wav, phones = espeak._synthesise(synthesizer(VOICES[i % len(VOICES)].variant), sentence, i, random.Random(0))
        assert phones[0].phone == phones[-1].phone == "SIL"
        first[i] = hashlib.sha256(wav.tobytes()).hexdigest()
    assert len(set(first.values())) == MAX_SPEAKERS


@given(count=st.integers(1, 30), speakers=st.integers(1, 12), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_sentences_are_shared_without_repeats_while_they_last(count, speakers, share, seed):
    sentences = [f"sentence {i}" for i in range(count)]
    utterances = max(1, round(share * count))
    lists = espeak._assign(sentences, speakers, utterances, random.Random(seed))
    assert [len(one) for one in lists] == [utterances] * speakers
    assert all(len(set(one)) == utterances for one in lists)
    whole = count // utterances  # speakers that the list serves before it starts again
    assert len(set(itertools.chain(*lists[:whole]))) == utterances * min(speakers, whole)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"speakers": 0}, f"--speakers is 0; it must be from 1 to {MAX_SPEAKERS}"),
        ({"speakers": MAX_SPEAKERS + 1}, f"--speakers is {MAX_SPEAKERS + 1}; "),
        ({"utterances": 0}, "--utterances is 0; it must be from 1 to 278"),
        ({"utterances": 279}, "--utterances is 279; "),
    ],
)
def test_numbers_out_of_range_are_refused_with_their_bound(tmp_path, numbers, message):
    with pytest.raises(UserError, match=message):
        make_corpus(tmp_path / "corpus", **SMALL | numbers)
    assert not (tmp_path / "corpus").exists()


def test_a_missing_synthesizer_is_an_error_that_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r'pip install "vqaudio\[mini\]"'):
        make_corpus(tmp_path / "corpus", **SMALL)


def test_a_file_or_another_corpus_in_the_way_is_refused(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: is a file"):
        make_corpus(tmp_path / "file", **SMALL)
    with pytest.raises(UserError, match="file/below: cannot be used as a folder"):
        make_corpus(tmp_path / "file" / "below", **SMALL)
    before = digests(corpus)
    with pytest.raises(UserError, match=r"p001_003_mic1\.flac: belongs to another corpus"):
        make_corpus(corpus, **SMALL | {"speakers": SPEAKERS})
    assert digests(corpus) == before


def test_a_folder_with_the_files_of_others_is_refused_and_stays_as_it_is(tmp_path):
    (tmp_path / "phones.ctm").write_text("mine")
    (tmp_path / "speaker-info.txt").write_text("mine")
    before = digests(tmp_path)
    with pytest.raises(UserError, match=r"holds phones\.ctm, and no \.vqaudio says that vqaudio made this folder"):
        make_corpus(tmp_path, **SMALL)
    assert digests(tmp_path) == before


def test_a_phoneme_without_a_name_is_an_error_and_not_a_new_phone():
    with pytest.raises(JobError, match="'Q;'"):
        espeak._phone("Q;")
