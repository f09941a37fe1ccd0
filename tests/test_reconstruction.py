import math
import sys

import numpy as np
import pystoi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from vqaudio import audio
from vqaudio.datadir import Utterance, write_table, write_utterances
from vqaudio.errors import UserError
from vqaudio.metrics import reconstruction
from vqaudio.metrics.dtw import warping_path
from vqaudio.metrics.reconstruction import evaluate_audio, levelled_log_mel, mel_cepstral_distortion

RATE = 16000


def evaluate(references, systems, jobs=1):
    return evaluate_audio(references, systems, jobs=jobs)


def speech_like(seconds: float, seed: int = 0, sample_rate: int = RATE) -> np.ndarray:
    """Noise bursts of changing colour: something with syllables for STOI to hold on to."""
    generator = np.random.default_rng(seed)
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    wav = np.zeros(len(t))
    for frequency in (200, 450, 1100, 2600):
        envelope = 1 + np.sin(2 * np.pi * (generator.uniform(2, 6) * t + generator.uniform()))
        wav += envelope * np.sin(2 * np.pi * frequency * (1 + 0.05 * np.sin(8 * t)) * t)
    return (0.05 * wav + 0.01 * generator.standard_normal(len(t))).astype(np.float32)


@pytest.fixture
def make_list(tmp_path):
    """Write wavs (or (wav, rate) pairs) and the wav.scp that lists them."""

    def make(name: str, wavs: dict):
        folder = tmp_path / name
        folder.mkdir()
        for utt, wav in wavs.items():
            wav, rate = wav if isinstance(wav, tuple) else (wav, RATE)
            audio.write(folder / f"{utt}.wav", wav, rate)
        write_table(folder / "wav.scp", {utt: str(folder / f"{utt}.wav") for utt in wavs})
        return folder / "wav.scp"

    return make


def test_a_system_equal_to_its_reference_scores_best(make_list):
    wavs = {f"u{n}": speech_like(1.0, n) for n in range(3)}
    result = evaluate(make_list("ref", wavs), make_list("sys", wavs), jobs=2)
    assert result["estoi"] == pytest.approx(1, abs=1e-6)
    assert result["stoi"] == pytest.approx(1, abs=1e-6)
    assert result["log_mel_l1"] == 0
    assert result["mcd"] == 0
    assert (result["utterances"], result["failed"], result["length_mismatch"]) == (3, 0, 0)


def test_more_noise_scores_worse_in_every_metric(make_list):
    wav = speech_like(2.0)
    noise = np.random.default_rng(1).standard_normal(len(wav)).astype(np.float32)
    systems = {"a": wav + 0.003 * noise, "b": wav + 0.03 * noise, "c": 0.1 * noise}
    scores = evaluate(make_list("ref", dict.fromkeys("abc", wav)), make_list("sys", systems))["per_utterance"]
    for metric in ("estoi", "stoi"):
        assert scores["a"][metric] > scores["b"][metric] > scores["c"][metric]
    for metric in ("log_mel_l1", "mcd"):
        assert 0 < scores["a"][metric] < scores["b"][metric] < scores["c"][metric]


def test_stoi_and_estoi_are_those_of_pystoi(make_list):
    x, y = speech_like(1.5, 0), speech_like(1.5, 1)
    references, systems = make_list("ref", {"a": x}), make_list("sys", {"a": y})
    result = evaluate(references, systems)
    x, y = (audio.read(path.parent / "a.wav")[0] for path in (references, systems))
    assert result["estoi"] == pytest.approx(pystoi.stoi(x, y, RATE, extended=True))
    assert result["stoi"] == pytest.approx(pystoi.stoi(x, y, RATE, extended=False))
    assert result["stoi"] != pytest.approx(result["estoi"])


def test_level_does_not_count(make_list):
    wav = speech_like(1.0)
    result = evaluate(make_list("ref", {"a": wav}), make_list("sys", {"a": 0.25 * wav}))
    assert result["log_mel_l1"] < 0.02  # PCM16 rounding of the softer one
    assert result["mcd"] < 0.2
    assert result["estoi"] > 0.99


def test_the_mean_is_that_of_the_utterances(make_list):
    references = {f"u{n}": speech_like(1.0, n) for n in range(3)}
    systems = {f"u{n}": speech_like(1.0, n + 1) for n in range(3)}
    result = evaluate(make_list("ref", references), make_list("sys", systems))
    for metric in reconstruction.METRICS:
        expected = np.mean([scores[metric] for scores in result["per_utterance"].values()])
        assert result[metric] == pytest.approx(expected)


def test_threads_do_not_change_the_scores(make_list):
    lists = [make_list(name, {f"u{n}": speech_like(0.8, n + s) for n in range(6)}) for s, name in enumerate("ab")]
    one, four = (evaluate(*lists, jobs=jobs) for jobs in (1, 4))
    for utt, scores in one["per_utterance"].items():
        assert four["per_utterance"][utt] == pytest.approx(scores, abs=1e-9)


def test_signals_are_cut_to_the_shorter_and_a_large_difference_is_counted(make_list):
    wav = speech_like(1.0)
    longer = np.concatenate([wav, np.zeros(100, np.float32)])
    much_longer = np.concatenate([wav, speech_like(0.5)])
    references = make_list("ref", {"a": wav, "b": much_longer, "c": wav})
    result = evaluate(references, make_list("sys", {"a": longer, "b": wav, "c": wav}))
    assert result["length_mismatch"] == 1
    assert result["per_utterance"]["b"]["length_difference"] == pytest.approx(0.5)
    assert [scores["mcd"] for scores in result["per_utterance"].values()] == [0, 0, 0]


def test_different_rates_meet_at_the_lower_one(make_list):
    wav = speech_like(1.5, sample_rate=48000)
    low = audio.resample(wav, 48000, 8000)
    result = evaluate(make_list("ref", {"a": (wav, 48000)}), make_list("sys", {"a": (low, 8000)}))
    assert result["estoi"] > 0.98
    assert result["mcd"] < 0.5  # what lies above 4 kHz does not count
    assert result["log_mel_l1"] < 0.1


def test_what_cannot_be_scored_is_nan_and_counted_and_the_rest_is_scored(make_list, tmp_path):
    good = speech_like(1.0)
    silent = np.zeros(RATE, np.float32)
    references = make_list("ref", {"broken": good, "good": good, "short": good[:3000], "silent": good})
    systems = make_list("sys", {"broken": good, "good": good, "short": good[:3000], "silent": silent})
    (tmp_path / "sys" / "broken.wav").write_bytes(b"RIFF")
    result = evaluate(references, systems)
    scores = result["per_utterance"]
    assert (result["utterances"], result["failed"]) == (4, 3)
    assert result["estoi"] == pytest.approx(1, abs=1e-6)
    assert result["mcd"] == 0
    assert "broken.wav" in scores["broken"]["error"]
    assert all(math.isnan(scores[utt][metric]) for utt in ("broken", "silent") for metric in reconstruction.METRICS)
    assert "silent.wav: silent" in scores["silent"]["error"]
    assert math.isnan(scores["short"]["estoi"])
    assert math.isnan(scores["short"]["stoi"])
    assert scores["short"]["mcd"] == 0
    assert "too short for STOI" in scores["short"]["error"]


def test_mostly_silent_audio_has_no_stoi_instead_of_a_made_up_one(make_list):
    wav = np.concatenate([speech_like(0.2), np.zeros(RATE, np.float32)])
    result = evaluate(make_list("ref", {"a": wav}), make_list("sys", {"a": wav}))
    assert math.isnan(result["estoi"])
    assert math.isnan(result["stoi"])
    assert result["failed"] == 1


@pytest.mark.parametrize("samples", [1, 3, 159, 161, 500])
def test_a_few_samples_are_enough_for_the_spectral_metrics(make_list, samples):
    wav = speech_like(0.1)[:samples] + 0.1
    result = evaluate(make_list("ref", {"a": wav}), make_list("sys", {"a": wav}))
    assert result["mcd"] == result["log_mel_l1"] == 0


def test_missing_utterances_are_counted_on_both_sides(make_list):
    wav = speech_like(0.5)
    result = evaluate(make_list("ref", dict.fromkeys("abc", wav)), make_list("sys", dict.fromkeys("cd", wav)))
    assert result["utterances"] == 1
    assert result["utterances_without_system"] == 2
    assert result["utterances_without_reference"] == 1


def test_no_utterance_in_common_is_an_error(make_list):
    wav = speech_like(0.1)
    with pytest.raises(UserError, match="none of its 1 utterances"):
        evaluate(make_list("ref", {"a": wav}), make_list("sys", {"b": wav}))


def test_a_command_in_place_of_a_file_is_refused(make_list, tmp_path):
    references = make_list("ref", {"a": speech_like(0.1)})
    write_table(tmp_path / "piped.scp", {"a": "sox a.wav |"})
    with pytest.raises(UserError, match=r"piped\.scp: 'a' is 'sox a\.wav \|'"):
        evaluate(references, tmp_path / "piped.scp")


def test_missing_pystoi_is_an_error_that_names_the_extra(make_list, monkeypatch):
    monkeypatch.setitem(sys.modules, "pystoi", None)
    wav = speech_like(0.1)
    with pytest.raises(UserError, match=r'pip install "vqaudio\[eval\]"'):
        evaluate(make_list("ref", {"a": wav}), make_list("sys", {"a": wav}))


def test_segments_of_a_data_directory_are_the_references(make_list, tmp_path):
    wav = speech_like(2.0)
    make_list("long", {"rec": wav})
    segment = Utterance("rec-a", tmp_path / "long" / "rec.wav", "s", start=0.5, end=1.5)
    write_utterances(tmp_path / "data", [segment])
    result = evaluate(tmp_path / "data", make_list("sys", {"rec-a": wav[RATE // 2 : RATE * 3 // 2]}))
    assert result["mcd"] == 0
    assert result["length_mismatch"] == 0


def test_log_mel_puts_a_tone_in_its_band_and_its_frames_on_ten_milliseconds():
    t = np.arange(RATE // 2) / RATE
    wav = np.concatenate([np.zeros(RATE // 2), 0.5 * np.sin(2 * np.pi * 1000 * t)])
    mel = levelled_log_mel(wav, RATE)
    assert mel.shape == (100, reconstruction.MELS)
    top = 2595 * math.log10(1 + 8000 / 700)
    band = 2595 * math.log10(1 + 1000 / 700) / top * (reconstruction.MELS + 1) - 1
    assert (np.abs(mel[52:].argmax(axis=1) - band) <= 1).all()
    assert np.allclose(mel[:48], math.log(reconstruction.MIN_MAGNITUDE))
    # A tone of amplitude A has the magnitude A · Σ window / 2 in its bin; RMS 0.1 overall is A = 0.2 in half.
    assert np.exp(mel[70].max()) == pytest.approx(0.2 * 200 / 2 * 2, rel=0.5)


def test_mcd_of_unwarped_spectra_is_the_rms_difference_in_decibels():
    # L − L' = a cos(π m (j + ½) / M): a single cepstral difference a, whose RMS in dB is 20 / ln 10 · a / √2.
    flat = np.zeros((5, reconstruction.MELS))
    ripple = flat + 0.3 * np.cos(np.pi * 4 * (np.arange(reconstruction.MELS) + 0.5) / reconstruction.MELS)
    expected = 20 / math.log(10) * np.sqrt(np.square(ripple).mean())
    assert mel_cepstral_distortion(flat, ripple)[0] == pytest.approx(expected)
    assert mel_cepstral_distortion(flat, ripple + 7)[0] == pytest.approx(expected)  # c0 is left out


def test_mcd_forgives_a_small_delay():
    generator = np.random.default_rng(0)
    mel = generator.standard_normal((80, reconstruction.MELS)).cumsum(axis=0)
    delayed = np.concatenate([mel[:1].repeat(4, axis=0), mel[:-4]])
    assert mel_cepstral_distortion(mel, delayed)[0] < 0.1 * mel_cepstral_distortion(mel, mel[::-1].copy())[0]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 2**32 - 1), st.booleans())
def test_the_path_is_the_best_one_within_the_band(num_frames, band, seed, ties):
    generator = np.random.default_rng(seed)
    x, y = generator.standard_normal((2, num_frames, 3))
    if ties:
        x, y = generator.integers(0, 3, (2, num_frames, 1)).astype(float)
    _, expected = reference.warped_distance(x, y, band)
    path, distance = warping_path(x, y, band)
    assert distance == pytest.approx(expected)
    assert np.linalg.norm(x[path[:, 0]] - y[path[:, 1]], axis=1).mean() == pytest.approx(expected)
    assert path[0].tolist() == [0, 0]
    assert path[-1].tolist() == [num_frames - 1] * 2
    assert {tuple(step) for step in np.diff(path, axis=0).tolist()} <= {(1, 1), (1, 0), (0, 1)}
    assert np.abs(path[:, 0] - path[:, 1]).max() <= band


def voice(f0: np.ndarray) -> np.ndarray:
    """Ten harmonics of an F0 in Hz given at every sample; silent where it is 0."""
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    return (0.1 * (f0 > 0) * sum(np.sin(k * phase) / k for k in range(1, 11))).astype(np.float32)


@pytest.fixture
def score_pair(make_list):
    """Score one pair; `failed_…` are counts of it."""
    return lambda x, y: evaluate(make_list("x", {"u": x}), make_list("y", {"u": y}))


def test_a_voice_a_tenth_higher_is_ln_1_1_away(score_pair):
    f0 = np.full(RATE // 2, 120.0)
    result = score_pair(voice(f0), voice(1.1 * f0))
    assert result["log_f0_rmse"] == pytest.approx(math.log(1.1), abs=0.012)
    assert result["vuv_error"] < 0.1
    assert result["failed_log_f0_rmse"] == 0


def test_a_whisper_is_wrong_in_voicing(score_pair):
    x = voice(np.full(RATE // 2, 150.0))
    y = 0.05 * np.random.default_rng(0).standard_normal(len(x)).astype(np.float32)
    y[1:] -= 0.9 * y[:-1]  # like an s: pyin calls it unvoiced throughout
    assert score_pair(x, y)["vuv_error"] > 0.7


def test_audio_without_any_pitch_has_no_pitch_error(score_pair, monkeypatch):
    monkeypatch.setattr(reconstruction, "track", lambda wav, rate: np.full(-(-len(wav) // 160), np.nan))
    wav = voice(np.full(RATE // 2, 150.0))
    result = score_pair(wav, wav)
    assert math.isnan(result["log_f0_rmse"])
    assert (result["failed_log_f0_rmse"], result["failed_vuv_error"], result["failed"]) == (1, 0, 0)


def test_equal_audio_is_at_distance_zero(score_pair):
    wav = voice(np.full(RATE // 2, 150.0))
    result = score_pair(wav, wav)
    assert [result[name] for name in ("log_f0_rmse", "vuv_error", "mr_stft", "loudness_difference")] == [0, 0, 0, 0]
    assert not any(value for name, value in result.items() if name.startswith("failed"))
    assert result["recipe"] == reconstruction.RECIPE


@pytest.mark.parametrize("louder", [True, False])
def test_the_loudness_difference_has_no_sign(score_pair, louder):
    wav = speech_like(1.0)
    pair = (0.5 * wav, wav) if louder else (wav, 0.5 * wav)
    assert score_pair(*pair)["loudness_difference"] == pytest.approx(20 * math.log10(2), abs=0.01)


def test_scores_that_do_not_exist_are_counted_metric_by_metric(score_pair):
    short = voice(np.full(3000, 150.0))
    result = score_pair(short, short)
    assert result["failed"] == 1
    for metric in ("stoi", "estoi", "loudness_difference"):
        assert math.isnan(result[metric])
        assert result[f"failed_{metric}"] == 1
    for metric in ("mcd", "log_mel_l1", "mr_stft", "vuv_error"):
        assert result[metric] == 0
        assert result[f"failed_{metric}"] == 0
