"""Compiled loops of training on a CPU, each called through a function that has a twin in plain PyTorch.

`gate` is the WaveNet's gated activation, `likelihood` its negative log likelihood; their loops are in `gate_kernel` and
`likelihood_kernel`, and what these share is in `threads`.
"""

from vqaudio.model.loops.gate import gate_backward, gate_forward
from vqaudio.model.loops.likelihood import negative_log_likelihood

__all__ = ["gate_backward", "gate_forward", "negative_log_likelihood"]
