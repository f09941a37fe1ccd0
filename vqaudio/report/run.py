"""A run's directory as the report reads it: whatever of it is there."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from vqaudio import datadir
from vqaudio.checkpoint import LoadedModel, load_model
from vqaudio.datadir import Utterance
from vqaudio.errors import UserError
from vqaudio.report.facts import read_metrics
from vqaudio.report.samples import Sample, choose
from vqaudio.units import Units, UnitSequence, read_units

SWAP = "_swap"
"""Ending of the name of a set that another speaker speaks."""


class Run:
    """What ``exp`` holds. A part that is missing is empty, and a part that is broken leaves a line in ``notes``."""

    def __init__(self, exp: Path) -> None:
        if not exp.is_dir():
            raise UserError(f"{exp}: no such directory; give the one that `vqaudio train` wrote (exp_dir)")
        self.exp = exp
        self.notes: list[str] = []
        self.model: LoadedModel | None = self._try(lambda: load_model(exp), None)
        self.metrics: list[dict[str, Any]] = self._try(lambda: read_metrics(exp), [])
        self.scores: dict[str, Any] = self._try(self._scores, {})
        self.units: dict[str, Units] = {}
        for folder in sorted(exp.glob("units/*/units.json")):
            units = self._try(lambda folder=folder: read_units(folder.parent), None)
            if units is not None:
                self.units[folder.parent.name] = units
        folders = sorted(path.parent for path in exp.glob("wav/*/wav.scp"))
        self.wavs = {folder.name: folder for folder in folders if not folder.name.endswith(SWAP)}

    def _try(self, read: Any, otherwise: Any) -> Any:
        try:
            return read()
        except UserError as error:
            self.notes.append(str(error))
            return otherwise

    def _scores(self) -> dict[str, Any]:
        path = self.exp / "scores.json"
        if not path.is_file():
            return {}
        try:
            scores = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path}: not JSON ({error}); score again") from None
        if not isinstance(scores, dict):
            raise UserError(f"{path}: not a JSON object; score again")
        return scores

    def usage(self, name: str) -> tuple[list[float], int]:
        """Return the share of the frames of set ``name`` that each code has (all groups together), and G * K."""
        info = self.units[name].info
        counts = np.zeros((info.groups, info.codebook_size))
        for sequence in self.units[name]:
            for group, codes in enumerate(sequence.codes):
                counts[group] += np.bincount(codes, minlength=info.codebook_size)
        return [float(share) for share in counts.ravel() / counts.sum()], counts.size

    def samples(self, name: str) -> list[Sample]:
        """Return utterances of set ``name`` to look at and listen to."""
        folder = self.wavs[name]
        utts: list[str] = self._try(lambda: list(datadir.read_table(folder / "wav.scp")), [])
        scores = self.scores.get("audio", {}).get(name, {}).get("per_utterance", {})
        chosen = choose(utts, scores)
        originals, texts = self._originals(name)
        units = self.units.get(name)
        sequences: dict[str, UnitSequence] = {s.utt: s for s in units or [] if s.utt in chosen}
        voices = self._try(lambda: self._voices(), {})
        samples = []
        for utt in chosen:
            swap = folder.with_name(name + SWAP) / f"{utt}.wav"
            samples.append(
                Sample(
                    utt=utt,
                    text=texts.get(utt),
                    original=originals.get(utt),
                    reconstruction=folder / f"{utt}.wav",
                    swap=swap if swap.is_file() else None,
                    voice=voices.get(utt),
                    sequence=sequences.get(utt),
                    frame_rate=units.info.frame_rate if units is not None else 1.0,
                    estoi=scores.get(utt, {}).get("estoi"),
                )
            )
        return samples

    def _originals(self, name: str) -> tuple[dict[str, Utterance], dict[str, str]]:
        """Return the utterances and texts of a set: its data directory stands beside that of the training set."""
        if self.model is None or self.model.config.data.get("train") is None:
            return {}, {}
        data = Path(self.model.config.data.train).parent / name
        utterances = self._try(lambda: datadir.read_utterances(data), [])
        texts = self._try(lambda: datadir.read_table(data / "text", what=""), {}) if (data / "text").is_file() else {}
        return {utterance.utt: utterance for utterance in utterances}, texts

    def _voices(self) -> dict[str, str]:
        path = self.exp / "swap_utt2spk"
        return datadir.read_table(path, what="its speaker") if path.is_file() else {}
