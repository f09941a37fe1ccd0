"""Speech from a unit directory: one WAV file per utterance, from the text of the units alone; resumable."""

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from vqaudio import audio, files
from vqaudio.codec import Codec, load
from vqaudio.datadir import read_table
from vqaudio.datadir.stream import cut
from vqaudio.defaults import Weights
from vqaudio.errors import UserError
from vqaudio.files import lock_file, locked
from vqaudio.outputs import claim_folder
from vqaudio.progress import Progress
from vqaudio.threads import one_thread
from vqaudio.units.directory import Units, read_units
from vqaudio.units.extraction import Ray, check_shard, settings_of
from vqaudio.units.sequence import UnitSequence, expand
from vqaudio.units.shards import COMPLETE, MISSING, mark
from vqaudio.units.wavs import STAMPS, Task, make_task, wav_path, write_wavs
from vqaudio.units.writer import SHARDS

KIND = "decoded speech"
"""What the mark of the output folder says (see `vqaudio.outputs`)."""

PART_SECONDS = 600.0
"""Length of a part on Ray; what a lost node costs at most."""


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
    shard: tuple[int, int] = (1, 1),
    ray: Ray | None = None,
) -> None:
    """Synthesise every utterance of a unit directory to `out/<utt>.wav` (16 bits), and list them in `out/wav.scp`.

    `names.file_name` makes the names of files out of the ids of utterances.

    Samples outside −1..1 are clipped and counted; where they are more than `audio.MAX_CLIPPED_SHARE`, the utterance is
    scaled down to a peak of 1.

    Started again, it makes only files that are missing, or that were made from other units or with another model,
    voice, seed, temperature or weights. The seed of an utterance comes from `seed` and its id.

    Args:
        model_dir: the model that made the units.
        units: unit directory; deduplicated units are expanded by their durations, or if there is no durations.txt, by
            those that a model predicts that was trained on deduplicated units.
        out: folder to write; the paths in `wav.scp` begin with it.
        speaker: one voice for all utterances; without `speaker` and `utt2spk` it is `<unknown>`.
        utt2spk: a table with a voice for each utterance.
        temperature: of sampling; 0 takes the likeliest sample.
        seed: of sampling.
        weights: "float32", or "bfloat16", which is faster for few utterances: see `Codec.decode`.
        jobs: threads that share the utterances; the files are the same for any number.
        device: cpu or cuda, where the network runs.
        shard: (i, N) makes the i-th of N parts (counted from 1) of about the same duration; the last one of them to end
            writes `wav.scp`. A folder is made in one way: always with the same N.
        ray: do all parts on a Ray cluster (`vqaudio.units.cluster`).

    Raises:
        UserError: the units are malformed or of another model, a speaker is unknown or missing, an option cannot be
            used, or `out` may not be written into.
    """
    prepare = functools.partial(
        Decoder, model_dir, units, out, speaker, utt2spk, temperature, seed, weights, jobs, device
    )
    decoder = prepare()
    claim_folder(out, KIND, inputs=[units, *([utt2spk] if utt2spk else [])], outer=[model_dir])
    if ray is None:
        check_shard(shard, len(decoder.source))
        decoder.part(*shard)
        return
    from vqaudio.units.cluster import run_parts

    parts = ray.shards or max(1, math.ceil(decoder.source.info.num_frames / decoder.codec.frame_rate / PART_SECONDS))
    check_shard((1, parts), len(decoder.source))
    run_parts(
        functools.partial(_part_of, prepare, parts), parts, ray, jobs=jobs, gpus=int(device == "cuda"), what="decode"
    )


def _part_of(prepare: Callable[[], "Decoder"], parts: int) -> Callable[[int], None]:
    decoder = prepare()
    return lambda index: decoder.part(index, parts)


class Decoder:
    """Makes the files of parts of a unit directory; arguments are those of `decode`.

    Raises:
        UserError: as `decode`.
    """

    def __init__(
        self,
        model_dir: Path,
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
        self.codec = load(model_dir, device)
        self.source = _open_units(self.codec, units)
        self.voices = _voices(self.codec, self.source, speaker, utt2spk)
        self.out, self.speaker, self.seed, self.jobs = out, speaker, seed, jobs
        self.temperature, self.weights = temperature, weights

    def part(self, index: int, parts: int) -> None:
        """Make the files of part `index` (from 1), and list all files if no part is missing.

        Raises:
            UserError: another job makes this part, or the folder was made with another number of parts.
        """
        out, codec = self.out, self.codec
        folder = out if parts == 1 else out / SHARDS / f"{index}-of-{parts}"
        check_parts(out, parts)
        with locked(folder):
            bounds = self._bounds(index, parts)
            present, frames = _present(out, folder / STAMPS, self._tasks(*bounds))
            if self.source.untimed:
                print(f"{self.source.directory}: has no durations.txt; the model predicts how long units last")
            print(f"{folder}: {len(present)} of {bounds[1] - bounds[0]} utterances already done")
            self._mark(index, parts, MISSING if frames else None)
            with Progress("decode", frames / codec.frame_rate, "seconds of speech") as progress:
                missing = (task for task in self._tasks(*bounds) if task.utt not in present)
                options = (self.temperature, self.weights, self.jobs, progress)
                clipped, scaled = write_wavs(codec, out, folder / STAMPS, missing, *options)
            self._mark(index, parts, COMPLETE)
        _report_loud(out, clipped, scaled)

    def _bounds(self, index: int, parts: int) -> tuple[int, int]:
        """Return the numbers of the first utterance of a part and of the first after it."""
        if parts == 1:
            return 0, len(self.source)
        return cut(np.fromiter((sequence.num_frames for sequence in self.source), float), index, parts)

    def _tasks(self, first: int, after: int) -> Iterator[Task]:
        for sequence in itertools.islice(self.source, first, after):
            voice = self.speaker if self.voices is None else self.voices[sequence.utt]
            codes = predict_codes(self.codec, sequence, voice) if self.source.untimed else sequence.codes
            yield make_task(self.codec, sequence.utt, codes, voice, self.temperature, self.seed, self.weights)

    def _mark(self, index: int, parts: int, state: bytes | None) -> None:
        """Note that a part is complete or not (None: as before), and list all files when none is missing."""
        out = self.out
        with lock_file(out / SHARDS / "lock") if parts > 1 else contextlib.nullcontext():
            if state == MISSING:
                (out / "wav.scp").unlink(missing_ok=True)  # only a complete folder has one
            if parts > 1 and state is not None:
                complete = mark(out / SHARDS / f"complete-of-{parts}", index, parts, state)
                print(f"{out}: {complete} of {parts} parts are complete")
                if complete < parts:
                    return
            if state == COMPLETE:
                with files.atomic_writer(out / "wav.scp") as file:
                    file.writelines(f"{sequence.utt} {wav_path(out, sequence.utt)}\n" for sequence in self.source)
                print(f"{len(self.source)} utterances in {out}")


def _open_units(codec: Codec, directory: Path) -> Units:
    """Open units that a model speaks.

    Raises:
        UserError: they are malformed, of another model or kind, or lack durations that the model does not predict.
    """
    units = read_units(directory, expected_hash=codec.units_hash, predictable=True)
    if difference := settings_of(codec, units.info.deduplicated, units.info.change_penalty).difference(units.info):
        raise UserError(
            f"{directory / 'units.json'}: {difference}, as in the units of the model; give units of that kind"
        )
    if units.untimed and codec.model.durations is None:
        raise UserError(
            f"{directory / 'durations.txt'}: not found, and the model predicts no durations; restore it, or train a "
            "model on deduplicated units"
        )
    return units


def predict_codes(codec: Codec, sequence: UnitSequence, speaker: str | None) -> np.ndarray:
    """Return codes (G, N) for merged units of unknown durations, as long as the model expects of a speaker's."""
    model, index = codec.model, torch.tensor([codec.speaker_index(speaker)], device=codec.device)
    assert model.durations is not None
    with torch.inference_mode(), one_thread():  # so that the durations are the same on any number of cores
        z_q = model.quantizer.lookup(torch.from_numpy(sequence.units).unsqueeze(0).to(codec.device))
        durations = model.durations.predict(z_q, index)
    return expand(sequence.units, durations.cpu().numpy())


def check_parts(out: Path, parts: int) -> None:
    """Raise UserError if the files of a folder were made in another number of parts, whose stamps would mislead."""
    made = {int(path.name.rpartition("-")[2]) for path in (out / SHARDS).glob("*-of-*") if path.is_dir()}
    made |= {1} if (out / STAMPS).exists() else set()
    if others := made - {parts}:
        raise UserError(f"{out}: was made in {max(others)} parts, not in {parts}; use as many, or choose another --out")


def _report_loud(out: Path, clipped: int, scaled: int) -> None:
    """Print how many samples were clipped and how many utterances were scaled down, if any were."""
    if clipped:
        print(f"{out}: {clipped} samples were outside −1..1 and are clipped")
    if scaled:
        share = f"{100 * audio.MAX_CLIPPED_SHARE:g} %"
        print(f"{out}: {scaled} utterances had more than {share} of their samples outside −1..1 and are scaled down")


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


def _present(out: Path, path: Path, tasks: Iterable[Task]) -> tuple[set[str], int]:
    """Return the ids whose files are up to date, and the frames of the others; delete the stamps of the others."""
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
