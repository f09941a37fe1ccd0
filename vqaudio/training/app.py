"""`vqaudio train`: the Hydra application around the training loop."""

import logging
import os
import re
import sys

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vqaudio.errors import UserError
from vqaudio.training.settings import check

logger = logging.getLogger("vqaudio.training")

CONFIG_MODULE = "vqaudio.conf"


def run(overrides: list[str], flags: list[str]) -> None:
    """Train with overrides and flags of Hydra (`--cfg job`, `--multirun`, …).

    Several trainings (`--multirun`) run one after the other, even if one fails: the first failure is raised at the end,
    the others are logged.

    Raises:
        UserError: an override or a value of the configuration is wrong.
        JobError: training failed.
    """
    failures: list[Exception] = []

    @hydra.main(config_path=f"pkg://{CONFIG_MODULE}", config_name="train", version_base="1.3")
    def application(cfg: DictConfig) -> None:
        try:
            check(cfg)
            from vqaudio.training.loop import train

            train(cfg)
        except Exception as error:  # Hydra would print it in its own way
            failures.append(error)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would otherwise print over several lines
    sys.argv = ["vqaudio train", *flags, *overrides]
    try:
        application()
    except Exception as error:  # before or between trainings: Hydra could not make a configuration
        raise UserError(_one_line(error)) from error
    for failure in failures[1:]:
        logger.error("%s", failure)
    if failures:
        raise failures[0]


def compose(overrides: list[str]) -> DictConfig:
    """Return the configuration that overrides make.

    Raises:
        UserError: there is no such setting or group, or an override is malformed.
    """
    try:
        with hydra.initialize_config_module(CONFIG_MODULE, version_base="1.3"):
            return hydra.compose("train", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_one_line(error)) from None


def _one_line(error: Exception) -> str:
    """Return Hydra's message without its advice to add keys, which nothing would read, and without its search path."""
    message = re.split(r" To append to| Config search path", " ".join(str(error).split()))[0]
    return f"train: {message.rstrip('.')}; vqaudio train --help lists all settings"
