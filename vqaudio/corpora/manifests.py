"""Reads speech in manifests of lhotse, lines of JSON, packed or not: a CutSet, or a RecordingSet and a SupervisionSet.

An utterance is a supervision, with its speaker and text, where it lies in its recording; a cut or a recording without
supervisions is an utterance of its own. Paths are relative to the current directory, as in lhotse. A recording that a
command makes, or that lhotse would change while it loads it, is refused (extra: lhotse).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vqaudio.corpora.collecting import Collection, Found
from vqaudio.datadir.tables import PIPE
from vqaudio.errors import UserError
from vqaudio.progress import Progress
from vqaudio.units.cuts import import_lhotse
from vqaudio.units.lines import read_lines

SAVE = "save the audio with lhotse first (CutSet.save_audios)"
DIGITS = 8  # of times in seconds, as in lhotse


def read_manifests(paths: list[Path], collection: Collection) -> Iterator[Found]:
    """Yield the utterances of manifests; recordings are noted in the collection until a supervision needs them.

    Raises:
        UserError: lhotse is not installed, or a line is no cut, recording or supervision with plain files of audio.
    """
    import_lhotse()
    kinds = {path: _kind(path) for path in paths}
    given = set(kinds.values())
    if len(given) > 1 and given != {"recordings", "supervisions"}:
        raise UserError(f"{paths[0]}: {' and '.join(sorted(given))} do not go together; give cuts alone")
    if given == {"supervisions"}:
        raise UserError(f"{paths[0]}: supervisions need recordings; give the file of the recordings too")
    with Progress("import", len(paths), "files") as progress:
        for path in sorted(paths, key=lambda path: kinds[path]):  # recordings before supervisions
            for where, line, item in _items(path, kinds[path]):
                if kinds[path] == "recordings" and "supervisions" in given:
                    if not collection.note(item.id, line):
                        raise UserError(f"{where}: a second recording is named '{item.id}'; rename one")
                    continue
                try:
                    yield from _utterances(where, item, collection)
                except UserError:
                    raise
                except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
                    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                    raise UserError(f"{where}: holds what is no time, text or path ({reason}); correct it") from None
            progress.update()


def _utterances(where: str, item: Any, collection: Collection) -> list[Found]:
    """Return the utterances of a cut, recording or supervision."""
    import lhotse

    if isinstance(item, lhotse.Recording):
        return [_of_recording(where, item)]
    if isinstance(item, lhotse.SupervisionSegment):
        recording = _noted(collection, where, item.recording_id)
        return [_spoken(where, item, recording, 0.0, item.channel)]
    return list(_of_cut(where, item))


def _kind(path: Path) -> str:
    """Return what the first line of a manifest describes."""
    for number, line in read_lines(path):
        return _kind_of(_parsed(f"{path}:{number}", line)[1])
    raise UserError(f"{path}: is empty; check the path")


def _kind_of(item: Any) -> str:
    import lhotse

    if isinstance(item, lhotse.Recording):
        return "recordings"
    return "supervisions" if isinstance(item, lhotse.SupervisionSegment) else "cuts"


def _items(path: Path, kind: str) -> Iterator[tuple[str, str, Any]]:
    """Yield the place, the text and the object of each line."""
    for number, line in read_lines(path):
        where = f"{path}:{number}"
        text, item = _parsed(where, line)
        if _kind_of(item) != kind:
            raise UserError(f"{where}: is of {_kind_of(item)}, not of {kind} as the first line; write two files")
        yield where, text, item


def _parsed(where: str, line: bytes) -> tuple[str, Any]:
    """Return the text of a line, and the object of lhotse that it describes."""
    import lhotse
    from lhotse.serialization import deserialize_item

    try:
        text = line.decode()
        item = deserialize_item(json.loads(text))
        if not isinstance(item.id, str):
            raise TypeError("its id is no text")
    except (Exception, RecursionError) as error:  # lhotse has no error class for what is no manifest
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{where}: not a line of a manifest of lhotse ({reason}); write the file again") from None
    if not isinstance(item, (lhotse.Recording, lhotse.SupervisionSegment, lhotse.MonoCut, lhotse.MultiCut)):
        raise UserError(f"{where}: a {type(item).__name__} has no one recording; {SAVE}")
    return text, item


def _of_cut(where: str, cut: Any) -> Iterator[Found]:
    """Yield the utterances of a cut."""
    if cut.recording is None:
        raise UserError(f"{where}: the cut {cut.id} has no recording; {SAVE}")
    for supervision in cut.supervisions:
        channel = supervision.channel if isinstance(cut.channel, list) else cut.channel
        yield _spoken(where, supervision, cut.recording, cut.start, channel)
    if not cut.supervisions:
        yield _utterance(where, cut.id, cut.recording, cut.start, cut.start + cut.duration, cut.channel)


def _of_recording(where: str, recording: Any) -> Found:
    """Return a recording as an utterance."""
    channels = [channel for source in recording.sources for channel in source.channels]
    return _utterance(where, recording.id, recording, 0.0, recording.duration, channels)


def _noted(collection: Collection, where: str, name: str) -> Any:
    """Return a recording that was noted."""
    line = collection.noted(name)
    if line is None:
        raise UserError(f"{where}: its recording {name} is in no file of recordings; give that file too")
    return _parsed(where, line.encode())[1]


def _spoken(where: str, supervision: Any, recording: Any, offset: float, channel: Any) -> Found:
    """Return a supervision that starts `offset` seconds later in its recording than it says."""
    start = offset + supervision.start
    found = _utterance(where, supervision.id, recording, start, start + supervision.duration, channel)
    if not isinstance(supervision.text, (str, type(None))):
        raise TypeError(f"text {supervision.text!r}")
    named = supervision.speaker not in (None, "")
    return found._replace(speaker=str(supervision.speaker) if named else supervision.id, text=supervision.text)


def _utterance(where: str, utt: str, recording: Any, start: float, end: float, channel: Any) -> Found:
    """Return an utterance of a recording, from `start` to `end` (seconds), both within it."""
    if not (isinstance(utt, str) and isinstance(recording.id, str)):
        raise TypeError(f"ids {utt!r} and {recording.id!r}")
    path, index = _place(where, recording, channel if isinstance(channel, list) else [channel])
    last = recording.num_samples / recording.sampling_rate
    start, end = round(max(start, 0.0), DIGITS), round(min(end, last), DIGITS)
    if not start < end:
        raise UserError(f"{where}: {utt} is from {start:g} s to {end:g} s of its recording; correct the times")
    whole = start == 0 and end == round(last, DIGITS)
    name = recording.id
    if index is not None and not name.endswith(f"-{'AB'[index]}"):
        name += f"-{'AB'[index]}"
    return Found(where, utt, utt, None, path, name, index, start, end, whole)


def _place(where: str, recording: Any, channels: list[int]) -> tuple[Path, int | None]:
    """Return the file of a recording that holds some channels, and which one it is; None for all of them."""
    if recording.transforms:
        raise UserError(f"{where}: lhotse would change the recording {recording.id} while it loads it; {SAVE}")
    source = next((each for each in recording.sources if set(channels) <= set(each.channels)), None)
    if source is None:
        raise UserError(f"{where}: channels {channels} of {recording.id} are in no one file; {SAVE}")
    if source.type != "file":
        what = PIPE if source.type == "command" else f"audio of the type {source.type}; {SAVE}"
        raise UserError(f"{where}: the recording {recording.id} is {what}")
    if set(channels) == set(source.channels):
        return Path(source.source), None
    index = source.channels.index(channels[0])
    if len(channels) > 1 or index > 1:
        raise UserError(f"{where}: channels {channels} of {recording.id} are not one of two, or all; {SAVE}")
    return Path(source.source), index
