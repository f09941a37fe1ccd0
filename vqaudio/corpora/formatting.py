"""Formats a data directory: each utterance becomes a mono 16-bit WAV file at one rate, and long silence is trimmed.

Audio that is louder than 16 bits can store, as that of lossy files may be, is scaled down to a peak of 1, not clipped.

The trimming rule: the first difference of the signal, in which rumble is weak, is measured in windows of 20 ms every
10 ms. A window is sound if its RMS is within 35 dB of that of the loudest window. The cut begins 0.1 s before the first
window of sound and ends 0.1 s after the last. The times in `phones.ctm` are shifted accordingly.

Which utterances are done, and how each was cut, is in `cuts.jsonl` of the output: an interrupted run is continued.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqaudio import audio, datadir
from vqaudio.audio.faults import channel_fault, scale_fault
from vqaudio.datadir import Phone, Utterance, copy_subset, read_wav_scp
from vqaudio.datadir.layout import DATA_DIRECTORY
from vqaudio.datadir.tables import format_seconds
from vqaudio.errors import UserError
from vqaudio.files import atomic_write, open_to_write
from vqaudio.names import file_name
from vqaudio.outputs import claim_folder

SOUND_RANGE_DB = 35.0
MARGIN_SECONDS = 0.1
MIN_SECONDS = 0.1
CUTS = "cuts.jsonl"
"""A file of lines of JSON: a SHA-256 of what was to be done, then a `Cut` for each utterance that is done."""


class Cut(NamedTuple):
    """The part of an utterance that was kept, in seconds; or the `reason` why no file was written."""

    utt: str
    start: float
    duration: float
    reason: str = ""


def sound_span(wav: np.ndarray, sample_rate: int) -> tuple[int, int]:
    """Return the first sample to keep of `wav` (T,) and the one after the last, by the rule of this module.

    Both are 0 if all of it is silent.
    """
    hop, margin = sample_rate // 100, round(MARGIN_SECONDS * sample_rate)
    difference = np.diff(wav, prepend=wav[:1])
    difference = np.pad(difference, (0, -len(wav) % hop + hop)).reshape(-1, hop)
    power = np.einsum("nh,nh->n", difference, difference, dtype=np.float64)
    power = power[:-1] + power[1:]  # of windows of two hops
    if power.max() <= 1e-12:
        return 0, 0
    sound = np.flatnonzero(power > power.max() * 10 ** (-SOUND_RANGE_DB / 10))
    first, last = int(sound[0]) * hop, (int(sound[-1]) + 2) * hop
    return max(0, first - margin), min(len(wav), last + margin)


def shift_phones(phones: Iterable[Phone], start: float, duration: float) -> list[Phone]:
    """Return phones relative to a cut that begins at `start` and lasts `duration` (seconds), clipped to it."""
    shifted = []
    for phone in phones:
        begin = max(0.0, phone.start - start)
        end = min(duration, phone.start + phone.duration - start)
        if end - begin > 5e-4:
            shifted.append(Phone(round(begin, 3), round(end - begin, 3), phone.phone))
    return shifted


def format_utterance(utterance: Utterance, folder: Path, sample_rate: int) -> Cut:
    """Write the utterance into `folder`, unless there is a reason not to; return its cut."""

    def dropped(reason: str) -> Cut:
        return Cut(utterance.utt, 0.0, 0.0, reason)

    try:
        wav, _ = audio.read(utterance.path, sample_rate, utterance.start, utterance.end, utterance.channel)
        peak = float(np.abs(wav).max())
        fault = scale_fault(peak)
        if fault is None and utterance.channel is None:
            fault = channel_fault(utterance.path, utterance.start, utterance.end)
    except UserError as error:
        return dropped(" ".join(str(error).split()))
    if fault:
        return dropped(f"{utterance.path}: {fault}")
    wav = wav / max(1.0, peak)
    first, last = sound_span(wav, sample_rate)
    if last == 0:
        return dropped("silent throughout")
    if last - first < MIN_SECONDS * sample_rate:
        return dropped(f"lasts {len(wav) / sample_rate:.3f} s, less than {MIN_SECONDS} s")
    audio.write(_wav(folder, utterance.utt), wav[first:last], sample_rate)
    return Cut(utterance.utt, first / sample_rate, (last - first) / sample_rate)


def _wav(folder: Path, utt: str) -> Path:
    """Return the file of an utterance in a folder."""
    return folder / f"{file_name(utt)}.wav"


def format_data(source: Path, out: Path, *, sample_rate: int, jobs: int) -> tuple[int, int]:
    """Format the data directory `source` into `out`: wav/, the Kaldi tables with utt2dur, phones.ctm and drops.tsv.

    A second call with the same source and rate writes only the files that are missing. It does not notice audio that
    changed under the same path: remove `cuts.jsonl` in that case.

    Files in `out/wav/` that the wav.scp of an earlier run names and this one does not write are deleted.

    Returns:
        Numbers of utterances written and dropped.

    Raises:
        UserError: no utterance is left, or `out` may not be written into.
    """
    utterances = datadir.read_utterances(source)
    claim_folder(out, DATA_DIRECTORY, inputs=[source])
    folder = (out / "wav").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    task = hashlib.sha256(f"{sample_rate} {utterances}".encode(errors="surrogateescape")).hexdigest()
    done = {cut.utt: cut for cut in _read_cuts(out, task) if cut.reason or _wav(folder, cut.utt).is_file()}
    if done:
        print(f"{out}: {len(done)} of {len(utterances)} utterances already done", flush=True)
    _format_missing([u for u in utterances if u.utt not in done], done, out, task, sample_rate, jobs)
    cuts = [done[utterance.utt] for utterance in utterances]
    kept = {cut.utt: (cut.start, cut.duration) for cut in cuts if not cut.reason}
    drops = [(cut.utt, cut.reason) for cut in cuts if cut.reason]
    write_drops(out / "drops.tsv", drops)
    if not kept:
        raise UserError(
            f"{source}: none of {len(utterances)} utterances can be formatted, e.g. {': '.join(drops[0])}; repair them"
        )
    earlier = read_wav_scp(out / "wav.scp") if (out / "wav.scp").is_file() else {}
    for utt, path in earlier.items():
        if utt not in kept and path == _wav(folder, utt):
            path.unlink(missing_ok=True)
    _write_tables(source, out, [utterance for utterance in utterances if utterance.utt in kept], kept)
    return len(kept), len(drops)


def _read_cuts(out: Path, task: str) -> Iterator[Cut]:
    """Yield the cuts of an interrupted or finished run of the same task, without a last line that is not whole."""
    if not (out / CUTS).is_file():
        return
    with (out / CUTS).open(encoding="utf-8") as file:
        if file.readline() != f"{json.dumps(task)}\n":
            return
        for line in file:
            if line.endswith("\n"):
                yield Cut(*json.loads(line))


def _format_missing(
    missing: list[Utterance], done: dict[str, Cut], out: Path, task: str, sample_rate: int, jobs: int
) -> None:
    """Format utterances in processes; write `done` to the file of cuts, and add to both what is done."""
    lines = [json.dumps(task), *(json.dumps(cut) for cut in done.values())]
    atomic_write(out / CUTS, "".join(f"{line}\n" for line in lines))
    work = partial(format_utterance, folder=(out / "wav").absolute(), sample_rate=sample_rate)
    with open_to_write(out / CUTS, "a") as file, ProcessPoolExecutor(jobs) as pool:
        for cut in pool.map(work, missing, chunksize=8):
            done[cut.utt] = cut
            file.write(f"{json.dumps(cut)}\n".encode())
            file.flush()


def write_drops(path: Path, drops: Iterable[tuple[str, str]]) -> None:
    """Write the dropped utterances, sorted, as lines of "utterance <tab> reason"."""
    atomic_write(path, "".join(f"{utt}\t{reason}\n" for utt, reason in sorted(drops)))


def _write_tables(
    source: Path, out: Path, utterances: list[Utterance], cuts: Mapping[str, tuple[float, float]]
) -> None:
    plain = [Utterance(u.utt, _wav(out / "wav", u.utt).absolute(), u.speaker) for u in utterances]
    copy_subset(source, out, plain)
    datadir.write_table(out / "utt2dur", {u.utt: format_seconds(round(cuts[u.utt][1], 6)) for u in plain})
    if (out / "phones.ctm").is_file():
        phones = datadir.read_ctm(out / "phones.ctm")
        datadir.write_ctm(out / "phones.ctm", {utt: shift_phones(phones[utt], *cuts[utt]) for utt in sorted(phones)})
