"""Several trainings of one command (`vqaudio train --multirun`): where each is written.

A launcher of Hydra may run them elsewhere, see `vqaudio.training.app`.
"""

from collections.abc import Iterable
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from vqaudio.errors import UserError
from vqaudio.names import file_name
from vqaudio.outputs import claim_folder

KIND = "trainings"
"""What the mark of a folder with several trainings says (see `vqaudio.outputs`)."""


class Sweep:
    """The folder exp_dir of a command with settings that vary, and in it a model directory for each training.

    Two trainings never share a folder, and the same settings have the same folder again, so that they are resumed.
    """

    def __init__(self, overrides: list[str]) -> None:
        """Find out what varies, and make the folder.

        Raises:
            UserError: nothing varies, exp_dir is missing or varies, or it may not be written into.
        """
        parser = OverridesParser.create()
        parsed = [parser.parse_override(override) for override in overrides]
        self.fixed = {_key(each.input_line or "") for each in parsed if not each.is_sweep_override()}
        if len(self.fixed) == len({_key(override) for override in overrides}):
            raise UserError(
                "train: --multirun, but no setting has several values; give some (seed=0,1) or leave it out"
            )
        self.folder = _folder([each for each in parsed if each.key_or_group == "exp_dir"])
        claim_folder(self.folder, KIND)

    def folder_of(self, overrides: Iterable[str]) -> Path:
        """Return the model directory of the training with these settings, named after those that vary."""
        return self.folder / file_name(",".join(override for override in overrides if _key(override) not in self.fixed))


def _key(override: str) -> str:
    return override.partition("=")[0]


def _folder(given: list[Override]) -> Path:
    """Return the folder that the settings of exp_dir name; of several the last counts."""
    value = None if not given or given[-1].is_sweep_override() else given[-1].value()
    text = str(getattr(value, "text", value))  # without quotes
    if value is None or "${" in text:
        found = f"not {given[-1].input_line!r}" if given else "such as exp_dir=exp/sweep"
        raise UserError(
            f"train: --multirun needs exp_dir, one folder for all trainings, {found}; each of them is written to a "
            "folder in it that is named after what varies"
        )
    return Path(text)
