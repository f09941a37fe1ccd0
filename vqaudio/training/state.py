"""The training state that a run resumes from, and which runs may; written atomically, never unpickled.

A run may resume with another number of processes. Weights, codebook, optimizer, averages, step, phase and schedule
continue exactly, and a step's segments are still those of the seed, as many as the processes take together. What each
process draws for itself (Gumbel noise, jitter, latents for dead codes) begins anew from seed, step and rank.
"""

import logging
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vqaudio import files
from vqaudio.distributed import World
from vqaudio.errors import UserError
from vqaudio.model_directory import first_line, load_config, load_speakers

if TYPE_CHECKING:
    from omegaconf import DictConfig

logger = logging.getLogger("vqaudio.training")

KEPT_STATES = 2

MODEL_KEYS = (
    "model",
    "quantizer.name",
    "quantizer.options.codebook_size",
    "quantizer.options.groups",
    "quantizer.options.shared",
    "quantizer.options.update",
    "quantizer.units",
    "units_hash",
    "data.sample_rate",
    "data.level_db",
    "data.pre_emphasis",
)
"""Settings that weights belong to: with another value the same weights fit no longer, or mean other units or speech."""

HEAD_KEYS = ("trainer.labels", "trainer.label_coefficients", "trainer.label_offsets")
"""Settings that the heads' weights belong to, which are in the training state but not in the model."""


def require_same_model(model_dir: Path, config: "DictConfig", speakers: list[str]) -> None:
    """Refuse to train into a model directory whose weights belong to other settings or other speakers.

    All other settings, such as the learning rate, the losses' weights or the number of steps, may change.

    Raises:
        UserError: names the first setting that differs.
    """
    has_state = bool(states(model_dir))
    if not has_state and not (model_dir / "model.safetensors").exists():
        return
    if not (model_dir / "config.yaml").exists():
        raise UserError(f"{model_dir}: holds weights, but no config.yaml; restore it, or give another exp_dir")
    keys = MODEL_KEYS + HEAD_KEYS if has_state else MODEL_KEYS
    there, here = (_flatten(c, keys) for c in (load_config(model_dir), config))
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
    try:
        partial.mkdir(parents=True)
        with files.atomic_writer(partial / "state.pt", "wb") as file:
            torch.save(state, file)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in states(model_dir)[KEPT_STATES:]:
        shutil.rmtree(old)


def states(model_dir: Path) -> list[Path]:
    """Return the state folders of a model directory, newest first."""
    folders = [path for path in (model_dir / "state").glob("step-*") if path.name[5:].isdigit()]
    return sorted(folders, key=_step, reverse=True)


def load_state(folder: Path) -> dict[str, Any]:
    """Read a training state; only tensors and plain values are accepted.

    Raises:
        UserError: the file is missing or broken.
    """
    path = folder / "state.pt"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not look at the checksums
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} has another checksum")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken archive
        raise UserError(f"{path}: not a complete training state ({first_line(error)}); remove {folder}") from None
    return state


def resume_newest(model_dir: Path, restore: Callable[[dict[str, Any]], None], world: World) -> None:
    """Give the newest state that every process can use to `restore`; without any state do nothing.

    What jobs left that were killed while they wrote a state is removed.

    Raises:
        UserError: there are states, but none can be used by all.
    """
    if world.main:
        for partial in (model_dir / "state").glob(".step-*.partial"):
            shutil.rmtree(partial)
    left = states(model_dir)
    found = int(world.agree(len(left)))
    while (step := -int(world.agree(-_step(left[0]) if left else 1))) >= 0:  # the least of the newest ones
        folder = model_dir / "state" / f"step-{step}"
        failed = not _restored(folder, restore)
        if not world.agree(failed):
            logger.info("resuming from %s", folder)
            return
        left = [other for other in left if _step(other) < step]
    if found:
        others = ", or not by every process, which all need this folder" if world.size > 1 else ""
        raise UserError(
            f"{model_dir / 'state'}: none of {found} states can be used{others}; remove the folder to begin again, or "
            "give another exp_dir"
        )


def _step(folder: Path) -> int:
    """Return the step of a state folder."""
    return int(folder.name.removeprefix("step-"))


def _restored(folder: Path, restore: Callable[[dict[str, Any]], None]) -> bool:
    """Give a state to `restore`; return whether it could be used, and log why not."""
    try:
        restore(load_state(folder))
    except UserError as error:
        logger.warning("%s; trying the one before", error)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        logger.warning("%s: of another version of vqaudio (%s); trying the one before", folder, first_line(error))
    else:
        return True
    return False


def random_state(world: World) -> dict[str, list[torch.Tensor]]:
    """Return the state of the random generators of all processes, by rank: `cpu`, and `cuda` if they train on GPUs."""
    cuda = world.gather(torch.cuda.get_rng_state()) if world.device.type == "cuda" else []
    return {"cpu": world.gather(torch.get_rng_state()), "cuda": cuda}


def restore_random_state(state: dict[str, list[torch.Tensor]], world: World, seed: int, step: int) -> None:
    """Continue the random numbers of this process; if other processes or devices made the state, begin new ones.

    New ones depend on the seed, the step and the rank, so that no two processes draw the same.
    """
    on_gpu = world.device.type == "cuda"
    if len(state["cpu"]) == world.size and len(state["cuda"]) == on_gpu * world.size:
        torch.set_rng_state(state["cpu"][world.rank])
        if on_gpu:
            torch.cuda.set_rng_state(state["cuda"][world.rank])
        return
    logger.warning(
        "the state is of %d processes on %s, this run has %d on %s: it draws new random numbers",
        len(state["cpu"]),
        "GPUs" if state["cuda"] else "the CPU",
        world.size,
        "GPUs" if on_gpu else "the CPU",
    )
    (new_seed,) = np.random.SeedSequence([seed, step, world.rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(new_seed) >> 1)
