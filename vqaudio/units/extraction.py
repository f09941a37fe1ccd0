"""Extracts units from a data directory or audio files: in parallel, in shards, and resumable after any interruption.

What does `--shard` do when two shards end at once? They write and merge one at a time, under a lock in `out/shards`, so
the one that comes last finds all shards complete and merges them, and a shard that is started again on finished work
changes no file that another one may be reading.
"""

import contextlib
import heapq
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

from vqaudio.codec import Codec, load
from vqaudio.datadir import Utterance, read_utterances
from vqaudio.errors import JobError, UserError
from vqaudio.files import lock_file, locked
from vqaudio.model.penalty import check_penalty
from vqaudio.outputs import claim_folder
from vqaudio.progress import Progress
from vqaudio.units.directory import Units, UnitsInfo, read_failed, read_info
from vqaudio.units.writer import KIND, SHARDS, START_AFRESH, UnitWriter, check_settings, write_units

Encode = Callable[[Utterance], np.ndarray]
"""Encodes an utterance to codes (G, N)."""


def extract(
    model_dir: Path,
    *,
    data: Path | None,
    wavs: list[Path],
    out: Path,
    deduplicate: bool,
    shard: tuple[int, int],
    allow_failures: bool,
    jobs: int,
    device: str = "cpu",
    change_penalty: float = 0.0,
) -> None:
    """Write the units of every good utterance to `out`, and the reason of every failed one to `failed.txt`.

    A job that was interrupted, or in which utterances failed, does only what is missing when it is started again. It
    does not notice audio that changed under the same utterance id: remove `out` in that case.

    Shard (i, N) takes every N-th utterance, starting with the i-th (counted from 1), and writes the unit directory
    `out/shards/<i>-of-<N>`. The shard that completes the N merges them into `out`.

    Args:
        model_dir: what `vqaudio train` wrote.
        data: Kaldi data directory; or
        wavs: audio files, whose names without suffix become utterance ids.
        out: unit directory to write, or to complete.
        deduplicate: write runs of equal frames as one unit, and their lengths to `durations.txt`.
        shard: (i, N), see above; (1, 1) is everything.
        allow_failures: do not raise if only some utterances failed.
        jobs: utterances to work on at a time, one thread each; the units are the same for any number.
        device: cpu or cuda, where the network runs.
        change_penalty: see `vqaudio.model.penalty`; 0 is none.

    Raises:
        UserError: there are no utterances, the data directory is malformed, `out` contains other units, or it may not
            be written into; a bad penalty.
        JobError: some utterances failed, or all.
    """
    check_penalty(change_penalty)
    utterances = read_utterances(data) if data is not None else from_files(wavs)
    if not utterances:
        raise UserError(f"{data or 'no files'}: no utterances to extract; give a data directory or audio files")
    check_shard(shard, len(utterances))
    codec = load(model_dir, device)
    claim_folder(out, KIND, inputs=wavs if data is None else [data], outer=[model_dir])
    write_all(
        utterances,
        lambda utt: codec.encode_file(utt.path, utt.start, utt.end, utt.channel, change_penalty),
        settings_of(codec, deduplicate, change_penalty),
        out=out,
        shard=shard,
        allow_failures=allow_failures,
        jobs=jobs,
    )


def check_shard(shard: tuple[int, int], utterances: int) -> None:
    """Reject a shard (i, N) that is out of range or empty."""
    index, shards = shard
    if not 1 <= index <= shards <= utterances:
        raise UserError(
            f"--shard {index}/{shards}: not i/N with i from 1 to N and N up to {utterances}, the number of utterances; "
            "correct it"
        )


def write_all(
    utterances: list[Utterance],
    encode: Encode,
    settings: UnitsInfo,
    *,
    out: Path,
    shard: tuple[int, int],
    allow_failures: bool,
    jobs: int,
) -> None:
    """Write the units that `encode` returns for `utterances` to `out`, in the way that `extract` describes.

    Args:
        utterances: sorted, each id once.
        encode: utterance to codes (G, N); several threads call it. What it raises becomes the reason of a failure.
        settings: settings of the units.
        out: unit directory to write, or to complete.
        shard: as in `extract`, like all that follow.
        allow_failures: do not raise if only some utterances failed.
        jobs: utterances to work on at a time.

    Raises:
        UserError: `out` contains other units, or may not be written into.
        JobError: some utterances failed, or all.
    """
    index, shards = shard
    claim_folder(out, KIND)
    with _turn(out, shards):
        check_settings(out, settings)
    folder = out if shards == 1 else shard_folder(out, shard)
    own = utterances[index - 1 :: shards]
    with locked(folder), UnitWriter(folder, settings) as writer:
        failed = _write_missing(encode, own, writer, jobs)
        with _turn(out, shards):
            info = writer.finish(failed)
            print(f"{info.num_utterances} of {len(own)} utterances, {info.num_frames} frames in {folder}")
            if shards > 1:
                _merge_when_complete(out, shards, settings, [u.utt for u in utterances])
    _raise_on_failures(folder, failed, len(own), allow_failures)


def _turn(out: Path, shards: int) -> contextlib.AbstractContextManager[None]:
    """Hold the lock under which shards write and merge; a job without shards, and the first of all, needs none."""
    return lock_file(out / SHARDS / "lock") if shards > 1 and (out / SHARDS).is_dir() else contextlib.nullcontext()


def _raise_on_failures(folder: Path, failed: Mapping[str, str], total: int, allow_failures: bool) -> None:
    """Raise `JobError` if utterances failed; if only some did and that is allowed, print it."""
    if not failed:
        return
    utt = min(failed)
    line = f"{folder / 'failed.txt'}: {len(failed)} of {total} utterances failed, such as {utt} ({failed[utt]})"
    if len(failed) == total:
        raise JobError(f"{line}; repair them and run again")
    if not allow_failures:
        raise JobError(f"{line}; repair them and run again, or pass --allow-failures")
    print(line, file=sys.stderr)


def from_files(wavs: Iterable[Path]) -> list[Utterance]:
    """Return audio files as utterances, named by their stems and sorted as in a data directory.

    Raises:
        UserError: two files have the same stem, or a stem cannot be an utterance id.
    """
    found: dict[str, Path] = {}
    for path in wavs:
        utt = path.stem
        if utt in found:
            raise UserError(
                f"{path}: would get the utterance id {utt!r}, like {found[utt]}; rename one, or list them (--data)"
            )
        if utt.split() != [utt] or not utt.isprintable():
            raise UserError(
                f"{path}: {utt!r} cannot be an utterance id (white space, or not UTF-8); rename it, or list it (--data)"
            )
        found[utt] = path
    return [Utterance(utt, found[utt], utt) for utt in sorted(found, key=str.encode)]


def settings_of(codec: Codec, deduplicate: bool, change_penalty: float = 0.0) -> UnitsInfo:
    """Return the settings of a model's units."""
    return UnitsInfo.of(
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        codebook_size=codec.codebook_size,
        groups=codec.groups,
        deduplicated=deduplicate,
        change_penalty=change_penalty,
        model_hash=codec.hash,
    )


def shard_folder(out: Path, shard: tuple[int, int]) -> Path:
    """Return the unit directory of a shard (i, N)."""
    return out / SHARDS / f"{shard[0]}-of-{shard[1]}"


def _write_missing(encode: Encode, utterances: list[Utterance], writer: UnitWriter, jobs: int) -> dict[str, str]:
    """Encode the utterances that `writer` lacks; return the reasons of those that failed, sorted."""
    unexpected = writer.offsets.keys() - {u.utt for u in utterances}
    if unexpected:
        raise UserError(
            f"{writer.directory}: contains {len(unexpected)} utterances that are not in the input, such as "
            f"{min(unexpected)}; {START_AFRESH}"
        )
    missing = [u for u in utterances if u.utt not in writer.offsets]
    if len(missing) < len(utterances):
        print(f"{writer.directory}: {len(utterances) - len(missing)} of {len(utterances)} utterances already done")
    failed: dict[str, str] = {}
    with Progress("extract", len(missing), "utterances") as progress:
        for utt, result in encode_all(encode, missing, jobs):
            if isinstance(result, str):
                failed[utt] = result
            else:
                writer.write(utt, result)
            progress.update()
    return dict(sorted(failed.items(), key=lambda item: item[0].encode()))


def encode_all(encode: Encode, utterances: Iterable[Utterance], jobs: int) -> Iterator[tuple[str, np.ndarray | str]]:
    """Yield (utt, codes or the reason of a failure) in the order of completion; only a few are in memory at a time."""
    queue = iter(utterances)
    running: set[Future] = set()
    executor = ThreadPoolExecutor(max_workers=jobs)
    try:
        while True:
            while len(running) < 2 * jobs and (utterance := next(queue, None)) is not None:
                running.add(executor.submit(_encode_one, encode, utterance))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        executor.shutdown(cancel_futures=True)


def _encode_one(encode: Encode, utterance: Utterance) -> tuple[str, np.ndarray | str]:
    try:
        return utterance.utt, encode(utterance)
    except UserError as error:
        return utterance.utt, str(error)
    except Exception as error:  # one bad file must not stop the others; its reason is recorded
        return utterance.utt, f"{utterance.path}: {type(error).__name__}: {error}"


def _merge_when_complete(out: Path, shards: int, settings: UnitsInfo, expected: list[str]) -> None:
    """Merge the shards into `out` if all are complete and `out` does not hold them yet; the lock must be held.

    Raises:
        JobError: the utterances of the shards are not those of the input.
    """
    folders = [shard_folder(out, (i, shards)) for i in range(1, shards + 1)]
    complete = [folder for folder in folders if (folder / "units.json").exists()]
    if len(complete) < shards:
        print(f"{out}: {len(complete)} of {shards} shards are complete")
        return
    for folder in folders:
        check_settings(folder, settings)
    failed = list(heapq.merge(*map(read_failed, folders), key=lambda item: item[0].encode()))
    if _is_merged(out, folders, failed, len(expected)):
        return
    found = {utt for utt, _ in failed}.union(*({s.utt for s in Units(folder)} for folder in folders))
    different = found.symmetric_difference(expected)
    if different:
        raise JobError(
            f"{out / SHARDS}: {len(different)} utterances differ from the input, such as {min(different)}; "
            "remove the folder and run all shards on the same data"
        )
    records = heapq.merge(*map(_records, folders), key=lambda item: item[0].encode())
    info = write_units(out, settings, records, failed)
    print(f"{info.num_utterances} of {len(expected)} utterances, {info.num_frames} frames in {out} ({shards} shards)")


def _is_merged(out: Path, folders: list[Path], failed: list[tuple[str, str]], expected: int) -> bool:
    """Return whether `out` is complete and has the utterances, frames and failures of the shards.

    A shard changes only when it gains utterances, so equal counts are equal units.
    """
    if not (out / "units.json").exists():
        return False
    info, parts = read_info(out / "units.json"), [read_info(folder / "units.json") for folder in folders]
    counts = [sum(part.num_utterances for part in parts), sum(part.num_frames for part in parts)]
    return (
        [info.num_utterances, info.num_frames] == counts
        and info.num_utterances + len(failed) == expected
        and list(read_failed(out)) == failed
    )


def _records(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    return ((sequence.utt, sequence.codes) for sequence in Units(folder))
