"""The plain formulation of the networks, as a textbook writes it, with the parameters of the package's modules.

Channels come first, convolutions are conv1d with padding, the condition is repeated for every sample, and autograd
computes the gradients.
"""

import torch.nn.functional as F
from torch import Tensor

from vqaudio.model.decoder import Conditioner, WaveNet
from vqaudio.model.encoder import INPUT_SCALE, Encoder


def encode(encoder: Encoder, padded: Tensor) -> Tensor:
    """Return `z` (B, D, N) of `padded` (B, left + N * hop_length + right)."""
    x = padded.unsqueeze(1) * INPUT_SCALE
    for conv in encoder.strided:
        x = F.gelu(conv(x), approximate="tanh")
    for layer in encoder.context:
        conv, crop = layer.depthwise, layer.depthwise.padding[0]
        y = F.conv1d(layer.norm(x.transpose(1, 2)).transpose(1, 2), conv.weight, conv.bias, groups=conv.groups)
        x = x[:, :, crop : crop + y.shape[2]] + F.gelu(layer.pointwise(y), approximate="tanh")
    z = encoder.project(x).transpose(1, 2)
    return F.layer_norm(z.float(), z.shape[-1:]).transpose(1, 2)


def condition(conditioner: Conditioner, z_q: Tensor, speaker: Tensor) -> Tensor:
    """Return the condition (B, C, N) of `z_q` (B, D, N) and `speaker` (B,)."""
    x = conditioner.project(z_q) + conditioner.speaker(speaker).unsqueeze(2)
    for norm, conv in zip(conditioner.norms, conditioner.convs, strict=True):
        y = F.pad(norm(x.transpose(1, 2)).transpose(1, 2), (conditioner.side, conditioner.side))
        x = x + F.gelu(conv(y), approximate="tanh")
    return x


def error(net: WaveNet, previous: Tensor, condition: Tensor, codes: Tensor) -> Tensor:
    """Return the mean negative log likelihood of `codes` (B, S, M); `previous` is like it, `condition` (B, C, N)."""
    steps, R, past = previous.shape[1] // condition.shape[2], net.residual, net.kernel - 1
    embedding = net.embedding.weight.view(net.bands, net.levels, R)
    x = sum(F.embedding(previous[:, :, band], embedding[band]) for band in range(net.bands)).transpose(1, 2)
    skips: Tensor | int = 0
    conditions = F.conv1d(condition, net.condition.weight.unsqueeze(2), net.condition.bias).chunk(len(net.out), 1)
    for dilated, out, dilation, c in zip(net.dilated, net.out, net.dilations, conditions, strict=True):
        weight = dilated.weight.view(net.gate, net.kernel, R).transpose(1, 2)
        y = F.conv1d(F.pad(x, (past * dilation, 0)), weight, dilation=dilation) + c.repeat_interleave(steps, dim=2)
        a, b = y.chunk(2, dim=1)
        update = F.conv1d(a.tanh() * b.sigmoid(), out.weight.unsqueeze(2), out.bias)
        x, skips = x + update[:, :R], skips + update[:, R:]
    hidden = F.relu(skips * len(net.out) ** -0.5)
    for linear in (net.head, net.logits):
        hidden = F.conv1d(hidden if linear is net.head else F.relu(hidden), linear.weight.unsqueeze(2), linear.bias)
    logits = hidden.unflatten(1, (net.bands, net.levels)).permute(0, 2, 3, 1)  # (B, Q, S, M)
    return F.cross_entropy(logits, codes)
