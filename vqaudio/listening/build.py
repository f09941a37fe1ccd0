"""`vqaudio listen build`: makes the folder of a test from wav.scp files, ready to be served."""

import contextlib
import itertools
import math
import os
import random
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from vqaudio import audio, files
from vqaudio.datadir import read_wav_scp
from vqaudio.errors import UserError
from vqaudio.listening.anchors import MIN_RATE_7000, make_anchor
from vqaudio.listening.clips import clipped_run, match_gains, read_item
from vqaudio.listening.key import ANCHOR_3500, ANCHOR_7000, REFERENCE, RESERVED, Key, Stimulus, Trial, write_key
from vqaudio.listening.links import add_listeners
from vqaudio.outputs import check_new

MAX_SIGNALS = 12
"""Signals in a trial of MUSHRA (BS.1534-3), including anchors and hidden reference."""

MIN_RATE_MUSHRA = 10000
"""Sample rate (Hz) from which on a 3.5 kHz anchor removes part of the band."""


def build(
    test: Path,
    *,
    test_type: str,
    reference: Path,
    systems: Mapping[str, Path],
    items: int | None,
    seed: int | None,
    match_loudness: bool,
    listeners: int,
) -> None:
    """Make the folder of a listening test.

    `reference` and `systems` (by name) are wav.scp files. One utterance, drawn by `seed`, is for training; the test
    takes `items` others, or all. Without a seed one is drawn; the key records it. An utterance that cannot be used is
    left out, and `private/skipped.tsv` says why. `public/` contains no labels, but comparing the bytes of its audio
    files shows which ones equal the reference.

    Raises:
        UserError: `test` exists, a name is not allowed, or too few utterances can be used.
    """
    _check_names(test_type, systems)
    check_new(test, inputs=[reference, *systems.values()])
    seed = secrets.randbelow(1 << 31) if seed is None else seed
    partial = test.with_name(f"{files.PARTIAL}{secrets.token_hex(8)}")
    try:
        (partial / "public" / "audio").mkdir(parents=True)
        (partial / "private").mkdir(mode=0o700)  # other users of the machine must not read the key
        key, skipped = _fill(partial, test_type, reference, systems, items, seed, match_loudness)
        write_key(partial, key)
        files.atomic_write(partial / "private" / "skipped.tsv", "".join(f"{a}\t{b}\n" for a, b in skipped.items()))
        _copy_page(partial / "public")
        add_listeners(partial, listeners)
        partial.rename(test)
    except OSError as error:
        raise files.explain(error, test, "cannot be written") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if test_type == "mushra":
        _warn_of_few_items(len({trial.item for trial in key.trials.values()}) - 1, len(systems))
    _warn_of_clipping(key)
    if skipped:
        print(f"{len(skipped)} utterances left out; {test}/private/skipped.tsv says why", file=sys.stderr)


def _warn_of_few_items(items: int, systems: int) -> None:
    """Warn of fewer items than BS.1534-3 asks for: at least 5, and at least 1.5 for each system."""
    least = max(5, math.ceil(1.5 * systems))
    if items < least:
        print(f"{items} items: BS.1534-3 asks for at least {least} with {systems} systems", file=sys.stderr)


def _warn_of_clipping(key: Key) -> None:
    """Warn of systems with clipped clips."""
    for system in key.systems:
        clips = [stimulus for stimulus in key.stimuli.values() if stimulus.system == system]
        if count := sum(stimulus.clipped > 0 for stimulus in clips):
            print(f"{system}: {count} of its {len(clips)} clips are clipped; listeners will hear it", file=sys.stderr)


def _copy_page(public: Path) -> None:
    """Copy the page into the folder that browsers see."""
    for source in (Path(__file__).parent / "page").iterdir():
        shutil.copyfile(source, public / source.name)


def _check_names(test_type: str, systems: Mapping[str, Path]) -> None:
    """Raise UserError if the systems cannot be in a test."""
    for name in systems:
        if name in RESERVED or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name):
            raise UserError(f"--system {name}: not a name; use letters, digits and _ . + -, and none of {RESERVED}")
    most = MAX_SIGNALS - len(RESERVED)
    if test_type == "mushra" and len(systems) > most:
        raise UserError(f"--system: {len(systems)} systems, but a mushra trial has room for {most}; leave some out")


def _fill(
    test: Path,
    test_type: str,
    reference: Path,
    systems: Mapping[str, Path],
    items: int | None,
    seed: int,
    match_loudness: bool,
) -> tuple[Key, dict[str, str]]:
    """Write the audio; return the key, and for each utterance that was left out the reason."""
    skipped: dict[str, str] = {}
    writer = _Writer(test, test_type, match_loudness)
    tables = {name: read_wav_scp(path) for name, path in systems.items()}
    for item, clips, rate in _usable(read_wav_scp(reference), tables, seed, skipped):
        if items is not None and len(writer.items) > items:
            break
        try:
            writer.add_item(item, clips, rate)
        except UserError as error:
            skipped[item] = str(error)
    found, wanted = len(writer.items) - 1, items or 1
    if found < wanted:
        cure = f"the first of the others: {next(iter(skipped.values()))}" if skipped else "add utterances"
        raise UserError(
            f"{reference}: {max(found, 0)} utterances can be used, without one for training, of {wanted} wanted; {cure}"
        )
    writer.hide_times()
    key = Key(test_type, seed, writer.sample_rate, tuple(systems), writer.trials, writer.stimuli)
    return key, skipped


def _usable(
    reference: Mapping[str, Path], systems: Mapping[str, Mapping[str, Path]], seed: int, skipped: dict[str, str]
) -> Iterator[tuple[str, dict[str, np.ndarray], int]]:
    """Yield the items whose clips can be used, in an order drawn by the seed; add the others to `skipped`."""
    order = sorted(reference)
    random.Random(f"{seed} draw").shuffle(order)
    for item in order:
        lacking = [name for name, table in systems.items() if item not in table]
        if lacking:
            skipped[item] = f"'{item}' is not in the wav.scp of {', '.join(lacking)}; add it there"
            continue
        try:
            clips, rate = read_item(reference[item], {name: table[item] for name, table in systems.items()})
        except UserError as error:
            skipped[item] = str(error)
        else:
            yield item, clips, rate


class _Writer:
    """Writes the audio of items under random names and records what they are; the first item is for training.

    Every appearance of a clip is a separate file, so that no repeated name reveals what a clip is.
    """

    def __init__(self, test: Path, test_type: str, match_loudness: bool) -> None:
        self.folder, self.type, self.match_loudness = test / "public" / "audio", test_type, match_loudness
        self.sample_rate = 0
        self.items: list[str] = []
        self.clipped: dict[str, int] = {}  # of the current item, by system
        self.trials: dict[str, Trial] = {}
        self.stimuli: dict[str, Stimulus] = {}

    def add_item(self, item: str, clips: dict[str, np.ndarray], rate: int) -> None:
        """Write an item's audio and record its trials.

        Raises:
            UserError: the sample rate differs from that of other items, or is too low for the type of test.
        """
        if self.items and rate != self.sample_rate:
            raise UserError(f"{item}: {rate} Hz, but other items have {self.sample_rate} Hz; resample it")
        if self.type == "mushra" and rate < MIN_RATE_MUSHRA:
            raise UserError(f"{item}: {rate} Hz, but mushra needs {MIN_RATE_MUSHRA} Hz for its 3.5 kHz anchor; use acr")
        self.clipped = {name: clipped_run(wav) for name, wav in clips.items()}
        if self.type == "mushra":
            edges = {ANCHOR_3500: 3500.0, ANCHOR_7000: 7000.0} if rate >= MIN_RATE_7000 else {ANCHOR_3500: 3500.0}
            clips = clips | {name: make_anchor(clips[REFERENCE], edge, rate) for name, edge in edges.items()}
        gains = match_gains(clips, rate, self.match_loudness)
        clips = {name: wav * np.float32(10 ** (gains[name] / 20)) for name, wav in clips.items()}

        def write(*systems: str) -> tuple[str, ...]:
            return tuple(self._write(item, system, clips[system], gains[system], rate) for system in systems)

        training, self.sample_rate = not self.items, rate
        self.items.append(item)
        for trial in self._trials(list(clips)):
            open_reference = write(REFERENCE)[0] if self.type in ("mushra", "dcr") else None
            hidden = write(*trial) if self.type == "abx" else ()
            stimuli = write(*trial)
            self.trials[secrets.token_hex(8)] = Trial(item, training, stimuli, open_reference, hidden)

    def _trials(self, labels: list[str]) -> list[tuple[str, ...]]:
        """Return the systems of each trial of an item."""
        systems = [label for label in labels if label != REFERENCE]
        if self.type == "mushra":
            return [tuple(labels)]
        if self.type in ("acr", "dcr"):
            return [(label,) for label in labels]
        if self.type == "ab" and len(systems) > 1:
            return list(itertools.combinations(systems, 2))
        return [(system, REFERENCE) for system in systems]

    def _write(self, item: str, system: str, wav: np.ndarray, gain_db: float, rate: int) -> str:
        """Write one clip; return its random name."""
        name = secrets.token_hex(8)
        path = self.folder / f"{name}.wav"
        audio.write(path, wav, rate)
        self.stimuli[name] = Stimulus(item, system, round(gain_db, 3), files.sha256(path), self.clipped.get(system, 0))
        return name

    def hide_times(self) -> None:
        """Give all audio files the same time: servers send it to browsers, and it would reveal the order of writing."""
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):
                os.utime(path, (0, 0))
