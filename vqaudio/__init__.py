"""vqaudio: discrete units from raw speech, and speech from units.

>>> import vqaudio
>>> model = vqaudio.load()  # the released model, or a model directory: load("exp/vctk_kmeans")  # doctest: +SKIP
>>> codes = model.encode(wav, sample_rate)  # (G, N) int64, any length, any rate  # doctest: +SKIP
>>> wav = model.decode(codes, speaker="p225", seed=0)  # (T,) float32  # doctest: +SKIP
>>> for piece in model.decode_stream(codes, speaker="p225", seed=0):  # while it is sampled  # doctest: +SKIP
...     play(piece)  # doctest: +SKIP
"""

from typing import TYPE_CHECKING

from vqaudio import machine as machine  # decides where numba keeps compiled code, before numba is imported
from vqaudio.defaults import SEED, TEMPERATURE

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from vqaudio.codec import Codec

__version__ = "0.2.0"
__all__ = ["decode", "encode", "load"]


def load(model_dir: "str | Path" = "default", device: str = "cpu") -> "Codec":
    """Return the model of a directory, or the released one, on `cpu` or `cuda`, for any number of calls."""
    from vqaudio import codec  # imports torch; `import vqaudio` alone stays fast

    return codec.load(model_dir, device)


def encode(model_dir: "str | Path", wav: "np.ndarray", sample_rate: int) -> "np.ndarray":
    """Return the codes (G, N) int64 of one `wav` (T,): `load(model_dir).encode(wav, sample_rate)`."""
    return load(model_dir).encode(wav, sample_rate)


def decode(
    model_dir: "str | Path",
    codes: "np.ndarray",
    speaker: str | None = None,
    seed: int = SEED,
    temperature: float = TEMPERATURE,
) -> "np.ndarray":
    """Return speech (T,) float32 for `codes` (G, N): `load(model_dir).decode(codes, …)`."""
    return load(model_dir).decode(codes, speaker, seed, temperature)
