"""Bad input, end to end: converted, refused in one line, or recorded; never a traceback, never a lost good file."""

import pickle
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf
from tiny_model import save_tiny_model

import vqaudio
from vqaudio import cli
from vqaudio.errors import UserError
from vqaudio.model_directory import load_model
from vqaudio.units import read_units

RATE = 8000


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def speech(samples: int = 4000, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def make_data(folder: Path, files: dict[str, Path]) -> Path:
    """Write a data directory of one speaker."""
    folder.mkdir()
    (folder / "wav.scp").write_text("".join(f"{utt} {path}\n" for utt, path in sorted(files.items())))
    (folder / "utt2spk").write_text("".join(f"{utt} p225\n" for utt in sorted(files)))
    (folder / "spk2utt").write_text(f"p225 {' '.join(sorted(files))}\n")
    return folder


@pytest.fixture
def good(tmp_path) -> Path:
    soundfile.write(tmp_path / "good.wav", speech(), RATE)
    return tmp_path / "good.wav"


@pytest.fixture
def vqaudio_command(capfd, model_dir):
    """Run a command line; return its exit code and the lines on stderr."""

    def run(*arguments: object) -> tuple[int, list[str]]:
        code = cli.main([str(argument) for argument in arguments])
        return code, capfd.readouterr().err.splitlines()

    return run


def refused(result: tuple[int, list[str]], message: str, code: int = 2) -> None:
    """Check that a command ended with `code` and one line that says `message`."""
    found, lines = result
    assert found == code
    assert len(lines) == 1, lines
    assert lines[0].startswith("vqaudio: ")
    assert re.search(message, lines[0]), lines[0]


BROKEN = {
    "empty": "empty file",
    "headless": "holds no samples|cannot be decoded",
    "missing": "no such file",
    "nan": "sample 70 is NaN",
    "short": "3 samples at 8000 Hz are less than a frame",
    "text": "cannot be decoded",
    "truncated": "truncated",
    "truncated_flac": "truncated|cannot be decoded",
}
CONVERTED = {"good": 50, "other_rate": 50, "silent": 50, "stereo": 50}


@pytest.fixture
def zoo(tmp_path) -> dict[str, Path]:
    """A file of every kind."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    names = {name: folder / f"{name}.wav" for name in [*BROKEN, *CONVERTED]}
    names["truncated_flac"] = folder / "truncated_flac.flac"
    names["empty"].write_bytes(b"")
    soundfile.write(names["headless"], np.zeros(0), RATE)
    spoilt = speech()
    spoilt[70] = np.nan
    soundfile.write(names["nan"], spoilt, RATE, subtype="FLOAT")
    soundfile.write(names["short"], speech(3), RATE)
    names["text"].write_text("utt1 not audio\n" * 100)
    for name in ("truncated", "truncated_flac"):
        soundfile.write(names[name], speech(), RATE)
        names[name].write_bytes(names[name].read_bytes()[:-2000])
    soundfile.write(names["good"], speech(), RATE)
    soundfile.write(names["other_rate"], speech(22050), 44100)
    soundfile.write(names["silent"], np.zeros(4000), RATE)
    soundfile.write(names["stereo"], np.stack([speech(seed=1), speech(seed=2)], axis=1), RATE)
    return names


def test_broken_files_are_recorded_and_no_good_one_is_lost(model_dir, zoo, tmp_path, vqaudio_command):
    data, units = make_data(tmp_path / "data", zoo), tmp_path / "units"
    result = vqaudio_command("extract", "--model", model_dir, "--data", data, "--out", units, "--jobs", 2)
    refused(result, r"failed.txt: 8 of 12 utterances failed, such as empty \(.*empty file", code=1)
    assert {s.utt: s.codes.shape[1] for s in read_units(units)} == CONVERTED
    failed = dict(line.split("\t") for line in (units / "failed.txt").read_text().splitlines())
    assert failed.keys() == BROKEN.keys()
    for utt, reason in BROKEN.items():
        assert re.search(reason, failed[utt]), failed[utt]
        assert str(zoo[utt]) in failed[utt]
    codec = vqaudio.load(model_dir)
    alone = {utt: codec.encode_file(zoo[utt]) for utt in CONVERTED}
    for sequence in read_units(units):
        np.testing.assert_array_equal(sequence.codes, alone[sequence.utt])
    assert vqaudio_command("decode", "--model", model_dir, "--units", units, "--out", tmp_path / "out")[0] == 0
    assert len(list((tmp_path / "out").glob("*.wav"))) == len(CONVERTED)


def test_failures_are_no_error_when_they_are_allowed(model_dir, zoo, tmp_path, vqaudio_command):
    command = ["extract", "--model", model_dir, "--out", tmp_path / "units", "--allow-failures", *zoo.values()]
    code, lines = vqaudio_command(*command)
    assert code == 0
    assert len(lines) == 1
    assert "8 of 12 utterances failed" in lines[0]


def test_an_hour_is_extracted_in_constant_memory_and_equals_its_parts(model_dir, tmp_path):
    hour = tmp_path / "hour.flac"
    minute = np.zeros(60 * RATE, dtype=np.float32)
    minute[:RATE] = speech(RATE)  # mostly silence, which FLAC reads and writes fast
    with soundfile.SoundFile(hour, "w", RATE, 1) as file:
        for _ in range(60):
            file.write(minute)
    codec = vqaudio.load(model_dir)
    codec.encode(minute, RATE)
    tracemalloc.start()
    codes = codec.encode_file(hour)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert codes.shape == (1, 3600 * 100)
    assert peak < 30e6  # bytes; the samples alone are 115 MB, the codes 3 MB twice
    edge = 20  # frames that hear beyond the minute
    for i in (1, 30, 58):
        part = codec.encode_file(hour, 60.0 * i, 60.0 * (i + 1))
        np.testing.assert_array_equal(codes[:, 6000 * i + edge : 6000 * (i + 1) - edge], part[:, edge:-edge])


def test_missing_text_is_no_obstacle_to_extraction(model_dir, good, tmp_path, vqaudio_command):
    data = make_data(tmp_path / "data", {"good": good})
    assert not (data / "text").exists()
    code, lines = vqaudio_command("extract", "--model", model_dir, "--data", data, "--out", tmp_path / "units")
    assert (code, lines) == (0, [])


DAMAGED_DATA = {
    "duplicate": (b"a good.wav\na good.wav\nb good.wav\n", r"wav.scp:2: duplicate 'a'"),
    "unsorted": (b"b good.wav\na good.wav\n", r"wav.scp:2: 'a' after 'b'.*sort under LC_ALL=C"),
    "not UTF-8": (b"a good.wav\nb caf\xe9.wav\n", r"wav.scp:2: byte 0xe9 is not UTF-8"),
    "pipe": (b"a good.wav\nb sox good.wav -t wav - |\n", r"wav.scp.*'b' is 'sox .*write its output to a file"),
    "no path": (b"a good.wav\nb\n", r"wav.scp:2"),
}


@pytest.mark.parametrize("damage", DAMAGED_DATA)
def test_a_damaged_data_directory_is_refused_whole(model_dir, good, tmp_path, vqaudio_command, damage):
    data = make_data(tmp_path / "data", {"a": good, "b": good})
    content, message = DAMAGED_DATA[damage]
    (data / "wav.scp").write_bytes(content)
    result = vqaudio_command("extract", "--model", model_dir, "--data", data, "--out", tmp_path / "units")
    refused(result, message)
    assert not (tmp_path / "units" / "units.txt").exists()


@pytest.mark.parametrize("name", ["data", "model"])
def test_a_folder_that_is_not_there_is_refused(model_dir, good, tmp_path, vqaudio_command, name):
    folders = {"data": make_data(tmp_path / "data", {"a": good}), "model": model_dir}
    folders[name] = tmp_path / "nowhere"
    command = ["extract", "--model", folders["model"], "--data", folders["data"], "--out", tmp_path / "units"]
    refused(vqaudio_command(*command), "nowhere")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"codebook": [0.0]}))


def loaded_gun(path: Path) -> None:
    class Gun:
        def __reduce__(self):
            return (Path.touch, (path.with_name("fired"),))

    path.write_bytes(pickle.dumps(Gun()))


@pytest.mark.parametrize("damage", [truncate, pickled, loaded_gun, Path.unlink])
def test_a_broken_checkpoint_is_refused_and_never_unpickled(good, tmp_path, vqaudio_command, damage):
    model_dir = save_tiny_model(tmp_path / "model")
    damage(model_dir / "model.safetensors")
    result = vqaudio_command("extract", "--model", model_dir, "--out", tmp_path / "units", good)
    refused(result, r"model.safetensors: (not a complete safetensors file|not found)")
    assert not (model_dir / "fired").exists()


@pytest.mark.parametrize("name", ["config.yaml", "speakers.txt"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"0 <un", b"a: [1"])
def test_a_broken_model_directory_is_refused(good, tmp_path, vqaudio_command, name, content):
    model_dir = save_tiny_model(tmp_path / "model")
    (model_dir / name).write_bytes(content)
    refused(vqaudio_command("extract", "--model", model_dir, "--out", tmp_path / "units", good), name)


def test_weights_that_do_not_fit_the_configuration_are_refused(good, tmp_path, vqaudio_command):
    model_dir = save_tiny_model(tmp_path / "model")
    other = save_tiny_model(tmp_path / "other", groups=2)
    (model_dir / "config.yaml").write_bytes((other / "config.yaml").read_bytes())
    result = vqaudio_command("extract", "--model", model_dir, "--out", tmp_path / "units", good)
    refused(result, "model.safetensors: does not fit .*config.yaml")


@pytest.mark.parametrize("key", ["skip", "levels"])
def test_a_network_that_is_far_larger_than_its_weights_is_refused_before_it_takes_memory(tmp_path, key):
    model_dir = save_tiny_model(tmp_path / "model")
    config = OmegaConf.load(model_dir / "config.yaml")
    config.model.decoder[key] = 10**9
    OmegaConf.save(config, model_dir / "config.yaml")
    with pytest.raises(UserError, match="larger than the file"):
        load_model(model_dir)


def test_a_model_is_loaded_without_the_compiler_of_torch(tmp_path):
    model_dir = save_tiny_model(tmp_path / "model")
    code = "import sys, vqaudio.codec; vqaudio.codec.load(sys.argv[1]); sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, model_dir], check=True)


@pytest.fixture
def units(model_dir, good, tmp_path, vqaudio_command) -> Path:
    assert vqaudio_command("extract", "--model", model_dir, "--out", tmp_path / "units", good) == (0, [])
    return tmp_path / "units"


def test_an_unknown_speaker_is_refused(model_dir, units, tmp_path, vqaudio_command):
    command = ["decode", "--model", model_dir, "--units", units, "--out", tmp_path / "out"]
    refused(vqaudio_command(*command, "--speaker", "p999"), r"--speaker: .*'p999'.*\(p225, p226\)")
    table = tmp_path / "table"
    table.write_text("good p999\n")
    refused(vqaudio_command(*command, "--utt2spk", table), r"table:1: good: .*'p999'.*none for the <unknown> voice")


def test_units_of_another_model_are_refused(units, tmp_path, vqaudio_command):
    other = save_tiny_model(tmp_path / "other", seed=1)
    result = vqaudio_command("decode", "--model", other, "--units", units, "--out", tmp_path / "out")
    refused(result, r"units.json: the units belong to model [0-9a-f]{12}, not [0-9a-f]{12}")


def test_a_unit_outside_the_codebook_is_refused(model_dir, units, tmp_path, vqaudio_command):
    text = (units / "units.txt").read_text().split()
    (units / "units.txt").write_text(" ".join([*text[:-1], "16"]) + "\n")
    result = vqaudio_command("decode", "--model", model_dir, "--units", units, "--out", tmp_path / "out")
    refused(result, r"units.txt:1: good: unit 16 lies outside the codebook of 16 \(0 to 15\)")


def test_a_folder_that_cannot_be_made_is_refused(model_dir, good, vqaudio_command):
    refused(vqaudio_command("extract", "--model", model_dir, "--out", good / "units", good), "good.wav")
