"""Unit directory to speech: WAV files from the text of the units alone, interrupted and continued at will."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqaudio import audio, files
from vqaudio.codec import Codec, load, utterance_seed
from vqaudio.datadir import read_table
from vqaudio.errors import UserError
from vqaudio.files import locked
from vqaudio.progress import Progress
from vqaudio.units.directory import Units, read_units

STAMPS = "utt2stamp"
"""Line by line the id and the stamp of a finished file: what it was made from and how."""

GROUP_UTTERANCES, GROUP_SECONDS = 8, 300.0
"""Utterances, and seconds of speech, that each of the jobs gets at once; a killed job loses no more than those."""


class Task(NamedTuple):
    """One file to make: `codes` (G, N), the voice, the seed of the utterance, and the stamp of all that."""

    utt: str
    codes: np.ndarray
    speaker: str | None
    seed: int
    stamp: str


def decode(
    model_dir: Path,
    *,
    units: Path,
    out: Path,
    speaker: str | None,
    utt2spk: Path | None,
    temperature: float,
    seed: int,
    jobs: int,
    device: str = "cpu",
) -> None:
    """Speak every utterance of a unit directory into `out/<utt>.wav` (16 bits), listed in `out/wav.scp`.

    Started again, it makes what is missing, and what was made from other units, by another model, voice, seed or
    temperature. Each utterance is sampled with a seed of its own, made from `seed` and its id.

    Args:
        model_dir: the model that made the units.
        units: unit directory; deduplicated units are expanded by their durations.
        out: folder to write; the paths in `wav.scp` begin with it.
        speaker: one voice for all; without `speaker` and `utt2spk` the `<unknown>` voice speaks.
        utt2spk: a table with a voice for each utterance.
        temperature: of sampling; 0 takes the likeliest sample.
        seed: of sampling.
        jobs: threads that share the utterances; the files are the same for any number.
        device: cpu or cuda, where the network runs.

    Raises:
        UserError: malformed units, units of another model, an unknown speaker or an utterance without one.
    """
    codec = load(model_dir, device)
    source = read_units(units, expected_hash=codec.hash)
    voices = _voices(codec, source, speaker, utt2spk)
    for sequence in source:
        _check_name(source.directory, sequence.utt)

    def tasks() -> Iterator[Task]:
        for sequence in source:
            voice = speaker if voices is None else voices[sequence.utt]
            yield _task(codec, sequence.utt, sequence.codes, voice, temperature, seed)

    with locked(out):
        present, frames = _present(out, tasks())
        print(f"{out}: {len(present)} of {len(source)} utterances are there, {len(source) - len(present)} to do")
        with Progress("decode", frames / codec.frame_rate, "seconds of speech") as progress:
            missing = (task for task in tasks() if task.utt not in present)
            _write(codec, out, missing, temperature, jobs, progress)
        with files.atomic_writer(out / "wav.scp") as file:
            file.writelines(f"{sequence.utt} {out / sequence.utt}.wav\n" for sequence in source)
    print(f"{len(source)} utterances in {out}")


def _task(codec: Codec, utt: str, codes: np.ndarray, speaker: str | None, temperature: float, seed: int) -> Task:
    """Describe a file to make. The stamp holds all that its samples depend on."""
    what = f"{codec.hash} {codec.speaker_index(speaker)} {temperature!r} {seed} {codes.shape}"
    stamp = hashlib.sha256(what.encode() + codes.tobytes()).hexdigest()
    return Task(utt, codes, speaker, utterance_seed(seed, utt), stamp)


def _voices(codec: Codec, units: Units, speaker: str | None, utt2spk: Path | None) -> dict[str, str] | None:
    """Return the voice of each utterance, or None where one voice speaks all."""
    cure = "or leave out --speaker and --utt2spk for the <unknown> voice"
    if utt2spk is None:
        try:
            codec.speaker_index(speaker)
        except UserError as error:
            raise UserError(f"--speaker: {error}") from None
        return None
    if speaker is not None:
        raise UserError("--speaker and --utt2spk: give one of them")
    voices = read_table(utt2spk, what="speaker")
    wanted = {sequence.utt for sequence in units}
    for line, (utt, voice) in enumerate(voices.items(), start=1):
        if utt in wanted:
            try:
                codec.speaker_index(voice)
            except UserError as error:
                raise UserError(f"{utt2spk}:{line}: {utt}: {error}") from None
    absent = wanted - voices.keys()
    if absent:
        raise UserError(
            f"{utt2spk}: has no speaker for {len(absent)} utterances of the units, such as {min(absent)}; add them, "
            f"{cure}"
        )
    return voices


def _check_name(units: Path, utt: str) -> None:
    """Refuse an id that would lead out of the folder, or hide the file."""
    if "/" in utt or "\0" in utt or utt.startswith("."):
        raise UserError(f"{units / 'units.txt'}: {utt!r} cannot name a file; rename the utterance and extract again")


def _present(out: Path, tasks: Iterable[Task]) -> tuple[set[str], int]:
    """Return the ids whose files are up to date, and the frames of the others; forget the stamps of those others."""
    path = out / STAMPS
    stamps: dict[str, str] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
            utt, _, stamp = line.partition(" ")
            stamps[utt] = stamp
    present: dict[str, str] = {}
    frames = 0
    for task in tasks:
        if stamps.get(task.utt) == task.stamp and (out / f"{task.utt}.wav").is_file():
            present[task.utt] = task.stamp
        else:
            frames += task.codes.shape[1]
    # Written before any file is replaced, so that no stamp ever stands for a file made otherwise.
    files.atomic_write(path, "".join(f"{utt} {stamp}\n" for utt, stamp in present.items()))
    return set(present), frames


def _write(codec: Codec, out: Path, tasks: Iterable[Task], temperature: float, jobs: int, progress: Progress) -> None:
    """Make the files of `tasks`, a group at a time, and stamp each."""
    with (out / STAMPS).open("a", encoding="utf-8") as stamps:
        for group in _groups(tasks, GROUP_UTTERANCES * jobs, GROUP_SECONDS * jobs * codec.frame_rate):
            (out / "wav.scp").unlink(missing_ok=True)  # it stands only beside complete work
            wavs = codec.decode_all(
                [task.codes for task in group],
                [task.speaker for task in group],
                [task.seed for task in group],
                temperature,
                threads=jobs,
                progress=lambda samples: progress.update(samples / codec.sample_rate),
            )
            for task, wav in zip(group, wavs, strict=True):
                audio.write(out / f"{task.utt}.wav", wav, codec.sample_rate)
                stamps.write(f"{task.utt} {task.stamp}\n")
                stamps.flush()


def _groups(tasks: Iterable[Task], utterances: int, frames: float) -> Iterator[list[Task]]:
    """Cut `tasks` into runs that reach either bound, so that memory stays within it."""
    group: list[Task] = []
    for task in tasks:
        group.append(task)
        if len(group) >= utterances or sum(t.codes.shape[1] for t in group) >= frames:
            yield group
            group = []
    if group:
        yield group
