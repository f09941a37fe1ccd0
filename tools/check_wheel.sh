#!/usr/bin/env bash
# Installs the wheel alone, in an empty environment for each Python, and makes units of a recording with it.
set -euo pipefail

usage="Usage: tools/check_wheel.sh [--wheel FILE] [PYTHON…]

Builds the wheel (or takes FILE), and for each interpreter (default: 3.10 to 3.13, those that are here or in pyenv) makes an
empty environment, installs the wheel from wheels only, at the versions of constraints.txt, and extracts the units of a
recording: with the released model if the wheel has it, otherwise with a tiny one. Prints the seconds of each step, and ends
with 1 if a step fails. pip uses your configuration; PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu brings torch
without CUDA. An environment takes up to 7 GB of TMPDIR, one at a time."

# Published without a wheel; pure Python, so nothing is compiled.
without_wheel=antlr4-python3-runtime

die() {
  printf 'check_wheel.sh: %s\n' "$*" >&2
  exit "${code:-1}"
}

wheel='' pythons=()
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help)
      printf '%s\n' "$usage"
      exit 0
      ;;
    --wheel)
      [ $# -gt 1 ] || code=2 die "--wheel needs a file; see --help"
      wheel=$2
      shift
      ;;
    -*) code=2 die "unknown argument: $1; see --help" ;;
    *) pythons+=("$1") ;;
  esac
  shift
done

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

# Print the path of Python 3.x, from PATH or from pyenv; fail if there is none.
find_python() { # VERSION
  local candidate
  for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
    "$candidate" -c 'import sys; print(sys.executable)' 2>/dev/null && return
  done
  return 1
}

if [ "${#pythons[@]}" -eq 0 ]; then
  for version in 3.10 3.11 3.12 3.13; do
    if python=$(find_python "$version"); then pythons+=("$python"); else printf 'Python %s is not here\n' "$version"; fi
  done
  [ "${#pythons[@]}" -gt 0 ] || die "no Python from 3.10 to 3.13 is here; name an interpreter"
fi

if [ -z "$wheel" ]; then
  "$root/.venv/bin/python" -m build --wheel --outdir "$scratch/dist" "$root" >"$scratch/build.log" 2>&1 ||
    { tail -n 20 "$scratch/build.log" >&2; die "the wheel cannot be built; run tools/install.sh --dev first"; }
  wheel=$(echo "$scratch"/dist/*.whl)
fi
[ -f "$wheel" ] || code=2 die "$wheel: no such wheel; build one with python -m build"
wheel=$(realpath "$wheel")
cp "$root/constraints.txt" "$root/tests/tiny_model.py" "$root/tools/repair_torchaudio.py" "$scratch"
cd "$scratch" # from here on the source tree is out of reach

make_inputs='
import sys, wave
from pathlib import Path
import numpy as np
import vqaudio
from vqaudio.released import FOLDER
assert Path(sys.prefix) in Path(vqaudio.__file__).parents, vqaudio.__file__
with wave.open("speech.wav", "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    file.writeframes((8000 * np.random.default_rng(0).standard_normal(16000 * 10)).astype("<i2").tobytes())
if (FOLDER / "model.safetensors").exists():
    print("default")
else:
    from tiny_model import save_tiny_model
    print(save_tiny_model(Path("tiny")))
'

check() { # PYTHON
  local began=$SECONDS bin=$scratch/environment/bin installed model
  rm -rf environment tiny units
  "$1" -m venv environment
  "$bin/python" -m pip install -q --disable-pip-version-check --no-cache-dir --only-binary :all: --no-binary "$without_wheel" \
    -c constraints.txt "$wheel" >pip.log 2>&1 || { tail -n 20 pip.log >&2; return 1; }
  "$bin/python" repair_torchaudio.py || return 1 # where torch without CUDA comes from another place than torchaudio
  "$bin/python" -m pip check >pip.log || { cat pip.log >&2; return 1; }
  installed=$((SECONDS - began))
  began=$SECONDS
  model=$(PYTHONPATH=. "$bin/python" -c "$make_inputs") || return 1
  "$bin/vqaudio" extract --model "$model" --out units speech.wav >extract.log 2>&1 || { cat extract.log >&2; return 1; }
  [ "$(wc -w <units/units.txt)" -gt 500 ] || { echo "units.txt has too few units" >&2; return 1; }
  printf '%s: installed in %d s, model %s, units in %d s, sha256 %.12s\n' "$("$1" --version)" "$installed" "$model" \
    $((SECONDS - began)) "$(sha256sum <units/units.txt)"
}

failed=0
for python in "${pythons[@]}"; do
  check "$python" || { printf '%s: FAILED\n' "$python"; failed=1; }
done
exit "$failed"
