"""The page about one run: `build_report` collects its parts and fills `templates/report.html`."""

from pathlib import Path
from typing import Any

from vqaudio import files
from vqaudio.outputs import check_file, is_our_page
from vqaudio.report.charts import Chart, usage_chart
from vqaudio.report.curves import learning_curves
from vqaudio.report.facts import model_facts, training_facts
from vqaudio.report.judgements import JUDGE_SCORES, judged_columns, verdicts
from vqaudio.report.penalties import penalty_charts, penalty_lines
from vqaudio.report.phones import HeatMap, heat_map
from vqaudio.report.render import TEMPLATES, render
from vqaudio.report.run import FinishedRun
from vqaudio.report.samples import MAX_SECONDS, make_card
from vqaudio.report.tables import (
    AUDIO_SCORES,
    SET_MEANING,
    UNIT_SCORES,
    audio_columns,
    is_figure,
    ordered,
    score_table,
    tiles,
    unit_columns,
)


def build_report(exp: Path, out: Path | None = None) -> Path:
    """Write a page about what the run has so far to `out`, by default `exp/report.html`, and return its path.

    The page is one file without any outside resource. A part of the run that is missing or broken is left out, and
    a sentence says so.

    Raises:
        UserError: there is no such directory, or `out` cannot be written, or is a file that vqaudio did not make.
    """
    run = FinishedRun(exp)
    path = out or exp / "report.html"
    check_file(path, ours=is_our_page)
    page = render(
        TEMPLATES / "report.html",
        title=exp.resolve().name,
        figures=tiles(run.scores),
        verdicts=verdicts(run.scores),
        samples=[(name, SET_MEANING.get(name), _cards(run, name)) for name in ordered(run.wavs)],
        max_seconds=f"{MAX_SECONDS:g}",
        **_scores(run),
        penalties=_penalties(run),
        maps=_maps(run),
        usage=_usage(run),
        curves=learning_curves(run.metrics),
        **_model(run),
        seconds={name: value for name, value in run.scores.get("seconds", {}).items() if is_figure(value)},
        notes=dict.fromkeys(run.notes),  # last: reading the parts above adds to them
    )
    files.atomic_write(path, page)
    return path


def _cards(run: FinishedRun, name: str) -> list[Any]:
    return [make_card(sample) for sample in run.samples(name, run.choose(name, run.utterances(name)))]


def _scores(run: FinishedRun) -> dict[str, Any]:
    """Return the tables of the scores of units, of audio and of the judges; None if there are none."""
    runs = [("this run", run.scores)]
    units = [column for name in ordered(run.scores.get("units", {})) for column in unit_columns(runs, name)]
    audio = [column for name in ordered(run.scores.get("audio", {})) for column in audio_columns(runs, name)]
    judged = [
        column
        for name in ordered(run.scores.get("audio", {}))
        for column in judged_columns([("reconstructions", run.scores)], name)
    ]
    return {
        "unit_scores": score_table("unit scores", UNIT_SCORES, units) if units else None,
        "intervals": any("intervals" in column.scores for column in units),
        "audio_scores": score_table("audio scores", AUDIO_SCORES, audio) if audio else None,
        "judge_scores": score_table("scores of the judges", JUDGE_SCORES, judged) if judged else None,
    }


def _penalties(run: FinishedRun) -> list[tuple[str, str | None, list[Chart]]]:
    """Return each set with a curve of change penalties: its name, its meaning and the charts."""
    lines = penalty_lines(run.scores)
    return [(name, SET_MEANING.get(name), penalty_charts(of_set)) for name, of_set in lines.items()]


def _maps(run: FinishedRun) -> list[HeatMap]:
    """Return the heat map of each set but the training set, if the set has phones."""
    tables = {name: run.phones(name) for name in ordered(name for name in run.units if name != "train")}
    return [heat_map(name, table) for name, table in tables.items() if table is not None]


def _usage(run: FinishedRun) -> list[Chart]:
    charts = []
    for name in ordered(run.units):
        shares, size = run.usage(name)
        used = sum(share > 0 for share in shares)
        caption = f"{used} of {size} codes occur; share of frames, dashed: all codes equally frequent"
        charts.append(usage_chart(name, shares, caption))
    return charts


def _model(run: FinishedRun) -> dict[str, Any]:
    """Return the facts of the model, its configuration, and a summary for the head of the page; empty without one."""
    if run.model is None:
        return {"facts": {}, "config": "", "summary": []}
    from omegaconf import OmegaConf

    config, facts, training = run.model.config, model_facts(run.model), training_facts(run.metrics)
    codes = f"{config.quantizer.name} units, {config.quantizer.options.codebook_size} codes"
    size = facts["parameters"].partition(" (")[0]
    return {
        "facts": facts | training,
        "config": OmegaConf.to_yaml(config),
        "summary": [codes, f"{size} parameters", *training.values()],
    }
