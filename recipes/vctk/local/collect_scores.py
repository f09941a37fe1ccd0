"""Stage 6: the baselines, and every figure of the run in scores.json.

collect_scores.py EXP DATA SECONDS, where SECONDS is what scoring took until now.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from script import run

from vqaudio.files import atomic_write
from vqaudio.metrics import baseline
from vqaudio.metrics.alignment import read_alignment
from vqaudio.metrics.phone_scores import code_statistics, read_frames

SETS = ("dev", "test_seen", "test_unseen")


def main() -> None:
    """Read scores/*.json, add the baselines and the seconds of the stages, write scores.json."""
    exp, data = Path(sys.argv[1]), Path(sys.argv[2])
    scores = {
        "units": unit_scores(exp),
        "audio": {name: read(exp / "scores" / f"audio_{name}.json") for name in SETS[1:]},
        "baseline": baseline_scores(exp, data, "mfcc"),
        "baseline_log_mel": baseline_scores(exp, data, "log-mel"),
        "seconds": stage_seconds(data) | stage_seconds(exp) | {"score": int(sys.argv[3])},
    }
    atomic_write(exp / "scores.json", json.dumps(without_nan(scores), indent=1) + "\n")


def unit_scores(exp: Path) -> dict[str, Any]:
    """Return the scores of the units of each set; those without phones have their code statistics only."""
    scores = {}
    for name in SETS:
        path = exp / "scores" / f"units_{name}.json"
        if path.is_file():
            scores[name] = read(path)
        else:
            info, frames = read_frames(exp / "units" / name)
            scores[name] = code_statistics(
                frames.values(), frame_rate=info.frame_rate, codebook_size=info.codebook_size
            )
    return scores


def baseline_scores(exp: Path, data: Path, features: str) -> dict[str, Any]:
    """Return the scores of k-means on features, fitted on the training set with the codebook size of the units."""
    sets = [name for name in SETS if (exp / "scores" / f"units_{name}.json").is_file()]
    if not sets:
        return {}
    model = baseline.fit(data / "train", exp / "units" / "train", features=features)
    codes = baseline.encode(model, data / "train", read_frames(exp / "units" / "train")[1])
    mapping = (codes, read_alignment(data / "train" / "phones.ctm"))
    return {
        name: baseline.evaluate(model, exp / "units" / name, data / name, data / name / "phones.ctm", mapping=mapping)
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
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def without_nan(value: Any) -> Any:
    """Replace NaN, which JSON does not have, with None."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    run(main)
