"""The embedded corpus: sentences spoken by Kokoro-82M, with phone times, as Ogg Opus in VCTK's layout.

One command makes it, models included: tools/corpus/make.sh OUT (README.md). CARD.md of the corpus has the figures.
"""

import argparse
import hashlib
import io
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from kokoro import SAMPLE_RATE, Kokoro, Token
from ogg import number_stream
from phone_times import HOP, Span, features, sharpen, spans_of
from scipy import signal

from vqaudio.corpora.splits import normalise, order
from vqaudio.datadir import Phone, write_ctm
from vqaudio.files import atomic_write

SEED = 0
SPEEDS = (0.96, 1.08)  # of the model; each utterance draws its own
RUMBLE_HZ = 50  # below is no speech, but bm_fable has much at 18 Hz
MARGINS = (0.1, 0.2)  # seconds of silence kept before and after an utterance; each draws its own
LEVEL_DB = -23.0  # dBFS RMS from the first phone to the last
MAX_PEAK = 0.9  # of full scale; a louder utterance is scaled down
COMPRESSION = 0.8  # libsndfile's scale from 0 to 1: about 60 kbit/s, variable


class Speaker(NamedTuple):
    """A voice of Kokoro under the id it has in the corpus."""

    name: str
    voice: str
    gender: str
    accent: str


# By the rule of vqaudio/corpora/splits.py p001 and p008 are the unseen speakers: one of each gender and accent.
SPEAKERS = (
    Speaker("p001", "bf_lily", "F", "English"),
    Speaker("p002", "af_heart", "F", "American"),
    Speaker("p003", "am_adam", "M", "American"),
    Speaker("p004", "bf_emma", "F", "English"),
    Speaker("p005", "bm_fable", "M", "English"),
    Speaker("p006", "af_river", "F", "American"),
    Speaker("p007", "bm_daniel", "M", "English"),
    Speaker("p008", "am_michael", "M", "American"),
)
UNSEEN = ("p001", "p008")
SENTENCES_SEEN, SENTENCES_UNSEEN = 80, 30  # read by a speaker of training, by an unseen one
SHARED = 8  # read by all: what the split rule takes for test_seen, a tenth of SENTENCES_SEEN rounded up


def deal(sentences: list[str]) -> dict[str, list[str]]:
    """Return each speaker's sentences: the SHARED ones that come first by hash, and others that nobody else reads.

    The split rule tests a speaker on the first tenth of the sentences by their hash. That tenth is shared, so no
    recording is lost to a sentence that another speaker is tested on, and test_seen is parallel.
    """
    ordered = sorted(sentences, key=lambda sentence: order(normalise(sentence)))
    shared, own = ordered[:SHARED], ordered[SHARED:]
    random.Random(f"sentences {SEED}").shuffle(own)
    lists = {}
    for speaker in SPEAKERS:
        count = (SENTENCES_UNSEEN if speaker.name in UNSEEN else SENTENCES_SEEN) - SHARED
        mine, own = own[:count], own[count:]
        if len(mine) < count:
            raise ValueError(f"sentences.txt has too few sentences for {speaker.name}")
        lists[speaker.name] = [*shared, *mine]
        random.Random(f"{speaker.name} {SEED}").shuffle(lists[speaker.name])
    return lists


def raw_file(work: Path, voice: str, sentence: str) -> Path:
    """Return the file in `work` of a sentence by a voice: an archive of `wav`, `symbols` and `frames`."""
    return work / f"{voice}-{order(sentence)[:16]}.npz"


def render(lists: dict[str, list[str]], voices: Path, work: Path) -> None:
    """Speak the sentences that are missing in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    kokoro = Kokoro(voices)
    for speaker in SPEAKERS:
        for sentence in lists[speaker.name]:
            path = raw_file(work, speaker.voice, sentence)
            if path.exists():
                continue
            speed = random.Random(f"speed {SEED} {path.stem}").uniform(*SPEEDS)
            wav, tokens = kokoro.speak(sentence, speaker.voice, speed)
            buffer = io.BytesIO()
            symbols, frames = (np.array(column) for column in zip(*tokens, strict=True))
            np.savez(buffer, wav=wav, symbols=symbols, frames=frames)
            atomic_write(path, buffer.getvalue())
            print(f"{speaker.name}, {len(wav) / SAMPLE_RATE:.2f} s: {sentence}", flush=True)


def without_rumble(wav: np.ndarray) -> np.ndarray:
    """Return the wav, float32 (T,), without what lies below RUMBLE_HZ, and without delay."""
    sections = signal.butter(4, RUMBLE_HZ, "high", fs=SAMPLE_RATE, output="sos")
    return signal.sosfiltfilt(sections, wav).astype(np.float32)


def cut(spans: list[Span], wav: np.ndarray, utt: str) -> tuple[np.ndarray, list[Phone]]:
    """Return the utterance between short silences, at LEVEL_DB, and its phones in seconds from 0 to its end."""
    rng = random.Random(f"margins {SEED} {utt}")
    before, after = (round(rng.uniform(*MARGINS) * SAMPLE_RATE / HOP) for _ in range(2))
    first, last = spans[0].end, spans[-1].start
    spans = [Span(s.phone, max(s.start, first - before), min(s.end, last + after)) for s in spans]
    zero, end = spans[0].start, spans[-1].end
    rms = float(np.sqrt(np.mean(np.square(wav[first * HOP : last * HOP]))))
    wav = wav[zero * HOP : end * HOP]
    wav = wav * min(10 ** (LEVEL_DB / 20) / rms, MAX_PEAK / float(np.abs(wav).max()))
    hop = HOP / SAMPLE_RATE
    phones = [Phone((s.start - zero) * hop, (s.end - s.start) * hop, s.phone) for s in spans]
    return wav, [Phone(round(p.start, 3), round(p.duration, 3), p.phone) for p in phones]


def encode(wav: np.ndarray, number: int) -> bytes:
    """Return the wav as Ogg Opus at 24 kHz; `number` is the serial number of the stream."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wav, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=COMPRESSION)
    return number_stream(buffer.getvalue(), number)


def write_corpus(lists: dict[str, list[str]], work: Path, out: Path) -> None:
    """Write what `render` left in `work` to `out`: audio, texts, speakers, phone times, and the SHA-256 of them all."""
    spans, feats, wavs, texts = {}, {}, {}, {}
    for speaker in SPEAKERS:
        for k, sentence in enumerate(lists[speaker.name]):
            utt = f"{speaker.name}_{k + 1:03d}"
            with np.load(raw_file(work, speaker.voice, sentence)) as found:
                tokens = [Token(str(s), int(n)) for s, n in zip(found["symbols"], found["frames"], strict=True)]
                wavs[utt] = without_rumble(found["wav"])
            texts[utt] = sentence
            spans[utt] = spans_of(tokens, wavs[utt])
            feats[utt] = features(wavs[utt])
    phones = {}
    for number, (utt, row) in enumerate(sharpen(spans, feats).items()):
        speaker = utt.split("_")[0]
        wav, phones[utt] = cut(row, wavs[utt], utt)
        for folder in (out / "wav24" / speaker, out / "txt" / speaker):
            folder.mkdir(parents=True, exist_ok=True)
        atomic_write(out / "wav24" / speaker / f"{utt}.opus", encode(wav, number))
        atomic_write(out / "txt" / speaker / f"{utt}.txt", texts[utt] + "\n")
    info = ["ID  AGE  GENDER  ACCENTS  REGION COMMENTS"]
    info += [f"{s.name}  --  {s.gender}  {s.accent}  (Kokoro-82M {s.voice})" for s in SPEAKERS]
    atomic_write(out / "speaker-info.txt", "".join(f"{line}\n" for line in info))
    write_ctm(out / "phones.ctm", phones)
    files = [path for path in sorted(out.rglob("*")) if path.suffix in (".opus", ".txt", ".ctm")]
    sums = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(out).as_posix()}\n" for path in files)
    atomic_write(out / "SHA256SUMS", "".join(sums))


def main() -> None:
    """Make the corpus OUT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voices", type=Path, required=True, help="folder `voices` of the npm package kokoro-js")
    parser.add_argument("--work", type=Path, required=True, help="folder for the raw speech; what is there is kept")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    if (args.out / "wav24").exists():
        parser.error(f"{args.out}: holds a corpus already; name a new folder")
    sentences = Path(__file__).with_name("sentences.txt").read_text(encoding="ascii").splitlines()
    lists = deal(sentences)
    render(lists, args.voices, args.work)
    write_corpus(lists, args.work, args.out)


if __name__ == "__main__":
    main()
