"""Compares the codes of a model that take different ways: one command, shards, jobs, streams, and ONNX.

    .venv/bin/python tools/check_codes.py --model default --data data/test

The way of reference is `vqaudio extract` in one part. Streams get the level of the whole recording, and pieces
of random length. Prints the frames that differ for each way; the exit status is 1 if there are any. Extra: export.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from vqaudio import audio
from vqaudio.codec import Codec, load
from vqaudio.datadir import read_utterances
from vqaudio.export import open_session, to_onnx
from vqaudio.released import model_folder
from vqaudio.units.directory import read_units

SHARDS = 3
CHUNKS = (0.1, 2.0)
"""Seconds that a stream is encoded in."""


def main() -> None:
    """Print how many frames differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=model_folder, default=model_folder("default"))
    parser.add_argument("--data", type=Path, required=True, help="data directory of whole files")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        expected = extract(args, Path(folder) / "one", "--jobs", "1")
        ways = {"2 jobs": extract(args, Path(folder) / "jobs", "--jobs", "2")}
        for i in range(SHARDS):
            ways[f"{SHARDS} shards"] = extract(args, Path(folder) / "shards", "--shard", f"{i + 1}/{SHARDS}")
    ways |= other_ways(load(args.model), args.data)
    frames, worst = sum(codes.shape[1] for codes in expected.values()), 0
    for name, found in ways.items():
        different = sum(int((found[utt] != codes).any(axis=0).sum()) for utt, codes in expected.items())
        print(f"{name:18}  {different} of {frames} frames differ")
        worst = max(worst, different)
    sys.exit(1 if worst else 0)


def extract(args: argparse.Namespace, out: Path, *options: str) -> dict[str, np.ndarray]:
    """Return the codes that the command writes; nothing before the last shard is done."""
    command = [sys.executable, "-m", "vqaudio", "extract", "--model", str(args.model), "--data", str(args.data)]
    subprocess.run([*command, "--out", str(out), *options], check=True, capture_output=True)
    return {s.utt: s.codes for s in read_units(out)} if (out / "units.json").exists() else {}


def other_ways(codec: Codec, data: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return the codes of whole waveforms, of streams and of onnxruntime."""
    session, random = open_session(to_onnx(codec)), np.random.default_rng(0)
    ways: dict[str, dict[str, np.ndarray]] = {"whole": {}, "ONNX": {}} | {f"stream, {s} s": {} for s in CHUNKS}
    for utterance in read_utterances(data):
        wav, rate = audio.read(utterance.path, codec.sample_rate)
        level = codec.measure_level(wav, rate)
        ways["whole"][utterance.utt] = codec.encode(wav, rate)
        ways["ONNX"][utterance.utt] = session.run(None, {"wav": wav[None]})[0]
        for seconds in CHUNKS:
            ends = np.cumsum(random.integers(1, rate, size=2 + 2 * len(wav) // rate)).clip(max=len(wav))
            pieces = (wav[a:b] for a, b in itertools.pairwise([0, *ends, len(wav)]) if a < b)
            codes = codec.encode_stream(pieces, rate, level, chunk_seconds=seconds)
            ways[f"stream, {seconds} s"][utterance.utt] = np.concatenate(list(codes), axis=1)
    return ways


if __name__ == "__main__":
    main()
