"""Stage 6: scores of the baselines, in EXP/scores/baseline.json and baseline_stacked.json.

score_baselines.py EXP DATA

The baselines are k-means on MFCC and on stacked MFCC, with the codebook size, the frame rate and the change penalty of
the units. They are made as by `vqaudio kmeans fit`, `kmeans apply` and `evaluate units`; EXP/baseline/<features>/ keeps
the model, kmeans.safetensors, and units/<set>.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from script import run

from vqaudio.defaults import KMEANS_FRAMES
from vqaudio.files import write_json
from vqaudio.machine import available_cores
from vqaudio.metrics.evaluation import evaluate_units
from vqaudio.model_directory import KIND
from vqaudio.outputs import claim_folder
from vqaudio.units import read_info
from vqaudio.units.kmeans import KMeansUnits, apply
from vqaudio.units.npy import find_utterances

SETS = ("dev", "test_seen", "test_unseen")
FEATURES = {"baseline": "mfcc", "baseline_stacked": "mfcc-stacked"}


def main() -> None:
    """Write the scores of both baselines."""
    exp, data = Path(sys.argv[1]), Path(sys.argv[2])
    claim_folder(exp, KIND)
    for name, features in FEATURES.items():
        write_json(exp / "scores" / f"{name}.json", baseline_scores(exp, data, features))


def baseline_scores(exp: Path, data: Path, features: str) -> dict[str, Any]:
    """Return the scores of a baseline fitted on the training set, for each set with phones."""
    sets = [name for name in SETS if (exp / "scores" / f"units_{name}.json").is_file()]
    if not sets:
        return {}
    info = read_info(exp / "units" / "train" / "units.json")
    claim_folder(exp / "baseline", "baseline")
    folder = exp / "baseline" / features
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier run, perhaps with other units
    model, units = folder / "kmeans.safetensors", folder / "units"
    KMeansUnits.fit(
        find_utterances(data / "train", features),
        info.codebook_size,
        features=features,
        sample_rate=info.sample_rate,
        hop_length=info.hop_length,
        frames=KMEANS_FRAMES,
        seed=0,
    ).save(model)
    for name in ("train", *sets):
        apply(
            model,
            source=data / name,
            out=units / name,
            deduplicate=False,
            shard=(1, 1),
            allow_failures=True,
            jobs=available_cores(),
            change_penalty=read_info(exp / "units" / name / "units.json").change_penalty,
        )
    return {
        name: evaluate_units(
            units / name,
            data / name / "phones.ctm",
            utt2spk=data / name / "utt2spk",
            model=model,
            mapping_units=units / "train",
            mapping_alignment=data / "train" / "phones.ctm",
        )
        for name in sets
    }


if __name__ == "__main__":
    run(main)
