"""Phone times: Kokoro's durations (a grid of 25 ms), sharpened to 5 ms by hidden Markov models of the corpus itself.

The durations start the models: three Gaussian states a phone over MFCC every 5 ms, normalised per speaker. Then the
states are aligned and estimated again in turns. A boundary stays within REACH of where the durations put it.
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from kokoro import FRAME, SAMPLE_RATE, Token

HOP = 120  # samples: 5 ms
LAG = 2 * FRAME  # samples by which the sound precedes the model's durations: measured at s and sh, CARD.md
REACH = 12  # hops a boundary may move, 60 ms
STATES = 3  # a phone
ROUNDS = 6
SILENCE = "sil"
QUIET_DB = 40.0  # below the loudest 25 ms: a gap between words is silence
SHORTEST_PAUSE = 0.06  # seconds; a shorter gap is no silence
SHORTEST_PAUSE_AT_STOP = 0.15  # seconds; a stop begins with a silent closure of its own

# The symbols of Kokoro that each phone stands for; American and British vowels of one lexical set share a name.
_PHONES = {
    symbol: line.split()[0]
    for line in """
        P p | B b | T t | D d | K k | G ɡ | DX T ɾ | CH ʧ | JH ʤ
        F f | V v | TH θ | DH ð | S s | Z z | SH ʃ | ZH ʒ | HH h
        M m | N n | NG ŋ | L l | R ɹ | Y j | W w
        IY i | IH ɪ ᵻ | EH ɛ e | AE æ a | AA ɑ ɒ | AO ɔ | AH ʌ | AX ə ᵊ ɐ | ER ɜ | UH ʊ | UW u
        EY A | AY I | OY Y | AW W | OW O Q
    """.replace("\n", "|").split("|")
    for symbol in line.split()[1:]
}
VOWELS = frozenset({"IY", "IH", "EH", "AE", "AA", "AO", "AH", "AX", "ER", "UH", "UW", "EY", "AY", "OY", "AW", "OW"})
_STOPS = frozenset({"P", "B", "T", "D", "K", "G", "CH", "JH"})
_STRESS, _LENGTH, _R = ("ˈ", "ˌ"), "ː", "ɹ"


class Span(NamedTuple):
    """A phone from `start` to `end`, in hops (durations: in samples)."""

    phone: str
    start: int
    end: int


def spans_of(tokens: list[Token], wav: np.ndarray) -> list[Span]:
    """Return the phones by the model's durations, in samples, without gaps from 0 to the end of `wav`.

    Stress marks belong to the vowel that follows, length marks to the vowel before. A gap between words is silence
    where it is quiet, else its halves go to both neighbours.
    """
    loudness = _loudness(wav)
    spans: list[Span] = []
    time = begun = -LAG
    gap = None
    for i, (symbol, frames) in enumerate(tokens):
        end = time + frames * FRAME
        if symbol == _LENGTH or _is_coloured(tokens, i):
            spans[-1] = Span("ER" if symbol == _R else spans[-1].phone, spans[-1].start, end)
            begun = end
        elif symbol in _PHONES:
            if gap is not None:
                begun = _close(spans, gap, begun, _PHONES[symbol], loudness)
                gap = None
            spans.append(Span(_PHONES[symbol], begun, end))
            begun = end
        elif symbol not in _STRESS:
            gap, begun = begun if gap is None else gap, end
        time = end
    sounding = int(np.flatnonzero(loudness > loudness.max() - QUIET_DB)[-1] + 1) * HOP
    spans.append(Span(SILENCE, max(min(time if gap is None else gap, sounding), spans[-1].start + FRAME), len(wav)))
    spans[-2] = spans[-2]._replace(end=spans[-1].start)
    return [spans[0]._replace(start=0), *spans[1:]]


def _is_coloured(tokens: list[Token], i: int) -> bool:
    """Tell whether token `i` is an r that makes one phone, ER, with the vowel before: nurse, letter, but not around."""
    if tokens[i].symbol != _R:
        return False
    after = next((token.symbol for token in tokens[i + 1 :] if token.symbol not in _STRESS), "")
    return tokens[i - 1].symbol == "ɜ" or (tokens[i - 1].symbol == "ə" and _PHONES.get(after) not in VOWELS)


def _close(spans: list[Span], gap: int, end: int, phone: str, loudness: np.ndarray) -> int:
    """Settle the gap from `gap` to `end` before `phone`; return where `phone` begins."""
    if not spans:
        spans.append(Span(SILENCE, gap, end))
        return end
    first, last = _quiet(loudness, spans[-1].start + FRAME, end + 2 * FRAME, (gap + end) // 2)
    shortest = SHORTEST_PAUSE_AT_STOP if phone in _STOPS else SHORTEST_PAUSE
    if last - first < shortest * SAMPLE_RATE:
        middle = (gap + end) // 2
        spans[-1] = spans[-1]._replace(end=middle)
        return middle
    if phone in _STOPS:
        last -= round(SHORTEST_PAUSE * SAMPLE_RATE)
    spans[-1] = spans[-1]._replace(end=first)
    spans.append(Span(SILENCE, first, last))
    return last


def _quiet(loudness: np.ndarray, low: int, high: int, middle: int) -> tuple[int, int]:
    """Return the longest quiet run (samples) within low to high, empty at `middle` if there is none."""
    quiet = loudness[low // HOP : high // HOP] < loudness.max() - QUIET_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(int), [0]])))
    if not len(edges):
        return middle, middle
    starts, ends = edges[::2], edges[1::2]
    best = int(np.argmax(ends - starts))
    return int(low // HOP + starts[best]) * HOP, int(low // HOP + ends[best]) * HOP


def _loudness(wav: np.ndarray) -> np.ndarray:
    """Return dB of 20 ms around every hop (T / HOP,)."""
    power = np.convolve(np.square(wav, dtype=np.float64), np.ones(4 * HOP) / (4 * HOP), "same")[HOP // 2 :: HOP]
    return 10 * np.log10(power + 1e-10)


def features(wav: np.ndarray) -> np.ndarray:
    """Return MFCC 0 to 12 and their slopes (T / HOP, 26) of windows of 15 ms about the middle of each hop."""
    import librosa

    mfcc = librosa.feature.mfcc(
        y=wav[HOP // 2 :], sr=SAMPLE_RATE, n_mfcc=13, n_fft=512, win_length=360, hop_length=HOP, n_mels=40, fmax=8000
    )[:, : len(wav) // HOP]
    slopes = librosa.feature.delta(mfcc, width=7)
    return np.concatenate([mfcc, slopes]).T


def sharpen(spans: dict[str, list[Span]], feats: dict[str, np.ndarray]) -> dict[str, list[Span]]:
    """Align the phones of `spans` (samples) with `feats`, normalised per speaker; return spans in hops."""
    seeds = {
        utt: [Span(s.phone, round(s.start / HOP), min(round(s.end / HOP), len(feats[utt]))) for s in row]
        for utt, row in spans.items()
    }
    feats = _normalise(feats)
    states = {utt: _equal_parts(row) for utt, row in seeds.items()}
    for _ in range(ROUNDS):
        model = _estimate(seeds, states, feats)
        states = {utt: _align(row, model, feats[utt]) for utt, row in seeds.items()}
    return {
        utt: [
            Span(seed.phone, int(begin), int(end))
            for seed, begin, end in zip(
                row, states[utt][::STATES], [*states[utt][STATES::STATES], len(feats[utt])], strict=True
            )
        ]
        for utt, row in seeds.items()
    }


_Model = dict[tuple[str, int], tuple[np.ndarray, np.ndarray]]  # phone and state: mean and variance


def _normalise(feats: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    by_speaker = defaultdict(list)
    for utt, rows in feats.items():
        by_speaker[utt.split("_")[0]].append(rows)
    moments = {name: (np.concatenate(rows).mean(0), np.concatenate(rows).std(0)) for name, rows in by_speaker.items()}
    return {utt: (rows - moments[utt.split("_")[0]][0]) / moments[utt.split("_")[0]][1] for utt, rows in feats.items()}


def _equal_parts(row: list[Span]) -> np.ndarray:
    """Return the first hop of every state: each phone in STATES equal parts."""
    return np.array([s.start + (s.end - s.start) * k // STATES for s in row for k in range(STATES)])


def _estimate(seeds: dict[str, list[Span]], states: dict[str, np.ndarray], feats: dict[str, np.ndarray]) -> _Model:
    rows = defaultdict(list)
    for utt, row in seeds.items():
        edges = [*states[utt], len(feats[utt])]
        for k in range(len(edges) - 1):
            rows[row[k // STATES].phone, k % STATES].append(feats[utt][edges[k] : edges[k + 1]])
    model = {}
    for key, pieces in rows.items():
        found = np.concatenate(pieces)
        model[key] = found.mean(0), found.var(0) + 0.05
    return model


def _align(row: list[Span], model: _Model, feats: np.ndarray) -> np.ndarray:
    """Return the first hop of every state on the best path; a phone begins within REACH of its seed."""
    hops, count = len(feats), len(row) * STATES
    scores = np.empty((hops, count))
    for k in range(count):
        mean, variance = model[row[k // STATES].phone, k % STATES]
        scores[:, k] = -0.5 * (np.square(feats - mean) / variance + np.log(variance)).sum(1)
    time = np.arange(hops)
    for k, seed in enumerate(row):  # the first state not before the reach, the last not after it
        scores[time < seed.start - REACH, STATES * k] = -np.inf
        scores[time >= seed.end + REACH, STATES * k + STATES - 1] = -np.inf
    best = np.full(count, -np.inf)
    best[0] = scores[0, 0]
    moved = np.zeros((hops, count), bool)
    for t in range(1, hops):
        previous = np.concatenate([[-np.inf], best[:-1]])
        moved[t] = previous > best
        best = np.maximum(previous, best) + scores[t]
    if not np.isfinite(best[-1]):
        raise ValueError(f"no path through {[seed.phone for seed in row]}")
    starts = np.zeros(count, int)
    k = count - 1
    for t in range(hops - 1, 0, -1):
        if moved[t, k]:
            starts[k] = t
            k -= 1
    return starts
