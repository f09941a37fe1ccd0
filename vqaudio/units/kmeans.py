"""Makes units by k-means on fixed features: MFCC, log-mel, or .npy files of another tool such as HuBERT.

A model is one safetensors file: `mean` and `std` (D,), `codebook` (K, D), and in its header the kind of features, the
sample rate and the hop length.
"""

import functools
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vqaudio import audio, files
from vqaudio.audio.features import log_mel_power, mfcc, stacked_mfcc
from vqaudio.datadir import Utterance
from vqaudio.defaults import FEATURES
from vqaudio.errors import UserError
from vqaudio.model.clustering import kmeans, nearest_label
from vqaudio.model.penalty import CodeCosts, PenalisedSearch, check_penalty
from vqaudio.outputs import check_file, claim_folder
from vqaudio.progress import Progress
from vqaudio.threads import one_thread
from vqaudio.units.directory import UnitsInfo
from vqaudio.units.extraction import Encode, Ray, check_shard, write_all
from vqaudio.units.npy import find_source, read_npy
from vqaudio.units.reservoir import Reservoir
from vqaudio.units.writer import KIND

LEVEL_DB = -25.0
"""dBFS that utterances are scaled to, so that features tell loud phones from soft ones, not loud recordings."""
MAX_SEEN = 4
"""`fit` reads at most this many times the frames that it clusters."""
FEWER = "ask for fewer (--codebook-size), or give more speech (--frames samples more of it)"
FIT_AGAIN = "fit it again with vqaudio kmeans fit"


FROM_AUDIO = {"mfcc": mfcc, "mfcc-stacked": stacked_mfcc, "log-mel": log_mel_power}
"""Features that are computed from audio."""


@dataclass(frozen=True)
class KMeansUnits:
    """A codebook for features; `fit` or `load` makes one."""

    features: str
    """One of `vqaudio.defaults.FEATURES`."""
    sample_rate: int
    """Hz."""
    hop_length: int
    """Samples per frame."""
    mean: Tensor
    """(D,) mean of the frames of the fit; 0 for npy."""
    std: Tensor
    """(D,) standard deviation of the frames of the fit; 1 for npy."""
    codebook: Tensor
    """(K, D), standardised."""

    @classmethod
    def fit(
        cls,
        utterances: Iterable[Utterance],
        codebook_size: int,
        *,
        features: str,
        sample_rate: int,
        hop_length: int,
        frames: int,
        seed: int,
    ) -> "KMeansUnits":
        """Fit a codebook on features; neither memory nor time grows with the corpus.

        Utterances are read in random order until 4 · `frames` frames have been seen; k-means++ and Lloyd's iterations
        work on a uniform sample of at most `frames` of those. All together take 12 · `frames` · D bytes (140 MB for
        MFCC, 2.8 GB for D = 768) and one utterance. MFCC and log-mel are standardised in each dimension; features from
        files are clustered as they are, as is usual for HuBERT's.

        Args:
            utterances: utterances to read; files that cannot be read are skipped.
            codebook_size: K.
            features: one of `vqaudio.defaults.FEATURES`.
            sample_rate: Hz, of the audio, or of the audio that the .npy files were computed from.
            hop_length: samples per frame.
            frames: size of the sample.
            seed: of the order, the sample and the initial clusters.

        Raises:
            UserError: no file can be read, files have features of different size, or there are fewer frames than codes.

        Source: Vitter 1985 (reservoir sampling, algorithm R).
        """
        sample = _sample(utterances, codebook_size, features, sample_rate, hop_length, frames, seed)
        mean, std = torch.zeros(sample.shape[1]), torch.ones(sample.shape[1])
        if features != "npy":
            mean, std = sample.mean(dim=0), sample.std(dim=0, correction=0).clamp_min(1e-5)
            sample.sub_(mean).div_(std)
        codebook = kmeans(sample, codebook_size, generator=torch.Generator().manual_seed(seed))
        return cls(features, sample_rate, hop_length, mean, std, codebook)

    @classmethod
    def load(cls, path: Path) -> "KMeansUnits":
        """Read what `save` wrote; nothing is unpickled.

        Raises:
            UserError: the file is missing or is no k-means model.
        """
        try:
            with safe_open(path, "pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in ("mean", "std", "codebook")}
            about = json.loads(header["vqaudio_kmeans"])
            model = cls(**about, **tensors)
            rates = (model.sample_rate, model.hop_length)
            K, D = model.codebook.shape
            good = model.features in FEATURES and all(type(rate) is int and rate > 0 for rate in rates) and K > 0
            if not good or model.mean.shape != (D,) or model.std.shape != (D,):
                raise ValueError("wrong settings or shapes")
            if any(x.dtype != torch.float32 or not x.isfinite().all() for x in tensors.values()):
                raise ValueError("values that are no finite float32")
        except FileNotFoundError:
            raise UserError(f"{path}: no such k-means model; make one with vqaudio kmeans fit") from None
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: not a k-means model ({error}); {FIT_AGAIN}") from None
        return model

    def save(self, path: Path) -> None:
        """Write the model as one safetensors file, atomically.

        Raises:
            UserError: the file exists and is no k-means model.
        """
        check_file(path, ours=is_model)
        about = {"features": self.features, "sample_rate": self.sample_rate, "hop_length": self.hop_length}
        tensors = {"mean": self.mean, "std": self.std, "codebook": self.codebook}
        path.parent.mkdir(parents=True, exist_ok=True)
        files.atomic_write(path, safetensors.torch.save(tensors, {"vqaudio_kmeans": json.dumps(about)}))

    @functools.cached_property
    def _costs(self) -> CodeCosts:
        return CodeCosts.of_distances(self.codebook[None])

    def encode(self, utterance: Utterance, change_penalty: float = 0.0) -> np.ndarray:
        """Return the codes (1, N) int64 of an utterance; for audio, N = ceil(T / hop_length).

        Raises:
            UserError: it cannot be read, its features do not have the model's size, or a bad penalty.
        """
        return self.encode_at_penalties(utterance, [change_penalty])[0]

    def encode_at_penalties(self, utterance: Utterance, change_penalties: Sequence[float]) -> np.ndarray:
        """Return what `encode` returns at each of P penalties, (P, 1, N) int64; the utterance is read once."""
        with one_thread():  # so that the codes are the same for any number of cores and jobs
            rows = read_features(utterance, self.features, sample_rate=self.sample_rate, hop_length=self.hop_length)
            _check_size(utterance, rows, len(self.mean))
            rows = (rows - self.mean) / self.std
            return np.stack([self._codes(rows, penalty) for penalty in change_penalties])

    def _codes(self, rows: Tensor, change_penalty: float) -> np.ndarray:
        """Return the codes (1, N) of standardised features (N, D)."""
        if not change_penalty:
            return nearest_label(rows, self.codebook)[None].numpy()
        search = PenalisedSearch(self._costs, change_penalty)
        search.add(rows[None])
        return search.finish()


def is_model(path: Path) -> bool:
    """Return whether a file is a k-means model, which another may replace."""
    try:
        with safe_open(path, "pt") as file:
            return "vqaudio_kmeans" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def apply(
    model_file: Path,
    *,
    source: Path,
    out: Path,
    deduplicate: bool,
    shard: tuple[int, int],
    allow_failures: bool,
    jobs: int,
    change_penalty: float = 0.0,
    verify: bool = False,
    ray: Ray | None = None,
) -> None:
    """Write the units of a k-means model to a unit directory, in the way that `extraction.extract` describes.

    Args:
        model_file: what `KMeansUnits.save` wrote; its SHA-256 is the model hash of the units.
        source: see `find_source`.
        out: unit directory to write, or to complete.
        deduplicate: as in `extract`, like all that follow.
        shard: (i, N).
        allow_failures: do not raise if only some utterances failed.
        jobs: utterances to work on at a time, one thread each.
        change_penalty: see `vqaudio.model.penalty`.
        verify: as in `extract`.
        ray: as in `extract`.

    Raises:
        UserError: the model or `source` cannot be read, `out` contains other units, or it may not be written into.
        JobError: some utterances failed, or all.
    """
    check_penalty(change_penalty)
    model = KMeansUnits.load(model_file)
    utterances = find_source(source, model.features)
    check_shard(shard, len(utterances))
    settings = UnitsInfo.of(
        sample_rate=model.sample_rate,
        hop_length=model.hop_length,
        codebook_size=len(model.codebook),
        groups=1,
        deduplicated=deduplicate,
        change_penalty=change_penalty,
        model_hash=files.sha256(model_file),
    )
    claim_folder(out, KIND, inputs=[model_file, source])
    options: dict[str, Any] = {"out": out, "allow_failures": allow_failures, "jobs": jobs, "verify": verify}
    if ray is None:
        write_all(
            utterances, functools.partial(model.encode, change_penalty=change_penalty), settings, shard=shard, **options
        )
    else:
        from vqaudio.units.cluster import extract_on_ray

        extract_on_ray(
            utterances, functools.partial(_load_encoder, model_file, change_penalty), settings, ray, **options
        )


def _load_encoder(model_file: Path, change_penalty: float) -> Encode:
    return functools.partial(KMeansUnits.load(model_file).encode, change_penalty=change_penalty)


def _sample(
    utterances: Iterable[Utterance],
    codebook_size: int,
    features: str,
    sample_rate: int,
    hop_length: int,
    frames: int,
    seed: int,
) -> Tensor:
    """Return the frames (n, D) to fit a codebook on, at least as many as it has entries."""
    ordered = sorted(utterances, key=lambda utterance: utterance.utt)
    random.Random(seed).shuffle(ordered)
    reservoir = Reservoir(frames, seed)
    error = "no utterances"
    with Progress("read features", len(ordered), "utterances") as progress:
        for utterance in ordered:
            if reservoir.seen >= MAX_SEEN * frames:
                break
            progress.update()
            try:
                rows = read_features(utterance, features, sample_rate=sample_rate, hop_length=hop_length)
            except UserError as reason:
                error = str(reason)
                continue
            if reservoir.kept is not None:
                _check_size(utterance, rows, reservoir.kept.shape[1])
            reservoir.add(rows.numpy())
    if reservoir.seen == 0:
        raise UserError(f"no {features} features to fit k-means on ({error}); repair the input")
    if len(reservoir.rows) < codebook_size:
        found = f"{len(reservoir.rows)} frames are fewer than the {codebook_size} units asked for"
        raise UserError(f"{ordered[0].path}{' and others' if len(ordered) > 1 else ''}: {found}; {FEWER}")
    return torch.from_numpy(reservoir.rows)


def _check_size(utterance: Utterance, rows: Tensor, size: int) -> None:
    if rows.shape[1] != size:
        raise UserError(f"{utterance.path}: {rows.shape[1]} features per frame, not {size}; use those of one model")


def read_features(utterance: Utterance, kind: str, *, sample_rate: int, hop_length: int) -> Tensor:
    """Return the features (N, D), float32, of an utterance: those of `FROM_AUDIO`, or what its .npy file holds.

    Audio is first resampled to `sample_rate` (Hz), freed of its mean and scaled to −25 dBFS. A .npy file holds (N, D)
    real numbers; it is never unpickled.

    Raises:
        UserError: the file cannot be read, or its features are not finite.
    """
    if kind == "npy":
        return read_npy(utterance.path)
    wav, _ = audio.read(utterance.path, sample_rate, utterance.start, utterance.end, utterance.channel)
    samples = torch.from_numpy(audio.level_change(wav, LEVEL_DB).apply(wav))
    return FROM_AUDIO[kind](samples, sample_rate=sample_rate, hop_length=hop_length)
