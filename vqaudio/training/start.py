"""What training begins with: labels, the gains of the bands, and the first codebook, all made from the training set.

Where units are given, these are only the gains of the bands.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from vqaudio import distributed
from vqaudio.model import VQAutoencoder
from vqaudio.model.given import GivenUnits
from vqaudio.training.dataset import Batch, SegmentDataset
from vqaudio.training.heads import LabelHead
from vqaudio.training.objective import Objective

if TYPE_CHECKING:
    from omegaconf import DictConfig

START_FRAMES = 40_000
"""Frames that the gains and the codebook are made from."""

LABEL_FRAMES = 200_000
"""Frames that labels are made from."""

VOICES = 100
"""Speakers whose voices the centroids of voices are made from; who has more utterances is drawn sooner."""

START_STREAM = 1_000_000
"""Stream of the segments of these frames; those of the processes are their ranks."""


def start(net: Objective, data: SegmentDataset, cfg: "DictConfig", world: distributed.World) -> None:
    """Make the label space, and measure the gains of the bands."""
    if net.label_head is None:
        start_bands(net, data, cfg.trainer.decoder_phase, world)
        return
    start_labels(net.label_head, data, cfg.seed)
    if cfg.init is None:
        start_bands(net, data, cfg.trainer.codebook_phase, world)


@torch.no_grad()
def start_labels(label_head: LabelHead, data: SegmentDataset, seed: int) -> None:
    """Make the label space; every process gets the same one."""
    voices = data.labeller.voices
    generator = torch.Generator().manual_seed(seed)
    speakers = dict.fromkeys(data.recordings.utterances[row].speaker for row in data.shuffled())
    voices.use(voices.fit(list(speakers)[:VOICES], generator))
    label_head.start(voices.centroids, data.label_features(LABEL_FRAMES), generator)
    distributed.broadcast(label_head.buffers())


@torch.no_grad()
def start_bands(net: Objective, data: SegmentDataset, phase: "DictConfig", world: distributed.World) -> None:
    """Measure the gains of the bands; every process gets the same ones.

    `phase` gives the segments of a batch and their frames.
    """
    net.model.bands.fit(torch.cat([net.wav(batch) for batch in _batches(data, phase, world)]))
    distributed.broadcast([net.model.bands.gains])


@torch.no_grad()
def start_codebook(
    model: VQAutoencoder, data: SegmentDataset, phase: "DictConfig", seed: int, world: distributed.World
) -> None:
    """Start the codebook by k-means on the encoder's outputs; every process gets the same one.

    `phase` gives the segments of a batch and their frames.
    """
    assert not isinstance(model.quantizer, GivenUnits)
    batches = _batches(data, phase, world)
    latents = [model.encoder.frames(batch.padded).transpose(1, 2)[batch.mask] for batch in batches]
    model.quantizer.initialise(torch.cat(latents), torch.Generator(world.device).manual_seed(seed))
    distributed.broadcast(model.quantizer.state_dict().values())


def _batches(data: SegmentDataset, phase: "DictConfig", world: distributed.World) -> Iterator[Batch]:
    """Yield batches of about `START_FRAMES` frames: the same at every call, and in every process those of all."""
    for i in range(math.ceil(START_FRAMES / (phase.segments * world.size * phase.frames))):
        for rank in range(world.size):
            size = {"size": phase.segments, "frames": phase.frames, "rank": rank, "processes": world.size}
            yield data.batch(i, stream=START_STREAM, **size).to(world.device)
