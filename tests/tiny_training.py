"""A data directory of tones and a configuration so small that a training run takes seconds."""

from pathlib import Path

import numpy as np
import soundfile
import torch

from vqaudio.training.state import load_state, states

RATE = 8000


def write_tones(folder: Path, *, speakers: int = 2, utterances: int = 3, seconds: float = 0.6) -> Path:
    """Write a Kaldi data directory whose utterances are gliding tones, different for each speaker."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    scp, utt2spk = "", ""
    for s in range(speakers):
        for u in range(utterances):
            time = np.arange(round(seconds * RATE)) / RATE
            pitch = 200 + 150 * s + 100 * u + 200 * time
            wav = 0.3 * np.sin(2 * np.pi * pitch * time) + 0.01 * random.standard_normal(len(time))
            utt, path = f"s{s}_{u}", folder / f"s{s}_{u}.wav"
            soundfile.write(path, wav, RATE)
            scp += f"{utt} {path}\n"
            utt2spk += f"{utt} s{s}\n"
    (folder / "wav.scp").write_text(scp)
    (folder / "utt2spk").write_text(utt2spk)
    return folder


def tiny_overrides(data: Path, exp: Path, *, quantizer: str = "kmeans", steps: int = 30) -> list[str]:
    """Return the overrides of a run of `steps` steps that passes through all phases."""
    return [
        "model=tiny",
        f"quantizer={quantizer}",
        f"data.train={data}",
        f"data.valid={data}",
        f"exp_dir={exp}",
        f"data.sample_rate={RATE}",
        "model.latent_dim=8",
        "model.encoder.channels=[8,16]",
        "model.encoder.kernels=[16,10]",
        "model.encoder.strides=[8,10]",
        "model.conditioner={channels: 16, layers: 2, kernel: 3}",
        "model.decoder={bands: 4, levels: 256, layers: 4, cycle: 4, kernel: 2, residual: 8, gate: 16, skip: 16}",
        "model.shaper.bins=20",
        "quantizer.options.codebook_size=16",
        f"trainer.max_steps={steps}",
        "trainer.codebook_start=0.2",
        "trainer.decoder_start=0.4",
        "trainer.codebook_phase={segments: 4, frames: 20, speed: 0.1}",
        "trainer.decoder_phase={segments: 4, frames: 8}",
        "trainer.log_every=5",
        "trainer.validate_every=10",
        "trainer.validate_utterances=2",
        "trainer.save_every=10",
        "trainer.precision=float32",
        "trainer.device=cpu",
    ]


def states_agree(exp: Path, other: Path) -> bool:
    """Whether the newest states hold the same bits."""
    first, second = (load_state(states(folder)[0]) for folder in (exp, other))

    def same(x: object, y: object) -> bool:
        if isinstance(x, torch.Tensor):
            return torch.equal(x, y)
        if isinstance(x, dict):
            return x.keys() == y.keys() and all(same(x[key], y[key]) for key in x if key != "elapsed")
        if isinstance(x, list):
            return len(x) == len(y) and all(same(a, b) for a, b in zip(x, y, strict=True))
        return x == y

    return same(first, second)
