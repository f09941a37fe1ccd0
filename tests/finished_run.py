"""A run with all its parts, untrained, and the pages about it read strictly."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from tiny_model import save_tiny_model

from vqaudio import audio, datadir
from vqaudio.datadir import Utterance
from vqaudio.model_directory import load_model
from vqaudio.names import file_name
from vqaudio.units import UnitsInfo
from vqaudio.units.writer import write_units

RATE, HOP, CODES = 8000, 80, 16
UTTS = [f"p225_{number:03d}" for number in range(1, 7)]
PHONES = ("SIL", "AH0", "T", "S", "M", "SIL")
COSTS = {"units": 300.0, "baseline": 400.0, "baseline_stacked": 350.0}
VOID = {"meta", "img", "br", "input"}


class Page(HTMLParser):
    """Reads a page strictly: every element closed in turn; collects tags, classes, attributes, sources and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.classes: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.classes += (dict(attrs).get("class") or "").split()
        sources = [value for name, value in attrs if name in ("src", "href", "poster", "srcset")]
        self.sources += [source for source in sources if not source.startswith("#")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style" and data.strip():
            self.words.append(data.strip())


def speech(seed: int, seconds: float = 0.6) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


def write_set(folder: Path, utts: list[str], seed: int) -> dict[str, str]:
    folder.mkdir(parents=True)
    paths = {}
    for number, utt in enumerate(utts):
        path = folder / f"{file_name(utt)}.wav"
        audio.write(path, speech(seed + number), RATE)
        paths[utt] = str(path)
    return paths


def write_metrics(exp: Path) -> None:
    lines = []
    for step in range(50, 1050, 50):
        phase = "codebook" if step < 400 else "decoder"
        line = {"step": step, "seconds": step / 10, "phase": phase, "train/mel": 2 / step**0.5, "temperature": 1.0}
        lines.append(line | {"codebook/perplexity": 12.0, "codebook/usage": 0.9})
        if phase == "decoder":
            lines[-1]["train/nll"] = 5 - step / 500
        if step % 250 == 0:
            lines.append({"step": step, "seconds": step / 10, "phase": phase, "valid/mel": 0.5, "valid/usage": 0.8})
    (exp / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def curve_rows(cost: float) -> list[dict]:
    """Rows of `evaluate curve` at three penalties."""
    return [
        {
            "change_penalty": penalty,
            "bitrate_deduplicated": cost / (1 + penalty),
            "pnmi": 0.5 + penalty / 10,
            "phone_error_rate": None if penalty else 1.5,
            "intervals": {"pnmi": [0.4, 0.8]},
        }
        for penalty in (0, 0.5, 1)
    ]


def write_scores(exp: Path, utts: list[str], name: str, mark: str) -> None:
    units = {"pnmi": 0.61, "phone_purity": 0.5, "usage": 0.75, "perplexity": 9.0, "bitrate_entropy": 312.0}
    units |= {"abx_across": 0.214, "boundary_r_value": 0.33, "intervals": {"pnmi": [0.583, 0.641], "usage": None}}
    per_utterance = {utt: {"estoi": number / 10, "stoi": None} for number, utt in enumerate(utts)}
    scores = {
        "units": {name: units},
        "audio": {name: {"estoi": 0.437, "mcd": None, "utterances": 6, "per_utterance": per_utterance}},
        "baseline": {name: {**units, "pnmi": 0.42}},
        "baseline_stacked": {name: {**units, "pnmi": 0.47}},
        "curve": {name: {key: curve_rows(cost) for key, cost in COSTS.items()}},
        "seconds": {f"train{mark}": 100, "score": 7},
    }
    (exp / "scores.json").write_text(json.dumps(scores))


def finished_run(tmp_path: Path, tag: str, mark: str = "") -> Path:
    """Write a run with all its parts, and its data; `mark` is added to every name and text in it."""
    utts, name = [f"{utt}{mark}" for utt in UTTS], f"test_seen{mark}"
    exp = save_tiny_model(tmp_path / "exp" / tag)
    speakers = (exp / "speakers.txt").read_text(encoding="utf-8").splitlines()
    (exp / "speakers.txt").write_text(
        "\n".join([speakers[0], *(f"{speaker}{mark}" for speaker in speakers[1:]), ""]), encoding="utf-8"
    )
    config = OmegaConf.load(exp / "config.yaml")
    config.data.train, config.data.valid = str(tmp_path / "data" / f"train{mark}"), str(tmp_path / "data" / "dev")
    OmegaConf.save(config, exp / "config.yaml")
    originals = write_set(tmp_path / "audio", utts, seed=0)
    utterances = [Utterance(utt, Path(path), f"p225{mark}") for utt, path in originals.items()]
    text = {utts[0]: f"Say <i>five</i> & six{mark}."}
    datadir.write_utterances(tmp_path / "data" / name, utterances, text=text)
    phones = [f"{utt} 1 {n * 0.1:.2f} 0.10 {phone}{mark}\n" for utt in utts for n, phone in enumerate(PHONES)]
    (tmp_path / "data" / name / "phones.ctm").write_text("".join(phones))
    for folder, seed in ((name, 10), (f"{name}_swap", 20)):
        paths = write_set(exp / "wav" / folder, utts, seed)
        datadir.write_table(exp / "wav" / folder / "wav.scp", paths)
    datadir.write_table(exp / "swap_utt2spk", dict.fromkeys(utts, f"p226{mark}"))
    rng = np.random.default_rng(0)
    info = UnitsInfo(RATE, HOP, RATE / HOP, CODES, 1, False, load_model(exp).hash, "0.1.0")
    codes = [(utt, rng.integers(0, CODES - 3, (1, 60))) for utt in utts]
    write_units(exp / "units" / name, info, codes, [])
    write_metrics(exp)
    write_scores(exp, utts, name, mark)
    return exp
