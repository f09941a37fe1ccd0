"""Print what stages depend on: stage_inputs.py [HYDRA OVERRIDE …].

These are the sample rate (Hz), a SHA-256 of the configuration without its paths, and a SHA-256 of the package.
"""

import hashlib
import sys
from pathlib import Path

from omegaconf import OmegaConf
from script import run

import vqaudio
from vqaudio.training.app import compose


def main() -> None:
    """Print the three values on one line."""
    cfg = compose(sys.argv[1:])
    sample_rate = cfg.data.sample_rate
    for key in ("data.train", "data.valid", "exp_dir"):
        OmegaConf.update(cfg, key, "")
    config = OmegaConf.to_yaml(cfg, resolve=True, sort_keys=True)
    print(sample_rate, hashlib.sha256(config.encode()).hexdigest(), package_sum(Path(vqaudio.__file__).parent))


def package_sum(package: Path) -> str:
    """Return the SHA-256 of the names and contents of a package's files, except compiled ones."""
    total = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            total.update(f"{path.relative_to(package)}\0".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


if __name__ == "__main__":
    run(main)
