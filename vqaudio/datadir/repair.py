"""Repairs a data directory: drops and sorts lines until it is valid, and keeps the originals."""

from collections.abc import Mapping
from pathlib import Path

from vqaudio import files
from vqaudio.datadir.layout import DURATIONS, Kind, tables_of
from vqaudio.datadir.recordings import (
    FRAME,
    Recording,
    Span,
    correct_durations,
    examine,
    span_problem,
    true_durations,
)
from vqaudio.datadir.subset import select
from vqaudio.datadir.tables import (
    ODD_SPACE,
    Table,
    pipe_problems,
    refuse,
    scan_ctm,
    scan_table,
    write_ctm,
    write_table,
)
from vqaudio.datadir.utterances import channels_of, parse_segment
from vqaudio.errors import UserError
from vqaudio.names import by_folded, variant_note
from vqaudio.outputs import claim_folder

_MARK = b"\xef\xbb\xbf"


def fix(data: str | Path, frame: float = FRAME) -> list[str]:
    """Repair a data directory, and return what was done, one line each; an empty list if nothing was.

    Lines are sorted; malformed and repeated ones are dropped (of two that contradict each other the first stays), and
    so are carriage returns and odd white space. Utterances stay if every table has them and if their audio is sound and
    lasts a `frame` (seconds). spk2utt is rebuilt, and utt2dur written, so that training need not open every
    file. Originals of changed files are kept in `.backup/`, where nothing is overwritten.

    Raises:
        UserError: wav.scp contains commands, a required file is missing, no utterance would remain, or `.backup/` holds
            files that vqaudio did not make; nothing is changed.
    """
    data = Path(data)
    kinds = tables_of(data)
    for name in ("wav.scp", "utt2spk"):
        if name not in kinds:
            raise UserError(f"{data / name}: no such file, and it cannot be rebuilt from the others; add it")
    tables = {name: scan_table(data / name, kind.what, _content(data / name)) for name, kind in kinds.items()}
    wavs = tables["wav.scp"].values
    refuse(pipe_problems(data / "wav.scp", wavs))
    spans, drops = _read_spans(tables)
    channels = tables.get("reco2file_and_channel")
    recordings = examine(wavs, channels_of(channels.values if channels else {}))
    drops = _missing_keys(tables, kinds, spans) | drops | _broken_audio(spans, recordings, frame)
    keep = sorted(spans.keys() - drops.keys())
    if not keep:
        example = "".join(f"'{utt}': {reason}" for utt, reason in sorted(drops.items())[:1])
        raise UserError(f"{data}: no utterance would remain ({example or 'there is none'}); nothing was changed")
    done = [line for table in tables.values() for line in _line_repairs(table)]
    done += [f"{data}: dropped '{utt}': {reason}" for utt, reason in sorted(drops.items())]
    chosen = select(tables, kinds, spans, keep)
    for name in (kinds.keys() & DURATIONS) | {"utt2dur"}:
        listed = tables[name].values if name in tables else {}
        true = true_durations(name, {utt: spans[utt] for utt in keep}, recordings, frame)
        chosen[name] = correct_durations(listed, {key: true[key] for key in _keys(name, true, spans, keep)})
    done += _write_tables(data, tables, chosen)
    if (data / "phones.ctm").exists():
        done += _fix_phones(data / "phones.ctm", set(keep))
    return done


def _keys(name: str, true: Mapping[str, float], spans: Mapping[str, Span], keep: list[str]) -> list[str]:
    """Return the entries that a table of durations needs for the utterances `keep`."""
    needed = {spans[utt][0] for utt in keep} if name == "reco2dur" else set(keep)
    return sorted(needed & true.keys())


def _content(path: Path) -> bytes:
    """Return the bytes of a file without byte order mark and without carriage returns at line ends."""
    try:
        return path.read_bytes().removeprefix(_MARK).replace(b"\r\n", b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file") from error


def _read_spans(tables: Mapping[str, Table]) -> tuple[dict[str, Span], dict[str, str]]:
    """Return the span of each utterance, and messages about malformed segments by utterance."""
    if "segments" not in tables:
        return {utt: (utt, 0.0, None) for utt in tables["wav.scp"].values}, {}
    parsed = {utt: parse_segment(value) for utt, value in tables["segments"].values.items()}
    bad = {utt: span for utt, span in parsed.items() if isinstance(span, str)}
    return {utt: span for utt, span in parsed.items() if not isinstance(span, str)}, bad


def _broken_audio(spans: Mapping[str, Span], recordings: Mapping[str, Recording | str], frame: float) -> dict[str, str]:
    drops = {}
    for utt, span in spans.items():
        recording = recordings.get(span[0], f"wav.scp lacks its recording '{span[0]}'")
        problem = recording if isinstance(recording, str) else span_problem(span, recording, frame)
        if problem:
            drops[utt] = problem
    return drops


def _missing_keys(tables: Mapping[str, Table], kinds: Mapping[str, Kind], spans: Mapping[str, Span]) -> dict[str, str]:
    """Return a message for each utterance that a table lacks, or whose speaker or recording a table lacks."""
    speakers = tables["utt2spk"].values
    everyone = set(spans).union(
        *(t.values for name, t in tables.items() if kinds[name].key == "utterance" and name not in DURATIONS)
    )
    drops: dict[str, str] = {}
    for name, table in tables.items():
        key, near = kinds[name].key, by_folded(table.values)
        for utt in everyone if name != "spk2utt" and name not in DURATIONS else ():
            owner = {"utterance": utt, "speaker": speakers.get(utt), "recording": spans.get(utt, (utt,))[0]}[key]
            if owner is not None and owner not in table.values:  # an utterance without a speaker is dropped for that
                lacking = f"{name} lacks it" if owner == utt else f"{name} lacks its {key} '{owner}'"
                drops.setdefault(utt, lacking + variant_note(owner, near))
    return drops


def _line_repairs(table: Table) -> list[str]:
    """Return what reading and writing a table does to its lines, in words."""
    raw, path = table.path.read_bytes(), table.path
    done = [f"dropped the line {problem}" for problem in table.malformed]
    done += [f"{line}; kept the first" for line in table.contradicting]
    if table.repeated:
        done.append(f"{path}: dropped {len(table.repeated)} repeated lines")
    if table.unsorted:
        done.append(f"{path}: sorted")
    if raw.startswith(_MARK) or b"\r\n" in raw:
        done.append(f"{path}: removed byte order mark or carriage returns")
    if raw and not raw.endswith(b"\n"):
        done.append(f"{path}: added the missing newline at the end")
    return done


def _write_tables(data: Path, tables: Mapping[str, Table], chosen: Mapping[str, dict[str, str]]) -> list[str]:
    """Write the tables that change, after a backup, and return in words what `_line_repairs` does not mention."""
    done = []
    for name, values in chosen.items():
        path = data / name
        if name == "text":
            spaced = {utt: " ".join(ODD_SPACE.sub(" ", value).split()) for utt, value in values.items()}
            changed = sum(bool(ODD_SPACE.search(value)) for value in values.values())
            values = spaced if changed else values
            done += [f"{path}: replaced odd white space by blanks in {changed} lines"] if changed else []
        before = tables[name] if name in tables else Table(path)
        if name == "spk2utt" and before.values != values:
            done.append(f"{path}: rebuilt from utt2spk")
        elif name in DURATIONS and before.values != values:
            changed = sum(before.values.get(key) != value for key, value in values.items())
            done.append(f"{path}: wrote the durations of {changed} of {len(values)} entries")
        elif len(values) < len(before.values):
            done.append(f"{path}: {len(before.values) - len(values)} of {len(before.values)} entries dropped")
        repaired = before.problems or before.values != values
        if (
            repaired
            or not path.exists()
            or _content(path) != path.read_bytes()
            or not path.read_bytes().endswith(b"\n")
        ):
            back_up(path)
            write_table(path, values)
    return done


def _fix_phones(path: Path, keep: set[str]) -> list[str]:
    """Sort alignments, and drop malformed lines and those of dropped utterances; return what was done, in words."""
    alignments, problems = scan_ctm(path, _content(path))
    kept = {utt: sorted(phones) for utt, phones in alignments.items() if utt in keep}
    done = [f"repaired {problem}" for problem in problems]
    if len(kept) < len(alignments):
        done.append(f"{path}: dropped the phones of {len(alignments) - len(kept)} utterances")
    if done:
        back_up(path)
        write_ctm(path, kept)
    return done


def back_up(path: Path) -> None:
    """Copy a file, if it exists, into the folder `.backup/` next to it, under a free name."""
    if not path.exists():
        return
    folder = path.parent / ".backup"
    claim_folder(folder, "backup")
    copy, number = folder / path.name, 1
    while copy.exists():
        number += 1
        copy = folder / f"{path.name}.{number}"
    files.copy_file(path, copy)
