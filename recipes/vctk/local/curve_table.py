"""Print a Markdown table of curves of change penalties: curve_table.py CURVE.json NAME=MODEL[,MODEL…] ….

CURVE.json is what `vqaudio evaluate curve --json` wrote. Of several models, such as one for each seed, a row has the
mean, and in brackets the least and the greatest figure. The last columns divide by the figures of the last NAME, at the
same penalty.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from script import run

from vqaudio.errors import UserError

COLUMNS = {
    "bitrate_deduplicated": ("bit/s, merged", "{:.0f}"),
    "pnmi": ("PNMI", "{:.3f}"),
    "abx_across": ("ABX error across speakers", "{:.3f}"),
    "abx_units_across": ("ABX across, units", "{:.3f}"),
    "phone_error_rate": ("phone error rate", "{:.2f}"),
}
RATIOS = {"pnmi": "PNMI", "abx_across": "ABX"}


def main() -> None:
    """Read the curves and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curve", type=Path)
    parser.add_argument("systems", nargs="+", metavar="NAME=MODEL[,MODEL…]")
    args = parser.parse_args()
    systems = {}
    for system in args.systems:
        name, equals, models = system.partition("=")
        if not equals:
            raise UserError(f"{system}: not NAME=MODEL[,MODEL…]; give the models of a row after a name and =")
        systems[name] = models.split(",")
    print(curve_table(json.loads(args.curve.read_text(encoding="utf-8"))["rows"], systems), end="")


def curve_table(rows: Sequence[Mapping[str, Any]], systems: Mapping[str, Sequence[str]]) -> str:
    """Return the table of the models of each system.

    Raises:
        UserError: the curves have no such model.
    """
    by_model: dict[str, dict[float, Mapping[str, Any]]] = {}
    for row in rows:
        by_model.setdefault(row["model"], {})[row["change_penalty"]] = row
    for models in systems.values():
        if missing := [model for model in models if model not in by_model]:
            raise UserError(f"{missing[0]}: the curves have no such model; they have {', '.join(by_model)}")
    last = by_model[list(systems.values())[-1][0]]
    titles = ["units", "change penalty", *(title for title, _ in COLUMNS.values())]
    titles += [f"{title} by that of {list(systems)[-1]}" for title in RATIOS.values()]
    lines = [titles, ["---"] * len(titles)]
    for name, models in systems.items():
        for penalty in last:
            found = [by_model[model][penalty] for model in models]
            cells = [name, f"{penalty:g}", *(_cell([row[key] for row in found], f) for key, (_, f) in COLUMNS.items())]
            ratios = [sum(row[key] for row in found) / len(found) / last[penalty][key] for key in RATIOS]
            lines.append([*cells, *(f"{ratio:.2f}" for ratio in ratios)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(values: Sequence[float], form: str) -> str:
    mean = form.format(sum(values) / len(values))
    return mean if len(values) == 1 else f"{mean} [{form.format(min(values))}, {form.format(max(values))}]"


if __name__ == "__main__":
    run(main)
