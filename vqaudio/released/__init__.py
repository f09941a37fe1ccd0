"""The released model: this folder is its model directory, and README.md is its card: data, figures, limits."""

from pathlib import Path

FOLDER = Path(__file__).parent

NAME = "default"
"""What stands for the released model where a model directory is asked for."""


def model_folder(model: str | Path) -> Path:
    """Return the folder of a model: `default` is the released one; `./default` and a `Path` are folders as they are.

    >>> model_folder("default").name
    'released'
    >>> model_folder("exp/vctk").name
    'vctk'
    """
    return FOLDER if model == NAME else Path(model)


__all__ = ["FOLDER", "NAME", "model_folder"]
