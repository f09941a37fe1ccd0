"""Samples units from a language model and writes them as a unit directory, which `vqaudio decode` speaks."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vqaudio.codec import utterance_seed
from vqaudio.errors import UserError
from vqaudio.outputs import claim_folder
from vqaudio.units import arpa
from vqaudio.units.directory import UnitsInfo
from vqaudio.units.language_model import LanguageModel
from vqaudio.units.ngrams import BEGIN, END, UNKNOWN
from vqaudio.units.sequence import expand
from vqaudio.units.writer import KIND, write_units

LONGEST = 30.0
"""Seconds, of an utterance that the model does not end before."""


def sample_directory(model_file: Path, out: Path, utterances: int, seconds: float | None, seed: int) -> UnitsInfo:
    """Write a unit directory of sampled utterances, `sample-1` and so on; it has the model hash of those of the fit.

    Args:
        model_file: what `vqaudio units lm` wrote.
        out: unit directory to write, or to replace.
        utterances: number of them.
        seconds: length of each; None: until the model ends it, at most `LONGEST`.
        seed: of sampling; an utterance is a function of it and of its name alone.

    Raises:
        UserError: the model cannot be read, `seconds` is shorter than a frame, or `out` may not be written into.
    """
    model = arpa.read(model_file)
    frames = math.floor((LONGEST if seconds is None else seconds) * model.info.frame_rate)
    if frames < 1:
        raise UserError(
            f"--seconds {seconds}: is shorter than a frame of {1 / model.info.frame_rate:g} s; ask for more"
        )
    claim_folder(out, KIND, inputs=[model_file])
    digits = len(str(utterances))

    def records() -> Iterator[tuple[str, np.ndarray]]:
        for number in range(1, utterances + 1):
            utt = f"sample-{number:0{digits}d}"
            yield utt, sample(model, frames, seconds is None, np.random.default_rng(utterance_seed(seed, utt)))

    return write_units(out, model.info, records(), [])


def sample(model: LanguageModel, frames: int, may_end: bool, random: np.random.Generator) -> np.ndarray:
    """Return the codes (G, N) of one utterance, N = `frames`; `may_end`: fewer, if the model ends it before."""
    tokens, durations, total = [BEGIN], [], 0
    while total < frames:
        share = model.distribution(tokens[-len(model.orders) :])
        share[[BEGIN, UNKNOWN]] = 0.0
        if not may_end or len(tokens) == 1:  # an utterance has a unit
            share[END] = 0.0
        token = int(random.choice(len(share), p=share / share.sum()))
        if token == END:
            break
        tokens.append(token)
        durations.append(_duration(model, token, random))
        total += durations[-1]
    return expand(model.vocabulary.units(np.array(tokens[1:])), np.array(durations))[:, :frames]


def _duration(model: LanguageModel, token: int, random: np.random.Generator) -> int:
    """Return for how many frames a word lasts: as long as one of its runs; a word without runs lasts for one frame."""
    lengths = model.runs.get(token, {1: 1})
    counts = np.array(list(lengths.values()), dtype=float)
    return int(random.choice(list(lengths), p=counts / counts.sum()))
