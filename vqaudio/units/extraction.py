"""Extracts units from a data directory or audio files: in parallel, in shards, and resumable after any interruption."""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vqaudio import files
from vqaudio.codec import Codec, load
from vqaudio.datadir import Listed, Manifest, Utterance
from vqaudio.errors import JobError, UserError
from vqaudio.files import locked
from vqaudio.model.penalty import check_penalty
from vqaudio.outputs import claim_folder
from vqaudio.progress import Progress
from vqaudio.units.directory import UnitsInfo
from vqaudio.units.parallel import encode_all
from vqaudio.units.shards import finish_shard, shard_folder, turn
from vqaudio.units.writer import KIND, START_AFRESH, UnitWriter, check_settings

Encode = Callable[[Utterance], np.ndarray]
"""Encodes an utterance to codes (G, N)."""

Source = Manifest | Listed
"""Utterances to work on, as a stream that can be cut into parts."""


class Ray(NamedTuple):
    """How to run on a Ray cluster: number of actors, and of shards (None: by the length of the input)."""

    workers: int
    shards: int | None = None


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
    verify: bool = False,
    ray: Ray | None = None,
) -> None:
    """Write the units of every good utterance to `out`, and the reason of every failed one to `failed.txt`.

    A job that was interrupted, or in which utterances failed, does only what is missing when it is started again.
    `utt2sha256` has the hash of the file that each utterance was made from.

    Shard (i, N) takes the i-th of N parts (counted from 1) of about the same duration, and writes the unit directory
    `out/shards/<i>-of-<N>`. The shard that completes the N merges them into `out`. Its start takes time and memory for
    the lines of the data directory, and its end does not depend on the number of shards.

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
        verify: read the files of what is done, too, and do again what has another hash.
        ray: do all shards on a Ray cluster, in the way that `vqaudio.units.cluster` describes.

    Raises:
        UserError: there are no utterances, the data directory is malformed, `out` contains other units, or it may not
            be written into; a bad penalty.
        JobError: some utterances failed, or all.
    """
    check_penalty(change_penalty)
    source = Manifest(data) if data is not None else Listed(from_files(wavs))
    if not len(source):
        raise UserError(f"{data or 'no files'}: no utterances to extract; give a data directory or audio files")
    check_shard(shard, len(source))
    codec = load(model_dir, device)
    codec.model.require_encoder()
    claim_folder(out, KIND, inputs=wavs if data is None else [data], outer=[model_dir])
    settings = settings_of(codec, deduplicate, change_penalty)
    options: dict[str, Any] = {"out": out, "allow_failures": allow_failures, "jobs": jobs, "verify": verify}
    if ray is None:
        write_all(source, _encoder_of(codec, change_penalty), settings, shard=shard, **options)
    else:
        from vqaudio.units.cluster import extract_on_ray

        make_encode = functools.partial(_load_encoder, model_dir.resolve(), device, change_penalty)
        extract_on_ray(source, make_encode, settings, ray, gpus=int(device == "cuda"), **options)


def _load_encoder(model_dir: Path, device: str, change_penalty: float) -> Encode:
    return _encoder_of(load(model_dir, device), change_penalty)


def _encoder_of(codec: Codec, change_penalty: float) -> Encode:
    return lambda utt: codec.encode_file(utt.path, utt.start, utt.end, utt.channel, change_penalty)


def check_shard(shard: tuple[int, int], utterances: int) -> None:
    """Reject a shard (i, N) that is out of range or empty."""
    index, shards = shard
    if not 1 <= index <= shards <= utterances:
        raise UserError(
            f"--shard {index}/{shards}: not i/N with i from 1 to N and N up to {utterances}, the number of utterances; "
            "correct it"
        )


def write_all(
    source: Source,
    encode: Encode,
    settings: UnitsInfo,
    *,
    out: Path,
    shard: tuple[int, int],
    allow_failures: bool,
    jobs: int,
    verify: bool = False,
) -> None:
    """Write the units of a shard as `write_shard` does, and raise for failures as `extract` describes it.

    Raises:
        UserError: `out` contains other units, or may not be written into.
        JobError: some utterances failed, or all.
    """
    failed, count = write_shard(source, encode, settings, out=out, shard=shard, jobs=jobs, verify=verify)
    raise_on_failures(out if shard[1] == 1 else shard_folder(out, shard), failed, count, allow_failures)


def write_shard(
    source: Source,
    encode: Encode,
    settings: UnitsInfo,
    *,
    out: Path,
    shard: tuple[int, int],
    jobs: int,
    verify: bool = False,
) -> tuple[dict[str, str], int]:
    """Write the units that `encode` returns for the utterances of a shard to `out`, in the way of `extract`.

    Args:
        source: the utterances.
        encode: utterance to codes (G, N); several threads call it. What it raises becomes the reason of a failure.
        settings: settings of the units.
        out: unit directory to write, or to complete.
        shard: as in `extract`, like all that follow.
        jobs: utterances to work on at a time.
        verify: do again what was made from files with other hashes.

    Returns:
        The reasons of failures by utterance, and the number of utterances of the shard.

    Raises:
        UserError: `out` contains other units, or may not be written into.
        JobError: the shards do not have the utterances of the input.
    """
    index, shards = shard
    claim_folder(out, KIND)
    with turn(out, shards):
        check_settings(out, settings)
    folder = out if shards == 1 else shard_folder(out, shard)
    first, after = source.bounds(index, shards)
    with locked(folder), UnitWriter(folder, settings) as writer:
        own = functools.partial(source.utterances, first, after)

        def names() -> Iterator[str]:
            return (utterance.utt for utterance in source.utterances())

        failed = _write_missing(encode, own, after - first, writer, jobs, verify)
        with turn(out, shards):
            info = writer.finish(failed) if shards == 1 else finish_shard(out, shard, writer, failed, names)
        print(f"{info.num_utterances} of {after - first} utterances, {info.num_frames} frames in {folder}")
    return failed, after - first


def raise_on_failures(folder: Path, failed: Mapping[str, str], total: int, allow_failures: bool) -> None:
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
    """Return the settings of a model's units, or of those that it was trained on, which may be of another rate."""
    made_at = codec.config.quantizer.get("units", {"sample_rate": codec.sample_rate, "hop_length": codec.hop_length})
    return UnitsInfo.of(
        sample_rate=made_at["sample_rate"],
        hop_length=made_at["hop_length"],
        codebook_size=codec.codebook_size,
        groups=codec.groups,
        deduplicated=deduplicate,
        change_penalty=change_penalty,
        model_hash=codec.units_hash,
    )


def _write_missing(
    encode: Encode,
    own: Callable[[], Iterator[Utterance]],
    count: int,
    writer: UnitWriter,
    jobs: int,
    verify: bool,
) -> dict[str, str]:
    """Encode the utterances that `writer` lacks, of the `count` of a part; return the reasons of failures, sorted."""
    done = _done(own, writer, verify)
    if done:
        print(f"{writer.directory}: {len(done)} of {count} utterances already done")
    failed: dict[str, str] = {}
    missing = (utterance for utterance in own() if utterance.utt not in done)
    hash_of = functools.lru_cache(maxsize=4 * jobs)(files.sha256)  # a long recording has many utterances

    def encode_and_hash(utterance: Utterance) -> tuple[np.ndarray, str]:
        return encode(utterance), hash_of(utterance.path)

    with Progress("extract", count - len(done), "utterances") as progress:
        for utt, result in encode_all(encode_and_hash, missing, jobs):
            if isinstance(result, str):
                failed[utt] = result
            else:
                writer.write(utt, *result)
            progress.update()
    return dict(sorted(failed.items(), key=lambda item: item[0].encode()))


def _done(own: Callable[[], Iterator[Utterance]], writer: UnitWriter, verify: bool) -> set[str]:
    """Return the utterances that `writer` has and that need not be done again.

    Raises:
        UserError: it has others than those of the input, or a line of the input is malformed.
    """
    hashes = writer.hashes() if verify else {}
    hash_of = functools.lru_cache(maxsize=1)(files.sha256)
    present, changed = set(), set()
    for utterance in own():
        if utterance.utt in writer.offsets:
            present.add(utterance.utt)
            if verify and _hash(hash_of, utterance.path) != hashes[utterance.utt]:
                changed.add(utterance.utt)
    unexpected = writer.offsets.keys() - present
    if unexpected:
        raise UserError(
            f"{writer.directory}: contains {len(unexpected)} utterances that are not in the input, such as "
            f"{min(unexpected)}; {START_AFRESH}"
        )
    return present - changed


def _hash(hash_of: Callable[[Path], str], path: Path) -> str:
    """Return the hash of a file, "" if it cannot be read; encoding it will say why."""
    try:
        return hash_of(path)
    except OSError:
        return ""
