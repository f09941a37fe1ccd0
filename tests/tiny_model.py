"""A small untrained model directory, as `train` would write it."""

from pathlib import Path

import torch
from omegaconf import OmegaConf

from vqaudio.model import build_model
from vqaudio.model_directory import UNKNOWN_SPEAKER, save_config, save_model

SPEAKERS = [UNKNOWN_SPEAKER, "p225", "p226"]


def save_tiny_model(
    folder: Path,
    *,
    seed: int = 0,
    groups: int = 1,
    bands: int = 1,
    levels: int = 256,
    level_db: float | None = -26.0,
    strength: float = 1.0,
) -> Path:
    """Write a model of hop 80 at 8 kHz with 16 codewords, most of which a random signal visits."""
    config = OmegaConf.create(
        {
            "model": {
                "latent_dim": 8,
                "encoder": {
                    "channels": [8, 8],
                    "kernels": [16, 10],
                    "strides": [8, 10],
                    "context_layers": 2,
                    "context_kernel": 3,
                },
                "conditioner": {"channels": 8, "layers": 1, "kernel": 3},
                "decoder": {
                    "bands": bands,
                    "levels": levels,
                    "layers": 3,
                    "cycle": 3,
                    "kernel": 2,
                    "residual": 8,
                    "gate": 8,
                    "skip": 8,
                },
                "shaper": {"bins": 20, "strength": strength},
            },
            "quantizer": {
                "name": "kmeans",
                "options": {
                    "codebook_size": 16,
                    "groups": groups,
                    "shared": False,
                    "update": "ema",
                    "decay": 0.99,
                    "commitment": 0.25,
                    "restart_threshold": 0.1,
                },
            },
            "data": {"sample_rate": 8000, "level_db": level_db, "pre_emphasis": 0.85},
        }
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(config, len(SPEAKERS)).eval()
    with torch.no_grad():
        z = model.encoder(0.1 * torch.randn(1, 80 * 500, generator=generator))
        model.quantizer.initialise(z[0].T, generator)
        model.bands.gains.copy_(torch.linspace(1, 2, bands))
    save_config(folder, config, SPEAKERS)
    save_model(folder, model.state_dict())
    return folder
