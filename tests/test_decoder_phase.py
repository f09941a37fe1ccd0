"""The decoder phase: the WaveNet learns to speak units that no longer change, and these are the averaged ones."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import tiny_overrides, write_tones

from vqaudio.distributed import World
from vqaudio.training.app import compose
from vqaudio.training.loop import Training, train
from vqaudio.training.start import start_codebook
from vqaudio.training.state import load_state, states


@pytest.fixture(autouse=True)
def a_quick_start_of_the_codebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vqaudio.training.start.START_FRAMES", 1000)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones(tmp_path_factory.mktemp("decoder") / "data")


def at_the_start_of_the_decoder_phase(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, dict[str, torch.Tensor]]]:
    """Return a list, to which a run adds its weights and their average before the phase, and its weights in it."""
    found: list[dict[str, dict[str, torch.Tensor]]] = []
    enter = Training.enter_phase

    def recorded(self: Training, progress: float) -> bool:
        before = {"own": copy.deepcopy(self.net.state_dict()), "average": copy.deepcopy(self.average.values)}
        changed = enter(self, progress)
        if changed:
            found.append({**before, "now": copy.deepcopy(self.net.state_dict())})
        return changed

    monkeypatch.setattr(Training, "enter_phase", recorded)
    return found


def equal(x: dict[str, torch.Tensor], y: dict[str, torch.Tensor], *parts: str) -> bool:
    """Whether the weights of some parts, or else all, are the same bits."""
    names = [name for name in x if not parts or name.removeprefix("model.").startswith(parts)]
    assert names
    return all(torch.equal(x[name], y[name]) for name in names)


@pytest.mark.parametrize("quantizer", ["kmeans", "gumbel", "kmeans quantizer.options.update=gradient"])
def test_the_wavenet_learns_to_speak_the_averaged_units_which_stay_as_they_are(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantizer: str
) -> None:
    found = at_the_start_of_the_decoder_phase(monkeypatch)
    kind, *more = quantizer.split()
    train(compose([*tiny_overrides(data, tmp_path / "exp", quantizer=kind), *more]))
    [start] = found
    assert not equal(start["own"], start["average"], "encoder")
    assert equal(start["now"], start["average"])
    last = load_state(states(tmp_path / "exp")[0])
    for weights in (last["net"], last["average"]["values"]):
        assert equal(weights, start["now"], "encoder", "quantizer", "label_head", "bands")
        assert not any(equal(weights, start["now"], part) for part in ("conditioner", "shaper", "decoder"))
    saved = {f"model.{name}": value for name, value in load_file(tmp_path / "exp" / "model.safetensors").items()}
    assert equal(saved, start["now"], "encoder", "quantizer", "bands")


@pytest.mark.parametrize("start", [0.0, 0.3])
def test_a_codebook_that_starts_with_the_decoder_phase_is_there_to_stay(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: float
) -> None:
    found = at_the_start_of_the_decoder_phase(monkeypatch)
    changes = [f"trainer.codebook_start={start}", f"trainer.decoder_start={start}"]
    cfg = compose([*tiny_overrides(data, tmp_path / "exp", steps=10), *changes])
    train(cfg)
    [state] = found
    assert state["now"]["model.quantizer.initialised"]
    assert equal(state["now"], state["own"], "bands", "label_head.centroids", "label_head.started")
    other = Training(cfg, tmp_path / "exp", World(0, 1, torch.device("cpu")))
    other.net.load_state_dict(state["now"])
    start_codebook(other.model, other.data, cfg.trainer.codebook_phase, cfg.seed, other.world)
    assert equal(state["now"], other.net.state_dict(), "quantizer")  # made from the encoder that stays
    saved = load_file(tmp_path / "exp" / "model.safetensors")
    assert torch.equal(saved["quantizer.codebook"], state["now"]["model.quantizer.codebook"])
