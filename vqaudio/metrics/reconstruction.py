"""How close audio that came back from units is to the original.

The recipe, fixed for all figures (`RECIPE` is its version): both signals are read at the lowest of their two rates and
16 kHz, and cut to the shorter one. For all but STOI, loudness and PESQ they are then brought to 16 kHz, and for the
spectral ones to the same RMS, so that a difference in level does not count.

Speech is scored as `vqaudio decode` sampled it from the units alone, each sample after the last. A teacher-forced
signal, predicted from the original's own samples, is no reconstruction: score none.
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
from vqaudio.datadir import Utterance
from vqaudio.datadir.tables import PIPE_CURE, is_pipe, refuse
from vqaudio.errors import UserError
from vqaudio.metrics.pitch import pitch_errors, track
from vqaudio.metrics.spectra import loudness_difference, multi_resolution_stft

RATE = 16000  # Hz, of the log-mel spectra
FFT, WINDOW, HOP = 1024, 400, 160  # samples at RATE: 25 ms windows, padded to resolve the lowest mels; 10 ms
MELS = 80
BLOCK = 4096  # frames whose spectra are in memory at once
CEPSTRA = 24  # c1 to c24
RMS = 0.1
FLOOR = 1e-3  # mel magnitude, about 60 dB under speech of that RMS: below it all is silence
BAND = 50  # frames that the warping of mcd may leave the diagonal: 0.5 s
LENGTH_TOLERANCE = 0.1  # seconds
MIN_STOI_SECONDS = 0.4  # seconds: 30 frames of STOI
RECIPE = 1  # to be raised when the same audio would get other figures
METRICS = ("estoi", "stoi", "log_mel_l1", "mcd", "log_f0_rmse", "vuv_error", "mr_stft", "loudness_difference")


def evaluate(reference: Path, system: Path, *, jobs: int = 1) -> dict[str, Any]:
    """Score the audio of a system against references that have the same utterance id.

    A score that cannot be computed is NaN and counted; means are over the scores that exist. An utterance counts as
    failed when a file is broken or silent, or has under 0.4 s of speech, too little for STOI.

    Args:
        reference: wav.scp or data directory (with its segments) of the originals.
        system: the same of what came back.
        jobs: threads.

    Returns:
        Means `estoi`, `stoi`, `log_mel_l1` (nats), `mcd` (dB), `log_f0_rmse` (ln Hz, frames voiced in both) and
        `vuv_error` (share of frames) along the path of `mcd`, `mr_stft`, `loudness_difference` (dB), and `pesq`
        (P.862.2, wide band, audio of 16 kHz or more) where the package pesq is installed; `failed_<metric>`, how many
        utterances have none; counts `utterances` scored, `failed` among them, `length_mismatch` (pairs that differ by
        more than 0.1 s), `utterances_without_system`, `utterances_without_reference`; `recipe`; `per_utterance`,
        utt -> its scores, with `error` where one failed.

    Raises:
        UserError: pystoi is missing, a list cannot be read, or no utterance is in both.
    """
    stoi, pesq = _pystoi(), _pesq()
    metrics = (*METRICS, "pesq") if pesq else METRICS
    references, systems = _read_list(reference), _read_list(system)
    common = sorted(references.keys() & systems.keys())
    if not common:
        raise UserError(
            f"{system}: none of its {len(systems)} utterances is in {reference} ({len(references)}): "
            "give both the same utterance ids"
        )
    with warnings.catch_warnings(), ThreadPoolExecutor(jobs) as pool:
        warnings.filterwarnings("ignore", message="Not enough STFT frames")  # becomes NaN and a count
        scores = pool.map(lambda utt: score_pair(references[utt], systems[utt], stoi, pesq), common)
        per_utterance = dict(zip(common, scores, strict=True))
    results = per_utterance.values()
    return {
        **{metric: _mean([result[metric] for result in results]) for metric in metrics},
        **{f"failed_{metric}": sum(math.isnan(result[metric]) for result in results) for metric in metrics},
        "utterances": len(common),
        "failed": sum("error" in result for result in results),
        "length_mismatch": sum(result.get("length_difference", 0) > LENGTH_TOLERANCE for result in results),
        "utterances_without_system": len(references.keys() - common),
        "utterances_without_reference": len(systems.keys() - common),
        "recipe": RECIPE,
        "per_utterance": per_utterance,
    }


def score_pair(
    reference: Utterance, system: Utterance, stoi: Callable[..., float], pesq: Callable[..., float] | None = None
) -> dict[str, Any]:
    """Score one utterance; `stoi` is pystoi's function, `pesq` that of the package pesq.

    Returns:
        Each of `METRICS`, and `pesq` where there is one, NaN when it cannot be computed, with the reason as `error`;
        `length_difference` in seconds when both files can be read.
    """
    scores: dict[str, Any] = dict.fromkeys((*METRICS, "pesq") if pesq else METRICS, math.nan)
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
    scores["loudness_difference"] = loudness_difference(x, y, rate)
    if pesq is not None:
        scores["pesq"] = _pesq_or_nan(pesq, x, y, rate)
    x, y = at_level(x, rate), at_level(y, rate)
    mel_x, mel_y = mel_spectrum(x), mel_spectrum(y)
    scores["log_mel_l1"] = float(np.abs(mel_x - mel_y).mean())
    scores["mcd"], path = mel_cepstral_distortion(mel_x, mel_y)
    scores["log_f0_rmse"], scores["vuv_error"] = pitch_errors(track(x, RATE), track(y, RATE), path)
    scores["mr_stft"] = multi_resolution_stft(x, y)
    return scores


def log_mel(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Turn a wav (T,) into natural log mel magnitudes (N, 80), N = ceil(T / 10 ms), at a fixed level.

    The wav is resampled to 16 kHz and scaled to an RMS of 0.1. Hann windows of 25 ms, centred on frames of
    10 ms, zeros outside; 80 triangular HTK mel bands from 0 to 8 kHz of peak 1; floor 1e-3.
    """
    return mel_spectrum(at_level(wav, sample_rate))


def at_level(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Resample a wav (T,) that is not silent to 16 kHz and scale it to an RMS of 0.1; float64."""
    wav = audio.resample(wav, sample_rate, RATE).astype(np.float64)
    return wav * (RMS / np.sqrt(np.square(wav).mean()))


def mel_spectrum(wav: np.ndarray) -> np.ndarray:
    """Do the rest of `log_mel`: wav (T,) at 16 kHz to (N, 80)."""
    num_frames = -(-len(wav) // HOP)
    margin = (WINDOW - HOP) // 2
    padded = np.pad(wav, (margin, num_frames * HOP - len(wav) + margin))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    window = np.hanning(WINDOW + 1)[:-1]
    mels = np.empty((num_frames, MELS))
    for start in range(0, num_frames, BLOCK):
        magnitudes = np.abs(np.fft.rfft(frames[start : start + BLOCK] * window, FFT))
        mels[start : start + BLOCK] = magnitudes @ _mel_filters()
    return np.log(np.maximum(mels, FLOOR))


def mel_cepstral_distortion(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Mel-cepstral distortion in dB of two log-mel spectra of equal length (N, 80), and the path (L, 2) behind it.

    Cepstra c_m = (2 / M) Σ_j L_j cos(π m (j + ½) / M), so that L_j = c₀ + Σ c_m cos(…); c₁ to c₂₄ count, the
    level c₀ does not. The mean of (10 / ln 10) √(2 Σ_m (c_m − ĉ_m)²) along the warping path of least sum that
    stays within 0.5 s of the diagonal. Figures of other recipes are not comparable.

    Source: Kubichek 1993, for the constant.
    """
    from vqaudio.metrics.dtw import warping_path

    angles = np.pi / MELS * np.outer(np.arange(MELS) + 0.5, np.arange(1, CEPSTRA + 1))
    basis = 2 / MELS * np.cos(angles)
    path, distance = warping_path(x @ basis, y @ basis, BAND)
    return 10 / math.log(10) * math.sqrt(2) * distance, path


@functools.lru_cache
def _mel_filters() -> np.ndarray:
    """Return the mel filters (FFT / 2 + 1, MELS)."""
    import torchaudio

    return torchaudio.functional.melscale_fbanks(FFT // 2 + 1, 0.0, RATE / 2, MELS, RATE).double().numpy()


def _stoi_or_nan(stoi: Callable[..., float], x: np.ndarray, y: np.ndarray, rate: int, *, extended: bool) -> float:
    """Return STOI, or NaN where there is too little speech for it: pystoi would say 1e-5 or fail."""
    if len(x) < MIN_STOI_SECONDS * rate:
        return math.nan
    value = float(stoi(x, y, rate, extended=extended))
    return math.nan if value == 1e-5 else value


def _pesq_or_nan(pesq: Callable[..., float], x: np.ndarray, y: np.ndarray, rate: int) -> float:
    """Return wide-band PESQ, or NaN below 16 kHz and where it finds no speech."""
    if rate < RATE:
        return math.nan
    try:
        return float(pesq(rate, x, y, "wb"))
    except Exception:  # its own errors derive from nothing narrower
        return math.nan


def _read_pair(reference: Utterance, system: Utterance) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Read both at their lowest rate or RATE and cut them to the shorter; also the difference in seconds."""
    rate = min(RATE, audio.info(reference.path).sample_rate, audio.info(system.path).sample_rate)
    x, _ = audio.read(reference.path, rate, reference.start, reference.end)
    y, _ = audio.read(system.path, rate, system.start, system.end)
    shorter = min(len(x), len(y))
    return x[:shorter], y[:shorter], rate, abs(len(x) - len(y)) / rate


def _read_list(path: Path) -> dict[str, Utterance]:
    """Read the utterances of a data directory, or those of a wav.scp alone."""
    if path.is_dir():
        return {utterance.utt: utterance for utterance in datadir.read_utterances(path)}
    files = datadir.read_table(path, what="the path of its audio")
    refuse([f"{path}: '{utt}' is '{file}': {PIPE_CURE}" for utt, file in files.items() if is_pipe(file)])
    return {utt: Utterance(utt, Path(file), speaker=utt) for utt, file in files.items()}


def _pystoi() -> Callable[..., float]:
    """Return pystoi's function, which the extra `eval` installs."""
    try:
        from pystoi import stoi
    except ImportError:
        raise UserError('pystoi is missing, which ESTOI needs: pip install "vqaudio[eval]"') from None
    return stoi


def _pesq() -> Callable[..., float] | None:
    """Return the function of the package pesq, where somebody has installed it."""
    try:
        from pesq import pesq
    except ImportError:
        return None
    return pesq


def _mean(scores: list[float]) -> float:
    """Return the mean of the scores that are not NaN, NaN when there is none."""
    valid = [score for score in scores if not math.isnan(score)]
    return sum(valid) / len(valid) if valid else math.nan
