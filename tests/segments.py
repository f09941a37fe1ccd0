"""A small data directory of noise, and the dataset of its segments."""

from pathlib import Path

import numpy as np
import soundfile

from vqaudio.training.dataset import Batch, SegmentDataset, speaker_list, take_turns

RATE, HOP, LEFT, RIGHT = 8000, 80, 200, 120


def write_noise(folder: Path) -> Path:
    """Write three utterances of two speakers: 1 s, 0.5 s and 31 samples."""
    random = np.random.default_rng(0)
    lengths = {"a_1": 8000, "a_2": 4000, "b_1": 31}
    scp = ""
    for utt, length in lengths.items():
        path = folder / f"{utt}.wav"
        soundfile.write(path, random.uniform(-0.5, 0.5, length).astype(np.float32), RATE, subtype="FLOAT")
        scp += f"{utt} {path}\n"
    (folder / "wav.scp").write_text(scp)
    (folder / "utt2spk").write_text("a_1 a\na_2 a\nb_1 b\n")
    return folder


def dataset(data: Path, **changes: object) -> SegmentDataset:
    options = {
        "speakers": speaker_list(data),
        "sample_rate": RATE,
        "level_db": None,
        "hop_length": HOP,
        "left": LEFT,
        "right": RIGHT,
        "speaker_dropout": 0.0,
        "seed": 0,
        "coefficients": 26,
        "offsets": [-0.02, 0.0, 0.01],
    }
    return SegmentDataset(data, **{**options, **changes})


def middle(source: SegmentDataset, utt: str, frames: int) -> Batch:
    """The middle of an utterance, as validation takes it."""
    (row,) = (row for row, utterance in enumerate(source.recordings.utterances) if utterance.utt == utt)
    rows = take_turns([utterance.speaker for utterance in source.recordings.utterances])
    return list(source.middles(len(rows), frames))[rows.index(row)]


def spoil(path: Path, how: str) -> None:
    """Leave a header that reads, and samples that do not."""
    if how == "NaN":
        wav, rate = soundfile.read(path, dtype="float32")
        wav[-1] = np.nan
        soundfile.write(path, wav, rate, subtype="FLOAT")
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        path.unlink()
