"""Compares the figures of `vqaudio.metrics.discovery` with those of discophon, the package of the benchmark.

    python3.12 -m venv /tmp/discophon && /tmp/discophon/bin/pip install discophon==0.2.0
    .venv/bin/python tools/check_discophon.py --python /tmp/discophon/bin/python --units UNITS --alignment phones.ctm

discophon learns which phone a unit stands for on the scored utterances; the column `vqaudio` does so too, and the exit
status is 1 if it differs by more than 1e-6. `held out` is what `vqaudio evaluate units` prints, which learns from other
utterances. discophon refuses gaps of an alignment and lengths that differ by more than a unit: gaps become silence, and
what is longer is cut.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path

from vqaudio.errors import UserError
from vqaudio.metrics.alignment import read_alignment
from vqaudio.metrics.discovery import discovery_figures, phone_strings
from vqaudio.metrics.phone_scores import frame_phones, read_frames
from vqaudio.metrics.symbols import SILENCE
from vqaudio.units.conversion import convert

NAMES = {"pnmi": "pnmi_with_silence", "per": "phone_error_rate", "f1": "mapped_boundary_f1", "r_val": "mapped_r_value"}
LIMIT = 1e-6
STEP = 10  # ms of discophon's phones


def main() -> int:
    """Print both columns; return 1 if they differ."""
    parser = argparse.ArgumentParser(description="compare unit figures with those of discophon")
    parser.add_argument("--units", type=Path, required=True, help="unit directory of one group")
    parser.add_argument("--alignment", type=Path, required=True, metavar="CTM")
    parser.add_argument("--python", default=sys.executable, help="a Python that has discophon (default: this one)")
    args = parser.parse_args()
    if reason := missing(args.python, "discophon.evaluate"):
        print(f"not compared: {args.python} cannot import discophon ({reason})")
        return 0
    info, codes = read_frames(args.units)
    step = 1000 * info.hop_length / info.sample_rate
    if info.groups > 1 or step % STEP:
        print(f"not compared: discophon needs one group and steps of a multiple of {STEP} ms, not {step:g} ms")
        return 0
    alignment = read_alignment(args.alignment)
    settings = {"frame_rate": info.frame_rate, "codebook_size": info.codebook_size}
    held_out = discovery_figures(phone_strings(codes, alignment, **settings))
    ours = discovery_figures(phone_strings(codes, alignment, **settings, mapping=(codes, alignment)))
    kinds = ["many-to-one", *(["one-to-one"] if "phone_error_rate_one_to_one" in ours else [])]
    differ = False
    print(f"{'':28}{'discophon':>12}{'vqaudio':>12}{'held out':>12}")
    for kind in kinds:
        for key, theirs in discophon(args, info.codebook_size, int(step), kind).items():
            if kind == "one-to-one" and key != "per":
                continue  # the others are of the other mapping
            name = NAMES[key] + ("_one_to_one" if kind == "one-to-one" else "")
            differs = not math.isclose(theirs, ours[name], rel_tol=0, abs_tol=LIMIT)
            differ = differ or differs
            print(f"{name:28}{theirs:12.6f}{ours[name]:12.6f}{held_out[name]:12.6f}{'  DIFFERS' * differs}")
    return int(differ)


def missing(python: str, module: str) -> str:
    """Return why a Python cannot import a module; empty if it can."""
    try:
        found = subprocess.run([python, "-c", f"import {module}"], capture_output=True, text=True)
    except OSError as error:
        return str(error.strerror)
    return found.stderr.strip().splitlines()[-1] if found.returncode else ""


def discophon(args: argparse.Namespace, codebook_size: int, step: int, kind: str) -> dict[str, float]:
    """Return what `python -m discophon.evaluate` prints."""
    with tempfile.TemporaryDirectory() as folder:
        units, phones = Path(folder, "units.jsonl"), Path(folder, "phones.txt")
        labels = write_inputs(args, units, phones, step)
        command = [args.python, "-m", "discophon.evaluate", units, phones, "--n-units", codebook_size, "--kind", kind]
        command += ["--n-phonemes", len(labels - {"SIL"}), "--step-units", step]
        return json.loads(subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True).stdout)


def write_inputs(args: argparse.Namespace, units: Path, phones: Path, step: int) -> set[str]:
    """Write the units and the phones of the utterances that have both as discophon reads them; return the phones."""
    convert(args.units, units, to="discophon")
    alignment, repeat = read_alignment(args.alignment), step // STEP
    lines, rows, labels = [], ["#file onset offset #phone"], set()
    for line in map(json.loads, units.read_text().splitlines()):
        utt = line["file"]
        if utt not in alignment:
            continue
        end = max(phone.start + phone.duration for phone in alignment[utt])
        num_frames = min(round(end * 1000 / STEP), (len(line["units"]) + 1) * repeat)
        names = frame_phones(alignment[utt], num_frames, 1000 / STEP).tolist()
        names = ["SIL" if name in SILENCE else name for name in names]
        line["units"] = line["units"][: len(names) // repeat + 1]
        lines.append(json.dumps(line) + "\n")
        labels |= set(names)
        start = 0
        for name, run in groupby(names):
            length = len(list(run))
            rows.append(f"{utt} {start * STEP / 1000:.2f} {(start + length) * STEP / 1000:.2f} {name}")
            start += length
    units.write_text("".join(lines))
    phones.write_text("\n".join(rows) + "\n")
    return labels


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"check_discophon: {error}")
