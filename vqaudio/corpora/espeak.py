"""An embedded corpus: short English sentences spoken by eSpeak NG, in the layout of VCTK 0.92, with exact phone times.

eSpeak NG is licensed under the GPL, version 3 or later. It is no part of this package: it comes with the wheel
`espeakng-loader`, an optional extra (`pip install "vqaudio[mini]"`), and this module only calls its C functions.

The phones are eSpeak's own phonemes under ARPAbet names, timed by its phoneme events, so they hold to a
sample, where a forced aligner would guess. Two phonemes in a row can share their boundary only as well as a formant
synthesizer knows it: it glides from one to the next.
"""

import ctypes
import itertools
import random
import shutil
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from vqaudio.errors import JobError

SAMPLE_RATE = 48000  # Hz, as VCTK
PEAK = 0.7  # of full scale, in every file

# Variants of eSpeak's en-us voice that sound like people, differ in formants and pitch, have no echo (their pauses are
# silent) and no breath noise (it is seeded by the clock). Men and women take turns.
VOICES = ("m3", "f1", "m7", "linda", "m1", "steph", "m4", "aunty", "m6", "belinda", "max", "Annie")
PASSES = 3  # a voice returns twice, each time at another pitch
MAX_SPEAKERS = PASSES * len(VOICES)

_PHONES = {
    **{p: p.upper() for p in ("p", "b", "t", "d", "k", "g", "f", "v", "s", "z", "m", "n", "l", "r", "w")},
    "t2": "T",
    "t#": "DX",
    "?": "T",
    "tS": "CH",
    "dZ": "JH",
    "T": "TH",
    "D": "DH",
    "S": "SH",
    "Z": "ZH",
    "h": "HH",
    "n-": "N",
    "N": "NG",
    "r-": "R",
    "j": "Y",
    ";": "Y",
    "@L": "EL",
    "i:": "IY",
    "i": "IY",
    "I": "IH",
    "I2": "IH",
    "I#": "IH",
    "E": "EH",
    "a": "AE",
    "aa": "AE",
    "V": "AH",
    "a#": "AX",
    "@": "AX",
    "@2": "AX",
    "0": "AA",
    "A:": "AA",
    "O:": "AO",
    "O2": "AO",
    "O": "AO",
    "U": "UH",
    "u:": "UW",
    "3": "ER",
    "3:": "ER",
    "eI": "EY",
    "aI": "AY",
    "OI": "OY",
    "aU": "AW",
    "oU": "OW",
    "A@": "AAR",
    "O@": "AOR",
    "o@": "AOR",
    "e@": "EHR",
    "i@": "IHR",
    "i@3": "IHR",
    "U@": "UHR",
    "aI@": "AY",
    "aI3": "AY",
}
_CLOSED = frozenset({"P", "B", "T", "D", "K", "G", "CH", "JH"})  # phones that begin with a silent closure
_SHORTEST_PAUSE = 441  # samples at 22050 Hz: a shorter gap belongs to the phone before it


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
# Constants of espeak-ng's speak_lib.h.
_SYNCHRONOUS, _PHONEME_EVENTS, _DONT_EXIT = 2, 0x0001, 0x8000
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_UTF8, _EVENT_PHONEME = 1, 7


@dataclass(frozen=True)
class _Prosody:
    """Rate in words a minute, pitch and its range in eSpeak's 0 to 100."""

    rate: int
    pitch: int
    range: int


class _Synthesizer:
    """One private instance of the eSpeak library.

    The library keeps global state (the phase of its pitch flutter runs on from sentence to sentence), so the same call
    gives other samples later. A copy of the library file is another library to the loader, with a state of its own:
    what it speaks depends on what it spoke, and on nothing else in the process.
    """

    def __init__(self, folder: Path, voice: str):
        import espeakng_loader

        library = folder / f"{voice}{Path(espeakng_loader.get_library_path()).suffix}"
        shutil.copyfile(espeakng_loader.get_library_path(), library)
        self._library = ctypes.CDLL(str(library))
        self._blocks: list[np.ndarray] = []
        self._events: list[tuple[int, str]] = []
        self._callback = _CALLBACK(self._receive)  # kept: the library holds only the pointer
        data = str(espeakng_loader.get_data_path()).encode()
        self.sample_rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, _PHONEME_EVENTS | _DONT_EXIT)
        if self.sample_rate <= 0:
            raise JobError(f"{data.decode()}: eSpeak NG finds no voices there; reinstall espeakng-loader")
        self._library.espeak_SetSynthCallback(self._callback)
        if self._library.espeak_SetVoiceByName(f"en-us+{voice}".encode()) != 0:
            raise JobError(f"eSpeak NG has no voice en-us+{voice}; reinstall espeakng-loader")

    def _receive(self, samples: Any, count: int, event: Any) -> int:
        if samples and count > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        for i in itertools.takewhile(lambda i: event[i].type, itertools.count()):
            if event[i].type == _EVENT_PHONEME:
                # `sample` counts from the start of the call; `audio_position` is the same in whole milliseconds.
                self._events.append((event[i].sample, event[i].id.string.decode("ascii")))
        return 0

    def speak(self, sentence: str, prosody: _Prosody) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """Int16 samples (T,) and the phoneme events: first sample, eSpeak's mnemonic."""
        settings = {_RATE: prosody.rate, _PITCH: prosody.pitch, _RANGE: prosody.range, _VOLUME: 60}
        for parameter, value in settings.items():  # volume below the automatic gain control's threshold
            self._library.espeak_SetParameter(parameter, value, 0)
        self._blocks, self._events = [], []
        text = sentence.encode()
        size = ctypes.c_size_t(len(text) + 1)
        if self._library.espeak_Synth(ctypes.c_char_p(text), size, 0, 1, 0, _UTF8, None, None) != 0:
            raise JobError(f"eSpeak NG cannot speak {sentence!r}")
        return np.concatenate(self._blocks), self._events

    def close(self) -> None:
        """Free what the library allocated."""
        self._library.espeak_Terminate()


def _phone(mnemonic: str) -> str:
    """ARPAbet name of an eSpeak mnemonic without its stress marks; pauses are SIL."""
    plain = mnemonic.lstrip("',%=")
    if plain.startswith("_"):
        return "SIL"
    if plain not in _PHONES:
        raise JobError(f"eSpeak NG gave the phoneme {mnemonic!r}, which has no name here")
    return _PHONES[plain]


def _segments(samples: np.ndarray, events: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """First sample and phone of contiguous segments, from the first phoneme on; the last one is a SIL.

    eSpeak puts a stop's closure, exact zeros, before the stop's event: it joins the stop. Other gaps are pauses.
    """
    after_sound = np.maximum.accumulate(np.where(samples != 0, np.arange(1, len(samples) + 1), 0))
    marks = [(0, "SIL")]
    for start, mnemonic in [*events, (len(samples), "_")]:
        phone, (last_start, last_phone) = _phone(mnemonic), marks[-1]
        silent_from = max(last_start, int(after_sound[start - 1])) if start else 0
        if last_phone != "SIL" and phone in _CLOSED | {"SIL"}:
            start = silent_from
        elif last_phone != "SIL" and start - silent_from >= _SHORTEST_PAUSE:
            marks.append((silent_from, "SIL"))
        marks.append((start, phone))
    ends = [start for start, _ in marks[1:]] + [len(samples) + 1]
    kept = [mark for mark, end in zip(marks, ends, strict=True) if end > mark[0]]
    return [mark for i, mark in enumerate(kept) if i == 0 or mark[1] != "SIL" or kept[i - 1][1] != "SIL"]


def _speak(synthesizer: _Synthesizer, sentence: str, rng: random.Random, base: _Prosody) -> tuple[np.ndarray, list]:
    """Float32 wav (T,) at 48 kHz, T a whole number of milliseconds, and its phones as a CTM has them."""
    import soxr

    prosody = _Prosody(base.rate + rng.randint(-6, 6), base.pitch + rng.randint(-3, 3), base.range + rng.randint(-8, 8))
    samples, events = synthesizer.speak(sentence, prosody)
    segments = _segments(samples, events)
    first = segments[1][0] if segments[0][1] == "SIL" else 0
    last = segments[-1][0]
    before, after = rng.uniform(0.1, 0.2), rng.uniform(0.1, 0.2)
    rate = synthesizer.sample_rate
    spoken = np.pad(samples[first:last].astype(np.float32), (round(before * rate), round(after * rate)))
    wav = soxr.resample(spoken, rate, SAMPLE_RATE)
    millisecond = SAMPLE_RATE // 1000
    wav = wav[: len(wav) // millisecond * millisecond]
    wav = wav * (PEAK / np.abs(wav).max())
    shift = round(before * rate) - first
    starts = [0] + [round(1000 * (start + shift) / rate) for start, _ in segments if first <= start]
    names = ["SIL"] + [phone for start, phone in segments if first <= start]
    ends = [*starts[1:], len(wav) // millisecond]
    phones = [
        (start / 1000, (end - start) / 1000, phone)
        for start, end, phone in zip(starts, ends, names, strict=True)
        if end > start
    ]
    return wav, phones


def _base_prosody(speaker: int) -> _Prosody:
    """The habits of a speaker, by index: where a voice comes again it speaks at another pitch and rate."""
    turn = speaker // len(VOICES)
    return _Prosody(168 + 5 * (speaker % 3) - 6 * turn, 50 + (0, 14, -14)[turn], 50)


def _sentences() -> list[str]:
    return resources.files("vqaudio.corpora").joinpath("sentences.txt").read_text("ascii").split("\n")[:-1]


def _assign(sentences: list[str], speakers: int, utterances: int, rng: random.Random) -> list[list[str]]:
    """Sentences for each speaker: all differ while the list lasts, then it is shuffled again."""
    lists, deck = [], []
    for _ in range(speakers):
        if len(deck) < utterances:
            again = [sentence for sentence in sentences if sentence not in deck]
            rng.shuffle(again)
            deck = deck + again
        lists.append(deck[:utterances])
        deck = deck[utterances:]
    return lists


def make_corpus(out: Path, *, speakers: int = 8, utterances: int = 24, seed: int = 0) -> None:
    """Speak `utterances` sentences by each of `speakers` voices into `out`, in the layout of VCTK 0.92.

    Writes 48 kHz mono 16-bit `wav48_silence_trimmed/<spk>/<spk>_<nnn>_mic1.flac`, `txt/<spk>/<spk>_<nnn>.txt`,
    `speaker-info.txt` and, last, `phones.ctm` (`utt 1 start duration phone`, seconds). The same arguments give the same
    bytes. Raises UserError for numbers out of range and when espeakng-loader is missing.
    """
    import soundfile
    from tqdm import tqdm

    out = Path(out)
    lists = _assign(_sentences(), speakers, utterances, random.Random(f"sentences {seed}"))
    ctm = []
    genders = {}
    with tempfile.TemporaryDirectory() as folder, tqdm(total=speakers * utterances, disable=None) as bar:
        for i, sentences in enumerate(lists):
            speaker = f"p{i + 1:03d}"
            genders[speaker] = "MF"[i % 2]
            synthesizer = _Synthesizer(Path(folder), VOICES[i % len(VOICES)])
            wavs, texts = out / "wav48_silence_trimmed" / speaker, out / "txt" / speaker
            wavs.mkdir(parents=True, exist_ok=True)
            texts.mkdir(parents=True, exist_ok=True)
            for k, sentence in enumerate(sentences, 1):
                utt = f"{speaker}_{k:03d}"
                wav, phones = _speak(synthesizer, sentence, random.Random(f"{seed} {utt}"), _base_prosody(i))
                soundfile.write(wavs / f"{utt}_mic1.flac", wav, SAMPLE_RATE, subtype="PCM_16")
                (texts / f"{utt}.txt").write_text(sentence + "\n")
                ctm += [f"{utt} 1 {start:.3f} {duration:.3f} {phone}\n" for start, duration, phone in phones]
                bar.update()
            synthesizer.close()
    info = [f"{speaker}  --  {gender}  American\n" for speaker, gender in genders.items()]
    (out / "speaker-info.txt").write_text("ID  AGE  GENDER  ACCENTS  REGION COMMENTS\n" + "".join(info))
    (out / "phones.ctm").write_text("".join(ctm))
