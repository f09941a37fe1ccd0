"""Print the sample rate of a training configuration and a SHA-256 of all of it but its paths: [hydra overrides]."""

import hashlib
import sys

from omegaconf import OmegaConf
from script import run

from vqaudio.train_app import compose


def main() -> None:
    """Compose the configuration; an override that is wrong is one line."""
    cfg = compose(sys.argv[1:])
    sample_rate = cfg.data.sample_rate
    for key in ("data.train", "data.valid", "exp_dir"):
        OmegaConf.update(cfg, key, "")
    print(sample_rate, hashlib.sha256(OmegaConf.to_yaml(cfg, resolve=True, sort_keys=True).encode()).hexdigest())


if __name__ == "__main__":
    run(main)
