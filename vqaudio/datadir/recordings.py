"""Decodes the recordings of a data directory, and says what is wrong with them and with the segments cut from them."""

import collections
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqaudio import audio
from vqaudio.audio.faults import channel_fault, scale_fault
from vqaudio.datadir.findings import Problems
from vqaudio.datadir.tables import PIPE, format_seconds, is_pipe, parse_seconds, summary
from vqaudio.errors import UserError
from vqaudio.machine import available_cores

FRAME = 0.01
"""Seconds, one frame at 100 Hz: an utterance must last as long, and a phone may end as long after its utterance."""

MAX_DIFFERENCE_SECONDS = 0.05
"""By how much a duration in utt2dur or reco2dur, which may be that of whole frames, may differ from the audio's."""

MIN_LEVEL_DB = -65.0
"""dBFS (RMS without the mean); a recording below is nearly silent: no gain of 40 dB brings it to a usual level."""

MAX_OFFSET = 0.1
"""Largest mean of a recording that is no offset, as a share of the RMS of the rest."""

ROUNDED_SECONDS = 0.005
"""A segment that ends as long after its recording has times of rounded centiseconds; later ends are worth a warning."""

Span = tuple[str, float, float | None]
"""Recording, start and end of an utterance in seconds (None: the end of the recording)."""


class Recording(NamedTuple):
    """Facts about a recording that was decoded completely; `rms` is that of the samples without their `mean`.

    `channels` are those that were averaged.
    """

    sample_rate: int
    channels: int
    duration: float
    peak: float
    mean: float
    rms: float
    fault: str | None

    def seconds(self, span: Span) -> float:
        """Return how long an utterance of this recording is; it ends with the recording."""
        _, start, end = span
        return (self.duration if end is None else min(end, self.duration)) - start


def examine(wavs: Mapping[str, str], channels: Mapping[str, int]) -> dict[str, Recording | str]:
    """Decode every recording, several at a time; return by key its facts, or a message why it is unusable.

    Args:
        wavs: the entries of wav.scp.
        channels: the channel (from 0) of recordings that are one channel of a file; others are the average of all.
    """
    with ThreadPoolExecutor(max_workers=available_cores()) as pool:  # decoders release the interpreter's lock
        return dict(zip(wavs, pool.map(_examine, wavs.values(), map(channels.get, wavs)), strict=True))


def _examine(value: str, channel: int | None) -> Recording | str:
    if is_pipe(value):
        return f"'{value}' is {PIPE}"
    if value.startswith("~"):
        return f"{value}: '~' is not expanded in wav.scp; write the whole path"
    try:
        info = audio.info(value)
        peak, count, total, power = 0.0, 0, 0.0, 0.0
        for samples in audio.blocks(value, info.sample_rate, 1 << 16, channel=channel):
            peak = max(peak, float(abs(samples).max()))
            count += len(samples)
            total += float(samples.sum(dtype=np.float64))
            power += float(np.square(samples, dtype=np.float64).sum())
        fault = scale_fault(peak) or (channel_fault(value) if channel is None else None)
    except UserError as error:
        return str(error)
    mean = total / count
    rms = math.sqrt(max(0.0, power / count - mean**2))
    channels = info.channels if channel is None else 1
    return Recording(info.sample_rate, channels, count / info.sample_rate, peak, mean, rms, fault)


def span_problem(span: Span, recording: Recording, frame: float) -> str | None:
    """Return a message why an utterance cannot be cut from its recording; None if it can."""
    end = span[2]
    if end is not None and end > recording.duration + audio.MAX_OVERSHOOT_SECONDS:
        return f"ends at {end:g} s, its recording '{span[0]}' at {recording.duration:g} s; correct the times or drop it"
    seconds = recording.seconds(span)
    if seconds < frame - 1e-9:
        return f"lasts {seconds:g} s, less than a frame of {frame:g} s; drop it (vqaudio data fix)"
    return None


def check_recordings(path: Path, recordings: Mapping[str, Recording | str], found: Problems) -> None:
    """Add errors for unusable recordings of the wav.scp `path` to `found`, and warnings of what is odd."""
    rates: dict[int, list[str]] = collections.defaultdict(list)
    for key, recording in recordings.items():
        if isinstance(recording, str):
            found.error("audio", [f"{path}: '{key}': {recording}"])
            continue
        rates[recording.sample_rate].append(key)
        if recording.fault:
            found.error("audio", [f"{path}: '{key}': {recording.fault}"])
        else:
            found.warn("level", [f"{path}: '{key}' {words}" for words in _levels(recording)])
        if recording.channels > 1:
            words = f"has {recording.channels} channels, whose average is used"
            found.warn("channels", [f"{path}: '{key}' {words}"])
    if len(rates) > 1:
        counts = ", ".join(f"{len(keys)} at {rate} Hz (as '{keys[0]}')" for rate, keys in sorted(rates.items()))
        found.warn("rate", [f"{path}: mixed sample rates, {counts}; all are resampled to the model's"])


def _levels(recording: Recording) -> Iterator[str]:
    """Yield what is odd about the samples of a recording."""
    if recording.peak == 0:
        yield "is silent (all samples are zero)"
        return
    level = 20 * math.log10(recording.rms) if recording.rms else -math.inf
    if level < MIN_LEVEL_DB:
        yield f"is nearly silent ({level:.0f} dBFS, less than {MIN_LEVEL_DB:.0f}); record it again or drop it"
    if recording.peak > 1:
        yield f"has samples up to {recording.peak:.3g}, outside −1..1; scale it down"
    if abs(recording.mean) > MAX_OFFSET * recording.rms:
        yield f"has an offset of {recording.mean:.2g} (its mean), which is taken away; use a high-pass to remove it"


def check_segments(
    source: Path, spans: Mapping[str, Span], recordings: Mapping[str, Recording | str], frame: float, found: Problems
) -> None:
    """Add errors for utterances that cannot be cut to `found`, and one warning of all that end after their recording.

    Args:
        source: the file that defines the utterances.
        spans: by utterance.
        recordings: by name.
        frame: seconds that an utterance must last.
        found: what is added to.
    """
    late = []
    for utt, span in spans.items():
        recording = recordings.get(span[0], "")
        if isinstance(recording, str):
            continue
        if problem := span_problem(span, recording, frame):
            found.error("segments", [f"{source}: '{utt}' {problem}"])
        elif span[2] is not None and span[2] > recording.duration + ROUNDED_SECONDS:
            late.append(f"{source}: '{utt}' ends at {span[2]:g} s, its recording at {recording.duration:g} s")
    found.warn("segments", [f"{line}; each is cut at the end of its recording" for line in summary(late)])


def true_durations(
    table: str, spans: Mapping[str, Span], recordings: Mapping[str, Recording | str], frame: float
) -> dict[str, float]:
    """Return the seconds of the entries of utt2dur or reco2dur whose audio is sound and lasts a `frame` (seconds)."""
    whole = {key: (key, 0.0, None) for key in recordings} if table == "reco2dur" else spans
    found = ((key, recordings.get(span[0], ""), span) for key, span in whole.items())
    return {
        key: recording.seconds(span)
        for key, recording, span in found
        if isinstance(recording, Recording) and not (recording.fault or span_problem(span, recording, frame))
    }


def correct_durations(listed: Mapping[str, str], true: Mapping[str, float]) -> dict[str, str]:
    """Return a table of durations: the `listed` ones where they agree with the `true` ones, else those."""
    return {
        key: listed[key] if _agrees(listed.get(key, ""), seconds) else format_seconds(round(seconds, 6))
        for key, seconds in true.items()
    }


def duration_errors(path: Path, listed: Mapping[str, str], true: Mapping[str, float]) -> list[str]:
    """Return an error for each duration of a table that disagrees with the audio."""
    return [
        f"{path}: '{key}' has {listed[key]} s, its audio {true[key]:g} s; correct it (vqaudio data fix)"
        for key in sorted(listed.keys() & true.keys())
        if parse_seconds(listed[key]) and not _agrees(listed[key], true[key])
    ]


def _agrees(value: str, seconds: float) -> bool:
    listed = parse_seconds(value)
    overshoot = audio.MAX_OVERSHOOT_SECONDS  # a segment may be listed with the end that it would have
    return bool(listed) and -MAX_DIFFERENCE_SECONDS <= (listed or 0.0) - seconds <= overshoot
