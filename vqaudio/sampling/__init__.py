"""Sampling from a WaveNet: a compiled loop over steps on a CPU, a CUDA graph on a GPU.

Every utterance draws its own counter-based random numbers, and its arithmetic does not depend on the utterances that
are sampled with it: on a CPU the same seed gives the same audio for any batch, order and number of threads.
"""

from vqaudio.sampling.generation import generate, stream, teacher_forced_logits
from vqaudio.sampling.reference import generate_reference

__all__ = ["generate", "generate_reference", "stream", "teacher_forced_logits"]
