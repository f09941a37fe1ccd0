"""The Gumbel-softmax draw equals its definition, whatever the pieces it is computed in."""

import pytest
import torch
from reference import naive_gumbel_draw

from vqaudio.model.gumbel_softmax import gumbel_draw


def leaves(seed: int, G: int = 2, M: int = 50, K: int = 7, d: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(G, M, d), (G, K, d), (G, K), (G, K, d)]
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("cached", [1, 64, 1 << 18])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_draw_and_its_gradients_are_those_of_single_operations(cached, temperature, monkeypatch):
    monkeypatch.setattr("vqaudio.model.clustering.CACHED", cached)  # pieces of one row, of nine, of all
    share = torch.rand(50, generator=torch.Generator().manual_seed(9))
    upstream = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(8))
    results = []
    for draw in (gumbel_draw, naive_gumbel_draw):
        inputs = leaves(1)
        torch.manual_seed(3)
        words, *_, mean = draw(*inputs, temperature=temperature, share=share)
        loss = (words * upstream).sum() + mean.square().sum()
        results.append([words, mean, *torch.autograd.grad(loss, inputs)])
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


def test_codes_are_drawn_with_the_softmax_of_the_logits():
    torch.manual_seed(0)
    z, weight, codebook = torch.zeros(1, 20000, 1), torch.zeros(1, 4, 1), torch.eye(4)[None]
    bias = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    draw = gumbel_draw(z, weight, bias, codebook, temperature=0.1, share=torch.full((20000,), 1 / 20000))
    frequencies = torch.bincount(draw.codes[0], minlength=4) / 20000
    torch.testing.assert_close(frequencies, bias.exp()[0], atol=0.015, rtol=0)
    torch.testing.assert_close(draw.mean, bias.exp(), atol=1e-3, rtol=0)
    assert torch.equal(draw.words[0], codebook[0][draw.codes[0]])
    assert (draw.likeliest == 0).all()
