"""k-means on features: what it is fitted on, what it saves, and the unit directories it writes."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from vqaudio import audio, files
from vqaudio.audio.features import mfcc
from vqaudio.cli import main
from vqaudio.datadir import Utterance, write_utterances
from vqaudio.defaults import KMEANS_FRAMES
from vqaudio.errors import UserError
from vqaudio.units import read_units
from vqaudio.units.frames import LEVEL_DB, read_features
from vqaudio.units.kmeans import KMeansUnits
from vqaudio.units.reservoir import Reservoir

RATE, HOP = 16000, 320


@pytest.fixture
def npy(tmp_path):
    """Twelve frames of each of six utterances about three far points, one point an utterance and its successor."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "npy"
    folder.mkdir()
    for n in range(6):
        np.save(folder / f"u{n}.npy", 100 * np.eye(3)[n // 2] + generator.standard_normal((12, 3)))
    return folder


def fit(folder, *extra):
    out = folder.parent / "km.safetensors"
    argv = ["kmeans", "fit", "--features", "npy", "--data", str(folder), "--codebook-size", "3", "--out", str(out)]
    assert main([*argv, "--sample-rate", str(RATE), "--hop-length", str(HOP), *extra]) == 0
    return out


def apply(model, source, out, *extra):
    return main(["kmeans", "apply", "--model", str(model), "--data", str(source), "--out", str(out), *extra])


def test_features_of_other_tools_become_a_unit_directory(npy, tmp_path):
    model = fit(npy)
    assert apply(model, npy, tmp_path / "units", "--deduplicate") == 0
    units = read_units(tmp_path / "units", expected_hash=files.sha256(model))
    assert (units.info.frame_rate, units.info.codebook_size, units.info.groups) == (50.0, 3, 1)
    found = {sequence.utt: (sequence.units.tolist(), sequence.durations.tolist()) for sequence in units}
    assert found["u0"] == found["u1"] != found["u2"] == found["u3"] != found["u4"] == found["u5"]
    assert all(durations == [12] for _, durations in found.values())


def test_a_list_names_the_files_and_half_precision_will_do(npy, tmp_path):
    np.save(tmp_path / "half.npy", np.load(npy / "u0.npy").astype(np.float16))
    (tmp_path / "feats.scp").write_text(f"a {tmp_path / 'half.npy'}\nb {npy / 'u0.npy'}\n")
    assert apply(fit(npy), tmp_path / "feats.scp", tmp_path / "units") == 0
    a, b = read_units(tmp_path / "units")
    assert (a.utt, b.utt) == ("a", "b")
    np.testing.assert_array_equal(a.codes, b.codes)


class Harmful:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


BROKEN = {
    "pickle": (np.array([Harmful()], dtype=object), "not a .npy file of numbers"),
    "vector": (np.zeros(3), r"holds \(3,\) of float64"),
    "empty": (np.zeros((0, 3)), r"holds \(0, 3\)"),
    "text": (np.array([["a"]]), "of <U1"),
    "nan": (np.full((2, 3), np.nan), "6 values are NaN or infinite"),
    "wide": (np.zeros((2, 4)), "4 features per frame, not 3"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_features_are_recorded_and_the_rest_is_written(npy, tmp_path, name, capsys):
    model = fit(npy)
    array, message = BROKEN[name]
    np.save(npy / "u9.npy", array)
    assert apply(model, npy, tmp_path / "units") == 1
    error = capsys.readouterr().err
    assert "1 of 7 utterances failed, such as u9" in error
    assert error.count("\n") == 1
    failed = (tmp_path / "units" / "failed.txt").read_text()
    assert failed.startswith(f"u9\t{npy / 'u9.npy'}: ")
    assert re.search(message, failed)
    assert len(read_units(tmp_path / "units")) == 6
    np.save(npy / "u9.npy", np.zeros((2, 3)))  # mended: only it is missing
    assert apply(model, npy, tmp_path / "units") == 0
    assert "6 of 7 utterances already done" in capsys.readouterr().out


def test_twins_that_macos_makes_are_passed_over(npy, tmp_path):
    (npy / "._u0.npy").write_bytes(b"\0\5\x16\7Mac OS X")
    model = fit(npy)
    assert apply(model, npy, tmp_path / "units") == 0
    assert len(read_units(tmp_path / "units")) == 6


@pytest.mark.parametrize("listed", [False, True])
def test_features_of_many_utterances_in_one_file_are_refused_by_what_they_are(npy, tmp_path, capsys, listed):
    (npy / "u3.len").write_text("5\n7\n")
    (tmp_path / "feats.scp").write_text(f"a {npy / 'u3.npy'}\n")
    assert main(["kmeans", "fit", "--features", "npy", "--data", str(tmp_path / "feats.scp" if listed else npy),
                 "--codebook-size", "3", "--out", str(tmp_path / "km"), "--sample-rate", "16000",
                 "--hop-length", "320"]) == 2  # fmt: skip
    error = capsys.readouterr().err
    assert "u3.npy: holds the frames of many utterances, whose numbers are in u3.len (fairseq); save one" in error
    assert error.count("\n") == 1


def test_more_units_than_frames_are_refused_in_one_line(npy, tmp_path, capsys):
    argv = ["kmeans", "fit", "--features", "npy", "--data", str(npy), "--out", str(tmp_path / "km")]
    argv += ["--sample-rate", str(RATE), "--hop-length", str(HOP), "--codebook-size"]
    assert main([*argv, "73"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "72 frames are fewer than the 73 units asked for; ask for fewer (--codebook-size)" in error
    assert not (tmp_path / "km").exists()
    assert main([*argv, "72"]) == 0


def test_an_empty_file_and_an_archive_are_not_features(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"")
    np.savez(tmp_path / "b.npz", np.zeros((2, 2)))
    for name in ("a.npy", "b.npz"):
        with pytest.raises(UserError, match=rf"{name}: .*numpy\.save"):
            read_features(Utterance("u", tmp_path / name, "s"), "npy", sample_rate=RATE, hop_length=HOP)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), min_size=1, max_size=3), st.integers(0, 40))
def test_a_damaged_file_is_features_or_one_line(tmp_path_factory, changes, cut):
    path = tmp_path_factory.mktemp("damaged") / "a.npy"
    np.save(path, np.zeros((4, 3), np.float32))
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place] = value
    path.write_bytes(content[: len(content) - cut])
    try:
        found = read_features(Utterance("u", path, "s"), "npy", sample_rate=RATE, hop_length=HOP)
    except UserError as error:
        found = str(error)
    assert found.startswith(f"{path}: ") and "\n" not in found if isinstance(found, str) else found.ndim == 2


def test_shards_make_the_same_directory(npy, tmp_path):
    model = fit(npy)
    assert apply(model, npy, tmp_path / "whole") == 0
    for shard in ("2/2", "1/2"):
        assert apply(model, npy, tmp_path / "parts", "--shard", shard) == 0
    for name in ("units.txt", "utt2num_units", "units.json", "failed.txt"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_penalty_for_changes_gives_the_cheapest_codes_in_any_shard(npy, tmp_path, capsys):
    model = fit(npy, "--codebook-size", "12")
    options = ("--change-penalty", "0.5")
    assert apply(model, npy, tmp_path / "units", *options) == 0
    for shard in ("2/2", "1/2"):
        assert apply(model, npy, tmp_path / "parts", "--shard", shard, *options) == 0
    for name in ("units.txt", "units.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "units" / name).read_bytes()
    codebook, units = KMeansUnits.load(model).codebook.numpy(), read_units(tmp_path / "units")
    assert units.info.change_penalty == 0.5
    changed = 0
    for sequence in units:
        rows = np.load(npy / f"{sequence.utt}.npy").astype(np.float32)
        costs = reference.scaled_distances(rows, codebook)
        assert sequence.codes[0].tolist() == reference.cheapest_codes(costs, 0.5)
        changed += sum(code != row.index(min(row)) for code, row in zip(sequence.codes[0], costs, strict=True))
    assert changed > 3
    assert apply(model, npy, tmp_path / "units") == 2
    assert "contains units whose change_penalty is 0.5, not 0.0" in capsys.readouterr().err


def test_standardised_features_are_penalised_as_such(tones):
    model = fit_tones(tones)
    rows = ((mfcc_of(tones[0]) - model.mean) / model.std).numpy()
    costs = reference.scaled_distances(rows[:300], model.codebook.numpy())
    plain, codes = model.encode(tones[0]), model.encode(tones[0], change_penalty=2.0)
    assert (codes[0, :290] == reference.cheapest_codes(costs, 2.0)[:290]).mean() > 0.99  # but for rounding
    assert (np.diff(codes) != 0).sum() < 0.8 * (np.diff(plain) != 0).sum()


def test_units_of_another_fit_are_not_mixed_in(npy, tmp_path, capsys):
    assert apply(fit(npy), npy, tmp_path / "units") == 0
    assert apply(fit(npy, "--frames", "20"), npy, tmp_path / "units") == 2
    assert "contains units whose model_hash is" in capsys.readouterr().err


def test_a_model_is_read_back_as_it_was(npy):
    path = fit(npy)
    model = KMeansUnits.load(path)
    assert (model.features, model.sample_rate, model.hop_length) == ("npy", RATE, HOP)
    assert torch.equal(model.mean, torch.zeros(3))
    assert torch.equal(model.std, torch.ones(3))
    before = path.read_bytes()
    model.save(path)
    assert path.read_bytes() == before == fit(npy).read_bytes()


@pytest.mark.parametrize("damage", ["cut", "pickle", "foreign", "settings"])
def test_what_is_not_a_model_is_refused_in_one_line(npy, damage):
    path = fit(npy)
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[:-5])
    elif damage == "pickle":
        torch.save({"codebook": torch.zeros(3, 3)}, path)
    elif damage == "foreign":
        path.write_bytes(data.replace(b"vqaudio_kmeans", b"something_else"))
    else:
        path.write_bytes(data.replace(b"16000", b"-1600"))
    with pytest.raises(UserError, match=r"km\.safetensors: not a k-means model") as caught:
        KMeansUnits.load(path)
    assert "\n" not in str(caught.value)


def test_features_of_different_models_are_not_fitted_together(npy):
    np.save(npy / "u1.npy", np.zeros((4, 7)))
    utterances = [Utterance(f"u{n}", npy / f"u{n}.npy", "s") for n in range(2)]
    with pytest.raises(UserError, match="features per frame, not"):
        KMeansUnits.fit(utterances, 2, features="npy", sample_rate=RATE, hop_length=HOP, frames=100, seed=0)


def test_the_length_of_a_frame_must_be_given_for_files(npy, capsys):
    argv = ["kmeans", "fit", "--features", "npy", "--data", str(npy), "--codebook-size", "3", "--out", "x"]
    assert main(argv) == 2
    assert "give --sample-rate and --hop-length" in capsys.readouterr().err


@pytest.mark.parametrize("features", ["mfcc", "log-mel"])
def test_audio_becomes_units_too_and_broken_files_are_counted(tmp_path, features):
    generator = np.random.default_rng(0)
    for utt in "abc":
        audio.write(tmp_path / f"{utt}.wav", 0.1 * generator.standard_normal(8000), 8000)
    write_utterances(tmp_path / "data", [Utterance(utt, tmp_path / f"{utt}.wav", "s") for utt in "abc"])
    model = tmp_path / "km.safetensors"
    argv = ["kmeans", "fit", "--features", features, "--data", str(tmp_path / "data"), "--codebook-size", "5"]
    assert main([*argv, "--out", str(model)]) == 0
    (tmp_path / "c.wav").write_bytes(b"RIFF")
    assert apply(model, tmp_path / "data", tmp_path / "units") == 1
    assert apply(model, tmp_path / "data", tmp_path / "units", "--allow-failures") == 0
    units = read_units(tmp_path / "units")
    assert [sequence.codes.shape for sequence in units] == [(1, 100)] * 2


TONES = {"A": 300, "B": 900, "C": 2500}


@pytest.fixture
def tones(tmp_path):
    """Two utterances of tones in noise at 16 kHz."""
    generator = np.random.default_rng(0)
    t = np.arange(6400) / RATE
    for utt in ("t1", "t2"):
        names = generator.choice([*"ABC"], 12)
        wav = np.concatenate([np.sin(2 * np.pi * TONES[name] * t) for name in names])
        audio.write(tmp_path / f"{utt}.wav", 0.1 * wav + 0.003 * generator.standard_normal(len(wav)), RATE)
    return [Utterance(utt, tmp_path / f"{utt}.wav", "s") for utt in ("t1", "t2")]


def fit_tones(utterances, seed=0):
    return KMeansUnits.fit(
        utterances, 16, features="mfcc", sample_rate=RATE, hop_length=160, frames=KMEANS_FRAMES, seed=seed
    )


def mfcc_of(utterance):
    wav, _ = audio.read(utterance.path)
    samples = torch.from_numpy(audio.level_change(wav, LEVEL_DB).apply(wav))
    return mfcc(samples, sample_rate=RATE, hop_length=160)


def test_the_same_seed_gives_the_same_codebook(tones):
    first, second, other = (fit_tones(tones, seed) for seed in (1, 1, 2))
    assert torch.equal(first.codebook, second.codebook)
    assert not torch.equal(first.codebook, other.codebook)


def test_features_of_audio_are_standardised_on_the_frames_of_the_fit(tones):
    model = fit_tones(tones)
    frames = torch.cat([mfcc_of(utterance) for utterance in tones])
    torch.testing.assert_close(model.mean, frames.mean(dim=0), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(model.std, frames.std(dim=0, correction=0), atol=1e-3, rtol=1e-3)


def test_a_unit_is_the_centroid_nearest_to_the_standardised_frame(tones):
    model = fit_tones(tones)
    frames = mfcc_of(tones[0])
    distances = torch.cdist((frames - model.mean) / model.std, model.codebook)
    codes = model.encode(tones[0])
    assert codes.shape == (1, len(frames))
    assert (torch.from_numpy(codes[0]) == distances.argmin(dim=1)).float().mean() > 0.99  # but for rounding


def test_the_level_of_a_recording_does_not_change_its_units(tones, tmp_path):
    model = fit_tones(tones)
    wav, _ = audio.read(tones[0].path)
    audio.write(tmp_path / "soft.wav", 0.2 * wav, RATE)
    loud, soft = model.encode(tones[0]), model.encode(Utterance("u", tmp_path / "soft.wav", "s"))
    assert (loud == soft).mean() > 0.95


def test_broken_audio_is_skipped_and_only_broken_audio_is_an_error_that_says_why(tones):
    whole = fit_tones(tones)
    tones[0].path.write_bytes(b"RIFF")
    assert fit_tones(tones).codebook.shape == whole.codebook.shape
    tones[1].path.write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"no mfcc features to fit k-means on \(.*\.wav"):
        fit_tones(tones)


def test_the_reservoir_is_the_one_filled_row_by_row():
    rows = np.arange(500, dtype=np.float32)[:, None]
    reservoir = Reservoir(20, seed=3)
    for part in np.split(rows, [5, 30, 31, 200]):
        reservoir.add(part)
    assert reservoir.seen == 500
    assert reservoir.rows.tolist() == reference.reservoir(rows.tolist(), 20, seed=3)


def test_every_row_has_the_same_chance_to_stay_in_the_reservoir():
    kept = np.zeros(40)
    for seed in range(600):
        reservoir = Reservoir(10, seed)
        for part in np.split(np.arange(40.0)[:, None], 4):
            reservoir.add(part)
        kept[reservoir.rows[:, 0].astype(int)] += 1
    assert kept.sum() == 600 * 10
    assert np.abs(kept - 150).max() < 4.5 * np.sqrt(600 * 0.25 * 0.75)


def test_fitting_looks_at_a_bounded_number_of_frames(npy, monkeypatch):
    read = []
    monkeypatch.setattr(
        "vqaudio.units.frames.read_features",
        lambda utterance, kind, **settings: read.append(utterance) or read_features(utterance, kind, **settings),
    )
    utterances = [Utterance(f"u{n}", npy / f"u{n}.npy", "s") for n in range(6)]
    KMeansUnits.fit(utterances, 2, features="npy", sample_rate=RATE, hop_length=HOP, frames=6, seed=0)
    assert len(read) == 2  # of 12 frames each: 4 × 6 are enough
