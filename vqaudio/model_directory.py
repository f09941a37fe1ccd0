"""The model directory: config.yaml, model.safetensors and speakers.txt, written atomically, never unpickled."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from vqaudio import files
from vqaudio.errors import UserError, first_line
from vqaudio.model import VQAutoencoder, build_model

if TYPE_CHECKING:
    from omegaconf import DictConfig

KIND = "model"
"""What the mark of a model directory says (see `vqaudio.outputs`)."""

UNKNOWN_SPEAKER = "<unknown>"
"""Index 0 of every speaker list: the voice for speakers the model has not seen, trained by speaker dropout."""

MAX_HELPERS = 1 << 20
"""Numbers of tensors that a network makes only while it is built, at most."""


class LoadedModel(NamedTuple):
    """A model directory in memory: `speakers[i]` is the name of index i; `hash` names the weights."""

    model: VQAutoencoder
    config: "DictConfig"
    speakers: list[str]
    hash: str

    @property
    def units_hash(self) -> str:
        """Hash of the model that units are marked with: this one, or the one that it has its units from.

        A model whose configuration says `units_hash` has the encoder and the codebook of that other model.
        """
        return str(self.config.get("units_hash", self.hash))


def save_config(model_dir: Path, config: "DictConfig", speakers: list[str]) -> None:
    """Write `config.yaml` (resolved) and `speakers.txt`."""
    from omegaconf import OmegaConf

    model_dir.mkdir(parents=True, exist_ok=True)
    files.atomic_write(model_dir / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    files.atomic_write(model_dir / "speakers.txt", "".join(f"{i} {name}\n" for i, name in enumerate(speakers)))


def save_model(model_dir: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a state dict of the autoencoder to `model.safetensors`."""
    from safetensors.torch import save

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    files.atomic_write(model_dir / "model.safetensors", save(contiguous))


def load_config(model_dir: Path) -> "DictConfig":
    """Read `config.yaml` as plain data."""
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    path = model_dir / "config.yaml"
    try:
        config = OmegaConf.load(path)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; give the directory that `vqaudio train` wrote (exp_dir)") from None
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a configuration ({first_line(error)}); train again or restore it") from None
    if not isinstance(config, DictConfig) or "model" not in config:
        raise UserError(f"{path}: not a configuration of vqaudio; restore the file that `vqaudio train` wrote")
    return config


def load_speakers(model_dir: Path) -> list[str]:
    """Read `speakers.txt`: the name of each index, `<unknown>` first."""
    path = model_dir / "speakers.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)}); restore it") from None
    names = [line.partition(" ")[2] for line in lines]
    indices = [line.partition(" ")[0] for line in lines]
    if indices != [str(i) for i in range(len(lines))] or names[:1] != [UNKNOWN_SPEAKER]:
        raise UserError(f"{path}: lines must be '0 {UNKNOWN_SPEAKER}', '1 name', '2 name', …; restore it")
    return names


def load_model(model_dir: Path, device: str = "cpu") -> LoadedModel:
    """Load a model directory for inference.

    Raises:
        UserError: a file is missing, broken, or does not belong to the others, or there is no such device.
    """
    from omegaconf.errors import OmegaConfBaseException
    from safetensors import SafetensorError
    from safetensors.torch import load

    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"device {device}: torch finds no GPU here; use cpu")
    config, speakers = load_config(model_dir), load_speakers(model_dir)
    path = model_dir / "model.safetensors"
    try:
        tensors = load(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: not found; train first, or wait for the first validation") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a complete safetensors file ({first_line(error)}); restore it") from None
    try:
        _check_audio(config)
        with _Bounded(2 * sum(tensor.numel() for tensor in tensors.values()) + MAX_HELPERS):
            model = build_model(config, len(speakers))
        model.load_state_dict(tensors)
    except (RuntimeError, OmegaConfBaseException, TypeError, ValueError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: does not fit {model_dir / 'config.yaml'} ({first_line(error)}); restore both"
        ) from None
    return LoadedModel(model.to(device).eval(), config, speakers, files.sha256(path))


class _Bounded(TorchFunctionMode):
    """Refuses a network that is far larger than the tensors of its file, before it takes memory.

    Raises:
        ValueError: as soon as it holds more than `most` numbers.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.empty, torch.zeros, torch.ones, torch.randn):
            self.left -= func(*args, **kwargs | {"device": "meta"}).numel()
            if self.left < 0:
                raise ValueError("the network is larger than the file")
        return func(*args, **kwargs)


def _check_audio(config: "DictConfig") -> None:
    """Raise `ValueError` if the settings of the audio cannot be used."""
    data = config.data
    rate, level_db, pre_emphasis = data.sample_rate, data.level_db, data.pre_emphasis
    if type(rate) is not int or rate < 1:
        raise ValueError(f"data.sample_rate is {rate!r}")
    if level_db is not None and not (type(level_db) in (int, float) and math.isfinite(level_db)):
        raise ValueError(f"data.level_db is {level_db!r}")
    if type(pre_emphasis) not in (int, float) or not 0 <= pre_emphasis < 1:
        raise ValueError(f"data.pre_emphasis is {pre_emphasis!r}")
