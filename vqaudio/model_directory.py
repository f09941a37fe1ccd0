"""The model directory and the training state: written atomically, never unpickled."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from vqaudio import files
from vqaudio.errors import UserError
from vqaudio.model import VQAutoencoder, build_model
from vqaudio.training.dataset import UNKNOWN_SPEAKER

if TYPE_CHECKING:
    from omegaconf import DictConfig

KEPT_STATES = 2


class LoadedModel(NamedTuple):
    """A model directory in memory: ``speakers[i]`` is the name of index i; ``hash`` names the weights."""

    model: VQAutoencoder
    config: "DictConfig"
    speakers: list[str]
    hash: str


def save_config(model_dir: Path, config: "DictConfig", speakers: list[str]) -> None:
    """Write ``config.yaml`` (resolved) and ``speakers.txt``."""
    from omegaconf import OmegaConf

    model_dir.mkdir(parents=True, exist_ok=True)
    files.atomic_write(model_dir / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    files.atomic_write(model_dir / "speakers.txt", "".join(f"{i} {name}\n" for i, name in enumerate(speakers)))


def require_same_model(model_dir: Path, config: "DictConfig", speakers: list[str]) -> None:
    """Refuse to continue a run of ``model_dir`` with a configuration that builds another model.

    Raises:
        UserError: names the first value that differs.

    """
    if not states(model_dir):
        return
    there, here = (
        _flatten(c, ("model", "quantizer.options", "quantizer.name", "data.sample_rate"))
        for c in (load_config(model_dir), config)
    )
    for key in sorted(there.keys() | here.keys()):
        if there.get(key) != here.get(key):
            raise UserError(
                f"{model_dir}: holds a run of another model: {key} is {there.get(key)} there and {here.get(key)} here; "
                "give another exp_dir, or remove this one"
            )
    if load_speakers(model_dir) != speakers:
        raise UserError(f"{model_dir}: holds a run with other speakers; give another exp_dir, or remove this one")


def _flatten(config: "DictConfig", keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the leaves under ``keys`` by dotted name."""
    from omegaconf import DictConfig, OmegaConf

    leaves: dict[str, Any] = {}
    for key in keys:
        value = OmegaConf.select(config, key)
        if isinstance(value, DictConfig):
            leaves |= _flatten(config, tuple(f"{key}.{name!s}" for name in value))
        else:
            leaves[key] = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return leaves


def save_model(model_dir: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a state dict of the autoencoder to ``model.safetensors``."""
    from safetensors.torch import save

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    files.atomic_write(model_dir / "model.safetensors", save(contiguous))


def load_config(model_dir: Path) -> "DictConfig":
    """Read ``config.yaml`` as plain data."""
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    path = model_dir / "config.yaml"
    try:
        config = OmegaConf.load(path)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; give the directory that `vqaudio train` wrote (exp_dir)") from None
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not a configuration ({_first_line(error)}); train again or restore it") from None
    if not isinstance(config, DictConfig) or "model" not in config:
        raise UserError(f"{path}: not a configuration of vqaudio; restore the file that `vqaudio train` wrote")
    return config


def load_speakers(model_dir: Path) -> list[str]:
    """Read ``speakers.txt``: the name of each index, ``<unknown>`` first."""
    path = model_dir / "speakers.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({_first_line(error)}); restore it") from None
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
        raise UserError(f"{path}: not a complete safetensors file ({_first_line(error)}); restore it") from None
    try:
        model = build_model(config, len(speakers))
        model.load_state_dict(tensors)
    except (RuntimeError, OmegaConfBaseException, TypeError, ValueError, KeyError) as error:
        raise UserError(f"{path}: does not fit {model_dir / 'config.yaml'} ({_first_line(error)})") from None
    return LoadedModel(model.to(device).eval(), config, speakers, files.sha256(path))


def save_state(model_dir: Path, step: int, state: dict[str, Any]) -> None:
    """Write ``state/step-<n>/state.pt``, then drop all but the newest ones."""
    folder = model_dir / "state" / f"step-{step}"
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with files.atomic_writer(partial / "state.pt", "wb") as file:
        torch.save(state, file)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    for old in states(model_dir)[KEPT_STATES:]:
        shutil.rmtree(old)


def states(model_dir: Path) -> list[Path]:
    """Return the state folders of a model directory, newest first."""
    folders = [path for path in (model_dir / "state").glob("step-*") if path.name[5:].isdigit()]
    return sorted(folders, key=lambda path: int(path.name[5:]), reverse=True)


def load_state(folder: Path) -> dict[str, Any]:
    """Read a training state; only tensors and plain values are accepted."""
    path = folder / "state.pt"
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken archive
        raise UserError(f"{path}: not a complete training state ({_first_line(error)}); remove {folder}") from None
    return state


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
