"""The encoder: its frame arithmetic and what each frame may depend on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqaudio.model.encoder import Encoder


def small_encoder(**changes: object) -> Encoder:
    torch.manual_seed(0)
    options = {
        "channels": [6, 8],
        "kernels": [7, 4],
        "strides": [4, 2],
        "context_layers": 2,
        "context_kernel": 3,
        "latent_dim": 5,
    }
    return Encoder(**{**options, **changes}).eval()


@settings(max_examples=40, deadline=None)
@given(num_samples=st.integers(1, 400), context=st.integers(0, 2), kernel=st.sampled_from([1, 3, 5]))
def test_num_frames_is_the_length_of_the_output(num_samples: int, context: int, kernel: int) -> None:
    encoder = small_encoder(context_layers=context, context_kernel=kernel)
    z = encoder(torch.randn(2, num_samples))
    assert z.shape == (2, 5, encoder.num_frames(num_samples))
    assert encoder.num_frames(num_samples) == -(-num_samples // 8)


def test_a_frame_depends_on_its_receptive_field_exactly() -> None:
    encoder = small_encoder()
    wav = torch.randn(1, 400)
    n = 20
    first, last = n * 8 - encoder.left, (n + 1) * 8 + encoder.right  # one past the end
    assert last - first == encoder.receptive_field
    base = encoder(wav)[0, :, n]
    for position, touches in [(first - 1, False), (first, True), (last - 1, True), (last, False)]:
        changed = wav.clone()
        changed[0, position] += 3.0
        assert torch.equal(encoder(changed)[0, :, n], base) is not touches, position


def test_chunks_with_context_equal_the_whole() -> None:
    encoder = small_encoder()
    wav = torch.randn(1, 8 * 30)
    padded = torch.nn.functional.pad(wav, (encoder.left, encoder.right))
    whole = encoder(wav)
    for start in range(0, 30, 10):
        chunk = padded[:, start * 8 : (start + 10) * 8 + encoder.left + encoder.right]
        assert torch.allclose(encoder.frames(chunk), whole[:, :, start : start + 10], atol=1e-6)


def test_latents_have_zero_mean_and_unit_variance_over_channels() -> None:
    z = small_encoder()(torch.randn(3, 100))
    assert torch.allclose(z.mean(1), torch.zeros(3, 13), atol=1e-5)
    assert torch.allclose(z.var(1, unbiased=False), torch.ones(3, 13), atol=1e-2)


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="equally long"):
        small_encoder(kernels=[7])


def test_a_receptive_field_under_a_hop_is_refused() -> None:
    with pytest.raises(ValueError, match="receptive field"):
        small_encoder(kernels=[1, 1], context_layers=0)
