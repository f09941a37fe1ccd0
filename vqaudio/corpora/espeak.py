"""The embedded corpus: English sentences synthesised by eSpeak NG, in the layout of VCTK 0.92, with exact phone times.

eSpeak NG is licensed under the GPL, version 3 or later. It is not part of this package: the wheel `espeakng-loader`, an
optional extra (`pip install "vqaudio[mini]"`), contains it, and this module only calls its C functions.

The phones are eSpeak's phonemes under ARPAbet names (AX, DX, EL as in TIMIT; AAR, AOR, EHR, IHR, UHR are its r-coloured
vowels, one phone each). eSpeak's phoneme events time them to the sample, with three corrections: the closure of a stop
belongs to the stop, a gap of 30 ms or more is SIL, and an l that closes a syllable, which eSpeak puts inside the vowel,
gets the last part of that vowel.
"""

import ctypes
import itertools
import random
import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vqaudio import audio, files
from vqaudio.datadir import Phone, write_ctm
from vqaudio.errors import JobError, UserError
from vqaudio.outputs import claim_folder

SAMPLE_RATE = 48000  # Hz, as VCTK
_PEAK = 0.7  # of full scale, in every file


class _Voice(NamedTuple):
    """A variant of eSpeak's en-us voice, with its gender and the pitch (0 to 100) that spreads the speakers."""

    variant: str
    gender: str
    pitch: int


# Variants that sound human and differ in formants. None has an echo (it would fill the pauses) or breath (its noise is
# seeded by the clock). Men and women alternate.
VOICES = (
    *(_Voice("m3", "M", 50), _Voice("f1", "F", 46), _Voice("m7", "M", 56), _Voice("linda", "F", 44)),
    *(_Voice("m4", "M", 42), _Voice("Annie", "F", 40), _Voice("robert", "M", 38), _Voice("aunty", "F", 54)),
    *(_Voice("m1", "M", 60), _Voice("belinda", "F", 50), _Voice("max", "M", 54), _Voice("steph", "F", 50)),
)
_TURNS = (0, 13, -13)  # added to the pitch when a voice is used for the first, second and third time
MAX_SPEAKERS = len(VOICES) * len(_TURNS)

# The phones of the corpus, and eSpeak's en-us mnemonics (without stress marks) that each stands for.
_PHONES = {
    mnemonic: line.split()[0]
    for line in """
        P p | B b | T t t2 ? | D d | K k | G g | DX t# | CH tS | JH dZ
        F f | V v | TH T | DH D | S s | Z z | SH S | ZH Z | HH h
        M m | N n n- | NG N | L l | EL @L | R r r- | Y j | W w
        IY i: i | IH I I2 I# | EH E | AE a aa | AH V | AX a# @ @2 | AA 0 A: | AO O: O2 O | UH U | UW u: | ER 3 3:
        EY eI | AY aI aI@ aI3 | OY OI | AW aU | OW oU | AAR A@ | AOR O@ o@ | EHR e@ | IHR i@ i@3 | UHR U@
    """.replace("\n", "|").split("|")
    for mnemonic in line.split()[1:]
}
_GLIDE = ";"  # between two vowels; part of the first
_CLOSED = frozenset({"P", "B", "T", "D", "K", "G", "CH", "JH"})  # phones that begin with a silent closure
_MIN_PAUSE = 0.03  # seconds; a shorter gap belongs to the phone before it
# Share of the l in a sound of vowel and l: how much longer "sailed" is than "said", over eleven vowels and three rates.
_DARK_L = 0.42

_Mark = tuple[int, str]  # first sample, phone


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

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


# Constants of speak_lib.h.
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_SYNCHRONOUS, _PHONEME_EVENTS, _DONT_EXIT = 2, 0x0001, 0x8000
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_UTF8, _EVENT_PHONEME = 1, 7


class _Synthesizer:
    """A private instance of the eSpeak library with one voice.

    The library keeps global state (the phase of its pitch flutter continues from sentence to sentence), so the same
    call gives different samples later. The loader treats a copy of the library's file as another library with its own
    state: the output then depends on the earlier sentences of this instance and on nothing else in the process.
    """

    def __init__(self, folder: Path, name: str, variant: str):
        import espeakng_loader

        original = Path(espeakng_loader.get_library_path())
        library = folder / f"{name}{original.suffix}"
        shutil.copyfile(original, library)
        data = folder / "espeak-ng-data"  # a short path, since eSpeak truncates paths at 160 characters
        if not data.exists():
            data.symlink_to(Path(espeakng_loader.get_data_path()).resolve())
        try:
            self._library = ctypes.CDLL(str(library))
        except OSError as error:
            raise JobError(f"{library}: cannot be loaded ({error}); set TMPDIR to a folder that allows it") from error
        self._blocks: list[np.ndarray] = []
        self._events: list[tuple[int, str]] = []
        self._callback = _CALLBACK(self._receive)  # a reference, since the library holds only a pointer
        flags = _PHONEME_EVENTS | _DONT_EXIT
        self.sample_rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), flags)
        self._library.espeak_SetSynthCallback(self._callback)
        if self.sample_rate <= 0 or self._library.espeak_SetVoiceByName(f"en-us+{variant}".encode()) != 0:
            raise JobError(f"{original.parent}: eSpeak NG finds no voice en-us+{variant}; reinstall espeakng-loader")

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        for i in itertools.takewhile(lambda i: events[i].type, itertools.count()):
            if events[i].type == _EVENT_PHONEME:
                # `sample` counts from the start of the call, over all clauses; `audio_position` is rounded down to ms.
                self._events.append((events[i].sample, events[i].id.string.decode("ascii", "replace")))
        return 0

    def synthesise(self, sentence: str, rate: int, pitch: int, pitch_range: int) -> tuple[np.ndarray, list[_Mark]]:
        """Return int16 samples (T,) and phoneme events (sample, mnemonic); rate in words a minute, pitches 0 to 100."""
        # Volume 60 stays below eSpeak's gain control, which would affect the next sentences.
        settings = {_RATE: rate, _PITCH: pitch, _RANGE: pitch_range, _VOLUME: 60}
        for parameter, value in settings.items():
            self._library.espeak_SetParameter(parameter, value, 0)
        self._blocks, self._events = [], []
        text = sentence.encode()
        size = ctypes.c_size_t(len(text) + 1)
        failed = self._library.espeak_Synth(ctypes.c_char_p(text), size, 0, 1, 0, _UTF8, None, None)
        if failed or not self._blocks or not self._events:
            raise JobError(f"eSpeak NG cannot synthesise {sentence!r}; reinstall espeakng-loader")
        return np.concatenate(self._blocks), self._events

    def close(self) -> None:
        """Free what the library allocated."""
        self._library.espeak_Terminate()


def _phone(mnemonic: str) -> str:
    """Return the ARPAbet name of an eSpeak mnemonic; pauses are SIL."""
    plain = mnemonic.lstrip("',")  # primary and secondary stress
    if plain.startswith("_"):
        return "SIL"
    if plain not in _PHONES:
        raise JobError(f"eSpeak NG gave the unknown phoneme {mnemonic!r}; install the pinned espeakng-loader")
    return _PHONES[plain]


def _marks(samples: np.ndarray, events: list[_Mark], rate: int) -> list[_Mark]:
    """Return (first sample, phone), from a SIL at 0 to a SIL at the end; a phone ends where the next one begins."""
    after_sound = np.maximum.accumulate(np.where(samples != 0, np.arange(1, len(samples) + 1), 0))
    marks: list[_Mark] = [(0, "SIL")]
    spoken = [(start, _phone(mnemonic)) for start, mnemonic in events if mnemonic != _GLIDE]
    for start, phone in [*spoken, (len(samples), "SIL")]:
        last_start, last_phone = marks[-1]
        silent_from = max(last_start, int(after_sound[start - 1])) if start else 0
        if last_phone == "L" and silent_from == last_start and len(marks) > 1:
            vowel_start = marks[-2][0]
            marks[-1] = (last_start - round(_DARK_L * (last_start - vowel_start)), "L")
        if last_phone != "SIL" and (phone == "SIL" or phone in _CLOSED):
            start = silent_from  # eSpeak puts the closure before the event
        elif last_phone != "SIL" and start - silent_from >= _MIN_PAUSE * rate:
            marks.append((silent_from, "SIL"))
        if phone != "SIL" or last_phone != "SIL":
            marks.append((start, phone))
    return marks


def _synthesise(
    synthesizer: _Synthesizer, sentence: str, speaker: int, rng: random.Random
) -> tuple[np.ndarray, list[Phone]]:
    """Return a float32 wav (T,) at 48 kHz, T a whole number of milliseconds, and its phones from 0 to its end."""
    turn, voice = divmod(speaker, len(VOICES))
    words_per_minute = 165 + 5 * (speaker % 5) + rng.randint(-6, 6)
    pitch = VOICES[voice].pitch + _TURNS[turn] + rng.randint(-3, 3)
    samples, events = synthesizer.synthesise(sentence, words_per_minute, pitch, 50 + rng.randint(-8, 8))
    rate = synthesizer.sample_rate
    marks = _marks(samples, events, rate)
    first, last = marks[1][0], marks[-1][0]  # without eSpeak's silence at both ends; ours replaces it
    before, after = (round(rng.uniform(0.1, 0.2) * rate) for _ in range(2))
    wav = audio.resample(np.pad(samples[first:last].astype(np.float32), (before, after)), rate, SAMPLE_RATE)
    milliseconds = len(wav) * 1000 // SAMPLE_RATE
    wav = wav[: milliseconds * SAMPLE_RATE // 1000]
    starts = [0, *(round((start - first + before) * 1000 / rate) for start, _ in marks[1:])]
    spans = zip(starts, [*starts[1:], milliseconds], [phone for _, phone in marks], strict=True)
    phones = [Phone(start / 1000, (end - start) / 1000, phone) for start, end, phone in spans if end > start]
    return wav * (_PEAK / np.abs(wav).max()), phones


def _read_sentences() -> list[str]:
    return resources.files("vqaudio.corpora").joinpath("sentences.txt").read_text("ascii").splitlines()


def _assign(sentences: list[str], speakers: int, utterances: int, rng: random.Random) -> list[list[str]]:
    """Return the sentences of each speaker, without repeats; no two speakers share one until all have been used."""
    lists: list[list[str]] = []
    deck: list[str] = []
    for _ in range(speakers):
        if len(deck) < utterances:
            again = [sentence for sentence in sentences if sentence not in deck]
            deck += rng.sample(again, len(again))
        lists.append(deck[:utterances])
        deck = deck[utterances:]
    return lists


def _speaker_id(speaker: int) -> str:
    return f"p{speaker + 1:03d}"


def _utterance_id(speaker: int, utterance: int) -> str:
    return f"{_speaker_id(speaker)}_{utterance + 1:03d}"


def _check(out: Path, speakers: int, utterances: int) -> None:
    """Reject numbers out of range, a missing synthesizer, and a folder that contains anything but this corpus."""
    limit = len(_read_sentences())
    if not 1 <= speakers <= MAX_SPEAKERS:
        raise UserError(f"--speakers is {speakers}; it must be from 1 to {MAX_SPEAKERS}, the number of voices")
    if not 1 <= utterances <= limit:
        raise UserError(f"--utterances is {utterances}; it must be from 1 to {limit}, the number of sentences")
    try:
        import espeakng_loader  # noqa: F401
    except ImportError:
        raise UserError('the module espeakng_loader is missing; run: pip install "vqaudio[mini]"') from None
    claim_folder(out, "corpus")
    expected = {_utterance_id(i, k) for i in range(speakers) for k in range(utterances)}
    for path in sorted(out.glob("wav48_silence_trimmed/*/*.flac")):
        if path.name.removesuffix("_mic1.flac") not in expected:
            raise UserError(f"{path}: belongs to another corpus; choose a new folder or remove {out}")


def _make_folders(out: Path, speaker: str) -> tuple[Path, Path]:
    """Make and return a speaker's folders for recordings and texts; remove the partial files of an interrupted run."""
    folders = out / "wav48_silence_trimmed" / speaker, out / "txt" / speaker
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise files.explain(error, folder, "cannot be made") from error
        for partial in folder.glob(".partial-*"):
            partial.unlink()
    return folders


def make_corpus(out: Path, *, speakers: int, utterances: int, seed: int) -> None:
    """Synthesise `utterances` sentences with each of `speakers` voices into `out`, in the layout of VCTK 0.92.

    Writes 48 kHz mono 16-bit `wav48_silence_trimmed/<spk>/<spk>_<nnn>_mic1.flac`, `txt/<spk>/<spk>_<nnn>.txt`,
    `speaker-info.txt` and, last, `phones.ctm` (`utt 1 start duration phone`, seconds, from 0 to the file's end).
    The same arguments and eSpeak version give the same bytes; the same call completes an interrupted run.

    Raises:
        UserError: a number is out of range, espeakng-loader is missing, or `out` contains something else.
        JobError: eSpeak NG fails.
    """
    from tqdm import tqdm

    out = Path(out)
    _check(out, speakers, utterances)
    lists = _assign(_read_sentences(), speakers, utterances, random.Random(f"sentences {seed}"))
    ctm: dict[str, list[Phone]] = {}
    info = ["ID  AGE  GENDER  ACCENTS  REGION COMMENTS"]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        tqdm(total=speakers * utterances, desc="synthesising", unit="utt", disable=None) as bar,
    ):
        for i in range(speakers):
            voice = VOICES[i % len(VOICES)]
            recordings, texts = _make_folders(out, _speaker_id(i))
            (out / "phones.ctm").unlink(missing_ok=True)  # this file marks a complete corpus
            synthesizer = _Synthesizer(Path(folder), f"speaker{i}", voice.variant)
            for k, sentence in enumerate(lists[i]):
                utt = _utterance_id(i, k)
                wav, ctm[utt] = _synthesise(synthesizer, sentence, i, random.Random(f"{seed} {utt}"))
                audio.write(recordings / f"{utt}_mic1.flac", wav, SAMPLE_RATE)
                files.atomic_write(texts / f"{utt}.txt", sentence + "\n")
                bar.update()
            synthesizer.close()
            info.append(f"{_speaker_id(i)}  --  {voice.gender}  American  (eSpeak NG en-us+{voice.variant})")
    files.atomic_write(out / "speaker-info.txt", "".join(f"{line}\n" for line in info))
    write_ctm(out / "phones.ctm", ctm)
