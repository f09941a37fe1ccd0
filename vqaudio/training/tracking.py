"""What a training run reports: log, progress bar, TensorBoard, metrics.jsonl."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqaudio import distributed, files
from vqaudio.model.quantizer import usage_stats

logger = logging.getLogger("vqaudio.training")


class Tracker:
    """Collects losses and code counts between two logs, and writes their means to all outputs at once."""

    def __init__(self, exp_dir: Path, main: bool) -> None:
        self.exp_dir, self.main = exp_dir, main
        self.sums: dict[str, Tensor] = {}
        self.steps: dict[str, int] = {}  # in each sum: the phases have different losses
        self.valid: list[tuple[dict[str, float], Tensor]] = []
        self.writer: Any = None
        self.bar: Any = None
        self.file_handler: logging.Handler | None = None

    def rewind(self, step: int) -> None:
        """Open the logs, and drop what an interrupted run wrote after `step`."""
        if not self.main:
            return
        from torch.utils.tensorboard import SummaryWriter
        from tqdm import tqdm

        self.exp_dir.mkdir(parents=True, exist_ok=True)
        path = self.exp_dir / "metrics.jsonl"
        if path.exists():
            lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
            kept = [json.dumps(line) + "\n" for line in lines if line["step"] <= step]
            files.atomic_write(path, "".join(kept))
        self.writer = SummaryWriter(str(self.exp_dir / "tensorboard"), purge_step=step + 1)
        self.bar = tqdm(
            total=1000,
            initial=0,
            unit="‰",
            disable=not sys.stderr.isatty(),
            bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}",
        )
        self.file_handler = logging.FileHandler(self.exp_dir / "train.log")
        self.file_handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(self.file_handler)

    def add(self, losses: dict[str, Tensor], stats: dict[str, Tensor], norm: Tensor) -> None:
        """Add a step."""
        for name, value in {**losses, **stats, "gradient_norm": norm}.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()
            self.steps[name] = self.steps.get(name, 0) + 1

    def log(self, step: int, seconds: float, phase: str, progress: float, values: dict[str, float]) -> float:
        """Write the means since the last log, over all processes; return the codebook's usage over them."""
        processes = distributed.all_reduce(self.sums.values())
        counts = self.sums.pop("counts")
        usage = usage_stats(counts)
        means = {f"train/{name}": float(value) / self.steps[name] / processes for name, value in self.sums.items()}
        codebook = {f"codebook/{name}": value for name, value in usage.items()} if counts.sum() else {}
        self.sums, self.steps = {}, {}
        self._write(step, seconds, phase, {**means, **codebook, **values})
        if self.bar is not None:
            self.bar.update(int(1000 * progress) - self.bar.n)
        return usage["usage"]

    def add_valid(self, losses: dict[str, Tensor], stats: dict[str, Tensor]) -> None:
        """Add a validation utterance."""
        self.valid.append(({name: value.item() for name, value in losses.items()}, stats["counts"]))

    def log_valid(self, step: int, seconds: float, phase: str) -> float:
        """Write the validation means; return their sum, which decides which model is best."""
        losses = {name: sum(values[name] for values, _ in self.valid) / len(self.valid) for name in self.valid[0][0]}
        counts = torch.stack([counts for _, counts in self.valid]).sum(0)
        self.valid = []
        usage = {f"valid/{name}": value for name, value in usage_stats(counts).items()} if counts.sum() else {}
        self._write(step, seconds, phase, {**{f"valid/{name}": value for name, value in losses.items()}, **usage})
        return sum(losses.values())

    def show(self, step: int, image: Tensor, wav: Tensor | None, sample_rate: int) -> None:
        """Write a spectrogram (height, N) and a waveform (T,) to TensorBoard."""
        scaled = (image - image.min()) / (image.max() - image.min()).clamp_min(1e-6)
        self.writer.add_image("log-mel, original above prediction", scaled, step, dataformats="HW")
        if wav is not None:
            self.writer.add_audio("speech from units", wav.clamp(-1.0, 1.0), step, sample_rate)

    def _write(self, step: int, seconds: float, phase: str, values: dict[str, float]) -> None:
        if not self.main:
            return
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        line = {"step": step, "seconds": round(seconds, 1), "phase": phase}
        with files.open_to_write(self.exp_dir / "metrics.jsonl", "a") as file:
            text = json.dumps({**line, **{name: round(value, 6) for name, value in values.items()}})
            file.write(f"{text}\n".encode())
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        logger.info("step %d  %.0f s  %s  %s", step, seconds, phase, shown)

    def close(self) -> None:
        """Close the logs."""
        if self.main and self.writer is not None:
            self.writer.close()
            self.bar.close()
        if self.file_handler is not None:
            logger.removeHandler(self.file_handler)
            self.file_handler.close()
