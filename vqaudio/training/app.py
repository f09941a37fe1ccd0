"""`vqaudio train`: the Hydra application around the training loop."""

import logging
import os
import re
import shlex
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vqaudio.errors import JobError, StoppedError, UserError
from vqaudio.training.settings import check
from vqaudio.training.sweep import Sweep

logger = logging.getLogger("vqaudio.training")

CONFIG_MODULE = "vqaudio.conf"


def run(overrides: list[str], flags: list[str]) -> None:
    """Train with overrides and flags of Hydra (`--cfg job`, `--multirun`, …).

    Several trainings (`--multirun`) are written to folders in exp_dir, see `Sweep`. They run one after the
    other, even if one fails: the first failure is raised at the end, the others are logged. A signal stops all of them.
    A launcher (`hydra/launcher=submitit_slurm`) runs them elsewhere; the first failure is raised at the end, too.

    Raises:
        UserError: an override or a value of the configuration is wrong.
        JobError: training failed, or a signal stopped it.
    """
    for override in overrides:
        check_override(override)
    sweep = Sweep(overrides) if "--multirun" in flags and "--cfg" not in flags else None
    here = os.getpid()
    failures: list[Exception] = []

    @hydra.main(config_path=f"pkg://{CONFIG_MODULE}", config_name="train", version_base="1.3")
    def application(cfg: DictConfig) -> None:
        if os.getpid() != here:
            _train_elsewhere(cfg, sweep)
        elif not any(isinstance(failure, StoppedError) for failure in failures):
            try:
                _train(cfg, sweep)
            except Exception as error:  # Hydra would print it in its own way
                failures.append(error)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would otherwise print over several lines
    sys.argv = ["vqaudio train", *flags, *overrides]
    try:
        application()
    except (UserError, JobError):  # of a training elsewhere
        raise
    except Exception as error:  # before or between trainings: Hydra could not make a configuration
        raise UserError(_one_line(error)) from error
    failures.sort(key=lambda failure: not isinstance(failure, StoppedError))
    for failure in failures[1:]:
        logger.error("%s", failure)
    if failures:
        raise failures[0]


def _train(cfg: DictConfig, sweep: Sweep | None) -> None:
    if sweep is not None:
        cfg.exp_dir = str(sweep.folder_of(HydraConfig.get().overrides.task))
    check(cfg)
    from vqaudio.training.given_units import refuse_unused
    from vqaudio.training.initial import refuse_settings
    from vqaudio.training.loop import train

    overrides = HydraConfig.get().overrides.task
    if cfg.init is not None:
        refuse_settings(overrides)
    if cfg.data.units is not None:
        refuse_unused(overrides)
    train(cfg)


def _train_elsewhere(cfg: DictConfig, sweep: Sweep | None) -> None:
    """Train in the process of a launcher, whose errors Hydra takes to the first process."""
    logging.basicConfig(level=logging.INFO)
    try:
        _train(cfg, sweep)
    except UserError:
        raise
    except Exception as error:  # others might not survive the way
        message = str(error) if isinstance(error, JobError) else f"train: {type(error).__name__}: {error}"
        raise JobError(message) from error


def check_override(override: str) -> None:
    """Check that Hydra reads an override as one setting, and say how to quote a value that it does not.

    Raises:
        UserError: it does not.
    """
    key, sign, value = override.partition("=")
    try:
        OverridesParser.create().parse_override(override)
    except HydraException as error:
        if not sign:
            raise UserError(f"train: {override!r} is not KEY=VALUE; vqaudio train --help lists all settings") from None
        message = f"train: {override!r} has a value that Hydra cannot read ({_reason(error)})"
        raise UserError(f"{message}; quote it: {_for_shell(f'{key}={quoted(value)}')}") from None


def quoted(value: str) -> str:
    """Return a value of an override as Hydra takes it literally: in quotes, with escapes of quotes and backslashes.

    >>> quoted("a=b")
    "'a=b'"
    """
    # A backslash counts only before a quote or at the end; `$` would begin a reference.
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value)
    return "'" + escaped.replace("${", "\\${") + "'"


def _for_shell(text: str) -> str:
    """Return text as one word of a shell: in double quotes, which are easier to read, if it has nothing to escape."""
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'


def _reason(error: Exception) -> str:
    """Return what Hydra says about an override, without the list of all that it would have read."""
    return str(error).splitlines()[0].split(" expecting")[0].strip().rstrip(".")


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
    submitit = "Could not find 'hydra/launcher/submitit" in message
    cure = "pip install 'vqaudio[sweep]'" if submitit else "vqaudio train --help lists all settings"
    return f"train: {message.rstrip('.')}; {cure}"
