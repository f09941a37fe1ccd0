"""A training step of preset `base` on one core: ours, with and without compiled loops, and the plain formulation.

The plain formulation (`plain.py`) is what a textbook writes. All share parameters, loss, optimizer and data, so that
their losses must fall alike.
"""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator
from unittest import mock

import measure
import plain
import torch
from torch import Tensor

from vqaudio.model import VQAutoencoder, build_model
from vqaudio.model.loops import gate, likelihood, negative_log_likelihood
from vqaudio.training.app import compose

RATE = 16000  # Hz
PLOT = measure.RESULTS.with_name("training.png")
PLAIN, FLOAT32, BF16 = "plain Conv1d, float32", "vqaudio, float32", "vqaudio, bf16"
WITHOUT_LOOPS = {FLOAT32: "vqaudio without loops, float32", BF16: "vqaudio without loops, bf16"}
KINDS = [PLAIN, FLOAT32, WITHOUT_LOOPS[FLOAT32], BF16, WITHOUT_LOOPS[BF16]]
SMALL = ["model=tiny", "model.decoder.layers=4", "model.decoder.cycle=4"]  # the network of --quick

Batch = tuple[Tensor, Tensor]


@contextlib.contextmanager
def without_loops() -> Iterator[None]:
    """Replace the compiled loops by the operations of PyTorch."""
    with contextlib.ExitStack() as stack:
        for module in (gate, likelihood):
            stack.enter_context(mock.patch.object(module, "has_loops", return_value=False))
        yield


class Trainer:
    """A copy of a model and its optimizer, which takes steps in one of the formulations."""

    def __init__(self, model: VQAutoencoder, kind: str) -> None:
        self.model, self.kind = copy.deepcopy(model), kind
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01)

    def step(self, batch: Batch) -> float:
        """Forward, backward and update; return the mean negative log likelihood in nats a sample."""
        (padded, speaker), model = batch, self.model
        wav = padded[:, model.encoder.left : padded.shape[1] - model.encoder.right]
        codes = model.bands.encode(wav)
        torch.manual_seed(0)  # of codes that restart
        self.optimizer.zero_grad(set_to_none=True)
        with without_loops() if self.kind in WITHOUT_LOOPS.values() else contextlib.nullcontext():
            if self.kind == PLAIN:
                quantized = model.quantizer(plain.encode(model.encoder, padded), 1.0)
                condition = plain.condition(model.conditioner, quantized.z_q, speaker)
                nll = plain.error(model.decoder, model.decoder.shift(codes), condition, codes)
            else:
                with torch.autocast("cpu", torch.bfloat16, enabled=self.kind.endswith("bf16")):
                    quantized = model.quantizer(model.encoder.frames(padded), 1.0)
                    logits = model.decoder(model.decoder.shift(codes), model.condition(quantized.z_q, speaker))
                    nll = negative_log_likelihood(logits, codes).mean()
            (nll + sum(quantized.losses.values())).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return nll.item()


def make_batch(model: VQAutoencoder, seed: int, segments: int, frames: int) -> Batch:
    """Return segments of gliding tones with harmonics and a little noise, which a network learns fast."""
    generator = torch.Generator().manual_seed(seed)
    length = model.encoder.left + frames * model.encoder.hop_length + model.encoder.right
    pitch, glide = torch.rand(2, segments, 1, generator=generator)
    time = torch.arange(length) / RATE
    phase = 2 * torch.pi * ((100 + 200 * pitch) * time + 200 * (glide - 0.5) * time.square())
    wav = sum(torch.sin(n * phase) / n for n in range(1, 9)) + 0.02 * torch.randn(segments, length, generator=generator)
    return 0.05 * wav, torch.ones(segments, dtype=torch.long)


def multiply_adds(model: VQAutoencoder, *, encoder: bool = True, decoder: bool = True) -> float:
    """Return the multiply-adds of a sample in the matrices of the decoder, with its conditioner, and of the encoder."""
    net, hop = model.decoder, model.encoder.hop_length
    total = 0.0
    if decoder:
        matrices = [linear.weight.numel() for linear in (*net.dilated, *net.out, net.head, net.logits)]
        total += sum(matrices) / net.bands
        total += sum(module.weight.numel() for module in (*model.conditioner.convs, net.condition)) / hop
    if encoder:
        total += sum(layer.pointwise.weight.numel() for layer in model.encoder.context) / hop
        step = 1
        for conv in model.encoder.strided:
            step *= conv.stride[0]
            total += conv.weight.numel() / step
    return total


def speeds(model: VQAutoencoder, segments: int, frames: int, rounds: int, product_size: int) -> str:
    batch = make_batch(model, 0, segments, frames)
    calls: dict[str, Callable[[], object]] = {
        kind: functools.partial(Trainer(model, kind).step, batch) for kind in KINDS
    }
    for kind, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        calls[kind] = measure.matrix_product(dtype, product_size)
    times = measure.interleaved(calls, rounds)
    samples = segments * frames * model.encoder.hop_length
    seconds = samples / RATE
    rows = []
    for kind in KINDS:
        ours, product = times[kind], times["bf16" if kind.endswith("bf16") else "float32"]
        scale = product_size**3 / (3 * multiply_adds(model) * samples)  # forward once and backward twice
        limit = measure.Times([s / scale for s in product.seconds], product.wall)
        speed = "{:.2f} ({:.2f} to {:.2f})".format(
            *(seconds / s for s in (ours.median, max(ours.seconds), min(ours.seconds)))
        )
        ratio = "" if kind == PLAIN else f"{times[PLAIN].over(ours):.2f} × (target 1.7, aim 3)"
        rows.append([kind, speed, f"{seconds / limit.median:.1f}", f"{100 * limit.over(ours):.0f} %", ratio])
    header = ["formulation", "audio seconds a second", "limit: its matrix products", "of the limit", "against plain"]
    size = f"{segments} segments of {frames} frames ({seconds:.1f} s of audio)"
    gain = {kind: times[other].over(times[kind]) for kind, other in WITHOUT_LOOPS.items()}
    return (
        f"A step of {size}: forward, backward, clipping and AdamW.\n\n{measure.table(header, rows)}\n\n"
        f"The compiled loops make a step {gain[FLOAT32]:.2f} × as fast in float32 and {gain[BF16]:.2f} × in bf16."
    )


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
    for kind, style in ((PLAIN, "-"), (FLOAT32, "--"), (BF16, ":")):
        axes.plot(range(1, len(found[kind]) + 1), found[kind], style, label=kind, linewidth=2)
    axes.set(
        xlabel="step", ylabel="negative log likelihood (nats a sample)", title="The same losses in every formulation"
    )
    axes.legend()
    figure.savefig(PLOT, dpi=80)


def main() -> None:
    quick = measure.options(__doc__).quick
    measure.one_core()
    cfg = compose(["data.train=-", "data.valid=-", "exp_dir=-", *(SMALL if quick else ["model=base"])])
    torch.manual_seed(0)
    model = build_model(cfg, speakers=2)
    with torch.no_grad():
        z = model.encoder.frames(make_batch(model, 1000, 16, 50)[0])
        model.quantizer.initialise(z.transpose(1, 2).reshape(-1, z.shape[1]), torch.Generator().manual_seed(0))
    if quick:
        text = speeds(model, segments=2, frames=4, rounds=1, product_size=256)
        found = losses(model, segments=2, frames=4, steps=2)
    else:
        text = speeds(model, segments=8, frames=24, rounds=5, product_size=measure.PRODUCT_SIZE)
        found = losses(model, segments=4, frames=12, steps=40)
    steps = len(found[PLAIN])
    shown = sorted({1, 2, 3, 5, 10, 20, 30, steps} & set(range(1, steps + 1)))
    curve = measure.table(["step", *KINDS], [[n, *(f"{found[kind][n - 1]:.4f}" for kind in KINDS)] for n in shown])
    differences = [abs(a - b) for a, b in zip(found[PLAIN], found[FLOAT32], strict=True)]
    text += (
        "\n\nLosses (nats a sample) from the same weights on the same batches of tones, see `training.png`; those of "
        f"plain and of float32 differ by at most {max(differences):.1e}.\n\n{curve}"
    )
    if not quick:
        plot(found)
    title = "Training, a small network, one thread" if quick else "Training, base preset, one thread"
    measure.report(title, f"{measure.machine()}\n\n{text}", save=not quick)


if __name__ == "__main__":
    main()
