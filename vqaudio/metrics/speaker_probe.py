"""How well a linear classifier names the speaker from how often each unit occurs."""

from collections.abc import Mapping

import numpy as np

FOLDS = 5
MAX_UTTERANCES = 2000  # drawn when there are more: enough for an accuracy to a point
INVERSE_REGULARISATION = 10.0
ITERATIONS = 200


def speaker_probe(
    units: Mapping[str, np.ndarray], speakers: Mapping[str, str], *, codebook_size: int, seed: int = 0
) -> dict[str, float]:
    """Name the speaker of utterances by multinomial logistic regression on histograms of their units.

    Histograms are the square roots of the shares of the codes of each group, G · K numbers an utterance. Folds are of
    whole utterances and hold each speaker alike: five, or fewer when some speaker has fewer utterances; speakers with
    one utterance are left out, and of more than 2000 utterances 2000 are drawn.

    Args:
        units: utt -> codes (G, N), one column a frame.
        speakers: utt -> speaker.
        codebook_size: K.
        seed: of the draw and the folds.

    Returns:
        `speaker_probe`, the accuracy over held-out utterances; `speaker_probe_chance`, that of always saying the
        speaker with most utterances; `speaker_probe_speakers`, how many there are. Accuracies are NaN with fewer
        than two.
    """
    rng = np.random.default_rng(seed)
    utts = sorted(units.keys() & speakers.keys())
    utts = sorted(rng.choice(utts, min(len(utts), MAX_UTTERANCES), replace=False).tolist())
    _, speaker, counts = np.unique([speakers[utt] for utt in utts], return_inverse=True, return_counts=True)
    kept = counts[speaker] > 1
    if (counts > 1).sum() < 2:
        nan = float("nan")
        return {"speaker_probe": nan, "speaker_probe_chance": nan, "speaker_probe_speakers": int((counts > 1).sum())}
    histograms = np.stack([histogram(units[utt], codebook_size) for utt, keep in zip(utts, kept, strict=True) if keep])
    speaker = speaker[kept]
    return {
        "speaker_probe": _accuracy(histograms, speaker, min(FOLDS, int(counts[counts > 1].min())), seed),
        "speaker_probe_chance": float(counts.max() / len(speaker)),
        "speaker_probe_speakers": int((counts > 1).sum()),
    }


def histogram(codes: np.ndarray, codebook_size: int) -> np.ndarray:
    """Return the square roots of the shares of the codes (G, N), group after group: (G · K,)."""
    counts = np.concatenate([np.bincount(group, minlength=codebook_size) for group in codes])
    return np.sqrt(counts / max(1, codes.shape[1]))


def _accuracy(histograms: np.ndarray, speaker: np.ndarray, folds: int, seed: int) -> float:
    """Return the share of utterances that are named right by classifiers that saw the other folds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from threadpoolctl import threadpool_limits

    right = 0
    with threadpool_limits(1):  # products this small are many times slower when threads wait for each other
        for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(histograms, speaker):
            classifier = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=ITERATIONS)
            classifier.fit(histograms[train], speaker[train])
            right += int((classifier.predict(histograms[test]) == speaker[test]).sum())
    return right / len(speaker)
