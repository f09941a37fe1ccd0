"""Data directories for parallel jobs."""

from pathlib import Path

from vqaudio.datadir.layout import TABLES, tables_of
from vqaudio.datadir.subset import select
from vqaudio.datadir.tables import read_ctm, refuse, scan_table, write_ctm, write_table
from vqaudio.datadir.utterances import read_spans, read_utterances
from vqaudio.errors import UserError


def split(data: str | Path, out: str | Path, jobs: int) -> list[Path]:
    """Write the utterances of a data directory as `out/1` … `out/N`, and return these N folders.

    In order, by utterance, and as even as can be: sizes differ by one at most. N is `jobs`, or the number of
    utterances where that is less. Every table is split, and phones.ctm. A second run, with any number of jobs,
    replaces what an earlier one wrote.

    Raises:
        UserError: `jobs` is less than 1, or `read_utterances` or another table is refused.
    """
    data, out = Path(data), Path(out)
    if jobs < 1:
        raise UserError(f"{out}: {jobs} jobs: give 1 or more")
    utts = [u.utt for u in read_utterances(data)]
    if not utts:
        raise UserError(f"{data}: holds no utterances, there is nothing to split: fill it")
    kinds = tables_of(data)
    tables = {name: scan_table(data / name, kind.what) for name, kind in kinds.items()}
    refuse([problem for table in tables.values() for problem in table.problems])
    spans = read_spans(data, tables["wav.scp"].values)
    phones = read_ctm(data / "phones.ctm") if (data / "phones.ctm").exists() else None
    count = min(jobs, len(utts))
    folders = [out / str(job) for job in range(1, count + 1)]
    _clear(out)
    for job, folder in enumerate(folders):
        part = utts[len(utts) * job // count : len(utts) * (job + 1) // count]
        folder.mkdir(parents=True, exist_ok=True)
        for name, values in select(tables, kinds, spans, part).items():
            write_table(folder / name, values)
        if phones is not None:
            write_ctm(folder / "phones.ctm", {utt: phones[utt] for utt in part if utt in phones})
    return folders


def _clear(out: Path) -> None:
    """Remove the tables of an earlier split, and its folders where nothing else is in them."""
    for folder in out.glob("[1-9]*"):
        if not folder.name.isdecimal():
            continue
        for name in (*TABLES, "phones.ctm"):
            (folder / name).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
