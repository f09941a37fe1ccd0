"""The words of the listening page: every language has them all."""

import re
from typing import Any

import pytest
import yaml

from vqaudio.listening.texts import FOLDER, languages


def words(content: Any, name: str = "") -> dict[str, str]:
    """All texts by name, those of a list by number."""
    if isinstance(content, str):
        return {name: content}
    parts = content.items() if isinstance(content, dict) else enumerate(content)
    return {key: text for part, value in parts for key, text in words(value, f"{name}.{part}").items()}


def read(language: str) -> dict[str, str]:
    return words(yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize("language", languages())
def test_every_language_has_the_same_words_with_the_same_places_to_fill_in(language) -> None:
    english, other = read("en"), read(language)
    assert list(other) == list(english)
    for name, text in english.items():
        assert set(re.findall(r"\{\w+\}", other[name])) == set(re.findall(r"\{\w+\}", text)), name
        assert other[name].strip() == other[name] != ""


def test_every_word_is_used_by_the_page() -> None:
    page = FOLDER.parent / "page"
    code = "\n".join(path.read_text(encoding="utf-8") for path in page.glob("*.js"))
    names = {re.sub(r"\.\d+$", "", name).lstrip(".") for name in read("en")}
    built = ("types.", "state.", "form.", "welcome.", "join.", "trial.keys_")  # names that are put together
    assert [name for name in names if not name.startswith(built) and f'"{name}"' not in code] == []
