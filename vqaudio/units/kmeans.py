"""Makes units by k-means on fixed features: MFCC, log-mel, those of HuBERT and its like, or .npy files of another tool.

A model is one safetensors file: `mean` and `std` (D,), `codebook` (K, D), and in its header the kind of features, the
sample rate, the hop length and, for hf, the card of the network.
"""

import dataclasses
import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vqaudio import files
from vqaudio.datadir import Utterance
from vqaudio.defaults import FEATURES
from vqaudio.errors import UserError
from vqaudio.model.clustering import kmeans, nearest_label
from vqaudio.model.penalty import CodeCosts, PenalisedSearch, check_penalty
from vqaudio.outputs import check_file, claim_folder
from vqaudio.threads import one_thread
from vqaudio.units.directory import UnitsInfo
from vqaudio.units.extraction import Encode, Ray, check_shard, write_all
from vqaudio.units.frames import FROM_AUDIO, Features, check_size, sample
from vqaudio.units.hub import Place
from vqaudio.units.npy import find_source
from vqaudio.units.shards import turn
from vqaudio.units.ssl import Encoder, EncoderCard
from vqaudio.units.writer import KIND, check_settings

CARD = "features.json"
"""File in a unit directory that says how its units were made."""
FIT_AGAIN = "fit it again with vqaudio kmeans fit"


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
    """(D,) mean of the frames of the fit; 0 for npy and hf."""
    std: Tensor
    """(D,) standard deviation of the frames of the fit; 1 for npy and hf."""
    codebook: Tensor
    """(K, D), standardised."""
    encoder: Encoder | None = None
    """The network, for hf."""

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
        encoder: Encoder | None = None,
    ) -> "KMeansUnits":
        """Fit a codebook on features; neither memory nor time grows with the corpus.

        k-means++ and Lloyd's iterations work on at most `frames` frames (see `vqaudio.units.frames.sample`). They take
        12 · `frames` · D bytes (140 MB for MFCC, 2.8 GB for D = 768) and one utterance. MFCC and log-mel are
        standardised in each dimension; others are clustered as they are, as is usual for HuBERT's.

        Args:
            utterances: utterances to read; files that cannot be read are skipped.
            codebook_size: K.
            features: one of `vqaudio.defaults.FEATURES`.
            sample_rate: Hz, of the audio, or of the audio that the .npy files were computed from.
            hop_length: samples per frame.
            frames: size of the sample.
            seed: of the order, the sample and the initial clusters.
            encoder: the network, for hf.

        Raises:
            UserError: no file can be read, files have features of different size, or there are fewer frames than codes.
        """
        source = Features(features, sample_rate, hop_length, encoder)
        rows = sample(source, utterances, least=codebook_size, frames=frames, seed=seed)
        mean, std = torch.zeros(rows.shape[1]), torch.ones(rows.shape[1])
        if features in FROM_AUDIO:
            mean, std = rows.mean(dim=0), rows.std(dim=0, correction=0).clamp_min(1e-5)
            rows.sub_(mean).div_(std)
        codebook = kmeans(rows, codebook_size, generator=torch.Generator().manual_seed(seed))
        return cls(features, sample_rate, hop_length, mean, std, codebook, encoder)

    @classmethod
    def load(cls, path: Path, *, place: Place | None = None, device: str = "cpu") -> "KMeansUnits":
        """Read what `save` wrote; nothing is unpickled.

        Args:
            path: the file.
            place: of the network, for hf; None is where `fit` found it. It is opened when it is first used.
            device: cpu or cuda, where the network runs.

        Raises:
            UserError: the file is missing or is no k-means model, or there is no network to find or to run.
        """
        try:
            with safe_open(path, "pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in ("mean", "std", "codebook")}
            about = json.loads(header["vqaudio_kmeans"])
            card = EncoderCard.read(about.pop("encoder")) if "encoder" in about else None
            model = cls(**about, **tensors, encoder=Encoder(card, place, device) if card else None)
            rates = (model.sample_rate, model.hop_length)
            K, D = model.codebook.shape
            good = model.features in FEATURES and all(type(rate) is int and rate > 0 for rate in rates) and K > 0
            good = good and (card is not None) == (model.features == "hf")
            if not good or model.mean.shape != (D,) or model.std.shape != (D,):
                raise ValueError("wrong settings or shapes")
            if any(x.dtype != torch.float32 or not x.isfinite().all() for x in tensors.values()):
                raise ValueError("values that are no finite float32")
        except FileNotFoundError:
            raise UserError(f"{path}: no such k-means model; make one with vqaudio kmeans fit") from None
        except (OSError, SafetensorError, KeyError, AttributeError, TypeError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: not a k-means model ({error}); {FIT_AGAIN}") from None
        if card is None and (place or device != "cpu"):
            raise UserError(f"{path}: k-means on {model.features}, without a network; leave out --hub and --device")
        return model

    def save(self, path: Path) -> None:
        """Write the model as one safetensors file, atomically.

        Raises:
            UserError: the file exists and is no k-means model.
        """
        check_file(path, ours=is_model)
        about = {"features": self.features, "sample_rate": self.sample_rate, "hop_length": self.hop_length}
        about |= {"encoder": dataclasses.asdict(self.encoder.card)} if self.encoder else {}
        tensors = {"mean": self.mean, "std": self.std, "codebook": self.codebook}
        path.parent.mkdir(parents=True, exist_ok=True)
        files.atomic_write(path, safetensors.torch.save(tensors, {"vqaudio_kmeans": json.dumps(about)}))

    def card(self) -> dict[str, Any]:
        """Return what one needs to know to make the same units elsewhere."""
        K, D = self.codebook.shape
        about = {"features": self.features, "sample_rate": self.sample_rate, "hop_length": self.hop_length}
        about |= {"frame_rate": self.sample_rate / self.hop_length, "dimensions": D, "codebook_size": K}
        about |= {"standardised": self.features in FROM_AUDIO}
        return about | ({"encoder": self.encoder.about()} if self.encoder else {})

    @functools.cached_property
    def _costs(self) -> CodeCosts:
        return CodeCosts.of_distances(self.codebook[None])

    def encode(self, utterance: Utterance, change_penalty: float = 0.0) -> np.ndarray:
        """Return the codes (1, N) int64 of an utterance; for MFCC and log-mel, N = ceil(T / hop_length).

        Raises:
            UserError: it cannot be read, its features do not have the model's size, or a bad penalty.
        """
        return self.encode_at_penalties(utterance, [change_penalty])[0]

    def encode_at_penalties(self, utterance: Utterance, change_penalties: Sequence[float]) -> np.ndarray:
        """Return what `encode` returns at each of P penalties, (P, 1, N) int64; the utterance is read once."""
        plain = [np.zeros(0, np.int64)]
        with one_thread():  # so that the codes are the same for any number of cores and jobs
            searches = [PenalisedSearch(self._costs, p) if p else None for p in change_penalties]
            for rows in Features(self.features, self.sample_rate, self.hop_length, self.encoder).pieces(utterance):
                check_size(utterance, rows, len(self.mean))
                rows = (rows - self.mean) / self.std
                if None in searches:
                    plain.append(nearest_label(rows, self.codebook).numpy())
                for search in filter(None, searches):
                    search.add(rows[None])
        unpenalised = np.concatenate(plain)[None]
        return np.stack([search.finish() if search else unpenalised for search in searches])


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
    place: Place | None = None,
    device: str = "cpu",
) -> None:
    """Write the units of a k-means model to a unit directory, in the way that `extraction.extract` describes.

    `features.json` there says how they were made.

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
        place: of the network, for hf; None is where `fit` found it.
        device: cpu or cuda, where the network runs.

    Raises:
        UserError: the model, its network or `source` cannot be read, `out` contains other units, or it may not be
            written into.
        JobError: some utterances failed, or all.
    """
    check_penalty(change_penalty)
    model = KMeansUnits.load(model_file, place=place, device=device)
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
    if model.encoder and ray is None:
        model.encoder.network()  # what is wrong with it is said once, not for every utterance
    claim_folder(out, KIND, inputs=[model_file, source, *(model.encoder.folders() if model.encoder else [])])
    with turn(out, shard[1]):
        check_settings(out, settings)
    files.write_json(out / CARD, model.card())
    options: dict[str, Any] = {"out": out, "allow_failures": allow_failures, "jobs": jobs, "verify": verify}
    make_encode = functools.partial(_load_encoder, model_file, place, device, change_penalty)
    if ray is None:
        encode = functools.partial(model.encode, change_penalty=change_penalty)
        write_all(utterances, encode, settings, shard=shard, **options)
    else:
        from vqaudio.units.cluster import extract_on_ray

        extract_on_ray(utterances, make_encode, settings, ray, gpus=int(device == "cuda"), **options)


def _load_encoder(model_file: Path, place: Place | None, device: str, change_penalty: float) -> Encode:
    model = KMeansUnits.load(model_file, place=place, device=device)
    if model.encoder:
        model.encoder.network()
    return functools.partial(model.encode, change_penalty=change_penalty)
