"""The ONNX file of a model: the codes of the codec in onnxruntime, for any length, quantizer and preset."""

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tiny_model import SPEAKERS, save_tiny_model

import vqaudio
from vqaudio import export as export_module
from vqaudio.cli import main
from vqaudio.codec import Codec
from vqaudio.errors import JobError, UserError
from vqaudio.model import build_model
from vqaudio.model_directory import LoadedModel
from vqaudio.training.app import compose

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
pytest.importorskip("onnxruntime", reason="the extra export is not installed")


def make(quantizer: str, preset: str, *options: str) -> Codec:
    """An untrained model with the layers of a preset, but few channels, and a codebook that a signal visits."""
    sizes = compose([f"model={preset}"]).model.encoder.channels
    channels = f"model.encoder.channels=[{','.join(['12'] * len(sizes))}]"
    small = [channels, "model.latent_dim=8", "model.decoder.layers=2", "model.conditioner.channels=8"]
    cfg = compose([f"model={preset}", f"quantizer={quantizer}", *small, "quantizer.options.codebook_size=32", *options])
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(cfg, len(SPEAKERS)).eval()
    with torch.no_grad():
        z = model.encoder(0.05 * torch.randn(1, 40000, generator=generator))
        model.quantizer.initialise(z[0].T, generator)
    return Codec(LoadedModel(model, OmegaConf.create(OmegaConf.to_container(cfg)), SPEAKERS, "0" * 64))


def signals(rate: int) -> list[np.ndarray]:
    """Noise of several lengths, a faint one, one with an offset, constants, silence, and a tone."""
    noise = (0.1 * np.random.default_rng(1).standard_normal(3 * rate)).astype(np.float32)
    lengths = [1, 2, 63, 64, 65, 159, 160, 161, 319, 320, 321, 8000, 3 * rate]
    tone = 0.3 * np.sin(np.arange(rate) / 7).astype(np.float32)
    constants = [np.full(999, c, np.float32) for c in (0.1, 0.3, 0.7, 0.9)]  # of some the variance is below 0
    others = [1e-5 * noise, noise + 0.2, *constants, np.zeros(1000), tone]
    return [*(noise[:n] for n in lengths), *(wav.astype(np.float32) for wav in others)]


@pytest.mark.parametrize("preset", ["tiny", "base", "paper"])
@pytest.mark.parametrize("quantizer", ["kmeans", "gumbel"])
def test_onnxruntime_returns_the_codes_of_the_codec(quantizer: str, preset: str) -> None:
    codec = make(quantizer, preset)
    check(codec)


@pytest.mark.parametrize(
    "options",
    [
        ["quantizer.options.groups=2"],
        ["quantizer.options.groups=2", "quantizer.options.shared=true"],
        ["data.level_db=null"],
        ["model.encoder.context_layers=0"],
    ],
)
@pytest.mark.parametrize("quantizer", ["kmeans", "gumbel"])
def test_so_it_does_with_groups_without_a_level_and_without_context(quantizer: str, options: list[str]) -> None:
    check(make(quantizer, "base", *options))


def check(codec: Codec) -> None:
    session = export_module.open_session(export_module.to_onnx(codec))
    seen = set()
    for wav in signals(codec.sample_rate):
        codes = session.run(None, {"wav": wav[None]})[0]
        assert codes.dtype == np.int64
        np.testing.assert_array_equal(codes, codec.encode(wav, codec.sample_rate))
        seen |= set(codes[0].tolist())
    assert len(seen) > 8  # else this would compare constants


def test_the_file_says_what_a_program_must_know_and_is_replaced_only_if_it_is_ours(tmp_path: Path, capsys) -> None:
    model, out = save_tiny_model(tmp_path / "model", groups=2), tmp_path / "model" / "model.onnx"
    for _ in range(2):
        assert main(["export", "--model", str(model), "--out", str(out)]) == 0
    assert "0 of 1250 units of noise differ in onnxruntime" in capsys.readouterr().out
    codec = vqaudio.load(model)
    assert {prop.key: prop.value for prop in onnx.load(out).metadata_props} == {
        "vqaudio": vqaudio.__version__,
        "model_hash": codec.hash,
        "sample_rate": "8000",
        "hop_length": "80",
        "codebook_size": "16",
        "groups": "2",
        "level_db": "-26.0",
        "latency": str((80 + codec.model.encoder.right) / 8000),
    }
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "other", [], [])), out)
    before = out.read_bytes()
    assert main(["export", "--model", str(model), "--out", str(out)]) == 2
    assert "model.onnx: exists, and vqaudio did not make it" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_a_file_whose_codes_differ_is_not_written(tmp_path: Path, monkeypatch) -> None:
    model = save_tiny_model(tmp_path / "model")
    other = export_module.to_onnx(vqaudio.load(save_tiny_model(tmp_path / "other", seed=1)))
    monkeypatch.setattr(export_module, "to_onnx", lambda codec: other)
    with pytest.raises(JobError, match=r"m\.onnx: not written, since \d+ of 625 units of noise differ"):
        export_module.export(model, tmp_path / "m.onnx")
    assert not list(tmp_path.glob("*.onnx"))


def test_a_file_that_onnxruntime_refuses_is_a_failed_job(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"onnxruntime cannot run the model \(.*\); install another version"):
        export_module.compare(b"no model", vqaudio.load(save_tiny_model(tmp_path)))


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'vqaudio\[export\]'"):
        export_module.export(save_tiny_model(tmp_path / "model"), tmp_path / "m.onnx")
