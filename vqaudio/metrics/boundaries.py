"""Compares the times at which units change with phone boundaries, and measures how long units last."""

from collections.abc import Iterable, Mapping

import numba
import numpy as np

from vqaudio.datadir import Phone
from vqaudio.errors import UserError
from vqaudio.metrics.symbols import number_symbols

TOLERANCE = 0.02  # seconds: the customary 20 ms on either side
ROUNDING = 1e-6  # seconds: in floating point 3 · 0.01 is not quite 0.03
MAX_GAP_SECONDS = 0.002  # between the end of a phone and the start of the next, if they are one boundary


def boundary_scores(
    codes: Mapping[str, np.ndarray], alignment: Mapping[str, list[Phone]], *, frame_rate: float
) -> dict[str, float]:
    """Compare the times at which units change with phone boundaries, silence included.

    Boundaries of phones are the starts and ends strictly inside the alignment of an utterance. A unit changes at the
    edge n / frame_rate between two frames; changes outside the alignment are left out. A pair at most 20 ms apart is a
    hit; each boundary is in one pair at most, and the pairs are chosen so that hits are as many as possible.

    Args:
        codes: utt -> codes (G, N), one column per frame.
        alignment: utt -> phones, in seconds; utterances without units are left out, and the other way round.
        frame_rate: frames per second (Hz).

    Returns:
        `boundary_precision` = hits / unit changes, `boundary_recall` = hits / phone boundaries, `boundary_f1` their
        harmonic mean, and `boundary_r_value`, which too many boundaries cannot raise. NaN if there is no boundary.

    Raises:
        UserError: no utterance has both.

    Source: R-value: Räsänen, Laine and Altosaar 2009, "An improved speech segmentation quality measure".
    """
    utts = sorted(codes.keys() & alignment.keys())
    if not utts:
        raise UserError(f"none of {len(codes)} utterances is in the alignment ({len(alignment)}); give equal ids")
    hits = changes = boundaries = 0
    for utt in utts:
        found, true = change_times(codes[utt], frame_rate), phone_times(alignment[utt])
        inside = [phone for phone in alignment[utt] if phone.duration > 0]
        start = min((phone.start for phone in inside), default=0.0)
        end = max((phone.start + phone.duration for phone in inside), default=0.0)
        found = found[(found > start + ROUNDING) & (found < end - ROUNDING)]
        hits += count_hits(found, true, TOLERANCE + ROUNDING)
        changes, boundaries = changes + len(found), boundaries + len(true)
    precision = hits / changes if changes else float("nan")
    recall = hits / boundaries if boundaries else float("nan")
    return {
        "boundary_precision": precision,
        "boundary_recall": recall,
        "boundary_f1": 2 * hits / (changes + boundaries) if changes and boundaries else float("nan"),
        "boundary_r_value": r_value(recall, changes / boundaries - 1) if boundaries else float("nan"),
    }


def r_value(recall: float, over_segmentation: float) -> float:
    """Return the R-value of Räsänen et al. 2009 for a recall and (found / true) − 1, both as shares; 1 is perfect.

    >>> r_value(1.0, 0.0)
    1.0
    """
    from_ideal = np.hypot(1 - recall, over_segmentation)
    from_line = (recall - 1 - over_segmentation) / np.sqrt(2)
    return float(1 - (abs(from_ideal) + abs(from_line)) / 2)


def run_lengths(codes: Iterable[np.ndarray], *, frame_rate: float) -> dict[str, float]:
    """Return how long units last: `run_length_mean` in frames, and `runs_per_second`.

    Args:
        codes: (G, N) of each utterance; runs end with the utterance.
        frame_rate: frames per second (Hz).
    """
    frames = runs = 0
    for utterance in codes:
        frames += utterance.shape[1]
        runs += min(1, utterance.shape[1]) + len(change_times(utterance, frame_rate))
    return {"run_length_mean": frames / runs, "runs_per_second": runs / (frames / frame_rate)}


def change_times(codes: np.ndarray, frame_rate: float) -> np.ndarray:
    """Return the times in seconds at which codes (G, N) change."""
    symbols = number_symbols(codes)
    return (np.flatnonzero(symbols[1:] != symbols[:-1]) + 1) / frame_rate


def phone_times(phones: list[Phone]) -> np.ndarray:
    """Return the boundaries strictly inside the alignment of an utterance in seconds, each once.

    >>> phone_times([Phone(0.0, 0.1, "A"), Phone(0.1, 0.2, "B"), Phone(0.4, 0.1, "C")]).round(3).tolist()
    [0.1, 0.3, 0.4]
    """
    times = np.sort([time for phone in phones for time in (phone.start, phone.start + phone.duration)])
    if len(times) == 0:
        return times
    times = times[np.append(True, np.diff(times) > MAX_GAP_SECONDS)]
    return times[1:-1]


@numba.njit(cache=True, nogil=True)
def count_hits(found: np.ndarray, true: np.ndarray, tolerance: float) -> int:
    """Return the most pairs of sorted times that are at most `tolerance` apart, with each time in one pair at most."""
    i = j = hits = 0
    while i < len(found) and j < len(true):
        if abs(found[i] - true[j]) <= tolerance:
            hits, i, j = hits + 1, i + 1, j + 1
        elif found[i] < true[j]:
            i += 1
        else:
            j += 1
    return hits


def count_regions(found: np.ndarray, true: np.ndarray, tolerance: float) -> int:
    """Return how many of sorted true times have a found time in their region.

    The region reaches `tolerance` to either side, but not over the middle between two true times, which belongs to the
    earlier one. Unlike `count_hits`, a found time cannot serve a true time that is not the nearest.

    Source: the search regions of Räsänen et al. 2009.

    >>> count_regions(np.array([12, 28, 31]), np.array([10, 30, 50]), 2)
    2
    """
    if not (len(found) and len(true)):
        return 0
    after = np.searchsorted(true, found)
    left, right = np.maximum(after - 1, 0), np.minimum(after, len(true) - 1)
    nearest = np.where(np.abs(found - true[left]) <= np.abs(true[right] - found), left, right)
    return len(np.unique(nearest[np.abs(found - true[nearest]) <= tolerance]))
