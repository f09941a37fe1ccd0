"""What the judges of speech said, beside what they said of the originals; and in words, where a run falls short."""

import math
from typing import Any

from vqaudio.report.tables import BASELINES, SET_ORDER, Column, Score, Scores, filled, is_figure

# No arrows: the originals, which are in the same table, would nearly always be marked as the best.
JUDGE_SCORES: dict[str, tuple[Score, ...]] = {
    "": (
        Score("wer", "word error rate", "words that Whisper hears wrongly, by words spoken; lower is better", "{:.1%}"),
        Score("word_substitutions", "words replaced", "", "{:.0f}"),
        Score("word_deletions", "words missing", "", "{:.0f}"),
        Score("word_insertions", "words added", "", "{:.0f}"),
        Score("words", "words spoken", "", "{:.0f}"),
        Score("mos", "naturalness", "Distill-MOS, 1 to 5; higher is better, if the words are right", "{:.2f}"),
        Score("similarity", "voice, same utterance", "cosine between the voices of both", "{:.2f}"),
        Score("similarity_voice", "voice, same speaker", "cosine to other originals of the speaker", "{:.2f}"),
        Score("similarity_other", "voice, other speakers", "the same between different speakers", "{:.2f}"),
    )
}
OF_ORIGINALS = {
    "wer": "reference_wer",
    "word_substitutions": "reference_word_substitutions",
    "word_deletions": "reference_word_deletions",
    "word_insertions": "reference_word_insertions",
    "words": "words",
    "mos": "reference_mos",
    "similarity_voice": "reference_similarity_same",
    "similarity_other": "reference_similarity_other",
}
"""Key of `JUDGE_SCORES` -> the key under which the scores of a system have it for the originals."""

UNDERSTOOD = (
    "nearly all words are understood",
    "one word in ten is not understood",
    "one word in five is not understood",
    "three words in ten are not understood",
    "two words in five are not understood",
    "half of the words are not understood",
    "three words in five are not understood",
    "seven words in ten are not understood",
    "four words in five are not understood",
    "nine words in ten are not understood",
    "hardly a word is understood",
)
"""By tenths of the words that are replaced or missing."""


def judged_columns(runs: list[tuple[str, Scores]], name: str) -> list[Column]:
    """Return the columns of a set: the originals, then each run and its speaker swap; none where nothing was judged.

    Args:
        runs: the name of each run, and its scores.json.
        name: name of the set.
    """
    columns: list[Column] = []
    for run, scores in runs:
        judged = filled(scores, "audio", name)
        if not is_figure(judged.get("wer")):
            continue
        if not columns:
            columns.append(Column(name, "originals", "", _of_originals(judged), baseline=True))
        columns.append(Column(name, run, "", judged))
        if swapped := filled(scores, "swap", name):
            columns.append(Column(name, run, "speaker swap", swapped))
    return columns


def _of_originals(judged: Scores) -> Scores:
    found: dict[str, Any] = {key: judged.get(other) for key, other in OF_ORIGINALS.items()}
    intervals = judged.get("intervals")
    if isinstance(intervals, dict):
        found["intervals"] = {key: intervals.get(other) for key, other in OF_ORIGINALS.items()}
    return found


def verdicts(scores: Scores) -> list[str]:
    """Return sentences on a scores.json: where its units lose to a baseline, and what is heard of words and voices."""
    found = []
    for name in SET_ORDER:
        ours = _figure(filled(scores, "units", name), "pnmi")
        for key, called in BASELINES.items():
            theirs = _figure(filled(scores, key, name), "pnmi")
            if round(ours, 3) < round(theirs, 3):
                found.append(f"{name}: these units lose to k-means on {called}: PNMI {ours:.3f} against {theirs:.3f}.")
        for key, what in (("audio", "the reconstructions"), ("swap", "the speaker swap")):
            judged = filled(scores, key, name)
            found += [f"{name}, {what}: {part}." for part in (_on_words(judged), _on_voices(judged)) if part]
    return found


def _on_words(judged: Scores) -> str:
    """Return how many words are understood; nothing if that is not known."""
    words = _figure(judged, "words")
    ours, originals = (
        (_figure(judged, f"{side}word_substitutions") + _figure(judged, f"{side}word_deletions")) / (words or math.nan)
        for side in ("", "reference_")
    )
    if not (0 <= ours <= 1 and 0 <= originals <= 1):
        return ""
    return f"{UNDERSTOOD[int(10 * ours + 0.5)]} ({ours:.0%} are replaced or missing, in the originals {originals:.0%})"


def _on_voices(judged: Scores) -> str:
    """Return that voices are not those of their speakers; nothing if they are, or if that is not known."""
    ours, others = _figure(judged, "similarity_voice"), _figure(judged, "reference_similarity_other")
    if not ours <= others:
        return ""
    return f"the voice is no more like the speaker's than those of others are (cosine {ours:.2f}, others {others:.2f})"


def _figure(scores: Scores, key: str) -> float:
    """Return a figure; NaN if there is none."""
    value: Any = scores.get(key)
    return float(value) if is_figure(value) else math.nan
