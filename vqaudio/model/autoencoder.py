"""The autoencoder, from encoder to shaper, and the one bridge from configuration to modules."""

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from vqaudio.errors import UserError
from vqaudio.model.bands import BandCoder
from vqaudio.model.decoder import Conditioner, WaveNet
from vqaudio.model.encoder import Encoder
from vqaudio.model.quantizer import GumbelQuantizer, KMeansQuantizer, QuantizerOutput
from vqaudio.model.shaping import Shaper

if TYPE_CHECKING:
    from omegaconf import DictConfig

Part = TypeVar("Part", bound=nn.Module)


class VQAutoencoder(nn.Module):
    """Waveform to codes and codes to the condition of a WaveNet."""

    def __init__(
        self,
        encoder: Encoder,
        quantizer: KMeansQuantizer | GumbelQuantizer,
        conditioner: Conditioner,
        bands: BandCoder,
        decoder: WaveNet,
        shaper: Shaper,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.quantizer = quantizer
        self.conditioner = conditioner
        self.bands = bands
        self.decoder = decoder
        self.shaper = shaper
        self.steps_per_frame = encoder.hop_length // bands.bands  # of the WaveNet

    def encode(self, wav: Tensor) -> Tensor:
        """Encode `wav` (B, T) into codes (B, G, N)."""
        return self.quantizer.encode(self.encoder(wav))

    def condition(self, z_q: Tensor, speaker: Tensor) -> Tensor:
        """Return the WaveNet's condition (B, C, N) for `z_q` (B, D, N) spoken by `speaker` (B,)."""
        return self.conditioner(z_q, speaker)

    def forward(
        self,
        padded: Tensor,
        speaker: Tensor,
        *,
        temperature: float,
        jitter: float,
        mask: Tensor | None = None,
    ) -> "Latents":
        """Run everything up to the condition on training segments.

        `padded` (B, left + N * hop_length + right) carries the encoder's context on both sides; `mask` (B, N) is
        true where a frame lies inside its recording. `jitter` is the total probability that a frame takes the
        codeword of its left or right neighbour (Chorowski et al. 2019, section III-C).
        """
        z = self.encoder.frames(padded)
        quantized = self.quantizer(z, temperature, mask)
        z_q = quantized.z_q
        if jitter > 0 and self.training:
            z_q = time_jitter(z_q, jitter)
        return Latents(z, quantized, self.condition(z_q, speaker))

    def fixed(self, padded: Tensor, speaker: Tensor, *, jitter: float) -> tuple[Tensor, Tensor]:
        """Return the codes (B, G, N) of training segments, which learn nothing, and the condition (B, C, N).

        Arguments as those of `forward`.
        """
        with torch.no_grad():
            codes = self.quantizer.encode(self.encoder.frames(padded))
            z_q = self.quantizer.lookup(codes)
        if jitter > 0 and self.training:
            z_q = time_jitter(z_q, jitter)
        return codes, self.condition(z_q, speaker)


class Latents(NamedTuple):
    """What a segment becomes at frame rate: `z` (B, D, N), the quantizer's output, the condition (B, C, N)."""

    z: Tensor
    quantized: QuantizerOutput
    condition: Tensor


def time_jitter(z_q: Tensor, probability: float) -> Tensor:
    """Replace each frame of `z_q` (B, D, N) with a neighbour: left or right with `probability / 2` each."""
    B, D, N = z_q.shape
    draw = torch.rand(B, N, device=z_q.device)
    offset = (draw < probability / 2).long() - (draw > 1 - probability / 2).long()
    index = (torch.arange(N, device=z_q.device) + offset).clamp(0, N - 1)
    return z_q.gather(2, index.unsqueeze(1).expand(B, D, N))


def build_model(cfg: "DictConfig", speakers: int) -> VQAutoencoder:
    """Build the autoencoder that the resolved configuration describes, for a number of speakers.

    Raises:
        UserError: settings do not fit together; names the part of the configuration.
    """
    model, latent_dim = cfg.model, cfg.model.latent_dim
    quantizer = {"kmeans": KMeansQuantizer, "gumbel": GumbelQuantizer}[cfg.quantizer.name]
    coder = {"bands": model.decoder.bands, "levels": model.decoder.levels, "pre_emphasis": cfg.data.pre_emphasis}
    encoder = _build("model.encoder", Encoder, model.encoder, latent_dim=latent_dim)
    if encoder.hop_length % model.decoder.bands:
        raise UserError(
            f"model.decoder.bands: {model.decoder.bands} do not divide a hop of {encoder.hop_length} samples, "
            "the product of model.encoder.strides; change either"
        )
    frame = {"sample_rate": cfg.data.sample_rate, "hop_length": encoder.hop_length}
    channels = model.conditioner.channels
    return VQAutoencoder(
        encoder,
        _build("quantizer.options", quantizer, cfg.quantizer.options, latent_dim=latent_dim),
        _build("model.conditioner", Conditioner, model.conditioner, latent_dim=latent_dim, speakers=speakers),
        _build("model.decoder", BandCoder, coder),
        _build("model.decoder", WaveNet, model.decoder, condition=channels),
        _build("model.shaper", Shaper, model.shaper, condition=channels, **frame),
    )


def _build(key: str, module: type[Part], options: Any, **others: int) -> Part:
    """Build a part of the model from the options under a key of the configuration."""
    try:
        return module(**options, **others)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:  # RuntimeError: not enough memory
        raise UserError(f"{key}: {error}") from error
