"""Scores as tables with one column for each run or baseline, and the main figures of a run as tiles."""

import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

Scores = dict[str, Any]
"""Figures by name, as scores.json has them for one set."""


class Score(NamedTuple):
    """How a score is shown: its key in scores.json, its name, an explanation, and the format of its figures."""

    key: str
    name: str
    """Ends in ↑ if higher is better, in ↓ if lower is better."""
    meaning: str
    format: str


class Column(NamedTuple):
    """A column of a table: the set it belongs to, whose scores these are, and the scores."""

    set: str
    """Empty if the heading of the table already names the set."""
    name: str
    note: str
    scores: Scores
    baseline: bool = False


class Cell(NamedTuple):
    """A figure of a table, its interval, and whether it is the best of its set."""

    text: str
    bounds: str = ""
    best: bool = False


class ScoreTable(NamedTuple):
    """A table of scores as the macro `score_table` of `parts.html` takes it."""

    label: str
    sets: list[tuple[str, str, int]]
    """Name, meaning and number of columns of each set."""
    columns: list[Column]
    groups: list[tuple[str, list[tuple[Score, list[Cell]]]]]
    """A title and rows for each group; a cell for each column in a row."""


class Tile(NamedTuple):
    """A figure in large type: what it is, its value, and what to compare it with."""

    name: str
    value: str
    note: str


PHONES = (
    Score("pnmi", "PNMI ↑", "share of the phone entropy that the units explain", "{:.3f}"),
    Score("phone_purity", "phone purity ↑", "frames with the most frequent phone of their unit", "{:.3f}"),
    Score("cluster_purity", "cluster purity ↑", "frames with the most frequent unit of their phone", "{:.3f}"),
    Score(
        "mapping_accuracy",
        "phone accuracy ↑",
        "of a unit → phone map, on frames not used to make it",
        "{:.1%}",
    ),
    Score("prior_accuracy", "prior", "accuracy of always answering the most frequent phone", "{:.1%}"),
    Score(
        "phone_error_rate", "phone error rate ↓", "edits of units read as phones, runs merged, with silence", "{:.1%}"
    ),
)
ABX = (
    Score("abx_within", "codewords, within ↓", "triphones, angular distance, DTW; one speaker", "{:.1%}"),
    Score("abx_across", "codewords, across ↓", "X spoken by another speaker", "{:.1%}"),
    Score("abx_units_within", "units, within ↓", "distance 0 for equal units, else 1; DTW", "{:.1%}"),
    Score("abx_units_across", "units, across ↓", "", "{:.1%}"),
    Score("abx_edit_within", "merged units, within ↓", "normalised edit distance", "{:.1%}"),
    Score("abx_edit_across", "merged units, across ↓", "", "{:.1%}"),
    Score("abx_phone_within", "middle phone, within ↓", "codewords of the middle phone only", "{:.1%}"),
    Score("abx_phone_across", "middle phone, across ↓", "", "{:.1%}"),
)
BOUNDARIES = (
    Score("boundary_r_value", "R-value ↑", "1 is perfect; too many boundaries lower it", "{:.3f}"),
    Score("boundary_f1", "F1 ↑", "unit changes at most 20 ms from a phone boundary", "{:.3f}"),
    Score("boundary_precision", "precision ↑", "", "{:.1%}"),
    Score("boundary_recall", "recall ↑", "", "{:.1%}"),
    Score("run_length_mean", "run length", "frames that a unit lasts", "{:.2f}"),
    Score("runs_per_second", "runs per second", "", "{:.1f}"),
)
SPEAKER = (
    Score(
        "speaker_probe", "speaker probe ↓", "accuracy of identifying the speaker from a histogram of units", "{:.1%}"
    ),
    Score("speaker_probe_chance", "chance level", "always answering the speaker with the most utterances", "{:.1%}"),
)
CODES = (
    Score("change_penalty", "change penalty", "price of every change of unit, 0 is none", "{:g}"),
    Score("usage", "codes in use", "of the codebook", "{:.1%}"),
    Score("perplexity", "perplexity", "number of equally frequent codes with the same entropy", "{:.1f}"),
    Score("bitrate_nominal", "bitrate, nominal", "bit/s, all codes of the same length", "{:.0f}"),
    Score("bitrate_entropy", "bitrate, entropy", "bit/s, by the frequencies of codes", "{:.0f}"),
    Score("bitrate_deduplicated", "bitrate, deduplicated", "bit/s, repeats merged, durations not counted", "{:.0f}"),
)
UNIT_SCORES: dict[str, tuple[Score, ...]] = {
    "Phones": PHONES,
    "ABX error (50 % is chance)": ABX,
    "Boundaries": BOUNDARIES,
    "Speaker": SPEAKER,
    "Codes and bits": CODES,
}
AUDIO_SCORES: dict[str, tuple[Score, ...]] = {
    "": (
        Score("estoi", "ESTOI ↑", "predicted intelligibility, 1 is the original", "{:.3f}"),
        Score("stoi", "STOI ↑", "the older measure", "{:.3f}"),
        Score("log_mel_l1", "log-mel distance ↓", "mean absolute difference, nats", "{:.3f}"),
        Score("mcd", "MCD ↓", "mel-cepstral distortion along the best warping, dB", "{:.2f}"),
        Score("log_f0_rmse", "log-F0 error ↓", "root mean square, ln Hz, where both are voiced", "{:.3f}"),
        Score("vuv_error", "voicing error ↓", "frames voiced in only one of the two", "{:.1%}"),
        Score("mr_stft", "STFT distance ↓", "spectra at three resolutions", "{:.3f}"),
        Score("loudness_difference", "loudness difference ↓", "BS.1770, dB, absolute", "{:.1f}"),
        Score("utterances", "utterances", "", "{:.0f}"),
    )
}
SET_ORDER = ("test_seen", "test_unseen", "dev", "train")
SET_MEANING = {
    "test_seen": "other sentences of training speakers",
    "test_unseen": "speakers not in training",
    "dev": "validation",
}


BASELINES = {"baseline": "MFCC", "baseline_stacked": "stacked MFCC"}
"""Keys of scores.json under which there are scores of k-means on features, and the features."""


def ordered(sets: Iterable[str]) -> list[str]:
    """Return names of sets, first those of `SET_ORDER`."""
    return sorted(sets, key=lambda name: (SET_ORDER.index(name) if name in SET_ORDER else len(SET_ORDER), name))


def unit_columns(runs: list[tuple[str, Scores]], name: str) -> list[Column]:
    """Return the columns of a set: each run's, then the baselines; one that several runs share is shown once.

    Args:
        runs: the name of each run, and its scores.json.
        name: name of the set.
    """
    columns = [Column(name, run, "", scores["units"][name]) for run, scores in runs if filled(scores, "units", name)]
    for key, called in BASELINES.items():
        found: dict[str, Column] = {}
        for run, scores in runs:
            values = filled(scores, key, name)
            if values:
                known = found.get(str(values))
                note = f"{known.note}, {run}" if known else f"k-means, same K as {run}"
                found[str(values)] = Column(name, called, note, values, baseline=True)
        alone = len(found) == 1
        columns += [column._replace(note="k-means, same K") if alone else column for column in found.values()]
    return columns


def audio_columns(runs: list[tuple[str, Scores]], name: str) -> list[Column]:
    """Return a column of the audio scores of a set for each run that has them."""
    return [Column(name, run, "", scores["audio"][name]) for run, scores in runs if filled(scores, "audio", name)]


def filled(scores: Scores, key: str, name: str) -> Scores:
    """Return the scores of a set under a key of scores.json; empty if there are none."""
    sets = scores.get(key)
    values = sets.get(name) if isinstance(sets, dict) else None
    return values if isinstance(values, dict) else {}


def score_table(label: str, groups: dict[str, tuple[Score, ...]], columns: list[Column]) -> ScoreTable:
    """Return a table of scores, with the best figure of each set marked; screen readers say `label`.

    Rows that no column has a figure for are left out, and so are groups without rows.
    """
    kept = []
    for title, scores in groups.items():
        shown = [score for score in scores if any(is_figure(column.scores.get(score.key)) for column in columns)]
        if shown:
            kept.append((title, [(score, [_cell(score, column, columns) for column in columns]) for score in shown]))
    spans = Counter(column.set for column in columns)
    sets = [(name, SET_MEANING.get(name, ""), span) for name, span in spans.items()]
    return ScoreTable(label, sets, columns, kept)


def is_figure(value: Any) -> bool:
    """Return whether a value of a JSON file is a figure that can be shown; a very long whole number cannot."""
    return isinstance(value, int | float) and -sys.float_info.max <= value <= sys.float_info.max


def _cell(score: Score, column: Column, columns: list[Column]) -> Cell:
    value = column.scores.get(score.key)
    if not is_figure(value):
        return Cell("–")
    of_set: list[Any] = [other.scores.get(score.key) for other in columns if other.set == column.set]
    rivals = set(filter(is_figure, of_set))
    best = {"↑": max, "↓": min}.get(score.name[-1])
    marked = best is not None and len(rivals) > 1 and value == best(rivals)
    return Cell(score.format.format(value), _bounds(score, column.scores), marked)


def _bounds(score: Score, scores: Scores) -> str:
    """Return the interval of a figure; nothing if it has none."""
    intervals = scores.get("intervals")
    bounds = intervals.get(score.key) if isinstance(intervals, dict) else None
    if not (isinstance(bounds, list) and len(bounds) == 2 and all(map(is_figure, bounds))):
        return ""
    low, high = (score.format.format(bound) for bound in bounds)
    return f"{low.removesuffix('%')}–{high}"


def tiles(scores: Scores) -> list[Tile]:
    """Return the main figures of a run, to be shown in large type; none if there are no scores."""
    found = []
    for name, label in (("test_seen", "seen speakers"), ("test_unseen", "unseen speakers")):
        if is_figure(value := filled(scores, "audio", name).get("estoi")):
            found.append(Tile(f"ESTOI, {label}", f"{value:.2f}", "1 is the original"))
    name = "test_unseen" if filled(scores, "units", "test_unseen") else "test_seen"
    label = "unseen speakers" if name == "test_unseen" else "seen speakers"
    units, base = filled(scores, "units", name), filled(scores, "baseline", name)
    for key, called, form, other in (
        ("pnmi", "PNMI", "{:.2f}", "share of phone entropy"),
        ("abx_across", "ABX across", "{:.1%}", "error, codewords"),
    ):
        if is_figure(value := units.get(key)):
            note = f"MFCC k-means {form.format(base[key])}" if is_figure(base.get(key)) else other
            found.append(Tile(f"{called}, {label}", form.format(value), note))
    if is_figure(units.get("usage")):
        perplexity = f"perplexity {units['perplexity']:.0f}" if is_figure(units.get("perplexity")) else label
        found.append(Tile("codes in use", f"{units['usage']:.1%}", perplexity))
    if is_figure(units.get("bitrate_entropy")):
        found.append(Tile("bitrate", f"{units['bitrate_entropy']:.0f}", "bit/s, entropy of the units"))
    return found
