"""`vqaudio listen status` and `backup`: who has finished, and a copy that can be taken while a test is served."""

import secrets
import shutil
from collections import Counter
from datetime import datetime
from pathlib import Path
from statistics import median

from vqaudio import files
from vqaudio.listening.key import read_key
from vqaudio.listening.pages import page_list
from vqaudio.listening.people import FINISHED, SCREENED, Person, people
from vqaudio.listening.store import Store, results_path
from vqaudio.listening.study import read_study
from vqaudio.outputs import check_new

NOT_STARTED, WORKING = "not started", "at work"


def status(test: Path, *, ids: bool = False) -> str:
    """Return a table of the listeners of a test, with their ids on the platform if wanted, and a summary.

    Raises:
        UserError: the folder contains no test.
    """
    key, study = read_key(test), read_study(test)
    rows = [["listener", *(["id"] if ids else []), "state", "answers", "minutes", "last seen"]]
    counts: Counter[str] = Counter()
    minutes = []
    with Store.snapshot(test) as store:
        for listener, person in people(store).items():
            state = state_of(person, store.page(listener), len(page_list(key, study, store.session(listener))))
            counts[state] += 1
            spent = person.minutes if state == FINISHED else None
            minutes += [spent] if spent else []
            seen = "–" if person.seen_ms is None else f"{datetime.fromtimestamp(person.seen_ms / 1000):%Y-%m-%d %H:%M}"
            more = [person.person or "–"] if ids else []
            rows.append([listener, *more, state, str(person.answers), _minutes(person.minutes), seen])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    limit = f" of {study.platform.limit} wanted" if study.platform and study.platform.limit else ""
    summary = f"{counts[FINISHED]} finished{limit}, {counts[WORKING]} at work, {counts[SCREENED]} screened out"
    taken = f"; median {median(minutes):.0f} minutes" if minutes else ""
    return "\n".join([*lines, f"{summary}, {counts[NOT_STARTED]} not started{taken}"])


def state_of(person: Person, page: int, pages: int) -> str:
    """Return the state of a listener; where no server says that they have finished, the last page does."""
    if person.outcome:
        return person.outcome
    if page == pages - 1:
        return FINISHED
    return NOT_STARTED if person.started_ms is None else WORKING


def backup(test: Path, out: Path) -> None:
    """Copy key, study and answers of a test to a new folder, which can be analysed; the test may be served meanwhile.

    Raises:
        UserError: `out` exists or cannot be written, or the folder contains no test.
    """
    read_key(test)
    check_new(out, inputs=[test])
    partial = out.with_name(f"{files.PARTIAL}{secrets.token_hex(8)}")
    try:
        (partial / "private").mkdir(parents=True, mode=0o700)
        for name in ("key.json", "study.json", "skipped.tsv"):
            if (test / "private" / name).exists():
                files.atomic_write(partial / "private" / name, (test / "private" / name).read_bytes())
        with Store.snapshot(test) as store:
            files.atomic_write(results_path(partial), store.content())
        partial.rename(out)
    except OSError as error:
        raise files.explain(error, out, "cannot be written") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _minutes(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"
