"""Measures what units lose and gain when they change less often: figures of several models at several change penalties.

Audio is read once for all penalties of a model; only codes are kept.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vqaudio.codec import Codec, load
from vqaudio.datadir import Utterance, read_table
from vqaudio.errors import UserError
from vqaudio.metrics.curve_words import CodesAt, Listener, judge_words
from vqaudio.metrics.evaluation import Wanted, abx_figures, cheap_figures, codewords
from vqaudio.metrics.phone_scores import Alignment
from vqaudio.model.penalty import check_penalty
from vqaudio.progress import Progress
from vqaudio.units.kmeans import KMeansUnits
from vqaudio.units.npy import find_utterances
from vqaudio.units.parallel import encode_all

logger = logging.getLogger("vqaudio.metrics")

ABX: Wanted = {"triphone": {"abx": "angular", "abx_units": "identical"}}
SIDES = ("across",)

COLUMNS = {
    "bitrate_deduplicated": ("bit/s", "{:.0f}"),
    "runs_per_second": ("units/s", "{:.1f}"),
    "pnmi": ("PNMI", "{:.3f}"),
    "abx_across": ("ABX", "{:.3f}"),
    "abx_units_across": ("ABX of units", "{:.3f}"),
    "phone_error_rate": ("phone errors", "{:.3f}"),
    "boundary_r_value": ("R-value", "{:.3f}"),
    "wer": ("word errors", "{:.3f}"),
}
"""Figures that are printed: their names in the table and their formats."""


class Speech(NamedTuple):
    """Speech and its phones: a data directory (for k-means on npy, a folder of .npy), and utt -> phones."""

    data: Path
    alignment: Alignment


@dataclass(frozen=True)
class UnitModel:
    """A model that makes units."""

    frame_rate: float
    """Hz."""
    codebook: np.ndarray
    """(G, K, d)."""
    utterances: Callable[[Path], list[Utterance]]
    """Finds what can be encoded."""
    encode: Callable[[Utterance, Sequence[float]], np.ndarray]
    """Returns codes (P, G, N) at P penalties."""
    codec: Codec | None
    """What speaks; None for k-means."""


def evaluate_curve(
    models: Sequence[Path],
    change_penalties: Sequence[float],
    speech: Speech,
    *,
    utt2spk: Path | None = None,
    mapping: Speech | None = None,
    listener: Listener | None = None,
    jobs: int,
) -> dict[str, Any]:
    """Score the units of models at change penalties.

    Args:
        models: model directories, or files of `vqaudio kmeans fit`.
        change_penalties: see `vqaudio.model.penalty`; 0 is none.
        speech: what is scored.
        utt2spk: speakers, for ABX and intervals.
        mapping: other utterances, to learn the phone of each unit from, as in `vqaudio.metrics.evaluation.figures`.
        listener: hears the words of speech that trained models synthesise from their units, in the voices of the
            speakers that they know and in `<unknown>`. Without it there are no word errors.
        jobs: utterances to work on at a time.

    Returns:
        `rows`, one for each model and penalty: `model`, `change_penalty`, the figures of `evaluation.cheap_figures`,
        `abx_across` and `abx_units_across` with speakers, `wer`, `reference_wer` and `words` with a listener, and
        `intervals` of 95 %. `failed`: model -> utterance -> why it cannot be encoded.

    Raises:
        UserError: a model, a penalty or the data cannot be used, none of the utterances can be encoded or has phones,
            or a listener is given but no model speaks.
    """
    _check(models, change_penalties)
    loaded = {str(path): load_unit_model(path) for path in models}
    if listener and not any(model.codec for model in loaded.values()):
        raise UserError(
            f"{models[0]}: k-means units cannot be turned into speech; drop --judges, or add a trained model"
        )
    speakers = read_table(utt2spk, what="its speaker") if utt2spk else None
    rows, failed = [], {}
    for name, model in loaded.items():
        codes, failed[name] = encode_at_penalties(model, speech.data, change_penalties, jobs)
        taught = None
        if mapping:
            taught = encode_at_penalties(model, mapping.data, change_penalties, jobs)[0], mapping.alignment
        try:
            scores = _score(model, codes, speech.alignment, speakers, taught)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        if listener and model.codec:
            words = judge_words(model.codec, codes, speech.data, listener, speakers, utt2spk, jobs)
            for of_units, of_words in zip(scores, words, strict=True):
                intervals = {**of_units.get("intervals", {}), **of_words.pop("intervals")}
                of_units |= of_words | {"intervals": intervals}
        rows += [{"model": name, "change_penalty": p, **s} for p, s in zip(change_penalties, scores, strict=True)]
    return {"rows": rows, "failed": failed}


def _check(models: Sequence[Path], change_penalties: Sequence[float]) -> None:
    for penalty in change_penalties:
        check_penalty(penalty)
    for what, given in (("model", [str(path) for path in models]), ("penalty", [f"{p:g}" for p in change_penalties])):
        if twice := [value for value in given if given.count(value) > 1]:
            raise UserError(f"{twice[0]}: this {what} is given twice; name each once")


def load_unit_model(path: Path) -> UnitModel:
    """Load a model directory, or a file of `vqaudio kmeans fit`.

    Raises:
        UserError: there is no such model.
    """
    if path.is_file():
        units = KMeansUnits.load(path)
        if units.encoder:
            units.encoder.network()  # what is wrong with it is said once, not for every utterance
        return UnitModel(
            frame_rate=units.sample_rate / units.hop_length,
            codebook=units.codebook[None].numpy(),
            utterances=lambda data: find_utterances(data, units.features),
            encode=units.encode_at_penalties,
            codec=None,
        )
    codec = load(path)
    codec.model.require_encoder()
    return UnitModel(
        frame_rate=codec.frame_rate,
        codebook=codewords(codec),
        utterances=lambda data: find_utterances(data, "audio"),
        encode=lambda utt, penalties: codec.encode_at_penalties(utt.path, penalties, utt.start, utt.end, utt.channel),
        codec=codec,
    )


def encode_at_penalties(
    model: UnitModel, data: Path, change_penalties: Sequence[float], jobs: int
) -> tuple[CodesAt, dict[str, str]]:
    """Return the codes of all utterances at each penalty, and why utterances cannot be encoded, sorted.

    Raises:
        UserError: the data cannot be read, or none of its utterances can be encoded.
    """
    utterances = model.utterances(data)
    codes: CodesAt = [{} for _ in change_penalties]
    failed: dict[str, str] = {}
    with Progress("encode", len(utterances), "utterances") as progress:
        for utt, found in encode_all(lambda utt: model.encode(utt, change_penalties), utterances, jobs):
            if isinstance(found, str):
                failed[utt] = found
            else:
                for at_penalty, of_utterance in zip(codes, found, strict=True):
                    at_penalty[utt] = of_utterance
            progress.update()
    failed = dict(sorted(failed.items()))
    if failed:
        utt, reason = next(iter(failed.items()))
        text = f"{data}: {len(failed)} of {len(utterances)} utterances cannot be encoded, such as {utt} ({reason})"
        if len(failed) == len(utterances):
            raise UserError(f"{text}; repair the data")
        logger.warning("%s", text)
    return codes, failed


def _score(
    model: UnitModel,
    codes: CodesAt,
    alignment: Alignment,
    speakers: Mapping[str, str] | None,
    mapping: tuple[CodesAt, Alignment] | None,
) -> list[dict[str, Any]]:
    """Return the figures at each penalty."""
    rows = []
    with Progress("score", len(codes), "penalties") as progress:
        for number, at_penalty in enumerate(codes):
            scores, intervals = cheap_figures(
                at_penalty,
                alignment,
                frame_rate=model.frame_rate,
                codebook_size=model.codebook.shape[1],
                speakers=speakers,
                mapping=(mapping[0][number], mapping[1]) if mapping else None,
            )
            if speakers:
                abx, of_abx = abx_figures(
                    at_penalty,
                    alignment,
                    speakers,
                    frame_rate=model.frame_rate,
                    codebook=model.codebook,
                    wanted=ABX,
                    sides=SIDES,
                )
                scores, intervals = scores | abx, intervals | of_abx
            rows.append({**scores, "intervals": intervals})
            progress.update()
    return rows


def curve_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of `evaluate_curve` as an aligned table under the name of each model; brackets hold intervals.

    Figures that no row has are left out; a dash stands for a figure that a row does not have.
    """
    shown = {key: name for key, (name, _) in COLUMNS.items() if any(key in row for row in rows)}
    cells = [["penalty", *shown.values()]]
    cells += [[f"{row['change_penalty']:g}", *(_cell(row, key) for key in shown)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(f"{text:{width}}" for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    text, model = lines[0], None
    for row, line in zip(rows, lines[1:], strict=True):
        text += f"\n{line}" if row["model"] == model else f"\n{row['model']}\n{line}"
        model = row["model"]
    return text


def _cell(row: Mapping[str, Any], key: str) -> str:
    """Return a figure, with its interval if it has one."""
    value, layout = row.get(key, math.nan), COLUMNS[key][1]
    if math.isnan(value):
        return "–"
    bounds = row.get("intervals", {}).get(key)
    return layout.format(value) + (f" [{', '.join(map(layout.format, bounds))}]" if bounds else "")
