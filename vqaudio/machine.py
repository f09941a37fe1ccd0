"""What the machine gives this process: processor cores, and a folder for compiled code (numba's, librosa's too).

The folder is chosen before anything imports numba. Numba keeps compiled code next to the source, or else in the user's
cache folder, and fails if neither can be written: in a container with another user's number, in a service without HOME.
Then the code goes to a folder for temporary files.
"""

import importlib.util
import math
import os
import stat
import sys
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")

MIN_FREE_BYTES = 10_000_000
"""A disk with less free space cannot take compiled code."""


def available_cores() -> int:
    """Return the cores that the scheduler allots to this process: at least 1.

    That is fewer than the machine has in a Slurm job or under `taskset` (CPU affinity) and in a container with a CPU
    limit (`cpu.max` of cgroup v2, `cpu.cfs_quota_us` of v1; a limit of 2.5 cores counts as 3).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _container_limit()))


def _container_limit() -> int:
    """Return the CPU limit of the control group, rounded up; the machine's cores where there is none."""
    unlimited = os.cpu_count() or 1
    try:
        if (CGROUP / "cpu.max").exists():
            quota, period = (CGROUP / "cpu.max").read_text().split()
        else:
            quota = (CGROUP / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (CGROUP / "cpu" / "cpu.cfs_period_us").read_text()
        return math.ceil(int(quota) / int(period)) if int(quota) > 0 else unlimited
    except (OSError, ValueError, ZeroDivisionError):  # no control group, or "max"
        return unlimited


def choose_cache() -> str | None:
    """Choose a folder for compiled code where numba would find none; return a line that says so, or None.

    Sets NUMBA_CACHE_DIR, and XDG_CACHE_HOME, which librosa asks for, for this process and its children.
    """
    given, cache = os.environ.get("NUMBA_CACHE_DIR"), user_cache()
    if (given and _takes_files(Path(given))) or (cache is not None and _takes_files(cache)):
        return None
    in_source = not given and all(map(_takes_files, _source_folders()))
    temporary = _temporary_folder()
    if temporary is None:
        return None if in_source else "compiled code can be kept nowhere; set NUMBA_CACHE_DIR to a folder of your own"
    os.environ["XDG_CACHE_HOME"] = str(temporary)
    if in_source:
        return None
    os.environ["NUMBA_CACHE_DIR"] = str(temporary)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(temporary)
    return (
        f"compiled code is kept in {temporary}, since neither {cache or 'a home folder'} nor the package folder can be "
        "written; set NUMBA_CACHE_DIR to a folder of your own"
    )


def user_cache() -> Path | None:
    """Return the user's folder for caches, or None if there is no home folder."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"


def _source_folders() -> list[Path]:
    """Return the folders next to the source that would keep compiled code."""
    spec = importlib.util.find_spec("librosa")
    modules = [Path(__file__), *([Path(spec.origin)] if spec is not None and spec.origin else [])]
    return [module.parent / "__pycache__" for module in modules]


def _takes_files(folder: Path) -> bool:
    """Return whether files can be written into a folder, or into the first of its parents that exists."""
    try:
        while not folder.exists():
            folder = folder.parent
        space = os.statvfs(folder)
    except OSError:
        return False
    room = space.f_bavail * space.f_frsize >= MIN_FREE_BYTES
    return room and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _temporary_folder() -> Path | None:
    """Return a folder for temporary files that only this user can write, since what is in it is executed."""
    import tempfile

    try:
        folder = Path(tempfile.gettempdir()) / f"vqaudio-cache-{os.geteuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
            return folder
        return Path(tempfile.mkdtemp(prefix="vqaudio-cache-"))
    except OSError:
        return None


REPLACED = None if os.name != "posix" else choose_cache()
"""What the command line says about it; None: numba finds a folder by itself."""
