"""The words of the page: a YAML file for each language in `texts/`, and a study's own words laid over them."""

from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "texts"


@cache
def languages() -> tuple[str, ...]:
    """Return the languages of the page, English first."""
    found = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    return tuple(sorted(found, key=lambda name: name != "en"))


@cache
def _language(name: str) -> dict[str, Any]:
    import yaml

    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def page_texts(language: str, own: dict[str, Any]) -> dict[str, Any]:
    """Return all words of the page: those of a language, with a study's `own` in their place."""
    return _overlay(_language(language), own)


def check_own(own: Any) -> dict[str, Any]:
    """Return a study's own words, which have the form of those of a language but need not be complete.

    Raises:
        ValueError: there is no such text on the page, or it is not of the same form.
    """
    _compare(_language("en"), own, "texts")
    return own


def _compare(known: Any, own: Any, where: str) -> None:
    if isinstance(known, dict):
        if not isinstance(own, dict):
            raise ValueError(f"{where}: not a mapping; it may have {', '.join(known)}")
        for name, value in own.items():
            if name not in known:
                raise ValueError(f"{where}: {name!r} is not known; it may have {', '.join(known)}")
            _compare(known[name], value, f"{where}.{name}")
    elif isinstance(known, list):
        if not isinstance(own, list) or len(own) != len(known):
            raise ValueError(f"{where}: must be a list of {len(known)} texts, like {known}")
        for n, value in enumerate(own):
            _compare(known[n], value, f"{where}[{n}]")
    elif not isinstance(own, str) or not own.strip():
        raise ValueError(f"{where}: {own!r} is not a text; put it in quotes")


def _overlay(known: Any, own: Any) -> Any:
    if isinstance(known, dict) and isinstance(own, dict):
        return {name: _overlay(value, own[name]) if name in own else value for name, value in known.items()}
    return own
