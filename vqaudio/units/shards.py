"""Merges the shards of a unit directory: each of them writes a part, and the last one puts the parts together.

What if two shards end at once? They write and merge one at a time, under a lock in `out/shards`. A file with a byte for
each shard says which are complete, so that the end of a shard costs the same however many there are. Parts follow each
other in the input, so a merge copies files one after the other. A shard that is started again on finished work changes
no file that another one may be reading.
"""

import contextlib
import dataclasses
import heapq
import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from vqaudio import files
from vqaudio.errors import JobError
from vqaudio.files import lock_file
from vqaudio.units.directory import UnitsInfo, read_info
from vqaudio.units.writer import HASHES, SHARDS, UnitWriter, check_settings

COMPLETE, MISSING = b"1", b"0"


def shard_folder(out: Path, shard: tuple[int, int]) -> Path:
    """Return the unit directory of a shard (i, N)."""
    return out / SHARDS / f"{shard[0]}-of-{shard[1]}"


def turn(out: Path, shards: int) -> contextlib.AbstractContextManager[None]:
    """Hold the lock under which shards write and merge; a job without shards, and the first of all, needs none."""
    return lock_file(out / SHARDS / "lock") if shards > 1 and (out / SHARDS).is_dir() else contextlib.nullcontext()


def finish_shard(
    out: Path,
    shard: tuple[int, int],
    writer: UnitWriter,
    failed: Mapping[str, str],
    expected: Callable[[], Iterator[str]],
) -> UnitsInfo:
    """Write the directory of a shard, and merge all into `out` if none is missing; the lock must be held.

    Args:
        out: the unit directory of all.
        shard: (i, N).
        writer: holds the units of the shard.
        failed: reasons of failures by utterance.
        expected: gives the ids of all utterances of the input, sorted.

    Raises:
        JobError: the shards do not have the utterances of the input.
    """
    index, shards = shard
    changed = not writer.is_finished(failed)
    if changed:
        (out / "units.json").unlink(missing_ok=True)  # what was merged before is no longer what the shards have
    info = writer.finish(failed)
    complete = mark(out / SHARDS / f"complete-of-{shards}", index, shards)
    if complete < shards:
        print(f"{out}: {complete} of {shards} shards are complete")
    elif not (out / "units.json").exists():
        folders = [shard_folder(out, (i, shards)) for i in range(1, shards + 1)]
        merged = _merge(out, folders, writer.settings, expected())
        print(f"{merged.num_utterances} utterances, {merged.num_frames} frames in {out} ({shards} shards)")
    return info


def mark(path: Path, index: int, shards: int, state: bytes = COMPLETE) -> int:
    """Note that shard `index` is complete or not, and return how many are; the lock must be held."""
    if not path.exists():
        files.atomic_write(path, MISSING * shards)
    marks = bytearray(path.read_bytes())
    if marks[index - 1 : index] != state:
        marks[index - 1 : index] = state
        with files.open_to_write(path, "r+") as file:
            file.seek(index - 1)
            file.write(state)
    return marks.count(COMPLETE)


def _merge(out: Path, folders: list[Path], settings: UnitsInfo, expected: Iterator[str]) -> UnitsInfo:
    """Copy the parts after each other into `out`, `units.json` last.

    Raises:
        JobError: see `finish_shard`.
    """
    for folder in folders:
        check_settings(folder, settings)
    parts = [read_info(folder / "units.json") for folder in folders]
    names = ["units.txt", "utt2num_units", "failed.txt", *(["durations.txt"] if settings.deduplicated else [])]
    if any((folder / HASHES).exists() for folder in folders):
        names.append(HASHES)
    else:
        (out / HASHES).unlink(missing_ok=True)
    for name in names:
        _concatenate(out / name, [folder / name for folder in folders])
    _check_keys(out, expected)
    info = dataclasses.replace(
        settings,
        num_utterances=sum(part.num_utterances for part in parts),
        num_frames=sum(part.num_frames for part in parts),
    )
    files.atomic_write(out / "units.json", json.dumps(dataclasses.asdict(info), indent=2) + "\n")
    return info


def _concatenate(out: Path, paths: list[Path]) -> None:
    """Write files after each other; those that are missing count as empty."""
    with files.atomic_writer(out, "wb") as file:
        for path in filter(Path.exists, paths):
            with path.open("rb") as part:
                shutil.copyfileobj(part, file, 1 << 20)


def _check_keys(out: Path, expected: Iterator[str]) -> None:
    """Check that units and failures together are the utterances of the input, each once.

    Raises:
        JobError: they are not.
    """
    found = heapq.merge(_keys(out / "units.txt"), _keys(out / "failed.txt"))
    for ours, theirs in itertools.zip_longest(found, (utt.encode() for utt in expected)):
        if ours != theirs:
            where = "the shards have" if theirs is None or (ours is not None and ours < theirs) else "the input has"
            name = (min(ours, theirs) if ours and theirs else ours or theirs or b"").decode(errors="replace")
            raise JobError(
                f"{out / SHARDS}: the utterances of the shards differ from the input: {where} {name} alone; remove the "
                "folder and run all shards on the same data"
            )


def _keys(path: Path) -> Iterator[bytes]:
    """Yield the keys of lines "key value" or "key <tab> value"."""
    with path.open("rb") as file:
        for line in file:
            yield line.split(None, 1)[0]
