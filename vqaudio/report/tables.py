"""The scores of runs as a table, and the main figures of one as tiles."""

import math
from html import escape
from typing import Any, NamedTuple

Scores = dict[str, Any]
"""Figures by name, as scores.json has them for a set."""


class Score(NamedTuple):
    """How a score is shown: its key in scores.json, name, explanation and format."""

    key: str
    name: str
    """Ends in an arrow where more, or less, is better."""
    meaning: str
    format: str


class Column(NamedTuple):
    """A column of a table: the set it belongs to, who was scored, and the scores."""

    set: str
    """Empty where the table is of one set that its heading names."""
    name: str
    note: str
    scores: Scores
    baseline: bool = False


PHONES = (
    Score("pnmi", "PNMI ↑", "share of the phone's entropy that the unit tells", "{:.3f}"),
    Score("phone_purity", "phone purity ↑", "frames whose phone is the usual one of their unit", "{:.3f}"),
    Score("cluster_purity", "cluster purity ↑", "frames whose unit is the usual one of their phone", "{:.3f}"),
    Score(
        "mapping_accuracy",
        "phone accuracy ↑",
        "of the unit → phone map, on other frames than it was made from",
        "{:.1%}",
    ),
    Score("prior_accuracy", "its prior", "accuracy of always the most frequent phone", "{:.1%}"),
)
ABX = (
    Score("abx_within", "codewords, within ↓", "triphones, angular distance, DTW; one speaker", "{:.1%}"),
    Score("abx_across", "codewords, across ↓", "X by another speaker", "{:.1%}"),
    Score("abx_units_within", "units, within ↓", "units equal or not, DTW", "{:.1%}"),
    Score("abx_units_across", "units, across ↓", "", "{:.1%}"),
    Score("abx_edit_within", "merged units, within ↓", "normalised edit distance", "{:.1%}"),
    Score("abx_edit_across", "merged units, across ↓", "", "{:.1%}"),
    Score("abx_phone_within", "middle phone, within ↓", "codewords of the middle phone alone", "{:.1%}"),
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
    Score("speaker_probe", "speaker probe ↓", "accuracy of naming the speaker from a histogram of units", "{:.1%}"),
    Score("speaker_probe_chance", "its chance", "always the speaker with most utterances", "{:.1%}"),
)
CODES = (
    Score("usage", "codes in use", "of the codebook", "{:.1%}"),
    Score("perplexity", "perplexity", "number of equally frequent codes with the same entropy", "{:.1f}"),
    Score("bitrate_nominal", "bitrate, nominal", "bit/s, all codes equally long", "{:.0f}"),
    Score("bitrate_entropy", "bitrate, entropy", "bit/s, by how often codes occur", "{:.0f}"),
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
        Score("stoi", "STOI ↑", "its older sibling", "{:.3f}"),
        Score("log_mel_l1", "log-mel distance ↓", "mean absolute difference, nats", "{:.3f}"),
        Score("mcd", "MCD ↓", "mel-cepstral distortion along the best warping, dB", "{:.2f}"),
        Score("log_f0_rmse", "log-F0 error ↓", "root mean square, ln Hz, where both are voiced", "{:.3f}"),
        Score("vuv_error", "voicing error ↓", "frames voiced in one only", "{:.1%}"),
        Score("mr_stft", "STFT distance ↓", "spectra at three resolutions", "{:.3f}"),
        Score("loudness_difference", "loudness difference ↓", "BS.1770, dB, without sign", "{:.1f}"),
        Score("pesq", "PESQ ↑", "P.862.2, wide band", "{:.2f}"),
        Score("utterances", "utterances", "", "{:d}"),
    )
}
SET_ORDER = ("test_seen", "test_unseen", "dev", "train")
SET_MEANING = {
    "test_seen": "other sentences of training speakers",
    "test_unseen": "speakers not in training",
    "dev": "validation",
}


def ordered(sets: Any) -> list[str]:
    """Return names of sets, the ones that readers look for first."""
    return sorted(sets, key=lambda name: (SET_ORDER.index(name) if name in SET_ORDER else len(SET_ORDER), name))


def unit_columns(runs: list[tuple[str, Scores]], name: str) -> list[Column]:
    """Return the columns of a set: each run's, then the baselines, those that are the same for several runs once.

    Args:
        runs: what each run is called, and its scores.json.
        name: of the set.
    """
    columns = [Column(name, run, "", scores["units"][name]) for run, scores in runs if filled(scores, "units", name)]
    for key, called in (("baseline", "MFCC"), ("baseline_log_mel", "log-mel")):
        found: dict[str, Column] = {}
        for run, scores in runs:
            values = filled(scores, key, name)
            if values:
                known = found.get(str(values))
                like = f"{known.note}, {run}" if known else f"k-means, same K as {run}"
                found[str(values)] = Column(name, called, like, values, baseline=True)
        alike = len(found) == 1
        columns += [column._replace(note="k-means, same K") if alike else column for column in found.values()]
    return columns


def audio_columns(runs: list[tuple[str, Scores]], name: str) -> list[Column]:
    """Return a column of the audio scores of a set for each run that has them."""
    return [Column(name, run, "", scores["audio"][name]) for run, scores in runs if filled(scores, "audio", name)]


def filled(scores: Scores, key: str, name: str) -> Scores:
    """Return the scores of a set under a key of scores.json; empty where there are none."""
    sets = scores.get(key)
    values = sets.get(name) if isinstance(sets, dict) else None
    return values if isinstance(values, dict) else {}


def score_table(label: str, groups: dict[str, tuple[Score, ...]], columns: list[Column]) -> str:
    """Return a table with intervals under its figures and the best figure of each set in bold.

    Rows that no column has a figure for are left out, and so are groups without rows. Screen readers say `label`.
    """
    body = []
    for title, rows in groups.items():
        shown = [row for row in rows if any(number(column.scores.get(row.key)) for column in columns)]
        if shown and title:
            body.append(f'<tr class="group"><th colspan="{len(columns) + 1}" scope="rowgroup">{title}</th></tr>')
        for row in shown:
            cells = "".join(_cell(row, column, columns) for column in columns)
            body.append(f'<tr><th scope="row">{row.name}<small>{row.meaning}</small></th>{cells}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table class="scores">'
        f"<thead>{_head(columns)}</thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def number(value: Any) -> bool:
    """Tell whether a value of scores.json is a figure that can be shown."""
    return isinstance(value, int | float) and math.isfinite(value)


def _head(columns: list[Column]) -> str:
    """Return a row of sets and, where there is more than one column in some, a row of who was scored."""
    sets = list(dict.fromkeys(column.set for column in columns))
    tops = []
    for name in sets:
        span = sum(column.set == name for column in columns)
        meaning = SET_MEANING.get(name, "")
        tops.append(f'<th class="start" colspan="{span}" scope="colgroup">{escape(name)}<small>{meaning}</small></th>')
    head = "" if sets == [""] else f"<tr><td></td>{''.join(tops)}</tr>"
    if head and len(columns) == len(sets):
        return head
    names = "".join(
        f'<th{_style(column, columns)} scope="col">{escape(column.name)}<small>{escape(column.note)}</small></th>'
        for column in columns
    )
    return f"{head}<tr><td></td>{names}</tr>"


def _style(column: Column, columns: list[Column]) -> str:
    """Return the class of a column: the first of its set, a baseline."""
    first = next(other for other in columns if other.set == column.set) is column
    names = " ".join(name for name, holds in (("start", first), ("base", column.baseline)) if holds)
    return f' class="{names}"' if names else ""


def _cell(row: Score, column: Column, columns: list[Column]) -> str:
    value = column.scores.get(row.key)
    if not number(value):
        return f"<td{_style(column, columns)}>–</td>"
    beside = [
        other.scores[row.key] for other in columns if other.set == column.set and number(other.scores.get(row.key))
    ]
    best = {"↑": max, "↓": min}.get(row.name[-1])
    text = row.format.format(value)
    if best and len(set(beside)) > 1 and value == best(beside):
        text = f"<strong>{text}</strong>"
    return f"<td{_style(column, columns)}>{text}{_bounds(row, column.scores)}</td>"


def _bounds(row: Score, scores: Scores) -> str:
    """Return the interval of a figure; nothing where there is none."""
    intervals = scores.get("intervals")
    bounds = intervals.get(row.key) if isinstance(intervals, dict) else None
    if not (isinstance(bounds, list) and len(bounds) == 2 and all(map(number, bounds))):
        return ""
    low, high = (row.format.format(bound) for bound in bounds)
    return f"<small>{low.removesuffix('%')}–{high}</small>"


def tiles(scores: Scores) -> str:
    """Return the main figures of a run in large type; nothing where there are no scores."""
    found = []
    for name, label in (("test_seen", "seen speakers"), ("test_unseen", "unseen speakers")):
        if number(value := filled(scores, "audio", name).get("estoi")):
            found.append(_tile(f"ESTOI, {label}", f"{value:.2f}", "1 is the original"))
    name = "test_unseen" if filled(scores, "units", "test_unseen") else "test_seen"
    label = "unseen speakers" if name == "test_unseen" else "seen speakers"
    units, base = filled(scores, "units", name), filled(scores, "baseline", name)
    for key, called, form, other in (
        ("pnmi", "PNMI", "{:.2f}", "phones told by units"),
        ("abx_across", "ABX across", "{:.1%}", "error, codewords"),
    ):
        if number(value := units.get(key)):
            beside = f"MFCC k-means {form.format(base[key])}" if number(base.get(key)) else other
            found.append(_tile(f"{called}, {label}", form.format(value), beside))
    if number(units.get("usage")):
        perplexity = f"perplexity {units['perplexity']:.0f}" if number(units.get("perplexity")) else label
        found.append(_tile("codes in use", f"{units['usage']:.1%}", perplexity))
    if number(units.get("bitrate_entropy")):
        found.append(_tile("bitrate", f"{units['bitrate_entropy']:.0f}", "bit/s, entropy of the units"))
    return f'<dl class="tiles">{"".join(found)}</dl>' if found else ""


def _tile(name: str, value: str, beside: str) -> str:
    return f'<div class="tile"><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(beside)}</small></dd></div>'
