"""Runs the parts of an extraction or a synthesis on a Ray cluster, or here through Ray: `--engine ray` (extra: ray).

Ray may run a part twice, when a node is lost. A part that is started again does only what is missing, and what it
writes does not depend on who writes it: everything is there exactly once, and the same bytes as those of one process.
All nodes must see the same files under the same paths.
"""

import functools
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vqaudio.errors import JobError, UserError
from vqaudio.progress import Progress
from vqaudio.units.directory import UnitsInfo, read_failed
from vqaudio.units.extraction import Encode, Ray, Source, check_shard, raise_on_failures, write_shard

SHARD_SECONDS, SHARD_UTTERANCES = 1800.0, 500
"""Length of a shard, of speech or, where durations are not known, of utterances; what a lost node costs at most."""

Part = Callable[[int], object]
"""Does the part of a number from 1."""


class Worker:
    """An actor: prepares itself once, loads a model for example, then does one part after the other."""

    def __init__(self, prepare: Callable[[], Part], folder: str) -> None:
        os.chdir(folder)  # where the command was started: the data directory may name audio relative to it
        self.part = prepare()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do the part of a row `{"part": number}`; return the reason if it fails, "" otherwise."""
        error = ""
        try:
            self.part(int(row["part"]))
        except (UserError, JobError) as failure:
            error = str(failure)
        return {"error": error}


def default_shards(source: Source) -> int:
    """Return the number of shards of about half an hour of speech, or 500 utterances where durations are not known."""
    seconds = source.seconds()
    return max(1, math.ceil(len(source) / SHARD_UTTERANCES if seconds is None else seconds / SHARD_SECONDS))


def extract_on_ray(
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
    """Write all shards of a unit directory, and merge them.

    Arguments are those of `extraction.write_all` and `run_parts`; `make_encode` makes the encoder of an actor.

    Raises:
        UserError: as `run_parts`.
        JobError: shards or utterances failed.
    """
    shards = how.shards or default_shards(source)
    check_shard((1, shards), len(source))
    options = {"out": out.resolve(), "jobs": jobs, "verify": verify}
    prepare = functools.partial(_shard_writer, source, make_encode, settings, shards, options)
    run_parts(prepare, shards, how, jobs=jobs, gpus=gpus, what="extract")
    raise_on_failures(out, dict(read_failed(out)), len(source), allow_failures)


def _shard_writer(
    source: Source, make_encode: Callable[[], Encode], settings: UnitsInfo, shards: int, options: dict[str, Any]
) -> Part:
    encode = make_encode()
    return lambda part: write_shard(source, encode, settings, shard=(part, shards), **options)


def run_parts(prepare: Callable[[], Part], parts: int, how: Ray, *, jobs: int, gpus: int, what: str) -> None:
    """Do all parts by `how.workers` actors, each with `jobs` cores and `gpus` GPUs.

    The cluster is that of the environment variable RAY_ADDRESS; without it, Ray starts on this machine.

    Args:
        prepare: called once in each actor; returns what does a part.
        parts: their number.
        how: see `Ray`.
        jobs: cores of an actor.
        gpus: GPUs of an actor.
        what: the name of the work, for the progress.

    Raises:
        UserError: Ray is not installed, or no node of the cluster has so many cores.
        JobError: parts failed.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError("--engine ray: ray is not installed; install vqaudio[ray]") from None
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    most = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    if jobs > most:
        raise UserError(f"--jobs {jobs}: the largest node of the cluster has {most:g} cores; give at most that")
    # A task for each part, which Ray does again on another node. A data source would need cores of its own.
    rows = ray.data.from_items([{"part": part} for part in range(1, parts + 1)], override_num_blocks=parts)
    worker: Any = Worker  # Ray calls a class once for each actor
    options: dict[str, Any] = {"concurrency": min(how.workers, parts), "num_cpus": jobs, "num_gpus": gpus}
    done = rows.map(worker, fn_constructor_args=(prepare, str(Path.cwd())), **options)
    errors = []
    with Progress(what, parts, "parts") as progress:
        for row in done.iter_rows():
            errors += [row["error"]] if row["error"] else []
            progress.update()
    if errors:
        raise JobError(f"{len(errors)} of {parts} parts failed, such as: {errors[0]}")
