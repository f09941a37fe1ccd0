"""Model directories to a hub and from it, with the client of huggingface_hub and a hub on loopback."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import TOKEN, Hub, running_hub
from omegaconf import OmegaConf
from os_faults import Fault
from tiny_model import save_tiny_model

from vqaudio import hub as sharing
from vqaudio.cli import main
from vqaudio.hub import portable_config
from vqaudio.model_directory import load_config, load_model
from vqaudio.outputs import MARK

huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
REPO = "anna/units"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub, to which huggingface_hub turns as if its environment named it."""
    with running_hub() as running:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", running.url)
        template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # between two tries
        yield running


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model directory with all that a training leaves, and with paths of a machine."""
    folder = save_tiny_model(tmp_path / "model")
    config = load_config(folder)
    config.merge_with({"exp_dir": "exp", "data": {"train": "/srv/anna/secret/train", "valid": "dev"}, "init": None})
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config))
    for name in ("state/step-1/state.pt", "tensorboard/events", "metrics.jsonl", MARK):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    (folder / "train.log").write_text("2026-01-01 INFO 0.29 hours of speech, 2 speakers, 1.72 M parameters, cpu\n")
    scores = {
        "units": {"test_seen": {"pnmi": 0.612, "intervals": {"pnmi": [0.6, 0.62]}}},
        "audio": {"dev": {"estoi": 0.5}},
    }
    (folder / "scores.json").write_text(json.dumps(scores))
    return folder


def refused(capsys, code: int, argv: list[object]) -> str:
    """Run a command that must end with a code and one line, and return the line."""
    capsys.readouterr()
    assert main(list(map(str, argv))) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vqaudio: ")]
    assert len(lines) == 1
    assert "; " in lines[0]
    return lines[0]


def test_a_pushed_model_is_pulled_as_it_was_and_nothing_else_travels(hub, model, tmp_path, capsys):
    assert main(["push", str(model), REPO]) == 0
    ((commit, there),) = hub.commits[REPO].items()
    assert capsys.readouterr().out == f"{model} is {REPO} at {commit}\n"
    assert sorted(there) == ["README.md", "config.yaml", "model.safetensors", "speakers.txt"]
    assert hub.private[REPO]
    assert main(["pull", REPO, str(tmp_path / "pulled")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'pulled'} is {REPO} at {commit}\n"
    assert {path.name: path.read_bytes() for path in (tmp_path / "pulled").iterdir() if path.name != MARK} == there
    assert load_model(tmp_path / "pulled").hash == load_model(model).hash
    assert load_model(tmp_path / "pulled").speakers == load_model(model).speakers


def test_no_path_of_the_machine_travels_in_the_configuration():
    config = OmegaConf.create(
        {
            "exp_dir": "exp",
            "init": "default",
            "seed": 3,
            "data": {"train": "train", "valid": "dev", "level_db": -26, "units": "km", "valid_units": "${.units}"},
            "other": {"deep": "/srv/anna/x", "home": "~anna", "relative": "a/b", "windows": "C:\\x", "word": "ema"},
        }
    )
    kept = OmegaConf.to_container(OmegaConf.create(portable_config(config)))
    assert kept == {"seed": 3, "data": {"level_db": -26}, "other": {"word": "ema"}}


def test_the_card_tells_what_is_known_and_no_path(hub, model):
    assert main(["push", str(model), REPO]) == 0
    files = list(hub.commits[REPO].values())[-1]
    card = files["README.md"].decode()
    assert "vqaudio pull anna/units units" in card
    assert "| trained on | 0.29 hours of speech, 2 speakers |" in card
    assert "| Phones: PNMI ↑ | 0.612 [0.600–0.620] |" in card
    assert "| ESTOI ↑ | 0.500 |" in card
    assert load_model(model).hash in card
    assert not any(word in content for content in files.values() for word in (b"secret", str(model).encode()))


def test_a_readme_of_the_user_is_the_card(hub, model):
    (model / "README.md").write_text("# Mine\n")
    assert main(["push", str(model), REPO, "--public"]) == 0
    assert list(hub.commits[REPO].values())[-1]["README.md"] == b"# Mine\n"
    assert not hub.private[REPO]


def test_a_revision_gives_the_files_of_its_commit_and_the_newest_replaces_what_was_pulled(hub, model, tmp_path):
    old = sharing.push(model, REPO, public=False)
    newer = save_tiny_model(tmp_path / "newer", seed=1)
    new = sharing.push(newer, REPO, public=False)
    out = tmp_path / "out"
    assert sharing.pull(REPO, out, revision=old.commit) == old
    assert load_model(out).hash == load_model(model).hash
    hub.calls.clear()
    assert sharing.pull(REPO, out, revision=None) == new
    assert load_model(out).hash == load_model(newer).hash
    downloads = [call for call in hub.calls if "/resolve/" in call]
    assert downloads
    assert all(f"/resolve/{new.commit}/" in call for call in downloads)  # never of a branch that may move


def test_a_model_that_is_not_pulled_leaves_the_folder_as_it_was(hub, model, tmp_path, capsys):
    good = sharing.push(model, REPO, public=False)
    out = tmp_path / "out"
    sharing.pull(REPO, out, revision=None)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    hub.commit(REPO, {"model.safetensors": b"not a model"})
    assert f"{REPO}: holds no model that loads" in refused(capsys, 2, ["pull", REPO, out])
    config = next(iter(hub.commits[REPO].values()))["config.yaml"]
    hub.commit(REPO, {"config.yaml": config + b"note: ${oc.env:HF_TOKEN}\n"})
    assert "config.yaml: has a reference" in refused(capsys, 2, ["pull", REPO, out])
    hub.commits[REPO][hub.commit(REPO, {})].pop("speakers.txt")
    assert "has no speakers.txt" in refused(capsys, 2, ["pull", REPO, out])
    hub.commit(REPO, {"speakers.txt": b"", "config.yaml": b" " * ((1 << 20) + 1)})
    assert f"config.yaml has {(1 << 20) + 1} bytes, more than {1 << 20}" in refused(capsys, 2, ["pull", REPO, out])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert sharing.pull(REPO, out, revision=good.commit) == good


def test_a_training_is_not_replaced_by_a_pulled_model(hub, model, capsys):
    sharing.push(model, REPO, public=False)
    (model / MARK).write_text("model\n")
    before = (model / "config.yaml").read_bytes()
    assert "was made as model, not as pulled model" in refused(capsys, 2, ["pull", REPO, model])
    assert (model / "config.yaml").read_bytes() == before


def test_mistakes_and_failures_are_one_line_with_their_cure(hub, model, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    assert "OWNER/NAME" in refused(capsys, 2, ["push", model, "a b"])
    assert "OWNER/NAME" in refused(capsys, 2, ["pull", "a/b/c", out])
    assert "nobody/none: not found" in refused(capsys, 2, ["pull", "nobody/none", out])
    sharing.push(model, REPO, public=False)
    assert "has no such --revision" in refused(capsys, 2, ["pull", REPO, out, "--revision", "v9"])
    monkeypatch.delenv("HF_TOKEN")
    assert "set HF_TOKEN" in refused(capsys, 2, ["pull", REPO, out])
    assert "set HF_TOKEN" in refused(capsys, 2, ["push", model, REPO])
    hub.status = 500
    assert "the hub fails" in refused(capsys, 1, ["pull", REPO, out])
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    assert "check the network" in refused(capsys, 1, ["pull", REPO, out])
    assert [path.name for path in out.iterdir()] == [MARK]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_full_or_closed_disk_is_one_line_and_the_same_command_completes_the_folder(
    number, at, hub, model, tmp_path, capsys, monkeypatch
):
    sharing.push(model, REPO, public=False)
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        Fault(patch, "write" if number == errno.ENOSPC else "open", number, at=at)
        line = refused(capsys, 1 if number == errno.ENOSPC else 2, ["pull", REPO, out])
    assert line.startswith(f"vqaudio: {out}")
    assert os.strerror(number) in line
    assert not (out / "model.safetensors").exists()
    assert not list(out.glob(".partial-*"))
    assert main(["pull", REPO, str(out)]) == 0
    assert load_model(out).hash == load_model(model).hash


def test_a_folder_without_a_model_is_not_pushed(hub, tmp_path, capsys):
    assert "config.yaml: not found" in refused(capsys, 2, ["push", tmp_path, REPO])
    assert hub.calls == []


def test_a_configuration_that_reads_the_environment_is_not_pushed(hub, model, capsys):
    with (model / "config.yaml").open("a") as file:
        file.write("note: ${oc.env:HF_TOKEN}\n")
    assert "config.yaml: has a reference" in refused(capsys, 2, ["push", model, REPO])
    assert hub.calls == []


def test_without_the_package_the_extra_is_named(model, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'vqaudio[hub]'" in refused(capsys, 2, ["push", model, REPO])


def test_the_environment_names_the_hub_and_the_token(model, tmp_path):
    with running_hub() as running:
        names = {
            "HF_ENDPOINT": running.url,
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path / "hf"),
        }
        command = [sys.executable, "-m", "vqaudio", "push", str(model), REPO]
        done = subprocess.run(command, env=os.environ | names, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert len(running.commits[REPO]) == 1
