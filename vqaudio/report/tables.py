"""The scores of a run as a table, and its main figures as tiles."""

from html import escape
from typing import Any, NamedTuple


class Score(NamedTuple):
    """How a score is shown: its key in scores.json, name, explanation and format."""

    key: str
    name: str
    meaning: str
    format: str


UNIT_SCORES = (
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
    Score("usage", "codes in use", "of the codebook", "{:.1%}"),
    Score("perplexity", "perplexity", "number of equally frequent codes with the same entropy", "{:.1f}"),
    Score("bitrate_nominal", "bitrate, nominal", "bit/s, all codes equally long", "{:.0f}"),
    Score("bitrate_entropy", "bitrate, entropy", "bit/s, by how often codes occur", "{:.0f}"),
    Score("bitrate_deduplicated", "bitrate, deduplicated", "bit/s, repeats merged, durations not counted", "{:.0f}"),
)
AUDIO_SCORES = (
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
SET_ORDER = ("test_seen", "test_unseen", "dev", "train")
SET_MEANING = {
    "test_seen": "other sentences of training speakers",
    "test_unseen": "speakers not in training",
    "dev": "validation",
}


def ordered(sets: Any) -> list[str]:
    """Return names of sets, the ones that readers look for first."""
    return sorted(sets, key=lambda name: (SET_ORDER.index(name) if name in SET_ORDER else len(SET_ORDER), name))


def score_table(rows: tuple[Score, ...], scores: dict[str, Any], baseline: dict[str, Any]) -> str:
    """Return a table with a column a set and, where ``baseline`` has the set, the baseline's beside it."""
    sets = [name for name in ordered(scores) if scores[name]]
    head, columns = [], []
    for name in sets:
        meaning = SET_MEANING.get(name, "")
        head.append(f"<th>{escape(name)}<small>{meaning}</small></th>")
        columns.append((scores[name], ""))
        if baseline.get(name):
            head.append("<th><span class='muted'>MFCC</span><small>k-means, same K</small></th>")
            columns.append((baseline[name], ' class="base"'))
    body = []
    for row in rows:
        if any(isinstance(values.get(row.key), int | float) for values, _ in columns):
            cells = "".join(f"<td{style}>{_format(row, values)}</td>" for values, style in columns)
            body.append(f"<tr><th>{row.name}<small>{row.meaning}</small></th>{cells}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr><th></th>{"".join(head)}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def tiles(scores: dict[str, Any]) -> str:
    """Return the main figures of a run in large type; nothing where there are no scores."""
    found = []
    for name, label in (("test_seen", "seen speakers"), ("test_unseen", "unseen speakers")):
        value = scores.get("audio", {}).get(name, {}).get("estoi")
        if value is not None:
            found.append(_tile(f"ESTOI, {label}", f"{value:.2f}", "1 is the original"))
    units = scores.get("units", {}).get("test_seen", {})
    base = scores.get("baseline", {}).get("test_seen", {})
    if units.get("pnmi") is not None:
        beside = f"MFCC k-means {base['pnmi']:.2f}" if base.get("pnmi") is not None else "phones told by units"
        found.append(_tile("PNMI, seen speakers", f"{units['pnmi']:.2f}", beside))
    if units.get("usage") is not None:
        found.append(_tile("codes in use", f"{units['usage']:.1%}", f"perplexity {units['perplexity']:.0f}"))
    if units.get("bitrate_entropy") is not None:
        found.append(_tile("bitrate", f"{units['bitrate_entropy']:.0f}", "bit/s, entropy of the units"))
    return f'<dl class="tiles">{"".join(found)}</dl>' if found else ""


def _tile(name: str, value: str, beside: str) -> str:
    return f'<div class="tile"><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(beside)}</small></dd></div>'


def _format(row: Score, values: dict[str, Any]) -> str:
    value = values.get(row.key)
    return row.format.format(value) if isinstance(value, int | float) else "–"
