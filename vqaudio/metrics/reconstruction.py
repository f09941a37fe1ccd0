"""Measures how close audio that was made from units is to the original.

The recipe is the same for all figures, and `RECIPE` is its version: both signals are read at 16 kHz or at the lower of
their rates, if that is less, and cut to the shorter one. STOI and loudness use them so. For the other figures they are
brought to 16 kHz and to the same RMS, so that a difference in level does not count.

Score speech as `vqaudio decode` sampled it from the units alone, each sample after the last. Do not score a
teacher-forced signal: it is predicted from the samples of the original, so it is no reconstruction.
"""

import functools
import math
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from vqaudio import audio, datadir
from vqaudio.audio.loudness import integrated_loudness
from vqaudio.datadir import Utterance
from vqaudio.errors import UserError
from vqaudio.metrics.pitch import pitch_errors, track
from vqaudio.metrics.spectra import multi_resolution_stft

RATE = 16000  # Hz, of the log-mel spectra
FFT, WINDOW, HOP = 1024, 400, 160  # samples at RATE: windows of 25 ms, padded to resolve the lowest mels; 10 ms
MELS = 80
BLOCK_FRAMES = 4096  # whose spectra are in memory at once
CEPSTRA = 24  # c1 to c24
RMS = 0.1
MIN_MAGNITUDE = 1e-3  # of a mel band, about 60 dB under speech of that RMS; below it is silence
MAX_WARP_FRAMES = 50  # between the warping path of mcd and the diagonal: 0.5 s
MAX_LENGTH_DIFFERENCE_SECONDS = 0.1
MIN_STOI_SECONDS = 0.4  # 30 frames of STOI
RECIPE = 2  # to be raised when the same audio gets other figures
METRICS = ("estoi", "stoi", "log_mel_l1", "mcd", "log_f0_rmse", "vuv_error", "mr_stft", "loudness_difference")


def evaluate_audio(reference: Path, system: Path, *, jobs: int) -> dict[str, Any]:
    """Score the audio of a system against references with the same utterance ids.

    A score that cannot be computed is NaN and is counted; means are over the scores that exist. An utterance counts as
    failed if one of its files is broken or silent, or has less than 0.4 s of speech, too little for STOI.

    Args:
        reference: wav.scp or data directory (with its segments) of the originals.
        system: the same of the reconstructions.
        jobs: threads.

    Returns:
        Means `estoi`, `stoi`, `log_mel_l1` (nats), `mcd` (dB), `log_f0_rmse` (ln Hz, frames voiced in both) and
        `vuv_error` (share of frames) along the path of `mcd`, `mr_stft`, and `loudness_difference` (dB, without sign);
        `failed_<metric>`, the number of utterances without that score; counts `utterances` scored, `failed` among them,
        `length_mismatch` (pairs whose lengths differ by more than 0.1 s), `utterances_without_system`,
        `utterances_without_reference`; `recipe`; `per_utterance`, utt -> its scores, with `error` if one failed.

    Raises:
        UserError: pystoi is missing, a list cannot be read, or no utterance is in both.
    """
    from threadpoolctl import threadpool_limits

    stoi = _pystoi()
    references, systems = _read_list(reference), _read_list(system)
    common = sorted(references.keys() & systems.keys())
    if not common:
        raise UserError(
            f"{system}: none of its {len(systems)} utterances is among the {len(references)} of {reference}; "
            "give both the same utterance ids"
        )
    # Products this small are slower in several threads.
    with warnings.catch_warnings(), threadpool_limits(1), ThreadPoolExecutor(jobs) as pool:
        warnings.filterwarnings("ignore", message="Not enough STFT frames")  # becomes NaN and a count
        scores = pool.map(lambda utt: score_pair(references[utt], systems[utt], stoi), common)
        per_utterance = dict(zip(common, scores, strict=True))
    results = per_utterance.values()
    differences = [result.get("length_difference", 0) for result in results]
    return {
        **{metric: _mean([result[metric] for result in results]) for metric in METRICS},
        **{f"failed_{metric}": sum(math.isnan(result[metric]) for result in results) for metric in METRICS},
        "utterances": len(common),
        "failed": sum("error" in result for result in results),
        "length_mismatch": sum(difference > MAX_LENGTH_DIFFERENCE_SECONDS for difference in differences),
        "utterances_without_system": len(references.keys() - common),
        "utterances_without_reference": len(systems.keys() - common),
        "recipe": RECIPE,
        "per_utterance": per_utterance,
    }


def score_pair(reference: Utterance, system: Utterance, stoi: Callable[..., float]) -> dict[str, Any]:
    """Score one utterance; `stoi` is pystoi's function.

    Returns:
        Each of `METRICS`, NaN if it cannot be computed, then with the reason as `error`; `length_difference` in seconds
        if both files can be read.
    """
    scores: dict[str, Any] = dict.fromkeys(METRICS, math.nan)
    try:
        x, y, rate, difference = _read_pair(reference, system)
    except UserError as error:
        return {**scores, "error": str(error)}
    scores["length_difference"] = difference
    if not (x.any() and y.any()):
        return {**scores, "error": f"{(system if x.any() else reference).path}: silent"}
    scores["estoi"] = _stoi_or_nan(stoi, x, y, rate, extended=True)
    scores["stoi"] = _stoi_or_nan(stoi, x, y, rate, extended=False)
    if math.isnan(scores["stoi"]):
        scores["error"] = f"{reference.path}: too short for STOI, which needs 0.4 s of speech"
    scores["loudness_difference"] = abs(integrated_loudness(y, rate) - integrated_loudness(x, rate))
    x, y = at_level(x, rate), at_level(y, rate)
    mel_x, mel_y = log_mel_magnitudes(x), log_mel_magnitudes(y)
    scores["log_mel_l1"] = float(np.abs(mel_x - mel_y).mean())
    scores["mcd"], path = mel_cepstral_distortion(mel_x, mel_y)
    scores["log_f0_rmse"], scores["vuv_error"] = pitch_errors(track(x, RATE), track(y, RATE), path)
    scores["mr_stft"] = multi_resolution_stft(x, y)
    return scores


def levelled_log_mel(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the log-mel magnitudes (N, 80) of a wav (T,) that is first brought to 16 kHz and an RMS of 0.1."""
    return log_mel_magnitudes(at_level(wav, sample_rate))


def at_level(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return a wav (T,) that is not silent, resampled to 16 kHz and scaled to an RMS of 0.1; float64."""
    wav = audio.resample(wav, sample_rate, RATE).astype(np.float64)
    return wav * (RMS / np.sqrt(np.square(wav).mean()))


def log_mel_magnitudes(wav: np.ndarray) -> np.ndarray:
    """Return the natural logarithms of mel magnitudes, (N, 80), of a wav (T,) at 16 kHz, N = ceil(T / 10 ms).

    Hann windows of 25 ms, centred on frames of 10 ms, with zeros outside; 80 triangular HTK mel bands of peak 1 from 0
    to 8 kHz; magnitudes of at least 1e-3.
    """
    num_frames = -(-len(wav) // HOP)
    margin = (WINDOW - HOP) // 2
    padded = np.pad(wav, (margin, num_frames * HOP - len(wav) + margin))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    window = np.hanning(WINDOW + 1)[:-1]
    mels = np.empty((num_frames, MELS))
    for start in range(0, num_frames, BLOCK_FRAMES):
        magnitudes = np.abs(np.fft.rfft(frames[start : start + BLOCK_FRAMES] * window, FFT))
        mels[start : start + BLOCK_FRAMES] = magnitudes @ _mel_filters()
    return np.log(np.maximum(mels, MIN_MAGNITUDE))


def mel_cepstral_distortion(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mel-cepstral distortion (dB) of two log-mel spectra (N, 80), and the warping path (L, 2) that it uses.

    Cepstra are c_m = (2 / M) Σ_j L_j cos(π m (j + ½) / M), so that L_j = c₀ + Σ c_m cos(…); c₁ to c₂₄ count, the level
    c₀ does not. The distortion is the mean of (10 / ln 10) √(2 Σ_m (c_m − ĉ_m)²) along the warping path of least sum
    that stays within 0.5 s of the diagonal. Figures of other recipes are not comparable.

    Source: Kubichek 1993, for the constant.
    """
    from vqaudio.metrics.dtw import warping_path

    angles = np.pi / MELS * np.outer(np.arange(MELS) + 0.5, np.arange(1, CEPSTRA + 1))
    basis = 2 / MELS * np.cos(angles)
    path, distance = warping_path(x @ basis, y @ basis, MAX_WARP_FRAMES)
    return 10 / math.log(10) * math.sqrt(2) * distance, path


@functools.lru_cache
def _mel_filters() -> np.ndarray:
    """Return the mel filters (FFT / 2 + 1, MELS)."""
    import torchaudio

    return torchaudio.functional.melscale_fbanks(FFT // 2 + 1, 0.0, RATE / 2, MELS, RATE).double().numpy()


def _stoi_or_nan(stoi: Callable[..., float], x: np.ndarray, y: np.ndarray, rate: int, *, extended: bool) -> float:
    """Return STOI, or NaN if there is too little speech, for which pystoi returns 1e-5 or fails."""
    if len(x) < MIN_STOI_SECONDS * rate:
        return math.nan
    value = float(stoi(x, y, rate, extended=extended))
    return math.nan if value == 1e-5 else value


def _read_pair(reference: Utterance, system: Utterance) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Return both wavs, cut to the shorter one, their rate in Hz, and by how many seconds their lengths differed."""
    rate = min(RATE, audio.info(reference.path).sample_rate, audio.info(system.path).sample_rate)
    x, _ = audio.read(reference.path, rate, reference.start, reference.end)
    y, _ = audio.read(system.path, rate, system.start, system.end)
    shorter = min(len(x), len(y))
    return x[:shorter], y[:shorter], rate, abs(len(x) - len(y)) / rate


def _read_list(path: Path) -> dict[str, Utterance]:
    """Return the utterances of a data directory, or those of a wav.scp alone."""
    if path.is_dir():
        return {utterance.utt: utterance for utterance in datadir.read_utterances(path)}
    return {utt: Utterance(utt, file, speaker=utt) for utt, file in datadir.read_wav_scp(path).items()}


def _pystoi() -> Callable[..., float]:
    """Return pystoi's function, which the extra `eval` installs."""
    try:
        from pystoi import stoi
    except ImportError:
        raise UserError('pystoi, which computes ESTOI, is missing; pip install "vqaudio[eval]"') from None
    return stoi


def _mean(scores: list[float]) -> float:
    """Return the mean of the scores that are not NaN, NaN when there is none."""
    valid = [score for score in scores if not math.isnan(score)]
    return sum(valid) / len(valid) if valid else math.nan
