"""Computes all figures of a unit directory: phones, bits, boundaries, ABX, the speaker probe, and intervals."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqaudio import files
from vqaudio.codec import Codec, load
from vqaudio.datadir import read_table
from vqaudio.errors import UserError
from vqaudio.metrics.abx import Distance, average, make_frames, speaker_errors
from vqaudio.metrics.abx_cells import Task, make_cells
from vqaudio.metrics.alignment import default_utt2spk, read_alignment
from vqaudio.metrics.bootstrap import Interval, abx_interval, phone_intervals, string_intervals
from vqaudio.metrics.boundaries import boundary_scores, run_lengths
from vqaudio.metrics.discovery import discovery_figures, phone_strings
from vqaudio.metrics.phone_scores import (
    Alignment,
    Codes,
    code_statistics,
    label_frames,
    phone_figures,
    read_frames,
)
from vqaudio.metrics.speaker_probe import speaker_probe
from vqaudio.units.kmeans import KMeansUnits

Wanted = Mapping[Task, Mapping[str, Distance]]
"""ABX errors: what a token is -> name of the error -> distance."""

ABX: Wanted = {
    "triphone": {"abx": "angular", "abx_units": "identical", "abx_edit": "edit"},
    "phone": {"abx_phone": "angular"},
}
SIDES = ("within", "across")


def evaluate_units(
    units: Path,
    alignment: Path,
    *,
    utt2spk: Path | None = None,
    model: Path | None = None,
    mapping_units: Path | None = None,
    mapping_alignment: Path | None = None,
    silence: Collection[str] = (),
) -> dict[str, Any]:
    """Score a unit directory against a phone alignment: its `change_penalty`, and what `figures` describes.

    Args:
        units: unit directory; a deduplicated one is expanded by its durations.
        alignment: CTM of phones, `utt 1 start duration phone` in seconds, a TextGrid, or a folder of TextGrids.
        utt2spk: table of the speakers; by default the file of that name next to the alignment, if there is one.
        model: model directory or k-means file that made the units, for ABX on its codewords.
        mapping_units: units of other utterances by the same model, to learn the mapping of units to phones from.
            Without it the utterances of `units` are halved, and each half is tested on the mapping of the other.
        mapping_alignment: phones of the utterances of `mapping_units`; by default `alignment`.
        silence: labels of silence besides those of `vqaudio.metrics.symbols.SILENCE`.

    Raises:
        UserError: an input cannot be read, the units are of another model, or as in `figures`.
    """
    expected_hash, codebook = None, None
    if model is not None:
        expected_hash, codebook = read_codebook(model)
    info, codes = read_frames(units, expected_hash=expected_hash)
    utt2spk = utt2spk or default_utt2spk(alignment)
    mapping = None
    if mapping_units is not None:
        phones = read_alignment(mapping_alignment or alignment, silence=silence)
        mapping = (read_frames(mapping_units)[1], phones)
    try:
        scores = figures(
            codes,
            read_alignment(alignment, silence=silence),
            frame_rate=info.frame_rate,
            codebook_size=info.codebook_size,
            speakers=read_table(utt2spk, what="its speaker") if utt2spk else None,
            codebook=codebook,
            mapping=mapping,
        )
    except UserError as error:
        raise UserError(f"{units}: {error}") from None
    return {"change_penalty": info.change_penalty, **scores}


def figures(
    codes: Codes,
    alignment: Alignment,
    *,
    frame_rate: float,
    codebook_size: int,
    speakers: Mapping[str, str] | None = None,
    codebook: np.ndarray | None = None,
    mapping: tuple[Codes, Alignment] | None = None,
) -> dict[str, Any]:
    """Compute all figures of units; shares and errors are in [0, 1].

    The figures are those of `phone_scores.code_statistics`, `phone_scores.phone_figures`,
    `discovery.discovery_figures`, `boundaries.boundary_scores` and `boundaries.run_lengths`. With `speakers` they
    include those of `speaker_probe`; ABX errors of triphones within and across speakers, on codewords (`abx_within` and
    `abx_across`, with a codebook), on units that are equal or not (`abx_units_…`), and as edit distance of merged units
    (`abx_edit_…`); `abx_phone_…`, on the codewords of the middle phone alone; `abx_comparisons_…`, the number of
    triples of triphones; and `intervals`, name -> bounds of 95 % over speakers, for those figures that have enough
    speakers and comparisons.

    Args:
        codes: utt -> codes (G, N), the same G for all.
        alignment: utt -> phones, in seconds.
        frame_rate: frames per second (Hz).
        codebook_size: K, codes per group.
        speakers: utt -> speaker.
        codebook: (G, K, d).
        mapping: as in `vqaudio.metrics.phone_scores.label_frames`.

    Raises:
        UserError: as in `code_statistics` and `label_frames`, or an utterance has no speaker.
    """
    scores, intervals = cheap_figures(
        codes, alignment, frame_rate=frame_rate, codebook_size=codebook_size, speakers=speakers, mapping=mapping
    )
    if speakers is None:
        return scores
    abx, of_abx = abx_figures(codes, alignment, speakers, frame_rate=frame_rate, codebook=codebook)
    scores |= abx
    scores |= speaker_probe(codes, speakers, codebook_size=codebook_size)
    intervals |= of_abx
    return scores | ({"intervals": intervals} if intervals else {})


def cheap_figures(
    codes: Codes,
    alignment: Alignment,
    *,
    frame_rate: float,
    codebook_size: int,
    speakers: Mapping[str, str] | None,
    mapping: tuple[Codes, Alignment] | None,
) -> tuple[dict[str, Any], dict[str, Interval]]:
    """Return those of `figures` that take little time, all but ABX and the speaker probe, and their intervals.

    Args and errors are those of `figures`.
    """
    scores: dict[str, Any] = {}
    scores |= code_statistics(codes.values(), frame_rate=frame_rate, codebook_size=codebook_size)
    frames = label_frames(codes, alignment, frame_rate=frame_rate, mapping=mapping)
    scores |= phone_figures(frames)
    strings = phone_strings(codes, alignment, frame_rate=frame_rate, codebook_size=codebook_size, mapping=mapping)
    scores |= discovery_figures(strings)
    scores |= boundary_scores(codes, alignment, frame_rate=frame_rate)
    scores |= run_lengths(codes.values(), frame_rate=frame_rate)
    if speakers is None:
        return scores, {}
    if missing := sorted(codes.keys() - speakers.keys()):
        raise UserError(f"{len(missing)} utterances have no speaker, such as {missing[0]}; add them to utt2spk")
    of_utterances = [speakers[utt] for utt in frames.utts]
    return scores, phone_intervals(frames, of_utterances) | string_intervals(strings, of_utterances)


def abx_figures(
    codes: Codes,
    alignment: Alignment,
    speakers: Mapping[str, str],
    *,
    frame_rate: float,
    codebook: np.ndarray | None,
    wanted: Wanted = ABX,
    sides: Collection[str] = SIDES,
) -> tuple[dict[str, float], dict[str, Interval]]:
    """Return ABX figures, as `figures` names them, and the intervals of those errors that have one.

    Args:
        codes: as in `figures`, like all that follow.
        alignment: phones.
        speakers: utt -> speaker.
        frame_rate: Hz.
        codebook: without it there are no errors of the angular distance.
        wanted: which errors.
        sides: within, across, or both.
    """
    errors: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    lengths = {utt: units.shape[1] for utt, units in codes.items()}
    scored = [codes[utt] for utt in sorted(codes.keys() & alignment.keys())]
    for task, named in wanted.items():
        distances = {name: of for name, of in named.items() if of != "angular" or codebook is not None}
        if not distances:
            continue
        cells = make_cells(lengths, alignment, speakers, frame_rate=frame_rate, task=task, seed=0)
        jobs = {side: getattr(cells, side) for side in sides}
        comparisons = {side: cells.comparisons(of_side) for side, of_side in jobs.items()}
        if task == "triphone":
            errors |= {f"abx_comparisons_{side}": count for side, count in comparisons.items()}
        for name, distance in distances.items():
            frames = make_frames(scored, distance, codebook)
            for side, of_side in jobs.items():
                of_speakers = speaker_errors(cells, of_side, frames)
                errors[f"{name}_{side}"] = average(of_speakers)
                if interval := abx_interval(of_speakers, comparisons[side]):
                    intervals[f"{name}_{side}"] = interval
    return errors, intervals


def read_codebook(model: Path) -> tuple[str, np.ndarray]:
    """Return the hash of the units and the codewords (G, K, d) of a model directory or a file of `vqaudio kmeans fit`.

    Raises:
        UserError: there is no such model.
    """
    if model.is_file():
        return files.sha256(model), KMeansUnits.load(model).codebook[None].numpy()
    codec = load(model)
    return codec.units_hash, codewords(codec)


def codewords(codec: Codec) -> np.ndarray:
    """Return the codewords (G, K, d) of a trained model."""
    codes = torch.arange(codec.codebook_size).expand(codec.groups, -1)
    with torch.inference_mode():
        return codec.model.quantizer.codewords(codes).numpy()
