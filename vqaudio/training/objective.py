"""What training minimises: quantizer losses, what the heads predict, and the WaveNet's negative log likelihood."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vqaudio.audio import de_emphasis, mu_law_decode, mu_law_encode, pre_emphasis
from vqaudio.model import Latents, VQAutoencoder
from vqaudio.model.loops.likelihood import negative_log_likelihood
from vqaudio.sampling import generate
from vqaudio.training.dataset import Batch
from vqaudio.training.heads import MelHead, MfccHead, mel_targets

if TYPE_CHECKING:
    from omegaconf import DictConfig


class Objective(nn.Module):
    """Losses of a batch: quantizer losses, MFCC and log-mel in both phases, the WaveNet's NLL in the joint one.

    The heads are in no saved model: `MfccHead` makes units tell phones apart, `MelHead` makes them tell sounds apart.
    """

    def __init__(self, model: VQAutoencoder, cfg: "DictConfig") -> None:
        super().__init__()
        self.model, self.cfg = model, cfg
        self.mel_head = MelHead(cfg.model.conditioner.channels, cfg.trainer.mel_bins)
        frame_rate = cfg.data.sample_rate / model.encoder.hop_length
        frames = [round(seconds * frame_rate) for seconds in cfg.trainer.mfcc_offsets]
        self.mfcc_head = MfccHead(cfg.model.latent_dim, cfg.trainer.mfcc_coefficients, frames)

    def forward(self, batch: Batch, temperature: float, joint: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the weighted losses, to be summed, and the quantizer's statistics."""
        model, cfg = self.model, self.cfg.trainer
        latents = model(batch.padded, batch.speaker, temperature=temperature, jitter=cfg.jitter, mask=batch.mask)
        wav = batch.padded[:, model.encoder.left : batch.padded.shape[1] - model.encoder.right]
        losses = dict(latents.quantized.losses)
        losses["mfcc"] = cfg.mfcc_weight * self.mfcc_loss(latents, batch)
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
        levels = generate(model.decoder, [latents.condition[0]], hop_length=model.encoder.hop_length, seeds=[0])[0]
        sampled = de_emphasis(mu_law_decode(levels, model.decoder.levels).numpy(), self.cfg.data.pre_emphasis)
        return image, torch.from_numpy(sampled)

    def mel_target(self, wav: Tensor) -> Tensor:
        """Return what the mel head is to predict of `wav` (B, N * hop_length): log-mel magnitudes (B, bins, N)."""
        rate, hop = self.cfg.data.sample_rate, self.model.encoder.hop_length
        return mel_targets(wav, sample_rate=rate, hop_length=hop, bins=self.cfg.trainer.mel_bins)

    def mfcc_loss(self, latents: Latents, batch: Batch) -> Tensor:
        """Return the squared error of the MFCC predicted from single codewords, over the frames inside recordings."""
        predicted = self.mfcc_head(latents.quantized.z_q).float()
        error = (predicted - self.mfcc_head.window(batch.mfcc)).square().mean((2, 3))
        return (error * batch.mask).sum() / batch.mask.sum()

    def mel_loss(self, wav: Tensor, latents: Latents, mask: Tensor) -> Tensor:
        """Return the L1 between predicted and true log-mel over the frames inside recordings."""
        error = (self.mel_head(latents.condition).float() - self.mel_target(wav)).abs().mean(1)
        return (error * mask).sum() / mask.sum()

    def nll(self, wav: Tensor, latents: Latents, mask: Tensor) -> Tensor:
        """Return the WaveNet's NLL (nats a sample) of the segments; in training of a window of each."""
        hop, N = self.model.encoder.hop_length, mask.shape[1]
        width, first = N, 0
        if self.training:  # validation takes whole segments, and no random number that training would miss
            width = min(self.cfg.trainer.joint_phase.decoder_frames, N)
            first = int(torch.randint(N - width + 1, (1,)))
        wav = pre_emphasis(wav, self.cfg.data.pre_emphasis)[:, first * hop : (first + width) * hop]
        codes = mu_law_encode(wav, self.model.decoder.levels)
        logits = self.model.decoder(self.model.decoder.shift(codes), latents.condition[:, :, first : first + width])
        error = negative_log_likelihood(logits, codes)
        inside = mask[:, first : first + width].repeat_interleave(hop, dim=1)
        return (error * inside).sum() / inside.sum().clamp_min(1)
