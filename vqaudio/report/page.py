"""The page about a run: one file of HTML with everything inside, to be sent as it is."""

from collections.abc import Iterable
from datetime import date
from html import escape
from pathlib import Path

from vqaudio import __version__, files
from vqaudio.report.charts import usage_chart
from vqaudio.report.curves import learning_curves
from vqaudio.report.facts import model_facts, training_facts
from vqaudio.report.html import html_page, missing, section
from vqaudio.report.phones import heat_map
from vqaudio.report.run import Run
from vqaudio.report.samples import MAX_SECONDS, sample_html
from vqaudio.report.tables import (
    AUDIO_SCORES,
    SET_MEANING,
    UNIT_SCORES,
    audio_columns,
    ordered,
    score_table,
    tiles,
    unit_columns,
)

BOUNDARIES_SWITCH = (
    '<label class="note"><input type="checkbox" id="boundaries" checked> '
    "Boundaries of units on the spectrograms</label>"
)
"""Works without a script: the style sheet hides the lines when it is off."""
TABLE_NOTE = '<p class="note">Small: 95 % intervals by bootstrap over speakers. Bold: the best of its set.</p>'


def build_report(exp: Path, out: Path | None = None) -> Path:
    """Write a page about what the run has so far to `out`, by default `exp/report.html`, and return its path.

    The page is one file without any outside resource. A part of the run that is missing or broken is left out, and
    a sentence says so.

    Raises:
        UserError: there is no such directory, or it cannot be written to.
    """
    run = Run(exp)
    sections = [_samples(run), _scores(run), _phones(run), _usage(run), _curves(run), _model(run), _timing(run)]
    body = _header(run) + "".join(sections) + notes([run])
    path = out or exp / "report.html"
    files.atomic_write(path, html_page(exp.resolve().name, body))
    return path


def _header(run: Run) -> str:
    parts = [date.today().isoformat(), f"vqaudio {__version__}"]
    if run.model is not None:
        config = run.model.config
        codes = f"{config.quantizer.options.codebook_size} codes"
        size = model_facts(run.model)["parameters"].partition(" (")[0]
        parts = [
            f"{config.quantizer.name} units, {codes}",
            f"{size} parameters",
            *training_facts(run.metrics).values(),
            *parts,
        ]
    line = " · ".join(parts)
    title = f'<h1>{escape(run.exp.resolve().name)}</h1>\n<p class="muted">{escape(line)}</p>'
    return f"<header>\n{title}\n{tiles(run.scores)}</header>\n"


def set_heading(name: str, what: str = "") -> str:
    """Return the heading of what the page shows of a set."""
    meaning = ", ".join(filter(None, (what, SET_MEANING.get(name))))
    return f"<h3>{escape(name)}{f' <span class=muted>{meaning}</span>' if meaning else ''}</h3>"


def _samples(run: Run) -> str:
    if not run.wavs:
        return section("Listen", missing("There are no reconstructions yet; `vqaudio decode` makes them."))
    parts = [
        '<p class="note">Utterances from the best to the worst by ESTOI. Spectrograms are log-mel, 0 to 8 kHz; above '
        "them phones, where they are known, and units, each code in a colour of its own. All players have the same "
        f"loudness and play at most {MAX_SECONDS:g} seconds.</p>{BOUNDARIES_SWITCH}"
    ]
    for name in ordered(run.wavs):
        samples = run.samples(name, run.choose(name, run.utterances(name)))
        parts += [set_heading(name), *map(sample_html, samples)]
        if not samples:
            parts.append(missing("This set has no utterance."))
    return section("Listen", "\n".join(parts))


def _scores(run: Run) -> str:
    runs = [("this run", run.scores)]
    units = [column for name in ordered(run.scores.get("units", {})) for column in unit_columns(runs, name)]
    audio = [column for name in ordered(run.scores.get("audio", {})) for column in audio_columns(runs, name)]
    if not units and not audio:
        return section("Scores", missing("There are no scores yet; `vqaudio evaluate` computes them."))
    parts = []
    if units:
        parts += ["<h3>What the units say, and what they cost</h3>", score_table("unit scores", UNIT_SCORES, units)]
        if any("intervals" in column.scores for column in units):
            parts.append(TABLE_NOTE)
    if audio:
        parts += ["<h3>How close the reconstructions are</h3>", score_table("audio scores", AUDIO_SCORES, audio)]
    return section("Scores", "\n".join(parts))


def _phones(run: Run) -> str:
    maps = []
    for name in ordered(name for name in run.units if name != "train"):
        table = run.phones(name)
        if table is not None:
            maps.append(heat_map(name, table))
    if not maps:
        return section("Phones of units", missing("No set has units and phones (phones.ctm in its data directory)."))
    note = (
        "Rows are phones by manner of articulation, silence left out; columns are units. Point at one for its phones."
    )
    return section("Phones of units", f'<p class="note">{note}</p>{"".join(maps)}')


def _curves(run: Run) -> str:
    charts = learning_curves(run.metrics)
    if not charts:
        return section("Learning curves", missing("Training has logged nothing yet (metrics.jsonl)."))
    return section("Learning curves", f'<div class="charts">{charts}</div>')


def _usage(run: Run) -> str:
    if not run.units:
        return section("Code usage", missing("There are no units yet; `vqaudio extract` writes them."))
    charts = []
    for name in ordered(run.units):
        shares, size = run.usage(name)
        used = sum(share > 0 for share in shares)
        charts.append(usage_chart(name, shares, f"{used} of {size} codes occur; share of frames, dashed: all alike"))
    return section("Code usage", f'<div class="charts">{"".join(charts)}</div>')


def _model(run: Run) -> str:
    if run.model is None:
        return section("Model", missing("There is no complete model yet."))
    from omegaconf import OmegaConf

    facts = {**model_facts(run.model), **training_facts(run.metrics)}
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    config = escape(OmegaConf.to_yaml(run.model.config))
    return section(
        "Model",
        f'<dl class="facts">{listed}</dl>\n<details><summary>Configuration</summary><pre>{config}</pre></details>',
    )


def _timing(run: Run) -> str:
    seconds = run.scores.get("seconds", {})
    if not seconds:
        return ""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{value:.0f} s</td></tr>" for name, value in seconds.items())
    rows += f"<tr><th>all</th><td>{sum(seconds.values()):.0f} s</td></tr>"
    return section("Time", f"<table><tbody>{rows}</tbody></table>")


def notes(runs: Iterable[Run]) -> str:
    """Return a section with what could not be read; nothing where everything could."""
    lines = dict.fromkeys(line for run in runs for line in run.notes)
    return section("What could not be read", "".join(map(missing, lines))) if lines else ""
