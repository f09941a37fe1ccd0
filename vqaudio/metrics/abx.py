"""Computes ABX errors: how often a token X of phone A is nearer to a token of phone B than to another one of A.

The definitions are those of libri-light (Kahn et al. 2020) and ZeroSpeech 2021. A token has the frames ⌈f·on − ½⌉ to
before ⌊f·off − ½⌋; tokens without a frame are left out. The distance of two tokens is the sum of frame distances along
their cheapest warping path, divided by the length of the path. A cell is a phone A and a phone B, both of one speaker
in one context, and X, of phone A in the same context: of that speaker (within) or of another one (across). Its error is
1 − mean[1(d_xa < d_xb) + ½·1(d_xa = d_xb)]. Errors are averaged over contexts (and speakers of X), then over speakers,
then over ordered pairs (A, B). `vqaudio.metrics.abx_cells` draws the tokens.

fastabx gives the same errors for the same tokens (`tools/check_fastabx.py`), but by default its tokens have one frame
more, the one at ⌊f·off − ½⌋, which libri-light leaves out. Compare errors only if both count frames alike.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vqaudio.machine import available_cores
from vqaudio.metrics import abx_kernel
from vqaudio.metrics.abx_cells import Cells
from vqaudio.metrics.symbols import number_symbols

MAX_TABLE_SYMBOLS = 4096  # whose distances are computed beforehand (64 MiB)
JOBS_AT_ONCE = 256  # of a thread

Distance = Literal["angular", "identical", "edit"]
"""Of frames. "angular": arccos(x·y / ‖x‖‖y‖) / π of features, or of the codewords of codes (½ if one is zero).
"identical": 0 or 1, of codes. "edit": no warping, but the edit distance of the tokens' codes, runs merged, divided by
the longer length."""


@dataclass(frozen=True)
class Frames:
    """All frames and their distances; see `abx_kernel.score_jobs`."""

    kind: int
    symbols: np.ndarray
    table: np.ndarray
    vectors: np.ndarray


def make_frames(features: list[np.ndarray], distance: Distance, codebook: np.ndarray | None = None) -> Frames:
    """Join the frames of utterances, and compute the distances of all pairs of codewords if they are few.

    Args:
        features: features (N, D) of floating point, or codes (G, N) of integers, of each utterance.
        distance: of frames.
        codebook: (G, K, d), whose codewords of a frame's groups are joined; for the angular distance of codes.
    """
    no_symbols = np.zeros(0, np.int64)
    no_table = no_vectors = np.zeros((0, 0), np.float32)
    if not np.issubdtype(features[0].dtype, np.integer):
        vectors = _unit_length(np.concatenate(features).astype(np.float32))
        return Frames(abx_kernel.FEATURES, no_symbols, no_table, vectors)
    codes = np.concatenate(features, axis=1)
    symbols = number_symbols(codes)
    if distance != "angular":
        kind = abx_kernel.EDIT if distance == "edit" else abx_kernel.IDENTICAL
        return Frames(kind, symbols, no_table, no_vectors)
    if codebook is None:
        raise ValueError("angular distances of codes need a codebook")
    distinct = codes[:, np.unique(symbols, return_index=True)[1]]
    words = np.concatenate([book[code] for book, code in zip(codebook, distinct, strict=True)], axis=1)
    if len(words) > MAX_TABLE_SYMBOLS:
        return Frames(abx_kernel.FEATURES, no_symbols, no_table, _unit_length(words.astype(np.float32))[symbols])
    words = _unit_length(words.astype(np.float64))
    table = np.arccos(np.clip(words @ words.T, -1.0, 1.0)) / np.pi
    np.fill_diagonal(table, np.where(words.any(axis=1), 0.0, 0.5))  # exact, so that equal tokens tie
    return Frames(abx_kernel.TABLE, symbols, table.astype(np.float32), no_vectors)


def speaker_errors(cells: Cells, jobs: np.ndarray, frames: Frames) -> np.ndarray:
    """Return the errors (S, P, P) by speaker, phone A and phone B: means over contexts and X, NaN without a cell.

    Args:
        cells: tokens, and what is compared.
        jobs: `cells.within` or `cells.across`.
        frames: frames of the utterances in the order of `cells`, sorted by utterance.
    """
    blocks = cells.groups[jobs[:, 1], 2:]
    sizes = blocks[:, 1] - blocks[:, 0]
    errors = np.zeros(int(sizes.sum()))
    tokens, symbols = cells.tokens, frames.symbols
    if frames.kind == abx_kernel.EDIT:
        tokens, symbols = _merge_runs(tokens, symbols)
    parts = [jobs[i : i + JOBS_AT_ONCE] for i in range(0, len(jobs), JOBS_AT_ONCE)]

    def run(part: np.ndarray) -> None:
        abx_kernel.score_jobs(frames.kind, part, cells.groups, tokens, symbols, frames.table, frames.vectors, errors)

    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(run, parts))
    job = np.repeat(np.arange(len(jobs)), sizes)
    a = jobs[job, 1]
    b = np.arange(len(errors)) - jobs[job, 2] + blocks[job, 0]
    shape = (len(cells.speakers), len(cells.phones), len(cells.phones))
    index = np.ravel_multi_index((cells.group_speaker[a], cells.group_phone[a], cells.group_phone[b]), shape)[a != b]
    counts = np.bincount(index, minlength=int(np.prod(shape)))
    sums = np.bincount(index, weights=errors[a != b], minlength=len(counts))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).reshape(shape)


def average(errors: np.ndarray) -> float:
    """Return the mean of the errors (S, P, P) over speakers, then over pairs of phones; NaN without any."""
    return float(averages(errors, np.ones((1, len(errors))))[0])


def averages(errors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return `average` for each row of weights (R, S) of speakers: (R,); pairs of weight 0 do not count."""
    flat = errors.reshape(len(errors), -1)
    flat = flat[:, ~np.isnan(flat).all(axis=0)]
    exist = ~np.isnan(flat)
    sums, counts = weights @ np.where(exist, flat, 0.0), weights @ exist.astype(float)
    pairs = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    number = (counts > 0).sum(axis=1)
    return np.where(number > 0, pairs.sum(axis=1) / np.maximum(number, 1), np.nan)


def _merge_runs(tokens: np.ndarray, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens and symbols after runs within each token are merged."""
    lengths = tokens[:, 1] - tokens[:, 0]
    begins = np.cumsum(lengths) - lengths
    joined = symbols[np.arange(lengths.sum()) + np.repeat(tokens[:, 0] - begins, lengths)]
    new = np.append(True, joined[1:] != joined[:-1])[: len(joined)]
    new[begins] = True
    kept = np.append(0, np.cumsum(new))
    return np.stack([kept[begins], kept[begins + lengths]], axis=1), joined[new]


def _unit_length(vectors: np.ndarray) -> np.ndarray:
    """Return rows scaled to length 1; zeros stay zeros."""
    norms = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
