"""`vqaudio train` at the command line: its help, its flags, and one line for each mistake."""

import json
import shlex
from pathlib import Path

import pytest
from tiny_training import tiny_overrides, write_tones

from vqaudio.cli import main
from vqaudio.errors import UserError
from vqaudio.training.app import check_override, compose, quoted
from vqaudio.training.settings import check


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_tones(tmp_path / "data", speakers=1, utterances=1)


def test_the_help_has_an_example_that_fits_and_all_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["train", "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    example = shown.split("example:\n")[1].splitlines()[0].split()
    assert example[:2] == ["vqaudio", "train"]
    check(compose(example[2:]))
    for line in (
        "--multirun",
        "--cfg {job",
        "max_steps: 200000",
        "model=base | paper | tiny",
        "restart_threshold: 0.1",
    ):
        assert line in shown


def test_flags_may_stand_between_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "model=tiny", "--cfg", "job", "trainer.lr=0.25", "--debug", "seed=7"]) == 0
    shown = capsys.readouterr().out
    assert "lr: 0.25" in shown
    assert "seed: 7" in shown


@pytest.mark.parametrize("before", [True, False])
def test_cfg_prints_the_configuration_and_trains_nothing(before: bool, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    flag, overrides = ["--cfg", "job"], ["model=tiny", "trainer.lr=0.25"]
    assert main(["train", *(flag + overrides if before else overrides + flag)]) == 0
    shown = capsys.readouterr().out
    assert "lr: 0.25" in shown
    assert "latent_dim: 64" in shown
    assert "exp_dir: ???" in shown
    assert not list(tmp_path.iterdir())


def test_multirun_trains_for_each_value_and_fails_with_the_first_failure(data: Path, tmp_path: Path, capsys) -> None:
    overrides = tiny_overrides(data, Path("exp/${seed}"), steps=2)
    assert main(["train", "--multirun", *overrides, "seed=0,-1,1"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("vqaudio: train: seed=-1 must be a whole number")
    for seed in (0, 1):
        lines = (tmp_path / "exp" / str(seed) / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["step"] == 2
    assert not (tmp_path / "multirun.yaml").exists()


def test_a_folder_of_one_s_own_configuration_files_is_read(data: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "mine" / "trainer").mkdir(parents=True)
    (tmp_path / "mine" / "trainer" / "short.yaml").write_text("defaults:\n  - default\nmax_steps: 77\n")
    assert main(["train", "--config-dir", "mine", "trainer=short", "--cfg", "job"]) == 0
    assert "max_steps: 77" in capsys.readouterr().out


MISTAKES = [
    (["model=huge"], "Could not find 'model/huge'"),
    (["trainer.max_step=3"], "Could not override 'trainer.max_step'"),
    (["trainer.lr"], "'trainer.lr' is not KEY=VALUE"),
    (
        ["data.train=a=b"],
        "'data.train=a=b' has a value that Hydra cannot read (mismatched input '=')",
    ),
    (["exp_dir=[a"], "no viable alternative"),
    (["data=null"], "Config group override"),
    (["hydra.mode=5"], "hydra.mode=5"),
    (["--config-dir", "nowhere"], "nowhere"),
    (["--multirun", "model=tiny,huge"], "model/huge"),
    (["exp_dir=exp", "data.train=nowhere", "data.valid=nowhere"], "nowhere: no such data directory"),
    (["exp_dir=exp", "data.train=data"], "data.valid is required"),
    (["exp_dir=exp", "data.train=data", "data.valid=data", "trainer.lr=${v}"], "trainer.lr cannot be resolved"),
    (["exp_dir=exp", "data.train=data", "data.valid=data", "quantizer.options.groups=3"], "groups (3) must divide"),
    (["exp_dir=exp", "data.train=data", "data.valid=data", "model.encoder.channels=[8]"], "model.encoder: "),
    (["exp_dir=exp", "data.train=data", "data.valid=data", "trainer.precision=fp16"], "auto, bf16 or float32"),
    (["exp_dir=data/wav.scp", "data.train=data", "data.valid=data"], "data/wav.scp: "),
]


@pytest.mark.parametrize(("argv", "part"), MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(argv: list[str], part: str, data: Path, capsys) -> None:
    assert main(["train", *argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vqaudio: ")
    assert part in error
    assert "+trainer" not in error  # Hydra's advice, which would only lead to the next error
    assert error.count("\n") == 1


VALUES = [
    "a=b",
    "a,b",
    "(x",
    "x)",
    "[x",
    "x]",
    "{x",
    "x}",
    "a#b",
    "it's",
    "'",
    "~/x",
    "a b",
    " a",
    "a\\",
    "a\\'b",
    "\\\\",
]
VALUES += ["${v}", "$v", "a:b", "a;b", "a\tb", 'a"b', "é", "null", "1", "a''", "*", ""]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_taken_literally_once_it_is_quoted(value: str) -> None:
    override = f"data.train={quoted(value)}"
    check_override(override)
    assert compose([override]).data.train == value


@pytest.mark.parametrize("value", ["a=b", "(x", "[x", "{x", "x}", "a#b", "it's", "~/x", "a;b", 'a"b', "é", "a\\'b$"])
def test_a_value_that_hydra_cannot_read_is_shown_with_quotes_for_the_shell(value: str, capsys) -> None:
    assert main(["train", "model=tiny", f"data.train={value}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert repr(f"data.train={value}") in error
    (override,) = shlex.split(error.partition("; quote it: ")[2])
    assert compose([override]).data.train == value


@pytest.mark.parametrize("argv", [["--cfg", "nothing"], ["--frobnicate"], ["--experimental-rerun", "x.pickle"]])
def test_an_unknown_flag_is_one_line_and_exit_code_2(argv: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as left:
        main(["train", *argv])
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_debug_shows_the_traceback(data: Path) -> None:
    with pytest.raises(UserError, match="huge"):
        main(["train", "--debug", "model=huge"])
    with pytest.raises(UserError, match="precision"):
        main(["train", *tiny_overrides(data, Path("exp")), "trainer.precision=fp16", "--debug"])


def test_a_fault_of_our_own_is_no_mistake_of_the_user(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(cfg: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("vqaudio.training.loop.train", faulty)
    with pytest.raises(KeyError, match="a bug"):
        main(["train", *tiny_overrides(data, Path("exp"))])
