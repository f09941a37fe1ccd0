"""The baseline of every unit figure: k-means on MFCC or log-mel, with the codebook size and frame rate of the units."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from vqaudio.codec import one_thread
from vqaudio.datadir import read_utterances
from vqaudio.defaults import KMEANS_FRAMES
from vqaudio.errors import UserError
from vqaudio.metrics.alignment import read_alignment
from vqaudio.metrics.evaluation import figures
from vqaudio.metrics.phone_scores import Alignment, Units, read_frames
from vqaudio.units import read_units
from vqaudio.units.kmeans import KMeansUnits


def fit(data: Path, units: Path, *, features: str = "mfcc", seed: int = 0) -> KMeansUnits:
    """Fit a codebook on a data directory, with the codebook size, rate and hop of a unit directory.

    With groups the baseline still has K codes in one group. See `KMeansUnits.fit`.

    Raises:
        UserError: an input cannot be read, or no audio of `data` can.
    """
    info = read_units(units).info
    try:
        return KMeansUnits.fit(
            read_utterances(data),
            info.codebook_size,
            features=features,
            sample_rate=info.sample_rate,
            hop_length=info.hop_length,
            frames=KMEANS_FRAMES,
            seed=seed,
        )
    except UserError as error:
        raise UserError(f"{data}: {error}") from None


def evaluate(
    model: KMeansUnits,
    units: Path,
    data: Path,
    alignment: Path,
    *,
    mapping: tuple[Units, Alignment] | None = None,
) -> dict[str, Any]:
    """Score the baseline on the utterances of a unit directory, by the functions that score its units.

    Args:
        model: the fitted baseline.
        units: unit directory that names the utterances.
        data: their data directory, which names their speakers.
        alignment: their phones, as in `vqaudio.metrics.evaluation.evaluate`.
        mapping: codes that `encode` gave for other utterances, and their phones, as in `phone_scores.score`.

    Raises:
        UserError: an input cannot be read, or whatever `vqaudio.metrics.evaluation.figures` raises.
    """
    return figures(
        encode(model, data, read_frames(units)[1]),
        read_alignment(alignment),
        frame_rate=model.sample_rate / model.hop_length,
        codebook_size=len(model.codebook),
        speakers={utterance.utt: utterance.speaker for utterance in read_utterances(data)},
        codebook=model.codebook[None].numpy(),
        mapping=mapping,
    )


def encode(model: KMeansUnits, data: Path, utts: Collection[str]) -> dict[str, np.ndarray]:
    """Encode the named utterances of a data directory to codes (1, N) each.

    Raises:
        UserError: the data directory lacks one of them, or its audio cannot be read.
    """
    utterances = {utterance.utt: utterance for utterance in read_utterances(data)}
    if missing := sorted(set(utts) - utterances.keys()):
        raise UserError(f"{data}: lacks {len(missing)} utterances that have units, {missing[0]} first")
    with one_thread():  # utterances are short: threads would wait for each other
        return {utt: model.encode(utterances[utt]) for utt in utts}


__all__ = ["encode", "evaluate", "fit"]
