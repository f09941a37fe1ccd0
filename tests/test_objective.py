"""The losses equal their definitions, and the WaveNet sees the condition of the frames that it predicts."""

import copy
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from reference import naive_label_loss, naive_mel_loss, naive_nll
from tiny_training import tiny_overrides

from vqaudio.audio import mu_law_decode
from vqaudio.model import build_model
from vqaudio.training.app import compose
from vqaudio.training.dataset import Batch
from vqaudio.training.objective import Objective
from vqaudio.training.optimizer import make_optimizer

N, MARGIN = 12, 2


@pytest.fixture(scope="module", params=[1, 2, 4])
def config(request: pytest.FixtureRequest) -> DictConfig:
    return compose([*tiny_overrides(Path("data"), Path("exp")), f"model.decoder.bands={request.param}"])


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
    frames = torch.arange(N)
    mask = (frames >= torch.tensor([[0], [4], [0]])) & (frames < torch.tensor([[N], [N - 1], [6]]))
    return Batch(padded, torch.tensor([0, 1, 2]), mask, torch.randint(0, 256, (3, N), generator=generator))


def in_mode(objective: Objective, training: bool) -> Objective:
    objective.train(training)
    objective.model.quantizer.eval()  # its averages stay as they are
    return objective


def condition_of(objective: Objective, batch: Batch) -> torch.Tensor:
    """The condition that the codes of a batch give."""
    model = objective.model
    return model.condition(
        model.quantizer.lookup(model.quantizer.encode(model.encoder.frames(batch.padded))), batch.speaker
    )


def test_losses_of_units_are_those_of_the_definition(objective: Objective, batch: Batch) -> None:
    in_mode(objective, True)
    losses, stats = objective(batch, 1.0, False)
    latents = objective.model(batch.padded, batch.speaker, temperature=1.0, jitter=0.0, mask=batch.mask)
    assert losses.keys() == {"commitment", "label", "mel"}
    assert losses["commitment"].item() == pytest.approx(latents.quantized.losses["commitment"].item())
    assert losses["label"].item() == pytest.approx(naive_label_loss(objective, batch, latents.z).item(), rel=1e-4)
    expected = naive_mel_loss(objective, batch, condition_of(objective, batch), 0)
    assert losses["mel"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert stats["counts"].sum() == batch.mask.sum()


@pytest.mark.parametrize("training", [True, False])
def test_losses_of_the_wavenet_are_those_of_the_definition_without_margins_in_training(
    objective: Objective, batch: Batch, training: bool
) -> None:
    in_mode(objective, training)
    assert objective.margin == MARGIN  # two layers of kernel 3
    losses, stats = objective(batch, 1.0, True)
    condition, margin = condition_of(objective, batch), MARGIN if training else 0
    assert losses.keys() == {"nll", "mel"}
    assert losses["nll"].item() == pytest.approx(naive_nll(objective, batch, condition, margin).item(), rel=1e-4)
    assert losses["mel"].item() == pytest.approx(naive_mel_loss(objective, batch, condition, margin).item(), rel=1e-4)
    assert stats["counts"].sum() == batch.mask.sum()


def test_a_batch_without_a_frame_inside_recordings_has_losses_of_0(objective: Objective, batch: Batch) -> None:
    in_mode(objective, True)
    mask = batch.mask.clone()
    mask[:, MARGIN:-MARGIN] = False
    losses, _ = objective(batch._replace(mask=mask), 1.0, True)
    assert {name: loss.item() for name, loss in losses.items()} == {"nll": 0.0, "mel": 0.0}


def moved_by(net: Objective, batch: Batch, decoder: bool) -> set[str]:
    """Parts whose state a step in training changes; they are those that get a gradient, or keep averages."""
    net.train()
    optimizer = make_optimizer(net, net.cfg.trainer)
    before = copy.deepcopy(net.state_dict())
    losses, _ = net(batch, 1.0, decoder)
    sum(losses.values()).backward()
    optimizer.step()
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    learning = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert all(part_of(name) == "quantizer" for name in changed - learning)
    return {part_of(name) for name in changed | learning}


def part_of(name: str) -> str:
    return name.removeprefix("model.").split(".")[0]


@pytest.mark.parametrize("quantizer", ["kmeans", "gumbel", "kmeans quantizer.options.update=gradient"])
def test_each_phase_moves_its_own_parts_alone(batch: Batch, quantizer: str) -> None:
    kind, *more = quantizer.split()
    cfg = compose([*tiny_overrides(Path("data"), Path("exp"), quantizer=kind), *more, "trainer.jitter=0.2"])
    torch.manual_seed(0)
    net = Objective(build_model(cfg, speakers=3), cfg)
    net.model.quantizer.initialise(torch.randn(200, 8), torch.Generator().manual_seed(0))
    assert moved_by(copy.deepcopy(net), batch, True) == {"conditioner", "shaper", "decoder"}
    assert moved_by(net, batch, False) == {"encoder", "quantizer", "conditioner", "shaper", "label_head"}


def test_jitter_moves_codewords_in_training_alone(objective: Objective, batch: Batch) -> None:
    model, expected = in_mode(objective, True).model, condition_of(objective, batch)
    codes, condition = model.fixed(batch.padded, batch.speaker, jitter=0.5)
    assert torch.equal(codes, model.quantizer.encode(model.encoder.frames(batch.padded)))
    assert not torch.allclose(condition, expected, atol=1e-4)
    in_mode(objective, False)
    assert torch.equal(model.fixed(batch.padded, batch.speaker, jitter=0.5)[1], expected)


@pytest.mark.parametrize("training", [True, False])
def test_the_wavenet_gets_the_condition_of_the_very_frames_it_predicts(
    objective: Objective, batch: Batch, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_mode(objective, training)
    hop, numbers = objective.model.encoder.hop_length, torch.arange(N, dtype=torch.float32)
    M, steps = objective.model.decoder.bands, objective.model.steps_per_frame
    wav = (numbers / N).repeat_interleave(hop).expand(3, -1)  # of frame n all samples, and the condition, say n
    codes = torch.zeros(3, 1, N, dtype=torch.long)
    monkeypatch.setattr(objective.model, "fixed", lambda *_, **__: (codes, numbers.expand(3, 16, N)))
    monkeypatch.setattr(objective, "wav", lambda _: wav)
    objective.model.bands.pre_emphasis = 0.0
    seen = []

    def decoder(previous: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        seen.append((previous, condition))
        return torch.zeros(*previous.shape, 256)

    monkeypatch.setattr(objective.model.decoder, "forward", decoder)
    objective(batch, 1.0, True)
    reach = -(-objective.model.bands.side // M)  # steps on each side that a step of the lowest band hears
    [(previous, condition)] = seen
    assert condition[0, 0].tolist() == (list(range(MARGIN, N - MARGIN)) if training else list(range(N)))
    heard = mu_law_decode(previous[..., 0], 256) * N  # the step before each one, so the first of a frame is late
    frames = condition[:, 0].repeat_interleave(steps, dim=1)
    before = torch.arange(frames.shape[1]) % steps - 1
    inside = (before >= reach) & (before < steps - reach)
    assert inside.sum() >= N - 2 * MARGIN
    assert (heard - frames)[:, inside].abs().max() < 0.3


def test_validation_is_the_same_every_time_and_takes_no_random_number(objective: Objective, batch: Batch) -> None:
    in_mode(objective, False)
    before = torch.get_rng_state()
    first, second = (objective(batch, 1.0, True)[0]["nll"] for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


def test_labels_beyond_a_recording_change_no_loss(objective: Objective, batch: Batch) -> None:
    in_mode(objective, False)
    labels = torch.where(batch.mask, batch.labels, 255 - batch.labels)
    losses, other = objective(batch, 1.0, False)[0], objective(batch._replace(labels=labels), 1.0, False)[0]
    assert all(torch.equal(losses[name], other[name]) for name in losses)


def test_weights_scale_their_losses_in_both_phases(objective: Objective, batch: Batch) -> None:
    in_mode(objective, False)
    plain, plain_decoder = (objective(batch, 1.0, decoder)[0] for decoder in (False, True))
    objective.cfg.trainer.label_weight, objective.cfg.trainer.mel_weight = 3.0, 0.5
    weighted, weighted_decoder = (objective(batch, 1.0, decoder)[0] for decoder in (False, True))
    assert weighted["label"].item() == pytest.approx(3 * plain["label"].item())
    assert weighted["mel"].item() == pytest.approx(0.5 * plain["mel"].item())
    assert weighted_decoder["mel"].item() == pytest.approx(0.5 * plain_decoder["mel"].item())
    assert torch.equal(weighted_decoder["nll"], plain_decoder["nll"])


def test_the_example_is_speech_of_the_segment_s_length_in_the_decoder_phase(objective: Objective, batch: Batch) -> None:
    in_mode(objective, False)
    with torch.no_grad():
        image, wav = objective.example(batch, True)
        assert objective.example(batch, False)[1] is None
    assert image.shape == (2 * 20, N)
    assert wav is not None
    assert wav.shape == (N * objective.model.encoder.hop_length,)
