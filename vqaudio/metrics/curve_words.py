"""Speaks units at several change penalties, and counts the words that are heard wrongly."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from vqaudio.codec import Codec
from vqaudio.datadir import write_table
from vqaudio.defaults import SEED, TEMPERATURE, WEIGHTS
from vqaudio.metrics.judge_models import Judges
from vqaudio.metrics.judges import judge_audio
from vqaudio.progress import Progress
from vqaudio.units.wavs import STAMPS, make_task, wav_path, write_wavs

CodesAt = list[dict[str, np.ndarray]]
"""For each penalty, utt -> codes (G, N)."""


class Listener(NamedTuple):
    """What hears words: what was said, and the judges, of whom only `transcribe` is asked for figures."""

    text: Path
    judges: Judges


def judge_words(
    codec: Codec,
    codes: CodesAt,
    data: Path,
    listener: Listener,
    speakers: Mapping[str, str] | None,
    utt2spk: Path | None,
    jobs: int,
) -> list[dict[str, Any]]:
    """Synthesise speech from the units at each penalty, and return the word errors of each.

    Returns:
        `wer`, `reference_wer`, `words` and `intervals`, as in `vqaudio.metrics.judges.judge_audio`.
    """
    frames = sum(units.shape[1] for at_penalty in codes for units in at_penalty.values())
    found = []
    with Progress("synthesise and judge", frames / codec.frame_rate, "seconds of speech") as progress:
        for at_penalty in codes:
            with TemporaryDirectory(prefix="vqaudio-curve-") as name:
                out = Path(name)
                _synthesise(codec, at_penalty, out, speakers, jobs, progress)
                judged = judge_audio(data, out / "wav.scp", listener.text, listener.judges, utt2spk=utt2spk, jobs=jobs)
            words = {key: judged[key] for key in ("wer", "reference_wer", "words")}
            bounds = {key: bounds for key, bounds in judged["intervals"].items() if key in words}
            found.append({**words, "intervals": bounds})
    return found


def _synthesise(
    codec: Codec,
    codes: Mapping[str, np.ndarray],
    out: Path,
    speakers: Mapping[str, str] | None,
    jobs: int,
    progress: Progress,
) -> None:
    """Write what `vqaudio decode` does: WAV files, each in its speaker's voice if the model knows it, and wav.scp."""
    voices = {utt: speakers[utt] if speakers and speakers[utt] in codec.speakers else None for utt in codes}
    tasks = (make_task(codec, utt, codes[utt], voices[utt], TEMPERATURE, SEED, WEIGHTS) for utt in sorted(codes))
    write_wavs(codec, out, out / STAMPS, tasks, TEMPERATURE, WEIGHTS, jobs, progress)
    write_table(out / "wav.scp", {utt: str(wav_path(out, utt)) for utt in codes})
