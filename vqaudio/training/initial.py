"""Training that begins with a trained model: with its settings, its weights and the voices that it knows."""

from typing import TYPE_CHECKING

import torch

from vqaudio.errors import UserError
from vqaudio.model import VQAutoencoder
from vqaudio.model_directory import UNKNOWN_SPEAKER, load_config, load_model
from vqaudio.released import model_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig

SETTINGS = ("model", "quantizer", "data.sample_rate", "data.level_db", "data.pre_emphasis")
"""Settings that weights belong to, and which therefore come from the model that training begins with."""


def refuse_settings(overrides: list[str]) -> None:
    """Refuse settings that the model has which training begins with.

    Raises:
        UserError: names the first one.
    """
    for override in overrides:
        if override.startswith((*SETTINGS, "data.units")):
            raise UserError(f"train: {override} does not go with init, whose model has its own; leave out either")


def with_settings(cfg: "DictConfig") -> "DictConfig":
    """Return the configuration with the settings of the model that `init` names; without it, `cfg` itself.

    Raises:
        UserError: there is no such model, or it has no encoder.
    """
    if cfg.init is None:
        return cfg
    from omegaconf import OmegaConf

    folder = model_folder(cfg.init)
    there, changed = load_config(folder), cfg.copy()
    if there.quantizer.name == "given":
        raise UserError(f"{folder}: speaks units of another tool and has no encoder; give another model as init")
    for key in SETTINGS:
        OmegaConf.update(changed, key, OmegaConf.select(there, key), merge=False)
    return changed


@torch.no_grad()
def begin_with(model: VQAutoencoder, init: str, speakers: list[str]) -> None:
    """Give a model the weights of another one; speakers that it does not know begin with its `<unknown>` voice.

    Raises:
        UserError: the model directory is not complete.
    """
    loaded = load_model(model_folder(init))
    known = {name: row for row, name in enumerate(loaded.speakers)}
    rows = [known.get(name, known[UNKNOWN_SPEAKER]) for name in speakers]
    tensors = loaded.model.state_dict()
    tensors["conditioner.speaker.weight"] = tensors["conditioner.speaker.weight"][rows]
    model.load_state_dict(tensors)
