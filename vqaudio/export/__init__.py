"""`vqaudio export`: the encoder and the quantizer of a model as one ONNX file, which needs no Python to run."""

from pathlib import Path
from typing import Any

import numpy as np

import vqaudio
from vqaudio import files
from vqaudio.codec import Codec, load
from vqaudio.errors import JobError, UserError, first_line
from vqaudio.model.encoder import Encoder
from vqaudio.model.quantizer import GumbelQuantizer, KMeansQuantizer
from vqaudio.outputs import check_file

TEST_SECONDS = (0.001, 1.234, 5.0)
"""Lengths of the noise that an exported model is compared on."""

MAX_DIFFERENT = 0.01
"""Share of units that may differ there, where two codewords are equally near but for rounding; none are expected."""


def export(model_dir: Path, out: Path) -> None:
    """Write `out`, an ONNX model from `wav` (1, T) float32, at the model's rate, to `codes` (G, N) int64.

    T is any, the level is brought to the model's inside, and the codes are those of `Codec.encode` but for rounding.
    The properties of the file: `vqaudio` (version), `model_hash`, `sample_rate`, `hop_length`, `codebook_size`,
    `groups`, `level_db` ("" is none) and `latency`, the seconds of speech that a frame depends on from its start.

    Raises:
        UserError: the extra is not installed, the model has no encoder, or `out` may not be written.
        JobError: onnxruntime does not run the model, or returns other codes.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(f"vqaudio export: {first_line(error)}; pip install 'vqaudio[export]'") from None
    inputs = [model_dir / name for name in ("config.yaml", "model.safetensors", "speakers.txt")]
    check_file(out, inputs=inputs, ours=is_our_onnx)
    codec = load(model_dir)
    content = to_onnx(codec)
    different, frames = compare(content, codec)
    if different > MAX_DIFFERENT * frames:
        raise JobError(
            f"{out}: not written, since {different} of {frames} units of noise differ from those of {model_dir} in "
            "onnxruntime; install another version of onnxruntime"
        )
    files.atomic_write(out, content)
    print(f"{out}: {different} of {frames} units of noise differ in onnxruntime; {len(content) / 2**20:.1f} MiB")


def to_onnx(codec: Codec) -> bytes:
    """Return the content of the file that `export` writes.

    Raises:
        UserError: the model has no encoder.
    """
    from onnx import helper

    from vqaudio.export.graph import build_graph

    encoder, quantizer = codec.model.encoder, codec.model.quantizer
    if not isinstance(encoder, Encoder) or not isinstance(quantizer, (KMeansQuantizer, GumbelQuantizer)):
        raise UserError("the model speaks units of another model and has no encoder; export that model")
    model = build_graph(encoder, quantizer, codec.level_db)
    properties = {
        "vqaudio": vqaudio.__version__,
        "model_hash": codec.units_hash,
        "sample_rate": codec.sample_rate,
        "hop_length": codec.hop_length,
        "codebook_size": codec.codebook_size,
        "groups": codec.groups,
        "level_db": "" if codec.level_db is None else codec.level_db,
        "latency": (codec.hop_length + encoder.right) / codec.sample_rate,
    }
    helper.set_model_props(model, {key: str(value) for key, value in properties.items()})
    return model.SerializeToString()


def open_session(model: bytes | str) -> Any:
    """Return an onnxruntime session on one core for the content or the path of a model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def compare(content: bytes, codec: Codec) -> tuple[int, int]:
    """Return how many units of noise differ between an exported model and the codec, and the number of units.

    Raises:
        JobError: onnxruntime cannot run the model, or returns another number of units.
    """
    import onnx

    different, count = 0, 0
    random = np.random.default_rng(0)
    try:
        onnx.checker.check_model(content, full_check=True)
        session = open_session(content)
        for seconds in TEST_SECONDS:
            wav = 0.05 * random.standard_normal(max(1, round(seconds * codec.sample_rate))).astype(np.float32)
            codes, expected = session.run(None, {"wav": wav[None]})[0], codec.encode(wav, codec.sample_rate)
            if codes.shape != expected.shape:
                raise JobError(f"onnxruntime returns units {codes.shape} in place of {expected.shape}; report this")
            different += int((codes != expected).sum())
            count += expected.size
    except JobError:
        raise
    except Exception as error:  # onnx and onnxruntime have errors of their own
        raise JobError(f"onnxruntime cannot run the model ({first_line(error)}); install another version") from error
    return different, count


def is_our_onnx(path: Path) -> bool:
    """Return whether a file is an ONNX model with the property `vqaudio`."""
    import onnx

    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception:  # protobuf has errors of its own
        return False
    return any(prop.key == "vqaudio" for prop in model.metadata_props)


__all__ = ["compare", "export", "is_our_onnx", "open_session", "to_onnx"]
