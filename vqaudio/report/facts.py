"""Describes a model directory in names and values: sizes, rates, codebook, training; for pages and `vqaudio info`."""

import json
import math
from pathlib import Path
from typing import Any

from torch.nn import Module

from vqaudio.errors import UserError
from vqaudio.model_directory import LoadedModel, load_model
from vqaudio.report.tables import is_figure

MAX_SPEAKERS_SHOWN = 12


def describe(exp: Path) -> str:
    """Return lines of a name and a value that describe a model directory.

    Raises:
        UserError: the directory contains no complete model.
    """
    facts = {"model": str(exp), **model_facts(load_model(exp)), **training_facts(read_metrics(exp))}
    width = max(map(len, facts))
    return "\n".join(f"{name:{width}}  {value}" for name, value in facts.items())


def model_facts(loaded: LoadedModel) -> dict[str, str]:
    """Return the facts of a model by name: sizes, times, codebook, bitrate, speakers, hash."""
    model, sample_rate = loaded.model, int(loaded.config.data.sample_rate)
    encoder, quantizer, decoder = model.encoder, model.quantizer, model.decoder
    frame_rate = sample_rate / encoder.hop_length
    groups, size = quantizer.groups, quantizer.codebook_size
    parts: dict[str, Module] = {
        "encoder": encoder,
        "conditioner": model.conditioner,
        "WaveNet": decoder,
        "filter": model.shaper,
    }
    if model.durations is not None:
        parts["durations"] = model.durations
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    # A codebook that moves by averages is a buffer, not a parameter; it counts too.
    learnt = {**dict(quantizer.named_parameters()), "codebook": quantizer.codebook}
    counts["quantizer"] = sum(tensor.numel() for tensor in learnt.values())
    speakers = loaded.speakers[1:]
    names = ", ".join(speakers[:MAX_SPEAKERS_SHOWN]) + (", …" if len(speakers) > MAX_SPEAKERS_SHOWN else "")
    ms = 1000 / sample_rate
    past = decoder.receptive_field * decoder.bands * ms
    by_part = ", ".join(f"{name} {_millions(count)}" for name, count in counts.items())
    return {
        "parameters": f"{_millions(sum(counts.values()))} ({by_part})",
        "sample rate": f"{sample_rate} Hz",
        "hop": f"{encoder.hop_length} samples, {encoder.hop_length * ms:.4g} ms",
        "frame rate": f"{frame_rate:g} Hz",
        "receptive field": f"encoder {encoder.receptive_field * ms:.1f} ms per frame, WaveNet {past:.1f} ms of past",
        "codebook": f"{groups} × {size} codes of {quantizer.codebook.shape[-1]} values, {loaded.config.quantizer.name}",
        "nominal bitrate": f"{frame_rate * groups * math.log2(size):.4g} bit/s",
        "speakers": f"{len(speakers)} ({names})" if speakers else "none",
        "hash": loaded.hash,
    }


def training_facts(metrics: list[dict[str, Any]]) -> dict[str, str]:
    """Return how long the model was trained, from what training logged; empty if it logged nothing."""
    if not metrics:
        return {}
    last = metrics[-1]
    seconds: Any = last.get("seconds")
    time = f" in {seconds / 60:.1f} minutes" if is_figure(seconds) else ""
    return {"training": f"{last['step']} steps{time}"}


def read_metrics(exp: Path) -> list[dict[str, Any]]:
    """Return the objects of `metrics.jsonl`, one for each logging, in the order of steps; empty if there is no file.

    Raises:
        UserError: a line is not an object with a step; only the last may be cut off, in a run that was killed.
    """
    path = exp / "metrics.jsonl"
    if not path.is_file():
        return []
    lines = path.read_bytes().splitlines()
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            entry["step"] = int(entry["step"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):  # OverflowError: infinity
            if number == len(lines):
                break
            raise UserError(f"{path}:{number}: not a JSON object with a step; remove the line") from None
        entries.append(entry)
    return entries


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 1e4 else str(count)
