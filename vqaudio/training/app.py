"""`vqaudio train`: the Hydra application around the training loop."""

import sys

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vqaudio.errors import JobError, UserError

CONFIG_MODULE = "vqaudio.conf"


def run(overrides: list[str]) -> None:
    """Train with Hydra overrides (and Hydra's own flags: --help, --cfg job, --multirun …).

    Raises:
        UserError: an override or a value of the configuration is wrong.
        JobError: training failed.
    """
    if not any(text.startswith("-") for text in overrides):
        compose(overrides)
    failures: list[Exception] = []

    @hydra.main(config_path=f"pkg://{CONFIG_MODULE}", config_name="train", version_base="1.3")
    def application(cfg: DictConfig) -> None:
        try:
            require(cfg)
            from vqaudio.training.loop import train

            train(cfg)
        except (UserError, JobError) as error:  # Hydra would print a traceback
            failures.append(error)

    sys.argv = ["vqaudio train", *overrides]
    application()
    if failures:
        raise failures[0]


def compose(overrides: list[str]) -> DictConfig:
    """Return the configuration that overrides make, or say in one line what is wrong with them."""
    try:
        with hydra.initialize_config_module(CONFIG_MODULE, version_base="1.3"):
            return hydra.compose("train", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"train: {' '.join(str(error).split())}") from None


def require(cfg: DictConfig) -> None:
    """Refuse a configuration with a required value missing."""
    from omegaconf import OmegaConf

    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise UserError(f"train: {missing[0]} is required, e.g. {missing[0]}=PATH")
