"""Stage 6: all figures of the run in scores.json.

collect_scores.py EXP DATA SECONDS, where SECONDS is the time that scoring has taken so far.
"""

import json
import sys
from pathlib import Path
from typing import Any

from score_baselines import FEATURES, SETS
from script import run

from vqaudio.files import write_json
from vqaudio.metrics.phone_scores import code_statistics, read_frames
from vqaudio.model_directory import KIND
from vqaudio.outputs import claim_folder


def main() -> None:
    """Read scores/*.json, add the seconds of the stages, and write scores.json."""
    exp, data = Path(sys.argv[1]), Path(sys.argv[2])
    claim_folder(exp, KIND)
    scores = {
        "units": unit_scores(exp),
        "audio": {name: read(exp / "scores" / f"audio_{name}.json") for name in SETS[1:]},
        "swap": {name: read(path) for name in SETS if (path := exp / "scores" / f"audio_{name}_swap.json").is_file()},
        **{name: read(exp / "scores" / f"{name}.json") for name in FEATURES},
        "curve": curve_rows(exp),
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


def curve_rows(exp: Path) -> dict[str, Any]:
    """Return what scores/curve.json, if there is one, says of test_seen: rows of the units and of each baseline."""
    path = exp / "scores" / "curve.json"
    if not path.is_file():
        return {}
    rows: dict[str, Any] = {"units": [], **{name: [] for name in FEATURES}}
    for row in read(path)["rows"]:
        of = next((name for name, features in FEATURES.items() if Path(row["model"]).parent.name == features), "units")
        rows[of].append(row)
    return {"test_seen": rows}


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
