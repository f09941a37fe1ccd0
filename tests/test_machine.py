"""What the machine gives this process: the cores that the scheduler allots, not all that there are."""

import os

import pytest

from vqaudio.machine import available_cores


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 128 cores, all of them allotted, without control groups."""
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(128)), raising=False)
    monkeypatch.setattr("vqaudio.machine.CGROUP", tmp_path)
    return tmp_path


def test_the_cores_of_a_slurm_job_are_those_of_its_affinity(machine, monkeypatch):
    assert available_cores() == 128
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 4, 5, 6, 7, 8, 9, 10})
    assert available_cores() == 8


@pytest.mark.parametrize(
    ("limit", "expected"), [("250000 100000", 3), ("50000 100000", 1), ("max 100000", 128), ("", 128)]
)
def test_the_cpu_limit_of_a_container_counts(machine, limit, expected):
    (machine / "cpu.max").write_text(f"{limit}\n")
    assert available_cores() == expected


@pytest.mark.parametrize(("quota", "expected"), [("400000", 4), ("-1", 128)])
def test_the_cpu_limit_of_an_older_container_counts(machine, quota, expected):
    (machine / "cpu").mkdir()
    (machine / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (machine / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert available_cores() == expected


def test_a_system_without_affinity_counts_all_cores(machine, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores() == 128
