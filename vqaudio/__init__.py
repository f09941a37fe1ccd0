"""vqaudio: discrete units out of raw speech, and speech back out of units.

>>> import vqaudio
>>> model = vqaudio.load("exp/vctk_kmeans")  # doctest: +SKIP
>>> codes = model.encode(wav, sample_rate)  # (G, N) int64, any length, any rate  # doctest: +SKIP
>>> wav = model.decode(codes, speaker="p225", seed=0)  # (T,) float32  # doctest: +SKIP
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from vqaudio.codec import Codec

__version__ = "0.1.0"
__all__ = ["decode", "encode", "load"]


def load(model_dir: "str | Path", device: str = "cpu") -> "Codec":
    """Load a model directory to `cpu` or `cuda`; the model encodes and decodes as often as you like."""
    from vqaudio import codec  # torch comes with it: `import vqaudio` alone stays quick

    return codec.load(model_dir, device)


def encode(model_dir: "str | Path", wav: "np.ndarray", sample_rate: int) -> "np.ndarray":
    """Return the codes (G, N) int64 of one `wav` (T,): `load(model_dir).encode(wav, sample_rate)`."""
    return load(model_dir).encode(wav, sample_rate)


def decode(
    model_dir: "str | Path",
    codes: "np.ndarray",
    speaker: str | None = None,
    seed: int = 0,
    temperature: float = 1.0,
) -> "np.ndarray":
    """Return speech (T,) float32 for `codes` (G, N): `load(model_dir).decode(codes, …)`."""
    return load(model_dir).decode(codes, speaker, seed, temperature)
