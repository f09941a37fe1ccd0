"""The losses equal their definitions, and the WaveNet sees the condition of the frames that it predicts."""

import copy
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from reference import naive_losses
from tiny_training import tiny_overrides

from vqaudio.audio import mu_law_decode
from vqaudio.model import build_model
from vqaudio.training.app import compose
from vqaudio.training.dataset import Batch
from vqaudio.training.objective import Objective

N = 12


@pytest.fixture(scope="module", params=[1, 2, 4])
def config(request: pytest.FixtureRequest) -> DictConfig:
    changes = [f"model.decoder.bands={request.param}", "trainer.joint_phase.decoder_frames=5"]
    return compose([*tiny_overrides(Path("data"), Path("exp")), *changes])


@pytest.fixture
def objective(config: DictConfig) -> Objective:
    cfg = copy.deepcopy(config)
    torch.manual_seed(0)
    model = build_model(cfg, speakers=3)
    with torch.no_grad():
        model.decoder.condition.weight.mul_(20)  # an untrained WaveNet hardly listens to its condition
        model.bands.gains.copy_(torch.linspace(1, 3, len(model.bands.gains)))
    model.quantizer.initialise(torch.randn(200, 8), torch.Generator().manual_seed(0))
    return Objective(model, cfg)


@pytest.fixture
def batch(objective: Objective) -> Batch:
    encoder, generator = objective.model.encoder, torch.Generator().manual_seed(1)
    padded = 0.1 * torch.randn(3, encoder.left + N * encoder.hop_length + encoder.right, generator=generator)
    mask = torch.arange(N) < torch.tensor([[N], [N - 1], [6]])
    features = torch.randn(3, N, 130, generator=generator)
    objective.label_head.start(features.flatten(0, 1), torch.Generator().manual_seed(0))
    return Batch(padded, torch.tensor([0, 1, 2]), mask, features)


def in_mode(objective: Objective, training: bool) -> Objective:
    objective.train(training)
    objective.model.quantizer.eval()  # its averages stay as they are
    return objective


@pytest.mark.parametrize("training", [True, False])
def test_losses_are_those_of_the_definition(objective: Objective, batch: Batch, training: bool) -> None:
    in_mode(objective, training)
    torch.manual_seed(5)
    losses, _ = objective(batch, 1.0, True)
    width, first = N, 0
    if training:
        torch.manual_seed(5)
        width, first = 5, int(torch.randint(N - 5 + 1, (1,)))
        assert first > 0  # a window that begins with the segment would hide an offset
    latents = objective.model(batch.padded, batch.speaker, temperature=1.0, jitter=0.0, mask=batch.mask)
    expected = naive_losses(objective, batch, latents, first, width)
    for name, value in zip(("label", "mel", "nll"), expected, strict=True):
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-4), name


@pytest.mark.parametrize("training", [True, False])
def test_the_wavenet_gets_the_condition_of_the_very_frames_it_predicts(
    objective: Objective, batch: Batch, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_mode(objective, training)
    hop, numbers = objective.model.encoder.hop_length, torch.arange(N, dtype=torch.float32)
    M, steps = objective.model.decoder.bands, objective.model.steps_per_frame
    wav = (numbers / N).repeat_interleave(hop).expand(3, -1)  # of frame n all samples, and the condition, say n
    latents = objective.model(batch.padded, batch.speaker, temperature=1.0, jitter=0.0, mask=batch.mask)
    latents = latents._replace(condition=numbers.expand(3, 16, N))
    objective.model.bands.pre_emphasis = 0.0
    seen = []

    def decoder(previous: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        seen.append((previous, condition))
        return torch.zeros(*previous.shape, 256)

    monkeypatch.setattr(objective.model.decoder, "forward", decoder)
    for seed in range(4):
        torch.manual_seed(seed)
        objective.nll(wav, latents, torch.ones(3, N, dtype=torch.bool))
    reach = -(-objective.model.bands.side // M)  # steps on each side that a step of the lowest band hears
    for previous, condition in seen:
        heard = mu_law_decode(previous[..., 0], 256) * N  # the step before each one, so the first of a frame is late
        frames = condition[:, 0].repeat_interleave(steps, dim=1)
        before = torch.arange(frames.shape[1]) % steps - 1
        inside = (before >= reach) & (before < steps - reach)
        assert inside.sum() > N
        assert (heard - frames)[:, inside].abs().max() < 0.3
    assert len({condition[0, 0, 0].item() for _, condition in seen}) == (4 if training else 1)


def test_validation_takes_whole_segments_and_no_random_number(objective: Objective, batch: Batch) -> None:
    in_mode(objective, False)
    before = torch.get_rng_state()
    first, second = (objective(batch, 1.0, True)[0]["nll"] for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


def test_frames_beyond_a_recording_change_no_loss(objective: Objective, batch: Batch) -> None:
    in_mode(objective, False)
    features = batch.features.clone()
    features[2, 6:] = 100.0  # the last frame inside is 5
    losses, other = objective(batch, 1.0, True)[0], objective(batch._replace(features=features), 1.0, True)[0]
    assert all(torch.equal(losses[name], other[name]) for name in losses)


def test_weights_scale_their_losses_and_the_codebook_phase_has_no_nll(objective: Objective, batch: Batch) -> None:
    in_mode(objective, False)
    plain = objective(batch, 1.0, False)[0]
    objective.cfg.trainer.label_weight, objective.cfg.trainer.mel_weight = 3.0, 0.5
    weighted = objective(batch, 1.0, False)[0]
    assert "nll" not in plain
    assert weighted["label"].item() == pytest.approx(3 * plain["label"].item())
    assert weighted["mel"].item() == pytest.approx(0.5 * plain["mel"].item())


def test_the_example_is_speech_of_the_segment_s_length_in_the_joint_phase(objective: Objective, batch: Batch) -> None:
    in_mode(objective, False)
    with torch.no_grad():
        image, wav = objective.example(batch, True)
        assert objective.example(batch, False)[1] is None
    assert image.shape == (2 * 20, N)
    assert wav is not None
    assert wav.shape == (N * objective.model.encoder.hop_length,)
