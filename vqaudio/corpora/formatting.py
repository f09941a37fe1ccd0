"""Formatting: every utterance of a data directory becomes one mono 16-bit WAV file at one rate, long silence trimmed.

The trimming rule: the signal's first difference (which takes away rumble) is measured in windows of 20 ms every 10 ms;
a window is sound when its RMS is within 35 dB of the loudest window's. What is kept runs from 0.1 s before the first
window of sound to 0.1 s after the last. The times of `phones.ctm` follow.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from vqaudio import audio, datadir
from vqaudio.datadir import Phone, Utterance, copy_subset
from vqaudio.errors import UserError
from vqaudio.files import atomic_write

RANGE_DB = 35.0
MARGIN = 0.1
MIN_SECONDS = 0.1


def sound_span(wav: np.ndarray, sample_rate: int) -> tuple[int, int]:
    """Return the first and the last sample (exclusive) to keep of `wav` (T,) by the rule of this module.

    Silence from end to end gives (0, 0).
    """
    hop, margin = sample_rate // 100, round(MARGIN * sample_rate)
    difference = np.diff(wav, prepend=wav[:1])
    difference = np.pad(difference, (0, -len(wav) % hop + hop)).reshape(-1, hop)
    power = np.einsum("nh,nh->n", difference, difference, dtype=np.float64)
    power = power[:-1] + power[1:]  # of windows of two hops
    if power.max() <= 1e-12:
        return 0, 0
    sound = np.flatnonzero(power > power.max() * 10 ** (-RANGE_DB / 10))
    first, last = int(sound[0]) * hop, (int(sound[-1]) + 2) * hop
    return max(0, first - margin), min(len(wav), last + margin)


def shift_phones(phones: Iterable[Phone], start: float, duration: float) -> list[Phone]:
    """Return the phones in the time of a cut from `start` that lasts `duration` (seconds), clipped to it."""
    shifted = []
    for phone in phones:
        begin = max(0.0, phone.start - start)
        end = min(duration, phone.start + phone.duration - start)
        if end - begin > 5e-4:
            shifted.append(Phone(round(begin, 3), round(end - begin, 3), phone.phone))
    return shifted


def format_utterance(utterance: Utterance, folder: Path, sample_rate: int) -> tuple[str, float, float, str]:
    """Write `folder/<utt>.wav` and return the utterance's id, the start and duration (s) of the cut, and a reason.

    The reason is empty, or says why nothing was written.
    """
    try:
        wav, _ = audio.read(utterance.path, sample_rate, utterance.start, utterance.end)
    except UserError as error:
        return utterance.utt, 0.0, 0.0, " ".join(str(error).split())
    first, last = sound_span(wav, sample_rate)
    if last == 0:
        return utterance.utt, 0.0, 0.0, "silent from end to end"
    if last - first < MIN_SECONDS * sample_rate:
        return utterance.utt, 0.0, 0.0, f"{len(wav) / sample_rate:.3f} s long, the least is {MIN_SECONDS} s"
    audio.write(folder / f"{utterance.utt}.wav", wav[first:last], sample_rate)
    return utterance.utt, first / sample_rate, (last - first) / sample_rate, ""


def format_data(source: Path, out: Path, *, sample_rate: int, jobs: int) -> tuple[int, int]:
    """Format the data directory `source` into `out`: wav/, the Kaldi tables, phones.ctm and drops.tsv.

    Returns the numbers of utterances written and dropped. Raises UserError when nothing is left.
    """
    utterances = datadir.read_utterances(source)
    folder = out / "wav"
    folder.mkdir(parents=True, exist_ok=True)
    work = partial(format_utterance, folder=folder.absolute(), sample_rate=sample_rate)
    with ProcessPoolExecutor(jobs) as pool:
        cuts = list(pool.map(work, utterances, chunksize=8))
    kept = {utt: (start, duration) for utt, start, duration, reason in cuts if not reason}
    drops = [(utt, reason) for utt, _, _, reason in cuts if reason]
    write_drops(out / "drops.tsv", drops)
    if not kept:
        raise UserError(
            f"{source}: none of {len(utterances)} utterances could be formatted, e.g. {': '.join(drops[0])}"
        )
    for stale in folder.glob("*.wav"):
        if stale.stem not in kept:
            stale.unlink()
    _write_tables(source, out, [utterance for utterance in utterances if utterance.utt in kept], kept)
    return len(kept), len(drops)


def write_drops(path: Path, drops: Iterable[tuple[str, str]]) -> None:
    """Write the utterances left out, a line of utterance <tab> reason each, sorted."""
    atomic_write(path, "".join(f"{utt}\t{reason}\n" for utt, reason in sorted(drops)))


def _write_tables(
    source: Path, out: Path, utterances: list[Utterance], cuts: Mapping[str, tuple[float, float]]
) -> None:
    plain = [Utterance(u.utt, (out / "wav" / f"{u.utt}.wav").absolute(), u.speaker) for u in utterances]
    copy_subset(source, out, plain)
    if (out / "phones.ctm").is_file():
        phones = datadir.read_ctm(out / "phones.ctm")
        datadir.write_ctm(out / "phones.ctm", {utt: shift_phones(phones[utt], *cuts[utt]) for utt in sorted(phones)})
