"""Copy a trained model into the package as the released one: release.py EXP. The card beside it is written by hand."""

import argparse
import shutil
from pathlib import Path

from vqaudio import files
from vqaudio.hub import portable_config
from vqaudio.model_directory import load_model
from vqaudio.released import FOLDER


def main() -> None:
    """Copy the weights, the speakers, and the configuration without its paths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exp", type=Path)
    exp = parser.parse_args().exp
    loaded = load_model(exp)
    files.atomic_write(FOLDER / "config.yaml", portable_config(loaded.config))
    for name in ("model.safetensors", "speakers.txt"):
        shutil.copyfile(exp / name, FOLDER / name)
    print(f"{FOLDER}: {loaded.hash}")


if __name__ == "__main__":
    main()
