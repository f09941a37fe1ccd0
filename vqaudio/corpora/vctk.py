"""Reads a copy of VCTK: its layout, its speaker table and its utterances; lists what is left out and why."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vqaudio import audio
from vqaudio.datadir import Utterance
from vqaudio.errors import UserError

AUDIO_FOLDER = re.compile(r"wav\d*(_silence_trimmed)?$")
AUDIO_FILE = re.compile(r"(?P<utt>(?P<speaker>[^_]+)_[^_]+?)(_(?P<mic>mic\d))?\.(flac|wav|opus)$")


@dataclass(frozen=True)
class Layout:
    """Folders of a copy of VCTK: its `top`, the `recordings` and the `texts`."""

    top: Path
    recordings: Path
    texts: Path


@dataclass(frozen=True)
class Speaker:
    """A row of speaker-info.txt; `gender` is "m" or "f"; what the row leaves out is None (or "")."""

    age: int | None
    gender: str | None
    accent: str
    region: str


@dataclass
class Corpus:
    """Utterances sorted by id, `text` by utterance, `gender` by speaker, and `drops` as (utterance, reason)."""

    utterances: list[Utterance] = field(default_factory=list)
    text: dict[str, str] = field(default_factory=dict)
    gender: dict[str, str] = field(default_factory=dict)
    drops: list[tuple[str, str]] = field(default_factory=list)


def find_layout(root: Path) -> Layout:
    """Find VCTK in `root` or in a folder directly inside it: release 0.80 or 0.92, with or without speakers' folders.

    The recordings are in `wav48` (0.80), `wav48_silence_trimmed` (0.92) or a resampled copy such as `wav16`, the texts
    in `txt`.

    Raises:
        UserError: there are no such folders.
    """
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder; --vctk-root names the folder that contains wav48_silence_trimmed/ or wav48/"
        )
    for top in [root, *sorted(path for path in root.iterdir() if path.is_dir())]:
        folders = sorted(path for path in top.iterdir() if path.is_dir() and AUDIO_FOLDER.match(path.name))
        if folders and (top / "txt").is_dir():
            trimmed = [path for path in folders if path.name.endswith("_silence_trimmed")]
            return Layout(top, (trimmed or folders)[-1], top / "txt")
    raise UserError(
        f"{root}: no VCTK here; give a folder that contains wav48_silence_trimmed/ (0.92) or wav48/ (0.80), and txt/, "
        "itself or in a folder directly inside it"
    )


def read(root: Path) -> Corpus:
    """Read a copy of VCTK under `root`, microphone 1; `drops` lists what is left out, with the reasons.

    Left out are recordings without text (all of p315), the stray `p376_295.raw`, recordings by microphone 2 alone,
    links that lead nowhere, all but the last of several files of an utterance, and files that are empty or whose header
    cannot be read. Hidden files are passed over.

    Raises:
        UserError: there is no usable recording.
    """
    layout = find_layout(root)
    corpus = Corpus()
    recordings = _recordings(layout, corpus.drops)
    if not recordings:
        found = f" (but {': '.join(corpus.drops[0])})" if corpus.drops else ""
        raise UserError(
            f"{layout.recordings}: no recording here{found}; they must be named "
            "<speaker>/<speaker>_<number>_mic1.flac (0.92) or <speaker>/<speaker>_<number>.wav (0.80)"
        )
    for utt, path in sorted(recordings.items()):
        try:
            _check_link(path)
            audio.info(path)
            text = read_text(layout, utt)
        except UserError as error:
            corpus.drops.append((utt, _reason(error, layout.top)))
            continue
        corpus.utterances.append(Utterance(utt, path.absolute(), utt.rsplit("_", 1)[0]))
        corpus.text[utt] = text
    if not corpus.utterances:
        raise UserError(
            f"{layout.recordings}: none of {len(recordings)} recordings is usable, e.g. {': '.join(corpus.drops[-1])}; "
            "repair them"
        )
    corpus.gender = _genders(layout, {utterance.speaker for utterance in corpus.utterances})
    corpus.drops.sort()
    return corpus


def read_text(layout: Layout, utt: str) -> str:
    """Return the sentence of an utterance on one line, with collapsed white space.

    Raises:
        UserError: the text is missing, empty or not UTF-8.
    """
    speaker = utt.rsplit("_", 1)[0]
    path = layout.texts / speaker / f"{utt}.txt"
    if not (path.is_file() or path.is_symlink()):
        path = layout.texts / f"{utt}.txt"
    _check_link(path)
    if not path.is_file():
        note = " (VCTK has no text of p315)" if speaker == "p315" else ""
        raise UserError(f"no text{note}")
    try:
        text = " ".join(path.read_text(encoding="utf-8-sig").split())
    except UnicodeDecodeError:
        raise UserError(f"{path}: the text is not UTF-8") from None
    if not text:
        raise UserError(f"{path}: the text is empty")
    return text


def read_speakers(path: Path) -> dict[str, Speaker]:
    r"""Read speaker-info.txt by tokens: id, age, gender, accent, and a region of any number of words.

    Release 0.80 writes ids without "p"; comments in parentheses are dropped; rows may be missing.

    >>> import tempfile; path = Path(tempfile.mkdtemp()) / "speaker-info.txt"
    >>> _ = path.write_text("ID AGE GENDER ACCENTS REGION\n225  23  F    English    Southern  England\n")
    >>> read_speakers(path)
    {'p225': Speaker(age=23, gender='f', accent='English', region='Southern England')}
    """
    speakers = {}
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        tokens = re.sub(r"\([^)]*\)?", " ", line).split()
        if not tokens or tokens[0].upper() == "ID":
            continue
        name = f"p{tokens[0]}" if tokens[0].isdigit() else tokens[0]
        age, gender, accent, *region = [*tokens[1:], "", "", ""]
        speakers[name] = Speaker(
            age=int(age) if age.isdigit() else None,
            gender=gender.lower() if gender.lower() in ("m", "f") else None,
            accent=accent,
            region=" ".join(region).strip(),
        )
    return speakers


def _recordings(layout: Layout, drops: list[tuple[str, str]]) -> dict[str, Path]:
    """Return the recording of each utterance: that of microphone 1, or the only one in release 0.80."""
    found: dict[str, Path] = {}
    others: set[str] = set()
    for path in _files(layout.recordings):
        match = AUDIO_FILE.match(path.name)
        if match is None:
            drops.append((path.stem, f"{path.name}: not named like a recording of VCTK"))
        elif match["mic"] in (None, "mic1"):
            if (other := found.get(match["utt"])) is not None:
                drops.append((other.stem, f"{other.name}: {path.name} is used, a recording of the same utterance"))
            found[match["utt"]] = path
        else:
            others.add(match["utt"])
    drops += [(utt, "no recording by mic1") for utt in others - found.keys()]
    return found


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in `folder` and in the folders directly inside it, sorted, without hidden ones."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from sorted(file for file in path.iterdir() if not (file.name.startswith(".") or file.is_dir()))
        else:
            yield path


def _check_link(path: Path) -> None:
    """Raise a `UserError` if a file is a link that leads nowhere."""
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path}: the link leads nowhere, to {path.readlink()}; fetch the file (git annex get)")


def _genders(layout: Layout, speakers: set[str]) -> dict[str, str]:
    path = layout.top / "speaker-info.txt"
    if not path.is_file():
        return {}
    table = read_speakers(path)
    return {name: row.gender for name, row in sorted(table.items()) if name in speakers and row.gender}


def _reason(error: UserError, top: Path) -> str:
    return " ".join(str(error).replace(f"{top.absolute()}/", "").replace(f"{top}/", "").split())
