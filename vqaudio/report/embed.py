"""Turns pictures and sound into data URIs, so that a page needs no other file."""

import base64
import io
from typing import Any

import numpy as np

from vqaudio.metrics.reconstruction import RATE


def picture_uri(pixels: np.ndarray, **options: Any) -> str:
    """Return pixels as a PNG in a data URI; shapes and options are those of `matplotlib.image.imsave`."""
    from matplotlib import image

    file = io.BytesIO()
    image.imsave(file, pixels, format="png", **options)
    return _data_uri("image/png", file.getvalue())


def sound_uri(wav: np.ndarray) -> str:
    """Return audio (T,) at `reconstruction.RATE` as a data URI: MP3, or FLAC where libsndfile has no MP3.

    Every browser plays MP3; at this quality (about 50 kbit/s of speech) it takes a third of FLAC's size.
    """
    import soundfile

    file = io.BytesIO()
    if "MP3" in soundfile.available_formats():
        soundfile.write(file, wav, RATE, format="MP3", bitrate_mode="VARIABLE", compression_level=0.2)
        return _data_uri("audio/mpeg", file.getvalue())
    soundfile.write(file, wav, RATE, format="FLAC", subtype="PCM_16")
    return _data_uri("audio/flac", file.getvalue())


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
