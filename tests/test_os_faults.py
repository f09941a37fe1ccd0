"""A full disk, a closed folder and other errors of the operating system, in every command that writes."""

import argparse
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import datadirs
import pytest
from listening import make_test, write_scps
from os_faults import Fault
from tiny_model import save_tiny_model
from tiny_training import tiny_overrides, write_tones

from vqaudio import machine
from vqaudio.cli import build_parser, main

Place = Callable[[str], Path]

READ_ONLY = {
    "data validate",
    "evaluate units",  # their --json is a file like those of the others, and needs a longer corpus
    "evaluate curve",
    "units stats",  # likewise
    "info",
    "push",
    "doctor",
    "stream encode",
    "stream decode",
    "listen serve",  # SQLite writes its answers: see test_listen_faults
    "listen links",
    "listen import",
    "listen status",
    "listen reset",
    "listen remove",
    "listen forget",
}
"""Commands that write no file of `vqaudio.files`."""


def split(make: Place) -> list[object]:
    return ["data", "split", datadirs.make(make("in")), make("out"), "--jobs", 2]


def fix(make: Place) -> list[object]:
    data = datadirs.make(make("in"))
    datadirs.edit(data / "utt2spk", "s1-a s1\ns1-b s1\n", "s1-b s1\ns1-a s1\n")
    return ["data", "fix", data]


def importing(make: Place) -> list[object]:
    pa = pytest.importorskip("pyarrow", reason="pyarrow not installed: pip install 'vqaudio[parquet]'")
    from pyarrow.parquet import write_table

    sound = datadirs.make(make("in")).parent / "s1-a .wav"
    rows = [{"id": utt, "audio": sound.read_bytes()} for utt in "ab"]
    write_table(pa.Table.from_pylist(rows), make("in") / "a.parquet")
    return ["data", "import", make("in") / "a.parquet", make("out")]


def train(make: Place) -> list[object]:
    data = write_tones(make("in") / "data", speakers=1, utterances=1)
    return ["train", *tiny_overrides(data, make("out"), steps=5)]


def extract(make: Place) -> list[object]:
    return [
        "extract",
        "--model",
        save_tiny_model(make("in")),
        "--data",
        datadirs.make(make("in")),
        "--out",
        make("out"),
    ]


def decode(make: Place) -> list[object]:
    run = [str(word) for word in extract(lambda name: make("in" if name == "in" else "in/units"))]
    if not (make("in") / "units").exists():
        assert main(run) == 0
    return ["decode", "--model", make("in"), "--units", make("in/units"), "--out", make("out"), "--jobs", 1]


def export(make: Place) -> list[object]:
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    return ["export", "--model", save_tiny_model(make("in")), "--out", make("out")]


def convert(make: Place) -> list[object]:
    return ["units", "convert", *decode(make)[4:5], make("out"), "--to", "gslm"]


def language_model(make: Place) -> list[object]:
    return ["units", "lm", *decode(make)[4:5], "--order", 2, "--out", make("out")]


def sampled(make: Place) -> list[object]:
    if not (make("in") / "units.arpa").exists():
        assert main([str(word) for word in [*language_model(make)[:-1], make("in") / "units.arpa"]]) == 0
    return ["units", "sample", make("in") / "units.arpa", "--out", make("out"), "--utterances", 2]


def fit(make: Place) -> list[object]:
    options = ["--features", "mfcc", "--codebook-size", 4, "--sample-rate", 8000, "--hop-length", 80]
    return ["kmeans", "fit", *options, "--data", datadirs.make(make("in")), "--out", make("out")]


def apply(make: Place) -> list[object]:
    run = [str(word) for word in fit(lambda name: make("in" if name == "in" else "in/km"))]
    if not (make("in") / "km").exists():
        assert main(run) == 0
    return ["kmeans", "apply", "--model", make("in/km"), "--data", make("in") / "data", "--out", make("out")]


def robustness(make: Place) -> list[object]:
    extraction = extract(make)
    return ["evaluate", "robustness", *extraction[1:5], "--resampling", 4000, "--jobs", 1, "--json", make("out")]


def reconstruction(make: Place) -> list[object]:
    paths = write_scps(make("in"), 2)
    systems = ["--reference", paths["reference"], "--system", paths["secretkmeans"]]
    return ["evaluate", "audio", *systems, "--jobs", 1, "--json", make("out")]


def build(make: Place) -> list[object]:
    paths = write_scps(make("in"), 2)
    systems = ["--reference", paths["reference"], "--system", f"a={paths['secretkmeans']}"]
    return ["listen", "build", "--type", "acr", *systems, "--out", make("out"), "--listeners", 1, "--items", 1]


def static(make: Place) -> list[object]:
    return ["listen", "static", make_test(make("in"), "acr", items=1, listeners=1), make("out")]


def backup(make: Place) -> list[object]:
    return ["listen", "backup", make_test(make("in"), "acr", items=1, listeners=1), make("out")]


def voice(make: Place) -> list[object]:
    model = make("in") / "model"
    if not model.exists():
        data = write_tones(make("in") / "data", speakers=1, utterances=4, seconds=3.0)
        assert main(["train", *map(str, tiny_overrides(data, model, steps=5))]) == 0
    wavs = [make("in") / "data" / f"s0_{i}.wav" for i in range(4)]
    return ["voice", "add", "--model", model, "--speaker", "new", "--out", make("out"), "--steps", 1, *wavs]


def report(make: Place) -> list[object]:
    from finished_run import finished_run

    return ["report", finished_run(make("in"), "run"), "--out", make("out")]


def picture(make: Place) -> list[object]:
    extraction = extract(make)
    return ["draw", *extraction[1:3], make("in") / "s1-a .wav", "--out", make("out")]


WRITING = {
    "data fix": fix,
    "data split": split,
    "data import": importing,
    "train": train,
    "extract": extract,
    "decode": decode,
    "export": export,
    "units convert": convert,
    "units lm": language_model,
    "units sample": sampled,
    "kmeans fit": fit,
    "kmeans apply": apply,
    "evaluate robustness": robustness,
    "evaluate audio": reconstruction,
    "listen build": build,
    "listen static": static,
    "listen backup": backup,
    "voice add": voice,
    "report": report,
    "draw": picture,
}
"""A command line for each command that writes, with its inputs in `make("in")` and its output at `make("out")`."""


def leaves(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    """Yield the names of all commands."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield name
    for group in groups:
        for word, below in group.choices.items():
            yield from leaves(below, f"{name} {word}".strip())


def test_every_command_is_tried_or_writes_nothing() -> None:
    without_output = {"listen analyse", "pull"}  # test_listening_analysis, test_hub
    assert set(leaves(build_parser())) == WRITING.keys() | READ_ONLY | without_output


@pytest.fixture
def command(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The command line of a command, with its inputs made."""
    (tmp_path / "in").mkdir()
    return [str(word) for word in WRITING[request.param](lambda name: tmp_path / name)]


def refused(code: int, errors: str, number: int) -> None:
    """Check that a command ended with one line about the error and no half file."""
    lines = [line for line in errors.splitlines() if line.startswith("vqaudio: ")]
    assert len(lines) == 1, errors
    assert os.strerror(number) in lines[0]
    assert ": " in lines[0].removeprefix("vqaudio: ").partition(os.strerror(number))[0], "it names no file"
    assert "; " in lines[0]
    assert "Traceback" not in errors
    assert code == (1 if number == errno.ENOSPC else 2)


@pytest.mark.parametrize("command", WRITING, indirect=True)
def test_a_full_disk_is_one_line_leaves_no_half_file_and_the_same_command_completes_the_job(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for at in (1, 3):
        with monkeypatch.context() as patch:
            fault = Fault(patch, "write", errno.ENOSPC, at=at)
            code = main(command)
        errors = capfd.readouterr().err
        if at == 3 and fault.calls < at:
            assert code == 0  # the command writes less, so it is done
            return
        refused(code, errors, errno.ENOSPC)
        assert not list(tmp_path.rglob(".partial-*"))
    assert main(command) == 0, capfd.readouterr().err
    assert (tmp_path / "out").exists() or command[:2] == ["data", "fix"]


@pytest.mark.parametrize("command", WRITING, indirect=True)
@pytest.mark.parametrize("operation", ["open", "mkdir"])
def test_a_folder_without_permission_is_one_line_and_exit_code_2(
    command: list[str],
    operation: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    real = os.mkdir

    def mkdir(path: str, *args: object, **kwargs: object) -> None:
        if Path(path).is_relative_to(tmp_path) and not Path(path).is_dir():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        real(path, *args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        if operation == "open":
            Fault(patch, "open", errno.EACCES, at=1)
        else:
            patch.setattr(os, "mkdir", mkdir)
        code = main(command)
    errors = capfd.readouterr().err
    if operation == "mkdir" and code == 0:
        return  # the command makes no folder
    refused(code, errors, errno.EACCES)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux") or os.geteuid() != 0, reason="only root may mount a tmpfs")
def test_a_training_on_a_disk_that_fills_up_says_so_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    disk, data = tmp_path / "disk", write_tones(tmp_path / "data", speakers=1, utterances=1)
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this root may not mount a tmpfs")
    try:
        (disk / "filler").write_bytes(bytes(250_000))
        command = [sys.executable, "-m", "vqaudio", "train", *tiny_overrides(data, disk / "exp", steps=20)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "No space left on device" in done.stderr.splitlines()[-1]
        (disk / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def place_without_caches(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a copy of the package that keeps no compiled code, and without a home."""
    source = Path(machine.__file__).parent
    for path in source.rglob("*.py"):
        copy = tmp_path / "copy" / "vqaudio" / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
        (copy.parent / "__pycache__").touch()  # a file, into which even root writes nothing
    (tmp_path / "tmp").mkdir()
    kept = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    return kept | {"HOME": os.devnull, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(tmp_path / "copy")}


def test_without_a_folder_for_compiled_code_a_temporary_one_is_used_and_said_once(tmp_path: Path) -> None:
    env = place_without_caches(tmp_path)
    script = (
        "import sys, vqaudio.machine, vqaudio.cli\nassert 'copy' in vqaudio.__file__\n"
        "import numba, vqaudio.sampling.kernel, vqaudio.metrics.dtw\n"
        "assert numba.config.CACHE_DIR, 'numba keeps nothing'\nsys.exit(vqaudio.cli.main(['info', 'nowhere']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    said, error = done.stderr.splitlines()
    assert said.startswith(f"vqaudio: compiled code is kept in {tmp_path}/tmp/vqaudio-cache-")
    assert said.endswith("; set NUMBA_CACHE_DIR to a folder of your own")
    assert "nowhere" in error


def test_the_folder_for_compiled_code_is_used_again_unless_others_may_write_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = machine._temporary_folder()
    assert folder is not None
    assert folder.stat().st_mode & 0o777 == 0o700
    assert machine._temporary_folder() == folder
    folder.chmod(0o777)
    other = machine._temporary_folder()
    assert other is not None
    assert other != folder
    assert other.stat().st_mode & 0o777 == 0o700


def test_a_home_that_can_be_written_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert machine.choose_cache() is None
    assert "NUMBA_CACHE_DIR" not in os.environ
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("home", ["unset", "missing"])
def test_a_service_without_a_home_has_no_cache_folder(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    if home == "unset":
        monkeypatch.setattr(Path, "home", no_home)
        assert machine.user_cache() is None
    else:
        monkeypatch.setenv("HOME", os.devnull)
        cache = machine.user_cache()
        assert cache is not None
        assert not machine._takes_files(cache)


def test_extraction_does_not_compile_the_loop_of_sampling(tmp_path: Path) -> None:
    script = "import sys, vqaudio.units.extraction\nsys.exit('vqaudio.sampling.kernel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_on_windows_every_command_says_where_it_runs(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from vqaudio import files

    monkeypatch.setattr(files, "fcntl", None)
    line = "vqaudio runs on Linux and macOS; on Windows run it inside WSL"
    for command in (["info", "x"], ["extract", "--model", "x", "--out", "y", "z.wav"], ["train", "seed=1"]):
        assert main(command) == 2
        assert capsys.readouterr().err == f"vqaudio: {line}\n"
    assert main(["doctor"]) == 1
    assert line in capsys.readouterr().out


def test_a_module_that_is_missing_on_windows_is_not_needed_to_say_so() -> None:
    script = "import sys; sys.modules['fcntl'] = None\nfrom vqaudio.cli import main\nsys.exit(main(['info', 'x']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "WSL" in done.stderr


def test_an_error_of_the_system_that_nobody_expected_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def fail(path: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "/mnt/x")

    monkeypatch.setattr("vqaudio.cli.about.run_info", fail)
    assert main(["info", "x"]) == 1
    assert capsys.readouterr().err == (
        "vqaudio: /mnt/x: Input/output error; check the disk or the network and run the same command again\n"
    )
    with pytest.raises(OSError, match="Input/output"):
        main(["info", "x", "--debug"])
