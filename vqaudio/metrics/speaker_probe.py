"""Measures how well a linear classifier recognises the speaker from how often each unit occurs."""

from collections.abc import Mapping

import numpy as np

FOLDS = 5
MAX_UTTERANCES = 2000  # enough for an accuracy to one percentage point
INVERSE_REGULARISATION = 10.0
ITERATIONS = 200


def speaker_probe(
    codes: Mapping[str, np.ndarray], speakers: Mapping[str, str], *, codebook_size: int, seed: int = 0
) -> dict[str, float]:
    """Recognise the speakers of utterances by multinomial logistic regression on histograms of their units.

    Histograms are the square roots of the shares of the codes of each group, G · K numbers per utterance. Folds consist
    of whole utterances, with equal shares of each speaker: five folds, or fewer if a speaker has fewer utterances.
    Speakers with one utterance are left out; of more than 2000 utterances, 2000 are drawn.

    Args:
        codes: utt -> codes (G, N), one column per frame.
        speakers: utt -> speaker.
        codebook_size: K.
        seed: of the draw and the folds.

    Returns:
        `speaker_probe`, the accuracy over held-out utterances; `speaker_probe_chance`, that of always naming the
        speaker with most utterances; `speaker_probe_speakers`, the number of speakers. Accuracies are NaN for fewer
        than two.
    """
    rng = np.random.default_rng(seed)
    utts = sorted(codes.keys() & speakers.keys())
    utts = sorted(rng.choice(utts, min(len(utts), MAX_UTTERANCES), replace=False).tolist())
    _, speaker, counts = np.unique([speakers[utt] for utt in utts], return_inverse=True, return_counts=True)
    kept = counts[speaker] > 1
    if (counts > 1).sum() < 2:
        nan = float("nan")
        return {"speaker_probe": nan, "speaker_probe_chance": nan, "speaker_probe_speakers": int((counts > 1).sum())}
    histograms = np.stack([histogram(codes[utt], codebook_size) for utt, keep in zip(utts, kept, strict=True) if keep])
    speaker = speaker[kept]
    return {
        "speaker_probe": _accuracy(histograms, speaker, min(FOLDS, int(counts[counts > 1].min())), seed),
        "speaker_probe_chance": float(counts.max() / len(speaker)),
        "speaker_probe_speakers": int((counts > 1).sum()),
    }


def histogram(codes: np.ndarray, codebook_size: int) -> np.ndarray:
    """Return the square roots of the shares of codes (G, N), one group after the other: (G · K,)."""
    counts = np.concatenate([np.bincount(group, minlength=codebook_size) for group in codes])
    return np.sqrt(counts / max(1, codes.shape[1]))


def _accuracy(histograms: np.ndarray, speaker: np.ndarray, folds: int, seed: int) -> float:
    """Return the share of utterances whose speaker is recognised by a classifier trained on the other folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from threadpoolctl import threadpool_limits

    right = 0
    with threadpool_limits(1):  # products this small are many times slower in several threads
        for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(histograms, speaker):
            classifier = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=ITERATIONS)
            classifier.fit(histograms[train], speaker[train])
            right += int((classifier.predict(histograms[test]) == speaker[test]).sum())
    return right / len(speaker)
