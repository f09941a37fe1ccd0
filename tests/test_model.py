"""The autoencoder as a whole, and every shipped configuration."""

from pathlib import Path

import pytest
import torch
from conftest import ROOT

from vqaudio.errors import UserError
from vqaudio.model.autoencoder import build_model, time_jitter
from vqaudio.training.app import compose

REQUIRED = ["data.train=train", "data.valid=valid", "exp_dir=exp"]
CHOICES = sorted(
    f"{path.parent.name}={path.stem}" for path in (ROOT / "conf").glob("*/*.yaml") if path.parent.name != "conf"
)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_configuration_file_composes_and_builds(choice: str) -> None:
    cfg = compose([*REQUIRED, choice])
    model = build_model(cfg, speakers=3).eval()
    assert model.encode(torch.randn(1, 3 * model.encoder.hop_length)).shape == (1, model.quantizer.groups, 3)


@pytest.mark.parametrize(("name", "frame_rate"), [("paper", 250), ("base", 50), ("tiny", 100)])
def test_presets_have_the_frame_rate_they_promise(name: str, frame_rate: int) -> None:
    cfg = compose([*REQUIRED, f"model={name}"])
    assert cfg.data.sample_rate / build_model(cfg, speakers=2).encoder.hop_length == frame_rate


def test_a_misspelt_key_fails_in_one_line() -> None:
    with pytest.raises(UserError, match=r"trainer\.max_step") as caught:
        compose([*REQUIRED, "trainer.max_step=3"])
    assert "\n" not in str(caught.value)


def test_a_hop_that_the_bands_do_not_divide_fails_in_one_line() -> None:
    cfg = compose([*REQUIRED, "model=tiny", "model.encoder.strides=[5,5,3,1]"])
    with pytest.raises(
        UserError, match=r"model\.decoder\.bands: 4 do not divide a hop of 75 samples, .*; change either"
    ):
        build_model(cfg, speakers=2)


def test_jitter_moves_frames_to_neighbours_at_the_stated_total_rate() -> None:
    torch.manual_seed(0)
    z_q = torch.arange(20_000.0).view(1, 1, -1)
    offset = (time_jitter(z_q, 0.12) - z_q)[0, 0, 1:-1]
    assert set(offset.tolist()) == {-1.0, 0.0, 1.0}
    assert (offset != 0).float().mean().item() == pytest.approx(0.12, abs=0.01)
    assert (offset == 1).float().mean().item() == pytest.approx(0.06, abs=0.01)


def test_a_saved_model_gives_the_same_codes_when_loaded_again(tmp_path: Path) -> None:
    from tiny_model import save_tiny_model

    from vqaudio.model_directory import load_model

    loaded = load_model(save_tiny_model(tmp_path / "exp"))
    wav = torch.randn(1, 8000)
    assert torch.equal(loaded.model.encode(wav), load_model(tmp_path / "exp").model.encode(wav))
    assert loaded.speakers[0] == "<unknown>"
