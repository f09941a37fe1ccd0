"""Stage 6 of the recipe: the baselines are k-means units like all others, scored like them, and kept on disk."""

import json
from pathlib import Path

import numpy as np
import pytest

from vqaudio import __version__, audio
from vqaudio.cli import main
from vqaudio.datadir import Phone, Utterance, read_utterances, write_ctm, write_utterances
from vqaudio.errors import UserError
from vqaudio.outputs import MARK
from vqaudio.units import UnitsInfo, read_units
from vqaudio.units.writer import write_units

LOCAL = Path(__file__).resolve().parent.parent / "recipes" / "vctk" / "local"
RATE, HOP = 16000, 160
TONES = {"A": 300, "B": 900, "C": 2500}
SETS = {"train": ["s-1", "t-2", "s-3"], "dev": ["s-4"], "test_seen": ["s-5", "t-6"], "test_unseen": ["u-7"]}
FRAMES_PER_PHONE = 40  # long, so that frames at the joints are few


@pytest.fixture
def collect(monkeypatch):
    """The functions of the script."""
    monkeypatch.syspath_prepend(LOCAL)
    import collect_scores

    return collect_scores


@pytest.fixture
def baselines(monkeypatch):
    """The functions of the script that scores baselines."""
    monkeypatch.syspath_prepend(LOCAL)
    import score_baselines

    return score_baselines


@pytest.fixture
def run(tmp_path):
    """Data directories of tones, a phone each, and a run whose units mean nothing; the unseen set has no phones."""
    generator = np.random.default_rng(0)
    for name, utts in SETS.items():
        utterances, phones = [], {}
        for utt in utts:
            names = [*"ABC", *generator.choice([*TONES], 9)]
            t = np.arange(FRAMES_PER_PHONE * HOP) / RATE
            wav = np.concatenate([np.sin(2 * np.pi * TONES[p] * t) for p in names])
            audio.write(tmp_path / f"{utt}.wav", 0.1 * wav + 0.003 * generator.standard_normal(len(wav)), RATE)
            utterances.append(Utterance(utt, tmp_path / f"{utt}.wav", utt[0]))
            length = FRAMES_PER_PHONE * HOP / RATE
            phones[utt] = [Phone(n * length, length, p) for n, p in enumerate(names)]
        write_utterances(tmp_path / "data" / name, utterances)
        if name != "test_unseen":
            write_ctm(tmp_path / "data" / name / "phones.ctm", phones)
        info = UnitsInfo.of(sample_rate=RATE, hop_length=HOP, codebook_size=16, groups=2, model_hash="a" * 64)
        write_units(tmp_path / "exp" / "units" / name, info, [(utt, np.array([[0, 1], [1, 1]])) for utt in utts], [])
    (tmp_path / "exp" / "scores").mkdir()
    for name in ("dev", "test_seen"):
        (tmp_path / "exp" / "scores" / f"units_{name}.json").write_text('{"pnmi": 0.5}')
    for name in ("test_seen", "test_unseen"):
        (tmp_path / "exp" / "scores" / f"audio_{name}.json").write_text('{"estoi": 0.5}')
    return tmp_path


def test_the_baseline_tells_tones_apart_at_the_rate_and_codebook_size_of_the_units(run, baselines):
    scores = baselines.baseline_scores(run / "exp", run / "data", "mfcc")
    assert scores.keys() == {"dev", "test_seen"}
    test = scores["test_seen"]
    assert test["pnmi"] > 0.8
    assert test["mapping_accuracy"] > 0.9 > test["prior_accuracy"]  # learned on the training set
    assert test["bitrate_nominal"] == 100 * 4  # one group, whatever the units have
    assert test["frames"] == 2 * 12 * FRAMES_PER_PHONE
    assert test.keys() >= {"abx_within", "abx_units_across", "boundary_r_value", "run_length_mean", "speaker_probe"}


def test_the_baseline_is_what_the_commands_make(run, baselines):
    scores = baselines.baseline_scores(run / "exp", run / "data", "mfcc-stacked")["test_seen"]
    folder = run / "exp" / "baseline" / "mfcc-stacked"
    argv = ["--features", "mfcc-stacked", "--data", run / "data" / "train", "--codebook-size", 16, "--out", run / "km"]
    assert main(["kmeans", "fit", *map(str, argv)]) == 0
    assert (run / "km").read_bytes() == (folder / "kmeans.safetensors").read_bytes()
    for name in ("train", "test_seen"):
        argv = ["--model", run / "km", "--data", run / "data" / name, "--out", run / "units" / name]
        assert main(["kmeans", "apply", *map(str, argv)]) == 0
        assert (run / "units" / name / "units.txt").read_bytes() == (folder / "units" / name / "units.txt").read_bytes()
    argv = ["--units", run / "units" / "test_seen", "--alignment", run / "data" / "test_seen" / "phones.ctm"]
    argv += ["--model", run / "km", "--mapping-units", run / "units" / "train"]
    argv += ["--mapping-alignment", run / "data" / "train" / "phones.ctm", "--json", run / "scores.json"]
    assert main(["evaluate", "units", *map(str, argv)]) == 0
    found = json.loads((run / "scores.json").read_text())
    assert found.pop("vqaudio") == __version__
    assert {name: value for name, value in scores.items() if value == value} == {
        name: value for name, value in found.items() if value is not None
    }


def test_a_second_run_with_other_units_makes_the_baseline_anew(run, baselines):
    baselines.baseline_scores(run / "exp", run / "data", "mfcc")
    info = UnitsInfo.of(sample_rate=RATE, hop_length=2 * HOP, codebook_size=8, groups=1)
    write_units(run / "exp" / "units" / "train", info, [("s-1", np.array([[0, 1]]))], [])
    scores = baselines.baseline_scores(run / "exp", run / "data", "mfcc")
    assert scores["test_seen"]["bitrate_nominal"] == 50 * 3
    assert read_units(run / "exp" / "baseline" / "mfcc" / "units" / "dev").info.codebook_size == 8


def test_a_folder_of_the_user_is_no_baseline_and_stays(run, baselines):
    (run / "exp" / "baseline" / "mfcc").mkdir(parents=True)
    (run / "exp" / "baseline" / "mfcc" / "notes").write_text("mine")
    with pytest.raises(UserError, match=r"baseline: holds mfcc, and no \.vqaudio"):
        baselines.baseline_scores(run / "exp", run / "data", "mfcc")
    assert (run / "exp" / "baseline" / "mfcc" / "notes").read_text() == "mine"


def test_the_baseline_has_the_change_penalty_of_the_units_beside_it(run, baselines):
    plain = baselines.baseline_scores(run / "exp", run / "data", "mfcc")
    assert {scores["change_penalty"] for scores in plain.values()} == {0}
    for name in ("train", "test_seen"):
        settings = {"sample_rate": RATE, "hop_length": HOP, "codebook_size": 16, "groups": 2}
        info = UnitsInfo.of(**settings, change_penalty=3.0)
        write_units(run / "exp" / "units" / name, info, [(utt, np.array([[0], [1]])) for utt in SETS[name]], [])
    scores = baselines.baseline_scores(run / "exp", run / "data", "mfcc")
    penalties = {path.name: read_units(path).info.change_penalty for path in run.glob("exp/baseline/mfcc/units/*")}
    assert penalties == {"train": 3.0, "test_seen": 3.0, "dev": 0.0}
    assert scores["test_seen"]["change_penalty"] == 3.0
    assert scores["test_seen"]["runs_per_second"] < plain["test_seen"]["runs_per_second"]
    assert scores["dev"]["runs_per_second"] == plain["dev"]["runs_per_second"]


def test_the_rows_of_the_curve_are_put_under_the_units_and_their_baselines(run, collect):
    assert collect.curve_rows(run / "exp") == {}
    paths = ["exp", "exp/baseline/mfcc/kmeans.safetensors", "exp/baseline/mfcc-stacked/kmeans.safetensors"]
    rows = [{"model": path, "change_penalty": p} for path in paths for p in (0, 1)]
    (run / "exp" / "scores" / "curve.json").write_text(json.dumps({"rows": rows, "failed": {}}))
    found = collect.curve_rows(run / "exp")
    assert found == {"test_seen": {"units": rows[:2], "baseline": rows[2:4], "baseline_stacked": rows[4:]}}


def test_all_figures_of_a_run_are_in_one_strict_json_file(run, collect, baselines, monkeypatch):
    (run / "exp" / "scores" / "units_dev.json").write_text('{"pnmi": NaN, "log_f0_rmse": Infinity}')
    (run / "exp" / "scores" / "audio_test_seen_swap.json").write_text('{"mos": 2.5}')
    (run / "exp" / MARK).write_text("")
    (run / "exp" / ".stamps").mkdir()
    (run / "exp" / ".stamps" / "stage3").write_text("a b train 12\n")
    (run / "exp" / ".stamps" / "stage3.begun").write_text("a\n")
    monkeypatch.setattr("sys.argv", ["score_baselines.py", str(run / "exp"), str(run / "data")])
    baselines.main()
    monkeypatch.setattr("sys.argv", ["collect_scores.py", str(run / "exp"), str(run / "data"), "7"])
    collect.main()
    text = (run / "exp" / "scores.json").read_text()
    scores = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert scores["units"]["dev"] == {"pnmi": None, "log_f0_rmse": None}
    assert scores["units"]["test_unseen"]["usage"] == 3 / 32
    assert scores["audio"] == {name: {"estoi": 0.5} for name in ("test_seen", "test_unseen")}
    assert scores["swap"] == {"test_seen": {"mos": 2.5}}
    assert scores["baseline"].keys() == scores["baseline_stacked"].keys() == {"dev", "test_seen"}
    assert scores["seconds"] == {"train": 12, "score": 7}


def test_figures_on_real_speech_are_those_known_for_mfcc(real_speech, tmp_path):
    from vqaudio.datadir import read_ctm

    phones = read_ctm(real_speech / "librispeech" / "phones.ctm")
    wavs = {path.stem: path for path in (real_speech / "librispeech").rglob("*.flac") if path.stem in phones}
    utts = sorted(wavs)[::6]
    data = tmp_path / "data"
    write_utterances(data, [Utterance(utt, wavs[utt], utt.split("-")[0]) for utt in utts])
    write_ctm(data / "phones.ctm", {utt: phones[utt] for utt in utts})
    assert len(read_utterances(data)) == len(utts)
    argv = ["--features", "mfcc", "--data", data, "--codebook-size", 256, "--out", tmp_path / "km"]
    assert main(["kmeans", "fit", *map(str, argv)]) == 0
    argv = ["--model", tmp_path / "km", "--data", data, "--out", tmp_path / "units"]
    assert main(["kmeans", "apply", *map(str, argv)]) == 0
    argv = ["--units", tmp_path / "units", "--alignment", data / "phones.ctm", "--json", tmp_path / "scores.json"]
    assert main(["evaluate", "units", *map(str, argv)]) == 0
    result = json.loads((tmp_path / "scores.json").read_text())
    # On a whole hour, .36 and .33; a few minutes of three speakers flatter both.
    assert 0.35 < result["pnmi"] < 0.47
    assert 0.32 < result["phone_purity"] < 0.43
    assert 0.28 < result["mapping_accuracy"] < result["phone_purity"]
    assert 0.05 < result["prior_accuracy"] < 0.10
    assert result["usage"] > 0.95
