"""The card of a model that travels: a README.md of what its directory tells, and of nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import vqaudio
from vqaudio.model_directory import LoadedModel
from vqaudio.report.facts import model_facts, read_metrics, training_facts
from vqaudio.report.run import read_scores
from vqaudio.report.tables import (
    AUDIO_SCORES,
    SET_MEANING,
    UNIT_SCORES,
    Column,
    ScoreTable,
    audio_columns,
    ordered,
    score_table,
    unit_columns,
)

HEAD = """---
library_name: vqaudio
pipeline_tag: audio-to-audio
tags:
- speech
- discrete-units
---

# {name}

A model of [vqaudio](https://pypi.org/project/vqaudio/) {version} that turns speech into discrete units, and units into
speech.

```bash
pip install 'vqaudio[hub]'
vqaudio pull {repo} {name}
vqaudio extract --model {name} --out units speech.wav   # units/units.txt
vqaudio decode --model {name} --units units --out wavs
```

`config.yaml` has all settings of the training, without paths.
"""


def make_card(model_dir: Path, loaded: LoadedModel, repo: str) -> str:
    """Return the card of a model for a repository: how to use it, its sizes, its training, and its scores.

    Raises:
        UserError: a file of the model directory about training or scores is malformed.
    """
    parts = [HEAD.format(name=repo.rpartition("/")[2], repo=repo, version=vqaudio.__version__)]
    facts = {**model_facts(loaded), **training_facts(read_metrics(model_dir)), **_speech(model_dir)}
    rows = [f"| {name} | {_cell(value)} |" for name, value in facts.items()]
    parts.append("\n".join(["## Model", "", "| | |", "|---|---|", *rows]) + "\n")
    scores = read_scores(model_dir)
    for title, key, groups, columns in (
        ("Units", "units", UNIT_SCORES, unit_columns),
        ("Speech from units", "audio", AUDIO_SCORES, audio_columns),
    ):
        shown = [column for name in ordered(scores.get(key, {})) for column in columns([("this model", scores)], name)]
        if shown:
            parts.append("\n".join([f"## {title}", "", *_markdown(score_table(title, groups, shown))]) + "\n")
    return "\n".join(parts)


def _speech(model_dir: Path) -> dict[str, str]:
    """Return how much speech the model was trained on, from the first line of its log that says so."""
    path = model_dir / "train.log"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.search(r"INFO (\d+\.\d+ hours of speech, \d+ speakers), ", text)
    return {"trained on": found[1]} if found else {}


def _markdown(table: ScoreTable) -> Iterator[str]:
    """Yield the lines of a table of scores."""
    names = [f"{column.set}: {_named(column)}" for column in table.columns]
    yield f"| | {' | '.join(map(_cell, names))} |"
    yield "|---" * (1 + len(names)) + "|"
    for title, rows in table.groups:
        for score, cells in rows:
            values = (f"{cell.text} [{cell.bounds}]" if cell.bounds else cell.text for cell in cells)
            yield f"| {f'{title}: ' if title else ''}{score.name} | {' | '.join(values)} |"
    if meanings := [f"{name}: {SET_MEANING[name]}" for name, _, _ in table.sets if name in SET_MEANING]:
        yield ""
        yield f"{'; '.join(meanings)}."


def _named(column: Column) -> str:
    return f"{column.name} ({column.note})" if column.note else column.name


def _cell(text: str) -> str:
    r"""Return text for a cell of a table, in which a line and its end would begin others.

    >>> _cell("a|b")
    'a\\|b'
    """
    return " ".join(text.replace("|", r"\|").split())


__all__ = ["make_card"]
