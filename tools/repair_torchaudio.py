"""Moves aside torchaudio's extensions that need CUDA, if this torch is a CPU build: PyPI's torchaudio then imports.

vqaudio does not use them, and outside lib/ they are not loaded.
"""

import importlib.util
import sys
from pathlib import Path

import torch


def main() -> int:
    """Repair torchaudio if it needs it; return 1 if it does not import afterwards."""
    found = importlib.util.find_spec("torchaudio")
    if found is None or found.origin is None:
        print("torchaudio is not installed; pip install torchaudio", file=sys.stderr)
        return 1
    if torch.version.cuda is None and not _imports():
        lib = Path(found.origin).parent / "lib"
        aside = lib / "needs_cuda"
        aside.mkdir(exist_ok=True)
        for extension in lib.glob("*.so"):
            extension.replace(aside / extension.name)
        print("moved torchaudio's CUDA extensions aside: this torch is a CPU build")
    if not _imports():
        print(
            f"torchaudio does not import with torch {torch.__version__}; install the one that belongs to it",
            file=sys.stderr,
        )
        return 1
    return 0


def _imports() -> bool:
    """Return whether torchaudio imports."""
    try:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        import torchaudio  # noqa: F401
    except Exception:  # an extension that cannot be loaded
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
