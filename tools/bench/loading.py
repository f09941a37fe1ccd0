"""How many seconds of audio a second the loader makes batches of, beside what a training step of preset base takes.

The corpus is noise with the spectrum of speech, FLAC at two rates. "First" batches measure and label each utterance
that they meet, as the first pass over a corpus does; later ones find that in memory. Wall time on all cores.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import measure
import numpy as np
import phases
import soundfile
import torch
from training import SMALL

from vqaudio.model import build_model
from vqaudio.training.app import compose
from vqaudio.training.dataset import Batch, SegmentDataset, speaker_list
from vqaudio.training.objective import Objective
from vqaudio.training.prefetch import prefetch
from vqaudio.training.start import start_labels

RATES = (16000, 48000)  # Hz
SECONDS, SPEAKERS = 4.0, 8


def write_corpus(folder: Path, rate: int, utterances: int) -> Path:
    """Write a Kaldi data directory of FLAC files."""
    folder.mkdir()
    random, scp, utt2spk = np.random.default_rng(0), "", ""
    for i in range(utterances):
        noise = random.standard_normal(round(SECONDS * rate))
        wav = np.cumsum(noise - np.roll(noise, 40))
        name = f"s{i * SPEAKERS // utterances}_{i:05d}"
        soundfile.write(folder / f"{name}.flac", 0.1 * wav / np.abs(wav).max(), rate)
        scp += f"{name} {folder / name}.flac\n"
        utt2spk += f"{name} {name.partition('_')[0]}\n"
    (folder / "wav.scp").write_text(scp)
    (folder / "utt2spk").write_text(utt2spk)
    return folder


def open_corpus(data: Path, net: Objective) -> SegmentDataset:
    """Return the dataset as training opens it, with labels."""
    cfg, encoder = net.cfg, net.model.encoder
    dataset = SegmentDataset(
        data,
        speakers=speaker_list(data),
        sample_rate=cfg.data.sample_rate,
        level_db=cfg.data.level_db,
        hop_length=encoder.hop_length,
        left=encoder.left,
        right=encoder.right,
        speaker_dropout=cfg.trainer.speaker_dropout,
        seed=0,
        coefficients=cfg.trainer.label_coefficients,
        offsets=list(cfg.trainer.label_offsets),
    )
    start_labels(net.label_head, dataset, 0)
    dataset.labeller.use(net.label_head.space)
    return dataset


def rate_of(batches: Iterator[Batch], seconds: float, number: int) -> str:
    """Return the seconds of audio a second of the next batches, each of which has some seconds."""
    began = time.perf_counter()
    for _ in itertools.islice(batches, number):
        pass
    return f"{number * seconds / (time.perf_counter() - began):.0f}"


def main() -> None:
    quick = measure.options(__doc__).quick
    torch.set_num_threads(1)
    cfg = compose(["data.train=-", "data.valid=-", "exp_dir=-", *(SMALL if quick else ["model=base"])])
    torch.manual_seed(0)
    net = Objective(build_model(cfg, speakers=SPEAKERS + 1), cfg)
    utterances, number = (16, 4) if quick else (480, 40)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for rate in RATES:
            data = write_corpus(Path(folder) / str(rate), rate, utterances)
            for phase, more in (("codebook", {"speed": 0.15}), ("decoder", {"margin": net.margin})):
                dataset, spec = open_corpus(data, net), cfg.trainer[f"{phase}_phase"]
                options = {"size": spec.segments, "frames": spec.frames, **more}
                seconds = spec.segments * spec.frames * net.model.encoder.hop_length / phases.RATE
                found = []
                for workers in (1, 1, measure.CORES):  # the first pass fills the memory
                    batches = prefetch(lambda step: dataset.batch(step, **options), 0, workers)  # noqa: B023
                    found.append(rate_of(batches, seconds, number))
                    batches.close()
                rows.append([f"{rate} Hz FLAC", phase, *found])
    step_rows = []
    for phase in ("codebook", "decoder"):
        step, seconds = phases.steps(net, phase, torch.float32)
        taken = statistics.median(phases.wall(step, 1 if quick else 3))
        step_rows.append([phase, f"{seconds / taken:.1f}"])
    header = ["corpus", "batches of phase", "first, one thread", "later, one thread", f"later, {measure.CORES} threads"]
    text = f"{measure.machine()}\n\nSeconds of audio a second, wall time.\n\n{measure.table(header, rows)}\n\n"
    text += "A training step, one thread, float32:\n\n" + measure.table(["phase", "audio seconds a second"], step_rows)
    measure.report("Loading of training batches", text, save=not quick)


if __name__ == "__main__":
    main()
