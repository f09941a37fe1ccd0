"""Draws the tokens that ABX compares: at most 10 of a phone, speaker and context, and X of at most 5 speakers.

Silence is never A, B, X or context.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vqaudio.datadir import Phone
from vqaudio.errors import UserError
from vqaudio.metrics.symbols import SILENCE

MAX_TOKENS = 10  # of a phone, speaker and context
MAX_X_SPEAKERS = 5  # for a phone A of a speaker in a context
MAX_GAP_SECONDS = 0.002  # between phones that are neighbours: alignments are rounded

Task = Literal["triphone", "phone"]
"""What a token is. "triphone": a whole triphone; those compared differ in the middle phone (libri-light, ZeroSpeech
2017). "phone": the middle phone alone, in the same cells (ZeroSpeech 2021, phoneme within context). The neighbours of
the middle phone must touch it and not be silence."""


@dataclass(frozen=True)
class Cells:
    """Tokens and the jobs that compare them; see `abx_kernel.score_jobs` for `groups`, `tokens` and jobs."""

    groups: np.ndarray
    tokens: np.ndarray
    group_speaker: np.ndarray
    group_phone: np.ndarray
    within: np.ndarray
    """Jobs whose X is of the speaker of A and B."""
    across: np.ndarray
    """Jobs whose X is of another speaker."""
    speakers: list[str]
    phones: list[str]

    def comparisons(self, jobs: np.ndarray) -> int:
        """Return the number of triples (A, B, X) of jobs."""
        sizes = self.groups[:, 1] - self.groups[:, 0]
        before = np.append(0, np.cumsum(sizes))
        x, a = jobs[:, 0], jobs[:, 1]
        of_b = before[self.groups[a, 3]] - before[self.groups[a, 2]] - sizes[a]
        return int((sizes[x] * (sizes[a] - (x == a)) * of_b).sum())


def make_cells(
    lengths: Mapping[str, int],
    alignment: Mapping[str, list[Phone]],
    speakers: Mapping[str, str],
    *,
    frame_rate: float,
    task: Task,
    seed: int,
) -> Cells:
    """Draw tokens and lay out their comparisons; frames are numbered through the sorted utterances.

    Args:
        lengths: utt -> N, its number of frames.
        alignment: utt -> phones, in seconds; utterances without a length are left out, and the other way round.
        speakers: utt -> speaker.
        frame_rate: frames per second (Hz).
        task: what a token is.
        seed: of the draws.

    Raises:
        UserError: no utterance has both a length and phones, or one has no speaker.
    """
    utts = sorted(lengths.keys() & alignment.keys())
    if not utts:
        raise UserError(f"none of {len(lengths)} utterances is in the alignment ({len(alignment)}); give equal ids")
    if missing := [utt for utt in utts if utt not in speakers]:
        raise UserError(f"{len(missing)} utterances have no speaker, such as {missing[0]}; add them to utt2spk")
    speaker_names, speaker_of_utt = np.unique([speakers[utt] for utt in utts], return_inverse=True)
    phone_names, utt, phone, context, first, last = _tokens(utts, lengths, alignment, frame_rate, task)
    generator = np.random.default_rng(seed)
    keys = np.stack([context, speaker_of_utt[utt], phone])
    order = np.lexsort((generator.random(len(phone)), *keys[::-1]))
    keys = keys[:, order]
    rank = np.arange(len(order)) - np.maximum.accumulate(np.where(_changes(keys), np.arange(len(order)), 0))
    keys, order = keys[:, rank < MAX_TOKENS], order[rank < MAX_TOKENS]
    starts = np.flatnonzero(_changes(keys))
    group_keys = keys[:, starts]
    blocks = np.flatnonzero(_changes(group_keys[:2]))
    sizes = np.diff(blocks, append=len(starts))
    first_group, last_group = np.repeat(blocks, sizes), np.repeat(blocks + sizes, sizes)
    groups = np.stack([starts, np.append(starts, len(order))[1:], first_group, last_group], axis=1)
    alone = groups[:, 3] - groups[:, 2] < 2
    within = np.flatnonzero(~alone & (groups[:, 1] - groups[:, 0] > 1))
    across = _other_speakers(group_keys, alone, generator)
    return Cells(
        groups=groups,
        tokens=np.stack([first, last], axis=1)[order],
        group_speaker=group_keys[1],
        group_phone=group_keys[2],
        within=_jobs(within, within, groups),
        across=_jobs(across[:, 0], across[:, 1], groups),
        speakers=speaker_names.tolist(),
        phones=phone_names,
    )


def _tokens(
    utts: list[str], lengths: Mapping[str, int], alignment: Mapping[str, list[Phone]], frame_rate: float, task: Task
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the names of phones, then of each token: utterance, phone, context, first frame, frame after the last."""
    rows = [(u, p) for u, name in enumerate(utts) for p in sorted(alignment[name], key=lambda phone: phone.start)]
    utt = np.array([u for u, _ in rows], dtype=np.int64)
    on = np.array([p.start for _, p in rows])
    off = on + np.array([p.duration for _, p in rows])
    names, phone = np.unique([p.phone for _, p in rows], return_inverse=True)
    kept = ~np.isin(names, SILENCE)[phone]
    joined = (utt[1:] == utt[:-1]) & (np.abs(on[1:] - off[:-1]) < MAX_GAP_SECONDS) & kept[1:] & kept[:-1]
    kept = np.append(False, joined) & np.append(joined, False)
    context = np.roll(phone, 1) * len(names) + np.roll(phone, -1)
    if task == "triphone":
        on, off = np.roll(on, 1), np.roll(off, -1)
    frames = np.array([lengths[name] for name in utts])
    # A small tolerance: in floating point 0.285 s · 100 Hz is slightly less than 28.5.
    first = np.maximum(np.ceil(frame_rate * on - 0.5 - 1e-6), 0).astype(np.int64)
    last = np.minimum(np.floor(frame_rate * off - 0.5 + 1e-6).astype(np.int64), frames[utt])
    kept &= first < last
    before = (np.cumsum(frames) - frames)[utt]
    return names.tolist(), *(x[kept] for x in (utt, phone, context, first + before, last + before))


def _changes(keys: np.ndarray) -> np.ndarray:
    """Return for each column of keys (k, n) whether it is the first or differs from the one before: (n,)."""
    return np.append(np.ones(min(1, keys.shape[1]), dtype=bool), (keys[:, 1:] != keys[:, :-1]).any(axis=0))


def _other_speakers(group_keys: np.ndarray, alone: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Pair each group that is not alone in its block with up to 5 of other speakers, same phone and context: (J, 2)."""
    order = np.lexsort((group_keys[1], group_keys[2], group_keys[0]))
    starts = np.flatnonzero(_changes(group_keys[[0, 2]][:, order]))
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for start, end in zip(starts, np.append(starts, len(order))[1:], strict=True):
        if end - start > 1:
            groups = order[start:end]
            wanted = np.flatnonzero(~alone[groups])
            draws = generator.random((len(wanted), len(groups)))
            draws[np.arange(len(wanted)), wanted] = 2.0  # itself comes last
            chosen = np.argsort(draws, axis=1)[:, : min(MAX_X_SPEAKERS, len(groups) - 1)]
            pairs.append(np.stack([groups[chosen].ravel(), groups[wanted].repeat(chosen.shape[1])], axis=1))
    return np.concatenate(pairs)


def _jobs(x: np.ndarray, a: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return jobs (J, 3): groups of X and A, and the place of their errors, one for each group of A's block."""
    sizes = groups[a, 3] - groups[a, 2]
    return np.stack([x, a, np.cumsum(sizes) - sizes], axis=1)
