"""Autoregressive generation with a WaveNet on CPU, one compiled loop over samples.

Every utterance draws its own counter-based random numbers, and its arithmetic does not depend on what is sampled
beside it: the same seed gives the same audio whatever the batch, the order or the number of threads.
"""

from vqaudio.sampling.generation import generate, stream, teacher_forced_logits
from vqaudio.sampling.reference import generate_reference

__all__ = ["generate", "generate_reference", "stream", "teacher_forced_logits"]
