"""Reads and writes the key of a test, `private/key.json`: which system and utterance each random name represents."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vqaudio import files
from vqaudio.errors import UserError

REFERENCE = "reference"
ANCHOR_3500 = "anchor_3500"
ANCHOR_7000 = "anchor_7000"
RESERVED = (REFERENCE, ANCHOR_3500, ANCHOR_7000)

SCALES: dict[str, tuple[int, int] | None] = {
    "mushra": (0, 100),
    "acr": (1, 5),
    "dcr": (1, 5),
    "ccr": (-3, 3),
    "ab": (-1, 1),
    "abx": (-1, 1),
    "smos": (1, 5),
    "words": None,
}
"""Lowest and highest answer of each type of test, as whole numbers; browsers send them and the store saves them so.

In `ccr` and `ab` the answer compares the second clip with the first as they were presented (positive: the second
is better); in `abx` −1 means that X is the first and 1 that X is the second. In `words` the answer is a text.
"""

CHECK_SCALES: dict[str, tuple[int, int] | None] = {"headphones": (1, 3), "quiet": (-1, 1)}
"""The same for the checks before a test: which of three tones is the softest, and which of two clips is cleaner."""

PAIRED = ("ccr", "ab", "abx")
"""Types whose trials compare two systems."""

WITH_REFERENCE = ("mushra", "dcr", "smos")
"""Types whose trials have an open reference: the original or, in smos, the voice to compare with."""


@dataclass(frozen=True)
class Stimulus:
    """One audio file under a random name: its utterance, its system, and the gain (dB) that was applied to its samples.

    `clipped` is the longest run of samples at full scale, 0 if the clip is not clipped.
    """

    item: str
    system: str
    gain_db: float
    sha256: str
    clipped: int = 0


@dataclass(frozen=True)
class Trial:
    """One page of a test: the stimuli to choose from or to rate, in no particular order.

    `reference` is the open reference, if the type has one. In ABX, `hidden` holds copies of both stimuli; a listener
    gets one of them as X. `loop` says whether clips run in step.

    A trial whose answer is known has in `check` what it is for (`headphones`, `quiet`, `gold` or `attention`), and in
    `expected` the lowest and highest right answer, of pairs about the first of `stimuli` (see `sessions.oriented`).
    """

    item: str
    training: bool
    stimuli: tuple[str, ...]
    reference: str | None = None
    hidden: tuple[str, ...] = ()
    loop: bool = True
    check: str = ""
    expected: tuple[int, int] | None = None


@dataclass(frozen=True)
class Key:
    """A whole test: `sample_rate` in Hz, trials and stimuli by their random names.

    `design` is `full` (a listener hears every system at each of their items) or `latin` (one of them at each), and
    `items_per_listener` the number of items that a listener hears, 0 for all. `words` has what was said at each item.
    """

    type: str
    seed: int
    sample_rate: int
    systems: tuple[str, ...]
    trials: dict[str, Trial]
    stimuli: dict[str, Stimulus]
    extension: str = "wav"
    attribute: str | None = None
    design: str = "full"
    items_per_listener: int = 0
    minutes: int = 0
    words: dict[str, str] = field(default_factory=dict)

    def kind(self, trial: str) -> str:
        """Return the type of a trial: that of the test, or of a check before it."""
        check = self.trials[trial].check
        return check if check in CHECK_SCALES else self.type


def key_path(test: Path) -> Path:
    """Return the path of the key of a test."""
    return test / "private" / "key.json"


def write_key(test: Path, key: Key) -> None:
    """Write the key of a test."""
    files.atomic_write(key_path(test), json.dumps(asdict(key), indent=1) + "\n")


def read_key(test: Path) -> Key:
    """Read the key of a test.

    Raises:
        UserError: the folder contains no test, or its key is damaged.
    """
    path = key_path(test)
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        trials = {name: _trial(value) for name, value in data["trials"].items()}
        stimuli = {name: Stimulus(**value) for name, value in data["stimuli"].items()}
        key = Key(**{**data, "systems": tuple(data["systems"]), "trials": trials, "stimuli": stimuli})
        _check_types(key)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give a folder that `vqaudio listen build` made"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}); restore it from a copy, or the answers are lost") from None
    if key.type not in SCALES:
        raise UserError(f"{path}: unknown type of test '{key.type}'; use one of {', '.join(SCALES)}")
    return key


def _check_types(key: Key) -> None:
    """Raise `ValueError` for a value that is not of its type."""
    texts: list[Any] = [key.type, *key.systems, key.extension, key.attribute or "", key.design, *key.words.values()]
    wholes: list[Any] = [key.seed, key.sample_rate, key.items_per_listener, key.minutes]
    for stimulus in key.stimuli.values():
        texts += [stimulus.item, stimulus.system, stimulus.sha256]
        wholes.append(stimulus.clipped)
    for trial in key.trials.values():
        texts += [trial.item, *trial.stimuli, *trial.hidden, trial.reference or "", trial.check]
        wholes += trial.expected or ()
    for kind, values in ((str, texts), (int, wholes)):
        for value in values:
            if type(value) is not kind:
                raise ValueError(f"{value!r:.80} is not {'text' if kind is str else 'a whole number'}")
    if key.sample_rate < 1:
        raise ValueError(f"sample_rate is {key.sample_rate}")


def _trial(value: dict[str, Any]) -> Trial:
    """Return a trial from its JSON object."""
    expected = value.get("expected")
    tuples = {"stimuli": tuple(value["stimuli"]), "hidden": tuple(value["hidden"])}
    return Trial(**{**value, **tuples, "expected": expected and (expected[0], expected[1])})
