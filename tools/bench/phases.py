"""A training step of the mini recipe in both phases, on one and on all cores: audio seconds a second, and its limit.

The limit is the step's matrix products at the speed of a large product on as many threads. Unlike the other benchmarks
this one takes wall time, on all cores. To measure the processor as
if it had AVX2 only, set ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2
NUMBA_CPU_NAME=haswell.
"""

import statistics
import time
from collections.abc import Callable

import measure
import torch
from training import multiply_adds

from vqaudio.model import build_model
from vqaudio.training.app import compose
from vqaudio.training.dataset import Batch
from vqaudio.training.objective import Objective
from vqaudio.training.optimizer import make_optimizer
from vqaudio.training.weight_average import WeightAverage

RATE = 16000  # Hz
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}


def make_batch(net: Objective, segments: int, frames: int) -> Batch:
    """Return segments of noise, whose labels are random."""
    encoder = net.model.encoder
    wav = 0.05 * torch.randn(segments, encoder.left + frames * encoder.hop_length + encoder.right)
    labels = torch.randint(net.cfg.trainer.labels, (segments, frames))
    return Batch(wav, torch.ones(segments, dtype=torch.long), torch.ones(segments, frames, dtype=torch.bool), labels)


def steps(net: Objective, phase: str, dtype: torch.dtype) -> tuple[Callable[[], object], float]:
    """Return a training step of a phase, and the seconds of audio that it learns from."""
    spec = net.cfg.trainer[f"{phase}_phase"]
    margin = net.margin if phase == "decoder" else 0
    device = next(net.parameters()).device
    batch = make_batch(net, spec.segments, spec.frames + 2 * margin).to(device)
    optimizer, average = make_optimizer(net, net.cfg.trainer), WeightAverage(net, net.cfg.trainer.ema_decay)

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            losses, _ = net(batch, 1.0, phase == "decoder")
        optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), net.cfg.trainer.clip)
        optimizer.step()
        average.update()

    return step, spec.segments * spec.frames * net.model.encoder.hop_length / RATE


def arithmetic(net: Objective, phase: str) -> float:
    """Return the multiply-adds of a step: forward once and backward twice, of the encoder forward alone if it is fixed.

    Of the encoder's context, rows of the neighbours included.
    """
    spec, encoder, hop = net.cfg.trainer[f"{phase}_phase"], net.model.encoder, net.model.encoder.hop_length
    of_encoder = multiply_adds(net.model, encoder=True, decoder=False)
    rows = (encoder.left + encoder.right) / hop + spec.frames
    if phase == "codebook":
        return 3 * of_encoder * spec.segments * rows * hop
    of_decoder = multiply_adds(net.model, encoder=False, decoder=True)
    return spec.segments * hop * (of_encoder * (rows + 2 * net.margin) + 3 * of_decoder * spec.frames)


def wall(call: Callable[[], object], rounds: int) -> list[float]:
    """Return the wall time of each call, after two that warm up."""
    times = []
    for _ in range(rounds + 2):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times[2:]


def main() -> None:
    quick = measure.options(__doc__).quick
    rounds, size = (2, 512) if quick else (12, 2048)
    cfg = compose(["model=tiny", "trainer=mini", "data.train=-", "data.valid=-", "exp_dir=-"])
    torch.manual_seed(0)
    net = Objective(build_model(cfg, speakers=7), cfg)
    latents = torch.randn(4000, net.model.quantizer.latent_dim)
    net.model.quantizer.initialise(latents, torch.Generator().manual_seed(0))
    precisions = ["float32"] if torch.backends.cpu.get_cpu_capability() == "AVX2" else list(PRECISIONS)
    rows = []
    for threads in sorted({1, measure.CORES}):
        torch.set_num_threads(threads)
        for name in precisions:
            for phase in ("codebook", "decoder"):
                step, seconds = steps(net, phase, PRECISIONS[name])
                taken, product = wall(step, rounds), wall(measure.matrix_product(PRECISIONS[name], size), rounds)
                median = statistics.median(taken)
                limit = arithmetic(net, phase) * statistics.median(product) / size**3
                ms = "{:.0f} ({:.0f} to {:.0f})".format(*(1000 * s for s in (median, min(taken), max(taken))))
                share = f"{100 * limit / median:.0f} %"
                rows.append([phase, name, threads, ms, f"{seconds / median:.1f}", share])
    header = ["phase", "precision", "threads", "ms a step, median (range)", "audio seconds a second", "of the limit"]
    capability = torch.backends.cpu.get_cpu_capability()
    title = f"Training steps of the mini recipe, {capability}"
    about = f"{measure.machine()}\n\nWall times, on all cores."
    measure.report(title, f"{about}\n\n{measure.table(header, rows)}", save=not quick)


if __name__ == "__main__":
    main()
