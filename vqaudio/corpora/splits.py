"""Splits a corpus into four sets by ids and sentences alone, so that everybody gets the same sets.

1. *Unseen speakers.* A committed list, if the corpus has all its speakers; otherwise a tenth of the speakers (at least
   one; of eight speakers or more at least one of each gender), in the order of the SHA-256 of their ids, alternating
   between the genders.
2. *Test and development sentences.* A sentence is the text in lower case with collapsed white space, or the utterance
   id if there is no text. Each other speaker with five sentences or more offers the first tenth (rounded up) of its
   sentences, in the order of their SHA-256, for `test_seen` and the next twentieth for `dev`. Of all offers, the first
   `cap` in the order of their SHA-256 are taken; the others stay in `train`.
3. *Unseen test.* Those utterances of the unseen speakers whose sentence is not in `train` or `dev`; the first
   `cap_unseen` in the order of their SHA-256.
4. A recording of a test or development sentence that is not itself in that set is in no set, so that no sentence of a
   test set is heard in training. A speaker who only has such recordings is in no set either.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from vqaudio.errors import UserError

SETS = ("train", "dev", "test_seen", "test_unseen")
TEST_SHARE = 0.1
DEV_SHARE = 0.05
UNSEEN_SHARE = 0.1
CAP = 200
"""Utterances in dev, in test_seen and in test_unseen at most."""


@dataclass(frozen=True)
class Splits:
    """The utterances of each of SETS, sorted; the unseen speakers; and (utterance, reason) for those in no set."""

    sets: dict[str, list[str]]
    unseen: list[str]
    drops: list[tuple[str, str]]


def normalise(text: str) -> str:
    """Return a sentence for comparison: in lower case, with collapsed white space.

    >>> normalise("Please  call Stella. ")
    'please call stella.'
    """
    return " ".join(text.lower().split())


def order(key: str) -> str:
    """Return the SHA-256 of `key`, by which everything is ordered."""
    return hashlib.sha256(key.encode()).hexdigest()


def choose_unseen(
    speakers: Collection[str], gender: Mapping[str, str], committed: Collection[str] = (), named: Collection[str] = ()
) -> list[str]:
    """Return the unseen speakers: those `named` by the user, else the `committed` ones, else by rule 1.

    Raises:
        UserError: a named speaker is not in the corpus, or nobody is left for training.
    """
    missing = sorted(set(named) - set(speakers))
    if missing:
        raise UserError(f"unseen speaker {missing[0]} is not in the corpus; name some of {_some(speakers)}")
    if named:
        unseen = sorted(set(named))
    elif committed and set(committed) <= set(speakers):
        unseen = sorted(set(committed))
    else:
        unseen = _unseen_by_rule(speakers, gender)
    if len(unseen) >= len(speakers):
        raise UserError(
            f"{len(speakers)} speaker(s), {len(unseen)} of them unseen, so nobody is left for training; name fewer"
        )
    return unseen


def make_splits(
    speaker_of: Mapping[str, str],
    text: Mapping[str, str],
    unseen: Collection[str],
    *,
    train_only: Collection[str] = (),
    cap: int = CAP,
    cap_unseen: int = CAP,
) -> Splits:
    """Split utterances by rules 2 to 4 of this module.

    Args:
        speaker_of: utt -> speaker.
        text: utt -> sentence.
        unseen: speakers of test_unseen.
        train_only: utterances whose sentences are never in a test or development set (VCTK's shared paragraphs).
        cap: utterances in dev and in test_seen at most.
        cap_unseen: utterances in test_unseen at most.

    Raises:
        UserError: a set would be empty.
    """
    sentence = {utt: normalise(text.get(utt, "")) or utt for utt in speaker_of}
    seen_utts = sorted(utt for utt, speaker in speaker_of.items() if speaker not in set(unseen))
    fixed = {sentence[utt] for utt in train_only}
    test_offers, dev_offers = _offers(seen_utts, speaker_of, sentence, fixed)

    test_seen = _first(test_offers, sentence, cap)
    tested = {sentence[utt] for utt in test_seen}
    dev = _first([utt for utt in dev_offers if sentence[utt] not in tested], sentence, cap)
    held_out = tested | {sentence[utt] for utt in dev}
    train = [utt for utt in seen_utts if sentence[utt] not in held_out]
    trained = {speaker_of[utt] for utt in train}
    test_seen, dev = ([utt for utt in utts if speaker_of[utt] in trained] for utts in (test_seen, dev))
    heard = {sentence[utt] for utt in (*train, *dev)}
    unseen_utts = sorted(set(speaker_of) - set(seen_utts))
    test_unseen = _first([utt for utt in unseen_utts if sentence[utt] not in heard | fixed], sentence, cap_unseen)

    sets = {"train": train, "dev": dev, "test_seen": test_seen, "test_unseen": test_unseen}
    sets = {name: sorted(utts) for name, utts in sets.items()}
    _check(sets)
    left = set(speaker_of).difference(*sets.values())
    return Splits(sets, sorted(unseen), sorted((utt, _reason(sentence[utt], heard, held_out)) for utt in left))


def _unseen_by_rule(speakers: Collection[str], gender: Mapping[str, str]) -> list[str]:
    groups = defaultdict(list)
    for speaker in sorted(speakers, key=order):
        groups[gender.get(speaker, "")].append(speaker)
    count = max(2 if len(speakers) >= 8 and len(groups) > 1 else 1, round(UNSEEN_SHARE * len(speakers)))
    in_turn = sorted((turn, name) for name in groups for turn in range(len(groups[name])))
    return sorted(groups[name][turn] for turn, name in in_turn[:count])


def _offers(
    utts: Iterable[str], speaker_of: Mapping[str, str], sentence: Mapping[str, str], fixed: Collection[str]
) -> tuple[list[str], list[str]]:
    """Return the utterances that speakers offer for test_seen, and those for dev."""
    by_speaker: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for utt in utts:
        by_speaker[speaker_of[utt]][sentence[utt]].append(utt)
    tests, devs = [], []
    for sentences in by_speaker.values():
        if len(sentences) < 5:
            continue
        ordered = sorted(sentences.keys() - set(fixed), key=order)
        num_tests = math.ceil(TEST_SHARE * len(ordered))
        num_devs = math.ceil(DEV_SHARE * len(ordered))
        # If a speaker recorded a sentence more than once, the first recording.
        tests += [sentences[name][0] for name in ordered[:num_tests]]
        devs += [sentences[name][0] for name in ordered[num_tests : num_tests + num_devs]]
    return tests, devs


def _first(utts: Iterable[str], sentence: Mapping[str, str], count: int) -> list[str]:
    return sorted(utts, key=lambda utt: (order(sentence[utt]), order(utt)))[:count]


def _check(sets: Mapping[str, list[str]]) -> None:
    cures = {
        "train": "the corpus is too small; add utterances",
        "dev": "no speaker has five sentences; add some",
        "test_seen": "no speaker has five sentences; add some",
        "test_unseen": "every sentence of the unseen speakers is also in train; name others with --unseen-speakers",
    }
    for name, utts in sets.items():
        if not utts:
            raise UserError(f"the set {name} would be empty: {cures[name]}")


def _reason(sentence: str, heard: Collection[str], held_out: Collection[str]) -> str:
    if sentence in held_out:
        return "its sentence is in a test or development set"
    if sentence in heard:
        return "unseen speaker, but its sentence is in train"
    return "beyond the cap of test_unseen"


def _some(names: Collection[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f", … ({len(shown)})" if len(shown) > 5 else "")
