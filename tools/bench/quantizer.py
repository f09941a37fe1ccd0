"""Quantizers, forward and backward at (8, 2000, 64) on one core: ours, other libraries', and the arithmetic limit.

Ours takes channels first, as encoders return them, the others channels last; each gets its own layout. The limit is the
time of the necessary matrix products at the speed of a large product measured in the same rounds.
"""

from collections.abc import Callable

import measure
import torch
from torch import Tensor, nn

from vqaudio.model.quantizer import GumbelQuantizer, KMeansQuantizer

B, N, D = 8, 2000, 64
K = 512  # codes of the k-means quantizer
G, V = 2, 320  # groups and codes each of the Gumbel quantizer
PEERS = {"kmeans": "vector-quantize-pytorch", "gumbel": "transformers"}

Step = Callable[[], object]


def step(module: nn.Module, z: Tensor, total: Callable[[Tensor], Tensor]) -> Step:
    """Return a call of the forward and the backward of `total(z)`, to latents and parameters, as in training."""
    z = z.requires_grad_()

    def run() -> None:
        z.grad = None
        module.zero_grad()
        total(z).backward()

    return run


def ours(name: str, z: Tensor) -> Step:
    generator = torch.Generator().manual_seed(0)
    module: KMeansQuantizer | GumbelQuantizer
    if name == "kmeans":
        module = KMeansQuantizer(
            codebook_size=K,
            latent_dim=D,
            groups=1,
            shared=False,
            update="ema",
            decay=0.99,
            commitment=0.25,
            restart_threshold=0.1,
        )
    else:
        module = GumbelQuantizer(codebook_size=V, latent_dim=D, groups=G, shared=False, diversity=0.1, sharpness=4.0)
    module.initialise(z.transpose(1, 2).reshape(-1, D)[:4000], generator)

    def total(z: Tensor) -> Tensor:
        output = module(z, temperature=1.0)
        return output.z_q.sum() + sum(output.losses.values())

    return step(module.train(), z, total)


def peer(name: str, z: Tensor) -> Step:
    """Return the step of another library's quantizer of the same sizes.

    Raises:
        ImportError: the library is not installed.
    """
    z = z.transpose(1, 2).contiguous()
    if name == "kmeans":
        from vector_quantize_pytorch import VectorQuantize

        vq = VectorQuantize(dim=D, codebook_size=K, decay=0.99, commitment_weight=0.25)

        def total(z: Tensor) -> Tensor:
            z_q, _, loss = vq(z)
            return z_q.sum() + loss.sum()

        return step(vq.train(), z, total)
    from transformers import Wav2Vec2Config
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2GumbelVectorQuantizer

    config = Wav2Vec2Config(conv_dim=(D,) * 7, num_codevector_groups=G, num_codevectors_per_group=V, codevector_dim=D)
    gumbel = Wav2Vec2GumbelVectorQuantizer(config)
    gumbel.temperature = 1.0

    def total_gumbel(z: Tensor) -> Tensor:
        z_q, perplexity = gumbel(z)
        return z_q.sum() - 0.1 * perplexity

    return step(gumbel.train(), z, total_gumbel)


def product_gflop(name: str, frames: int) -> float:
    """Return the GFLOP of the products: distances; or logits, and gradients of the sample, weights and latents."""
    return 2 * frames * D * K / 1e9 if name == "kmeans" else 4 * 2 * frames * D * V / 1e9


def rows(name: str, label: str, target: int, *, frames: int, rounds: int, peers: bool) -> list[list[object]]:
    torch.manual_seed(0)
    z = torch.randn(B, D, frames // B)
    calls: dict[str, Step] = {"ours": ours(name, z.clone()), "product": measure.matrix_product()}
    missing = "skipped by --quick"
    if peers:
        try:
            calls["peer"] = peer(name, z)
        except ImportError as error:
            missing = f"not measured: {error}"
    times = measure.interleaved(calls, rounds)
    limit = 1000 * product_gflop(name, frames) / measure.gflops(times["product"])
    found = [[label, "vqaudio", times["ours"], f"{limit:.1f}", f"{1000 * times['ours'].median / limit:.1f} ×"]]
    if "peer" in times:
        ratio = f"{times['peer'].over(times['ours']):.1f} × ours (target {target})"
        return [*found, [label, PEERS[name], times["peer"], "", ratio]]
    return [*found, [label, PEERS[name], missing, "", ""]]


def main() -> None:
    quick = measure.options(__doc__).quick
    measure.one_core()
    frames, rounds = (B * 200, 3) if quick else (B * N, 7)
    header = ["quantizer", "library", "CPU ms, median (range)", "limit, ms", "ratio"]
    settings = {"frames": frames, "rounds": rounds, "peers": not quick}
    body = rows("kmeans", f"k-means, K = {K}, moving averages", 4, **settings)
    body += rows("gumbel", f"Gumbel, G = {G}, V = {V}", 10, **settings)
    title = f"Quantizers, forward and backward at ({B}, {frames // B}, {D}), one thread"
    text = f"{measure.machine(list(PEERS.values()))}\n\n{measure.table(header, body)}"
    measure.report(title, text, save=not quick)


if __name__ == "__main__":
    main()
