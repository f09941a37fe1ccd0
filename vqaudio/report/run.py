"""Reads what a run left in its directory (exp/<tag>): model, metrics, scores, units, reconstructions, data."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from vqaudio import datadir
from vqaudio.datadir import Phone, Utterance, read_ctm
from vqaudio.errors import UserError
from vqaudio.model_directory import LoadedModel, load_model
from vqaudio.names import file_name
from vqaudio.report.facts import read_metrics
from vqaudio.report.phones import PhoneCounts, count_phones
from vqaudio.report.samples import Sample, Version, choose, estoi
from vqaudio.report.tables import filled
from vqaudio.units import Units, UnitSequence, read_units

SWAP = "_swap"
"""Ending of the name of a set that was reconstructed with the voice of another speaker."""


class FinishedRun:
    """The parts of a run; a missing part is empty, and a broken part is empty and adds a line to `notes`.

    Raises:
        UserError: there is no such directory.
    """

    def __init__(self, exp: Path) -> None:
        if not exp.is_dir():
            raise UserError(f"{exp}: no such directory; give one that `vqaudio train` wrote (exp_dir)")
        self.exp = exp
        self.notes: list[str] = []
        self.model: LoadedModel | None = self._try(lambda: load_model(exp), None)
        self.metrics: list[dict[str, Any]] = self._try(lambda: read_metrics(exp), [])
        self.scores: dict[str, Any] = self._try(lambda: read_scores(exp), {})
        self.units: dict[str, Units] = {}
        for folder in sorted(exp.glob("units/*/units.json")):
            units = self._try(lambda folder=folder: read_units(folder.parent), None)
            if units is not None:
                self.units[folder.parent.name] = units
        folders = sorted(path.parent for path in exp.glob("wav/*/wav.scp"))
        self._alignments: dict[str, dict[str, list[Phone]]] = {}
        self.wavs = {folder.name: folder for folder in folders if not folder.name.endswith(SWAP)}

    def _try(self, read: Any, otherwise: Any) -> Any:
        """Return what `read` returns; if it fails, note why and return `otherwise`."""
        try:
            return read()
        except UserError as error:
            self.notes.append(str(error))
            return otherwise

    def usage(self, name: str) -> tuple[list[float], int]:
        """Return the share of the frames of set `name` that each code has (all groups together), and G * K."""
        info = self.units[name].info
        counts = np.zeros((info.groups, info.codebook_size))
        for sequence in self.units[name]:
            for group, codes in enumerate(sequence.codes):
                counts[group] += np.bincount(codes, minlength=info.codebook_size)
        return [float(share) for share in counts.ravel() / counts.sum()], counts.size

    def phones(self, name: str) -> PhoneCounts | None:
        """Return how many frames of set `name` each phone and unit have; None without an alignment."""
        alignment = self._alignment(name)
        if not alignment:
            return None
        units = {sequence.utt: sequence.codes for sequence in self.units[name]}
        frame_rate = self.units[name].info.frame_rate
        return self._try(lambda: count_phones(units, alignment, frame_rate=frame_rate), None)

    def utterances(self, name: str) -> list[str]:
        """Return the utterances of set `name` that were reconstructed."""
        if name not in self.wavs:
            return []
        return self._try(lambda: list(datadir.read_table(self.wavs[name] / "wav.scp")), [])

    def choose(self, name: str, utts: list[str]) -> list[str]:
        """Return those of `utts` of set `name` that are to be shown."""
        return choose(utts, self._per_utterance(name))

    def samples(self, name: str, utts: list[str]) -> list[Sample]:
        """Return `utts` of set `name` with their reconstructions: in their own voice first, then in another voice."""
        folder, scores = self.wavs[name], self._per_utterance(name)
        originals, texts = self._originals(name)
        alignment, units = self._alignment(name), self.units.get(name)
        sequences: dict[str, UnitSequence] = {s.utt: s for s in units or [] if s.utt in utts}
        frame_rate = units.info.frame_rate if units is not None else 1.0
        voices = self._try(self._voices, {})
        samples = []
        for utt in utts:
            file = f"{file_name(utt)}.wav"
            wav, swap = folder / file, folder.with_name(name + SWAP) / file
            versions = [Version("Reconstruction", wav, sequences.get(utt), frame_rate, estoi(scores, utt))]
            if swap.is_file():
                voice = f"voice of {voices[utt]}" if utt in voices else "another voice"
                versions.append(Version(f"Reconstruction, {voice}", swap, None, frame_rate))
            samples.append(Sample(utt, texts.get(utt), originals.get(utt), alignment.get(utt, []), versions))
        return samples

    def _per_utterance(self, name: str) -> dict[str, Any]:
        """Return the audio scores of each utterance of a set."""
        scores = filled(self.scores, "audio", name).get("per_utterance")
        return {utt: values for utt, values in scores.items() if isinstance(values, dict)} if scores else {}

    def _data(self, name: str) -> Path | None:
        """Return the data directory of a set, which is in the same folder as that of the training set."""
        if self.model is None or self.model.config.data.get("train") is None:
            return None
        return Path(self.model.config.data.train).parent / name

    def _alignment(self, name: str) -> dict[str, list[Phone]]:
        """Return the phones of a set: utt -> phones; empty without a phones.ctm."""
        if name not in self._alignments:
            data = self._data(name)
            path = data / "phones.ctm" if data is not None else None
            found = self._try(lambda: read_ctm(path), {}) if path is not None and path.is_file() else {}
            self._alignments[name] = found
        return self._alignments[name]

    def _originals(self, name: str) -> tuple[dict[str, Utterance], dict[str, str]]:
        """Return the utterances and texts of a set."""
        data = self._data(name)
        if data is None:
            return {}, {}
        utterances = self._try(lambda: datadir.read_utterances(data), [])
        texts = self._try(lambda: datadir.read_table(data / "text", what=""), {}) if (data / "text").is_file() else {}
        return {utterance.utt: utterance for utterance in utterances}, texts

    def _voices(self) -> dict[str, str]:
        """Return the speaker in whose voice each utterance was also reconstructed."""
        path = self.exp / "swap_utt2spk"
        return datadir.read_table(path, what="its speaker") if path.is_file() else {}


def read_scores(exp: Path) -> dict[str, Any]:
    """Return the figures of `scores.json` under each of its keys; empty if there is no file.

    Raises:
        UserError: it is not a JSON object.
    """
    path = exp / "scores.json"
    if not path.is_file():
        return {}
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}); run `vqaudio evaluate` again") from None
    if not isinstance(scores, dict):
        raise UserError(f"{path}: not a JSON object; run `vqaudio evaluate` again")
    return {key: values for key, values in scores.items() if isinstance(values, dict)}
