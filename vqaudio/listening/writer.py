"""Writes the audio of a test under random names, and records in the key what each file is."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np

from vqaudio import audio, files
from vqaudio.errors import UserError
from vqaudio.listening import checks
from vqaudio.listening.anchors import MIN_RATE_7000, make_anchor
from vqaudio.listening.clips import Item, clipped_run, match_gains, read_clip
from vqaudio.listening.design import Design, mnru_name
from vqaudio.listening.key import ANCHOR_3500, ANCHOR_7000, REFERENCE, SCALES, WITH_REFERENCE, Stimulus, Trial

GOLD_LOW, GOLD_HIGH = "gold_low", "gold_high"


class Writer:
    """Writes items; the first one is for training if the design has training.

    Every appearance of a clip is a separate file, so that no repeated name reveals what a clip is.
    """

    def __init__(self, test: Path, design: Design, seed: int, sample_rate: int) -> None:
        self.folder, self.design, self.seed, self.sample_rate = test / "public" / "audio", design, seed, sample_rate
        self.clipped: dict[str, int] = {}  # of the current item, by system
        self.references: list[tuple[str, np.ndarray]] = []
        self.trials: dict[str, Trial] = {}
        self.stimuli: dict[str, Stimulus] = {}

    def add_item(self, name: str, item: Item, *, training: bool) -> None:
        """Write the audio of an item and record its trials."""
        design = self.design
        self.clipped = {system: clipped_run(wav) for system, wav in item.clips.items()}
        clips = self._with_conditions(name, item)
        gains = match_gains(clips, item.sample_rate, design.match_loudness)
        clips = {system: wav * np.float32(10 ** (gains[system] / 20)) for system, wav in clips.items()}
        self.references.append((name, next(iter(clips.values()))))
        conditions = design.conditions(list(clips))
        if training:
            step = max(1, len(conditions) // design.training)
            conditions = conditions[::step][: design.training]

        def write(*systems: str) -> tuple[str, ...]:
            return tuple(self._write(name, system, clips[system], gains[system]) for system in systems)

        for systems in conditions:
            reference = write(REFERENCE)[0] if design.type in WITH_REFERENCE else None
            hidden = write(*systems) if design.type == "abx" else ()
            self._add(Trial(name, training, write(*systems), reference, hidden, item.loop))

    def add_checks(self) -> None:
        """Write the trials whose answer is known: before the test, and among those that count."""
        study, rate = self.design.study, self.sample_rate
        if study.headphones:
            for n, (clip, softest) in enumerate(checks.headphone_clips(rate)):
                self._check("headphones", f"headphones{n}", [("tones", clip)], (softest, softest))
        if study.quiet:
            for n in range(checks.QUIET_PAIRS):
                wav = self._reference(n)
                noisy = checks.with_noise(wav, f"{self.seed} quiet {n}")
                self._check("quiet", f"quiet{n}", [("clean", wav), ("noisy", noisy)], (1, 1))
        for n in range(study.gold):
            self._add_gold(n)
        if study.attention:
            scale = SCALES[self.design.type] or (0, 0)
            for n, (path, answer) in enumerate(checks.read_attention(Path(study.attention), scale)):
                clip, its_rate = read_clip(path)
                if its_rate != rate:
                    raise UserError(f"{path}: {its_rate} Hz, but the test has {rate} Hz; resample it")
                self._check("attention", f"attention{n}", [("attention", clip)], (answer, answer))

    def hide_times(self) -> None:
        """Give all audio files the same time: servers send it to browsers, and it would reveal the order of writing."""
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):
                os.utime(path, (0, 0))

    def _with_conditions(self, name: str, item: Item) -> dict[str, np.ndarray]:
        """Return the clips of an item with those that are made from its reference."""
        clips, rate = dict(item.clips), item.sample_rate
        for q_db in self.design.mnru:
            clips[mnru_name(q_db)] = checks.mnru(clips[REFERENCE], q_db, f"{self.seed} {name} {q_db:g}")
        if self.design.type == "mushra":
            edges = {ANCHOR_3500: 3500.0, ANCHOR_7000: 7000.0} if rate >= MIN_RATE_7000 else {ANCHOR_3500: 3500.0}
            clips |= {anchor: make_anchor(clips[REFERENCE], edge, rate) for anchor, edge in edges.items()}
        return clips

    def _add_gold(self, number: int) -> None:
        """Add a trial with a clip that everybody calls bad, or with the reference itself, in turn."""
        kind, wav = self.design.type, self._reference(number // 2)
        low = (GOLD_LOW, checks.mnru(wav, checks.GOLD_Q_DB, f"{self.seed} gold {number}"))
        high = (GOLD_HIGH, wav)
        name = f"gold{number}"
        if kind in ("acr", "dcr", "smos"):
            if number % 2 and kind != "smos":
                self._check("gold", name, [low], (1, 2), reference=wav)
            else:
                self._check("gold", name, [high], (4, 5), reference=wav)
        else:
            self._check("gold", name, [high, low], {"ccr": (1, 3), "ab": (1, 1), "abx": (1, 1)}[kind])

    def _reference(self, number: int) -> np.ndarray:
        return self.references[number % len(self.references)][1]

    def _check(
        self,
        check: str,
        item: str,
        clips: list[tuple[str, np.ndarray]],
        expected: tuple[int, int],
        reference: np.ndarray | None = None,
    ) -> None:
        """Add a trial whose answer is known; all of its clips get the gain that keeps the loudest within full scale."""
        self.clipped = {}
        peak = max(1.0, *(float(np.abs(wav).max()) for _, wav in clips))
        of_test = check in ("gold", "attention")
        opened = None
        if of_test and self.design.type in WITH_REFERENCE:
            opened = self._write(item, REFERENCE, (clips[0][1] if reference is None else reference) / peak, 0.0)

        def write() -> tuple[str, ...]:
            return tuple(self._write(item, system, wav / peak, 0.0) for system, wav in clips)

        hidden = write() if of_test and self.design.type == "abx" else ()
        loop = len({len(wav) for _, wav in clips}) == 1
        self._add(Trial(item, False, write(), opened, hidden, loop, check, expected))

    def _add(self, trial: Trial) -> None:
        self.trials[secrets.token_hex(8)] = trial

    def _write(self, item: str, system: str, wav: np.ndarray, gain_db: float) -> str:
        """Write one clip; return its random name."""
        name = secrets.token_hex(8)
        path = self.folder / f"{name}.{self.design.extension}"
        audio.write(path, wav, self.sample_rate)
        clipped: Any = self.clipped.get(system, 0)
        self.stimuli[name] = Stimulus(item, system, round(gain_db, 3), files.sha256(path), clipped)
        return name
