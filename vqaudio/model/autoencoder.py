"""The autoencoder, from encoder to shaper, and the one bridge from configuration to modules."""

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from vqaudio.errors import UserError
from vqaudio.model.bands import BandCoder
from vqaudio.model.decoder import Conditioner, WaveNet
from vqaudio.model.encoder import Encoder
from vqaudio.model.given import DurationPredictor, GivenUnits, NoEncoder
from vqaudio.model.quantizer import GumbelQuantizer, KMeansQuantizer, QuantizerOutput
from vqaudio.model.shaping import Shaper

if TYPE_CHECKING:
    from omegaconf import DictConfig

Part = TypeVar("Part", bound=nn.Module)


class VQAutoencoder(nn.Module):
    """Waveform to codes and codes to the condition of a WaveNet; or, for units of other tools, only the latter."""

    def __init__(
        self,
        encoder: Encoder | NoEncoder,
        quantizer: KMeansQuantizer | GumbelQuantizer | GivenUnits,
        conditioner: Conditioner,
        bands: BandCoder,
        decoder: WaveNet,
        shaper: Shaper,
        durations: DurationPredictor | None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.quantizer = quantizer
        self.conditioner = conditioner
        self.bands = bands
        self.decoder = decoder
        self.shaper = shaper
        self.durations = durations  # only of a model that learns from merged units
        self.steps_per_frame = encoder.hop_length // bands.bands  # of the WaveNet

    def require_encoder(self) -> None:
        """Raise UserError if the model has no encoder."""
        if isinstance(self.encoder, NoEncoder):
            self.encoder()

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

    def fixed(
        self, padded: Tensor, speaker: Tensor, *, jitter: float, given: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the codes (B, G, N) of training segments, which learn nothing, and the condition (B, C, N).

        Arguments as those of `forward`. Codes may be `given` (B, G, N); then their codewords learn.
        """
        with torch.set_grad_enabled(given is not None and torch.is_grad_enabled()):
            codes = self.quantizer.encode(self.encoder.frames(padded)) if given is None else given
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
    model, latent_dim, channels = cfg.model, cfg.model.latent_dim, cfg.model.conditioner.channels
    given = cfg.quantizer.name == "given"
    kind: type[KMeansQuantizer | GumbelQuantizer | GivenUnits]
    kind = {"kmeans": KMeansQuantizer, "gumbel": GumbelQuantizer, "given": GivenUnits}[cfg.quantizer.name]
    coder = {"bands": model.decoder.bands, "levels": model.decoder.levels, "pre_emphasis": cfg.data.pre_emphasis}
    # Parts are built in the order of before: each takes the random numbers that follow those of the last.
    encoder = None if given else _build("model.encoder", Encoder, model.encoder, latent_dim=latent_dim)
    hop_length = _given_hop(cfg) if encoder is None else encoder.hop_length
    if hop_length % model.decoder.bands:
        reason = "of the units" if given else "the product of model.encoder.strides"
        raise UserError(
            f"model.decoder.bands: {model.decoder.bands} do not divide a hop of {hop_length} samples, {reason}; "
            "change either"
        )
    frame = {"sample_rate": cfg.data.sample_rate, "hop_length": hop_length}
    quantizer = _build("quantizer.options", kind, cfg.quantizer.options, latent_dim=latent_dim)
    conditioner = _build("model.conditioner", Conditioner, model.conditioner, latent_dim=latent_dim, speakers=speakers)
    bands = _build("model.decoder", BandCoder, coder)
    decoder = _build("model.decoder", WaveNet, model.decoder, condition=channels)
    shaper = _build("model.shaper", Shaper, model.shaper, condition=channels, **frame)
    durations = None
    if given and cfg.quantizer.units.deduplicated:
        durations = DurationPredictor(latent_dim=latent_dim, speakers=speakers)
    encoder_part = NoEncoder(shaper) if encoder is None else encoder
    return VQAutoencoder(encoder_part, quantizer, conditioner, bands, decoder, shaper, durations)


def _given_hop(cfg: "DictConfig") -> int:
    """Return the samples per frame of units that were made of audio at another sample rate, perhaps."""
    rate, units = cfg.data.sample_rate, cfg.quantizer.units
    if rate * units.hop_length % units.sample_rate:
        raise UserError(
            f"data.sample_rate: at {rate} Hz a frame of the units ({units.hop_length} samples at {units.sample_rate} "
            f"Hz) is no whole number of samples; set data.sample_rate={units.sample_rate}, or another multiple of "
            "their frame rate"
        )
    return int(rate * units.hop_length // units.sample_rate)


def _build(key: str, module: type[Part], options: Any, **others: int) -> Part:
    """Build a part of the model from the options under a key of the configuration."""
    try:
        return module(**options, **others)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:  # RuntimeError: not enough memory
        raise UserError(f"{key}: {error}") from error
