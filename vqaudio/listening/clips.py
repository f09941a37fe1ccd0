"""Reads the audio of a listening test, checks it against its reference, and matches its loudness."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqaudio import audio
from vqaudio.audio.loudness import loudness
from vqaudio.errors import UserError
from vqaudio.listening.key import REFERENCE, RESERVED

MAX_DIFFERENCE_SECONDS = 0.1
"""Clips that run in step may be so much shorter or longer than the first: decoders make whole frames."""

IN_STEP = ("mushra", "ab", "abx")
MIN_SECONDS, MAX_SECONDS, MAX_LOOP_SECONDS = 0.5, 60.0, 12.0
"""Shortest loop and longest stimulus of BS.1534-3 for clips that run in step; others may be longer."""

FULL_SCALE = 32766 / 32768
MIN_CLIPPED_RUN = 3
"""As many samples in a row at full scale are clipping; one or two may be a loud sample."""


class Item(NamedTuple):
    """The clips (T,) or (T, 2) of an utterance by system, their sample rate (Hz), and whether they can run in step."""

    clips: dict[str, np.ndarray]
    sample_rate: int
    loop: bool


def read_item(kind: str, paths: Mapping[str, Path]) -> Item:
    """Return an item of a type of test from its audio by system; `reference` is the original, if there is one.

    Clips that run in step are cut, or padded with zeros, to the length of the first. A reference must not be clipped. A
    system may be: clipping is part of how it sounds, and leaving out such items would favour it.

    Raises:
        UserError: a clip cannot be used.
    """
    clips: dict[str, np.ndarray] = {}
    (first_name, first_path), *_ = paths.items()
    rate = 0
    for name, path in paths.items():
        wav, its_rate = read_clip(path)
        if name == REFERENCE and (run := clipped_run(wav)):
            raise UserError(
                f"{path}: clipped ({run} samples in a row at full scale); use the recording from before that"
            )
        what = "its reference" if first_name == REFERENCE else first_path
        if clips and its_rate != rate:
            raise UserError(f"{path}: {its_rate} Hz, but {what} {rate} Hz; resample one of them")
        if clips and wav.shape[1:] != clips[first_name].shape[1:]:
            raise UserError(f"{path}: not as many channels as {what}; make them alike")
        clips[name], rate = wav, its_rate
    length = len(clips[first_name])
    others = [name for name, wav in clips.items() if abs(len(wav) - length) > MAX_DIFFERENCE_SECONDS * rate]
    loop = kind == "mushra" or (kind in IN_STEP and not others)
    longest = MAX_LOOP_SECONDS if loop else MAX_SECONDS
    for name, wav in clips.items():
        seconds = len(wav) / rate
        if not MIN_SECONDS <= seconds <= longest:
            raise UserError(f"{paths[name]}: lasts {seconds:.2f} s, not {MIN_SECONDS:g} to {longest:g} s; use another")
    if loop and others:
        name = others[0]
        raise UserError(
            f"{paths[name]}: lasts {len(clips[name]) / rate:.2f} s, its reference {length / rate:.2f} s, and in "
            f"mushra they may differ by {MAX_DIFFERENCE_SECONDS:g} s; cut one of them, or use another type"
        )
    if loop:
        clips = {name: _of_length(wav, length) for name, wav in clips.items()}
    return Item(clips, rate, loop)


def read_clip(path: Path) -> tuple[np.ndarray, int]:
    """Return the wav (T,) or (T, 2) and the sample rate (Hz) of an audio file.

    Raises:
        UserError: the file cannot be read, has more than two channels or is silent.
    """
    channels = audio.info(path).channels
    if channels > 2:
        raise UserError(f"{path}: {channels} channels; mix them to one or two")
    wav, rate = audio.read(path, channel=0)
    if channels == 2:
        wav = np.stack([wav, audio.read(path, channel=1)[0]], axis=1)
    if not wav.any():
        raise UserError(f"{path}: silent (every sample is zero); write it again")
    return wav, rate


def match_gains(clips: Mapping[str, np.ndarray], rate: int, match_loudness: bool) -> dict[str, float]:
    """Return the gain (dB) of each clip of an item: to the loudness of the first, or 0; 0 for the anchors.

    If a clip would exceed full scale, all clips of the item become softer by the same amount.
    """
    gains = dict.fromkeys(clips, 0.0)
    if match_loudness:
        level = loudness_of(next(iter(clips.values())), rate)
        gains |= {name: level - loudness_of(wav, rate) for name, wav in clips.items() if name not in RESERVED}
    peak = max(20 * math.log10(np.abs(wav).max()) + gains[name] for name, wav in clips.items())
    return {name: gain - max(0.0, peak) for name, gain in gains.items()}


def loudness_of(wav: np.ndarray, rate: int) -> float:
    """Return the loudness (LUFS) of a wav (T,) or (T, 2), whose channels add up (ITU-R BS.1770-4)."""
    if wav.ndim == 1:
        return loudness(wav, rate)
    power = sum(10 ** (loudness(channel, rate) / 10) for channel in wav.T)
    return 10 * math.log10(power)


def clipped_run(wav: np.ndarray) -> int:
    """Return the longest run of samples at full scale in a channel; 0 if it is shorter than `MIN_CLIPPED_RUN`."""
    if wav.ndim == 2:
        return max(clipped_run(channel) for channel in wav.T)
    flags = np.abs(wav) >= FULL_SCALE
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    longest = int((edges[1::2] - edges[::2]).max(initial=0))
    return longest if longest >= MIN_CLIPPED_RUN else 0


def _of_length(wav: np.ndarray, length: int) -> np.ndarray:
    """Return a wav cut or padded with zeros to a length."""
    missing = max(0, length - len(wav))
    return np.pad(wav, [(0, missing)] + [(0, 0)] * (wav.ndim - 1))[:length]
