"""`vqaudio train` at the command line: its help, its flags, and one line for each mistake."""

import json
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tiny_training import tiny_overrides, write_tones

from vqaudio import model_directory
from vqaudio.cli import main
from vqaudio.errors import UserError
from vqaudio.outputs import claim_folder
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


def last_step(exp: Path) -> int:
    return json.loads((exp / "metrics.jsonl").read_text().splitlines()[-1])["step"]


def test_a_sweep_has_a_folder_for_each_training_and_the_same_command_resumes_them(
    data: Path, tmp_path: Path, caplog
) -> None:
    caplog.set_level("INFO")
    overrides = [text for text in tiny_overrides(data, Path("exp")) if not text.startswith("quantizer=")]
    command = ["train", "-m", *overrides, "quantizer=kmeans,gumbel"]
    assert main([*command, "trainer.max_steps=2"]) == 0
    runs = [tmp_path / "exp" / f"quantizer={name}" for name in ("kmeans", "gumbel")]
    assert sorted(path for path in (tmp_path / "exp").iterdir() if path.name[0] != ".") == sorted(
        [*runs, tmp_path / "exp" / "multirun.yaml"]
    )
    assert [last_step(run) for run in runs] == [2, 2]
    assert [OmegaConf.load(run / "config.yaml").quantizer.name for run in runs] == ["kmeans", "gumbel"]
    assert {path.name for path in tmp_path.iterdir()} == {"data", "exp"}
    assert "resuming" not in caplog.text
    assert main([*command, "trainer.max_steps=4"]) == 0
    assert [last_step(run) for run in runs] == [4, 4]
    assert all(f"resuming from exp/{run.name}/state/step-2" in caplog.text for run in runs)


def test_a_sweep_trains_for_each_value_and_fails_with_the_first_failure(data: Path, tmp_path: Path, capsys) -> None:
    assert main(["train", "--multirun", *tiny_overrides(data, Path("exp"), steps=2), "seed=0,-1,1"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("vqaudio: train: seed=-1 must be a whole number")
    assert [last_step(tmp_path / "exp" / f"seed={seed}") for seed in (0, 1)] == [2, 2]


def test_two_trainings_of_a_sweep_never_share_a_folder(data: Path, tmp_path: Path, monkeypatch) -> None:
    """Values that look like paths stay names."""
    folders = []
    monkeypatch.setattr("vqaudio.training.loop.train", lambda cfg: folders.append(cfg.exp_dir))
    other = write_tones(tmp_path / "data2", speakers=1, utterances=1)
    fixed = [text for text in tiny_overrides(data, Path("my exp")) if not text.startswith("data.train")]
    varying = [f"data.train={data},{other}", "seed=0,1", "trainer.label_offsets=[0],[0,0.02]"]
    assert main(["train", "-m", *fixed, *varying]) == 0
    assert len(set(folders)) == 8
    assert {Path(folder).parent for folder in folders} == {Path("my exp")}


def test_a_folder_of_somebody_else_or_of_a_model_takes_no_sweep(data: Path, tmp_path: Path, capsys) -> None:
    sweep = ["train", "-m", *tiny_overrides(data, Path("exp"), steps=1), "seed=0,1"]
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "thesis.tex").write_text("mine")
    assert main(sweep) == 2
    assert "holds thesis.tex" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "exp").iterdir()] == ["thesis.tex"]
    claim_folder(tmp_path / "model", model_directory.KIND)
    assert main([*sweep, "exp_dir=model"]) == 2
    assert "model: was made as model, not as trainings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["seed=0,1"], "needs exp_dir, one folder for all trainings, such as exp_dir=exp/sweep"),
        (["seed=0,1", "exp_dir=a,b"], "not 'exp_dir=a,b'"),
        (["seed=0,1", "exp_dir=exp/${seed}"], "not 'exp_dir=exp/${seed}'"),
        (["seed=0", "exp_dir=exp"], "no setting has several values"),
    ],
)
def test_a_sweep_without_one_folder_or_several_values_is_refused(overrides: list[str], part: str, capsys) -> None:
    assert main(["train", "-m", *overrides]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_launcher_trains_in_processes_of_its_own_and_its_first_failure_is_ours(
    data: Path, tmp_path: Path, capsys
) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install 'vqaudio[sweep]'")
    overrides = [*tiny_overrides(data, Path("exp"), steps=2), "hydra/launcher=submitit_local"]
    assert main(["train", "-m", *overrides, "seed=0,-1,1"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("vqaudio: train: seed=-1 must be a whole number")
    for seed in (0, 1):
        assert last_step(tmp_path / "exp" / f"seed={seed}") == 2
        assert "step 2" in (tmp_path / "exp" / f"seed={seed}" / "train.log").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"data", "exp"}


def test_a_launcher_that_is_not_installed_is_one_line_with_the_cure(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "-m", "hydra/launcher=submitit_not_here", "seed=0,1", "exp_dir=exp"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.endswith("; pip install 'vqaudio[sweep]'\n")


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
    (["--multirun", "model=tiny,huge", "exp_dir=exp"], "model/huge"),
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
