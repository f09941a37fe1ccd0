"""Times the codec on a whole recording, on a stream of it, and the exported ONNX file in onnxruntime, on one core."""

import measure
import numpy as np
import torch
from omegaconf import OmegaConf

from vqaudio.codec import STREAM_SECONDS, Codec
from vqaudio.export import open_session, to_onnx
from vqaudio.model import build_model
from vqaudio.model_directory import UNKNOWN_SPEAKER, LoadedModel
from vqaudio.training.app import compose

PIECE = 0.02  # seconds that arrive at a time


def make(preset: str, seconds: float) -> tuple[Codec, np.ndarray]:
    """Return an untrained model, whose speed is that of a trained one, and noise."""
    cfg = compose([f"model={preset}", "quantizer=kmeans"])
    torch.manual_seed(0)
    model = build_model(cfg, 1).eval()
    wav = (0.1 * np.random.default_rng(0).standard_normal(round(seconds * cfg.data.sample_rate))).astype(np.float32)
    with torch.no_grad():
        z = model.encoder(torch.from_numpy(wav[None, : 10 * cfg.data.sample_rate]))
        model.quantizer.initialise(z[0].T, torch.Generator().manual_seed(0))
    return Codec(LoadedModel(model, OmegaConf.create(OmegaConf.to_container(cfg)), [UNKNOWN_SPEAKER], "0" * 64)), wav


def rows(preset: str, seconds: float, rounds: int) -> list[list[str]]:
    codec, wav = make(preset, seconds)
    level = codec.measure_level(wav, codec.sample_rate)
    piece = round(PIECE * codec.sample_rate)

    def stream(chunk: float) -> np.ndarray:
        pieces = (wav[i : i + piece] for i in range(0, len(wav), piece))
        return np.concatenate(list(codec.encode_stream(pieces, codec.sample_rate, level, chunk_seconds=chunk)), axis=1)

    chunks = (STREAM_SECONDS, 0.5, 2.0)
    calls = {"whole recording": lambda: codec.encode(wav, codec.sample_rate)}
    calls |= {f"stream, chunks of {chunk:g} s": lambda chunk=chunk: stream(chunk) for chunk in chunks}
    if "not installed" not in map(measure.version, ("onnx", "onnxruntime")):
        session = open_session(to_onnx(codec))
        calls["ONNX, whole recording"] = lambda: session.run(None, {"wav": wav[None]})[0]
    expected = calls["whole recording"]()
    different = {name: int((call() != expected).sum()) for name, call in calls.items()}
    latencies = ["", *(f"{codec.latency(chunk):.2f}" for chunk in chunks), ""][: len(calls)]
    times = measure.interleaved(calls, rounds)
    whole = times["whole recording"]
    return [
        [preset, name, f"{time.median / seconds:.4f}", f"{time.over(whole):.2f}", latency, f"{different[name]} of "
         f"{expected.size}"]
        for (name, time), latency in zip(times.items(), latencies, strict=True)
    ]  # fmt: skip


def main() -> None:
    quick = measure.options(__doc__).quick
    measure.one_core()
    seconds, rounds = (3.0, 1) if quick else (20.0, 3)
    table = [row for preset in ("tiny", "base", "paper") for row in rows(preset, seconds, rounds)]
    header = ["preset", "what", "real-time factor (CPU)", "times the whole", "latency, s of speech", "other codes"]
    text = [
        measure.machine(["onnxruntime"]),
        f"Encoder and k-means quantizer on {seconds:g} s of noise at 16 kHz; a stream gets {1000 * PIECE:g} ms at a "
        "time, and its latency is that of the algorithm, to which the computation of a chunk adds.",
        measure.table(header, table),
    ]
    measure.report("Encoding whole, in a stream and in onnxruntime, one core", "\n\n".join(text), save=not quick)


if __name__ == "__main__":
    main()
