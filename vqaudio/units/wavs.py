"""Writes the WAV files of decoded utterances, each with a stamp that says what it was made from."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqaudio import audio, files
from vqaudio.codec import Codec, utterance_seed
from vqaudio.defaults import Weights
from vqaudio.names import file_name
from vqaudio.progress import Progress

STAMPS = "utt2stamp"
"""File in the folder of a part with the id and the stamp of every finished file, one per line."""

GROUP_UTTERANCES, GROUP_SECONDS = 8, 300.0
"""Utterances, and seconds of speech, that each thread gets at once; a killed job loses at most those."""


class Task(NamedTuple):
    """One file to make: `codes` (G, N), the voice, the seed of the utterance, and the stamp of all of it."""

    utt: str
    codes: np.ndarray
    speaker: str | None
    seed: int
    stamp: str


def make_task(
    codec: Codec, utt: str, codes: np.ndarray, speaker: str | None, temperature: float, seed: int, weights: Weights
) -> Task:
    """Return the task of an utterance. Its stamp depends on everything that decides about its samples."""
    what = f"{codec.hash} {codec.speaker_index(speaker)} {temperature!r} {seed} {weights} {codes.shape}"
    stamp = hashlib.sha256(what.encode() + codes.tobytes()).hexdigest()
    return Task(utt, codes, speaker, utterance_seed(seed, utt), stamp)


def wav_path(out: Path, utt: str) -> Path:
    """Return the file of an utterance."""
    return out / f"{file_name(utt)}.wav"


def write_wavs(
    codec: Codec,
    out: Path,
    stamps_path: Path,
    tasks: Iterable[Task],
    temperature: float,
    weights: Weights,
    jobs: int,
    progress: Progress,
) -> tuple[int, int]:
    """Make the files of `tasks` in `out` group by group, and add the stamp of each to `stamps_path`.

    Args:
        codec: the model that speaks.
        out: folder, which exists.
        stamps_path: file of stamps.
        tasks: what `make_task` returned for the same temperature and weights.
        temperature: of sampling.
        weights: as in `decode`.
        jobs: threads.
        progress: told of the seconds of speech that are done.

    Returns:
        Numbers of clipped samples, and of utterances that were scaled down because too many would have been clipped.
    """
    clipped, scaled = 0, 0
    with files.open_to_write(stamps_path, "a") as stamps:
        for group in _groups(tasks, GROUP_UTTERANCES * jobs, GROUP_SECONDS * jobs * codec.frame_rate):
            wavs = codec.decode_all(
                [task.codes for task in group],
                [task.speaker for task in group],
                [task.seed for task in group],
                temperature,
                weights,
                threads=jobs,
                progress=lambda samples: progress.update(samples / codec.sample_rate),
            )
            for task, wav in zip(group, wavs, strict=True):
                if np.mean(np.abs(wav) > 1) > audio.MAX_CLIPPED_SHARE:
                    wav, scaled = wav / np.abs(wav).max(), scaled + 1
                clipped += audio.write(wav_path(out, task.utt), wav, codec.sample_rate)
                stamps.write(f"{task.utt} {task.stamp}\n".encode())
                stamps.flush()
    return clipped, scaled


def _groups(tasks: Iterable[Task], utterances: int, frames: float) -> Iterator[list[Task]]:
    """Yield `tasks` in groups that end at either bound, so that memory is bounded."""
    group: list[Task] = []
    for task in tasks:
        group.append(task)
        if len(group) >= utterances or sum(t.codes.shape[1] for t in group) >= frames:
            yield group
            group = []
    if group:
        yield group
