"""The page about a run: one file of HTML with everything inside, to be sent as it is."""

from datetime import date
from html import escape
from pathlib import Path
from typing import Any

from vqaudio import __version__, files
from vqaudio.report.charts import Series, line_chart, usage_chart
from vqaudio.report.facts import model_facts, training_facts
from vqaudio.report.html import html_page, missing, section
from vqaudio.report.run import Run
from vqaudio.report.samples import LONGEST, sample_html
from vqaudio.report.tables import AUDIO_SCORES, SET_MEANING, UNIT_SCORES, ordered, score_table, tiles

CURVES = (  # title, lower end of the axis, then name and key of each line
    ("Log-mel distance (nats)", None, (("training", "train/mel"), ("validation", "valid/mel"))),
    ("Negative log-likelihood (nats a sample)", None, (("training", "train/nll"), ("validation", "valid/nll"))),
    ("Codebook perplexity", 0.0, (("training", "codebook/perplexity"), ("validation", "valid/perplexity"))),
    ("Share of codes in use", 0.0, (("training", "codebook/usage"), ("validation", "valid/usage"))),
    ("Commitment loss", 0.0, (("training", "train/commitment"), ("validation", "valid/commitment"))),
    ("Diversity loss", None, (("training", "train/diversity"), ("validation", "valid/diversity"))),
    ("Temperature", 0.0, (("Gumbel-softmax", "temperature"),)),
)
STYLES = ("first", "second")


def build_report(exp: Path) -> Path:
    """Write ``exp/report.html`` about what the run has so far, and return its path.

    The page is one file without any outside resource. A part of the run that is missing or broken is left out, and
    a sentence says so.

    Raises:
        UserError: there is no such directory, or it cannot be written to.

    """
    run = Run(exp)
    sections = [_samples(run), _scores(run), _curves(run), _usage(run), _model(run), _timing(run)]
    body = _header(run) + "".join(sections) + _notes(run)
    path = exp / "report.html"
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


def _samples(run: Run) -> str:
    if not run.wavs:
        return section("Listen", missing("There are no reconstructions yet; `vqaudio decode` makes them."))
    parts = [
        '<p class="note">Utterances from the best to the worst by ESTOI. Spectrograms are log-mel, 0 to 8 kHz; in the '
        "strip under each, every unit has a colour of its own. All players have the same loudness and play at most "
        f"{LONGEST:g} seconds.</p>"
    ]
    for name in ordered(run.wavs):
        meaning = SET_MEANING.get(name)
        parts.append(f"<h3>{escape(name)}{f' <span class=muted>{meaning}</span>' if meaning else ''}</h3>")
        parts += [sample_html(sample) for sample in run.samples(name)] or [missing("This set has no utterance.")]
    return section("Listen", "\n".join(parts))


def _scores(run: Run) -> str:
    units, audio = run.scores.get("units", {}), run.scores.get("audio", {})
    if not units and not audio:
        return section("Scores", missing("There are no scores yet; `vqaudio evaluate` computes them."))
    parts = []
    if units:
        parts += [
            "<h3>What the units say, and what they cost</h3>",
            score_table(UNIT_SCORES, units, run.scores.get("baseline", {})),
        ]
    if audio:
        parts += ["<h3>How close the reconstructions are</h3>", score_table(AUDIO_SCORES, audio, {})]
    return section("Scores", "\n".join(parts))


def _curves(run: Run) -> str:
    switch = next((float(entry["step"]) for entry in run.metrics if entry.get("phase") == "joint"), None)
    charts = []
    for title, floor, lines in CURVES:
        series = [
            Series(name, style, _points(run.metrics, key)) for (name, key), style in zip(lines, STYLES, strict=False)
        ]
        series = [line for line in series if line.points]
        constant = len({y for line in series for _, y in line.points}) == 1  # the temperature of k-means
        if series and not (title == "Temperature" and constant):
            charts.append(line_chart(title, series, switch=switch, floor=floor))
    if not charts:
        return section("Learning curves", missing("Training has logged nothing yet (metrics.jsonl)."))
    return section("Learning curves", f'<div class="charts">{"".join(charts)}</div>')


def _points(metrics: list[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(float(entry["step"]), float(entry[key])) for entry in metrics if isinstance(entry.get(key), int | float)]


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


def _notes(run: Run) -> str:
    if not run.notes:
        return ""
    return section("What could not be read", "".join(map(missing, dict.fromkeys(run.notes))))
