"""Speech from a unit directory: one WAV file per utterance, from the text of the units alone; resumable."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqaudio import audio, files
from vqaudio.codec import Codec, load, utterance_seed
from vqaudio.datadir import read_table
from vqaudio.defaults import Weights
from vqaudio.errors import UserError
from vqaudio.files import locked
from vqaudio.names import file_name
from vqaudio.outputs import claim_folder
from vqaudio.progress import Progress
from vqaudio.units.directory import Units, read_units

KIND = "decoded speech"
"""What the mark of the output folder says (see `vqaudio.outputs`)."""

STAMPS = "utt2stamp"
"""File in the output folder with the id and the stamp of every finished file, one per line."""

GROUP_UTTERANCES, GROUP_SECONDS = 8, 300.0
"""Utterances, and seconds of speech, that each thread gets at once; a killed job loses at most those."""


class Task(NamedTuple):
    """One file to make: `codes` (G, N), the voice, the seed of the utterance, and the stamp of all of it."""

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
    weights: Weights,
    jobs: int,
    device: str,
) -> None:
    """Synthesise every utterance of a unit directory to `out/<utt>.wav` (16 bits), and list them in `out/wav.scp`.

    `names.file_name` makes the names of files out of the ids of utterances.

    Samples outside −1..1 are clipped and counted; where they are more than `audio.MAX_CLIPPED_SHARE`, the utterance is
    scaled down to a peak of 1.

    Started again, it makes only files that are missing, or that were made from other units or with another model,
    voice, seed, temperature or weights. The seed of an utterance comes from `seed` and its id.

    Args:
        model_dir: the model that made the units.
        units: unit directory; deduplicated units are expanded by their durations.
        out: folder to write; the paths in `wav.scp` begin with it.
        speaker: one voice for all utterances; without `speaker` and `utt2spk` it is `<unknown>`.
        utt2spk: a table with a voice for each utterance.
        temperature: of sampling; 0 takes the likeliest sample.
        seed: of sampling.
        weights: "float32", or "bfloat16", which is faster for few utterances: see `Codec.decode`.
        jobs: threads that share the utterances; the files are the same for any number.
        device: cpu or cuda, where the network runs.

    Raises:
        UserError: the units are malformed or of another model, a speaker is unknown or missing, an option cannot be
            used, or `out` may not be written into.
    """
    codec = load(model_dir, device)
    source = read_units(units, expected_hash=codec.hash)
    voices = _voices(codec, source, speaker, utt2spk)
    claim_folder(out, KIND, inputs=[units, *([utt2spk] if utt2spk else [])], outer=[model_dir])

    def tasks() -> Iterator[Task]:
        for sequence in source:
            voice = speaker if voices is None else voices[sequence.utt]
            yield make_task(codec, sequence.utt, sequence.codes, voice, temperature, seed, weights)

    with locked(out):
        present, frames = _present(out, tasks())
        print(f"{out}: {len(present)} of {len(source)} utterances already done")
        with Progress("decode", frames / codec.frame_rate, "seconds of speech") as progress:
            missing = (task for task in tasks() if task.utt not in present)
            clipped, scaled = write_wavs(codec, out, missing, temperature, weights, jobs, progress)
        with files.atomic_writer(out / "wav.scp") as file:
            file.writelines(f"{sequence.utt} {wav_path(out, sequence.utt)}\n" for sequence in source)
    _report_loud(out, clipped, scaled)
    print(f"{len(source)} utterances in {out}")


def _report_loud(out: Path, clipped: int, scaled: int) -> None:
    """Print how many samples were clipped and how many utterances were scaled down, if any were."""
    if clipped:
        print(f"{out}: {clipped} samples were outside −1..1 and are clipped")
    if scaled:
        share = f"{100 * audio.MAX_CLIPPED_SHARE:g} %"
        print(f"{out}: {scaled} utterances had more than {share} of their samples outside −1..1 and are scaled down")


def make_task(
    codec: Codec, utt: str, codes: np.ndarray, speaker: str | None, temperature: float, seed: int, weights: Weights
) -> Task:
    """Return the task of an utterance. Its stamp depends on everything that decides about its samples."""
    what = f"{codec.hash} {codec.speaker_index(speaker)} {temperature!r} {seed} {weights} {codes.shape}"
    stamp = hashlib.sha256(what.encode() + codes.tobytes()).hexdigest()
    return Task(utt, codes, speaker, utterance_seed(seed, utt), stamp)


def _voices(codec: Codec, units: Units, speaker: str | None, utt2spk: Path | None) -> dict[str, str] | None:
    """Return the voice of each utterance, or None if all have the same voice.

    Raises:
        UserError: both `speaker` and `utt2spk` are given, a speaker is unknown, or an utterance has none.
    """
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
            "or leave out --speaker and --utt2spk for the <unknown> voice"
        )
    return voices


def wav_path(out: Path, utt: str) -> Path:
    """Return the file of an utterance."""
    return out / f"{file_name(utt)}.wav"


def _present(out: Path, tasks: Iterable[Task]) -> tuple[set[str], int]:
    """Return the ids whose files are up to date, and the frames of the others; delete the stamps of the others."""
    path = out / STAMPS
    stamps: dict[str, str] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
            utt, _, stamp = line.partition(" ")
            stamps[utt] = stamp
    present: dict[str, str] = {}
    frames = 0
    for task in tasks:
        if stamps.get(task.utt) == task.stamp and wav_path(out, task.utt).is_file():
            present[task.utt] = task.stamp
        else:
            frames += task.codes.shape[1]
    # Written before any file is replaced, so that a stamp never belongs to a file that was made otherwise.
    files.atomic_write(path, "".join(f"{utt} {stamp}\n" for utt, stamp in present.items()))
    return set(present), frames


def write_wavs(
    codec: Codec,
    out: Path,
    tasks: Iterable[Task],
    temperature: float,
    weights: Weights,
    jobs: int,
    progress: Progress,
) -> tuple[int, int]:
    """Make the files of `tasks` in `out` group by group, and add the stamp of each to its `STAMPS`.

    Args:
        codec: the model that speaks.
        out: folder, which exists.
        tasks: what `make_task` returned for the same temperature and weights.
        temperature: of sampling.
        weights: as in `decode`.
        jobs: threads.
        progress: told of the seconds of speech that are done.

    Returns:
        Numbers of clipped samples, and of utterances that were scaled down because too many would have been clipped.
    """
    clipped, scaled = 0, 0
    with files.open_to_write(out / STAMPS, "a") as stamps:
        for group in _groups(tasks, GROUP_UTTERANCES * jobs, GROUP_SECONDS * jobs * codec.frame_rate):
            (out / "wav.scp").unlink(missing_ok=True)  # only a complete folder has one
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
