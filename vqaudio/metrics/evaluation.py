"""Every figure of a unit directory: phones, bits, boundaries, ABX, the speaker probe, and intervals."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqaudio import files
from vqaudio.codec import load
from vqaudio.datadir import read_table
from vqaudio.errors import UserError
from vqaudio.metrics.abx import Distance, average, make_cells, make_frames, speaker_errors
from vqaudio.metrics.abx_cells import Task
from vqaudio.metrics.alignment import default_utt2spk, read_alignment
from vqaudio.metrics.bootstrap import Interval, abx_interval, phone_intervals
from vqaudio.metrics.boundaries import boundary_scores, run_lengths
from vqaudio.metrics.phone_scores import Alignment, Units, label_frames, read_frames, score
from vqaudio.metrics.speaker_probe import speaker_probe
from vqaudio.units.kmeans import KMeansUnits

ABX_OF_CODEWORDS: dict[str, Distance] = {"abx": "angular"}
ABX_OF_PHONES: dict[str, Distance] = {"abx_phone": "angular"}
ABX_OF_UNITS: dict[str, Distance] = {"abx_units": "identical", "abx_edit": "edit"}


def evaluate(
    units: Path,
    alignment: Path,
    *,
    utt2spk: Path | None = None,
    model: Path | None = None,
    mapping_units: Path | None = None,
    mapping_alignment: Path | None = None,
) -> dict[str, Any]:
    """Score a unit directory against a phone alignment; see `figures` for what comes out.

    Args:
        units: unit directory; a deduplicated one is expanded by its durations.
        alignment: CTM of phones, `utt 1 start duration phone` in seconds, a TextGrid, or a folder of TextGrids.
        utt2spk: table of the speakers; by default the file of that name beside the alignment, if there is one.
        model: model directory or k-means file that made the units, for ABX on its codewords.
        mapping_units: units of other utterances, by the same model, from which the mapping of units to
            phones is learned. Without it: two folds of the utterances of `units`.
        mapping_alignment: phones of the utterances of `mapping_units`; by default `alignment`.

    Raises:
        UserError: input that cannot be read, units of another model, and whatever `figures` raises.
    """
    expected_hash, codebook = None, None
    if model is not None:
        expected_hash, codebook = read_codebook(model)
    info, codes = read_frames(units, expected_hash=expected_hash)
    utt2spk = utt2spk or default_utt2spk(alignment)
    mapping = None
    if mapping_units is not None:
        mapping = (read_frames(mapping_units)[1], read_alignment(mapping_alignment or alignment))
    try:
        return figures(
            codes,
            read_alignment(alignment),
            frame_rate=info.frame_rate,
            codebook_size=info.codebook_size,
            speakers=read_table(utt2spk, what="its speaker") if utt2spk else None,
            codebook=codebook,
            mapping=mapping,
        )
    except UserError as error:
        raise UserError(f"{units}: {error}") from None


def figures(
    units: Units,
    alignment: Alignment,
    *,
    frame_rate: float,
    codebook_size: int,
    speakers: Mapping[str, str] | None = None,
    codebook: np.ndarray | None = None,
    mapping: tuple[Units, Alignment] | None = None,
) -> dict[str, Any]:
    """Compute every figure of units; shares and errors are in [0, 1].

    Always those of `phone_scores.score`, `boundaries.boundary_scores` and `boundaries.run_lengths`. With
    `speakers` also those of `speaker_probe`, `intervals` (name -> bounds of 95 % over speakers, when there are
    two or more), and ABX errors of triphones within and across speakers: `abx_within` and `abx_across` on codewords
    (with a codebook), `abx_units_…` on units that are equal or not, and `abx_edit_…`, the edit distance of merged
    units; `abx_phone_…` are on the codewords of the phone in the middle alone. `abx_comparisons_…` counts the triples
    of triphones. See `abx.abx`, which also compares phones in any context: much more work.

    Args:
        units: utt -> codes (G, N), the same G for all.
        alignment: utt -> phones, in seconds.
        frame_rate: frames per second (Hz).
        codebook_size: K, codes per group.
        speakers: utt -> speaker.
        codebook: (G, K, d).
        mapping: as in `vqaudio.metrics.phone_scores.score`.

    Raises:
        UserError: what `score` raises, or an utterance has no speaker.
    """
    scores: dict[str, Any] = {
        **score(units, alignment, frame_rate=frame_rate, codebook_size=codebook_size, mapping=mapping),
        **boundary_scores(units, alignment, frame_rate=frame_rate),
        **run_lengths(units.values(), frame_rate=frame_rate),
    }
    if speakers is None:
        return scores
    if missing := sorted(units.keys() - speakers.keys()):
        raise UserError(f"{len(missing)} utterances have no speaker, {missing[0]} first: name it in utt2spk")
    abx, intervals = abx_figures(units, alignment, speakers, frame_rate=frame_rate, codebook=codebook)
    scores |= abx
    scores |= speaker_probe(units, speakers, codebook_size=codebook_size)
    if len({speakers[utt] for utt in units.keys() & alignment.keys()}) > 1:
        frames = label_frames(units, alignment, frame_rate=frame_rate, mapping=mapping)
        intervals = phone_intervals(frames, [speakers[utt] for utt in frames.utts]) | intervals
        scores["intervals"] = intervals
    return scores


def abx_figures(
    units: Units,
    alignment: Alignment,
    speakers: Mapping[str, str],
    *,
    frame_rate: float,
    codebook: np.ndarray | None,
) -> tuple[dict[str, float], dict[str, Interval]]:
    """Return the ABX figures that `figures` names, and the intervals of the errors over speakers."""
    errors: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    lengths = {utt: codes.shape[1] for utt, codes in units.items()}
    codes = [units[utt] for utt in sorted(units.keys() & alignment.keys())]
    tasks: list[tuple[Task, dict[str, Distance]]] = [("triphone", ABX_OF_UNITS)]
    if codebook is not None:
        tasks = [("triphone", ABX_OF_CODEWORDS | ABX_OF_UNITS), ("phone", ABX_OF_PHONES)]
    for task, distances in tasks:
        cells = make_cells(lengths, alignment, speakers, frame_rate=frame_rate, task=task, seed=0)
        if task == "triphone":
            errors["abx_comparisons_within"] = cells.comparisons(cells.within)
            errors["abx_comparisons_across"] = cells.comparisons(cells.across)
        for name, distance in distances.items():
            frames = make_frames(codes, distance, codebook)
            for side, jobs in (("within", cells.within), ("across", cells.across)):
                of_speakers = speaker_errors(cells, jobs, frames)
                errors[f"{name}_{side}"] = average(of_speakers)
                intervals[f"{name}_{side}"] = abx_interval(of_speakers)
    return errors, intervals


def read_codebook(model: Path) -> tuple[str, np.ndarray]:
    """Return the hash of a model directory, or of a file of `vqaudio kmeans fit`, and its codewords (G, K, d).

    Raises:
        UserError: there is no such model.
    """
    if model.is_file():
        return files.sha256(model), KMeansUnits.load(model).codebook[None].numpy()
    codec = load(model)
    codes = torch.arange(codec.codebook_size).expand(codec.groups, -1)
    with torch.inference_mode():
        return codec.hash, codec.model.quantizer.codewords(codes).numpy()
