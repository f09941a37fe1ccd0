"""Naive oracles: each function is the definition, written to be read and not to be fast."""

import functools
import itertools
import math

import numpy as np


def purities_and_pnmi(pairs: list[tuple[str, int]]) -> tuple[float, float, float]:
    """Phone purity, cluster purity and PNMI of (phone, unit) frame pairs, from the joint probabilities."""
    phones, units = {y for y, _ in pairs}, {z for _, z in pairs}
    p = {(y, z): pairs.count((y, z)) / len(pairs) for y in phones for z in units}
    p_y = {y: sum(p[y, z] for z in units) for y in phones}
    p_z = {z: sum(p[y, z] for y in phones) for z in units}
    phone_purity = sum(max(p[y, z] for y in phones) for z in units)
    cluster_purity = sum(max(p[y, z] for z in units) for y in phones)
    mutual = sum(q * math.log(q / p_y[y] / p_z[z]) for (y, z), q in p.items() if q > 0)
    return phone_purity, cluster_purity, mutual / -sum(q * math.log(q) for q in p_y.values())


def mapping_and_prior_accuracy(train: list[tuple[str, int]], test: list[tuple[str, int]]) -> tuple[float, float]:
    """Majority phone per unit and majority phone, counted on train and right on test; ties go to the first name."""

    def majority(phones: list[str]) -> str:
        return min(sorted(set(phones)), key=lambda phone: -phones.count(phone))

    prior = majority([y for y, _ in train])
    mapping = {z: majority([y for y, unit in train if unit == z]) for _, z in train}
    right = [mapping.get(z, prior) == y for y, z in test]
    return sum(right) / len(test), sum(y == prior for y, _ in test) / len(test)


def bits_per_symbol(symbols: list) -> float:
    """Unigram entropy in bits."""
    shares = [symbols.count(symbol) / len(symbols) for symbol in set(symbols)]
    return -sum(p * math.log2(p) for p in shares)


def warped_distance(x: np.ndarray, y: np.ndarray, band: int) -> tuple[float, float]:
    """Least sum of Euclidean distances over warping paths within the band, and the mean along such a path."""
    cost = np.linalg.norm(x[:, None] - y[None], axis=-1)
    N = len(x)

    @functools.cache
    def best(i: int, j: int) -> tuple[float, int]:
        if i < 0 or j < 0 or abs(i - j) > band:
            return math.inf, 0
        before = [best(i - 1, j - 1), best(i - 1, j), best(i, j - 1)] if i or j else [(0.0, 0)]
        total, length = min(before, key=lambda entry: entry[0])
        return total + cost[i, j], length + 1

    total, length = best(N - 1, N - 1)
    return total, total / length


def deduplicate_slowly(frames: list) -> list[tuple]:
    """Runs of equal frames as (frame, length)."""
    return [(frame, len(list(run))) for frame, run in itertools.groupby(frames)]


def naive_nearest_code(z, codebook):
    """argmin_k of the squared distance, one row at a time; (G, M) as lists."""
    return [[int(((book - row) ** 2).sum(1).argmin()) for row in part] for part, book in zip(z, codebook, strict=True)]


def naive_gumbel_gradient(quantizer, z, upstream, temperature):
    """Gradients of sum(upstream * z_q) for one group: the one-hot sample forwards, the softmax backwards."""
    import torch

    rows = z[0].t().clone().requires_grad_()  # (N, d)
    book = quantizer.codebook[0].detach().clone().requires_grad_()
    logits = rows @ quantizer.weight[0].detach().t() + quantizer.bias[0].detach()
    noise = -(-torch.rand(logits.shape).log()).log()
    soft = torch.softmax((logits + noise) / temperature, dim=-1)
    hard = torch.nn.functional.one_hot(soft.argmax(-1), soft.shape[1]).float()
    sample = hard + soft - soft.detach()
    # The codeword's own gradient comes from the one-hot sample, as in F.gumbel_softmax(hard=True) @ codebook.
    (sample @ book * upstream[0].t()).sum().backward()
    return rows.grad.t().unsqueeze(0), book.grad.unsqueeze(0)


def naive_wavenet(net, previous, condition):
    """The WaveNet's equations with conv1d, padding and a condition repeated for every step; (B, S, M, Q)."""
    import torch.nn.functional as F

    steps = previous.shape[1] // condition.shape[2]
    conditions = net.condition(condition.transpose(1, 2)).repeat_interleave(steps, dim=1)
    x, skips = sum(net.embedding(m * net.levels + previous[..., m]) for m in range(net.bands)), 0
    for i, dilation in enumerate(net.dilations):
        weight = net.dilated[i].weight.view(net.gate, net.kernel, net.residual).permute(0, 2, 1)
        padded = F.pad(x.transpose(1, 2), ((net.kernel - 1) * dilation, 0))
        y = F.conv1d(padded, weight, dilation=dilation).transpose(1, 2)
        a, b = (y + conditions[..., i * net.gate : (i + 1) * net.gate]).chunk(2, dim=2)
        update = net.out[i](a.tanh() * b.sigmoid())
        x, skips = x + update[..., : net.residual], skips + update[..., net.residual :]
    logits = net.logits(F.relu(net.head(F.relu(skips * len(net.dilations) ** -0.5))))
    return logits.unflatten(-1, (net.bands, net.levels))


def naive_gumbel_draw(z, weight, bias, codebook, temperature, share):
    """Words and mean softmax of a Gumbel-softmax draw, one operation after the other, for autograd."""
    import torch

    logits = z @ weight.transpose(1, 2) + bias.unsqueeze(1)
    noise = -(-torch.rand(logits.shape).log()).log()
    soft = torch.softmax((logits + noise) / temperature, dim=-1)
    hard = torch.nn.functional.one_hot(soft.argmax(-1), soft.shape[-1]).float()
    through = (hard.detach() + soft - soft.detach()) @ codebook.detach()
    drawn = hard.detach() @ codebook
    words = drawn + through - through.detach()
    return words, (logits.softmax(-1) * share.unsqueeze(1)).sum(1)


def reservoir(rows: list, size: int, seed: int) -> list:
    """Vitter's algorithm R, one row at a time."""
    generator, kept = np.random.default_rng(seed), []
    for i, row in enumerate(rows):
        place = int(generator.integers(0, i + 1))
        if i < size:
            kept.append(row)
        elif place < size:
            kept[place] = row
    return kept


def abx_tokens(alignment: dict, num_frames: dict, frame_rate: float, task: str) -> list[tuple]:
    """Tokens as (utt, phone, context, frames); a context is a phone on either side that touches and is not SIL."""
    tokens = []
    for utt, phones in alignment.items():
        for n, phone in enumerate(phones):
            on, off = phone.start, phone.start + phone.duration
            if phone.phone == "SIL" or n == 0 or n == len(phones) - 1:
                continue
            before, after = phones[n - 1], phones[n + 1]
            context = (before.phone, after.phone)
            gaps = [on - before.start - before.duration, after.start - off]
            if "SIL" in context or max(gaps) > 1e-9:
                continue
            if task == "triphone":
                on, off = before.start, after.start + after.duration
            first, last = math.ceil(round(frame_rate * on - 0.5, 6)), math.floor(round(frame_rate * off - 0.5, 6))
            if frames := list(range(first, min(last, num_frames[utt]))):
                tokens.append((utt, phone.phone, context, frames))
    return tokens


def abx_error(tokens: list[tuple], speakers: dict, token_distance, across: bool) -> float:
    """ABX error by its definition, all tokens and all speakers of X: contexts and X, then speakers, then pairs."""
    errors = {}
    keys = {(speakers[utt], phone, context) for utt, phone, context, _ in tokens}
    group = {key: [t for t in tokens if (speakers[t[0]], t[1], t[2]) == key] for key in keys}
    for (speaker, a, context), (other, b, context_b) in itertools.product(keys, keys):
        if (speaker, context) != (other, context_b) or a == b:
            continue
        for x_speaker, x_phone, x_context in keys:
            if (x_phone, x_context) != (a, context) or (x_speaker != speaker) != across:
                continue
            scores = [
                (token_distance(x, y) < token_distance(x, z)) + 0.5 * (token_distance(x, y) == token_distance(x, z))
                for x in group[x_speaker, a, context]
                for y in group[speaker, a, context]
                for z in group[speaker, b, context]
                if x is not y
            ]
            if scores:
                errors.setdefault((a, b), {}).setdefault(speaker, []).append(1 - sum(scores) / len(scores))
    mean = lambda values: sum(values) / len(values) if values else math.nan  # noqa: E731
    return mean([mean([mean(cells) for cells in of_speakers.values()]) for of_speakers in errors.values()])


def warped_cost(distances: np.ndarray) -> float:
    """Least sum along a path through distances (N, M), divided by its length; the path is traced from its end."""
    cost = np.full((distances.shape[0] + 1, distances.shape[1] + 1), math.inf)
    cost[0, 0] = 0
    for i, j in np.ndindex(distances.shape):
        cost[i + 1, j + 1] = distances[i, j] + min(cost[i, j], cost[i, j + 1], cost[i + 1, j])
    (i, j), length = distances.shape, 1
    while (i, j) != (1, 1):
        steps = [(i - 1, j - 1), (i, j - 1), (i - 1, j)]
        i, j = min((step for step in steps if min(step) > 0), key=lambda step: cost[step])
        length += 1
    return cost[-1, -1] / length


def edit_distance(x: list, y: list) -> int:
    """Levenshtein distance, by its recursion."""

    @functools.cache
    def edits(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(edits(i - 1, j - 1) + (x[i - 1] != y[j - 1]), edits(i - 1, j) + 1, edits(i, j - 1) + 1)

    return edits(len(x), len(y))


def name_of_audio(path: str) -> str:
    """The last part of a path without the suffix of an audio format."""
    name = path.split("/")[-1]
    for suffix in (".wav", ".flac"):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def share_of_sign_patterns(differences: list[float], statistic) -> float:
    """Two-sided p: twice the smaller share of all sign patterns with a statistic as high, or as low, as observed."""
    observed = statistic(differences)
    patterns = itertools.product((1, -1), repeat=len(differences))
    drawn = [statistic([sign * abs(d) for sign, d in zip(signs, differences, strict=True)]) for signs in patterns]
    high = sum(value >= observed - 1e-9 for value in drawn) / len(drawn)
    low = sum(value <= observed + 1e-9 for value in drawn) / len(drawn)
    return min(1.0, 2 * min(high, low))


def signed_rank_sum(differences: list[float]) -> float:
    """Sum of the ranks of positive differences, ranked by size without their signs; tied ones share their mean rank."""
    sizes = [abs(d) for d in differences]
    ranks = [sum(other < size for other in sizes) + (sizes.count(size) + 1) / 2 for size in sizes]
    return sum(rank for rank, d in zip(ranks, differences, strict=True) if d > 0)


def share_of_sums(differences: list[int]) -> float:
    """Two-sided p of the sum of whole numbers under all patterns of signs, by counting how often each sum occurs."""
    counts = {0: 1}
    for difference in differences:
        grown: dict[int, int] = {}
        for total, count in counts.items():
            for signed in (difference, -difference):
                grown[total + signed] = grown.get(total + signed, 0) + count
        counts = grown
    observed = abs(sum(differences))
    return sum(count for total, count in counts.items() if abs(total) >= observed) / 2 ** len(differences)


def crossed_variance(table: list[list[float]]) -> tuple[float, float]:
    """Variance of the mean of listeners × items and its degrees of freedom, from the mean squares in plain sums."""
    n, m = len(table), len(table[0])
    rows = [sum(row) / m for row in table]
    columns = [sum(row[i] for row in table) / n for i in range(m)]
    mean = sum(rows) / n
    of_rows = m * sum((row - mean) ** 2 for row in rows) / (n - 1)
    of_columns = n * sum((column - mean) ** 2 for column in columns) / (m - 1)
    left = [table[j][i] - rows[j] - columns[i] + mean for j in range(n) for i in range(m)]
    of_rest = sum(value**2 for value in left) / ((n - 1) * (m - 1))
    both = of_rows + of_columns - of_rest
    freedom = both**2 / (of_rows**2 / (n - 1) + of_columns**2 / (m - 1) + of_rest**2 / ((n - 1) * (m - 1)))
    return both / (n * m), freedom


def bimodality(values: list[float]) -> float:
    """Sarle's b from power sums, with the unbiased sample skewness g and excess kurtosis k."""
    n, mean = len(values), sum(values) / len(values)
    m2, m3, m4 = (sum((value - mean) ** power for value in values) / n for power in (2, 3, 4))
    g = m3 / m2**1.5 * math.sqrt(n * (n - 1)) / (n - 2)
    k = (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * (m4 / m2**2 - 3) + 6)
    return (g * g + 1) / (k + 3 * (n - 1) ** 2 / ((n - 2) * (n - 3)))


def strengths_by_ascent(wins: list[list[float]]) -> list[float]:
    """Log-strengths of mean 0 that maximise the Bradley–Terry likelihood, by small steps up its gradient."""
    systems = range(len(wins))
    s = [0.0] * len(wins)
    for _ in range(5000):
        chance = [[1 / (1 + math.exp(s[j] - s[i])) for j in systems] for i in systems]
        slope = [sum(wins[i][j] - (wins[i][j] + wins[j][i]) * chance[i][j] for j in systems) for i in systems]
        s = [value + 0.01 * step for value, step in zip(s, slope, strict=True)]
    mean = sum(s) / len(s)
    return [value - mean for value in s]


def excluded_listeners(table: dict[str, dict[str, tuple[float, float]]]) -> set[str]:
    """BS.1534-3: listener -> item -> (hidden reference, mid anchor); who breaks either rule."""
    items = {item for rated in table.values() for item in rated}
    fooled = {item: [rated[item][1] > 90 for rated in table.values() if item in rated] for item in items}
    unfit = {item for item in items if sum(fooled[item]) > 0.25 * len(fooled[item])}
    excluded = set()
    for listener, rated in table.items():
        low = [item for item, (reference, _) in rated.items() if reference < 90]
        high = [item for item, (_, anchor) in rated.items() if anchor > 90 and item not in unfit]
        if 100 * len(low) > 15 * len(rated) or 100 * len(high) > 15 * len(rated):
            excluded.add(listener)
    return excluded


def naive_encoder(encoder, padded):
    """The encoder's layers as convolutions over channels first, one PyTorch call after another; (B, D, N)."""
    import torch.nn.functional as F

    from vqaudio.model.encoder import INPUT_SCALE

    x = padded.unsqueeze(1) * INPUT_SCALE
    for conv in encoder.strided:
        x = F.gelu(conv(x), approximate="tanh")
    for layer in encoder.context:
        conv, crop = layer.depthwise, layer.depthwise.padding[0]
        y = F.conv1d(layer.norm(x.transpose(1, 2)).transpose(1, 2), conv.weight, conv.bias, groups=conv.groups)
        x = x[:, :, crop : crop + y.shape[2]] + F.gelu(layer.pointwise(y), approximate="tanh")
    z = encoder.project(x).transpose(1, 2)
    return F.layer_norm(z.float(), z.shape[-1:]).transpose(1, 2)


def naive_conditioner(conditioner, z_q, speaker):
    """The conditioner's layers as padded convolutions over channels first; (B, C, N)."""
    import torch.nn.functional as F

    x = conditioner.project(z_q) + conditioner.speaker(speaker).unsqueeze(2)
    for norm, conv in zip(conditioner.norms, conditioner.convs, strict=True):
        y = F.pad(norm(x.transpose(1, 2)).transpose(1, 2), (conditioner.side, conditioner.side))
        x = x + F.gelu(conv(y), approximate="tanh")
    return x


def naive_bands(wav: np.ndarray, bands: int, pre_emphasis: float) -> np.ndarray:
    """The bands (S, M) of a wav (T,), a sample and a tap at a time."""
    from vqaudio.model.bands import filters

    x = [wav[t] - pre_emphasis * (wav[t - 1] if t else 0.0) for t in range(len(wav))]
    analysis, _ = filters(bands)
    half = analysis.shape[1] // 2
    out = np.zeros((len(x) // bands, bands))
    for (s, m), _ in np.ndenumerate(out):
        for n in range(-half, half + 1):  # the filter's output is that of the past and, since it is centred, the future
            if 0 <= s * bands - n < len(x):
                out[s, m] += analysis[m, half + n] * x[s * bands - n]
    return out


def naive_log_mel(padded: np.ndarray, left: int, frames: int, rate: int, hop: int, bins: int) -> np.ndarray:
    """Log-mel (bins, frames) of frames that begin at `left`, a window and a bin at a time; zeros beyond the ends."""
    import librosa

    size = _shaper_window(rate, hop)
    filters = librosa.filters.mel(sr=rate, n_fft=size, n_mels=bins)
    out = np.zeros((bins, frames))
    for n in range(frames):
        magnitudes = np.abs(_windowed_spectrum(padded, left + n * hop - (size - hop) // 2, size))
        out[:, n] = [math.log(max(1e-5, float(row @ magnitudes))) for row in filters]
    return out


def naive_shaped(wav: np.ndarray, mel: np.ndarray, rate: int, hop: int, strength: float) -> np.ndarray:
    """Speech (T,) whose frames are filtered towards a log-mel (bins, N): sums of windows over sums of weights."""
    import librosa

    size = _shaper_window(rate, hop)
    filters = librosa.filters.mel(sr=rate, n_fft=size, n_mels=len(mel))
    now = naive_log_mel(wav, 0, mel.shape[1], rate, hop, len(mel))
    frequencies, times = np.arange(size // 2 + 1), np.arange(size)
    back = np.exp(2j * np.pi * np.outer(times, frequencies) / size)
    back *= np.where((frequencies == 0) | (frequencies == size // 2), 1, 2) / size  # each other one comes twice
    sums, weights = np.zeros(len(wav)), np.zeros(len(wav))
    for n in range(mel.shape[1]):
        first = n * hop - (size - hop) // 2
        spectrum = _windowed_spectrum(wav, first, size)
        for f in frequencies:
            total, gain = sum(filters[:, f]), 0.0
            for b in range(len(mel)):
                if filters[b, f]:
                    gain += filters[b, f] / total * strength * min(3.0, max(-3.0, mel[b, n] - now[b, n]))
            spectrum[f] *= math.exp(gain)
        filtered = (back @ spectrum).real
        for k in times:
            if 0 <= first + k < len(wav):
                weight = 0.5 - 0.5 * math.cos(2 * math.pi * k / size)
                sums[first + k] += weight * filtered[k]
                weights[first + k] += weight**2
    return sums / weights


def _shaper_window(rate: int, hop: int) -> int:
    size = 1
    while size < 0.04 * rate or size < 4 * hop:
        size *= 2
    return size


def _windowed_spectrum(wav: np.ndarray, first: int, size: int) -> np.ndarray:
    """Spectrum (size / 2 + 1,) of `size` samples from `first` on under a Hann window."""
    weights = [0.5 - 0.5 * math.cos(2 * math.pi * k / size) for k in range(size)]
    samples = [weights[k] * (wav[first + k] if 0 <= first + k < len(wav) else 0.0) for k in range(size)]
    return np.exp(-2j * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size) @ np.array(samples)


def naive_voice_features(wavs: list, row: int, warp: float, rate: int, hop: int, coefficients: int, offsets: list[int]):
    """MFCC of an utterance of a speaker, who says `wavs`, normalised over all of them, with those at some offsets."""
    import torch

    from vqaudio.audio.features import warped_mfcc

    made = [warped_mfcc(torch.from_numpy(wav), [warp], sample_rate=rate, hop_length=hop)[0].numpy() for wav in wavs]
    everything = np.concatenate(made).astype(float)
    frames = ((made[row] - everything.mean(0)) / everything.std(0))[:, :coefficients]
    last = len(frames) - 1
    return np.array([np.concatenate([frames[min(max(n + i, 0), last)] for i in offsets]) for n in range(last + 1)])


def naive_labels(features: np.ndarray, projection: np.ndarray, centroids: np.ndarray) -> list[int]:
    """The labels of an utterance's features, from the table of all costs."""
    projected = np.array([[float(sum(row * column)) for column in projection.T] for row in features])
    return cheapest_codes(scaled_distances(projected, centroids), 0.5)


def naive_mel_loss(objective, batch, condition, margin):
    """L1 of log-mel over the frames inside recordings but the margins, frame by frame."""
    import torch

    encoder, shaper, rate = objective.model.encoder, objective.model.shaper, objective.cfg.data.sample_rate
    B, N = batch.mask.shape
    values = []
    for b in range(B):
        padded, bins = batch.padded[b].numpy(), shaper.linear.out_features
        wanted = naive_log_mel(padded, encoder.left, N, rate, encoder.hop_length, bins)
        predicted = shaper.linear(shaper.norm(condition[b].T)).T
        values += [
            (predicted[:, n] - torch.from_numpy(wanted[:, n])).abs().mean()
            for n in range(margin, N - margin)
            if batch.mask[b, n]
        ]
    return torch.stack(values).mean()


def naive_label_loss(objective, batch, z):
    """Cross entropy of the labels of the frames inside recordings, frame by frame."""
    import torch
    import torch.nn.functional as F

    linear = objective.label_head.linear
    inside = [(b, n) for b, n in np.ndindex(*batch.mask.shape) if batch.mask[b, n]]
    return torch.stack([F.cross_entropy(linear(z[b, :, n]), batch.labels[b, n]) for b, n in inside]).mean()


def naive_nll(objective, batch, condition, margin):
    """NLL of the WaveNet, which hears nothing before the first frame after the margin, step by step."""
    import torch
    import torch.nn.functional as F

    from vqaudio.audio import mu_law_encode

    encoder, model = objective.model.encoder, objective.model
    hop, M, (B, N) = encoder.hop_length, model.decoder.bands, batch.mask.shape
    first, width, steps = margin, N - 2 * margin, hop // M
    wav = [row[encoder.left : encoder.left + N * hop].numpy() for row in batch.padded]
    bands = np.stack([naive_bands(row, M, objective.cfg.data.pre_emphasis) for row in wav])
    codes = mu_law_encode(torch.tensor(bands * model.bands.gains.numpy(), dtype=torch.float32), 256)
    nll = []
    for b in range(B):
        heard = [[128] * M]  # silence, then what came before each step
        heard += codes[b, first * steps : (first + width) * steps - 1].tolist()
        logits = naive_wavenet(model.decoder, torch.tensor([heard]), condition[b : b + 1, :, first : first + width])[0]
        for i in range(width * steps):
            if batch.mask[b, first + i // steps]:
                nll += [F.cross_entropy(logits[i, m], codes[b, first * steps + i, m]) for m in range(M)]
    return torch.stack(nll).mean()


def boundary_hits(found: list[float], true: list[float], tolerance: float) -> int:
    """Most pairs of times at most `tolerance` apart, each in one pair, by trying every choice."""
    if not found:
        return 0
    first, rest = found[0], found[1:]
    without = boundary_hits(rest, true, tolerance)
    partners = [n for n, time in enumerate(true) if abs(first - time) <= tolerance]
    return max([without] + [1 + boundary_hits(rest, true[:n] + true[n + 1 :], tolerance) for n in partners])


def k_weighted_loudness(wav: np.ndarray) -> float:
    """Loudness without gate of a wav at 48 kHz, with the coefficients printed in ITU-R BS.1770-4, tables 1 and 2."""
    sections = [
        ((1.53512485958697, -2.69169618940638, 1.19839281085285), (-1.69065929318241, 0.73248077421585)),
        ((1.0, -2.0, 1.0), (-1.99004745483398, 0.99007225036621)),
    ]
    x = [0.0, 0.0, *map(float, wav)]
    for (b0, b1, b2), (a1, a2) in sections:
        y = [0.0, 0.0]
        for n in range(2, len(x)):
            y.append(b0 * x[n] + b1 * x[n - 1] + b2 * x[n - 2] - a1 * y[n - 1] - a2 * y[n - 2])
        x = y
    return -0.691 + 10 * math.log10(sum(value * value for value in x) / len(wav))


def stft_distance(x: np.ndarray, y: np.ndarray, fft: int, window: int, hop: int, floor: float) -> float:
    """Spectral convergence and mean log-magnitude difference, a frame and a frequency at a time."""
    half = window // 2
    weights = [0.5 - 0.5 * math.cos(2 * math.pi * n / window) for n in range(window)]
    turns = np.exp(-2j * np.pi * np.outer(np.arange(fft // 2 + 1), np.arange(window)) / fft)

    def magnitudes(wav: np.ndarray) -> np.ndarray:
        sample = lambda t: wav[t] if 0 <= t < len(wav) else 0.0  # noqa: E731
        frames = []
        for centre in range(0, len(wav) + 1, hop):
            frame = [weights[n] * sample(centre - half + n) for n in range(window)]
            frames.append(np.maximum(np.abs(turns @ np.array(frame)), floor))
        return np.array(frames)

    a, b = magnitudes(x), magnitudes(y)
    return np.linalg.norm(a - b) / np.linalg.norm(a) + np.abs(np.log(a) - np.log(b)).mean()


def pitch_errors(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Root mean square of ln F0 ratios where both are voiced (not NaN), and the share where only one is."""
    squares = [math.log(a / b) ** 2 for a, b in pairs if not (math.isnan(a) or math.isnan(b))]
    wrong = [math.isnan(a) != math.isnan(b) for a, b in pairs]
    return math.sqrt(sum(squares) / len(squares)) if squares else math.nan, sum(wrong) / len(wrong)


def word_alignment(reference: list[str], heard: list[str]) -> tuple[int, int, int]:
    """Substitutions, deletions and insertions of the best alignment, of all: fewest errors, then most words right."""

    def alignments(x: list[str], y: list[str]):
        if not x or not y:
            yield 0, len(x), len(y), 0
            return
        for s, d, i, right in alignments(x[1:], y[1:]):
            yield s + (x[0] != y[0]), d, i, right + (x[0] == y[0])
        for s, d, i, right in alignments(x[1:], y):
            yield s, d + 1, i, right
        for s, d, i, right in alignments(x, y[1:]):
            yield s, d, i + 1, right

    return min(alignments(reference, heard), key=lambda counts: (sum(counts[:3]), -counts[3]))[:3]


def ratio_of_draw(numerators, denominators, speakers, times):
    """Sum of numerators by sum of denominators, each utterance as often as its speaker was drawn."""
    weights = [times[speaker] for speaker in speakers]
    return sum(w * n for w, n in zip(weights, numerators, strict=True)) / sum(
        w * d for w, d in zip(weights, denominators, strict=True)
    )


def cheapest_codes(costs: list[list], penalty) -> list[int]:
    """The codes of least cost plus penalty times changes, from a full table; ties as `PenalisedPath` breaks them."""
    total, back = list(costs[0]), []
    for row in costs[1:]:
        came = []
        for k in range(len(row)):
            arrivals = [before + (0 if j == k else penalty) for j, before in enumerate(total)]
            least = min(arrivals)
            came.append(k if arrivals[k] == least else arrivals.index(least))
        total = [
            cost + total[j] + (0 if j == k else penalty) for k, (cost, j) in enumerate(zip(row, came, strict=True))
        ]
        back.append(came)
    codes = [total.index(min(total))]
    for came in reversed(back):
        codes.append(came[codes[-1]])
    return codes[::-1]


def scaled_distances(z: np.ndarray, codebook: np.ndarray) -> list[list[float]]:
    """Squared distances (N, K) by the mean squared distance of a codeword to its nearest other, one at a time."""
    square = lambda x, y: sum((float(a) - float(b)) ** 2 for a, b in zip(x, y, strict=True))  # noqa: E731
    gaps = [min(square(x, y) for j, y in enumerate(codebook) if j != i) for i, x in enumerate(codebook)]
    return [[square(row, word) / (sum(gaps) / len(gaps)) for word in codebook] for row in z]


def naive_reading(pairs: list[tuple[str, int]]) -> dict[int | None, str]:
    """The phone that each unit occurs with most often in (phone, unit) frames; of equal ones the most frequent of all.

    The phone of units that are not there is that of None. Of phones as frequent, silence `_` is first, then the names.
    """
    phones = [phone for phone, _ in pairs]
    ranked = sorted(set(phones), key=lambda phone: (-phones.count(phone), phone != "_", phone))
    return {unit: max(ranked, key=lambda phone: pairs.count((phone, unit))) for _, unit in pairs} | {None: ranked[0]}


def naive_best_permutation(pairs: list[tuple[str, int]], phones: list[str]) -> int:
    """Most (phone, unit) frames that are right when each unit 0, 1, … is a phone of its own."""
    return max(sum(order[unit] == phone for phone, unit in pairs) for order in itertools.permutations(phones))


def naive_region_hits(found: list[int], true: list[int], tolerance: int) -> int:
    """True times with a found time in their region, which ends at the middle to the next and begins after the other."""
    hits = 0
    for n, time in enumerate(true):
        low = max([time - tolerance] + [(true[n - 1] + time) / 2 + 1e-9] * (n > 0))
        high = min([time + tolerance] + [(time + later) / 2 for later in true[n + 1 : n + 2]])
        hits += any(low <= other <= high for other in found)
    return hits


def naive_kneser_ney(sentences: list[list[str]], vocabulary: list[str], order: int):
    """P(word | history) by interpolated Kneser-Ney, as a function; counted n-gram by n-gram, as the definition says."""
    padded = [["<s>", *sentence, "</s>"] for sentence in sentences]
    occurrences = [tuple(s[i : i + n]) for s in padded for n in range(1, order + 1) for i in range(len(s) - n + 1)]
    grams = {gram for gram in occurrences if gram != ("<s>",)}

    def count(gram: tuple) -> int:
        if len(gram) == order or gram[0] == "<s>":
            return occurrences.count(gram)
        return len({longer[0] for longer in occurrences if longer[1:] == gram})

    counts = {gram: count(gram) for gram in grams}

    def discount(n: int) -> float:
        once, twice = ([c for g, c in counts.items() if len(g) == n].count(times) for times in (1, 2))
        return once / (once + 2 * twice) if once and twice else 0.5

    def probability(word: str, history: tuple) -> float:
        history = history[-(order - 1) :] if order > 1 else ()
        below = probability(word, history[1:]) if history else 1 / len(vocabulary)
        after = [c for g, c in counts.items() if g[:-1] == history]
        if not after:
            return below
        D = discount(len(history) + 1)
        kept = max(counts.get((*history, word), 0) - D, 0)
        return (kept + D * len(after) * below) / sum(after)

    return probability


def read_arpa(text: str):
    """P(word | history) of an ARPA file, as a function: the rule of the format, and nothing of ours."""
    logs, weights = {}, {}
    for line in text.partition("\\data\\")[2].splitlines():
        fields = line.split("\t")
        if len(fields) > 1:
            ngram = tuple(fields[1].split())
            logs[ngram] = float(fields[0])
            weights[ngram] = float(fields[2]) if len(fields) > 2 else 0.0

    def log_probability(word: str, history: tuple) -> float:
        if (*history, word) in logs:
            return logs[(*history, word)]
        return weights.get(history, 0.0) + log_probability(word, history[1:])

    return lambda word, history: 10 ** log_probability(word, history)
