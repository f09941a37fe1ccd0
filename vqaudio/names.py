"""File names out of utterance and speaker ids: an id never decides in which folder a file goes."""

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

MAX_BYTES = 200
"""Longest file name without its suffix; file systems take 255 bytes, and temporary names add to it."""

FORBIDDEN = set('/\\:*?"<>|%')
"""Characters that some file system, or the escape of this module, does not take; white space and controls join them."""


def file_name(name: str) -> str:
    """Return the name of a file for an id, without suffix: the id itself where that is safe.

    Characters that a file system may not take are written as `%2F`, a dot at the beginning as `%2E`; a name that is
    too long is cut, and a hash of the id keeps it apart from others.

    >>> file_name("p225_001"), file_name("19/19_00"), file_name("../x")
    ('p225_001', '19%2F19_00', '%2E.%2Fx')
    """
    escaped = "".join(_escape(character) if _unsafe(character) else character for character in name)
    if escaped.startswith("."):
        escaped = _escape(".") + escaped[1:]
    if len(escaped.encode()) <= MAX_BYTES:
        return escaped
    mark = hashlib.sha256(name.encode()).hexdigest()[:16]
    kept = escaped.encode()[: MAX_BYTES - len(mark) - 1].decode(errors="ignore")
    return f"{kept}%{mark}"


def collisions(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of ids that would share a file on some system: they differ in case or Unicode form alone."""
    first: dict[str, str] = {}
    pairs = []
    for name in names:
        known = first.setdefault(_folded(name), name)
        if known != name:
            pairs.append((known, name))
    return pairs


def by_folded(names: Iterable[str]) -> dict[str, str]:
    """Return names by what is left of them without case and Unicode form, for `variant_note`."""
    return {_folded(name): name for name in names}


def variant_note(name: str, others: Mapping[str, str]) -> str:
    r"""Return a note, to follow the name, if the `others` (`by_folded`) have it in another form; else "".

    >>> variant_note("Zo\u00eb", by_folded(["Zoe\u0308"]))
    ", but 'Zoe\\u0308', which differs in case or Unicode form alone"
    """
    other = others.get(_folded(name), name)
    return "" if other == name else f", but {other!a}, which differs in case or Unicode form alone"


def path_note(path: Path) -> str:
    """Return a note, to follow "no such file", if the file exists in another case or Unicode form; else ""."""
    text = str(path)
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    near = [Path(form) for form in forms if form != text]
    near += [path.with_name(name) for name in (path.name.lower(), path.name.upper()) if name != path.name]
    near += [path.with_suffix(suffix) for suffix in (path.suffix.lower(), path.suffix.upper()) if suffix != path.suffix]
    found = next((other for other in near if other.is_file()), None)
    return f", but {found.name!a}, which differs in case or Unicode form alone" if found else ""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _unsafe(character: str) -> bool:
    return character in FORBIDDEN or character.isspace() or not character.isprintable()


def _escape(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode(errors="surrogatepass"))
