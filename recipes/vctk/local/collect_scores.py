"""Stage 6: scores of the baselines, and all figures of the run in scores.json.

collect_scores.py EXP DATA SECONDS, where SECONDS is the time that scoring has taken so far.

The baselines are k-means on MFCC and on stacked MFCC, with the codebook size and the frame rate of the units. They are
made as by `vqaudio kmeans fit`, `kmeans apply` and `evaluate units`; EXP/baseline/<features>/ keeps the model and
units/<set>.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from script import run

from vqaudio.defaults import KMEANS_FRAMES
from vqaudio.files import write_json
from vqaudio.machine import available_cores
from vqaudio.metrics.evaluation import evaluate_units
from vqaudio.metrics.phone_scores import code_statistics, read_frames
from vqaudio.model_directory import KIND
from vqaudio.outputs import claim_folder
from vqaudio.units import read_info
from vqaudio.units.kmeans import KMeansUnits, apply, find_utterances

SETS = ("dev", "test_seen", "test_unseen")


def main() -> None:
    """Read scores/*.json, add the baselines and the seconds of the stages, and write scores.json."""
    exp, data = Path(sys.argv[1]), Path(sys.argv[2])
    claim_folder(exp, KIND)
    scores = {
        "units": unit_scores(exp),
        "audio": {name: read(exp / "scores" / f"audio_{name}.json") for name in SETS[1:]},
        "swap": {name: read(path) for name in SETS if (path := exp / "scores" / f"audio_{name}_swap.json").is_file()},
        "baseline": baseline_scores(exp, data, "mfcc"),
        "baseline_stacked": baseline_scores(exp, data, "mfcc-stacked"),
        "seconds": stage_seconds(data) | stage_seconds(exp) | {"score": int(sys.argv[3])},
    }
    write_json(exp / "scores.json", scores)


def unit_scores(exp: Path) -> dict[str, Any]:
    """Return the scores of the units of each set; only code statistics for a set without phones."""
    scores = {}
    for name in SETS:
        path = exp / "scores" / f"units_{name}.json"
        if path.is_file():
            scores[name] = read(path)
        else:
            info, codes = read_frames(exp / "units" / name)
            scores[name] = code_statistics(codes.values(), frame_rate=info.frame_rate, codebook_size=info.codebook_size)
    return scores


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


def stage_seconds(folder: Path) -> dict[str, int]:
    """Return the seconds that each finished stage took, from its stamp."""
    seconds = {}
    for stamp in sorted((folder / ".stamps").glob("stage*")):
        if stamp.suffix == "":
            _, _, name, count = stamp.read_text(encoding="utf-8").split()
            seconds[name] = int(count)
    return seconds


def read(path: Path) -> Any:
    """Return the contents of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
