"""Print what stages depend on: stage_inputs.py [HYDRA OVERRIDE …].

These are the sample rate (Hz), the quantizer, a SHA-256 of the configuration without its paths, and a SHA-256 of the
package.
"""

import hashlib
import sys
from pathlib import Path

from omegaconf import OmegaConf
from script import run

import vqaudio
from vqaudio.files import sha256
from vqaudio.released import model_folder
from vqaudio.training.app import compose
from vqaudio.training.initial import with_settings


def main() -> None:
    """Print the values on one line."""
    cfg = with_settings(compose(sys.argv[1:]))
    for key in ("data.train", "data.valid", "exp_dir"):
        OmegaConf.update(cfg, key, "")
    if cfg.init is not None:
        cfg.init = sha256(model_folder(cfg.init) / "model.safetensors")
    config = OmegaConf.to_yaml(cfg, resolve=True, sort_keys=True)
    print(
        cfg.data.sample_rate,
        cfg.quantizer.name,
        hashlib.sha256(config.encode()).hexdigest(),
        package_sum(Path(vqaudio.__file__).parent),
    )


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
