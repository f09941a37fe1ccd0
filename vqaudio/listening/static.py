"""`vqaudio listen static` and `import`: writes a test as plain files for any web server, and imports its results."""

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

from vqaudio import files
from vqaudio.errors import JobError
from vqaudio.listening.answers import parse_events, parse_page, wanted_answers
from vqaudio.listening.key import Key, read_key
from vqaudio.listening.pages import page_list, session_for_browser
from vqaudio.listening.people import now_ms
from vqaudio.listening.store import SequenceTaken, Store
from vqaudio.listening.study import Study, read_study
from vqaudio.outputs import check_new

PAGE = Path(__file__).parent / "page"
"""The page that every test shows; it is served from here, so that its repairs reach tests that are running."""

FORMAT = "vqaudio-listening-1"
MAX_RESULT_BYTES = 1 << 24


def write_static(test: Path, out: Path) -> None:
    """Write the page, the audio and a session for each listener to a new folder that any web server can offer.

    The folder contains tokens and orders, but no labels. The page keeps answers in the browser and ends with a result
    file to download, which `import_results` reads.

    Raises:
        UserError: `out` exists, lies in `test` or cannot be written, or `test` contains no test.
    """
    key, study = read_key(test), read_study(test)
    check_new(out, inputs=[test])
    partial = out.with_name(f"{files.PARTIAL}{secrets.token_hex(8)}")
    try:
        shutil.copytree(PAGE, partial)
        shutil.copytree(test / "public" / "audio", partial / "audio")
        (partial / "sessions").mkdir()
        for folder in ("audio", "sessions"):
            (partial / folder / "index.html").touch()  # or a web server lists the tokens
        with Store.snapshot(test) as store:
            for listener, token in store.listeners():
                session = session_for_browser(key, study, store, listener) | {"static": True}
                files.atomic_write(partial / "sessions" / f"{token}.json", json.dumps(session) + "\n")
        partial.rename(out)
    except OSError as error:
        raise files.explain(error, out, "cannot be written") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def import_results(test: Path, results: list[Path]) -> int:
    """Save the answers of result files that listeners downloaded; return the number of new answers.

    A file may be imported again, also with more answers. If a file is rejected, the others are imported.

    Raises:
        UserError: `test` contains no test.
        JobError: files were rejected; the message names the first, and why.
    """
    key, study = read_key(test), read_study(test)
    count = 0
    rejected = []
    with Store(test) as store:
        for path in results:
            try:
                count += _import_result(key, study, store, path)
            except ValueError as error:  # UserError, too
                rejected.append(f"{path}: not imported: {error}")
    if rejected:
        more = f" (and {len(rejected) - 1} more files)" if len(rejected) > 1 else ""
        raise JobError(rejected[0] + more)
    return count


def _import_result(key: Key, study: Study, store: Store, path: Path) -> int:
    """Save the answers of one file and return how many are new.

    Raises:
        ValueError: the file is rejected; the message is the reason.
    """
    data = _read_result(path)
    listener = store.find(str(data.get("token")))
    if listener is None:
        raise ValueError("its token belongs to no listener of this test; choose the test that it came from")
    session, now = store.session(listener), now_ms()
    page = parse_page(data.get("page"), len(page_list(key, study, session)))
    events = parse_events(data.get("events"), wanted_answers(key, study, session))
    try:
        added = store.save(listener, events, now)
    except SequenceTaken as error:
        raise ValueError(
            f"answer {error} of {listener} differs from the one imported before; use the file of one browser only"
        ) from None
    store.reach(listener, page, now)
    return added


def _read_result(path: Path) -> dict[str, Any]:
    """Return the content of a result file.

    Raises:
        ValueError: it is not a result file; the message says why.
    """
    try:
        if path.stat().st_size > MAX_RESULT_BYTES:
            raise ValueError(f"larger than {MAX_RESULT_BYTES} bytes, so not a result file; choose another file")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror}); check the path") from None
    except RecursionError:
        raise ValueError("not a result file; choose another file") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f"not a result file of a static test ('format' is not {FORMAT}); choose another file")
    return data
