"""Features of speech from self-supervised networks of transformers: HuBERT, wav2vec 2.0, WavLM, data2vec … (extra ssl).

Layers are counted as `hidden_states` of transformers counts them: 0 is what enters the first transformer layer (the
projected output of the convolutions, with positions; where layers normalise their output, as in the base models, also
normalised), and n is the output of the n-th layer. Where layers normalise their input ("stable layer norm": HuBERT
large and extra large, wav2vec 2.0 large LV-60, XLS-R, WavLM large), that is the residual stream, for the last layer,
too: the norm that follows it is left out, as in fairseq; versions of transformers differ in that.
`extract_features(output_layer=n)` of fairseq's HuBERT is layer n, counted from 1; `extract_features(layer=n)` of its
wav2vec 2.0 and item n of the list that torchaudio's `extract_features` returns are layer n + 1.

One utterance goes through the network at a time, without padding, on a CPU on one thread: models with group norm were
trained without an attention mask, so padding would change their features, and the shape of a batch changes how products
of matrices round. Therefore units do not depend on what else is extracted, in how many jobs or shards. A recording of
more than `STEP_SECONDS` is worked on in steps of that length with `CONTEXT_SECONDS` of it on either side, so memory
does not grow with its length. Its features then know no more than that, and group norm sees a step at a time.
"""

import dataclasses
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqaudio import audio
from vqaudio.datadir import Utterance
from vqaudio.defaults import PRECISIONS
from vqaudio.errors import UserError
from vqaudio.units.hub import Place, fetch, open_network, weights_hash

STEP_SECONDS, CONTEXT_SECONDS = 40, 5
"""Length of the steps of long recordings, and of what is seen of their neighbours: 50 s at a time at most."""
VARIANCE_FLOOR = 1e-7
"""Added to the variance of a wav before it is scaled to 1, as Wav2Vec2FeatureExtractor does."""
LAYERS = (
    "hidden_states[n] of transformers: 0 enters the first transformer layer, n leaves the n-th, before any norm after"
)
"""How layers are counted, for the card beside the units."""


@dataclass(frozen=True)
class EncoderCard:
    """What made the features; all of it but `hub` and `revision` must be the same when they are made again."""

    hub: str
    """Name on the Hugging Face hub, or folder, as it was given."""
    revision: str
    """Commit of the hub; "" for a folder."""
    weights_sha256: str
    """Of model.safetensors or, if the weights have several files, of their hashes."""
    model_type: str
    """Of config.json: hubert, wav2vec2, wavlm, data2vec-audio …"""
    layer: int
    """See the first lines of this file."""
    sample_rate: int
    """Hz."""
    hop_length: int
    """Samples per frame: the product of the strides."""
    normalize: bool
    """Whether each utterance is scaled to mean 0 and variance 1 (`do_normalize`)."""
    precision: str
    """Of products of matrices: float32, bfloat16 or float16."""

    @classmethod
    def read(cls, values: dict[str, Any]) -> "EncoderCard":
        """Return the card of the header of a k-means file.

        Raises:
            TypeError: values are missing, unknown or of another type.
            ValueError: they are out of range.
        """
        card = cls(**values)
        if any(type(getattr(card, field.name)) is not field.type for field in dataclasses.fields(cls)):
            raise TypeError("the card of the network has values of another type")
        if card.precision not in PRECISIONS or card.layer < 0 or min(card.sample_rate, card.hop_length) < 1:
            raise ValueError("the card of the network has values out of range")
        return card


CHECKED = [field.name for field in dataclasses.fields(EncoderCard) if field.name not in ("hub", "revision")]


class Encoder:
    """The first layers of a network, which is opened when it is first used; several threads may share it."""

    def __init__(self, card: EncoderCard, place: Place | None = None, device: str = "cpu") -> None:
        self.card, self.device = card, device
        self.place = place or Place(card.hub, card.revision or None)
        self._lock = threading.Lock()
        self._network: Any = None

    @classmethod
    def find(cls, place: Place, layer: int, precision: str, device: str) -> "Encoder":
        """Open a network.

        Raises:
            UserError: it is not found, is no network of this kind, or has no such layer.
        """
        card, network = _open(place, layer, precision, device)
        encoder = cls(card, place, device)
        encoder._network = network
        return encoder

    def about(self) -> dict[str, Any]:
        """Return the card as plain data, with what the numbers in it mean."""
        extra = {"layers": LAYERS, "step_seconds": STEP_SECONDS, "context_seconds": CONTEXT_SECONDS}
        return dataclasses.asdict(self.card) | extra

    def folders(self) -> list[Path]:
        """Return the folder of a network that was given as one, an input that no output may touch."""
        return [Path(self.place.hub)] if Path(self.place.hub).is_dir() else []

    def network(self) -> Any:
        """Return the network that the card describes.

        Raises:
            UserError: as `find`, or it is another one.
        """
        with self._lock:
            if self._network is None:
                card, network = _open(self.place, self.card.layer, self.card.precision, self.device)
                for name in CHECKED:
                    found, expected = getattr(card, name), getattr(self.card, name)
                    if found != expected:
                        raise UserError(
                            f"{self.place.hub}: its {name} is {_short(found)}, not {_short(expected)}, so it is not "
                            "the network that the k-means was fitted with; give that one (--hub, --revision)"
                        )
                self._network = network
            return self._network

    def pieces(self, utterance: Utterance) -> Iterator[Tensor]:
        """Yield the features of an utterance in order, as pieces (n, D), float32.

        Raises:
            UserError: it cannot be read or is shorter than a frame, or a feature is not finite.
        """
        network, rate, hop = self.network(), self.card.sample_rate, self.card.hop_length
        step, context = (seconds * rate // hop * hop for seconds in (STEP_SECONDS, CONTEXT_SECONDS))

        def blocks() -> Iterator[np.ndarray]:
            yield from audio.blocks(utterance.path, rate, step, utterance.start, utterance.end, utterance.channel)

        offset, scale = _normalisation(blocks()) if self.card.normalize else (np.float32(0), np.float32(1))
        done = 0
        for window, before in _overlapping(blocks(), context):
            rows = self._rows(network, (window - offset) * scale)[before // hop : (before + step) // hop]
            if not rows.isfinite().all():
                raise UserError(f"{utterance.path}: features are NaN or infinite; fit with another --precision")
            done += len(rows)
            if len(rows):
                yield rows
        if not done:
            raise UserError(
                f"{utterance.path}: {len(window)} samples at {rate} Hz are less than a frame; leave the utterance out"
            )

    @torch.inference_mode()
    def _rows(self, network: Any, window: np.ndarray) -> Tensor:
        """Return the features (N, D) of samples (T,), with as many frames as the network gives."""
        if len(window) < network.receptive_field:
            return torch.zeros(0, 1)
        samples, dtype = torch.from_numpy(window)[None].to(self.device), getattr(torch, self.card.precision)
        with torch.autocast(self.device, dtype, enabled=dtype != torch.float32):
            states = network.model(samples, output_hidden_states=True).hidden_states
        return states[self.card.layer][0].float().cpu()


def _open(place: Place, layer: int, precision: str, device: str) -> tuple[EncoderCard, Any]:
    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"device {device}: torch finds no GPU here; use cpu")
    folder, revision = fetch(place)
    network = open_network(place.hub, folder, layer, device)
    card = EncoderCard(
        hub=place.hub,
        revision=revision,
        weights_sha256=weights_hash(folder),
        model_type=network.model_type,
        layer=layer,
        sample_rate=network.sample_rate,
        hop_length=network.hop_length,
        normalize=network.normalize,
        precision=precision,
    )
    return card, network


def _normalisation(blocks: Iterable[np.ndarray]) -> tuple[np.float32, np.float32]:
    """Return the mean of samples, and the factor that brings their variance to 1."""
    count, total, power = 0, 0.0, 0.0
    for block in blocks:
        samples = block.astype(np.float64)
        count, total, power = count + len(block), total + samples.sum(), power + np.square(samples).sum()
    mean = total / count
    return np.float32(mean), np.float32(1 / np.sqrt(max(power / count - mean**2, 0.0) + VARIANCE_FLOOR))


def _overlapping(blocks: Iterator[np.ndarray], context: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield each block with up to `context` samples of its neighbours, and the number of those before it."""
    nothing = np.zeros(0, np.float32)
    before, block = nothing, next(blocks)
    for after in (*blocks, nothing):
        yield np.concatenate([before, block, after[:context]]), len(before)
        before, block = block[-context:], after


def _short(value: object) -> object:
    return value[:12] if isinstance(value, str) else value
