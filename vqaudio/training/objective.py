"""What training minimises: what makes units, and then the WaveNet's negative log likelihood of speech given units."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqaudio import distributed
from vqaudio.model import Latents, VQAutoencoder
from vqaudio.model.given import GivenUnits
from vqaudio.model.loops.likelihood import negative_log_likelihood
from vqaudio.model.quantizer import code_counts
from vqaudio.sampling import generate
from vqaudio.training.dataset import Batch
from vqaudio.training.heads import LabelHead

if TYPE_CHECKING:
    from omegaconf import DictConfig

DURATION_WEIGHT = 0.1
"""Of the loss of durations: so little that the common bound of the gradients leaves the WaveNet's alone."""


class Objective(nn.Module):
    """Losses of a batch: of the units in the first two phases, then the NLL of the WaveNet, to which units are given.

    Labels make units tell phones apart, and log-mel makes them tell sounds apart. `LabelHead` is in no saved model, and
    where units are given, by another tool, there is none.
    """

    label_head: LabelHead | None

    def __init__(self, model: VQAutoencoder, cfg: "DictConfig") -> None:
        super().__init__()
        self.model, self.cfg = model, cfg
        self.given, self.label_head = isinstance(model.quantizer, GivenUnits), None
        if not self.given:
            features = cfg.trainer.label_coefficients * len(cfg.trainer.label_offsets)
            self.label_head = LabelHead(cfg.model.latent_dim, cfg.trainer.labels, features)

    def forward(self, batch: Batch, temperature: float, decoder: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the weighted losses, to be summed, and the quantizer's statistics.

        In training the mean of losses over processes is that over the frames of them all.
        """
        losses, stats = self.decoder_losses(batch) if decoder else self.unit_losses(batch, temperature)
        if self.training:
            margin = self.margin if decoder else 0
            weight = distributed.share(batch.mask[:, margin : batch.mask.shape[1] - margin].sum())
            losses = {name: weight * loss for name, loss in losses.items()}
        return losses, stats

    def unit_losses(self, batch: Batch, temperature: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return what encoder, quantizer and conditioner minimise."""
        cfg = self.cfg.trainer
        jitter, mask = cfg.jitter, batch.mask
        latents = self.model(batch.padded, batch.speaker, temperature=temperature, jitter=jitter, mask=mask)
        losses = dict(latents.quantized.losses)
        losses["label"] = cfg.label_weight * self.label_loss(latents, batch)
        losses["mel"] = cfg.mel_weight * self.mel_loss(batch, latents.condition, 0)
        return losses, latents.quantized.stats

    def decoder_losses(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the WaveNet's NLL (nats a sample) and the L1 of log-mel, of the segments without their margins.

        Where units are merged, there is the loss of their durations, too.
        """
        model = self.model
        codes, condition = self.condition(batch, self.cfg.trainer.jitter)
        margin = self.margin if self.training else 0  # validation takes whole segments
        inner = slice(margin, condition.shape[2] - margin)
        steps = slice(inner.start * model.steps_per_frame, inner.stop * model.steps_per_frame)
        levels = model.bands.encode(self.wav(batch))[:, steps]
        logits = model.decoder(model.decoder.shift(levels), condition[:, :, inner])
        error = negative_log_likelihood(logits, levels).mean(2)
        inside = batch.mask[:, inner].repeat_interleave(model.steps_per_frame, dim=1)
        counts = code_counts(codes.transpose(0, 1)[:, batch.mask], model.quantizer.codebook_size)
        losses = {"nll": (error * inside).sum() / inside.sum().clamp_min(1)}
        losses["mel"] = self.cfg.trainer.mel_weight * self.mel_loss(batch, condition, margin)
        if model.durations is not None:
            z_q = model.quantizer.lookup(batch.merged)
            losses["duration"] = DURATION_WEIGHT * model.durations.loss(z_q, batch.speaker, batch.durations)
        return losses, {"counts": counts}

    def condition(self, batch: Batch, jitter: float) -> tuple[Tensor, Tensor]:
        """Return the codes (B, G, N) of segments, which do not change any more, and the condition (B, C, N)."""
        given = batch.codes if self.given else None
        return self.model.fixed(batch.padded, batch.speaker, jitter=jitter, given=given)

    @property
    def margin(self) -> int:
        """Frames on both sides of a segment whose condition would lack context."""
        return self.model.conditioner.context

    def wav(self, batch: Batch) -> Tensor:
        """Return the audio (B, N * hop_length) of the frames, without the encoder's context."""
        return batch.padded[:, self.model.encoder.left : batch.padded.shape[1] - self.model.encoder.right]

    def example(self, batch: Batch, decoder: bool) -> tuple[Tensor, Tensor | None]:
        """Return what to show of the first segment: log-mel (2 * bins, N), original above prediction, and speech (T,).

        The speech is sampled from the units by the WaveNet; it is None before the WaveNet trains.
        """
        model = self.model
        _, condition = self.condition(batch, 0.0)
        target, predicted = self.log_mel(batch)[0], model.shaper(condition)[0].float()
        image = torch.cat([target.flip(0), predicted.flip(0)])
        if not decoder:
            return image, None
        levels = generate(model.decoder, [condition[0]], steps_per_frame=model.steps_per_frame, seeds=[0])[0]
        return image, torch.from_numpy(model.shaper.shape(model.bands.decode(levels), predicted))

    def log_mel(self, batch: Batch) -> Tensor:
        """Return the log-mel (B, bins, N) of segments, which the condition is to tell."""
        return self.model.shaper.log_mel(batch.padded, self.model.encoder.left, self.model.encoder.right)

    def label_loss(self, latents: Latents, batch: Batch) -> Tensor:
        """Return the cross entropy (nats) of the labels of the frames inside recordings, predicted from latents."""
        assert self.label_head is not None
        logits = self.label_head(latents.z).float().flatten(0, 1)
        error = F.cross_entropy(logits, batch.labels.flatten(), reduction="none").view_as(batch.mask)
        return (error * batch.mask).sum() / batch.mask.sum()

    def mel_loss(self, batch: Batch, condition: Tensor, margin: int) -> Tensor:
        """Return the L1 between predicted and true log-mel over the frames inside recordings, without the margins."""
        inner = slice(margin, condition.shape[2] - margin)
        error = (self.model.shaper(condition).float() - self.log_mel(batch)).abs().mean(1)[:, inner]
        return (error * batch.mask[:, inner]).sum() / batch.mask[:, inner].sum().clamp_min(1)
