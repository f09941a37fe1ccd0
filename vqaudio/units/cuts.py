"""Units in the cuts of lhotse, as lines of JSON that `lhotse.CutSet.from_file` reads (extra: lhotse).

Each utterance is a cut with its recording, a supervision with its speaker and text, and custom fields: `cut.units`, a
list of whole numbers (with G > 1 groups a list of lists) as in the other JSON lines, and `cut.durations`, in frames, if
the units are deduplicated. lhotse keeps custom lists as they are when it truncates or joins cuts; do that before the
extraction.
"""

import gzip
import json
from collections.abc import Iterator
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vqaudio import audio, files
from vqaudio.errors import UserError
from vqaudio.units.directory import Units
from vqaudio.units.joined import Joined, join
from vqaudio.units.lines import CURE, Reading, json_fields, json_sequence, read_lines, text_of
from vqaudio.units.sequence import UnitSequence

if TYPE_CHECKING:
    from types import ModuleType


def write_cuts(units: Units, path: Path, data: Path | None) -> None:
    """Write a unit directory and its data directory as cuts, packed if the name ends in .gz; atomically.

    Raises:
        UserError: lhotse is not installed, no data directory is given, or it lacks an utterance or its audio.
    """
    if data is None:
        raise UserError(f"{units.directory}: cuts need recordings; give --data DIR, the data directory of these units")
    lhotse = import_lhotse()
    info = lru_cache(maxsize=64)(audio.info)  # the segments of a recording follow each other
    with files.atomic_writer(path, "wb") as file, _packed(file, path) as lines:
        for joined in join(units, data):
            cut = _cut(lhotse, joined, info(joined.utterance.path))
            lines.write(json.dumps(cut.to_dict(), ensure_ascii=False).encode() + b"\n")


def import_lhotse() -> "ModuleType":
    """Return lhotse.

    Raises:
        UserError: it is not installed.
    """
    try:
        import lhotse
    except ModuleNotFoundError:
        raise UserError("lhotse: is not installed; install vqaudio[lhotse]") from None
    return lhotse


def _packed(file: IO[bytes], path: Path) -> Any:
    """Return a file to write into: the same units give the same bytes, packed or not."""
    if path.suffix == ".gz":
        return gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
    return nullcontext(file)


def _cut(lhotse: "ModuleType", joined: Joined, info: audio.AudioInfo) -> Any:
    """Return an utterance as a cut of lhotse: on one channel of its recording, or on all of them."""
    utterance, channels = joined.utterance, list(range(info.channels))
    channel = utterance.channel if info.channels > 1 else 0
    end = info.duration if utterance.end is None else min(utterance.end, info.duration)
    source = lhotse.AudioSource("file", channels, str(utterance.path))
    recording = lhotse.Recording(joined.recording, [source], info.sample_rate, info.num_samples, info.duration)
    kind = lhotse.MultiCut if channel is None else lhotse.MonoCut
    place = {"duration": round(end - utterance.start, 8), "channel": channels if channel is None else channel}
    said = lhotse.SupervisionSegment(
        utterance.utt, recording.id, 0.0, text=joined.text, speaker=utterance.speaker, **place
    )
    custom = json_fields(joined.sequence)
    return kind(utterance.utt, utterance.start, recording=recording, supervisions=[said], custom=custom, **place)


def read_cuts(path: Path, reading: Reading) -> Iterator[UnitSequence]:
    """Yield the utterances of a file of cuts whose custom fields hold units, in the order of the lines."""
    for number, line in read_lines(path):
        where = f"{path}:{number}"
        try:
            values = json.loads(line)
            name, custom = values["id"].encode(errors="surrogatepass"), values["custom"]
            custom["units"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UserError(f"{where}: not a cut with the custom field units; {CURE}, or give another --from") from None
        utt = text_of(name, where)
        yield json_sequence(utt, custom, reading, where)
