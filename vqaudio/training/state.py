"""The training state that a run resumes from: written atomically, never unpickled."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vqaudio import files
from vqaudio.errors import UserError
from vqaudio.model_directory import first_line, load_config, load_speakers

if TYPE_CHECKING:
    from omegaconf import DictConfig

KEPT_STATES = 2


def require_same_model(model_dir: Path, config: "DictConfig", speakers: list[str]) -> None:
    """Refuse to continue a run of `model_dir` with a configuration that builds another model.

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
    """Return the leaves under `keys` by dotted name."""
    from omegaconf import DictConfig, OmegaConf

    leaves: dict[str, Any] = {}
    for key in keys:
        value = OmegaConf.select(config, key)
        if isinstance(value, DictConfig):
            leaves |= _flatten(config, tuple(f"{key}.{name!s}" for name in value))
        else:
            leaves[key] = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return leaves


def save_state(model_dir: Path, step: int, state: dict[str, Any]) -> None:
    """Write `state/step-<n>/state.pt`, then drop all but the newest ones."""
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
        raise UserError(f"{path}: not a complete training state ({first_line(error)}); remove {folder}") from None
    return state
