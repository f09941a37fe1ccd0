import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf
from tiny_model import save_tiny_model

from vqaudio import audio, datadir
from vqaudio.checkpoint import load_model
from vqaudio.datadir import Utterance
from vqaudio.errors import UserError
from vqaudio.report import build_report, describe
from vqaudio.report.charts import Series, line_chart, thinned, ticks, usage_chart
from vqaudio.report.facts import read_metrics
from vqaudio.report.run import Run
from vqaudio.report.samples import SHOWN, choose, code_colours
from vqaudio.unit_writer import write_units
from vqaudio.units import UnitsInfo

RATE, HOP, CODES = 8000, 80, 16
UTTS = [f"p225_{number:03d}" for number in range(1, 7)]
VOID = {"meta", "img", "br", "line", "circle", "path", "polyline"}


class Page(HTMLParser):
    """Reads a page strictly: every element closed in turn; collects text, classes and sources."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.classes: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.classes += (attributes.get("class") or "").split()
        self.sources += [value for name, value in attrs if name in ("src", "href", "poster", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
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
        audio.write(folder / f"{utt}.wav", speech(seed + number), RATE)
        paths[utt] = str(folder / f"{utt}.wav")
    return paths


def write_metrics(exp: Path) -> None:
    lines = []
    for step in range(50, 1050, 50):
        phase = "codebook" if step < 400 else "joint"
        line = {"step": step, "seconds": step / 10, "phase": phase, "train/mel": 2 / step**0.5, "temperature": 1.0}
        lines.append(line | {"codebook/perplexity": 12.0, "codebook/usage": 0.9})
        if phase == "joint":
            lines[-1]["train/nll"] = 5 - step / 500
        if step % 250 == 0:
            lines.append({"step": step, "seconds": step / 10, "phase": phase, "valid/mel": 0.5, "valid/usage": 0.8})
    (exp / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_scores(exp: Path) -> None:
    units = {"pnmi": 0.61, "phone_purity": 0.5, "usage": 0.75, "perplexity": 9.0, "bitrate_entropy": 312.0}
    per_utterance = {utt: {"estoi": number / 10, "stoi": None} for number, utt in enumerate(UTTS)}
    scores = {
        "units": {"test_seen": units},
        "audio": {"test_seen": {"estoi": 0.437, "mcd": None, "utterances": 6, "per_utterance": per_utterance}},
        "baseline": {"test_seen": {**units, "pnmi": 0.42}},
        "seconds": {"train": 100, "score": 7},
    }
    (exp / "scores.json").write_text(json.dumps(scores))


@pytest.fixture
def exp(tmp_path) -> Path:
    """A run with all its parts; the tag has characters that HTML must escape."""
    exp = save_tiny_model(tmp_path / "exp" / "run <b>&1")
    config = OmegaConf.load(exp / "config.yaml")
    config.data.train, config.data.valid = str(tmp_path / "data" / "train"), str(tmp_path / "data" / "dev")
    OmegaConf.save(config, exp / "config.yaml")
    originals = write_set(tmp_path / "audio", UTTS, seed=0)
    utterances = [Utterance(utt, Path(path), "p225") for utt, path in originals.items()]
    datadir.write_utterances(tmp_path / "data" / "test_seen", utterances, text={UTTS[0]: "Say <i>five</i> & six."})
    for name, seed in (("test_seen", 10), ("test_seen_swap", 20)):
        paths = write_set(exp / "wav" / name, UTTS, seed)
        datadir.write_table(exp / "wav" / name / "wav.scp", paths)
    datadir.write_table(exp / "swap_utt2spk", dict.fromkeys(UTTS, "p226"))
    rng = np.random.default_rng(0)
    info = UnitsInfo(RATE, HOP, RATE / HOP, CODES, 1, False, load_model(exp).hash, "0.1.0")
    codes = [(utt, rng.integers(0, CODES - 3, (1, 60))) for utt in UTTS]
    write_units(exp / "units" / "test_seen", info, codes, [])
    write_metrics(exp)
    write_scores(exp)
    return exp


def report(exp: Path) -> tuple[str, Page]:
    path = build_report(exp)
    assert path == exp / "report.html"
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def test_the_page_is_one_well_formed_file_without_outside_resources(exp):
    text, page = report(exp)
    assert page.sources
    assert all(source.startswith("data:") for source in page.sources)
    assert not re.search(r"url\(|@import|<script|<link|https?:", text)
    assert len(text) < 15e6


def test_the_page_shows_every_part_of_a_finished_run(exp):
    _, page = report(exp)
    assert "0.437" in page.text
    assert "0.610" in page.text
    assert "0.420" in page.text  # the baseline, beside it
    assert "13 of 16 codes occur" in page.text
    assert "WaveNet joins" in page.text
    assert "1000 steps in 1.7 minutes" in page.text
    assert "107 s" in page.text
    assert "codebook_size: 16" in page.text
    assert "missing" not in page.classes


def test_the_second_phase_is_marked_at_its_first_step(exp):
    text, _ = report(exp)
    places = re.findall(r'<line class="switch" x1="([0-9.]+)" x2="\1"', text)
    assert set(places) == {f"{46 + 0.4 * (360 - 10 - 46):.1f}"}  # step 400 of 1000, on an axis from 46 to 350


def test_names_and_texts_are_escaped(exp):
    text, page = report(exp)
    assert "<b>" not in text
    assert "<i>" not in text
    assert "run <b>&1" in page.text
    choice = choose(UTTS, json.loads((exp / "scores.json").read_text())["audio"]["test_seen"]["per_utterance"])
    assert ("Say <i>five</i> & six." in page.text) == (UTTS[0] in choice)


def test_players_hold_the_audio_of_original_reconstruction_and_swap_at_one_level(exp):
    _, page = report(exp)
    clips = [source for source in page.sources if source.startswith("data:audio/flac;base64,")]
    assert len(clips) == 3 * SHOWN
    wavs = [soundfile.read(io.BytesIO(base64.b64decode(clip.partition(",")[2])), dtype="float32") for clip in clips]
    assert {rate for _, rate in wavs} == {16000}
    assert [len(wav) / rate for wav, rate in wavs] == pytest.approx([0.6] * len(wavs), abs=0.01)
    levels = [20 * np.log10(np.sqrt(np.square(wav).mean())) for wav, _ in wavs]
    assert levels == pytest.approx([-26.0] * len(wavs), abs=0.2)
    original = audio.resample(audio.read(exp.parent.parent / "audio" / f"{UTTS[-1]}.wav")[0], RATE, 16000)
    assert np.corrcoef(original[:9000], wavs[0][0][:9000])[0, 1] > 0.99  # the best by ESTOI comes first


def test_units_stand_as_in_the_units_text(exp):
    text, _ = report(exp)
    lines = dict(line.split(" ", 1) for line in (exp / "units/test_seen/units.txt").read_text().splitlines())
    assert f'<p class="units">{lines[UTTS[-1]]}</p>' in text


def test_a_run_that_has_only_begun_gets_a_page_that_says_what_is_missing(tmp_path):
    exp = tmp_path / "new"
    exp.mkdir()
    _, page = report(exp)
    for part in ("no reconstructions", "no scores", "no units", "no complete model", "logged nothing"):
        assert part in page.text


@pytest.mark.parametrize(
    "part",
    ["config.yaml", "model.safetensors", "metrics.jsonl", "scores.json", "swap_utt2spk", "units/test_seen/units.txt"],
)
def test_a_broken_part_is_named_and_the_rest_is_shown(exp, part):
    (exp / part).write_bytes(b"\xff\n" + b"broken\n" * 3)
    _, page = report(exp)
    assert str(exp / part) in page.text
    assert len([source for source in page.sources if source.startswith("data:audio")]) >= 2 * SHOWN


@pytest.mark.parametrize("part", ["metrics.jsonl", "scores.json", "swap_utt2spk", "model.safetensors"])
def test_a_missing_part_is_left_out(exp, part):
    (exp / part).unlink()
    report(exp)


def test_a_missing_and_a_silent_recording_are_said_where_they_would_stand(exp):
    audio.write(exp / "wav/test_seen" / f"{UTTS[-1]}.wav", np.zeros(4800, dtype=np.float32), RATE)
    (exp / "wav/test_seen" / f"{UTTS[0]}.wav").unlink()
    _, page = report(exp)
    assert "All samples are zero." in page.text
    assert f"{UTTS[0]}.wav" in page.text


def test_scores_that_could_not_be_computed_are_dashes(exp):
    scores = json.loads((exp / "scores.json").read_text())
    scores["units"]["test_seen"]["pnmi"] = None
    (exp / "scores.json").write_text(json.dumps(scores))
    _, page = report(exp)
    assert "–" in page.text


def test_a_directory_that_is_not_there_is_a_mistake_of_the_user(tmp_path):
    with pytest.raises(UserError, match="no such directory"):
        build_report(tmp_path / "absent")


def test_describe_counts_what_the_model_holds(exp):
    facts = dict(re.split(r"  +", line, maxsplit=1) for line in describe(exp).splitlines())
    model = load_model(exp).model
    total = sum(p.numel() for p in model.parameters()) + model.quantizer.codebook.numel()  # ema: a buffer
    shown = float(facts["parameters"].split()[0])
    assert shown == pytest.approx(total / 1e6, abs=0.005) or shown == total
    assert facts["hop"] == "80 samples, 10 ms"
    assert facts["frame rate"] == "100 Hz"
    assert facts["nominal bitrate"] == "400 bit/s"
    assert facts["codebook"] == "1 × 16 codes of 8 values, kmeans"
    assert facts["speakers"] == "2 (p225, p226)"
    assert facts["hash"] == load_model(exp).hash
    assert facts["training"].startswith("1000 steps")
    encoder = (16 + 9 * 8 + 2 * 2 * 80) / 8  # kernels 16 and 10 (stride 8), two context layers of kernel 3 at the hop
    assert f"encoder {encoder:.1f} ms" in facts["receptive field"]


def test_utterances_are_chosen_from_the_best_to_the_worst():
    utts = [f"u{i}" for i in range(10)]
    scores = {utt: {"estoi": i / 10} for i, utt in enumerate(utts)}
    assert choose(utts, scores) == ["u9", "u6", "u3", "u0"]
    assert choose(utts[:2], {}) == ["u0", "u1"]
    assert len(choose(utts, {utt: {"estoi": None} for utt in utts})) == SHOWN


def test_usage_is_the_share_of_the_frames(exp):
    shares, size = Run(exp).usage("test_seen")
    counts = np.zeros(CODES)
    for line in (exp / "units/test_seen/units.txt").read_text().splitlines():
        for unit in line.split()[1:]:
            counts[int(unit)] += 1
    assert size == CODES
    assert shares == pytest.approx(counts / counts.sum())


def test_metrics_may_end_in_a_line_cut_off_but_not_hold_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "tra')
    assert read_metrics(tmp_path) == [{"step": 1}]
    path.write_text('{"step": 1, "tra\n{"step": 2}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl:1"):
        read_metrics(tmp_path)


def test_long_lines_are_thinned_to_means():
    points = [(float(i), float(i % 2)) for i in range(1000)]
    assert len(thinned(points)) == 250
    assert {y for _, y in thinned(points)} == {0.5}


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.001, 0.0013), (-3, 17), (0, 250000), (1.0, 1.05)])
def test_ticks_are_few_and_lie_inside(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)


@pytest.mark.parametrize("points", [[(0.0, 1.0)], [(5.0, 0.0), (6.0, 0.0)], [(0.0, -2.0), (9.0, 3e5)]])
def test_charts_of_odd_data_hold_finite_numbers_only(points):
    chart = line_chart("t", [Series("a", "first", points)], switch=5.0, floor=None)
    usage = usage_chart("u", [1.0, 0.0, 0.0], "caption")
    assert not re.search(r"nan|inf", chart + usage)


def test_neighbouring_codes_have_different_colours():
    colours = code_colours(np.arange(256)[None])
    assert colours.shape == (1, 256, 3)
    assert np.abs(np.diff(colours[0], axis=0)).max(1).min() > 0.1
