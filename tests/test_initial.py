"""Training that begins with a trained model."""

from pathlib import Path

import pytest
import torch
from tiny_model import save_tiny_model
from tiny_training import tiny_overrides, write_tones

import vqaudio
from vqaudio.errors import UserError
from vqaudio.model_directory import load_config, load_speakers
from vqaudio.training.app import compose, run
from vqaudio.training.initial import begin_with, with_settings

NOT_OF_THE_TRAINING = ("model", "quantizer", "data.sample_rate")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones(tmp_path_factory.mktemp("initial") / "data")


def overrides(data: Path, exp: Path, init: Path, *more: str) -> list[str]:
    """The settings of a tiny training that do not belong to its model."""
    kept = [text for text in tiny_overrides(data, exp) if not text.startswith(NOT_OF_THE_TRAINING)]
    return [*kept, f"init={init}", *more]


def test_a_training_begins_with_weights_codebook_and_settings_of_the_model(tmp_path, data, monkeypatch):
    init = save_tiny_model(tmp_path / "init")
    monkeypatch.setattr("vqaudio.training.loop.run_progress", lambda *_: 1.0)  # not a step
    run(overrides(data, tmp_path / "exp", init), [])
    before, after = vqaudio.load(init), vqaudio.load(tmp_path / "exp")
    assert after.speakers == ["<unknown>", "s0", "s1"]
    for name, tensor in after.model.state_dict().items():
        expected = before.model.state_dict()[name]
        torch.testing.assert_close(tensor, expected[[0, 0, 0]] if name == "conditioner.speaker.weight" else expected)
    there, here = load_config(init), load_config(tmp_path / "exp")
    assert (here.model, here.quantizer, here.data.sample_rate) == (there.model, there.quantizer, there.data.sample_rate)


def test_units_stay_near_those_of_the_model_and_the_first_phase_has_a_codebook(tmp_path, data, caplog):
    init = save_tiny_model(tmp_path / "init")
    with caplog.at_level("INFO"):
        run(overrides(data, tmp_path / "exp", init, "trainer.max_steps=10", "trainer.lr=1e-9"), [])
    assert "step 5" in caplog.text
    assert "warmup" not in caplog.text
    a, b = (vqaudio.load(folder).model.quantizer.codebook for folder in (init, tmp_path / "exp"))
    assert (a - b).norm() < 0.5 * a.norm()


def test_speakers_that_the_model_knows_keep_their_voices(tmp_path):
    init = save_tiny_model(tmp_path / "init")
    model = vqaudio.load(save_tiny_model(tmp_path / "other", seed=1)).model
    rows = vqaudio.load(init).model.conditioner.speaker.weight
    begin_with(model, str(init), ["<unknown>", "p226", "new"])
    assert torch.equal(model.conditioner.speaker.weight, rows[[0, load_speakers(init).index("p226"), 0]])


@pytest.mark.parametrize("setting", ["model=base", "quantizer=gumbel", "data.sample_rate=8000", "model.latent_dim=4"])
def test_settings_of_another_model_are_refused(tmp_path, data, setting):
    with pytest.raises(UserError, match=f"train: {setting} does not go with init"):
        run(overrides(data, tmp_path / "exp", save_tiny_model(tmp_path / "init"), setting), [])


def test_a_missing_model_is_named_and_none_changes_nothing(tmp_path):
    cfg = compose(["init=missing", "data.train=a", "data.valid=b", "exp_dir=c"])
    with pytest.raises(UserError, match=r"missing/config\.yaml: not found"):
        with_settings(cfg)
    cfg.init = None
    assert with_settings(cfg) is cfg


def test_a_model_that_speaks_units_of_another_tool_is_refused(tmp_path):
    init = save_tiny_model(tmp_path / "init")
    (init / "config.yaml").write_text((init / "config.yaml").read_text().replace("name: kmeans", "name: given"))
    with pytest.raises(UserError, match="has no encoder"):
        with_settings(compose([f"init={init}", "data.train=a", "data.valid=b", "exp_dir=c"]))


def test_a_training_into_the_model_that_it_begins_with_is_refused(tmp_path, data):
    init = save_tiny_model(tmp_path / "init")
    with pytest.raises(UserError, match="init"):
        run(overrides(data, init, init), [])
