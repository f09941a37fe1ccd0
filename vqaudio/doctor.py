"""Checks of an installation: which parts work, which do not, and how to fix them."""

import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vqaudio import files, machine
from vqaudio.errors import UserError, first_line
from vqaudio.machine import available_cores
from vqaudio.metrics import judge_setup

Check = tuple[bool, str]

MINIMUM_PYTHON = (3, 10)
EXTRAS = {
    "eval": "STOI and ESTOI in `vqaudio evaluate audio`, TextGrids in `vqaudio evaluate units` and `units convert`",
    "judges": "`vqaudio evaluate audio --judges` and `evaluate curve --judges`",
    "listen": "`vqaudio listen serve`",
    "parquet": "`vqaudio units convert --to parquet`, and `vqaudio data import` of Parquet files and datasets",
    "lhotse": "`vqaudio units convert --to lhotse`, and `vqaudio data import` of its manifests",
    "ray": "`--engine ray` of `vqaudio extract` and `kmeans apply`",
    "export": "`vqaudio export`",
    "sweep": "`vqaudio train --multirun` on Slurm (`hydra/launcher=submitit_slurm`)",
    "hub": "`vqaudio push` and `pull`",
    "ssl": "`vqaudio kmeans --features hf`",
    "align": "recipes/default/test_sets.py",
    "bench": "tools/bench",
    "docs": "tools/docs.sh",
    "dev": "tools/test.sh",
}
"""What needs each extra."""


def diagnose() -> list[Check]:
    """Return one check per part of the installation; a failed check says how to fix the part."""
    checks = [_system(), _python()]
    try:
        wanted = dependencies()
    except importlib.metadata.PackageNotFoundError:
        wanted = {}
        checks.append((False, "vqaudio is not installed; run tools/install.sh, or: pip install vqaudio"))
    modules = _main_modules()
    checks += [_core(distribution, modules) for distribution in wanted.pop("", [])]
    checks += [_extra(name, distributions, modules) for name, distributions in wanted.items()]
    checks += _processors()
    return [*checks, _whisper(), _compiled_code(), *_writable_folders()]


def dependencies() -> dict[str, list[str]]:
    """Return the distributions that the installed package declares: extra -> names, with the required ones under "".

    Raises:
        PackageNotFoundError: vqaudio is not installed.
    """
    found: dict[str, list[str]] = {"": []}
    for line in importlib.metadata.requires("vqaudio") or []:
        name, _, marker = line.partition(";")
        extra = re.search(r"""extra\s*==\s*["']([^"']+)""", marker)
        found.setdefault(extra[1] if extra else "", []).append(re.split(r"[^\w.-]", name, maxsplit=1)[0])
    return found


def _system() -> Check:
    return (True, sys.platform) if files.fcntl is not None else (False, f"{sys.platform}: {files.SYSTEMS}")


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MINIMUM_PYTHON:
        return False, f"Python {version} is too old; PYTHON=/path/to/python3.10-or-newer tools/install.sh"
    return True, f"Python {version}, {sys.executable}"


def _core(distribution: str, modules: Mapping[str, str]) -> Check:
    if not _is_installed(distribution):
        return False, f"{distribution} is not installed; run tools/install.sh, or: pip install vqaudio"
    error = _import_error(distribution, modules)
    if error is not None:
        cure = _torchaudio_cure() if distribution == "torchaudio" else f"pip install --force-reinstall {distribution}"
        return False, f"{distribution} does not import ({first_line(error)}); {cure}"
    return True, f"{distribution} {importlib.metadata.version(distribution)}"


def _extra(name: str, distributions: Sequence[str], modules: Mapping[str, str]) -> Check:
    purpose = EXTRAS.get(name, "the extra")
    missing = [distribution for distribution in distributions if not _is_installed(distribution)]
    if missing:
        listed = f"not installed: {', '.join(missing)} (needed for {purpose})"
        return True, f"extra {name}, {listed}; pip install 'vqaudio[{name}]'"
    for distribution in distributions:
        error = _import_error(distribution, modules)
        if error is not None:
            cure = f"pip install --force-reinstall {distribution}"
            return False, f"{distribution} does not import ({first_line(error)}); {cure}"
    versions = ", ".join(f"{each} {importlib.metadata.version(each)}" for each in distributions)
    return True, f"extra {name} (for {purpose}): {versions}"


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _import_error(distribution: str, modules: Mapping[str, str]) -> Exception | None:
    """Import the module of an installed distribution; return the exception that this raised, if any."""
    name = _canonical(distribution)
    try:
        importlib.import_module(modules.get(name, name))
    except Exception as error:  # extensions fail to load with many kinds of errors
        return error
    return None


def _main_modules() -> dict[str, str]:
    """Map each installed distribution to its module of the same name, or else to its first public module."""
    found: dict[str, str] = {}
    for module, owners in sorted(importlib.metadata.packages_distributions().items()):
        for owner in map(_canonical, owners):
            if _canonical(module) == owner or (owner not in found and not module.startswith("_")):
                found[owner] = module
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _torchaudio_cure() -> str:
    """Explain the usual cause: PyPI's torchaudio links its extensions to CUDA, which a CPU build of torch lacks."""
    try:
        import torch
    except Exception:
        return "fix torch first"
    found = importlib.util.find_spec("torchaudio")
    if torch.version.cuda is not None or found is None or found.origin is None:
        return f"install the torchaudio that belongs to torch {torch.__version__}"
    lib = Path(found.origin).parent / "lib"
    return (
        f"its extensions need CUDA, torch {torch.__version__} is a CPU build, and vqaudio does not use them: "
        f'run tools/install.sh, or: cd "{lib}" && mkdir -p needs_cuda && mv *.so needs_cuda'
    )


def _processors() -> Iterator[Check]:
    """Describe the processors that torch computes on; none of them is required."""
    cores = available_cores()
    try:
        import torch
    except Exception:  # reported above
        yield True, f"{cores} cores"
        return
    yield True, f"{cores} cores for this process, {torch.get_num_threads()} threads in torch"
    if torch.cpu._is_avx512_bf16_supported():
        yield True, "the CPU has bf16 instructions: it trains in bf16 (precision: auto)"
    else:
        yield True, "the CPU has no bf16 instructions: it trains in float32 (precision: auto)"
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        yield True, f"GPU {index}: {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
    if torch.cuda.device_count() == 0:
        build = "this torch is a CPU build" if torch.version.cuda is None else "torch finds no driver or device"
        yield True, f"no GPU ({build})"


def _whisper() -> Check:
    """Check the Whisper model of the environment, if it names one."""
    if not os.environ.get(judge_setup.VARIABLE):
        return (
            True,
            f"{judge_setup.VARIABLE} is not set: the recipe does not use the judges, which need a Whisper model",
        )
    try:
        return True, f"{judge_setup.VARIABLE}: {judge_setup.find_whisper(None)}"
    except UserError as error:
        return False, str(error)


def _compiled_code() -> Check:
    """Check that compiled code can be kept, so that no command compiles it again."""
    where = os.environ.get("NUMBA_CACHE_DIR") or "next to the package, or in the user's cache folder"
    return machine.REPLACED is None, machine.REPLACED or f"compiled code is kept: {where}"


def _writable_folders() -> Iterator[Check]:
    """Check the folder for temporary files and the working folder, if there are such folders."""
    try:
        yield _writable(Path.cwd())
    except OSError as error:
        yield False, f"the working folder is gone ({error.strerror}); change to a folder of your own"
    try:
        yield _writable(Path(tempfile.gettempdir()))
    except OSError as error:
        yield False, f"{error.strerror or error}; set TMPDIR to a folder of your own"


def _writable(folder: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        return False, f"{folder} is not writable ({error.strerror}); change to a folder of your own, or set TMPDIR"
    return True, f"{folder} is writable"
