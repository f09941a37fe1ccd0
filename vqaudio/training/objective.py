"""What training minimises: quantizer losses, what the heads predict, and the WaveNet's negative log likelihood."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqaudio.model import Latents, VQAutoencoder
from vqaudio.model.loops.likelihood import negative_log_likelihood
from vqaudio.sampling import generate
from vqaudio.training.dataset import Batch
from vqaudio.training.heads import LabelHead, MelHead, mel_targets

if TYPE_CHECKING:
    from omegaconf import DictConfig


class Objective(nn.Module):
    """Losses of a batch: quantizer losses, labels and log-mel in both phases, the WaveNet's NLL in the joint one.

    The heads are in no saved model: `LabelHead` makes units tell phones apart, `MelHead` makes them tell sounds apart.
    """

    def __init__(self, model: VQAutoencoder, cfg: "DictConfig") -> None:
        super().__init__()
        self.model, self.cfg = model, cfg
        self.mel_head = MelHead(cfg.model.conditioner.channels, cfg.trainer.mel_bins)
        features = cfg.trainer.label_coefficients * len(cfg.trainer.label_offsets)
        self.label_head = LabelHead(cfg.model.latent_dim, cfg.trainer.labels, features)

    def forward(self, batch: Batch, temperature: float, joint: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the weighted losses, to be summed, and the quantizer's statistics."""
        model, cfg = self.model, self.cfg.trainer
        latents = model(batch.padded, batch.speaker, temperature=temperature, jitter=cfg.jitter, mask=batch.mask)
        wav = batch.padded[:, model.encoder.left : batch.padded.shape[1] - model.encoder.right]
        losses = dict(latents.quantized.losses)
        losses["label"] = cfg.label_weight * self.label_loss(latents, batch)
        losses["mel"] = cfg.mel_weight * self.mel_loss(wav, latents, batch.mask)
        if joint:
            losses["nll"] = self.nll(wav, latents, batch.mask)
        return losses, latents.quantized.stats

    def example(self, batch: Batch, joint: bool) -> tuple[Tensor, Tensor | None]:
        """Return what to show of the first segment: log-mel (2 * bins, N), original above prediction, and speech (T,).

        The speech is sampled from the units by the WaveNet; it is None before the joint phase.
        """
        model = self.model
        latents = model(batch.padded, batch.speaker, temperature=1.0, jitter=0.0, mask=batch.mask)
        wav = batch.padded[:1, model.encoder.left : batch.padded.shape[1] - model.encoder.right]
        image = torch.cat([self.mel_target(wav)[0].flip(0), self.mel_head(latents.condition)[0].float().flip(0)])
        if not joint:
            return image, None
        levels = generate(model.decoder, [latents.condition[0]], steps_per_frame=model.steps_per_frame, seeds=[0])[0]
        return image, torch.from_numpy(model.bands.decode(levels))

    def mel_target(self, wav: Tensor) -> Tensor:
        """Return what the mel head is to predict of `wav` (B, N * hop_length): log-mel magnitudes (B, bins, N)."""
        rate, hop = self.cfg.data.sample_rate, self.model.encoder.hop_length
        return mel_targets(wav, sample_rate=rate, hop_length=hop, bins=self.cfg.trainer.mel_bins)

    def label_loss(self, latents: Latents, batch: Batch) -> Tensor:
        """Return the cross entropy (nats) of the labels of the frames inside recordings, predicted from latents."""
        logits, labels = self.label_head(latents.z).float(), self.label_head.labels(batch.features)
        error = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(batch.mask)
        return (error * batch.mask).sum() / batch.mask.sum()

    def mel_loss(self, wav: Tensor, latents: Latents, mask: Tensor) -> Tensor:
        """Return the L1 between predicted and true log-mel over the frames inside recordings."""
        error = (self.mel_head(latents.condition).float() - self.mel_target(wav)).abs().mean(1)
        return (error * mask).sum() / mask.sum()

    def nll(self, wav: Tensor, latents: Latents, mask: Tensor) -> Tensor:
        """Return the WaveNet's NLL (nats a sample) of the segments; in training of a window of each."""
        model, N = self.model, mask.shape[1]
        width, first = N, 0
        if self.training:  # validation takes whole segments, and no random number that training would miss
            width = min(self.cfg.trainer.joint_phase.decoder_frames, N)
            first = int(torch.randint(N - width + 1, (1,)))
        steps = model.steps_per_frame
        codes = model.bands.encode(wav)[:, first * steps : (first + width) * steps]
        logits = model.decoder(model.decoder.shift(codes), latents.condition[:, :, first : first + width])
        error = negative_log_likelihood(logits, codes).mean(2)
        inside = mask[:, first : first + width].repeat_interleave(steps, dim=1)
        return (error * inside).sum() / inside.sum().clamp_min(1)
