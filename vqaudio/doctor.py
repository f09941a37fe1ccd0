"""Checks of an installation: what works, what does not, and how to mend it."""

import importlib.metadata
import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vqaudio.cores import available_cores

Check = tuple[bool, str]

MINIMUM_PYTHON = (3, 10)
CORE = {
    "torch": "torch",
    "torchaudio": "torchaudio",
    "librosa": "librosa",
    "soundfile": "soundfile",
    "hydra": "hydra-core",
    "numpy": "numpy",
    "numba": "numba",
    "soxr": "soxr",
    "safetensors": "safetensors",
    "tqdm": "tqdm",
    "tensorboard": "tensorboard",
    "matplotlib": "matplotlib",
}
"""What every installation needs: module and distribution."""
OPTIONAL = {
    "espeakng_loader": ("espeakng-loader", "mini", "`vqaudio corpus espeak` and recipes/vctk/run.sh --mini true"),
    "pystoi": ("pystoi", "eval", "STOI and ESTOI in `vqaudio evaluate audio`"),
    "starlette": ("starlette", "listen", "`vqaudio listen serve`"),
}
"""What the extras bring: module, distribution, extra, and what needs it."""


def diagnose() -> list[Check]:
    """Return what holds of this installation, one line each; false marks what must be mended."""
    checks = [_python()]
    checks += [_core(module, distribution) for module, distribution in CORE.items()]
    checks += [_optional(module, *about) for module, about in OPTIONAL.items()]
    checks += _processors()
    return [*checks, _writable(Path.cwd()), _writable(Path(tempfile.gettempdir()))]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MINIMUM_PYTHON:
        return False, f"Python {version} is too old; PYTHON=/path/to/python3.10-or-newer tools/install.sh"
    return True, f"Python {version}, {sys.executable}"


def _core(module: str, distribution: str) -> Check:
    try:
        importlib.import_module(module)
    except Exception as error:  # extensions fail to load with many kinds of errors
        missing = isinstance(error, ModuleNotFoundError) and error.name == module
        if missing:
            return False, f"{module} is not installed; run tools/install.sh, or: pip install vqaudio"
        cure = _torchaudio_cure() if module == "torchaudio" else f"pip install --force-reinstall {distribution}"
        return False, f"{module} does not import ({_first_line(error)}); {cure}"
    return True, f"{module} {_version(distribution)}"


def _torchaudio_cure() -> str:
    """Explain the usual reason: PyPI's torchaudio links its extensions to CUDA, which a CPU build of torch lacks."""
    try:
        import torch
    except Exception:
        return "mend torch first"
    found = importlib.util.find_spec("torchaudio")
    if torch.version.cuda is not None or found is None or found.origin is None:
        return f"install the torchaudio that was made for torch {torch.__version__}"
    lib = Path(found.origin).parent / "lib"
    return (
        f"its extensions need CUDA, torch {torch.__version__} is a CPU build, and vqaudio does not use them: "
        f'run tools/install.sh, or: cd "{lib}" && mkdir -p needs_cuda && mv *.so needs_cuda'
    )


def _optional(module: str, distribution: str, extra: str, purpose: str) -> Check:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        return True, f"{module} is not installed, {purpose} cannot run; pip install 'vqaudio[{extra}]'"
    except Exception as error:
        return False, f"{module} does not import ({_first_line(error)}); pip install --force-reinstall {distribution}"
    return True, f"{module} {_version(distribution)}"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "(of unknown version)"


def _processors() -> Iterator[Check]:
    """Describe what torch will compute on; nothing of it is required."""
    cores = available_cores()
    try:
        import torch
    except Exception:  # reported above
        yield True, f"{cores} cores"
        return
    yield True, f"{cores} cores for this process, {torch.get_num_threads()} threads in torch"
    if torch.cpu._is_avx512_bf16_supported():
        yield True, "bf16 on the CPU: the processor has instructions for it"
    else:
        yield True, "no bf16 instructions in the CPU: it trains in float32 (precision: auto)"
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        yield True, f"GPU {index}: {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
    if torch.cuda.device_count() == 0:
        build = "this torch is a CPU build" if torch.version.cuda is None else "torch finds no driver or device"
        yield True, f"no GPU ({build})"


def _writable(folder: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        return False, f"{folder} cannot be written to ({error.strerror}); work in a folder of your own, or set TMPDIR"
    return True, f"{folder} can be written to"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
