import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from vqaudio import audio, features
from vqaudio.datadir import Phone, Utterance, read_ctm, write_ctm, write_utterances
from vqaudio.errors import UserError
from vqaudio.features import mfcc
from vqaudio.metrics import baseline, phone_scores
from vqaudio.units import UnitsInfo

RATE, HOP = 16000, 160
TONES = {"A": 300, "B": 900, "C": 2500}
SETS = {"train": ["t1", "t2", "t3"], "test": ["u1", "u2"]}
FRAMES_PER_PHONE = 40  # long, so that frames at the joints are few


@pytest.fixture
def corpus(tmp_path):
    """Two data directories of tones, a phone each, and unit directories without meaning."""
    generator = np.random.default_rng(0)
    phones = {}
    for name, utts in SETS.items():
        utterances = []
        for utt in utts:
            names = [*"ABC", *generator.choice([*TONES], 9)]
            t = np.arange(FRAMES_PER_PHONE * HOP) / RATE
            wav = np.concatenate([np.sin(2 * np.pi * TONES[p] * t) for p in names])
            wav = (0.1 * wav + 0.003 * generator.standard_normal(len(wav))).astype(np.float32)
            audio.write(tmp_path / f"{utt}.wav", wav, RATE)
            utterances.append(Utterance(utt, tmp_path / f"{utt}.wav", "s"))
            length = FRAMES_PER_PHONE * HOP / RATE
            phones[utt] = [Phone(n * length, length, p) for n, p in enumerate(names)]
        write_utterances(tmp_path / name, utterances)
        make_units(tmp_path / f"units_{name}", utts)
    write_ctm(tmp_path / "phones.ctm", phones)
    return tmp_path


def make_units(directory, utts, *, codebook_size=16):
    directory.mkdir()
    info = UnitsInfo(RATE, HOP, RATE / HOP, codebook_size, 1, False, "hash", "0", len(utts), 2 * len(utts))
    (directory / "units.json").write_text(json.dumps(asdict(info)))
    (directory / "units.txt").write_text("".join(f"{utt} 0 1\n" for utt in utts))
    (directory / "utt2num_units").write_text("".join(f"{utt} 2\n" for utt in utts))
    return directory


def test_units_of_tones_tell_the_tones_apart(corpus):
    model = baseline.fit(corpus / "train", corpus / "units_train")
    result = baseline.evaluate(model, corpus / "units_test", corpus / "test", corpus / "phones.ctm")
    assert result["pnmi"] > 0.8
    assert result["mapping_accuracy"] > 0.9 > result["prior_accuracy"]
    assert result["bitrate_nominal"] == 100 * 4
    assert result["utterances_scored"] == 2
    assert result["frames"] == 2 * 12 * FRAMES_PER_PHONE


def test_the_mapping_may_be_learned_on_the_training_set(corpus):
    model = baseline.fit(corpus / "train", corpus / "units_train")
    codes = {name: baseline.encode(model, corpus / name, utts) for name, utts in SETS.items()}
    phones = read_ctm(corpus / "phones.ctm")
    train = (codes["train"], phones)
    result = baseline.evaluate(model, corpus / "units_test", corpus / "test", corpus / "phones.ctm", mapping=train)
    assert result["mapping_accuracy"] > 0.9
    scores = phone_scores.score(codes["test"], phones, frame_rate=100, codebook_size=16, mapping=train)
    assert scores.items() <= result.items()
    assert result.keys() >= {"abx_within", "abx_units_across", "boundary_r_value", "run_length_mean", "speaker_probe"}


def test_the_same_seed_gives_the_same_codebook(corpus):
    first, second, other = (baseline.fit(corpus / "train", corpus / "units_train", seed=s) for s in (1, 1, 2))
    assert torch.equal(first.codebook, second.codebook)
    assert not torch.equal(first.codebook, other.codebook)


def test_features_are_standardised_on_the_training_set(corpus):
    model = baseline.fit(corpus / "train", corpus / "units_train")
    frames = torch.cat([mfcc(scaled(corpus / f"{utt}.wav"), sample_rate=RATE, hop_length=HOP) for utt in SETS["train"]])
    torch.testing.assert_close(model.mean, frames.mean(dim=0), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(model.std, frames.std(dim=0, correction=0), atol=1e-3, rtol=1e-3)


def test_a_unit_is_the_centroid_nearest_to_the_standardised_frame(corpus):
    model = baseline.fit(corpus / "train", corpus / "units_train")
    frames = mfcc(scaled(corpus / "u1.wav"), sample_rate=RATE, hop_length=HOP)
    distances = torch.cdist((frames - model.mean) / model.std, model.codebook)
    codes = model.encode(Utterance("u1", corpus / "u1.wav", "s"))
    assert codes.shape == (1, len(frames))
    assert (torch.from_numpy(codes[0]) == distances.argmin(dim=1)).float().mean() > 0.99  # but for rounding


def scaled(path):
    wav, _ = audio.read(path)
    return torch.from_numpy(wav * audio.level_gain(wav, features.LEVEL))


def test_the_level_of_a_recording_does_not_change_its_units(corpus):
    model = baseline.fit(corpus / "train", corpus / "units_train")
    wav, _ = audio.read(corpus / "u1.wav")
    audio.write(corpus / "soft.wav", 0.2 * wav, RATE)
    loud, soft = (model.encode(Utterance("u", corpus / name, "s")) for name in ("u1.wav", "soft.wav"))
    assert (loud == soft).mean() > 0.95


@pytest.mark.parametrize(
    ("sample_rate", "hop_length"), [(16000, 160), (16000, 64), (16000, 640), (22050, 221), (8000, 80)]
)
@pytest.mark.parametrize("extra", [1, 0, -1])
def test_there_is_a_frame_for_every_started_hop(sample_rate, hop_length, extra):
    samples = 7 * hop_length + extra
    features = mfcc(torch.randn(samples), sample_rate=sample_rate, hop_length=hop_length)
    assert features.shape == (math.ceil(samples / hop_length), 39)
    assert features.isfinite().all()


@pytest.mark.parametrize("hop_length", [64, 160, 320])
def test_windows_are_centred_on_their_frames(hop_length):
    wav = torch.zeros(41 * hop_length)
    wav[20 * hop_length + hop_length // 2] = 1.0  # the middle of frame 20
    energy = mfcc(wav, sample_rate=RATE, hop_length=hop_length)[:, 0]
    assert energy.argmax() == 20
    torch.testing.assert_close(energy[:20], energy[21:].flip(0), atol=0.5, rtol=0.01)


def test_one_sample_is_a_frame():
    assert mfcc(torch.ones(1), sample_rate=RATE, hop_length=HOP).shape == (1, 39)


def test_broken_training_audio_is_passed_over(corpus):
    whole = baseline.fit(corpus / "train", corpus / "units_train")
    (corpus / "t2.wav").write_bytes(b"RIFF")
    assert baseline.fit(corpus / "train", corpus / "units_train").codebook.shape == whole.codebook.shape


def test_no_readable_training_audio_is_an_error_that_says_why(corpus):
    for utt in SETS["train"]:
        (corpus / f"{utt}.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"no mfcc features to fit k-means on.*\.wav"):
        baseline.fit(corpus / "train", corpus / "units_train")


def test_units_of_utterances_that_the_data_lacks_are_an_error(corpus):
    model = baseline.fit(corpus / "train", corpus / "units_train")
    with pytest.raises(UserError, match="lacks 2 utterances that have units, u1 first"):
        baseline.evaluate(model, corpus / "units_test", corpus / "train", corpus / "phones.ctm")


def test_figures_on_real_speech_are_those_known_for_mfcc(real_speech, tmp_path):
    phones = read_ctm(real_speech / "librispeech" / "phones.ctm")
    files = {path.stem: path for path in (real_speech / "librispeech").rglob("*.flac") if path.stem in phones}
    utts = sorted(files)[::6]
    write_utterances(tmp_path / "data", [Utterance(utt, files[utt], utt.split("-")[0]) for utt in utts])
    model = baseline.fit(tmp_path / "data", make_units(tmp_path / "units", utts, codebook_size=256))
    result = phone_scores.score(
        baseline.encode(model, tmp_path / "data", utts), phones, frame_rate=100, codebook_size=256
    )
    # On a whole hour, .36 and .33; a few minutes of three speakers flatter both.
    assert 0.35 < result["pnmi"] < 0.47
    assert 0.32 < result["phone_purity"] < 0.43
    assert 0.28 < result["mapping_accuracy"] < result["phone_purity"]
    assert 0.05 < result["prior_accuracy"] < 0.10
    assert result["usage"] > 0.95
