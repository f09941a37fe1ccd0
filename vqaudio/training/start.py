"""What training begins with: labels, the gains of the bands, and the first codebook, all made from the training set."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from vqaudio import distributed
from vqaudio.model import VQAutoencoder
from vqaudio.training.dataset import Batch, SegmentDataset
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


@torch.no_grad()
def start_labels(
    net: Objective, data: SegmentDataset, phase: "DictConfig", seed: int, world: distributed.World
) -> None:
    """Make the label space, and measure the gains of the bands; every process gets the same ones.

    `phase` gives the segments of a batch and their frames.
    """
    encoder, voices = net.model.encoder, data.labeller.voices
    generator = torch.Generator().manual_seed(seed)
    speakers = dict.fromkeys(data.recordings.utterances[row].speaker for row in data.shuffled())
    voices.use(voices.fit(list(speakers)[:VOICES], generator))
    net.label_head.start(voices.centroids, data.label_features(LABEL_FRAMES), generator)
    batches = _batches(data, phase, world)
    wavs = [batch.padded[:, encoder.left : batch.padded.shape[1] - encoder.right] for batch in batches]
    net.model.bands.fit(torch.cat(wavs))
    distributed.broadcast([*net.label_head.buffers(), net.model.bands.gains])


@torch.no_grad()
def start_codebook(
    model: VQAutoencoder, data: SegmentDataset, phase: "DictConfig", seed: int, world: distributed.World
) -> None:
    """Start the codebook by k-means on the encoder's outputs; every process gets the same one.

    `phase` gives the segments of a batch and their frames.
    """
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
