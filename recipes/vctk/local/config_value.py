"""Print one value of the training configuration: config_value.py KEY [hydra overrides]."""

import sys

from omegaconf import OmegaConf
from script import run

from vqaudio.train_app import compose


def main() -> None:
    """Compose the configuration and print the value; an override that is wrong is one line."""
    key, *overrides = sys.argv[1:]
    print(OmegaConf.select(compose(overrides), key, throw_on_missing=True))


if __name__ == "__main__":
    run(main)
