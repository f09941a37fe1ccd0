"""Stage 8: append a row of figures, with the command that made them, and tables of the units to EXP/RESULTS.md."""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

from script import run
from unit_table import unit_table

from vqaudio.files import atomic_write
from vqaudio.machine import available_cores
from vqaudio.model_directory import load_config
from vqaudio.report.judgements import JUDGE_SCORES, judged_columns, verdicts
from vqaudio.report.tables import BASELINES, score_table

HEADER = (
    "| run | commit, seed | cores, training | units on test_seen: usage, perplexity "
    "| bit/s: nominal, entropy, deduplicated "
    "| PNMI (MFCC) on test_seen, test_unseen | phone accuracy (MFCC; prior) on test_seen, test_unseen "
    "| ESTOI on test_seen, test_unseen | command |\n|---|---|---|---|---|---|---|---|---|\n"
)
TESTS = ("test_seen", "test_unseen")


def main() -> None:
    """Append the row and the tables, unless the file ends with the same ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exp", type=Path)
    parser.add_argument("--command", required=True)
    args = parser.parse_args()
    scores = json.loads((args.exp / "scores.json").read_text(encoding="utf-8"))
    path = args.exp / "RESULTS.md"
    earlier = path.read_text(encoding="utf-8") if path.is_file() else HEADER
    entry = row(args.exp, scores, args.command) + tables(scores)
    if not earlier.endswith(entry):
        atomic_write(path, earlier + (HEADER if earlier and not earlier.endswith(HEADER) else "") + entry)


def tables(scores: dict[str, Any]) -> str:
    """Return what the figures say in words, and tables of each test set: of units if it has phones, and of speech."""
    text = "".join(f"\n{sentence}\n" for sentence in verdicts(scores))
    for test in TESTS:
        if test in scores["baseline"]:
            baselines = {f"k-means on {called}": scores[key][test] for key, called in BASELINES.items()}
            rows = {"these": scores["units"][test], **baselines}
            text += f"\n{test}\n\n{unit_table(rows)}"
        text += judge_table(scores, test)
    return text + "\n"


def judge_table(scores: dict[str, Any], test: str) -> str:
    """Return the table of what the judges said of a test set; nothing if they were not asked."""
    columns = judged_columns([("reconstructions", scores)], test)
    if not columns:
        return ""
    names = [f"{column.name}, {column.note}" if column.note else column.name for column in columns]
    lines = [[test, *names], ["---"] * (1 + len(names))]
    for _, figures in score_table("", JUDGE_SCORES, columns).groups:
        for score, cells in figures:
            lines.append(
                [score.name, *(f"{cell.text} [{cell.bounds}]" if cell.bounds else cell.text for cell in cells)]
            )
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def row(exp: Path, scores: dict[str, Any], command: str) -> str:
    """Return the Markdown row of a run."""
    units, baseline = scores["units"], scores["baseline"]
    seen = units["test_seen"]
    cells = [
        exp.name,
        f"{commit()}, {load_config(exp).seed}",
        f"{available_cores()}, {scores['seconds'].get('train', 0)} s",
        f"{number(seen, 'usage')}, {number(seen, 'perplexity', 0)}",
        ", ".join(number(seen, f"bitrate_{kind}", 0) for kind in ("nominal", "entropy", "deduplicated")),
        ", ".join(f"{number(units[t], 'pnmi')} ({number(baseline.get(t), 'pnmi')})" for t in TESTS),
        ", ".join(
            f"{number(units[t], 'mapping_accuracy')} ({number(baseline.get(t), 'mapping_accuracy')}; "
            f"{number(units[t], 'prior_accuracy')})"
            for t in TESTS
        ),
        ", ".join(number(scores["audio"][t], "estoi") for t in TESTS),
        f"`{command}`",
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def number(scores: dict[str, Any] | None, name: str, digits: int = 3) -> str:
    """Return a figure for the table; a dash if there is none."""
    value = (scores or {}).get(name)
    return "–" if value is None else f"{value:.{digits}f}"


def commit() -> str:
    """Return the short hash of the recipe's commit; "-" outside a repository."""
    found = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "-"


if __name__ == "__main__":
    run(main)
