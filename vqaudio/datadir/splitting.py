"""Splits a data directory into parts for parallel jobs."""

from pathlib import Path

from vqaudio.datadir.layout import TABLES, tables_of
from vqaudio.datadir.stream import read_utterances
from vqaudio.datadir.subset import select
from vqaudio.datadir.tables import read_ctm, refuse, scan_table, write_ctm, write_table
from vqaudio.datadir.utterances import read_spans
from vqaudio.errors import UserError
from vqaudio.outputs import MARK, claim_folder

KIND = "data split"
"""What the marks of `out` and of its parts say (see `vqaudio.outputs`)."""


def split(data: str | Path, out: str | Path, jobs: int) -> list[Path]:
    """Write the utterances of a data directory as `out/1` … `out/N`, and return these N folders.

    Utterances stay in order, and the sizes of the parts differ by one at most. N is `jobs`, or the number of utterances
    if that is less. Every table is split, and phones.ctm. A second run, with any number of jobs, replaces the tables of
    an earlier one; it touches no folder that `split` did not make.

    Raises:
        UserError: `jobs` is less than 1, `out` or a part of it holds other files than those of an earlier split, `out`
            is, holds or lies in `data`, or a table of `data` is malformed.
    """
    data, out = Path(data), Path(out)
    if jobs < 1:
        raise UserError(f"{out}: {jobs} jobs; give 1 or more")
    utts = [u.utt for u in read_utterances(data)]
    if not utts:
        raise UserError(f"{data}: holds no utterances, so there is nothing to split; fill it")
    kinds = tables_of(data)
    tables = {name: scan_table(data / name, kind.what) for name, kind in kinds.items()}
    refuse([problem for table in tables.values() for problem in table.problems])
    spans = read_spans(data, tables["wav.scp"].values)
    phones = read_ctm(data / "phones.ctm") if (data / "phones.ctm").exists() else None
    count = min(jobs, len(utts))
    folders = [out / str(job) for job in range(1, count + 1)]
    claim_folder(out, KIND, inputs=[data])
    for folder in folders:
        claim_folder(folder, KIND)
    _clear(out, folders)
    for job, folder in enumerate(folders):
        part = utts[len(utts) * job // count : len(utts) * (job + 1) // count]
        for name, values in select(tables, kinds, spans, part).items():
            write_table(folder / name, values)
        if phones is not None:
            write_ctm(folder / "phones.ctm", {utt: phones[utt] for utt in part if utt in phones})
    return folders


def _clear(out: Path, parts: list[Path]) -> None:
    """Remove the tables of an earlier split, and those of its folders that are not `parts` and hold nothing else."""
    for folder in out.glob("[1-9]*"):
        if not (folder.name.isdecimal() and (folder / MARK).is_file()):
            continue
        for name in (*TABLES, "phones.ctm"):
            (folder / name).unlink(missing_ok=True)
        if folder not in parts and [path.name for path in folder.iterdir()] == [MARK]:
            (folder / MARK).unlink()
            folder.rmdir()
