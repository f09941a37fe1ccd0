"""A GPU beside the CPU: equal codes and samples, and the speed of training, extraction and sampling.

`tools/gpu_check.sh` runs the parts, each with a time limit, and collects what they print. The environment variable
VQAUDIO_CHECK_DEVICE names the device, by default the GPU, without one the CPU. The product is a large matrix product on
the same device; `--quick` has small networks, and its figures mean nothing.
"""

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import measure
import phases
import torch
from torch import Tensor
from training import SMALL, make_batch, multiply_adds

from vqaudio.model import VQAutoencoder, build_model
from vqaudio.sampling import generate
from vqaudio.training.app import compose
from vqaudio.training.objective import Objective

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))
from tiny_training import tiny_overrides, write_tones

DEVICE = torch.device(os.environ.get("VQAUDIO_CHECK_DEVICE", "cuda" if torch.cuda.is_available() else "cpu"))
RATE = 16000  # Hz
MIN_EQUAL_CODES, MAX_LOGIT_DIFFERENCE, MIN_EQUAL_LEVELS = 0.99, 1e-3, 0.9
"""Tolerances. A GPU adds in another order, and where two codes or levels are almost equally good it takes another one;
from there on a sampled utterance differs. The difference of logits is relative to the largest.
"""
MAX_NLL_DIFFERENCE = 0.02
"""Between a training with a process group and one without, in nats a sample: sums on a GPU have no fixed order."""


def make_net(quick: bool) -> Objective:
    """Return preset base, untrained, with a codebook of its own latents."""
    cfg = compose(["data.train=-", "data.valid=-", "exp_dir=-", *(SMALL if quick else ["model=base"])])
    torch.manual_seed(0)
    net = Objective(build_model(cfg, speakers=2), cfg)
    quantizer = net.model.quantizer
    with torch.no_grad():
        z = net.model.encoder.frames(make_batch(net.model, 1000, 16, 50)[0])
        quantizer.initialise(z.transpose(1, 2).reshape(-1, z.shape[1]), torch.Generator().manual_seed(0))
    return net


def synchronised(call: Callable[[], object]) -> Callable[[], object]:
    """Return a call that waits for the device."""

    def run() -> None:
        call()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()

    return run


@torch.inference_mode()
def equality(quick: bool) -> str:
    """Return a table of what both devices compute.

    Raises:
        SystemExit: they differ more than the tolerances.
    """
    here = make_net(quick).model.eval()
    there = copy.deepcopy(here).to(DEVICE)
    padded, speaker = make_batch(here, 7, 4 if quick else 16, 100)
    both: list[tuple[Tensor, Tensor, Tensor]] = []
    for model in (here, there):
        device = next(model.parameters()).device
        codes = model.quantizer.encode(model.encoder.frames(padded.to(device))).cpu()
        first = both[0][0] if both else codes  # the rest of the model gets the same codes
        condition = model.condition(model.quantizer.lookup(first.to(device)), speaker.to(device))[:, :, :4]
        wav = padded[:, model.encoder.left :][:, : 4 * model.encoder.hop_length]
        steps = model.bands.encode(wav.to(device))
        logits = model.decoder(model.decoder.shift(steps), condition).cpu()
        seeds = list(range(len(condition)))
        levels = generate(model.decoder, list(condition), steps_per_frame=model.steps_per_frame, seeds=seeds)
        both.append((codes, logits, torch.stack(levels).cpu()))
    (codes, logits, levels), (other_codes, other_logits, other_levels) = both
    same_codes = (codes == other_codes).float().mean().item()
    difference = ((logits - other_logits).abs().max() / logits.abs().max()).item()
    same_levels = (levels == other_levels).float().mean().item()
    rows = [
        ["equal codes", f"{same_codes:.4f}", f"at least {MIN_EQUAL_CODES}"],
        ["largest difference of logits", f"{difference:.1e}", f"at most {MAX_LOGIT_DIFFERENCE}"],
        ["equal sampled levels, 4 frames", f"{same_levels:.4f}", f"at least {MIN_EQUAL_LEVELS}"],
    ]
    if same_codes < MIN_EQUAL_CODES or difference > MAX_LOGIT_DIFFERENCE or same_levels < MIN_EQUAL_LEVELS:
        raise SystemExit(f"{DEVICE} differs from the CPU:\n{measure.table(['what', 'found', 'tolerance'], rows)}")
    return measure.table(["CPU and device", "found", "tolerance"], rows)


def product(dtype: torch.dtype, size: int, rounds: int) -> float:
    """Return the multiply-adds a second of a large matrix product on the device."""
    a, b = (torch.randn(size, size, device=DEVICE).to(dtype) for _ in range(2))
    return size**3 / statistics.median(phases.wall(synchronised(lambda: torch.mm(a, b)), rounds))


def row(name: str, audio: float, arithmetic: float, call: Callable[[], object], peak: float, rounds: int) -> list[str]:
    """Return the row of a call that handles seconds of audio with so many multiply-adds."""
    taken = statistics.median(phases.wall(synchronised(call), rounds))
    return [name, f"{1000 * taken:.1f}", f"{audio / taken:.0f}", f"{100 * arithmetic / taken / peak:.1f} %"]


def training(quick: bool, compiled: bool) -> list[list[str]]:
    """Return the rows of training steps; with `compiled`, of the phase of the WaveNet alone."""
    rounds, size = (1, 256) if quick else (20, 8192)
    rows = []
    for kind, dtype in phases.PRECISIONS.items():
        peak = product(dtype, size, rounds)
        for phase in ("decoder",) if compiled else ("codebook", "decoder"):
            net = make_net(quick).to(DEVICE)
            if compiled:
                net.model.decoder.compile()
            step, seconds = phases.steps(net, phase, dtype)
            name = f"training, {phase} phase, {kind}{', compiled' if compiled else ''}"
            rows.append(row(name, seconds, phases.arithmetic(net, phase), step, peak, rounds))
    return rows


@torch.inference_mode()
def inference(quick: bool) -> list[list[str]]:
    """Return the rows of extraction and of sampling, in float32 as both are."""
    rounds, size = (1, 256) if quick else (5, 8192)
    peak = product(torch.float32, size, rounds)
    model: VQAutoencoder = make_net(quick).model.to(DEVICE).eval()
    segments, frames = (2, 50) if quick else (32, 500)
    padded = make_batch(model, 0, segments, frames)[0].to(DEVICE)
    samples = segments * frames * model.encoder.hop_length
    of_encoder = multiply_adds(model, decoder=False) * samples

    def encode() -> Tensor:
        return model.quantizer.encode(model.encoder.frames(padded))

    rows = [row("extraction, encoder and codes", samples / RATE, of_encoder, encode, peak, rounds)]
    utterances, frames = (2, 2) if quick else (64, 50)
    codes = torch.zeros(utterances, model.quantizer.groups, frames, dtype=torch.long, device=DEVICE)
    condition = list(model.condition(model.quantizer.lookup(codes), torch.zeros_like(codes[:, 0, 0])))
    samples = utterances * frames * model.encoder.hop_length
    of_decoder = multiply_adds(model, encoder=False) * samples
    options = {"steps_per_frame": model.steps_per_frame, "seeds": list(range(utterances))}

    def sample() -> list[Tensor]:
        return generate(model.decoder, condition, **options)

    return [*rows, row("sampling", samples / RATE, of_decoder, sample, peak, rounds)]


def last_nll(folder: Path) -> float:
    """Return the last negative log likelihood of a training on its validation set."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["valid/nll"] for line in lines if "valid/nll" in line][-1]


def group(quick: bool) -> str:  # noqa: ARG001
    """Train a tiny model alone and under torchrun in one process, whose group is that of NCCL on a GPU; resume both.

    Raises:
        SystemExit: the losses differ.
    """
    program, found = Path(sys.executable).with_name("vqaudio"), {}
    with tempfile.TemporaryDirectory() as folder:
        data = write_tones(Path(folder) / "data")
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
        for name, launcher in (("alone", []), ("torchrun", torchrun)):
            for steps in (30, 40):
                options = [f"trainer.device={DEVICE.type}", "trainer.codebook_phase.segments=64"]
                command = ["train", *tiny_overrides(data, Path(folder) / name, steps=steps), *options]
                subprocess.run([*launcher, program, *command], check=True, stdout=sys.stderr)
            found[name] = last_nll(Path(folder) / name)
    text = (
        f"NLL on the validation set after 40 steps, resumed at 30: {found['alone']:.4f} alone, {found['torchrun']:.4f} "
        f"under torchrun with one process and {'NCCL' if DEVICE.type == 'cuda' else 'gloo'}; tolerance "
        f"{MAX_NLL_DIFFERENCE}."
    )
    if abs(found["alone"] - found["torchrun"]) > MAX_NLL_DIFFERENCE:
        raise SystemExit(text)
    return text


PARTS: dict[str, Callable[[bool], str]] = {
    "equality": equality,
    "group": group,
    "speed": lambda quick: speeds(training(quick, compiled=False) + inference(quick)),
    "compiled": lambda quick: speeds(training(quick, compiled=True)),
}


def speeds(rows: list[list[str]]) -> str:
    """Return the table of some rows."""
    return measure.table(["work", "ms", "audio seconds a second", "of the product's speed"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=list(PARTS), help="by default equality and speed")
    parser.add_argument("--quick", action="store_true", help="small networks, some seconds")
    args = parser.parse_args()
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "the CPU"
    print(f"{name}; {measure.machine()}\n")
    for part in [args.part] if args.part else ["equality", "speed"]:
        print(PARTS[part](args.quick) + "\n")


if __name__ == "__main__":
    main()
