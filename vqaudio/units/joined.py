"""Joins units with the data directory that they come from: who said what in which part of which file."""

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

from vqaudio.datadir import Manifest, Utterance
from vqaudio.datadir.stream import stream_table
from vqaudio.errors import UserError
from vqaudio.units.directory import Units
from vqaudio.units.sequence import UnitSequence


class Joined(NamedTuple):
    """The units of an utterance, the utterance, the id of its recording, and its text if `text` has it."""

    sequence: UnitSequence
    utterance: Utterance
    recording: str
    text: str | None


def join(units: Units, data: Path) -> Iterator[Joined]:
    """Yield every utterance of a unit directory with what a data directory says of it; both are read as streams.

    Raises:
        UserError: the data directory is malformed or lacks an utterance.
    """
    manifest = Manifest(data)
    segmented = manifest.source.name == "segments"
    sources = stream_table(manifest.source, "a value")
    texts = _texts(data / "text")
    known = zip(manifest.utterances(), sources, strict=True)
    utterance, text = None, next(texts)
    for sequence in units:
        while utterance is None or utterance.utt < sequence.utt:
            utterance, (_, place) = next(known, (None, ("", "")))
            if utterance is None:
                break
        if utterance is None or utterance.utt != sequence.utt:
            raise UserError(f"{data}: lacks {sequence.utt} of {units.directory}; give the data of these units")
        while text is not None and text[0] < sequence.utt:
            text = next(texts)
        said = text[1] if text is not None and text[0] == sequence.utt else None
        yield Joined(sequence, utterance, place.split()[0] if segmented else utterance.utt, said)


def _texts(path: Path) -> Iterator[tuple[str, str] | None]:
    """Yield the lines of `text`, if there is one, and then None for ever."""
    if path.exists():
        yield from stream_table(path, "")
    yield from repeat(None)
