"""What a test is made of: systems, pairs and items, how many of them a listener hears, and how long that takes."""

import itertools
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vqaudio.errors import UserError
from vqaudio.listening.key import PAIRED, REFERENCE, RESERVED, WITH_REFERENCE
from vqaudio.listening.study import Study

MAX_SIGNALS = 12
"""Signals in a trial of MUSHRA (BS.1534-3), including anchors and hidden reference."""

DESIGNS = ("full", "latin")
PAIRS = ("systems", "reference", "all")
ATTRIBUTES = ("naturalness",)
FORMATS = ("flac", "wav")
TRAINING = 4  # trials
LONG_MINUTES = 45
PLAYS, ANSWER_SECONDS, TYPING_SECONDS = 1.5, 4, 10
"""What the estimate of the duration assumes: how often a clip is played, and the time of an answer."""
FREE_SLIP_ITEMS = 7
"""From so many items on, one slip on the hidden reference does not exclude a listener (BS.1534-3: 15 %)."""


@dataclass(frozen=True)
class Design:
    """A test as it is asked for: `systems` are wav.scp files by name, `mnru` the levels Q (dB) of reference conditions.

    Of `items` (None: all), a listener hears `items_per_listener` (0: all), after `training` trials of another item.
    """

    type: str
    systems: Mapping[str, Path]
    reference: Path | None = None
    items: int | None = None
    seed: int | None = None
    match_loudness: bool = False
    pairs: str | None = None
    design: str = "full"
    items_per_listener: int = 0
    training: int = TRAINING
    text: Path | None = None
    attribute: str | None = None
    extension: str = "flac"
    mnru: tuple[float, ...] = ()
    study: Study = field(default_factory=Study)

    @property
    def names(self) -> list[str]:
        """The systems in order, with the reference conditions."""
        return [*self.systems, *map(mnru_name, self.mnru)]

    def conditions(self, labels: list[str]) -> list[tuple[str, ...]]:
        """Return the systems of each trial of an item that has clips of these systems."""
        systems = [label for label in labels if label != REFERENCE]
        if self.type == "mushra":
            return [tuple(labels)]
        if self.type == "smos":
            return [(system,) for system in systems]
        if self.type not in PAIRED:
            return [(label,) for label in labels]
        usual = "systems" if REFERENCE not in labels or (self.type == "ab" and len(systems) > 1) else "reference"
        pairs = self.pairs or usual
        found: list[tuple[str, ...]] = [(system, REFERENCE) for system in systems] if pairs != "systems" else []
        return found if pairs == "reference" else [*itertools.combinations(systems, 2), *found]

    @property
    def labels(self) -> list[str]:
        """What is heard of an item, but for anchors: the reference, where there is one, and the systems."""
        return [*([REFERENCE] if self.reference else []), *self.names]


def mnru_name(q_db: float) -> str:
    """Return the name of the reference condition of a level Q (dB)."""
    return f"mnru_{q_db:g}"


def check(design: Design) -> None:
    """Raise UserError if a test cannot be as it is asked for."""
    kind, count = design.type, len(design.names)
    for name in design.systems:
        taken = name in RESERVED or name.startswith("mnru_")
        if taken or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name):
            raise UserError(
                f"--system {name}: not a name; use letters, digits and _ . + -, not mnru_ and none of {RESERVED}"
            )
    if design.reference is None and (kind in WITH_REFERENCE or design.pairs in ("reference", "all") or design.mnru):
        what = kind if kind in WITH_REFERENCE else "--pairs" if design.pairs in ("reference", "all") else "--mnru"
        raise UserError(f"--reference: {what} needs one; give the wav.scp of the originals")
    if kind == "mushra" and count > MAX_SIGNALS - len(RESERVED):
        most = MAX_SIGNALS - len(RESERVED)
        raise UserError(f"--system: {count} systems, but a mushra trial has room for {most}; leave some out")
    if design.pairs is not None and kind not in PAIRED:
        raise UserError(f"--pairs: {kind} compares no pairs; leave it out")
    if not design.conditions(design.labels):
        raise UserError(f"--system: {count} system is no pair; give another one, or a --reference")
    if design.design == "latin" and kind == "mushra":
        raise UserError("--design latin: a mushra trial has all systems; use --items-per-listener, or another type")
    if (kind == "words") != (design.text is not None):
        raise UserError("--text: what was said is needed for words and for no other type; add it or leave it out")
    if design.attribute is not None and kind != "acr":
        raise UserError(f"--attribute {design.attribute}: is only for acr; leave it out")
    _check_study(design)


def _check_study(design: Design) -> None:
    """Raise UserError if checks that the study asks for do not fit the type of test."""
    if design.study.gold and (design.type in ("mushra", "words") or design.reference is None):
        why = "needs --reference" if design.reference is None else f"is not for {design.type}"
        raise UserError(f"gold: {why}; leave it out of the study")
    if design.study.attention and design.type not in ("acr", "dcr", "smos"):
        raise UserError(f"attention: is for acr, dcr and smos, not for {design.type}; leave it out of the study")


def describe(design: Design, items: int, seconds: float) -> tuple[int, list[str]]:
    """Return the minutes that a listener needs, and lines about the size of a test of `items` items.

    `seconds` is the mean length of a clip.
    """
    conditions = len(design.conditions(design.labels))
    signals = len(design.labels) + (design.type == "mushra")  # with an anchor
    heard = design.items_per_listener or items
    trials = heard * (1 if design.design == "latin" else conditions)
    rated = signals if design.type == "mushra" else 1
    clips = {"mushra": signals + 1, "abx": 3, "ccr": 2, "ab": 2, "dcr": 2, "smos": 2}.get(design.type, 1)
    answer = ANSWER_SECONDS + (TYPING_SECONDS if design.type == "words" else 0)
    training = min(design.training, conditions)
    checks = design.study.gold + 6 * design.study.headphones + 4 * design.study.quiet
    minutes = math.ceil((trials + training + checks) * (PLAYS * clips * seconds + answer * rated) / 60) + 1
    what = "versions" if design.type == "mushra" else "pairs" if design.type in PAIRED else "systems"
    count = signals if design.type == "mushra" else conditions
    lines = [
        f"{items} items with {count} {what} each. A listener hears {heard} of the items in {trials} trials, after "
        f"{training} for training: about {minutes} minutes."
    ]
    if design.design == "latin":
        rounds = conditions * (items // math.gcd(heard, items))
        lines.append(
            f"Every {rounds} listeners hear each of the {items * conditions} clips once: a multiple of it is balanced."
        )
    elif heard < items:
        rounds = items // math.gcd(heard, items)
        lines.append(f"Every {rounds} listeners hear each item equally often: a multiple of it is balanced.")
    return minutes, lines


def warn(design: Design, items: int, minutes: int) -> None:
    """Warn of a test that is too long for a listener, or too small for the rules of its type."""
    if minutes > LONG_MINUTES:
        cure = "" if design.type == "mushra" else " or --design latin"
        print(f"{minutes} minutes are long; shorten it with --items-per-listener{cure}", file=sys.stderr)
    if design.type != "mushra":
        return
    heard, systems = design.items_per_listener or items, len(design.names)
    least = max(5, math.ceil(1.5 * systems))
    if heard < least:
        print(f"{heard} items: BS.1534-3 asks for at least {least} with {systems} systems", file=sys.stderr)
    if heard < FREE_SLIP_ITEMS:
        print(
            f"{heard} items: with under {FREE_SLIP_ITEMS}, one slip on the hidden reference excludes a listener "
            "(BS.1534-3 allows it on 15 % of the items)",
            file=sys.stderr,
        )
