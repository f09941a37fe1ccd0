"""The pages of a test, from the welcome to the end: what a browser gets to show, and who may go on."""

from typing import Any

from vqaudio.listening.answers import CONSENT, FORM
from vqaudio.listening.key import CHECK_SCALES, SCALES, WITH_REFERENCE, Key
from vqaudio.listening.people import FINISHED, SCREENED, people
from vqaudio.listening.sessions import oriented, rated_stimuli
from vqaudio.listening.store import Store, Value
from vqaudio.listening.study import Ending, Question, Study
from vqaudio.listening.texts import page_texts

MAX_WRONG = {"headphones": 1, "quiet": 1}
"""Wrong answers of a check with which a listener may go on: 5 of 6 right (Woods et al. 2017), and 3 of 4."""

Final = dict[tuple[str, str], Value]
LOOPING = ("mushra", "ab", "abx")


class Incomplete(Exception):  # noqa: N818 (an answer, not an error)
    """Something that must be answered is not."""


def page_list(key: Key, study: Study, session: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pages of a listener in order; `gate` marks those after which the server must let them go on."""
    pages: list[dict[str, Any]] = [{"kind": "welcome"}]
    if study.consent:
        pages.append({"kind": "consent", "text": study.consent})
    if study.before:
        pages.append({"kind": "form", "id": "before", "gate": True, "questions": list(map(_shown, study.before))})
    pages.append({"kind": "volume", "clip": _loud_clip(key, session)})
    for n, shown in enumerate(session):
        check = key.trials[shown["id"]].check
        following = session[n + 1]["id"] if n + 1 < len(session) else None
        last = check in MAX_WRONG and (following is None or key.trials[following].check != check)
        pages.append({"kind": "trial", "trial": n} | ({"gate": True} if last else {}))
    if study.after:
        pages.append({"kind": "form", "id": "after", "questions": list(map(_shown, study.after))})
    return [*pages, {"kind": "end"}]


def session_for_browser(
    key: Key, study: Study, store: Store, listener: str, *, preview: bool = False
) -> dict[str, Any]:
    """Return all that the page of a listener needs; its only names of clips and trials are random ones."""
    session, person = store.session(listener), people(store)[listener]
    return {
        "type": key.type,
        "scale": SCALES[key.type],
        "attribute": key.attribute,
        "sample_rate": key.sample_rate,
        "extension": key.extension,
        "language": study.language,
        "texts": page_texts(study.language, study.texts),
        "title": study.title,
        "contact": study.contact,
        "minutes": key.minutes,
        "pages": page_list(key, study, session),
        "page": store.page(listener),
        "trials": [_trial(key, shown) for shown in session],
        "values": [[trial, stimulus, value] for (trial, stimulus), value in store.final(listener).items()],
        "next_seq": store.next_seq(listener),
        "run": person.run,
        "static": False,
        "preview": preview,
        "platform": person.joined_ms is not None,
        "outcome": outcome(study, person.outcome) if person.outcome else None,
    }


def outcome(study: Study, name: str) -> dict[str, Any]:
    """Return how the test ended for a listener, with the code and the address for it."""
    ending = getattr(study.platform, name) if study.platform else Ending()
    return {"outcome": name, "code": ending.code, "url": ending.url}


def pass_gate(key: Key, study: Study, session: list[dict[str, Any]], page: int, final: Final) -> str | None:
    """Return `screened` if the answers up to a page end the test, None if the listener may go on.

    Raises:
        Incomplete: an answer on the page is missing.
    """
    for shown in page_list(key, study, session)[: page + 1]:
        lacking = _lacking(key, session, shown, final)
        if lacking:
            raise Incomplete(f"no answer to {lacking}")
    screened = any(
        study.questions[name].screens_out(value)
        for (trial, name), value in final.items()
        if trial == FORM and name in study.questions
    )
    return SCREENED if screened or _failed_checks(key, session, final) else None


def finish(key: Key, study: Study, session: list[dict[str, Any]], final: Final) -> str:
    """Return `finished`, or `screened` for who did not pass a gate.

    Raises:
        Incomplete: an answer is missing.
    """
    pages = page_list(key, study, session)
    return pass_gate(key, study, session, len(pages) - 1, final) or FINISHED


def failures(key: Key, session: list[dict[str, Any]], final: Final, check: str) -> tuple[int, int]:
    """Return how many answers to trials of a check are wrong, and how many there are."""
    wrong = answered = 0
    for shown in session:
        trial = key.trials[shown["id"]]
        if trial.check != check or trial.expected is None:
            continue
        for stimulus in rated_stimuli(key.kind(shown["id"]), shown):
            value = final.get((shown["id"], stimulus))
            if isinstance(value, int):
                low, high = trial.expected
                answered += 1
                wrong += not low <= oriented(key, shown, stimulus, value) <= high
    return wrong, answered


def _failed_checks(key: Key, session: list[dict[str, Any]], final: Final) -> bool:
    return any(failures(key, session, final, check)[0] > most for check, most in MAX_WRONG.items())


def _lacking(key: Key, session: list[dict[str, Any]], page: dict[str, Any], final: Final) -> str:
    """Return the name of the first answer that a page lacks, "" if it lacks none."""
    if page["kind"] == CONSENT:
        return "" if (FORM, CONSENT) in final else CONSENT
    if page["kind"] == "form":
        required = (q["name"] for q in page["questions"] if q["required"])
        return next((name for name in required if final.get((FORM, name), "") == ""), "")
    if page["kind"] == "trial":
        shown = session[page["trial"]]
        rated = rated_stimuli(key.kind(shown["id"]), shown)
        return next((f"trial {page['trial'] + 1}" for name in rated if (shown["id"], name) not in final), "")
    return ""


def _shown(question: Question) -> dict[str, Any]:
    """Return what the page may know of a question: not which answers end the test."""
    hidden = ("screen_out", "screen_below", "screen_above")
    return {name: value for name, value in vars(question).items() if name not in hidden}


def _trial(key: Key, shown: dict[str, Any]) -> dict[str, Any]:
    trial, kind = key.trials[shown["id"]], key.kind(shown["id"])
    return {
        **shown,
        "type": kind,
        "reference": trial.reference,
        "training": trial.training,
        "check": kind in CHECK_SCALES,
        "loop": trial.loop and kind in LOOPING,
    }


def _loud_clip(key: Key, session: list[dict[str, Any]]) -> str:
    """Return the clip by which the listener sets the volume: the first that is to be rated, or its reference."""
    first = next(shown for shown in session if key.kind(shown["id"]) not in CHECK_SCALES)
    reference = key.trials[first["id"]].reference if key.type in WITH_REFERENCE else None
    return reference or first["stimuli"][0]
