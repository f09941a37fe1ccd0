"""Valid files of every format that vqaudio reads, mutations of them, and what a reader may do with those."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import datadirs
import finished_run
import listening
import numpy as np
import torch
from audio_makers import encoded, voice
from hypothesis import strategies as st
from tiny_model import save_tiny_model

from vqaudio import audio, codec, datadir
from vqaudio.datadir.repair import fix
from vqaudio.datadir.validation import validate
from vqaudio.errors import JobError, UserError
from vqaudio.listening.answers import parse_events, parse_page, wanted_answers
from vqaudio.listening.key import read_key
from vqaudio.listening.pages import session_for_browser
from vqaudio.listening.static import FORMAT, import_results
from vqaudio.listening.store import Store
from vqaudio.listening.study import Study, read_study_file
from vqaudio.metrics.alignment import read_alignment
from vqaudio.model_directory import load_model
from vqaudio.report.facts import read_metrics
from vqaudio.report.page import build_report
from vqaudio.training.state import load_state, save_state
from vqaudio.units import UnitsInfo, read_units
from vqaudio.units.conversion import convert
from vqaudio.units.kmeans import KMeansUnits
from vqaudio.units.npy import read_npy
from vqaudio.units.writer import write_units

MAX_BYTES = 1 << 26
"""Most bytes of what a reader may return for the small files here."""
POINTS = st.integers(0, 80) | st.integers(0, 1 << 20)
"""Places in a file, modulo its length: in its header, or anywhere."""
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62, (1 << 63) - 1, (1 << 64) - 1)
WORDS = st.sampled_from(
    [
        "",
        "0",
        "1",
        "-1",
        "1.5",
        "1e999",
        "-0.0",
        "NaN",
        "Infinity",
        "null",
        "true",
        "{}",
        "[]",
        "[[]]",
        '""',
        '"a"',
        "'",
        "\r",
        "\n",
        "\r\n",
        "\t",
        " ",
        "\x00",
        "\x85",
        "\u2028",
        "\ufeff",
        "\xe9",
        "99999999999",
        "1e308",
        "1e-320",
        "../x",
        "/",
        "~",
        "%s",
        "${x}",
        "!!python/object:os.system",
        "\x1b[31m",
        "\\ud800",
        "\\u0000",
        "<script>",
        "\u0663",
        "\xb2",
        "\ud800",
    ]
) | st.sampled_from(["9" * 400, "9" * 5000, "[" * 100_000, '{"a":' * 20_000, "a" * 300, "|"])
TOKEN = re.compile(rb'"[^"\n]*"|[^\s":,{}\[\]|]+')
"""A word of a text, or a value of JSON."""


class Reader(NamedTuple):
    """A reader: what makes its files in a folder, the names of those to mutate, and a call that reads them."""

    make: Callable[[Path], object]
    names: tuple[str, ...]
    read: Callable[[Path], Any]
    errors: tuple[type[Exception], ...] = (UserError, JobError)
    examples: int = 40
    """So many in the test."""


def _flip(data: bytes, at: int, byte: int) -> bytes:
    return data[:at] + bytes([byte]) + data[at + 1 :]


def _cut(data: bytes, at: int, size: int) -> bytes:
    return data[:at] + data[at + size :]


def _repeat(data: bytes, at: int, size: int) -> bytes:
    return data[: at + size] + data[at:]


def _number(data: bytes, at: int, number: int, width: int, order: str) -> bytes:
    """Return `data` with a number over `width` bytes, such as a size."""
    packed = (number % (1 << 8 * width)).to_bytes(width, order)  # type: ignore[arg-type]
    return data[:at] + packed + data[at + width :]


def _word(data: bytes, number: int, word: str) -> bytes:
    """Return `data` with a word in place of another."""
    tokens = list(TOKEN.finditer(data))
    if not tokens:
        return word.encode("utf-8", "surrogatepass")
    start, stop = tokens[number % len(tokens)].span()
    return data[:start] + word.encode("utf-8", "surrogatepass") + data[stop:]


def _insert(data: bytes, at: int, word: str) -> bytes:
    return data[:at] + word.encode("utf-8", "surrogatepass") + data[at:]


SIZES = st.integers(1, 64) | st.integers(1, 1 << 16)
EDITS = st.one_of(
    st.tuples(st.just(_flip), POINTS, st.integers(0, 255)),
    st.tuples(st.just(_cut), POINTS, SIZES | st.just(1 << 30)),
    st.tuples(st.just(_repeat), POINTS, SIZES),
    st.tuples(
        st.just(_number),
        POINTS,
        st.sampled_from(NUMBERS),
        st.sampled_from([2, 4, 8]),
        st.sampled_from(["big", "little"]),
    ),
    st.tuples(st.just(_word), POINTS, WORDS),
    st.tuples(st.just(_insert), POINTS, WORDS),
)
MUTATIONS = st.tuples(st.integers(0, 99), st.lists(EDITS, min_size=1, max_size=4))
"""The number of a file, and edits of it."""
CASES = st.one_of(MUTATIONS, MUTATIONS, MUTATIONS, MUTATIONS, st.tuples(st.integers(0, 99), st.binary(max_size=300)))


def mutate(data: bytes, edits: list[tuple[Any, ...]] | bytes) -> bytes:
    """Return `data` after the edits; bytes replace it."""
    if isinstance(edits, bytes):
        return edits
    for edit, at, *rest in edits:
        data = edit(data, at if edit is _word else at % (len(data) + 1), *rest)
    return data


class Bench:
    """The files of a reader in `base/files`, made once; `try_case` reads a mutation of them."""

    def __init__(self, reader: Reader, base: Path) -> None:
        self.reader, self.base, self.folder = reader, base, base / "files"
        self.folder.mkdir(parents=True)
        reader.make(self.folder)
        self.valid = {path: path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()}
        assert all(self.folder / name in self.valid for name in reader.names)
        reader.read(self.folder)  # the files as they were made are accepted

    def try_case(self, case: tuple[int, Any]) -> None:
        """Read a mutation: the reader returns, or raises an error of one line; it writes nowhere else."""
        number, edits = case
        shutil.rmtree(self.folder)
        for path, content in self.valid.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        path = self.folder / self.reader.names[number % len(self.reader.names)]
        path.write_bytes(mutate(self.valid[path], edits))
        try:
            result = self.reader.read(self.folder)
        except self.reader.errors as error:
            require_line(str(error))
        else:
            assert _bytes(result) <= MAX_BYTES
        assert list(self.base.iterdir()) == [self.folder]


def require_line(message: str) -> None:
    """Raise unless a message is one line that a terminal shows as it is."""
    assert message.strip()
    assert not re.search(r"[\n\r\x1b\x00]", message), message


def _bytes(value: Any) -> int:
    """Return about how many bytes a value holds."""
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(_bytes, value))
    return int(getattr(value, "nbytes", 8))


def _tables(folder: Path) -> Any:
    data = folder / "data"
    datadir.read_table(data / "text", what="")
    return datadir.read_utterances(data)


def _validate(folder: Path) -> int:
    problems = validate(folder / "data")
    lines = [*problems.errors, *problems.warnings]
    for line in lines:
        require_line(line)
    return len(lines)


def _fix(folder: Path) -> int:
    done = fix(folder / "data")
    for line in done:
        require_line(line)
    return len(done)


def _units(folder: Path, groups: int = 2, deduplicated: bool = True) -> Path:
    random = np.random.default_rng(0)
    info = UnitsInfo(16000, 160, 100.0, 16, groups, deduplicated, "0" * 64, "0.1.0")
    write_units(
        folder / "units", info, [(utt, random.integers(0, 3, (groups, 12))) for utt in "abc"], [("d", "broken")]
    )
    return folder / "units"


def _conversion(kind: str, suffix: str, *extra: str) -> Reader:
    def make(folder: Path) -> None:
        convert(_units(folder, groups=1 if kind == "discophon" else 2), folder / f"x{suffix}", to=kind)

    names = tuple(f"x{name}" for name in (*(extra or (suffix,)), ".units.json"))
    if kind not in ("jsonl", "discophon"):
        names += ("x.durations.txt",) if kind == "fairseq" else (f"x{suffix}.durations.txt",)
    if kind != "fairseq":
        names = tuple(f"x{suffix}.units.json" if name == "x.units.json" else name for name in names)
    source = f"x{suffix}"
    return Reader(make, names, lambda folder: convert(folder / source, folder / "out", to="vqaudio", from_=kind))


def _grids(folder: Path) -> None:
    convert(_units(folder), folder / "grids", to="textgrid")


GRIDS = ("grids/a.TextGrid", "grids/units.json", "grids/utt2num_frames")


def _cuts(folder: Path) -> None:
    recording = {"id": "r", "sources": [{"type": "file", "channels": [0], "source": "a.wav"}]}
    recording |= {"sampling_rate": 8000, "num_samples": 4000, "duration": 0.5}
    cut = {"id": "c", "start": 0.0, "duration": 0.5, "channel": 0, "recording": recording, "custom": {"units": [1, 2]}}
    said = {"id": "u", "recording_id": "r", "start": 0.1, "duration": 0.3, "channel": 0, "text": "one", "speaker": "s"}
    lines = [{**cut, "supervisions": [said], "type": "MonoCut"}, {**cut, "id": "d", "type": "MonoCut"}]
    (folder / "cuts.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def _cut_units(folder: Path) -> Any:
    info = UnitsInfo.of(sample_rate=8000, hop_length=80, codebook_size=16, groups=1)
    return convert(folder / "cuts.jsonl", folder / "out", to="vqaudio", from_="lhotse", settings=info)


def _ctm(folder: Path) -> None:
    (folder / "a.ctm").write_text("a 1 0.00 0.10 AH\na 1 0.10 0.25 B\n;; comment\nb 1 0.0 0.1 SIL 0.9\n")


def _text_grid(folder: Path) -> None:
    rows = "".join(
        f"        intervals [{n + 1}]:\n            xmin = {n / 10}\n            xmax = {(n + 1) / 10}\n"
        f'            text = "{label}"\n'
        for n, label in enumerate(("AH", "", "B"))
    )
    (folder / "long.TextGrid").write_text(
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 0.3\ntiers? <exists>\nsize = 1\n'
        'item []:\n    item [1]:\n        class = "IntervalTier"\n        name = "phones"\n        xmin = 0\n'
        f"        xmax = 0.3\n        intervals: size = 3\n{rows}"
    )
    (folder / "short.TextGrid").write_text(
        'File type = "ooTextFile short"\n"TextGrid"\n\n0\n0.3\n<exists>\n1\n"IntervalTier"\n"phones"\n0\n0.3\n3\n'
        '0\n0.1\n"AH"\n0.1\n0.2\n""\n0.2\n0.3\n"B"\n'
    )


def _answers(folder: Path) -> None:
    test = listening.make_test(folder, "mushra", items=1, listeners=1)
    key = read_key(test)
    with Store(test) as store:
        listener, token = store.listeners()[0]
        session = session_for_browser(key, Study(), store, listener)
    (folder / "session.json").write_text(json.dumps(store_session := session["trials"]))
    events = [
        {"trial": trial["id"], "stimulus": name, "seq": seq, "value": 50, "client_ms": 1_700_000_000_000}
        for trial in store_session
        for seq, name in enumerate(trial["stimuli"], start=10 * store_session.index(trial))
    ]
    (folder / "result.json").write_text(json.dumps({"format": FORMAT, "token": token, "page": 2, "events": events}))
    shutil.rmtree(folder / "audio")
    shutil.rmtree(test / "public")


def _study(folder: Path) -> None:
    (folder / "study.yaml").write_text(
        "title: Voices\nlanguage: de\nconsent: I agree.\nheadphones: true\ngold: 2\ntexts: {next: Further}\nbefore:\n"
        "  - {name: age, ask: 'How old?', type: number, min: 1, max: 120, screen_below: 18}\n"
        "  - {name: hearing, ask: 'Well?', type: choice, choices: ['yes', 'no'], screen_out: ['no']}\n"
        "platform: {limit: 24, parameters: [pid], finished: {code: A1, url: 'https://example.org/?cc=A1'}}\n"
    )


def _request(folder: Path) -> Any:
    """Parse a request as the server does, which answers a `ValueError` with its text."""
    try:
        data = json.loads((folder / "result.json").read_bytes())
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    session = json.loads((folder / "session.json").read_text())
    parse_page(data.get("page"), len(session) + 3)
    wanted = wanted_answers(read_key(folder / "test_mushra"), Study(), session)
    return parse_events(data.get("events"), wanted)


def _sound(kind: str, subtype: str, channels: int = 1) -> Reader:
    name = f"sound.{kind.lower()}"

    def make(folder: Path) -> None:
        rate = 48000 if subtype == "OPUS" else 16000
        wav = voice(0.25, seed=3, rate=rate)
        wav = wav if channels == 1 else np.stack([wav] * channels, axis=1)
        (folder / name).write_bytes(encoded(wav, kind, subtype, rate))

    def read(folder: Path) -> Any:
        found = audio.info(folder / name)
        wav, rate = audio.read(folder / name)
        assert len(wav) == found.num_samples
        assert rate == found.sample_rate
        assert np.isfinite(wav).all()
        return wav

    return Reader(make, (name,), read)


def _kmeans(folder: Path) -> None:
    tensors = (torch.zeros(13), torch.ones(13), torch.randn(4, 13, generator=torch.Generator().manual_seed(0)))
    KMeansUnits("mfcc", 16000, 160, *tensors).save(folder / "k.safetensors")


def _codes(folder: Path) -> np.ndarray:
    return codec.load(folder).encode(0.1 * voice(0.05, rate=8000).astype(np.float32) / 32768, 8000)


def _state(folder: Path) -> None:
    save_state(folder, 7, {"step": 7, "model": {"weight": torch.zeros(3, 4)}, "random": [torch.zeros(5)]})


def _run(folder: Path) -> None:
    finished_run.write_metrics(folder)
    finished_run.write_scores(folder, ["a", "b"], "test_seen", "")


def _run_with_model(folder: Path) -> None:
    save_tiny_model(folder)
    _run(folder)


def _report(folder: Path) -> int:
    return len(build_report(folder).read_bytes())


TABLES = ("wav.scp", "utt2spk", "spk2utt", "text", "spk2gender", "utt2dur", "reco2dur", "phones.ctm")
DATA = tuple(f"data/{name}" for name in TABLES)
SEGMENTED = tuple(f"data/{name}" for name in ("segments", "wav.scp", "utt2spk", "utt2dur"))
UNITS = tuple(f"units/{name}" for name in ("units.txt", "units.json", "durations.txt", "utt2num_units"))
MODEL = ("config.yaml", "speakers.txt", "model.safetensors")

READERS = {
    "tables": Reader(datadirs.make, DATA, _tables),
    "segments": Reader(datadirs.make_segmented, SEGMENTED, lambda folder: datadir.read_utterances(folder / "data")),
    "validate": Reader(datadirs.make, DATA, _validate),
    "validate-segments": Reader(datadirs.make_segmented, SEGMENTED, _validate),
    "fix": Reader(datadirs.make, DATA, _fix),
    "fix-segments": Reader(datadirs.make_segmented, SEGMENTED, _fix),
    "units": Reader(_units, UNITS, lambda folder: [list(s) for s in map(_parts, read_units(folder / "units"))]),
    "fairseq": _conversion("fairseq", "", ".tsv", ".km"),
    "gslm": _conversion("gslm", ".txt"),
    "jsonl": _conversion("jsonl", ".jsonl"),
    "discophon": _conversion("discophon", ".json"),
    "espnet": _conversion("espnet", ".text"),
    "grids": Reader(_grids, GRIDS, lambda folder: convert(folder / "grids", folder / "out", to="vqaudio")),
    "cuts": Reader(_cuts, ("cuts.jsonl",), _cut_units),
    "ctm": Reader(_ctm, ("a.ctm",), lambda folder: read_alignment(folder / "a.ctm")),
    "textgrid": Reader(_text_grid, ("long.TextGrid", "short.TextGrid"), read_alignment),
    "request": Reader(_answers, ("result.json",), _request, (ValueError,)),
    "result": Reader(
        _answers, ("result.json",), lambda folder: import_results(folder / "test_mushra", [folder / "result.json"])
    ),
    "study": Reader(_study, ("study.yaml",), lambda folder: len(vars(read_study_file(folder / "study.yaml")))),
    "key": Reader(
        _answers, ("test_mushra/private/key.json",), lambda folder: len(read_key(folder / "test_mushra").trials)
    ),
    "wav": _sound("WAV", "PCM_16"),
    "wav-float": _sound("WAV", "FLOAT"),
    "wav-adpcm": _sound("WAV", "IMA_ADPCM"),
    "wavex": _sound("WAVEX", "PCM_24", channels=2),
    "rf64": _sound("RF64", "PCM_16"),
    "w64": _sound("W64", "PCM_16"),
    "flac": _sound("FLAC", "PCM_16", channels=2),
    "ogg": _sound("OGG", "VORBIS"),
    "opus": _sound("OGG", "OPUS"),
    "mp3": _sound("MP3", "MPEG_LAYER_III"),
    "aiff": _sound("AIFF", "PCM_16"),
    "au": _sound("AU", "ULAW"),
    "caf": _sound("CAF", "PCM_16"),
    "config": Reader(save_tiny_model, MODEL[:1], _codes),
    "speakers": Reader(save_tiny_model, MODEL[1:2], lambda folder: load_model(folder).speakers),
    "weights": Reader(save_tiny_model, MODEL[2:], lambda folder: load_model(folder).hash),
    "kmeans": Reader(_kmeans, ("k.safetensors",), lambda folder: vars(KMeansUnits.load(folder / "k.safetensors"))),
    "state": Reader(_state, ("state/step-7/state.pt",), lambda folder: load_state(folder / "state" / "step-7")),
    "npy": Reader(
        lambda folder: np.save(folder / "a.npy", np.ones((6, 4), dtype=np.float32)),
        ("a.npy",),
        lambda folder: read_npy(folder / "a.npy"),
    ),
    "run": Reader(_run, ("metrics.jsonl",), lambda folder: len(read_metrics(folder))),
    "report": Reader(_run, ("scores.json", "metrics.jsonl"), _report, examples=20),
    "report-model": Reader(_run_with_model, ("metrics.jsonl", "config.yaml"), _report, examples=10),
}


def _parts(sequence: Any) -> tuple[str, np.ndarray, np.ndarray]:
    return sequence.utt, sequence.units, sequence.codes
