"""The page that compares runs: `build_comparison` puts scores, curves and samples side by side."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vqaudio import files
from vqaudio.errors import UserError
from vqaudio.outputs import check_file, is_our_page
from vqaudio.report.charts import LINE_COLOURS, Chart, usage_chart
from vqaudio.report.curves import overlaid_curves
from vqaudio.report.facts import model_facts, training_facts
from vqaudio.report.judgements import JUDGE_SCORES, judged_columns, verdicts
from vqaudio.report.penalties import UNITS_ALONE, penalty_charts, penalty_lines
from vqaudio.report.phones import HeatMap, heat_map
from vqaudio.report.render import TEMPLATES, render
from vqaudio.report.run import FinishedRun
from vqaudio.report.samples import MAX_SECONDS, Card, Sample, make_card
from vqaudio.report.tables import (
    AUDIO_SCORES,
    SET_MEANING,
    UNIT_SCORES,
    ScoreTable,
    audio_columns,
    ordered,
    score_table,
    unit_columns,
)

MAX_RUNS = len(LINE_COLOURS)
SKIPPED_FACTS = ("hash", "speakers")
"""Facts of models that are too long for a column."""

Runs = dict[str, FinishedRun]
OfSet = tuple[str, str, Any]
"""A part of the page about one set: its name, its meaning, and the part."""


def build_comparison(exps: list[Path], out: Path) -> Path:
    """Write one page about several runs to `out`, and return its path.

    Raises:
        UserError: a directory is missing or given twice, there are more than `MAX_RUNS`, or `out` cannot be written, or
            is a file that vqaudio did not make.
    """
    check_file(out, ours=is_our_page)
    if len(exps) > MAX_RUNS:
        raise UserError(f"{len(exps)} runs are more than a page can compare; name at most {MAX_RUNS}")
    twice = [str(path) for path, count in Counter(path.resolve() for path in exps).items() if count > 1]
    if twice:
        raise UserError(f"{twice[0]}: given twice; name each run once")
    runs = dict(zip(_names(exps), map(FinishedRun, exps), strict=True))
    page = render(
        TEMPLATES / "comparison.html",
        title=" and ".join(runs),
        runs=list(zip(runs, LINE_COLOURS, strict=False)),
        unit_scores=_unit_scores(runs),
        audio_scores=_audio_scores(runs),
        judge_scores=_judge_scores(runs),
        verdicts={name: verdicts(run.scores) for name, run in runs.items()},
        penalties=_penalties(runs),
        curves=overlaid_curves({name: run.metrics for name, run in runs.items()}),
        samples=_samples(runs),
        max_seconds=f"{MAX_SECONDS:g}",
        phones=_phones(runs),
        usages=_usages(runs),
        **_models(runs),
        notes=dict.fromkeys(note for run in runs.values() for note in run.notes),  # last: the parts above add to them
    )
    files.atomic_write(out, page)
    return out


def _names(exps: list[Path]) -> list[str]:
    """Return a name for each run: its tag, or its whole path if several have the same tag."""
    tags = Counter(exp.resolve().name for exp in exps)
    return [exp.resolve().name if tags[exp.resolve().name] == 1 else str(exp) for exp in exps]


def _unit_scores(runs: Runs) -> list[OfSet]:
    scores = [(name, run.scores) for name, run in runs.items()]
    found = []
    for name in _sets(run.scores.get("units", {}) for run in runs.values()):
        columns = [column._replace(set="") for column in unit_columns(scores, name)]
        if columns:
            found.append(_of_set(name, score_table(f"unit scores of {name}", UNIT_SCORES, columns), "units"))
    return found


def _audio_scores(runs: Runs) -> list[OfSet]:
    scores = [(name, run.scores) for name, run in runs.items()]
    found = []
    for name in _sets(run.scores.get("audio", {}) for run in runs.values()):
        columns = [column._replace(set="") for column in audio_columns(scores, name)]
        if columns:
            table = score_table(f"audio scores of {name}", AUDIO_SCORES, columns)
            found.append(_of_set(name, table, "reconstructions"))
    return found


def _judge_scores(runs: Runs) -> list[OfSet]:
    scores = [(name, run.scores) for name, run in runs.items()]
    found = []
    for name in _sets(run.scores.get("audio", {}) for run in runs.values()):
        columns = [column._replace(set="") for column in judged_columns(scores, name)]
        if columns:
            table = score_table(f"scores of the judges of {name}", JUDGE_SCORES, columns)
            found.append(_of_set(name, table, "what models hear"))
    return found


def _penalties(runs: Runs) -> list[OfSet]:
    """Return the charts of change penalties of each set, with a line for the units of each run."""
    found = {name: penalty_lines(run.scores, UNITS_ALONE) for name, run in runs.items()}
    return [
        _of_set(
            name, penalty_charts({run: next(iter(sets[name].values())) for run, sets in found.items() if name in sets})
        )
        for name in _sets(found.values())
    ]


def _samples(runs: Runs) -> list[OfSet]:
    return [_of_set(name, _cards(runs, name)) for name in _sets(run.wavs for run in runs.values())]


def _cards(runs: Runs, name: str) -> list[Card]:
    """Return cards of utterances that all runs have reconstructed, chosen by the scores of the first run."""
    first, *others = [run.utterances(name) for run in runs.values()]
    common = sorted(set(first).intersection(*others))
    if not common:
        return []
    chosen = next(iter(runs.values())).choose(name, common)
    of_runs = [run.samples(name, chosen) for run in runs.values()]
    return [make_card(_merged(list(runs), samples)) for samples in zip(*of_runs, strict=True)]


def _merged(names: list[str], samples: tuple[Sample, ...]) -> Sample:
    """Return one sample with the reconstructions that the runs made of one utterance."""
    known = next((sample for sample in samples if sample.original is not None), samples[0])
    versions = [sample.versions[0]._replace(name=name) for name, sample in zip(names, samples, strict=True)]
    return known._replace(versions=versions)


def _phones(runs: Runs) -> list[OfSet]:
    """Return the heat maps of the first set for which there are any."""
    for name in _sets(run.units for run in runs.values()):
        tables = {called: run.phones(name) for called, run in runs.items() if name in run.units}
        maps: list[HeatMap] = [heat_map(called, table) for called, table in tables.items() if table is not None]
        if maps:
            return [_of_set(name, maps)]
    return []


def _usages(runs: Runs) -> list[OfSet]:
    """Return the charts of code usage of the first set that has units."""
    for name in _sets(run.units for run in runs.values()):
        charts: list[Chart] = []
        for called, run in runs.items():
            if name in run.units:
                shares, size = run.usage(name)
                caption = f"{sum(share > 0 for share in shares)} of {size} codes occur"
                charts.append(usage_chart(called, shares, caption))
        return [_of_set(name, charts)]
    return []


def _models(runs: Runs) -> dict[str, Any]:
    """Return the facts of the models, and the keys of the configuration in which they differ."""
    from omegaconf import OmegaConf

    models = {name: run.model for name, run in runs.items() if run.model is not None}
    facts = {name: model_facts(model) | training_facts(runs[name].metrics) for name, model in models.items()}
    configs = {name: dict(_flat(OmegaConf.to_container(model.config))) for name, model in models.items()}
    return {
        "facts": facts,
        "fact_names": [name for name in _keys(facts) if name not in SKIPPED_FACTS],
        "configs": configs,
        "differing": [key for key in _keys(configs) if len({config.get(key) for config in configs.values()}) > 1],
    }


def _keys(columns: dict[str, dict[str, str]]) -> list[str]:
    """Return the keys of all columns, each once."""
    return list(dict.fromkeys(key for column in columns.values() for key in column))


def _flat(value: Any, key: str = "") -> Iterable[tuple[str, str]]:
    """Yield the leaves of a configuration, their keys joined by dots."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, str(value)


def _of_set(name: str, part: list[Any] | ScoreTable, what: str = "") -> OfSet:
    """Return a part of the page with the name and the meaning of its set."""
    return name, ", ".join(filter(None, (what, SET_MEANING.get(name)))), part


def _sets(of_runs: Iterable[Iterable[str]]) -> list[str]:
    """Return the names of sets that any run has, test sets first."""
    return ordered({name for sets in of_runs for name in sets})
