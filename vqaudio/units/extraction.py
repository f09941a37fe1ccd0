"""Data directory or audio files to a unit directory: in parallel, in shards, interrupted and continued at will."""

import heapq
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

import vqaudio
from vqaudio.codec import Codec, load
from vqaudio.datadir import Utterance, read_utterances
from vqaudio.errors import JobError, UserError
from vqaudio.files import locked
from vqaudio.progress import Progress
from vqaudio.units.directory import Units, UnitsInfo, read_failed
from vqaudio.units.writer import START_AFRESH, UnitWriter, check_settings, write_units

Encode = Callable[[Utterance], np.ndarray]
"""Turns an utterance into codes (G, N)."""


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
) -> None:
    """Write the units of every good utterance to `out` and the reason of every broken one to `failed.txt`.

    A job that was interrupted, or that had failures, does only what is missing when it is started again. Audio that
    changed under the same utterance id is not noticed: remove `out` then.

    Shard (i, N) takes every N-th utterance from the i-th on, counted from 1, and writes the unit directory
    `out/shards/<i>-of-<N>`. Whichever shard finds all N complete merges them into `out`. Two that end together may
    both merge: they write the same bytes, and every file is replaced at once.

    Args:
        model_dir: what `vqaudio train` wrote.
        data: Kaldi data directory; or
        wavs: audio files, whose names without suffix become utterance ids.
        out: unit directory to write, or to complete.
        deduplicate: write runs of equal frames as one unit, their lengths to `durations.txt`.
        shard: (i, N), see above; (1, 1) is all.
        allow_failures: failed utterances are no error.
        jobs: utterances to work on at a time, one thread each; the units are the same for any number.
        device: cpu or cuda, where the network runs.

    Raises:
        UserError: bad input as a whole: no utterances, a malformed data directory, `out` of other units.
        JobError: some utterances failed, or all.
    """
    utterances = read_utterances(data) if data is not None else from_files(wavs)
    if not utterances:
        raise UserError(f"{data or 'no files'}: no utterances to extract; give a data directory or audio files")
    check_shard(shard, len(utterances))
    codec = load(model_dir, device)
    write_all(
        utterances,
        lambda utterance: codec.encode_file(utterance.path, utterance.start, utterance.end),
        settings_of(codec, deduplicate),
        out=out,
        shard=shard,
        allow_failures=allow_failures,
        jobs=jobs,
    )


def check_shard(shard: tuple[int, int], utterances: int) -> None:
    """Refuse a shard (i, N) that is none, or that has no utterance."""
    index, shards = shard
    if not 1 <= index <= shards <= utterances:
        raise UserError(
            f"--shard {index}/{shards}: must be i/N with i from 1 to N and N up to {utterances} (the utterances)"
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
    """Write the units that `encode` makes of `utterances` to `out`; all that `extract` promises is done here.

    Args:
        utterances: sorted, each id once.
        encode: utterance to codes (G, N); several threads call it. What it raises becomes the reason of a failure.
        settings: what the units are.
        out: unit directory to write, or to complete.
        shard: as in `extract`, like all that follow.
        allow_failures: failed utterances are no error.
        jobs: utterances to work on at a time.

    Raises:
        UserError: `out` holds other units.
        JobError: some utterances failed, or all.
    """
    index, shards = shard
    check_settings(out, settings)
    folder = out if shards == 1 else shard_folder(out, shard)
    own = utterances[index - 1 :: shards]
    with locked(folder), UnitWriter(folder, settings) as writer:
        failed = _write_missing(encode, own, writer, jobs)
        info = writer.finish(failed)
    print(f"{info.num_utterances} of {len(own)} utterances, {info.num_frames} frames in {folder}")
    if shards > 1:
        _merge_when_complete(out, shards, settings, [u.utt for u in utterances])
    _judge(folder, failed, len(own), allow_failures)


def _judge(folder: Path, failed: Mapping[str, str], total: int, allow_failures: bool) -> None:
    """End the job badly when it must."""
    if not failed:
        return
    utt = min(failed)
    line = f"{folder / 'failed.txt'}: {len(failed)} of {total} utterances failed, such as {utt} ({failed[utt]})"
    if len(failed) == total:
        raise JobError(f"{line}; repair them and run again")
    if not allow_failures:
        raise JobError(f"{line}; repair them and run again, or accept it with --allow-failures")
    print(line, file=sys.stderr)


def from_files(wavs: Iterable[Path]) -> list[Utterance]:
    """Name audio files by their stems; return them sorted as in a data directory.

    Raises:
        UserError: two files of one stem, or a stem that cannot be an utterance id.
    """
    found: dict[str, Path] = {}
    for path in wavs:
        utt = path.stem
        if utt in found:
            raise UserError(f"{path}: has the utterance id {utt!r} of {found[utt]}; rename one, or list them (--data)")
        if utt.split() != [utt] or not utt.isprintable():
            raise UserError(
                f"{path}: {utt!r} cannot be an utterance id (spaces, or not UTF-8); rename it, or list it (--data)"
            )
        found[utt] = path
    return [Utterance(utt, found[utt], utt) for utt in sorted(found, key=str.encode)]


def settings_of(codec: Codec, deduplicate: bool) -> UnitsInfo:
    """Return what the units of a model are, without counts."""
    return UnitsInfo(
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        frame_rate=codec.frame_rate,
        codebook_size=codec.codebook_size,
        groups=codec.groups,
        deduplicated=deduplicate,
        model_hash=codec.hash,
        vqaudio_version=vqaudio.__version__,
    )


def shard_folder(out: Path, shard: tuple[int, int]) -> Path:
    """Return where a shard (i, N) writes."""
    return out / "shards" / f"{shard[0]}-of-{shard[1]}"


def _write_missing(encode: Encode, utterances: list[Utterance], writer: UnitWriter, jobs: int) -> dict[str, str]:
    """Encode what `writer` does not hold yet; return the reasons of those that failed."""
    strangers = writer.offsets.keys() - {u.utt for u in utterances}
    if strangers:
        raise UserError(
            f"{writer.directory}: holds {len(strangers)} utterances that are not asked for, such as {min(strangers)}; "
            f"{START_AFRESH}"
        )
    missing = [u for u in utterances if u.utt not in writer.offsets]
    if len(missing) < len(utterances):
        print(f"{writer.directory}: {len(utterances) - len(missing)} utterances are there, {len(missing)} to do")
    failed: dict[str, str] = {}
    with Progress("extract", len(missing), "utterances") as progress:
        for utt, result in _results(encode, missing, jobs):
            if isinstance(result, str):
                failed[utt] = result
            else:
                writer.write(utt, result)
            progress.update()
    return dict(sorted(failed.items(), key=lambda item: item[0].encode()))


def _results(encode: Encode, utterances: Iterable[Utterance], jobs: int) -> Iterator[tuple[str, np.ndarray | str]]:
    """Yield (utt, codes, or the reason why there are none) as they come; only a few are under way at a time."""
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
    except Exception as error:  # one strange file must not cost the others; its reason is recorded
        return utterance.utt, f"{utterance.path}: {type(error).__name__}: {error}"


def _merge_when_complete(out: Path, shards: int, settings: UnitsInfo, expected: list[str]) -> None:
    """Merge the shards into `out` when all are complete; their keys must be those of the input.

    Raises:
        JobError: an utterance is in no shard, or one is there that was not asked for.
    """
    folders = [shard_folder(out, (i, shards)) for i in range(1, shards + 1)]
    complete = [folder for folder in folders if (folder / "units.json").exists()]
    if len(complete) < shards:
        print(f"{out}: {len(complete)} of {shards} shards are complete")
        return
    for folder in folders:
        check_settings(folder, settings)
    failed = list(heapq.merge(*map(read_failed, folders), key=lambda item: item[0].encode()))
    found = {utt for utt, _ in failed}.union(*({s.utt for s in Units(folder)} for folder in folders))
    different = found.symmetric_difference(expected)
    if different:
        raise JobError(
            f"{out / 'shards'}: {len(different)} utterances differ from the input, such as {min(different)}; "
            "remove the folder and run all shards on one and the same data"
        )
    records = heapq.merge(*map(_records, folders), key=lambda item: item[0].encode())
    info = write_units(out, settings, records, failed)
    print(f"{info.num_utterances} of {len(expected)} utterances, {info.num_frames} frames in {out} ({shards} shards)")


def _records(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    return ((sequence.utt, sequence.codes) for sequence in Units(folder))
