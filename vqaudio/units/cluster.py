"""Runs the shards of an extraction on a Ray cluster, or on this machine through Ray: `--engine ray` (extra: ray).

Ray may run a shard twice, when a node is lost. A shard that is started again does only what is missing, and what it
writes does not depend on who writes it: the units are there exactly once, and the same bytes as those of one process.
All nodes must see the same files under the same paths.
"""

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqaudio.errors import JobError, UserError
from vqaudio.progress import Progress
from vqaudio.units.directory import UnitsInfo, read_failed
from vqaudio.units.extraction import Encode, Ray, Source, check_shard, raise_on_failures, write_shard

SHARD_SECONDS, SHARD_UTTERANCES = 1800.0, 500
"""Length of a shard, of speech or, where durations are not known, of utterances; what a lost node costs at most."""


@dataclass(frozen=True)
class Work:
    """What all shards share: the utterances, how to make their encoder, and where the units go."""

    source: Source
    make_encode: Callable[[], Encode]
    settings: UnitsInfo
    out: Path
    shards: int
    jobs: int
    verify: bool


class ShardWriter:
    """An actor: makes the encoder once, then writes one shard after the other."""

    def __init__(self, work: Work, folder: str) -> None:
        os.chdir(folder)  # where the command was started: the data directory may name audio relative to it
        self.work, self.encode = work, work.make_encode()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Write the shard of a row `{"id": number from 0}`; return the reason if it fails, "" otherwise."""
        work, error = self.work, ""
        try:
            shard = (int(row["id"]) + 1, work.shards)
            options: dict[str, Any] = {"out": work.out, "shard": shard, "jobs": work.jobs, "verify": work.verify}
            write_shard(work.source, self.encode, work.settings, **options)
        except (UserError, JobError) as failure:
            error = str(failure)
        return {"error": error}


def default_shards(source: Source) -> int:
    """Return the number of shards of about half an hour of speech, or 500 utterances where durations are not known."""
    seconds = source.seconds()
    return max(1, math.ceil(len(source) / SHARD_UTTERANCES if seconds is None else seconds / SHARD_SECONDS))


def run_on_ray(
    source: Source,
    make_encode: Callable[[], Encode],
    settings: UnitsInfo,
    how: Ray,
    *,
    out: Path,
    allow_failures: bool,
    jobs: int,
    verify: bool,
    gpus: int = 0,
) -> None:
    """Write all shards with `how.workers` actors, each with `jobs` cores and `gpus` GPUs, and merge them.

    The cluster is that of the environment variable RAY_ADDRESS; without it, Ray starts on this machine. Arguments are
    those of `extraction.write_all`; `make_encode` makes the encoder of an actor.

    Raises:
        UserError: Ray is not installed.
        JobError: shards or utterances failed.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError("--engine ray: ray is not installed; install vqaudio[ray]") from None
    shards = how.shards or default_shards(source)
    check_shard((1, shards), len(source))
    work = Work(source, make_encode, settings, out.resolve(), shards, jobs, verify)
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    most = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    if jobs > most:
        raise UserError(f"--jobs {jobs}: the largest node of the cluster has {most:g} cores; give at most that")
    # A task for each shard, which Ray does again on another node. A data source would need cores of its own.
    rows = ray.data.from_items([{"id": n} for n in range(shards)], override_num_blocks=shards)
    writer: Any = ShardWriter  # Ray calls a class once for each actor
    written = rows.map(
        writer,
        fn_constructor_args=(work, str(Path.cwd())),
        concurrency=min(how.workers, shards),
        num_cpus=jobs,
        num_gpus=gpus,
    )
    errors = []
    with Progress("extract", shards, "shards") as progress:
        for row in written.iter_rows():
            errors += [row["error"]] if row["error"] else []
            progress.update()
    if errors:
        raise JobError(f"{len(errors)} of {shards} shards failed, such as: {errors[0]}")
    raise_on_failures(out, dict(read_failed(out)), len(source), allow_failures)
