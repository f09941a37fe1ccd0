"""The network: tensors in, tensors out, with no files, no logging and no choice of device.

wav ─► `encoder` ─► z (B, D, N) ─► `quantizer` ─► codes (B, G, N) and z_q ─► `decoder` (conditioner and WaveNet)
"""

from vqaudio.model.autoencoder import Latents, VQAutoencoder, build_model

__all__ = ["Latents", "VQAutoencoder", "build_model"]
