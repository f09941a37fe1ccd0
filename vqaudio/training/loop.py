"""The training loop: one pass from top to bottom, in two phases.

The codebook phase trains the encoder, the quantizer and two heads, which give the codes a meaning soon; the
joint phase adds the WaveNet. Progress, a share from 0 to 1 of the steps or of the seconds, whichever is further along,
drives the learning rate, the temperature and the phases.
"""

import contextlib
import logging
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vqaudio import distributed, model_directory
from vqaudio.errors import JobError
from vqaudio.files import locked
from vqaudio.model import build_model
from vqaudio.training.dataset import Batch, SegmentDataset, prefetch, speaker_list
from vqaudio.training.objective import Objective
from vqaudio.training.state import load_state, require_same_model, save_state, states
from vqaudio.training.tracking import Tracker
from vqaudio.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from omegaconf import DictConfig

logger = logging.getLogger("vqaudio.training")

INITIALISATION_FRAMES = 40_000  # latents that k-means starts the codebook from


def train(cfg: "DictConfig") -> None:
    """Train what the configuration says into `exp_dir`; resume from the state found there.

    Raises:
        UserError: a mistake in configuration or data.
        JobError: the loss is not finite, or a signal asked to stop (the state is saved first).
    """
    exp_dir = Path(cfg.exp_dir)
    with distributed.processes() as world, locked(exp_dir) if world.main else contextlib.nullcontext():
        run = Run(cfg, exp_dir, world)
        run.resume()
        with contextlib.closing(run.tracker), stop_signals() as stop:
            run.loop(stop)


class Run:
    """Everything a training run holds; `loop` reads straight down."""

    def __init__(self, cfg: "DictConfig", exp_dir: Path, world: distributed.World) -> None:
        self.cfg, self.exp_dir, self.world = cfg, exp_dir, world
        self.device = world.device(cfg.trainer.device)
        self.precision = precision(cfg.trainer.precision, self.device)
        speakers = speaker_list(Path(cfg.data.train))
        torch.manual_seed(cfg.seed)
        self.model = build_model(cfg, len(speakers))
        self.net = Objective(self.model, cfg).to(self.device)
        self.average = WeightAverage(self.net, cfg.trainer.ema_decay)
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=cfg.trainer.lr, betas=(0.9, 0.99), weight_decay=cfg.trainer.weight_decay
        )
        self.data = self._dataset(cfg.data.train, speakers, cfg.trainer.speaker_dropout)
        self.valid = self._dataset(cfg.data.valid, speakers, 0.0)
        self.step, self.elapsed, self.best, self.phase = 0, 0.0, math.inf, ""
        self.tracker = Tracker(exp_dir, world.main)
        if world.main:
            require_same_model(exp_dir, cfg, speakers)
            model_directory.save_config(exp_dir, cfg, speakers)
        torch.manual_seed(cfg.seed + world.rank)  # processes draw different noise

    def _dataset(self, data: str, speakers: list[str], dropout: float) -> SegmentDataset:
        encoder = self.model.encoder
        return SegmentDataset(
            Path(data),
            speakers=speakers,
            sample_rate=self.cfg.data.sample_rate,
            level_db=self.cfg.data.level_db,
            hop_length=encoder.hop_length,
            left=encoder.left,
            right=encoder.right,
            speaker_dropout=dropout,
            seed=self.cfg.seed,
        )

    def loop(self, stop: list[str]) -> None:
        """Train until progress is 1."""
        cfg, net = self.cfg.trainer, distributed.wrap(self.net)
        logger.info(
            "%.2f hours of speech, %d speakers, %.2f M parameters, %s, %s",
            self.data.seconds / 3600,
            len(self.data.speakers) - 1,
            sum(p.numel() for p in self.model.parameters()) / 1e6,
            self.device,
            str(self.precision).removeprefix("torch."),
        )
        began = time.monotonic() - self.elapsed
        batches: Iterator[Batch] | None = None
        while (progress := self.progress()) < 1:
            if self.enter_phase(progress) or batches is None:
                spec = cfg.joint_phase if self.phase == "joint" else cfg.codebook_phase
                batches = self.batches(spec.segments, spec.frames, spec.speed)
            batch = next(batches).to(self.device)
            temperature = self.temperature(progress)
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate(progress)
            with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                losses, stats = net(batch, temperature, self.phase == "joint")
            loss = sum(losses.values())
            if not torch.isfinite(loss):
                raise JobError(
                    f"{self.exp_dir}: the loss is {loss.item()} at step {self.step}; lower trainer.lr "
                    f"({cfg.lr}) or set trainer.precision=float32 and run again: it resumes from the last state"
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(net.parameters(), cfg.clip)
            self.optimizer.step()
            self.average.update()
            self.step += 1
            self.elapsed = self.world.agree(time.monotonic() - began)
            self.tracker.add(losses, stats, norm)
            self.housekeeping(progress, temperature)
            if self.world.agree(float(bool(stop))):
                self.save_state()
                raise JobError(f"{self.exp_dir}: stopped by a signal at step {self.step}; the same command resumes")
        self.validate()
        self.save_state()

    def housekeeping(self, progress: float, temperature: float) -> None:
        """Log, validate and save when it is time to."""
        cfg = self.cfg.trainer
        if self.step % cfg.log_every == 0:
            values = {"lr": self.learning_rate(progress), "temperature": temperature}
            usage = self.tracker.log(self.step, self.elapsed, self.phase, progress, values)
            if self.phase != "warmup" and usage < cfg.collapse_usage:
                logger.warning(
                    "CODEBOOK COLLAPSE at step %d: %.0f %% of the codes are in use (collapse_usage %.0f %%). Raise "
                    "quantizer restart_threshold or diversity, lower trainer.lr, or start the codebook later "
                    "(trainer.codebook_start).",
                    self.step,
                    100 * usage,
                    100 * cfg.collapse_usage,
                )
        if self.step % cfg.validate_every == 0:
            self.validate()
        if self.step % cfg.save_every == 0:
            self.save_state()

    def progress(self) -> float:
        """Return how much of the run is done, from 0 to 1."""
        cfg = self.cfg.trainer
        share = self.step / cfg.max_steps
        return max(share, self.elapsed / cfg.max_seconds) if cfg.max_seconds else share

    def enter_phase(self, progress: float) -> bool:
        """Move to the phase that progress asks for; return whether the batches change."""
        before, cfg = self.phase, self.cfg.trainer
        if progress >= cfg.codebook_start and not self.model.quantizer.initialised:
            self.start_codebook()
        if progress >= cfg.decoder_start:
            self.phase = "joint"
        else:
            self.phase = "codebook" if self.model.quantizer.initialised else "warmup"
        if before != self.phase and before:
            logger.info("step %d: %s phase", self.step, self.phase)
            self.average.restart()
            self.best = math.inf  # losses of different phases do not compare
        return before != self.phase and self.phase == "joint"

    @torch.no_grad()
    def start_codebook(self) -> None:
        """Start the codebook by k-means on the encoder's outputs; every process gets the same one."""
        spec, model = self.cfg.trainer.codebook_phase, self.model
        latents: list[Tensor] = []
        for i in range(math.ceil(INITIALISATION_FRAMES / (spec.segments * spec.frames))):
            batch = self.data.batch(i, size=spec.segments, frames=spec.frames, speed=0.0, stream=1_000_000)
            batch = batch.to(self.device)
            z = model.encoder.frames(batch.padded)
            latents.append(z.transpose(1, 2)[batch.mask])
        generator = torch.Generator(self.device).manual_seed(self.cfg.seed)
        model.quantizer.initialise(torch.cat(latents), generator)
        distributed.broadcast(model.quantizer.state_dict().values())

    def batches(self, segments: int, frames: int, speed: float) -> Iterator[Batch]:
        """Read batches ahead, from the current step on."""
        return prefetch(
            lambda step: self.data.batch(step, size=segments, frames=frames, speed=speed, stream=self.world.rank),
            self.step,
        )

    def learning_rate(self, progress: float) -> float:
        """Linear warm-up, then a cosine down to `final_lr`."""
        cfg = self.cfg.trainer
        cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, progress))
        return cfg.lr * min(1.0, (progress + 1e-4) / cfg.warmup) * (cfg.final_lr + (1 - cfg.final_lr) * cosine)

    def temperature(self, progress: float) -> float:
        """Return the Gumbel temperature at a progress; k-means has none and gets 1."""
        cfg = self.cfg.quantizer.get("temperature")
        if cfg is None:
            return 1.0
        start = self.cfg.trainer.codebook_start
        share = min(1.0, max(0.0, (progress - start) / (1 - start)))
        if cfg.schedule == "exponential":
            return cfg.start * (cfg.end / cfg.start) ** share
        return cfg.start + (cfg.end - cfg.start) * share

    @torch.no_grad()
    def validate(self) -> None:
        """Measure the averaged weights on the validation set, and keep them when they are the best so far."""
        if self.world.main:
            cfg = self.cfg.trainer
            count = min(cfg.validate_utterances, len(self.valid.utterances))
            with self.average.swapped_in():
                self.net.eval()
                for i in range(count):
                    batch = self.valid.whole(i * len(self.valid.utterances) // count, 100).to(self.device)
                    with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                        self.tracker.add_valid(*self.net(batch, 1.0, self.phase == "joint"))
                example = self.valid.whole(0, 100).to(self.device)
                self.tracker.show(self.step, *self.net.example(example, self.phase == "joint"), self.data.sample_rate)
                self.net.train()
                score = self.tracker.log_valid(self.step, self.elapsed, self.phase)
                if score < self.best:
                    self.best = score
                    model_directory.save_model(self.exp_dir, self.model.state_dict())
        self.world.barrier()

    def save_state(self) -> None:
        """Save all that the rest of the run depends on."""
        if self.world.main:
            save_state(self.exp_dir, self.step, self.state())
        self.world.barrier()

    def state(self) -> dict[str, Any]:
        """Return the training state as tensors and plain values."""
        return {
            "step": self.step,
            "elapsed": self.elapsed,
            "best": self.best,
            "phase": self.phase,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }

    def resume(self) -> None:
        """Continue from the newest state that is whole."""
        for folder in states(self.exp_dir):
            try:
                state = load_state(folder)
            except ValueError as error:
                logger.warning("%s; trying the one before", error)
                continue
            self.step, self.elapsed = state["step"], state["elapsed"]
            self.best, self.phase = state["best"], state["phase"]
            self.net.load_state_dict(state["net"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["random"])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state_all(state["random_cuda"])
            logger.info("resuming from %s", folder)
            break
        self.tracker.rewind(self.step)


def precision(choice: str, device: torch.device) -> torch.dtype:
    """Return the type of autocast: `auto` is bf16 where the processor multiplies it natively."""
    if choice == "auto":
        native = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if native else torch.float32
    return {"bf16": torch.bfloat16, "float32": torch.float32}[choice]


@contextlib.contextmanager
def stop_signals() -> Iterator[list[str]]:
    """Yield a list that SIGTERM or SIGUSR1 adds its name to, so that the loop can save and stop."""
    received: list[str] = []
    handlers = {
        number: signal.signal(number, lambda caught, _: received.append(signal.Signals(caught).name))
        for number in (signal.SIGTERM, signal.SIGUSR1)
    }
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
