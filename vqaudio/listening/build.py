"""`vqaudio listen build`: makes the folder of a test from wav.scp files, ready to be served."""

import random
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from vqaudio import files
from vqaudio.datadir import read_table, read_wav_scp
from vqaudio.errors import UserError
from vqaudio.listening.clips import Item, loudness_of, read_item
from vqaudio.listening.design import Design, check, describe, warn
from vqaudio.listening.key import REFERENCE, Key, write_key
from vqaudio.listening.people import add_listeners
from vqaudio.listening.study import write_study
from vqaudio.listening.writer import Writer
from vqaudio.metrics.word_error import normalise
from vqaudio.outputs import check_new

MIN_RATE_MUSHRA = 10000
"""Sample rate (Hz) from which on a 3.5 kHz anchor removes part of the band."""

MAX_LEVEL_DB = 6.0
"""Difference from the loudness of the reference that is worth a word."""


@dataclass
class _Material:
    """The audio that a test may use: paths of the clips of each item by system, and what was said.

    `chosen` are the items that were read and found fit, the one for training first; `skipped` says why others were not.
    """

    paths: dict[str, dict[str, Path]]
    words: dict[str, str]
    chosen: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    sample_rate: int = 0
    seconds: list[float] = field(default_factory=list)
    levels: dict[str, list[float]] = field(default_factory=dict)


def build(test: Path, design: Design, *, listeners: int, dry_run: bool = False) -> None:
    """Say how large a test is, and make its folder unless this is a dry run.

    The utterances are drawn by the seed; one is for training. Without a seed one is drawn; the key records it. An
    utterance that cannot be used is left out, and `private/skipped.tsv` says why. `public/` contains no labels, but
    comparing the bytes of its audio files shows which ones equal the reference.

    Raises:
        UserError: `test` exists, the design is not possible, or too few utterances can be used.
    """
    check(design)
    given = [path for path in (design.reference, design.text) if path]
    check_new(test, inputs=[*given, *design.systems.values()])
    seed = secrets.randbelow(1 << 31) if design.seed is None else design.seed
    material = _read(design, seed)
    items = len(material.chosen) - bool(design.training)
    if design.items_per_listener > items:
        raise UserError(f"--items-per-listener {design.items_per_listener}: the test has {items} items; give fewer")
    minutes, lines = describe(design, items, sum(material.seconds) / len(material.seconds))
    print("\n".join(lines), flush=True)
    warn(design, items, minutes)
    _warn_of_levels(design, material)
    if not dry_run:
        _make(test, design, material, seed, minutes, listeners)


def _make(test: Path, design: Design, material: _Material, seed: int, minutes: int, listeners: int) -> None:
    """Make the folder, all of it or nothing."""
    partial = test.with_name(f"{files.PARTIAL}{secrets.token_hex(8)}")
    try:
        (partial / "public" / "audio").mkdir(parents=True)
        (partial / "private").mkdir(mode=0o700)  # other users of the machine must not read the key
        key = _write_audio(partial, design, material, seed, minutes)
        write_key(partial, key)
        write_study(partial, design.study)
        skipped = "".join(f"{item}\t{reason}\n" for item, reason in material.skipped.items())
        files.atomic_write(partial / "private" / "skipped.tsv", skipped)
        add_listeners(partial, listeners)
        partial.rename(test)
    except OSError as error:
        raise files.explain(error, test, "cannot be written") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _warn_of_clipping(key)
    if material.skipped:
        print(f"{len(material.skipped)} utterances left out; {test}/private/skipped.tsv says why", file=sys.stderr)


def _write_audio(test: Path, design: Design, material: _Material, seed: int, minutes: int) -> Key:
    writer = Writer(test, design, seed, material.sample_rate)
    for n, name in enumerate(material.chosen):
        item = read_item(design.type, material.paths[name])
        writer.add_item(name, item, training=n == 0 and design.training > 0)
    writer.add_checks()
    writer.hide_times()
    return Key(
        type=design.type,
        seed=seed,
        sample_rate=material.sample_rate,
        systems=tuple(design.names),
        trials=writer.trials,
        stimuli=writer.stimuli,
        extension=design.extension,
        attribute=design.attribute,
        design=design.design,
        items_per_listener=design.items_per_listener,
        minutes=minutes,
        words={item: material.words[item] for item in material.chosen if item in material.words},
    )


def _read(design: Design, seed: int) -> _Material:
    """Read utterances in an order drawn by the seed until there are enough.

    Raises:
        UserError: too few can be used.
    """
    tables = {name: read_wav_scp(path) for name, path in design.systems.items()}
    if design.reference:
        tables = {REFERENCE: read_wav_scp(design.reference)} | tables
    first = next(iter(tables.values()))
    material = _Material({}, read_table(design.text, what="what was said") if design.text else {})
    order = sorted(first)
    random.Random(f"{seed} draw").shuffle(order)
    training = int(design.training > 0)
    for item in order:
        if design.items is not None and len(material.chosen) == design.items + training:
            break
        try:
            _read_item(design, material, item, tables)
        except UserError as error:
            material.skipped[item] = str(error)
    found, wanted = len(material.chosen) - training, design.items or 1
    if found < wanted:
        skipped = material.skipped
        cure = f"the first of the others: {next(iter(skipped.values()))}" if skipped else "add utterances"
        without = ", without one for training," if training else ""
        source = design.reference or next(iter(design.systems.values()))
        raise UserError(f"{source}: {max(found, 0)} utterances can be used{without} of {wanted} wanted; {cure}")
    return material


def _read_item(design: Design, material: _Material, item: str, tables: Mapping[str, Mapping[str, Path]]) -> None:
    """Add an item to those that are chosen.

    Raises:
        UserError: it cannot be used.
    """
    if lacking := [name for name, table in tables.items() if item not in table]:
        raise UserError(f"'{item}' is not in the wav.scp of {', '.join(lacking)}; add it there")
    if design.text and not normalise(material.words.get(item, "")):
        raise UserError(f"'{item}' has no words in {design.text}; add them there")
    paths = {name: table[item] for name, table in tables.items()}
    found = read_item(design.type, paths)
    rate = found.sample_rate
    if material.chosen and rate != material.sample_rate:
        raise UserError(f"{item}: {rate} Hz, but other items have {material.sample_rate} Hz; resample it")
    if design.type == "mushra" and rate < MIN_RATE_MUSHRA:
        raise UserError(f"{item}: {rate} Hz, but mushra needs {MIN_RATE_MUSHRA} Hz for its 3.5 kHz anchor; use acr")
    material.sample_rate = rate
    material.chosen.append(item)
    material.paths[item] = paths
    _note(material, found, measure=design.reference is not None and not design.match_loudness)


def _note(material: _Material, item: Item, *, measure: bool) -> None:
    """Keep the lengths of an item's clips, and how loud they are against the reference."""
    material.seconds += [len(wav) / item.sample_rate for wav in item.clips.values()]
    if not measure:
        return
    level = loudness_of(item.clips[REFERENCE], item.sample_rate)
    for name, wav in item.clips.items():
        material.levels.setdefault(name, []).append(loudness_of(wav, item.sample_rate) - level)


def _warn_of_levels(design: Design, material: _Material) -> None:
    """Warn of systems that are much softer or louder than the reference."""
    for system, differences in material.levels.items():
        found = median(differences)
        if abs(found) > MAX_LEVEL_DB:
            how = "softer" if found < 0 else "louder"
            print(
                f"{system}: {abs(found):.0f} dB {how} than {design.reference}; listeners will rate that: use "
                "--match-loudness",
                file=sys.stderr,
            )


def _warn_of_clipping(key: Key) -> None:
    """Warn of systems with clipped clips."""
    for system in key.systems:
        clips = [stimulus for stimulus in key.stimuli.values() if stimulus.system == system]
        if count := sum(stimulus.clipped > 0 for stimulus in clips):
            print(f"{system}: {count} of its {len(clips)} clips are clipped; listeners will hear it", file=sys.stderr)
