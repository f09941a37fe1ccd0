"""Extraction on one core, in seconds of audio per second, and its peak memory: ours and other encoders.

All networks have random weights, on which speed does not depend. Ours reads, decodes, levels and encodes one file after
the other, as `vqaudio extract` does; the others get whole recordings, in memory and at their own rate.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import measure
import numpy as np
import torch
from omegaconf import OmegaConf

from vqaudio import audio, load
from vqaudio.codec import Codec
from vqaudio.model import build_model
from vqaudio.model_directory import UNKNOWN_SPEAKER, save_config, save_model

ROOT = Path(__file__).resolve().parents[2]
RATE = 16000  # Hz

Encode = Callable[[], object]


def save_random_model(folder: Path) -> Codec:
    """Write an untrained model of preset `base` with a k-means codebook, and return it loaded."""
    files = {"model": "model/base", "quantizer": "quantizer/kmeans", "data": "data/wav"}
    config = OmegaConf.create({key: OmegaConf.load(ROOT / "conf" / f"{name}.yaml") for key, name in files.items()})
    config.data.train = config.data.valid = str(folder)
    torch.manual_seed(0)
    model = build_model(config, speakers=1).eval()
    with torch.inference_mode():
        z = model.encoder(0.05 * torch.randn(1, 20 * RATE))
        model.quantizer.initialise(z[0].T, torch.Generator().manual_seed(0))
    save_config(folder, config, [UNKNOWN_SPEAKER])
    save_model(folder, model.state_dict())
    return load(folder)


def recordings(folder: Path, count: int) -> tuple[list[Path], str]:
    """Return `count` FLAC files of some seconds at 16 kHz, and what they contain."""
    speech = os.environ.get("VQAUDIO_SPEECH")  # see CONTRIBUTING.md
    found = sorted(Path(speech, "librispeech").rglob("*.flac")) if speech else []
    if len(found) >= count:
        return found[:: len(found) // count][:count], "LibriSpeech"
    rng = np.random.default_rng(0)
    paths = [folder / f"noise{i}.flac" for i in range(count)]
    for path in paths:
        audio.write(path, 0.05 * rng.standard_normal(12 * RATE), RATE)
    return paths, "noise"


def each(encode: Callable[[torch.Tensor], object], wavs: list[np.ndarray], rate: int) -> Encode:
    """Return a call that encodes every recording, resampled to `rate` (Hz), as (1, 1, T)."""
    inputs = [torch.from_numpy(audio.resample(wav, RATE, rate))[None, None] for wav in wavs]

    def run() -> list[object]:
        with torch.inference_mode():
            return [encode(x) for x in inputs]

    return run


def hubert(wavs: list[np.ndarray]) -> Encode:
    """Return HuBERT-base up to layer 6 with the nearest of 100 centroids, as in unit language models."""
    from transformers import HubertConfig, HubertModel

    model = HubertModel(HubertConfig(num_hidden_layers=6)).eval()
    centroids = torch.randn(100, model.config.hidden_size)
    return each(lambda x: torch.cdist(model(x[0]).last_hidden_state[0], centroids).argmin(1), wavs, RATE)


def encodec(wavs: list[np.ndarray]) -> Encode:
    """Return EnCodec at 24 kHz with 2 codebooks, its lowest rate."""
    from transformers import EncodecConfig, EncodecModel

    model = EncodecModel(EncodecConfig()).eval()
    return each(lambda x: model.encode(x, bandwidth=1.5), wavs, 24000)


def mimi(wavs: list[np.ndarray]) -> Encode:
    """Return Mimi with 8 codebooks, as in Moshi."""
    from transformers import MimiConfig, MimiModel

    model = MimiModel(MimiConfig()).eval()
    return each(lambda x: model.encode(x, num_quantizers=8), wavs, 24000)


def dac(wavs: list[np.ndarray]) -> Encode:
    """Return DAC in its sizes for 16 kHz."""
    from transformers import DacConfig, DacModel

    config = DacConfig(downsampling_ratios=[2, 4, 5, 8], upsampling_ratios=[8, 5, 4, 2], n_codebooks=12)
    return each(DacModel(config).eval().encode, wavs, RATE)


PEERS = {
    "HuBERT-base to layer 6 + k-means": (hubert, " (target 10)"),
    "EnCodec 24 kHz": (encodec, " (target 5)"),
    "Mimi": (mimi, ""),
    "DAC 16 kHz": (dac, ""),
}


def gflop_a_second(codec: Codec) -> float:
    """Return the GFLOP of the matrix products for a second of audio: convolutions and code search."""
    encoder, book, hop = codec.model.encoder, codec.model.quantizer.codebook, 1
    products = book.numel() / codec.hop_length
    for conv in [*encoder.strided, *(layer.pointwise for layer in encoder.context), encoder.project]:
        hop *= conv.stride[0]
        products += conv.weight.numel() / hop
    return 2 * products * RATE / 1e9


def speed_rows(codec: Codec, paths: list[Path], *, rounds: int, peers: bool) -> list[list[object]]:
    wavs = [audio.read(path)[0] for path in paths]
    seconds = sum(map(len, wavs)) / RATE
    calls: dict[str, Encode] = {
        "vqaudio extract": lambda: [codec.encode_file(path) for path in paths],
        "of which reading FLAC, twice": lambda: [list(audio.blocks(path, RATE, codec.step)) for path in 2 * paths],
        "product": measure.matrix_product(),
    }
    missing = {}
    for name, (make, _) in PEERS.items():
        try:
            if peers:
                calls[name] = make(wavs)
            else:
                missing[name] = "skipped by --quick"
        except ImportError as error:
            missing[name] = f"not measured: {error}"
    times = measure.interleaved(calls, rounds)
    limit = measure.gflops(times.pop("product")) / gflop_a_second(codec)
    ours = times["vqaudio extract"]
    rows: list[list[object]] = []
    for name, time in times.items():
        ratio = f"ours {time.over(ours):.1f} × as fast{PEERS[name][1]}" if name in PEERS else ""
        rows.append([name, f"{seconds / time.median:.1f}", speed_range(time, seconds), ratio])
    rows[0][-1] = "target 75"
    rows += [[name, reason, "", ""] for name, reason in missing.items()]
    return [["limit: its matrix products alone", f"{limit:.0f}", "", ""], *rows]


def speed_range(time: measure.Times, seconds: float) -> str:
    return f"{seconds / max(time.seconds):.1f} to {seconds / min(time.seconds):.1f}"


def long_recording(path: Path, wav: np.ndarray, minutes: int) -> None:
    """Write a FLAC file of `minutes` that repeats `wav`."""
    import soundfile

    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for _ in range(minutes * 60 * RATE // len(wav) + 1):
            file.write(wav)


def long_file(folder: Path, codec: Codec, wav: np.ndarray, minutes: int) -> str:
    """Extract a long file in another process; return a sentence about its peak memory and its codes.

    On Linux the peak of the other process includes the memory of this one at its start, so this must run first.
    """
    path, out = folder / "long.flac", folder / "units"
    long_recording(path, wav, minutes)
    start = "import sys; from vqaudio.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "extract", "--model", folder / "model", "--out", out, path]
    process = subprocess.Popen([*map(str, command), "--jobs", "1"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(map(str, command))} failed: {status}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**20
    frames = json.loads((out / "units.json").read_text())["num_frames"]
    part = audio.read(path, end=min(60 * minutes, 300))[0]
    with torch.inference_mode():
        levelled = audio.level_change(part, codec.config.data.level_db).apply(part)
        whole = codec.model.encode(torch.from_numpy(levelled).unsqueeze(0))[0].numpy()
    same = int((whole == codec.encode(part, RATE)).all(0).sum())
    return (
        f"`vqaudio extract` of one file of {minutes} minutes ({frames} frames): peak memory {peak:.0f} MiB (target "
        f"1024). Of the first {whole.shape[1]} frames, {same} have the codes that the encoder gives without chunks."
    )


def main() -> None:
    quick = measure.options(__doc__).quick
    measure.one_core()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        codec = save_random_model(folder / "model")
        paths, kind = recordings(folder, 1 if quick else 2)
        memory = long_file(folder, codec, audio.read(paths[0])[0], minutes=1 if quick else 60)
        rows = speed_rows(codec, paths, rounds=2 if quick else 5, peers=not quick)
    header = ["what", "× real time", "range", "ratio"]
    text = [
        measure.machine(["transformers"]),
        f"{len(paths)} recordings of {kind}, CPU time",
        measure.table(header, rows),
        memory,
    ]
    measure.report("Extraction, base preset, one core", "\n\n".join(text), save=not quick)


if __name__ == "__main__":
    main()
