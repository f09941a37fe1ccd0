"""Selects utterances of a data directory with everything that belongs to them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from vqaudio.datadir.layout import DATA_DIRECTORY, Kind
from vqaudio.datadir.recordings import Span
from vqaudio.datadir.tables import Table, Utterance, read_ctm, read_table, write_ctm, write_table
from vqaudio.datadir.utterances import invert, write_utterances
from vqaudio.outputs import claim_folder


def select(
    tables: Mapping[str, Table], kinds: Mapping[str, Kind], spans: Mapping[str, Span], keep: list[str]
) -> dict[str, dict[str, str]]:
    """Return the lines of every table that belong to the utterances `keep`, and their spk2utt."""
    utt2spk = {utt: tables["utt2spk"].values[utt] for utt in keep}
    keys = {"utterance": set(keep), "recording": {spans[utt][0] for utt in keep}, "speaker": set(utt2spk.values())}
    chosen = {
        name: {key: value for key, value in table.values.items() if key in keys[kinds[name].key]}
        for name, table in tables.items()
    }
    return chosen | {"spk2utt": invert(utt2spk)}


def read_optional(path: Path, keys: Iterable[str]) -> dict[str, str]:
    """Return the rows of a Kaldi table that belong to `keys`, sorted; an empty table if there is no such file."""
    if not path.is_file():
        return {}
    table = read_table(path)
    return {key: table[key] for key in sorted(keys) if key in table}


def copy_subset(source: Path, out: Path, utterances: list[Utterance]) -> None:
    """Write the tables of some utterances of `source` to `out`, with their text, genders, durations and phones.

    Kaldi demands that `text` and `spk2gender` are complete: a table that lacks one of these utterances is left out.

    Raises:
        UserError: `out` holds files that vqaudio did not make, or is, holds or lies in `source`.
    """
    claim_folder(out, DATA_DIRECTORY, inputs=[source])
    utts = [utterance.utt for utterance in utterances]
    speakers = {utterance.speaker for utterance in utterances}
    text = read_optional(source / "text", utts)
    gender = read_optional(source / "spk2gender", speakers)
    write_utterances(
        out,
        utterances,
        text=text if len(text) == len(utts) else None,
        spk2gender=gender if len(gender) == len(speakers) else None,
    )
    durations = read_optional(source / "utt2dur", utts)
    if len(durations) == len(utts):
        write_table(out / "utt2dur", durations)
    (out / "phones.ctm").unlink(missing_ok=True)
    phones = read_ctm(source / "phones.ctm") if (source / "phones.ctm").is_file() else {}
    phones = {utt: phones[utt] for utt in utts if utt in phones}
    if phones:
        write_ctm(out / "phones.ctm", phones)
