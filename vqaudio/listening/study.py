"""Reads the study file of a test: what listeners are told and asked, who may take part, and how it ends for them."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vqaudio import files
from vqaudio.errors import UserError
from vqaudio.listening.texts import check_own, languages

PARAMETERS = ("PROLIFIC_PID", "workerId", "participant")
"""Names under which platforms send the id of a listener in the address: Prolific, Mechanical Turk, and others."""

ENDINGS = ("finished", "screened", "full")
QUESTION_TYPES = ("text", "number", "choice")
MAX_STUDY_BYTES = 1 << 18


@dataclass(frozen=True)
class Question:
    """A question of a form. A number must be from `min` to `max`.

    A choice in `screen_out`, or a number below `screen_below` or above `screen_above`, ends the test for the listener.
    """

    name: str
    ask: str
    type: str = "text"
    required: bool = True
    choices: tuple[str, ...] = ()
    min: int | None = None
    max: int | None = None
    screen_out: tuple[str, ...] = ()
    screen_below: int | None = None
    screen_above: int | None = None

    def screens_out(self, answer: int | str) -> bool:
        """Return whether this answer ends the test."""
        if isinstance(answer, str):
            return answer in self.screen_out
        low, high = self.screen_below, self.screen_above
        return (low is not None and answer < low) or (high is not None and answer > high)


@dataclass(frozen=True)
class Ending:
    """What a listener gets at the end: a completion code to copy, an address to return to, or both."""

    code: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Platform:
    """One address for all listeners of a platform, which adds their id to it.

    `limit` is the number of listeners wanted, 0 for any. After `idle_minutes`, the place of a listener is free again.
    """

    parameters: tuple[str, ...] = PARAMETERS
    required: bool = True
    limit: int = 0
    idle_minutes: int = 60
    finished: Ending = Ending()
    screened: Ending = Ending()
    full: Ending = Ending()


@dataclass(frozen=True)
class Study:
    """All that is not audio: `texts` are own words in place of those of the `language`."""

    title: str | None = None
    contact: str | None = None
    language: str = "en"
    texts: dict[str, Any] = field(default_factory=dict)
    consent: str | None = None
    before: tuple[Question, ...] = ()
    after: tuple[Question, ...] = ()
    headphones: bool = False
    quiet: bool = False
    gold: int = 0
    attention: str | None = None
    allowed_failures: int = 0
    platform: Platform | None = None

    @property
    def questions(self) -> dict[str, Question]:
        """All questions by name."""
        return {question.name: question for question in (*self.before, *self.after)}


def read_study_file(path: Path) -> Study:
    """Read a study from YAML or JSON; a path in it is relative to its folder.

    Raises:
        UserError: the file cannot be read, or says something that a study does not have.
    """
    import yaml

    try:
        if path.stat().st_size > MAX_STUDY_BYTES:
            raise UserError(f"{path}: larger than {MAX_STUDY_BYTES} bytes; is it a study file?")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; save it as UTF-8") from None
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())[:200]}); correct it") from None
    try:
        study = _study({} if data is None else data)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if study.attention is None:
        return study
    return Study(**{**vars(study), "attention": str(path.parent / study.attention)})


def write_study(test: Path, study: Study) -> None:
    """Write the study of a test."""
    files.atomic_write(_path(test), json.dumps(asdict(study), indent=1, ensure_ascii=False) + "\n")


def read_study(test: Path) -> Study:
    """Read the study of a test; a test without one has the usual words and personal links.

    Raises:
        UserError: the file is damaged.
    """
    path = _path(test)
    try:
        return _study(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Study()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the folder") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}); restore it from a copy") from None


def _path(test: Path) -> Path:
    return test / "private" / "study.json"


def _study(data: Any) -> Study:
    """Return a study from its mapping.

    Raises:
        ValueError: something in it is wrong; the message says what, and how it must be.
    """
    known = _known(data, Study, "the file")
    found: dict[str, Any] = {}
    for name in ("title", "contact", "consent", "attention"):
        found[name] = _text(name, known.get(name), optional=True)
    if found["consent"]:  # a line that ends in the file need not end on the page
        paragraphs = re.split(r"\n\s*\n", found["consent"])
        found["consent"] = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for name in ("headphones", "quiet"):
        found[name] = _flag(name, known.get(name, False))
    for name in ("gold", "allowed_failures"):
        found[name] = _whole(name, known.get(name, 0), 0, 100)
    found["language"] = known.get("language", "en")
    if found["language"] not in languages():
        raise ValueError(f"language: {found['language']!r} is not one of {', '.join(languages())}; choose one of them")
    found["texts"] = check_own(known.get("texts") or {})
    for name in ("before", "after"):
        found[name] = tuple(_question(name, entry) for entry in _list(name, known.get(name) or []))
    names = [question.name for part in ("before", "after") for question in found[part]]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"question {name}: is there twice; give every question its own name")
    if known.get("platform") is not None:
        found["platform"] = _platform(known["platform"])
    return Study(**found)


def _platform(data: Any) -> Platform:
    known = _known(data, Platform, "platform")
    if "parameters" in known:
        known["parameters"] = tuple(
            _text("platform.parameters", name) for name in _list("platform.parameters", known["parameters"])
        )
    if "required" in known:
        known["required"] = _flag("platform.required", known["required"])
    for name, least in (("limit", 0), ("idle_minutes", 1)):
        if name in known:
            known[name] = _whole(f"platform.{name}", known[name], least, 1_000_000)
    for name in ENDINGS:
        if name in known:
            known[name] = _ending(f"platform.{name}", known[name])
    return Platform(**known)


def _ending(name: str, data: Any) -> Ending:
    known = _known(data, Ending, name)
    code, url = _text(f"{name}.code", known.get("code"), optional=True), known.get("url")
    if url is not None:
        parts = urlsplit(_text(f"{name}.url", url))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{name}.url: {url!r} is not an address; give one that begins with https://")
    return Ending(code, url)


def _question(where: str, data: Any) -> Question:
    known = _known(data, Question, f"a question of {where}")
    name = _text(f"{where}: name", known.get("name"))
    if not name.isidentifier() or name == "consent":
        raise ValueError(
            f"{where}: the name {name!r} is not one word of letters, digits and _, or is consent; rename it"
        )
    kind = known.get("type", "text")
    if kind not in QUESTION_TYPES:
        raise ValueError(f"question {name}: type is {kind!r}; use one of {', '.join(QUESTION_TYPES)}")
    lists: dict[str, Any] = {
        part: tuple(
            _text(f"question {name}: {part}", entry)
            for entry in _list(f"question {name}: {part}", known.get(part) or [])
        )
        for part in ("choices", "screen_out")
    }
    if (kind == "choice") != bool(lists["choices"]):
        raise ValueError(f"question {name}: a choice needs choices, and other types have none; correct it")
    if strange := set(lists["screen_out"]) - set(lists["choices"]):
        raise ValueError(f"question {name}: screen_out has {sorted(strange)[0]!r}, which is not among its choices")
    bounds: dict[str, Any] = {
        part: None if known.get(part) is None else _whole(f"question {name}: {part}", known[part], -(10**9), 10**9)
        for part in ("min", "max", "screen_below", "screen_above")
    }
    return Question(
        name,
        _text(f"question {name}: ask", known.get("ask")),
        kind,
        _flag("required", known.get("required", True)),
        **lists,
        **bounds,
    )


def _known(data: Any, kind: type, where: str) -> dict[str, Any]:
    """Return a mapping whose names are fields of a dataclass."""
    names = list(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    if not isinstance(data, dict):
        raise ValueError(f"{where}: not a mapping; it may have {', '.join(names)}")
    for name in data:
        if name not in names:
            raise ValueError(f"{where}: {name!r} is not known; it may have {', '.join(names)}")
    return dict(data)


def _list(name: str, data: Any) -> list[Any]:
    if not isinstance(data, list | tuple):
        raise ValueError(f"{name}: not a list; write one entry after each '-'")
    return list(data)


def _text(name: str, data: Any, *, optional: bool = False) -> Any:
    if data is None and optional:
        return None
    if not isinstance(data, str) or not data.strip():
        raise ValueError(f"{name}: {data!r} is not a text; put it in quotes")
    return data.strip()


def _flag(name: str, data: Any) -> bool:
    if not isinstance(data, bool):
        raise ValueError(f"{name}: {data!r} is not true or false")
    return data


def _whole(name: str, data: Any, low: int, high: int) -> int:
    if type(data) is not int or not low <= data <= high:
        raise ValueError(f"{name}: {data!r} is not a whole number from {low} to {high}")
    return data
