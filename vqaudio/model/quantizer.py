"""Vector quantizers: a k-means codebook (VQ-VAE) and a Gumbel-softmax codebook behind one interface.

Both cut `z` (B, D, N) into G groups of D / G channels (product quantization) and choose one of K codewords for each.
Until `initialise` has seen latents, `z` passes through unquantized: a codebook that starts on the encoder's own
outputs does not collapse, one that starts at random often does.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqaudio import distributed
from vqaudio.model.clustering import kmeans, nearest_label
from vqaudio.model.gumbel_softmax import gumbel_draw


class QuantizerOutput(NamedTuple):
    """`z_q` (B, D, N), `codes` (B, G, N), losses to add up, and `stats`.

    `stats` holds the `counts` (G, K) of each code; from a k-means quantizer in training also `restarted` (books, K):
    true for the codes that moved to a latent of this batch.
    """

    z_q: Tensor
    codes: Tensor
    losses: dict[str, Tensor]
    stats: dict[str, Tensor]


def nearest_code(z: Tensor, codebook: Tensor) -> Tensor:
    """Return argmin_k ||z - e_k||² (G, M) for `z` (G, M, d) and `codebook` (G, K, d)."""
    return torch.stack([nearest_label(part, book) for part, book in zip(z, codebook, strict=True)])


def code_counts(codes: Tensor, codebook_size: int) -> Tensor:
    """Count each code of `codes` (G, M): a float tensor (G, K)."""
    G = codes.shape[0]
    offsets = torch.arange(G, device=codes.device).unsqueeze(1) * codebook_size
    return torch.bincount((codes + offsets).flatten(), minlength=G * codebook_size).view(G, -1).float()


class Quantizer(nn.Module):
    """What all variants share: groups, which must divide `latent_dim`, the codebook's look-up, and its start."""

    initialised: Tensor
    codebook: Tensor

    def __init__(self, *, codebook_size: int, groups: int, shared: bool, latent_dim: int) -> None:
        super().__init__()
        if latent_dim % groups:
            raise ValueError(f"groups ({groups}) must divide latent_dim ({latent_dim}); change one of them")
        self.codebook_size, self.groups, self.latent_dim = codebook_size, groups, latent_dim
        self.books = 1 if shared else groups  # groups may share one codebook
        self.register_buffer("initialised", torch.tensor(False))

    def split(self, z: Tensor) -> Tensor:
        """Cut `z` (B, D, N) into (G, B * N, d)."""
        B, D, N = z.shape
        return z.view(B, self.groups, D // self.groups, N).permute(1, 0, 3, 2).reshape(self.groups, B * N, -1)

    def join(self, z: Tensor, B: int) -> Tensor:
        """Undo `split`: (G, B * N, d) back to (B, D, N)."""
        G, M, d = z.shape
        return z.view(G, B, M // B, d).permute(1, 0, 3, 2).reshape(B, G * d, M // B)

    def codewords(self, codes: Tensor) -> Tensor:
        """Return the codewords (G, M, d) of `codes` (G, M)."""
        book = self.codebook.expand(self.groups, -1, -1)
        return torch.stack([F.embedding(codes[g], book[g]) for g in range(self.groups)])

    def lookup(self, codes: Tensor) -> Tensor:
        """Return `z_q` (B, D, N) of `codes` (B, G, N)."""
        B, G, N = codes.shape
        return self.join(self.codewords(codes.transpose(0, 1).reshape(G, B * N)), B)

    def encode(self, z: Tensor) -> Tensor:
        """Return the codes (B, G, N) of `z` (B, D, N): deterministic, no statistics touched."""
        codes = self.assign(self.split(z))
        return codes.view(self.groups, z.shape[0], -1).transpose(0, 1).contiguous()

    def assign(self, z: Tensor) -> Tensor:
        """Return the codes (G, M) of `z` (G, M, d)."""
        raise NotImplementedError

    def start_codebook(self, z: Tensor, generator: torch.Generator) -> Tensor:
        """Run k-means over latents `z` (M, D); return a codebook (books, K, d)."""
        parts = z.unflatten(1, (self.groups, -1)).transpose(0, 1)  # (G, M, d)
        if self.books == 1:
            parts = parts.reshape(1, -1, parts.shape[2])
        return torch.stack([kmeans(part, self.codebook_size, generator=generator) for part in parts])

    def pass_through(self, z: Tensor) -> QuantizerOutput:
        """Return `z` itself: the phase before the codebook exists."""
        B, _, N = z.shape
        codes = torch.zeros(B, self.groups, N, dtype=torch.long, device=z.device)
        return QuantizerOutput(z, codes, {}, {"counts": z.new_zeros(self.groups, self.codebook_size)})


class KMeansQuantizer(Quantizer):
    """Nearest codeword with a straight-through gradient (van den Oord et al. 2017, eq. 1 to 3).

    `update="ema"` moves the codebook by the exponential moving averages of appendix A.1, N <- decay N + (1-decay) n,
    m <- decay m + (1 - decay) sum z, e = m / N with N Laplace-smoothed. `update="gradient"` adds ||sg(z) - e||² to
    the losses. A code whose average count falls under `restart_threshold` times the uniform share restarts on a
    latent of the batch, its averages with it.

    Raises:
        ValueError: `groups` does not divide `latent_dim`, or there is no such `update`.
    """

    cluster_size: Tensor
    cluster_sum: Tensor

    def __init__(
        self,
        *,
        codebook_size: int,
        latent_dim: int,
        groups: int,
        shared: bool,
        update: str,
        decay: float,
        commitment: float,
        restart_threshold: float,
    ) -> None:
        super().__init__(codebook_size=codebook_size, groups=groups, shared=shared, latent_dim=latent_dim)
        if update not in ("ema", "gradient"):
            raise ValueError(f"update={update} must be ema or gradient; choose one of them")
        self.update, self.decay, self.commitment = update, decay, commitment
        self.restart_threshold = restart_threshold
        codebook = torch.randn(self.books, codebook_size, latent_dim // groups)
        if update == "gradient":
            self.codebook = nn.Parameter(codebook)
        else:
            self.register_buffer("codebook", codebook)
        self.register_buffer("cluster_size", torch.ones(self.books, codebook_size))
        self.register_buffer("cluster_sum", codebook.clone())

    def assign(self, z: Tensor) -> Tensor:
        """Return the nearest codes (G, M) of `z` (G, M, d)."""
        return nearest_code(z, self.codebook.detach().expand(self.groups, -1, -1))

    @torch.no_grad()
    def initialise(self, z: Tensor, generator: torch.Generator) -> None:
        """Start the codebook by k-means over latents `z` (M, D)."""
        codebook = self.start_codebook(z, generator)
        self.codebook.copy_(codebook)
        self.cluster_size.fill_(z.shape[0] * self.groups / (self.books * self.codebook_size))
        self.cluster_sum.copy_(codebook * self.cluster_size.unsqueeze(2))
        self.initialised.fill_(True)

    def forward(self, z: Tensor, temperature: float, mask: Tensor | None = None) -> QuantizerOutput:  # noqa: ARG002
        """Quantize `z` (B, D, N); frames outside `mask` (B, N) touch neither losses nor statistics."""
        if not self.initialised:
            return self.pass_through(z)
        B, _, N = z.shape
        flat = self.split(z)
        codes = self.assign(flat.detach())
        words = self.codewords(codes)
        valid = slice(None) if mask is None else mask.flatten().nonzero().squeeze(1)
        losses = {"commitment": self.commitment * F.mse_loss(flat[:, valid], words[:, valid].detach())}
        if self.update == "gradient":
            losses["codebook"] = F.mse_loss(words[:, valid], flat[:, valid].detach())
        counts = code_counts(codes[:, valid], self.codebook_size)
        stats = {"counts": counts}
        if self.training:
            stats["restarted"] = self._update_averages(flat[:, valid].detach(), codes[:, valid], counts)
        z_q = flat + (words - flat).detach()
        shaped = codes.view(self.groups, B, N).transpose(0, 1)
        return QuantizerOutput(self.join(z_q, B), shaped, losses, stats)

    @torch.no_grad()
    def _update_averages(self, z: Tensor, codes: Tensor, counts: Tensor) -> Tensor:
        """Move the averages, restart dead codes and, with `update="ema"`, move the codebook; return `restarted`."""
        sums = z.new_zeros(self.groups, self.codebook_size, z.shape[2])
        for g in range(self.groups):
            sums[g].index_add_(0, codes[g], z[g])
        counts = counts.view(-1, self.groups // self.books, self.codebook_size).sum(1)
        sums = sums.view(-1, self.groups // self.books, *sums.shape[1:]).sum(1)
        distributed.all_reduce([counts, sums])
        self.cluster_size.lerp_(counts, 1 - self.decay)
        self.cluster_sum.lerp_(sums, 1 - self.decay)
        restarted = self._restart_dead(z)
        if self.update == "ema":
            total = self.cluster_size.sum(1, keepdim=True)
            epsilon = 1e-5
            smoothed = (self.cluster_size + epsilon) / (total + self.codebook_size * epsilon) * total
            self.codebook.copy_(self.cluster_sum / smoothed.unsqueeze(2))
        return restarted

    def _restart_dead(self, z: Tensor) -> Tensor:
        """Move codes that are hardly used to latents of `z` (G, M, d); return which (books, K)."""
        share = self.cluster_size.mean(1, keepdim=True)
        dead = self.cluster_size < self.restart_threshold * share
        if not dead.any():
            return dead
        candidates = z.reshape(self.books, -1, z.shape[2])  # (books, M', d)
        for book in range(self.books):
            rows = dead[book].nonzero().squeeze(1)
            if len(rows) == 0:
                continue
            chosen = self.codebook.detach()[book, rows]
            if candidates.shape[1] > 0:
                chosen = candidates[book, torch.randint(candidates.shape[1], (len(rows),), device=z.device)]
            distributed.broadcast([chosen])
            self.codebook[book, rows] = chosen
            # Without these two lines the next average would pull the code straight back to where it died.
            self.cluster_size[book, rows] = share[book]
            self.cluster_sum[book, rows] = chosen * share[book]
        return dead


class GumbelQuantizer(Quantizer):
    """A codeword drawn by a hard straight-through Gumbel-softmax (Jang et al. 2017; vq-wav2vec, section 3.2).

    Training draws from softmax((logits + Gumbel noise) / temperature); inference takes the largest logit. The diversity
    loss (G K - sum of perplexities of the mean softmax) / (G K) pushes towards using every code.
    """

    def __init__(
        self,
        *,
        codebook_size: int,
        latent_dim: int,
        groups: int,
        shared: bool,
        diversity: float,
        sharpness: float,
    ) -> None:
        super().__init__(codebook_size=codebook_size, groups=groups, shared=shared, latent_dim=latent_dim)
        self.diversity, self.sharpness = diversity, sharpness
        d = latent_dim // groups
        self.weight = nn.Parameter(torch.randn(self.books, codebook_size, d) * d**-0.5)
        self.bias = nn.Parameter(torch.zeros(self.books, codebook_size))
        self.codebook = nn.Parameter(torch.randn(self.books, codebook_size, d))

    def logits(self, z: Tensor) -> Tensor:
        """Return the logits (G, M, K) of `z` (G, M, d)."""
        weight, bias = self.weight.expand(self.groups, -1, -1), self.bias.expand(self.groups, -1)
        with torch.autocast(z.device.type, enabled=False):
            return torch.baddbmm(bias.unsqueeze(1), z, weight.transpose(1, 2))

    def assign(self, z: Tensor) -> Tensor:
        """Return the most likely codes (G, M) of `z` (G, M, d)."""
        return self.logits(z).argmax(-1)

    @torch.no_grad()
    def initialise(self, z: Tensor, generator: torch.Generator) -> None:
        """Start from k-means over latents `z` (M, D): logits -s ||z - e||² less their common term, codewords e.

        `s` is `sharpness` over the mean squared distance to the nearest codeword, so that the noise of the first
        draws already respects the neighbourhoods.
        """
        codebook = self.start_codebook(z, generator)
        self.codebook.copy_(codebook)
        parts = z.unflatten(1, (self.groups, -1)).transpose(0, 1)
        book = codebook.expand(self.groups, -1, -1)
        nearest = torch.stack([book[g][codes] for g, codes in enumerate(nearest_code(parts, book))])
        scale = self.sharpness / (parts - nearest).square().sum(-1).mean().clamp_min(1e-8)
        self.weight.copy_(2 * scale * codebook)
        self.bias.copy_(-scale * codebook.square().sum(-1))
        self.initialised.fill_(True)

    def forward(self, z: Tensor, temperature: float, mask: Tensor | None = None) -> QuantizerOutput:
        """Quantize `z` (B, D, N) at a temperature; frames outside `mask` (B, N) touch neither losses nor statistics."""
        if not self.initialised:
            return self.pass_through(z)
        B, _, N = z.shape
        flat = self.split(z)
        share = z.new_ones(B * N) if mask is None else mask.flatten().to(z.dtype)
        share = share / (frames := share.sum())
        if self.training:
            weight, bias = self.weight.expand(self.groups, -1, -1), self.bias.expand(self.groups, -1)
            book = self.codebook.expand(self.groups, -1, -1)
            z_q, codes, likeliest, mean = gumbel_draw(flat, weight, bias, book, temperature=temperature, share=share)
            mean = distributed.mean(mean, distributed.share(frames))  # all processes together are to use every code
        else:
            logits = self.logits(flat)
            codes = likeliest = logits.argmax(-1)
            z_q, mean = self.codewords(codes), (logits.softmax(-1) * share.unsqueeze(1)).sum(1)
        perplexity = torch.exp(-(mean * (mean + 1e-10).log()).sum(-1))
        losses = {"diversity": self.diversity * (1 - perplexity.mean() / self.codebook_size)}
        valid = slice(None) if mask is None else mask.flatten().nonzero().squeeze(1)
        counts = code_counts(likeliest[:, valid], self.codebook_size)
        shaped = codes.view(self.groups, B, N).transpose(0, 1)
        stats = {"counts": counts, "soft_perplexity": perplexity.detach().mean()}
        return QuantizerOutput(self.join(z_q, B), shaped, losses, stats)


def usage_stats(counts: Tensor) -> dict[str, float]:
    """Return usage (share of codes seen), perplexity and entropy (bits), averaged over groups, of `counts` (G, K)."""
    p = counts / counts.sum(1, keepdim=True).clamp_min(1)
    entropy = -(p * p.clamp_min(1e-30).log()).sum(1)
    return {
        "usage": (counts > 0).float().mean().item(),
        "perplexity": entropy.exp().mean().item(),
        "entropy": (entropy / torch.log(torch.tensor(2.0))).mean().item(),
    }
