"""Compiled loops of training on a CPU, each behind one function and equal to plain PyTorch.

`gate` is the WaveNet's gated activation, `gelu` the encoder's, `likelihood` the WaveNet's negative log likelihood.
"""

from vqaudio.model.loops.gate import gate_backward, gate_forward
from vqaudio.model.loops.gelu import gelu_backward, gelu_forward
from vqaudio.model.loops.likelihood import negative_log_likelihood

__all__ = ["gate_backward", "gate_forward", "gelu_backward", "gelu_forward", "negative_log_likelihood"]
