"""Print a Markdown table of unit scores, one row per system: unit_table.py NAME=SCORES.json ….

SCORES.json is what `vqaudio evaluate units --json` wrote. Brackets contain 95 % intervals over speakers; a figure of
too few speakers or comparisons has none.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from script import run

from vqaudio.errors import UserError

COLUMNS = {
    "pnmi": "PNMI",
    "phone_purity": "phone purity",
    "cluster_purity": "cluster purity",
    "mapping_accuracy": "phone accuracy",
    "abx_within": "ABX error within",
    "abx_across": "ABX error across speakers",
    "abx_phone_across": "ABX across, middle phone",
    "abx_edit_across": "ABX across, unit edits",
    "bitrate_entropy": "bit/s",
    "bitrate_deduplicated": "bit/s, merged",
    "speaker_probe": "speaker probe (chance)",
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("systems", nargs="+", metavar="NAME=SCORES.json")
    systems = {}
    for argument in parser.parse_args().systems:
        name, _, path = argument.rpartition("=")
        if not name or not Path(path).is_file():
            raise UserError(f"{argument}: no such file; give NAME=SCORES.json of vqaudio evaluate units --json")
        systems[name] = json.loads(Path(path).read_text(encoding="utf-8"))
    print(unit_table(systems), end="")


def unit_table(systems: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of systems (name -> scores)."""
    head = ["units", *COLUMNS.values()]
    lines = [head, ["---"] * len(head)]
    lines += [[name, *(cell(scores, column) for column in COLUMNS)] for name, scores in systems.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(scores: Mapping[str, Any], name: str) -> str:
    """Return a figure, with its interval if it has one; a dash if there is no figure."""
    if scores.get(name) is None:
        return "–"
    if name.startswith("bitrate"):
        return f"{scores[name]:.0f}"
    text = f"{scores[name]:.3f}"
    if name == "speaker_probe":
        return f"{text} ({scores['speaker_probe_chance']:.3f})"
    interval = scores.get("intervals", {}).get(name)
    return text if interval is None else f"{text} [{interval[0]:.3f}, {interval[1]:.3f}]"


if __name__ == "__main__":
    run(main)
