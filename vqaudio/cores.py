"""How many processor cores this process may use; what `--jobs` and thread pools take as their default."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


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
