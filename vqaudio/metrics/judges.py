"""Judges reconstructed speech by what models hear in it: words, naturalness, and whose voice it is.

Every figure stands beside the same figure of the originals, since a recogniser errs on natural speech too. Naturalness
never stands alone: speech that is natural may say other words.
"""

import logging
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vqaudio import audio
from vqaudio.datadir import Utterance, read_audio_list, read_table
from vqaudio.errors import UserError
from vqaudio.metrics.alignment import default_utt2spk
from vqaudio.metrics.bootstrap import MIN_COMPARISONS, ratio_interval
from vqaudio.metrics.judge_models import RATE, Judges
from vqaudio.metrics.word_error import normalise, word_errors
from vqaudio.threads import one_thread

logger = logging.getLogger("vqaudio.metrics")

MEANS: dict[str, tuple[float, float]] = {
    "mos": (1.0, 5.0),
    "reference_mos": (1.0, 5.0),
    "similarity": (-1.0, 1.0),
    "similarity_voice": (-1.0, 1.0),
    "reference_similarity_same": (-1.0, 1.0),
    "reference_similarity_other": (-1.0, 1.0),
}
"""Figures that are means over utterances, with their least and greatest value."""

SIDES = ("", "reference_")
KINDS = ("substitutions", "deletions", "insertions")


class Impression(NamedTuple):
    """What the judges say of one recording; of silence they hear no word, and say nothing else."""

    heard: str
    mos: float
    voice: np.ndarray | None


def judge_audio(
    reference: Path,
    system: Path,
    text: Path,
    judges: Judges,
    *,
    utt2spk: Path | None = None,
    voices: Path | None = None,
    jobs: int,
) -> dict[str, Any]:
    """Judge the audio of a system, and its references, whose utterance ids it shares.

    An utterance one of whose files cannot be read is not judged. Words are compared as `normalise` returns them.

    Args:
        reference: wav.scp or data directory of the originals.
        system: the same of the reconstructions.
        text: what the originals say: lines of an utterance and its words, with numbers spelt out.
        judges: the models.
        utt2spk: speakers of the originals; by default the file of that name in or next to `reference`, if there is one.
        voices: the speaker in whose voice the system says each utterance, if it is another one than the original's.
        jobs: threads.

    Returns:
        `wer`, the errors of all utterances divided by all their words, with counts `word_substitutions`,
        `word_deletions`, `word_insertions` and `words`; `mos`, a mean opinion score (1 to 5); `similarity`, the cosine
        between the voices of the system and of the reference in the same utterance. `reference_wer`, its counts and
        `reference_mos` are those of the originals. With speakers: `similarity_voice`, the cosine to other originals of
        the speaker that the system speaks as; and the same of the originals, `reference_similarity_same`, a ceiling,
        with `reference_similarity_other`, to other speakers, a floor. Counts `utterances_judged`, `failed_judges` and
        `utterances_without_text`, which have no word errors; `intervals` of 95 %, over speakers if they are known, else
        over utterances; `per_utterance`, utt -> its figures, and what was `heard` in both. NaN: there is no figure.

    Raises:
        UserError: a list cannot be read, no utterance is in both, or none of those has words; or an utterance has no
            speaker.
    """
    references, systems = read_audio_list(reference), read_audio_list(system)
    common = sorted(references.keys() & systems.keys())
    if not common:
        raise UserError(f"{system}: has no utterance of {reference}; give both the same utterance ids")
    texts = _read_texts(text, common)
    speakers = _read_speakers(utt2spk or default_utt2spk(reference), common)
    spoken_as = _read_speakers(voices, common) if voices else speakers
    with ThreadPoolExecutor(jobs) as pool:
        pairs = pool.map(lambda utt: _judge_pair(references[utt], systems[utt], judges), common)
        found = dict(zip(common, pairs, strict=True))
    errors = {utt: {"judges_error": pair} for utt, pair in found.items() if isinstance(pair, str)}
    heard = {utt: pair for utt, pair in found.items() if not isinstance(pair, str)}
    if not heard:
        raise UserError(f"{system}: no utterance can be judged; the first one: {errors[common[0]]['judges_error']}")
    words = {utt: _word_figures(pair, texts.get(utt)) for utt, pair in heard.items()}
    similarities = _similarities(heard, speakers, spoken_as)
    rows: dict[str, dict[str, Any]] = {
        utt: words[utt] | {"mos": pair[0].mos, "reference_mos": pair[1].mos} | similarities[utt]
        for utt, pair in heard.items()
    }
    of_rows = [speakers[utt] if speakers else utt for utt in rows]
    return {
        **_figures(list(rows.values()), of_rows),
        "utterances_judged": len(rows),
        "failed_judges": len(errors),
        "utterances_without_text": len(common) - len(texts),
        "per_utterance": rows | errors,
    }


def _read_texts(path: Path, utts: list[str]) -> dict[str, list[str]]:
    """Return the words of those of some utterances that have a text; tell how many have none."""
    table = read_table(path, what="")
    found = {utt: normalise(table[utt]) for utt in utts if utt in table}
    if not any(found.values()):
        raise UserError(f"{path}: has no words of the {len(utts)} utterances to judge; give a text with the same ids")
    if missing := [utt for utt in utts if utt not in found]:
        logger.warning(
            "%s: no line for %d of %d utterances, such as %s; their words are not scored",
            *(path, len(missing), len(utts), missing[0]),
        )
    return found


def _read_speakers(path: Path | None, utts: list[str]) -> dict[str, str]:
    """Return the speakers of some utterances, empty without a file."""
    if path is None:
        return {}
    table = read_table(path, what="its speaker")
    if missing := [utt for utt in utts if utt not in table]:
        raise UserError(f"{path}: {len(missing)} utterances have no speaker, such as {missing[0]}; add them")
    return {utt: table[utt] for utt in utts}


def _judge_pair(reference: Utterance, system: Utterance, judges: Judges) -> tuple[Impression, Impression] | str:
    """Return the impressions of a system and of its reference, or why a file cannot be read."""
    try:
        wavs = [audio.read(part.path, RATE, part.start, part.end, part.channel)[0] for part in (system, reference)]
    except UserError as error:
        return str(error)
    with one_thread():
        ours, original = (_impression(wav, judges) for wav in wavs)
    return ours, original


def _impression(wav: np.ndarray, judges: Judges) -> Impression:
    if not wav.any():
        return Impression("", math.nan, None)
    return Impression(judges.transcribe(wav), judges.naturalness(wav), judges.embed(wav))


def _word_figures(pair: tuple[Impression, Impression], words: list[str] | None) -> dict[str, Any]:
    """Return what was heard in a system and in its reference, and the word errors of both if the words are known."""
    figures: dict[str, Any] = {}
    for side, impression in zip(SIDES, pair, strict=True):
        figures[f"{side}heard"] = impression.heard
        if words is not None:
            errors = word_errors(words, normalise(impression.heard))
            for kind in KINDS:
                figures[f"{side}word_{kind}"] = getattr(errors, kind)
            figures["words"] = errors.words
    return figures


def _similarities(
    pairs: Mapping[str, tuple[Impression, Impression]], speakers: Mapping[str, str], spoken_as: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Return the cosines of each utterance; those to other utterances are means over them."""
    ours, originals = (_voices([pair[side] for pair in pairs.values()]) for side in (0, 1))
    of_system, of_originals = ours @ originals.T, originals @ originals.T
    self = np.eye(len(pairs), dtype=bool)
    found = {"similarity": _means(of_system, self)}
    if speakers:
        own, target = (np.array([table[utt] for utt in pairs]) for table in (speakers, spoken_as))
        found["similarity_voice"] = _means(of_system, (target[:, None] == own) & ~self)
        found["reference_similarity_same"] = _means(of_originals, (own[:, None] == own) & ~self)
        found["reference_similarity_other"] = _means(of_originals, own[:, None] != own)
    return {utt: {name: float(values[row]) for name, values in found.items()} for row, utt in enumerate(pairs)}


def _voices(impressions: list[Impression]) -> np.ndarray:
    """Return the voices (U, E), NaN where there is none."""
    size = next((len(each.voice) for each in impressions if each.voice is not None), 1)
    return np.array([np.full(size, math.nan) if each.voice is None else each.voice for each in impressions])


def _means(cosines: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the mean of the chosen numbers of each row, (U, U) -> (U,), NaN left out; the mean of none is NaN."""
    chosen = chosen & ~np.isnan(cosines)
    count = chosen.sum(axis=1)
    total = np.where(chosen, cosines, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(count), math.nan), where=count > 0)


def _figures(rows: list[dict[str, Any]], speakers: list[str]) -> dict[str, Any]:
    """Return the figures of all utterances, and the intervals of those that have one."""
    figures: dict[str, Any] = {}
    intervals = {}
    words = np.array([row.get("words", 0) for row in rows], float)
    for side in SIDES:
        names = [f"{side}word_{kind}" for kind in KINDS]
        errors = np.array([sum(row.get(name, 0) for name in names) for row in rows], float)
        figures[f"{side}wer"] = float(errors.sum() / words.sum()) if words.any() else math.nan
        figures |= {name: sum(row.get(name, 0) for row in rows) for name in names}
        if words.sum() >= MIN_COMPARISONS:
            intervals[f"{side}wer"] = ratio_interval(errors, words, speakers, (0.0, math.inf))
    figures["words"] = int(words.sum())
    for name, limits in MEANS.items():
        if any(name in row for row in rows):
            values = np.array([row[name] for row in rows])
            known = ~np.isnan(values)
            figures[name] = float(values[known].mean()) if known.any() else math.nan
            intervals[name] = ratio_interval(np.where(known, values, 0.0), known.astype(float), speakers, limits)
    return figures | {"intervals": {name: bounds for name, bounds in intervals.items() if bounds is not None}}
