"""What each setting of a training may be: one table of bounds, and the check of a configuration against it."""

import math
import sys
import textwrap
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from vqaudio.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

MAX_SIZE = 65_536
"""Upper bound of the model's sizes, far above what anybody trains."""

MAX_LAYERS = 1000

MAX_SEGMENTS = 100_000
"""Upper bound of the segments of a batch, and of the frames of a segment."""


class Number(NamedTuple):
    """A finite number from `least` to `most`; `whole` ones have no fraction, `optional` ones may be null.

    With `above` it must be larger than `least`, with `below` smaller than `most`.
    """

    least: float
    most: float = math.inf
    whole: bool = False
    above: bool = False
    below: bool = False
    optional: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether the value lies within the bounds."""
        if value is None:
            return self.optional
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        high_enough = value > self.least if self.above else value >= self.least
        low_enough = value < self.most if self.below else value <= self.most
        return abs(value) <= sys.float_info.max and high_enough and low_enough

    def __str__(self) -> str:
        parts = ["a whole number" if self.whole else "a number"]
        parts.append(f"above {self.least}" if self.above else f"of at least {self.least}")
        if self.most < math.inf:
            parts.append(f"and below {self.most}" if self.below else f"and at most {self.most}")
        return " ".join(parts) + (", or null" if self.optional else "")


class Choice(NamedTuple):
    """One of some values."""

    values: tuple[str | bool | int, ...]

    def accepts(self, value: Any) -> bool:
        """Return whether the value is one of them."""
        return any(type(value) is type(choice) and value == choice for choice in self.values)

    def __str__(self) -> str:
        names = [str(value).lower() for value in self.values]
        return f"{', '.join(names[:-1])} or {names[-1]}"


class Items(NamedTuple):
    """A list of at least one value."""

    bound: Number

    def accepts(self, value: Any) -> bool:
        """Return whether the value is a list, and every item of it lies within the bounds."""
        return isinstance(value, list) and bool(value) and all(self.bound.accepts(item) for item in value)

    def __str__(self) -> str:
        return f"a list, each item {self.bound}"


class PathText(NamedTuple):
    """A path; an `optional` one may be null."""

    optional: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether the value is text that is not empty."""
        return (value is None and self.optional) or (isinstance(value, str) and bool(value.strip()))

    def __str__(self) -> str:
        return "the path of a folder, ./5 if its name is 5" + (", or null" if self.optional else "")


Bound = Number | Choice | Items | PathText

COUNT = Number(1, whole=True)
SEGMENTS = Number(1, MAX_SEGMENTS, whole=True)
SIZE = Number(1, MAX_SIZE, whole=True)
SHARE = Number(0, 1)
SHARE_BELOW_1 = Number(0, 1, below=True)
WEIGHT = Number(0)

BOUNDS: dict[str, Bound] = {
    "exp_dir": PathText(),
    "seed": Number(0, 2**32 - 1, whole=True),
    "init": PathText(optional=True),
    "data.train": PathText(),
    "data.valid": PathText(),
    "data.units": PathText(optional=True),
    "data.valid_units": PathText(optional=True),
    "data.sample_rate": Number(1000, 384_000, whole=True),  # Hz
    "data.level_db": Number(-100, 0, optional=True),
    "data.pre_emphasis": SHARE_BELOW_1,
    "model.latent_dim": SIZE,
    "model.encoder.channels": Items(SIZE),
    "model.encoder.kernels": Items(SIZE),
    "model.encoder.strides": Items(SIZE),
    "model.encoder.context_layers": Number(0, MAX_LAYERS, whole=True),
    "model.encoder.context_kernel": SIZE,
    "model.conditioner.channels": SIZE,
    "model.conditioner.layers": Number(0, MAX_LAYERS, whole=True),
    "model.conditioner.kernel": SIZE,
    "model.decoder.bands": Choice((1, 2, 4)),
    "model.decoder.levels": Number(2, MAX_SIZE, whole=True),
    "model.decoder.layers": Number(1, MAX_LAYERS, whole=True),
    "model.decoder.cycle": Number(1, 20, whole=True),  # the longest dilation is 2 ** (cycle - 1) samples
    "model.decoder.kernel": SIZE,
    "model.decoder.residual": SIZE,
    "model.decoder.gate": SIZE,
    "model.decoder.skip": SIZE,
    "model.shaper.bins": Number(1, 1000, whole=True),
    "model.shaper.strength": SHARE,
    "quantizer.name": Choice(("kmeans", "gumbel")),
    "quantizer.options.codebook_size": SIZE,
    "quantizer.options.groups": SIZE,
    "quantizer.options.shared": Choice((True, False)),
    "trainer.max_steps": COUNT,
    "trainer.max_seconds": Number(0, above=True, optional=True),
    "trainer.codebook_start": SHARE_BELOW_1,
    "trainer.decoder_start": SHARE,
    "trainer.codebook_phase.segments": SEGMENTS,
    "trainer.codebook_phase.frames": SEGMENTS,
    "trainer.codebook_phase.speed": SHARE,
    "trainer.decoder_phase.segments": SEGMENTS,
    "trainer.decoder_phase.frames": SEGMENTS,
    "trainer.lr": Number(0, above=True),
    "trainer.final_lr": SHARE,
    "trainer.warmup": SHARE,
    "trainer.weight_decay": WEIGHT,
    "trainer.clip": Number(0, above=True),
    "trainer.label_weight": WEIGHT,
    "trainer.labels": SIZE,
    "trainer.label_coefficients": Number(1, 39, whole=True),
    "trainer.label_offsets": Items(Number(-10, 10)),  # seconds
    "trainer.mel_weight": WEIGHT,
    "trainer.jitter": SHARE,
    "trainer.speaker_dropout": SHARE,
    "trainer.ema_decay": SHARE_BELOW_1,
    "trainer.precision": Choice(("auto", "bf16", "float32")),
    "trainer.compile": Choice((True, False)),
    "trainer.device": Choice(("auto", "cpu", "cuda")),
    "trainer.log_every": COUNT,
    "trainer.validate_every": COUNT,
    "trainer.validate_utterances": COUNT,
    "trainer.save_every": COUNT,
    "trainer.collapse_usage": WEIGHT,
}
"""Bounds of the settings that every run has."""

QUANTIZER_BOUNDS: dict[str, dict[str, Bound]] = {
    "kmeans": {
        "quantizer.options.update": Choice(("ema", "gradient")),
        "quantizer.options.decay": SHARE_BELOW_1,
        "quantizer.options.commitment": WEIGHT,
        "quantizer.options.restart_threshold": SHARE_BELOW_1,
    },
    "gumbel": {
        "quantizer.options.diversity": WEIGHT,
        "quantizer.options.sharpness": Number(0, above=True),
        "quantizer.temperature.schedule": Choice(("linear", "exponential")),
        "quantizer.temperature.start": Number(0, above=True),
        "quantizer.temperature.end": Number(0, above=True),
    },
}
"""Bounds of the settings that belong to one quantizer."""


def check(cfg: "DictConfig") -> None:
    """Check every setting of a composed configuration.

    Raises:
        UserError: a setting is missing, unknown or out of bounds, or refers to one that does not exist; names it.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        values = _leaves("", OmegaConf.to_container(cfg, resolve=True))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"train: {error.full_key} cannot be resolved ({reason}); correct the reference") from None
    name = values.get("quantizer.name")
    bounds = BOUNDS | QUANTIZER_BOUNDS.get(name if isinstance(name, str) else "", {})
    for key, value in values.items():
        if value == "???":
            raise UserError(f"train: {key} is required; give it as {key}=PATH")
        if key in bounds and not bounds[key].accepts(value):
            cure = "correct it" if isinstance(bounds[key], PathText) else "correct it, or leave it out for its default"
            raise UserError(f"train: {key}={_shown(value)} must be {bounds[key]}; {cure}")
    for key in sorted(bounds.keys() - values.keys()):
        raise UserError(f"train: {key} is missing and must be {bounds[key]}; give it")
    for key in sorted(values.keys() - bounds.keys()):
        raise UserError(f"train: {key}={_shown(values[key])} is not a setting; remove it")
    _check_together(values)


def _check_together(values: dict[str, Any]) -> None:
    """Check bounds that depend on other settings; `build_model` checks those of the model's parts."""
    if values["data.valid_units"] is not None and values["data.units"] is None:
        raise UserError(
            f"train: data.valid_units={values['data.valid_units']} goes with data.units, the units of data.train; "
            "give both, or neither"
        )
    start, decoder = values["trainer.codebook_start"], values["trainer.decoder_start"]
    if decoder < start:
        raise UserError(
            f"train: trainer.decoder_start={decoder} must be at least trainer.codebook_start ({start}), because the "
            "WaveNet learns from codes; raise it"
        )
    strides, rate = values["model.encoder.strides"], values["data.sample_rate"]
    hop = math.prod(strides)
    if hop > rate:
        raise UserError(
            f"train: model.encoder.strides={strides} make a hop of {hop} samples, which must be at most a second "
            f"({rate} samples); use smaller ones"
        )


def _leaves(key: str, value: Any) -> dict[str, Any]:
    """Return the values under a key by their dotted names; lists are values."""
    if not isinstance(value, dict):
        return {key: value}
    leaves: dict[str, Any] = {}
    for name, item in value.items():
        leaves |= _leaves(f"{key}.{name}" if key else str(name), item)
    return leaves


def _shown(value: Any) -> str:
    """Return a value as it is written on the command line."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def describe() -> str:
    """Return all settings with their defaults and comments, as the files of `conf/` have them."""
    from omegaconf import OmegaConf

    conf = resources.files("vqaudio.conf")
    train = OmegaConf.create((conf / "train.yaml").read_text("utf-8"))
    text = "  exp_dir: ???    # the model directory to write; if it holds a training, that is resumed\n"
    text += f"  seed: {train.seed}\n"
    text += "  init: null    # model directory to begin with, or default; model and quantizer are then those of it\n"
    for entry in train.defaults:
        if entry == "_self_" or any(str(group).startswith("override") for group in entry):
            continue
        ((group, name),) = entry.items()
        files = sorted(file.name.removesuffix(".yaml") for file in (conf / group).iterdir() if ".yaml" in file.name)
        text += f"\n  {group}:    # {group}={' | '.join(files)}; these are the values of {name}\n"
        text += textwrap.indent((conf / group / f"{name}.yaml").read_text("utf-8"), "    ")
    return text
