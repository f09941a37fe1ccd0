"""The training loop: one pass from top to bottom, in two phases.

The codebook phase trains the encoder, the quantizer and two heads, which give the codes a meaning; the decoder phase
trains the WaveNet on these codes as they are. `vqaudio.training.schedule` says when. Where the units are given, made by
another tool, there is the decoder phase alone (`vqaudio.training.given_units`).
"""

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vqaudio import distributed, model_directory
from vqaudio.errors import JobError, StoppedError
from vqaudio.files import locked
from vqaudio.model import build_model
from vqaudio.outputs import claim_folder
from vqaudio.released import model_folder
from vqaudio.training.dataset import Batch, SegmentDataset, speaker_list
from vqaudio.training.given_units import with_units
from vqaudio.training.initial import begin_with, with_settings
from vqaudio.training.objective import Objective
from vqaudio.training.optimizer import forget_rows, make_optimizer, restore_optimizer
from vqaudio.training.prefetch import prefetch, workers_for
from vqaudio.training.recordings import UNREADABLE_LIST, read_unreadable, write_unreadable
from vqaudio.training.schedule import PHASES, learning_rate, phase_at, run_progress, temperature_at
from vqaudio.training.signals import stop_signals
from vqaudio.training.start import start, start_codebook
from vqaudio.training.state import (
    random_state,
    require_same_model,
    restore_random_state,
    resume_newest,
    save_state,
)
from vqaudio.training.tracking import Tracker
from vqaudio.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from omegaconf import DictConfig

logger = logging.getLogger("vqaudio.training")

VALIDATION_SECONDS = 2.0
"""Length of the middle of an utterance that validation takes: bounded memory, and hardly any silence."""


def train(cfg: "DictConfig") -> None:
    """Train what the configuration says into `exp_dir`; resume from the state found there.

    Raises:
        UserError: a mistake in configuration or data, or `exp_dir` may not be written into.
        JobError: the loss is not finite, most recordings cannot be read, or another process ended.
        StoppedError: a signal asked to stop; the state is saved.
    """
    exp_dir, cfg = Path(cfg.exp_dir), with_settings(with_units(cfg))
    data = [cfg.data.train, cfg.data.valid, cfg.data.units, cfg.data.valid_units]
    inputs = [*(Path(path) for path in data if path), *([model_folder(cfg.init)] if cfg.init else [])]
    claim_folder(exp_dir, model_directory.KIND, inputs=inputs)
    with (
        distributed.processes(cfg.trainer.device) as world,
        locked(exp_dir) if world.main else contextlib.nullcontext(),
    ):
        if not world.main:
            logger.setLevel(logging.WARNING)  # the first process speaks for all
        run = Training(cfg, exp_dir, world)
        run.resume()
        with contextlib.closing(run.tracker), stop_signals() as stop:
            run.loop(stop)


class Training:
    """Everything a training run holds; `loop` reads straight down."""

    def __init__(self, cfg: "DictConfig", exp_dir: Path, world: distributed.World) -> None:
        self.cfg, self.exp_dir, self.world, self.device = cfg, exp_dir, world, world.device
        self.precision = precision(cfg.trainer.precision, self.device)
        speakers = speaker_list(Path(cfg.data.train))
        require_same_model(exp_dir, cfg, speakers)
        torch.manual_seed(cfg.seed)
        self.model = build_model(cfg, len(speakers))
        if cfg.init is not None:
            begin_with(self.model, cfg.init, speakers)
        self.net = Objective(self.model, cfg).to(self.device)
        if cfg.trainer.compile:
            self.model.decoder.compile()
        self.average = WeightAverage(self.net, cfg.trainer.ema_decay)
        self.optimizer = make_optimizer(self.net, cfg.trainer)
        encoder = self.model.encoder
        self.data = SegmentDataset.of(cfg, "train", speakers, encoder, cfg.trainer.speaker_dropout)
        self.valid = SegmentDataset.of(cfg, "valid", speakers, encoder, 0.0)
        self.step, self.elapsed, self.phase = 0, 0.0, PHASES[0 if cfg.init is None else 1]
        self.best, self.validated = math.inf, -1  # the best score of this phase; the step of the last validation
        self.tracker = Tracker(exp_dir, world.main)
        if world.main:
            model_directory.save_config(exp_dir, cfg, speakers)
        torch.manual_seed(cfg.seed + world.rank)  # processes draw different noise

    def loop(self, stop: list[int]) -> None:
        """Train until progress is 1, or until a signal is in `stop`."""
        if self.step == 0:
            start(self.net, self.data, self.cfg, self.world)
            self.average.restart()
        if self.net.label_head is not None:
            for data in (self.data, self.valid):
                data.labeller.use(self.net.label_head.space)
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
        while (progress := run_progress(self.step, self.elapsed, cfg)) < 1:
            if self.enter_phase(progress) or batches is None:
                batches = self.batches()
            batch = next(batches).to(self.device)
            temperature = temperature_at(progress, self.cfg.quantizer.get("temperature"), cfg)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(progress, self.phase, cfg)
            with self.autocast():
                losses, stats = net(batch, temperature, self.phase == "decoder")
            loss = sum(losses.values())
            if not torch.isfinite(loss):
                raise JobError(
                    f"{self.exp_dir}: the loss is {loss.item()} at step {self.step}; lower trainer.lr "
                    f"({cfg.lr}) or set trainer.precision=float32 and run again: it resumes from the last state"
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(net.parameters(), cfg.clip)
            restarted = stats.pop("restarted", None)
            if restarted is not None and isinstance(self.model.quantizer.codebook, nn.Parameter):
                forget_rows(self.optimizer, self.model.quantizer.codebook, restarted)
            self.optimizer.step()
            self.average.update()
            self.step += 1
            self.elapsed = self.world.agree(time.monotonic() - began)
            self.tracker.add(losses, stats, norm)
            self.housekeeping(progress, temperature)
            if number := int(self.world.agree(float(max(stop, default=0)))):
                self.save_state()
                message = f"{self.exp_dir}: stopped by a signal at step {self.step}; the same command resumes"
                raise StoppedError(message, number)
        self.finish()

    def finish(self) -> None:
        """Validate and save a last time, and count the utterances that could not be read."""
        if self.validated < self.step:
            self.validate()
        self.save_state()
        if self.world.main and (count := len(self.data.recordings.unreadable)):
            logger.warning(
                "%d utterances could not be read and were skipped; see %s", count, self.exp_dir / UNREADABLE_LIST
            )

    def autocast(self) -> torch.autocast:
        """Return a context in which matrix products have the precision of the run."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    def housekeeping(self, progress: float, temperature: float) -> None:
        """Log, validate and save when it is time to."""
        cfg = self.cfg.trainer
        if self.step % cfg.log_every == 0:
            values = {"lr": learning_rate(progress, self.phase, cfg), "temperature": temperature}
            usage = self.tracker.log(self.step, self.elapsed, self.phase, progress, values)
            if self.world.main and self.phase != "warmup" and usage < cfg.collapse_usage:
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

    def enter_phase(self, progress: float) -> bool:
        """Move to the phase that progress asks for; return whether the batches change."""
        before = self.phase
        self.phase = phase_at(progress, before, self.cfg.trainer)
        if self.phase == "decoder" and before != "decoder":
            self.average.take_over()  # the units of the saved model, which the WaveNet is to speak
        if self.phase != "warmup" and not self.model.quantizer.initialised:
            start_codebook(self.model, self.data, self.cfg.trainer.codebook_phase, self.cfg.seed, self.world)
        if self.phase != before:
            logger.info("step %d: %s phase", self.step, self.phase)
            self.average.restart()
            self.best = math.inf  # losses of different phases do not compare
        return self.phase != before and self.phase == "decoder"

    def batches(self) -> Iterator[Batch]:
        """Read batches ahead, from the current step on."""
        trainer, on_gpu = self.cfg.trainer, self.device.type == "cuda"
        if self.phase == "decoder":
            spec, others = trainer.decoder_phase, {"margin": self.net.margin}
        else:
            spec, others = trainer.codebook_phase, {"speed": trainer.codebook_phase.speed}
        others |= {"size": spec.segments, "frames": spec.frames, "rank": self.world.rank, "processes": self.world.size}

        def make(step: int) -> Batch:
            batch = self.data.batch(step, **others)
            return batch.pinned() if on_gpu else batch

        return prefetch(make, self.step, workers_for(self.device))

    @torch.no_grad()
    def validate(self) -> None:
        """Measure the averaged weights on the validation set, and keep them when they are the best so far."""
        if self.world.main:
            decoder = self.phase == "decoder"
            frames = round(VALIDATION_SECONDS * self.cfg.data.sample_rate / self.model.encoder.hop_length)
            with self.average.swapped_in():
                self.net.eval()
                for i, batch in enumerate(self.valid.middles(self.cfg.trainer.validate_utterances, frames)):
                    batch = batch.to(self.device)
                    with self.autocast():
                        self.tracker.add_valid(*self.net(batch, 1.0, decoder))
                    if i == 0:
                        self.tracker.show(self.step, *self.net.example(batch, decoder), self.cfg.data.sample_rate)
                self.net.train()
                score = self.tracker.log_valid(self.step, self.elapsed, self.phase)
                if score <= self.best:  # of equals the last: a loss of weight 0 is 0 for all
                    self.best = score
                    model_directory.save_model(self.exp_dir, self.model.state_dict())
        self.validated = self.step
        self.world.barrier()

    def save_state(self) -> None:
        """Save all that the rest of the run depends on, and the list of utterances that cannot be read."""
        state = self.state()
        self.data.recordings.share_unreadable(self.device)
        if self.world.main:
            save_state(self.exp_dir, self.step, state)
            unreadable = self.data.recordings.unreadable | self.valid.recordings.unreadable
            write_unreadable(self.exp_dir, unreadable)
        self.world.barrier()

    def state(self) -> dict[str, Any]:
        """Return the training state as tensors and plain values; all processes take part."""
        return {
            "step": self.step,
            "elapsed": self.elapsed,
            "phase": self.phase,
            "best": self.best,
            "validated": self.validated,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": random_state(self.world),
        }

    def resume(self) -> None:
        """Continue from the newest state that can be used."""
        resume_newest(self.exp_dir, self.restore, self.world)
        for data in (self.data, self.valid):
            data.recordings.unreadable |= read_unreadable(self.exp_dir, data.recordings.utterances)
        self.tracker.rewind(self.step)

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self.step, self.elapsed, self.phase = state["step"], state["elapsed"], state["phase"]
        self.best, self.validated = state["best"], state["validated"]
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        restore_optimizer(self.optimizer, state["optimizer"])
        restore_random_state(state["random"], self.world, self.cfg.seed, self.step)


def precision(choice: str, device: torch.device) -> torch.dtype:
    """Return the type of autocast: `auto` is bf16 where the processor multiplies it natively."""
    if choice == "auto":
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            native = torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if native else torch.float32
    return {"bf16": torch.bfloat16, "float32": torch.float32}[choice]
