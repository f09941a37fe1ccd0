"""Finds and opens networks of transformers: from the Hugging Face hub, its cache, or a folder of save_pretrained.

Only JSON and safetensors are read: nothing is unpickled, and no code of the hub is run. HF_HUB_OFFLINE=1 keeps to the
cache.
"""

import contextlib
import hashlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vqaudio import files
from vqaudio.errors import UserError, first_line

WEIGHTS = ("model.safetensors", "model-*.safetensors")
"""The weights in one file, or in several."""
FILES = ("config.json", "preprocessor_config.json", "processor_config.json", *WEIGHTS, "model.safetensors.index.json")
"""What is downloaded."""
UNUSED = ("masked_spec_embed",)
"""Weights of training alone; a network without them is whole."""
FAMILY = "give a network like HuBERT, wav2vec 2.0, WavLM or data2vec-audio"


class Place(NamedTuple):
    """Where a network is: `hub` is a folder, or a name on the Hugging Face hub, of the commit or branch `revision`."""

    hub: str
    revision: str | None = None


class Network(NamedTuple):
    """A network up to a layer, ready to use."""

    model: Any
    """A model of transformers in evaluation, float32."""
    model_type: str
    """Of config.json."""
    sample_rate: int
    """Hz."""
    hop_length: int
    """Samples per frame."""
    receptive_field: int
    """Samples that one frame needs."""
    normalize: bool
    """Whether each utterance is scaled to mean 0 and variance 1."""


def fetch(place: Place) -> tuple[Path, str]:
    """Return the folder with the files of a network, and its commit on the hub, "" for a folder that was given.

    Raises:
        UserError: there is no such network, or it has no safetensors.
    """
    hub = _import("huggingface_hub")
    folder, revision = Path(place.hub), ""
    if folder.is_dir():
        if place.revision:
            raise UserError(
                f"--revision {place.revision}: {folder} is a folder; leave it out, or give a name of the hub"
            )
    else:
        try:
            folder = Path(hub.snapshot_download(place.hub, revision=place.revision, allow_patterns=[*FILES]))
        except Exception as error:  # of the network, of the hub or of the name, of many kinds
            at = f" --revision {place.revision}" if place.revision else ""
            raise UserError(
                f"--hub {place.hub}{at}: no folder, and not to be had from the Hugging Face hub or its cache "
                f"({type(error).__name__}: {first_line(error)}); check the name, or run `hf download {place.hub}{at}` "
                "where there is a network, or give the folder of a model"
            ) from None
        revision = folder.name  # the cache keeps snapshots/<commit>
    if not _weights(folder):
        raise UserError(
            f"{place.hub}: has no model.safetensors, and pickles are not read; give a --revision that has one, or save "
            "the model (AutoModel and AutoFeatureExtractor of transformers, save_pretrained) and give that folder"
        )
    return folder, revision


def _weights(folder: Path) -> list[Path]:
    """Return the files of the weights, in order; where there are both kinds, transformers reads the one file."""
    found = [sorted(folder.glob(pattern)) for pattern in WEIGHTS]
    return found[0] or found[1]


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of model.safetensors, as the hub shows it; of several files, that of their hashes in order."""
    hashes = [files.sha256(path) for path in _weights(folder)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def open_network(name: str, folder: Path, layer: int, device: str) -> Network:
    """Load the first `layer` layers of a network onto a device.

    Args:
        name: of the network, for errors.
        folder: what `fetch` returned.
        layer: from 0 to the number of layers.
        device: cpu or cuda.

    Raises:
        UserError: a file is missing or damaged, the network does not take raw audio, or has no such layer.
    """
    transformers = _import("transformers")
    own = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _quiet(transformers.utils.logging):
            config = transformers.AutoConfig.from_pretrained(folder, **own)
            _check(name, config, layer)
            config.num_hidden_layers = max(1, layer)
            extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, **own)
            model, loading = transformers.AutoModel.from_pretrained(
                folder, config=config, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **own
            )
    except UserError:
        raise
    except Exception as error:  # of what transformers consists of, of many kinds
        raise UserError(
            f"{name}: transformers cannot open it ({type(error).__name__}: {first_line(error)}); save it again"
        ) from None
    missing = sorted(key for key in loading["missing_keys"] if key not in UNUSED)
    if missing:
        raise UserError(
            f"{name}: its weights lack {missing[0]} and {len(missing) - 1} others; save the whole model again"
        )
    if not getattr(extractor, "sampling_rate", 0) or not hasattr(extractor, "do_normalize"):
        raise UserError(f"{name}: {type(extractor).__name__} does not say how raw audio is prepared; {FAMILY}")
    if getattr(config, "do_stable_layer_norm", False) or config.model_type == "wav2vec2-conformer":
        model.encoder.layer_norm = torch.nn.Identity()  # some versions give the last layer's output after this norm
    model.requires_grad_(False)
    return Network(
        model.to(device).eval(), config.model_type, extractor.sampling_rate, *_frames(config), extractor.do_normalize
    )


def _check(name: str, config: Any, layer: int) -> None:
    """Raise unless a network takes raw audio and has a layer."""
    if not getattr(config, "conv_stride", None) or not getattr(config, "conv_kernel", None):
        raise UserError(f"{name}: {config.model_type} has no convolutions over raw audio; {FAMILY}")
    if not 0 <= layer <= config.num_hidden_layers:
        raise UserError(f"--layer {layer}: {name} has layers 0 to {config.num_hidden_layers}; give one of them")


def _frames(config: Any) -> tuple[int, int]:
    """Return the samples from one frame to the next, and those that one frame needs."""
    hop, field = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        field, hop = field + (kernel - 1) * hop, hop * stride
    pooled = getattr(config, "squeeze_factor", 1)  # SEW averages frames before the transformer
    return hop * pooled, field + (pooled - 1) * hop


@contextlib.contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Keep transformers from listing the weights of the layers that are left out, and from drawing progress bars."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise UserError(f"--features hf: {module} is not installed; install vqaudio[ssl]") from None
