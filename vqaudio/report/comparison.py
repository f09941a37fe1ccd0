"""One page about several runs: their scores side by side, their curves in one chart, their voices in one row."""

from collections import Counter
from collections.abc import Iterable
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

from vqaudio import __version__, files
from vqaudio.errors import UserError
from vqaudio.report.charts import usage_chart
from vqaudio.report.curves import STYLES, overlaid_curves
from vqaudio.report.facts import model_facts, training_facts
from vqaudio.report.html import html_page, missing, section
from vqaudio.report.page import BOUNDARIES_SWITCH, TABLE_NOTE, notes, set_heading
from vqaudio.report.phones import heat_map
from vqaudio.report.run import Run
from vqaudio.report.samples import MAX_SECONDS, Sample, sample_html
from vqaudio.report.tables import AUDIO_SCORES, UNIT_SCORES, audio_columns, ordered, score_table, unit_columns

MAX_RUNS = len(STYLES)
SKIPPED_FACTS = ("hash", "speakers")
"""Facts of the models that are too long to stand beside each other."""


def build_comparison(exps: list[Path], out: Path) -> Path:
    """Write one page about several runs to `out`, and return its path.

    Raises:
        UserError: a directory is missing or given twice, there are more than `MAX_RUNS`, or `out` cannot be written.
    """
    if len(exps) > MAX_RUNS:
        raise UserError(f"{len(exps)} runs are more than a page can compare; name at most {MAX_RUNS}")
    twice = [str(path) for path, count in Counter(path.resolve() for path in exps).items() if count > 1]
    if twice:
        raise UserError(f"{twice[0]}: given twice; name each run once")
    runs = dict(zip(_names(exps), map(Run, exps), strict=True))
    parts = [_scores, _curves, _samples, _phones, _usage, _models]
    body = _header(runs) + "".join(part(runs) for part in parts) + notes(runs.values())
    files.atomic_write(out, html_page(" and ".join(runs), body))
    return out


def _names(exps: list[Path]) -> list[str]:
    """Return what to call each run: its tag, or its whole path where tags are the same."""
    tags = Counter(exp.resolve().name for exp in exps)
    return [exp.resolve().name if tags[exp.resolve().name] == 1 else str(exp) for exp in exps]


def _header(runs: dict[str, Run]) -> str:
    keys = "".join(
        f'<span class="key {style}">{escape(name)}</span>' for name, style in zip(runs, STYLES, strict=False)
    )
    line = f"{len(runs)} runs · {date.today().isoformat()} · vqaudio {__version__}"
    return f'<header>\n<h1>Comparison</h1>\n<p class="muted">{escape(line)}</p>\n<p>{keys}</p></header>\n'


def _scores(runs: dict[str, Run]) -> str:
    scores = [(name, run.scores) for name, run in runs.items()]
    sets = {key: _sets(run.scores.get(key, {}) for run in runs.values()) for key in ("units", "audio")}
    parts = []
    for name in sets["units"]:
        if columns := [column._replace(set="") for column in unit_columns(scores, name)]:
            parts += [set_heading(name, "units"), score_table(f"unit scores of {name}", UNIT_SCORES, columns)]
    if parts:
        parts.append(TABLE_NOTE)
    for name in sets["audio"]:
        if columns := [column._replace(set="") for column in audio_columns(scores, name)]:
            parts += [
                set_heading(name, "reconstructions"),
                score_table(f"audio scores of {name}", AUDIO_SCORES, columns),
            ]
    return section("Scores", "\n".join(parts) or missing("No run has scores yet; `vqaudio evaluate` computes them."))


def _curves(runs: dict[str, Run]) -> str:
    charts = overlaid_curves({name: run.metrics for name, run in runs.items()})
    if not charts:
        return section("Learning curves", missing("No training has logged anything yet (metrics.jsonl)."))
    return section("Learning curves", f'<div class="charts">{charts}</div>')


def _samples(runs: dict[str, Run]) -> str:
    parts = [
        f'<p class="note">All players have the same loudness and play at most {MAX_SECONDS:g} seconds. Other voices '
        f"are in the report of each run.</p>{BOUNDARIES_SWITCH}"
    ]
    for name in _sets(run.wavs for run in runs.values()):
        lists = [run.utterances(name) for run in runs.values()]
        common = sorted(set(lists[0]).intersection(*lists[1:]))
        parts.append(set_heading(name))
        if not common:
            parts.append(missing("The runs have no utterance of this set in common."))
            continue
        chosen = next(iter(runs.values())).choose(name, common)
        of_runs = [run.samples(name, chosen) for run in runs.values()]
        parts += [sample_html(_merged(list(runs), samples)) for samples in zip(*of_runs, strict=True)]
    if len(parts) == 1:
        parts = [missing("No run has reconstructions yet; `vqaudio decode` makes them.")]
    return section("Listen", "\n".join(parts))


def _merged(names: list[str], samples: tuple[Sample, ...]) -> Sample:
    """Put the reconstructions that the runs made of one utterance beside each other."""
    known = next((sample for sample in samples if sample.original is not None), samples[0])
    versions = [sample.versions[0]._replace(name=name) for name, sample in zip(names, samples, strict=True)]
    return known._replace(versions=versions)


def _phones(runs: dict[str, Run]) -> str:
    for name in _sets(run.units for run in runs.values()):
        tables = {run: runs[run].phones(name) for run in runs if name in runs[run].units}
        maps = [heat_map(run, table) for run, table in tables.items() if table is not None]
        if maps:
            return section("Phones of units", set_heading(name) + "".join(maps))
    return section("Phones of units", missing("No set has units and phones (phones.ctm in its data directory)."))


def _usage(runs: dict[str, Run]) -> str:
    for name in _sets(run.units for run in runs.values()):
        charts = []
        for called, run in runs.items():
            if name in run.units:
                shares, size = run.usage(name)
                charts.append(
                    usage_chart(called, shares, f"{sum(share > 0 for share in shares)} of {size} codes occur")
                )
        return section("Code usage", f'{set_heading(name)}<div class="charts">{"".join(charts)}</div>')
    return section("Code usage", missing("No run has units yet; `vqaudio extract` writes them."))


def _models(runs: dict[str, Run]) -> str:
    """Return a table of the facts of the models, and one of the configuration where it differs."""
    facts = {name: model_facts(run.model) | training_facts(run.metrics) for name, run in runs.items() if run.model}
    if not facts:
        return section("Models", missing("No run has a complete model yet."))
    rows = [
        key for key in dict.fromkeys(key for of_run in facts.values() for key in of_run) if key not in SKIPPED_FACTS
    ]
    flat = {name: dict(_flat(_plain(run.model.config))) for name, run in runs.items() if run.model}
    keys = list(dict.fromkeys(key for of_run in flat.values() for key in of_run))
    differing = [key for key in keys if len({of_run.get(key, "–") for of_run in flat.values()}) > 1]
    parts = [_plain_table("models", rows, facts)]
    if differing:
        parts += ["<h3>Where the configurations differ</h3>", _plain_table("configurations", differing, flat)]
    return section("Models", "".join(parts))


def _plain(config: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config)


def _flat(value: Any, key: str = "") -> Iterable[tuple[str, str]]:
    """Yield the leaves of a configuration, their keys joined by dots."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, str(value)


def _plain_table(label: str, rows: list[str], columns: dict[str, dict[str, str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = ""
    for row in rows:
        cells = "".join(f"<td>{escape(values.get(row, '–'))}</td>" for values in columns.values())
        body += f'<tr><th scope="row">{escape(row)}</th>{cells}</tr>'
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="words">'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _sets(of_runs: Iterable[Any]) -> list[str]:
    """Return the names of sets that any run has, test sets first."""
    return ordered({name for sets in of_runs for name in sets})
