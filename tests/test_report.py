import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from finished_run import CODES, RATE, UTTS, Page, finished_run

from vqaudio import audio
from vqaudio.errors import UserError
from vqaudio.model_directory import load_model
from vqaudio.report.facts import describe, read_metrics
from vqaudio.report.page import build_report
from vqaudio.report.run import FinishedRun
from vqaudio.report.samples import NUM_SAMPLES, choose


@pytest.fixture
def exp(tmp_path) -> Path:
    """A run with all its parts."""
    return finished_run(tmp_path, "run")


def report(exp: Path) -> tuple[str, Page]:
    path = build_report(exp)
    assert path == exp / "report.html"
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def test_the_page_is_one_well_formed_file_without_outside_resources(exp):
    text, page = report(exp)
    assert page.sources
    assert all(source.startswith("data:") for source in page.sources)
    assert not re.search(r"url\((?!#)|@import|<script|<link|https?:", text)
    assert len(text) < 15e6


def test_the_page_shows_every_part_of_a_finished_run(exp):
    _, page = report(exp)
    assert "0.437" in page.text
    assert "0.610" in page.text
    assert "0.420" in page.text  # the baselines
    assert "0.470" in page.text
    assert "0.583–0.641" in page.text
    assert "21.4%" in page.text
    assert "13 of 16 codes occur" in page.text
    assert "WaveNet starts" in page.text
    assert "1000 steps in 1.7 minutes" in page.text
    assert "107 s" in page.text
    assert "codebook_size: 16" in page.text
    assert "missing" not in page.classes


def test_players_hold_the_audio_of_original_reconstruction_and_swap_at_one_level(exp):
    _, page = report(exp)
    clips = [source for source in page.sources if source.startswith("data:audio/")]
    assert len(clips) == 3 * NUM_SAMPLES
    wavs = [soundfile.read(io.BytesIO(base64.b64decode(clip.partition(",")[2])), dtype="float32") for clip in clips]
    assert {rate for _, rate in wavs} == {16000}
    assert [len(wav) / rate for wav, rate in wavs] == pytest.approx(
        [0.6] * len(wavs), abs=0.01
    )  # MP3 padding is cut off
    levels = [20 * np.log10(np.sqrt(np.square(wav).mean())) for wav, _ in wavs]
    assert levels == pytest.approx([-26.0] * len(wavs), abs=0.2)
    original = audio.resample(audio.read(exp.parent.parent / "audio" / f"{UTTS[-1]}.wav")[0], RATE, 16000)
    assert np.corrcoef(original[:9000], wavs[0][0][:9000])[0, 1] > 0.98  # the best by ESTOI comes first


def test_units_are_shown_as_in_units_txt(exp):
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
    assert len([source for source in page.sources if source.startswith("data:audio")]) >= 2 * NUM_SAMPLES


@pytest.mark.parametrize("part", ["metrics.jsonl", "scores.json", "swap_utt2spk", "model.safetensors"])
def test_a_missing_part_is_left_out(exp, part):
    (exp / part).unlink()
    report(exp)


def test_a_missing_and_a_silent_recording_are_reported_in_the_place_of_their_player(exp):
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


def test_a_missing_directory_is_an_error_of_the_user(tmp_path):
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
    utts = [f"u{i}" for i in range(9)]
    scores = {utt: {"estoi": i / 10} for i, utt in enumerate(utts)}
    assert choose(utts, scores) == ["u8", "u6", "u4", "u2", "u0"]
    assert choose(utts[:2], {}) == ["u0", "u1"]
    assert len(choose(utts, {utt: {"estoi": None} for utt in utts})) == NUM_SAMPLES


def test_usage_is_the_share_of_the_frames(exp):
    shares, size = FinishedRun(exp).usage("test_seen")
    counts = np.zeros(CODES)
    for line in (exp / "units/test_seen/units.txt").read_text().splitlines():
        for unit in line.split()[1:]:
            counts[int(unit)] += 1
    assert size == CODES
    assert shares == pytest.approx(counts / counts.sum())


def test_only_the_last_line_of_the_metrics_may_be_cut_off(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "tra')
    assert read_metrics(tmp_path) == [{"step": 1}]
    path.write_text('{"step": 1, "tra\n{"step": 2}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl:1"):
        read_metrics(tmp_path)


def test_odd_scores_do_not_break_the_page(exp):
    odd = {"units": {"test_seen": {"pnmi": "x", "usage": float("nan"), "intervals": {"pnmi": [1]}}, "dev": None}}
    odd |= {"audio": {"test_seen": {"estoi": 0.4, "per_utterance": {UTTS[0]: None}}}, "baseline": 3, "seconds": None}
    rows = [
        3,
        {},
        {"change_penalty": None},
        {"change_penalty": 1, "bitrate_deduplicated": 9.0, "intervals": 3, "pnmi": "x"},
    ]
    odd |= {"curve": {"test_seen": {"units": rows, "baseline": {}}, "dev": 3}}
    (exp / "scores.json").write_text(json.dumps(odd))
    _, page = report(exp)
    assert "0.400" in page.text
