"""A training step of preset `base` on one core: ours, and the plain formulation of the same network with Conv1d.

The plain one is what a textbook writes: channels first, float32, conv1d, padding, a condition repeated for every
sample, autograd. Both share parameters, loss, optimizer and data, so that their losses must fall alike.
"""

import copy
import functools
import sys
from collections.abc import Callable
from pathlib import Path

import measure
import torch
import torch.nn.functional as F
from torch import Tensor

from vqaudio.audio import mu_law_encode
from vqaudio.model import VQAutoencoder, build_model
from vqaudio.model.decoder import WaveNet
from vqaudio.model.loops.likelihood import negative_log_likelihood
from vqaudio.training.app import compose

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))
from reference import naive_conditioner, naive_encoder

RATE = 16000
PLOT = measure.RESULTS.with_name("training.png")
KINDS = ["plain Conv1d, float32", "vqaudio, float32", "vqaudio, bf16"]

Batch = tuple[Tensor, Tensor]


def plain_error(net: WaveNet, previous: Tensor, condition: Tensor, codes: Tensor) -> Tensor:
    """Return the mean negative log likelihood of `codes` (B, T) in the plain formulation of a WaveNet."""
    samples, R, past = previous.shape[1] // condition.shape[2], net.residual, net.kernel - 1
    x, skips = F.embedding(previous, net.embedding.weight).transpose(1, 2), 0
    conditions = F.conv1d(condition, net.condition.weight.unsqueeze(2), net.condition.bias).chunk(len(net.out), 1)
    for dilated, out, dilation, c in zip(net.dilated, net.out, net.dilations, conditions, strict=True):
        weight = dilated.weight.view(net.gate, net.kernel, R).transpose(1, 2)
        y = F.conv1d(F.pad(x, (past * dilation, 0)), weight, dilation=dilation) + c.repeat_interleave(samples, dim=2)
        a, b = y.chunk(2, dim=1)
        update = F.conv1d(a.tanh() * b.sigmoid(), out.weight.unsqueeze(2), out.bias)
        x, skips = x + update[:, :R], skips + update[:, R:]
    hidden = F.relu(skips * len(net.out) ** -0.5)
    for linear in (net.head, net.logits):
        hidden = F.conv1d(hidden if linear is net.head else F.relu(hidden), linear.weight.unsqueeze(2), linear.bias)
    return F.cross_entropy(hidden, codes)


class Trainer:
    """A copy of a model and its optimizer, which takes steps in one of the formulations."""

    def __init__(self, model: VQAutoencoder, kind: str) -> None:
        self.model, self.kind = copy.deepcopy(model), kind
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01)

    def step(self, batch: Batch) -> float:
        """Forward, backward and update; return the mean negative log likelihood in nats a sample."""
        (padded, speaker), model = batch, self.model
        codes = mu_law_encode(padded[:, model.encoder.left : padded.shape[1] - model.encoder.right], 256)
        torch.manual_seed(0)  # of codes that restart
        if self.kind == KINDS[0]:
            quantized = model.quantizer(naive_encoder(model.encoder, padded), 1.0)
            condition = naive_conditioner(model.conditioner, quantized.z_q, speaker)
            nll = plain_error(model.decoder, model.decoder.shift(codes), condition, codes)
        else:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.kind.endswith("bf16")):
                quantized = model.quantizer(model.encoder.frames(padded), 1.0)
                logits = model.decoder(model.decoder.shift(codes), model.condition(quantized.z_q, speaker))
                nll = negative_log_likelihood(logits, codes).mean()
        self.optimizer.zero_grad(set_to_none=True)
        (nll + sum(quantized.losses.values())).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return nll.item()


def make_batch(model: VQAutoencoder, seed: int, segments: int, frames: int) -> Batch:
    """Return segments of gliding tones with harmonics and a little noise, whose likelihood is learnt soon."""
    generator = torch.Generator().manual_seed(seed)
    length = model.encoder.left + frames * model.encoder.hop_length + model.encoder.right
    pitch, glide = torch.rand(2, segments, 1, generator=generator)
    time = torch.arange(length) / RATE
    phase = 2 * torch.pi * ((100 + 200 * pitch) * time + 200 * (glide - 0.5) * time.square())
    wav = sum(torch.sin(n * phase) / n for n in range(1, 9)) + 0.02 * torch.randn(segments, length, generator=generator)
    return 0.05 * wav, torch.ones(segments, dtype=torch.long)


def multiply_adds(model: VQAutoencoder) -> float:
    """Return the multiply-adds of a sample: of the decoder's and the encoder's matrices."""
    net, encoder = model.decoder, model.encoder
    total = sum(linear.weight.numel() for linear in (*net.dilated, *net.out, net.head, net.logits))
    at_frame_rate = [*(layer.conv for layer in encoder.context), *model.conditioner.convs, net.condition]
    total += sum(module.weight.numel() for module in at_frame_rate) / encoder.hop_length
    step = 1
    for conv in encoder.strided:
        step *= conv.stride[0]
        total += conv.weight.numel() / step
    return total


def speeds(model: VQAutoencoder, segments: int, frames: int, rounds: int) -> str:
    batch = make_batch(model, 0, segments, frames)
    calls: dict[str, Callable[[], object]] = {
        kind: functools.partial(Trainer(model, kind).step, batch) for kind in KINDS
    }
    for kind, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        calls[kind] = measure.matrix_product(dtype)
    times = measure.interleaved(calls, rounds)
    samples = segments * frames * model.encoder.hop_length
    seconds, plain = samples / RATE, times[KINDS[0]]
    rows = []
    for kind in KINDS:
        ours, product = times[kind], times["bf16" if kind.endswith("bf16") else "float32"]
        scale = 1024**3 / (3 * multiply_adds(model) * samples)  # forward once and backward twice
        limit = measure.Times([s / scale for s in product.seconds], product.wall)
        speed = "{:.2f} ({:.2f} to {:.2f})".format(
            *(seconds / s for s in (ours.median, max(ours.seconds), min(ours.seconds)))
        )
        ratio = "" if kind == KINDS[0] else f"{plain.over(ours):.2f} × (target 1.7, aim 3)"
        rows.append([kind, speed, f"{seconds / limit.median:.1f}", f"{100 * limit.over(ours):.0f} %", ratio])
    header = ["formulation", "audio seconds a second", "limit: its matrix products", "of the limit", "against plain"]
    size = f"{segments} segments of {frames} frames ({seconds:.1f} s of audio)"
    return f"A step of {size}: forward, backward, clipping and AdamW.\n\n{measure.table(header, rows)}"


def losses(model: VQAutoencoder, segments: int, frames: int, steps: int) -> dict[str, list[float]]:
    """Train all formulations from the same weights on the same batches; return the losses of their steps."""
    trainers = {kind: Trainer(model, kind) for kind in KINDS}
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for i in range(steps):
        batch = make_batch(model, 1 + i, segments, frames)
        for kind, trainer in trainers.items():
            found[kind].append(trainer.step(batch))
    return found


def plot(found: dict[str, list[float]]) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for (kind, values), style in zip(found.items(), ("-", "--", ":"), strict=True):
        axes.plot(range(1, len(values) + 1), values, style, label=kind, linewidth=2)
    axes.set(
        xlabel="step", ylabel="negative log likelihood (nats a sample)", title="The same losses in every formulation"
    )
    axes.legend()
    figure.savefig(PLOT, dpi=80)


def main() -> None:
    quick = measure.options(__doc__).quick
    measure.one_core()
    cfg = compose(["data.train=-", "data.valid=-", "exp_dir=-", "model=base"])
    torch.manual_seed(0)
    model = build_model(cfg, speakers=2)
    with torch.no_grad():
        z = torch.cat([model.encoder.frames(make_batch(model, 1000 + i, 16, 50)[0]) for i in range(4)])
        model.quantizer.initialise(z.transpose(1, 2).reshape(-1, z.shape[1]), torch.Generator().manual_seed(0))
    small, steps = {"segments": 4, "frames": 12}, 3 if quick else 40
    text = speeds(model, **(small if quick else {"segments": 8, "frames": 24}), rounds=2 if quick else 5)
    found = losses(model, **small, steps=steps)
    shown = sorted({1, 2, 3, 5, 10, 20, 30, steps} & set(range(1, steps + 1)))
    curve = measure.table(["step", *KINDS], [[n, *(f"{found[kind][n - 1]:.4f}" for kind in KINDS)] for n in shown])
    differences = [abs(a - b) for a, b in zip(found[KINDS[0]], found[KINDS[1]], strict=True)]
    text += (
        "\n\nLosses (nats a sample) from the same weights on the same batches of tones, see `training.png`; those of "
        f"plain and of float32 differ by at most {max(differences):.1e}.\n\n{curve}"
    )
    if not quick:
        plot(found)
    measure.report("Training, base preset, one thread", f"{measure.machine()}\n\n{text}", save=not quick)


if __name__ == "__main__":
    main()
