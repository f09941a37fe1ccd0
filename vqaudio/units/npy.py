"""What k-means works on: speech, or features in .npy files of other tools, of which it finds and reads each."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqaudio.datadir import Listed, Manifest, Utterance, read_table
from vqaudio.errors import UserError
from vqaudio.units.extraction import Source, from_files

CURE = "save one array (N, D) per file with numpy.save"


def find_source(source: Path, features: str) -> Source:
    """Return the utterances of a data directory or, for `npy`, of a folder of <utt>.npy or a list of "utt path".

    Raises:
        UserError: the source is missing, malformed or empty, or a file name cannot be an utterance id.
    """
    utterances = Listed(find_npy(source)) if features == "npy" else Manifest(source)
    if not len(utterances):
        raise UserError(f"{source}: no utterances; give {'a folder of .npy files' if features == 'npy' else 'speech'}")
    return utterances


def find_utterances(source: Path, features: str) -> list[Utterance]:
    """Return the utterances of `find_source` as a list."""
    return list(find_source(source, features).utterances())


def find_npy(source: Path) -> list[Utterance]:
    """Return the utterances of a folder of <utt>.npy, without the hidden ones, or of a list of "utt path".

    Raises:
        UserError: the list is malformed, a file name cannot be an utterance id, or files hold many utterances each.
    """
    if source.is_dir():
        utterances = from_files(path for path in source.glob("*.npy") if not path.name.startswith("."))
    else:
        paths = read_table(source, what="the path of its .npy file")
        utterances = [Utterance(utt, Path(path), utt) for utt, path in paths.items()]
    for utterance in utterances:
        lengths = utterance.path.with_suffix(".len")
        if lengths.exists():
            raise UserError(
                f"{utterance.path}: holds the frames of many utterances, whose numbers are in {lengths.name} "
                "(fairseq); save one .npy file per utterance"
            )
    return utterances


def read_npy(path: Path) -> Tensor:
    """Return the features (N, D), float32, of a .npy file; it is never unpickled.

    Raises:
        UserError: the file cannot be read, or holds anything but finite numbers (N, D).
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; correct the list") from None
    except Exception as error:  # a broken header raises what Python's own parser does
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not a .npy file of numbers ({reason}); {CURE}") from None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "fiu":
        found = f"{array.shape} of {array.dtype}" if isinstance(array, np.ndarray) else "an archive"
        raise UserError(f"{path}: holds {found}; {CURE}")
    features = torch.from_numpy(np.array(array, dtype=np.float32))
    if not features.isfinite().all():
        raise UserError(f"{path}: {int((~features.isfinite()).sum())} values are NaN or infinite; compute it again")
    return features
