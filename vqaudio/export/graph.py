"""The encoder and the quantizer as an ONNX graph: what `Codec.encode` computes, written with the standard's operators.

The level is measured in float64, as the codec does it; the rest is float32. A recording is one window here, and sums
have another order than in torch, so that latents agree to about 1e-6 and not bit for bit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from vqaudio.audio import MAX_GAIN, MIN_VARIANCE
from vqaudio.model.encoder import INPUT_SCALE, ContextLayer, Encoder
from vqaudio.model.quantizer import GumbelQuantizer, KMeansQuantizer

OPSET = 20
"""The first one with GELU; onnxruntime has it from 1.17 on."""
IR_VERSION = 9
"""The one that belongs to the opset: newer ones are refused by older versions of onnxruntime."""


class Graph:
    """Nodes and constants in the order in which they are added; values are known by their names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """Add a constant; return its name."""
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array, dtype), name))
        return name

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output = name or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def model(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> onnx.ModelProto:
        """Return the model of this graph."""
        graph = helper.make_graph(self.nodes, "vqaudio", inputs, outputs, self.constants)
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="vqaudio")


def build_graph(
    encoder: Encoder, quantizer: KMeansQuantizer | GumbelQuantizer, level_db: float | None
) -> onnx.ModelProto:
    """Return the model that maps `wav` (1, T) float32, at the model's rate, to `codes` (G, N) int64."""
    graph = Graph()
    wav = "wav" if level_db is None else _levelled(graph, "wav", level_db)
    _codes(graph, _latents(graph, _padded(graph, wav, encoder), encoder), quantizer)
    return graph.model(
        [helper.make_tensor_value_info("wav", TensorProto.FLOAT, [1, "samples"])],
        [helper.make_tensor_value_info("codes", TensorProto.INT64, [quantizer.groups, "frames"])],
    )


def _levelled(graph: Graph, wav: str, level_db: float) -> str:
    """Add `audio.level_change` and its `apply`."""
    exact = graph.add("Cast", wav, to=TensorProto.DOUBLE)
    offset = graph.add("ReduceMean", exact, keepdims=0)
    power = graph.add("ReduceMean", graph.add("Mul", exact, exact), keepdims=0)
    square = graph.add("Mul", offset, offset)
    variance = graph.add("Sub", power, square)
    empty = graph.add("LessOrEqual", variance, graph.add("Mul", square, graph.constant(MIN_VARIANCE, np.float64)))
    rms = graph.constant(10 ** (level_db / 20), np.float64)
    gain = graph.add("Div", rms, graph.add("Sqrt", variance))
    gain = graph.add("Min", gain, graph.constant(MAX_GAIN, np.float64))
    gain = graph.add("Where", empty, graph.constant(1.0, np.float64), gain)
    centred = graph.add("Sub", wav, graph.add("Cast", offset, to=TensorProto.FLOAT))
    return graph.add("Mul", centred, graph.add("Cast", gain, to=TensorProto.FLOAT))


def _padded(graph: Graph, wav: str, encoder: Encoder) -> str:
    """Add zeros to a wav (1, T): the encoder's context on both sides, and what is missing in the last frame."""
    samples = graph.add("Shape", wav, start=1)
    end = graph.add("Mod", graph.add("Neg", samples), graph.constant([encoder.hop_length], np.int64))
    end = graph.add("Add", end, graph.constant([encoder.right], np.int64))
    pads = graph.add("Concat", graph.constant([0, encoder.left, 0], np.int64), end, axis=0)
    return graph.add("Pad", wav, pads)


def _latents(graph: Graph, padded: str, encoder: Encoder) -> str:
    """Add `Encoder.frames` with plain convolutions; the result is (1, N, D)."""
    x = graph.add("Unsqueeze", padded, graph.constant([1], np.int64))
    x = graph.add("Mul", x, graph.constant(INPUT_SCALE))
    for conv in encoder.strided:
        assert isinstance(conv, nn.Conv1d)
        x = graph.add("Gelu", _convolved(graph, x, conv), approximate="tanh")
    for layer in encoder.context:
        assert isinstance(layer, ContextLayer)
        rows = _normalised(graph, graph.add("Transpose", x, perm=[0, 2, 1]), layer.norm.weight, layer.norm.bias)
        y = _convolved(graph, graph.add("Transpose", rows, perm=[0, 2, 1]), layer.depthwise)
        y = graph.add("Gelu", _convolved(graph, y, layer.pointwise), approximate="tanh")
        x = graph.add("Add", x, y)
    z = graph.add("Transpose", _convolved(graph, x, encoder.project), perm=[0, 2, 1])
    if encoder.lead:
        ends = (graph.constant([place], np.int64) for place in (encoder.lead, -encoder.lead, 1))
        z = graph.add("Slice", z, *ends)
    latent_dim = encoder.project.out_channels
    return _normalised(graph, z, np.ones(latent_dim), np.zeros(latent_dim))


def _convolved(graph: Graph, x: str, conv: nn.Conv1d) -> str:
    weight, bias = graph.constant(conv.weight), graph.constant(conv.bias)
    pads = [*conv.padding, *conv.padding]
    return graph.add("Conv", x, weight, bias, strides=list(conv.stride), group=conv.groups, pads=pads)


def _normalised(graph: Graph, rows: str, weight: Any, bias: Any) -> str:
    return graph.add("LayerNormalization", rows, graph.constant(weight), graph.constant(bias), epsilon=1e-5)


def _codes(graph: Graph, z: str, quantizer: KMeansQuantizer | GumbelQuantizer) -> None:
    """Add the quantizer's `encode` of latents (1, N, D)."""
    G, size = quantizer.groups, quantizer.latent_dim // quantizer.groups
    rows = []
    for g in range(G):
        ends = [graph.constant([place], np.int64) for place in (g * size, (g + 1) * size, 2)]
        part, book = graph.add("Slice", z, *ends), g % quantizer.books
        if isinstance(quantizer, KMeansQuantizer):
            words = quantizer.codebook.detach()[book]
            products = graph.add("MatMul", part, graph.constant(words.T))
            score = graph.add("Sub", graph.constant(words.square().sum(1) / 2), products)
            rows.append(graph.add("ArgMin", score, axis=2, keepdims=0))
        else:
            logits = graph.add("MatMul", part, graph.constant(quantizer.weight[book].T))
            logits = graph.add("Add", logits, graph.constant(quantizer.bias[book]))
            rows.append(graph.add("ArgMax", logits, axis=2, keepdims=0))
    graph.add("Concat", *rows, axis=0, name="codes")
