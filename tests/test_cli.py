"""The console script: help, exit codes, one-line errors, start-up time."""

import subprocess
import sys
from pathlib import Path

import pytest

from vqaudio import __version__
from vqaudio.cli import build_parser, main

COMMANDS = [
    "data validate",
    "data fix",
    "data split",
    "data import",
    "extract",
    "decode",
    "export",
    "stream encode",
    "stream decode",
    "units convert",
    "units stats",
    "units lm",
    "units sample",
    "kmeans fit",
    "kmeans apply",
    "evaluate units",
    "evaluate audio",
    "evaluate robustness",
    "listen build",
    "listen serve",
    "listen links",
    "listen static",
    "listen import",
    "listen status",
    "listen backup",
    "listen reset",
    "listen remove",
    "listen forget",
    "listen analyse",
    "voice add",
    "push",
    "pull",
    "report",
    "draw",
    "info",
    "doctor",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_that_parses(command: str, capsys) -> None:
    with pytest.raises(SystemExit) as left:
        build_parser().parse_args([*command.split(), "--help"])
    assert left.value.code == 0
    example = capsys.readouterr().out.split("example:\n")[1].strip()
    assert example.startswith(f"vqaudio {command}")
    assert build_parser().parse_args(example.split()[1:]).run is not None


def test_help_names_every_command(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(command.split()[0] in shown for command in [*COMMANDS, "train"])


def test_version_is_the_package_s(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"vqaudio {__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom vqaudio.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'hydra', 'librosa', 'numba', 'scipy', 'soundfile'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["extract", "--model", "x"], "--out"),
        (["extract", "--model", "x", "--out", "y", "--shard", "3/2", "a.wav"], "1 <= i <= N"),
        (["extract", "--model", "x", "--out", "y", "--jobs", "0", "a.wav"], "at least 1"),
        (["decode", "--model", "x", "--units", "u", "--out", "y", "--speaker", "a", "--utt2spk", "b"], "not allowed"),
        (["extract", "--model", "x", "--out", "y", "--device", "tpu", "a.wav"], "invalid choice"),
        (["listen", "serve", "test", "--port", "70000"], "from 0 to 65535"),
        (
            ["listen", "build", "--type", "acr", "--reference", "a", "--system", "b", "--out", "c"],
            "must be NAME=SCP",
        ),
        (["nonsense"], "invalid choice"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(argv: list[str], part: str, capsys) -> None:
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "argv",
    [
        ["extract", "--model", "missing", "--out", "units", "--data", "missing"],
        ["extract", "--model", "missing", "--out", "units"],
        ["decode", "--model", "missing", "--units", "missing", "--out", "wavs"],
        ["export", "--model", "missing", "--out", "model.onnx"],
        ["data", "fix", "missing"],
        ["data", "split", "missing", "out", "--jobs", "2"],
        ["data", "import", "missing", "out"],
        ["evaluate", "units", "--units", "missing", "--alignment", "missing"],
        ["evaluate", "audio", "--reference", "missing", "--system", "missing"],
        ["evaluate", "robustness", "--model", "missing", "--data", "missing"],
        ["evaluate", "robustness", "--model", "missing", "--data", "missing", "--tempo", "0"],
        ["kmeans", "fit", "--features", "mfcc", "--data", "missing", "--codebook-size", "4", "--out", "x"],
        ["kmeans", "fit", "--features", "npy", "--data", "missing", "--codebook-size", "4", "--out", "x"],
        ["units", "convert", "missing", "out", "--to", "gslm"],
        ["units", "stats", "missing"],
        ["units", "lm", "missing", "--order", "3", "--out", "x.arpa"],
        ["units", "sample", "missing.arpa", "--out", "units", "--utterances", "1"],
        ["units", "convert", "missing.jsonl", "out", "--to", "vqaudio"],
        ["kmeans", "apply", "--model", "missing", "--data", "missing", "--out", "units"],
        ["listen", "build", "--type", "acr", "--reference", "missing", "--system", "a=missing", "--out", "test"],
        ["listen", "serve", "missing"],
        ["listen", "links", "missing", "--url", "http://x"],
        ["listen", "static", "missing", "out"],
        ["listen", "analyse", "missing"],
        ["listen", "import", "missing", "result.json"],
        ["listen", "status", "missing"],
        ["listen", "backup", "missing", "out"],
        ["listen", "reset", "missing", "L001"],
        ["listen", "remove", "missing", "L001"],
        ["listen", "forget", "missing"],
        ["voice", "add", "--model", "missing", "--data", "missing", "--speaker", "a", "--out", "exp"],
        ["push", "missing", "anna/units"],
        ["pull", "no name", "out"],
        ["report", "missing"],
        ["info", "missing"],
        ["train", "data.train=missing", "data.valid=missing", "exp_dir=exp"],
        ["train", "data.train=missing"],
        ["train", "model=huge"],
        ["train", "trainer.max_step=3"],
        ["train", "data.train="],
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_code_2(argv: list[str], tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("vqaudio: ")
    assert error.count("\n") == 1


def test_validate_lists_errors_and_exits_with_2(tmp_path: Path, capsys) -> None:
    (tmp_path / "utt2spk").write_text("a s\n")
    assert main(["data", "validate", str(tmp_path)]) == 2
    assert "errors" in capsys.readouterr().out


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from vqaudio.errors import UserError

    with pytest.raises(UserError):
        main(["info", "--debug", str(tmp_path / "missing")])
