#!/usr/bin/env bash
# Runs all checks of the project: style, types, scripts, wheel, the mini recipe with both quantizers, benches, tests.
set -uo pipefail

usage="Usage: tools/test.sh [--quick]

Updates .venv (tools/install.sh --dev --browser), runs every check, prints the names of those that failed, and exits with
1 if any did. Takes at most 20 minutes on two cores. --quick runs no recipe, no bench and no test marked slow (which needs
a browser or more than a few seconds).
Single checks: .venv/bin/ruff check, .venv/bin/mypy, .venv/bin/pytest tests/test_units.py"
quick=false
for argument in "$@"; do
  case "$argument" in
    --quick) quick=true ;;
    -h | --help)
      printf '%s\n' "$usage"
      exit 0
      ;;
    *)
      printf 'test.sh: unknown argument: %s; see --help\n' "$argument" >&2
      exit 2
      ;;
  esac
done

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd -- "$root" || exit 1
python=$root/.venv/bin/python
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
max_lines=300    # of a file of the package
failed=()

# Run a function in a subshell with errexit; note its name if it fails.
step() { # NAME FUNCTION
  local code began=$SECONDS
  printf '\n=== %s\n' "$1"
  ( set -e; "$2" )
  code=$?
  if [ "$code" -ne 0 ]; then failed+=("$1"); fi
  printf '=== %s: %s in %d s\n' "$1" "$([ "$code" -eq 0 ] && echo passed || echo "FAILED (code $code)")" $((SECONDS - began))
}

lint() {
  "$python" -m ruff check .
  "$python" -m ruff format --check .
}

types() { "$python" -m mypy; }

scripts() {
  find . \( -name .venv -o -name .git -o -path './recipes/*/exp' -o -path './recipes/*/data' -o -path './recipes/*/downloads' \) -prune \
    -o -type f \( -name '*.sh' -o -path './.ci/run' \) -print0 | xargs -0 shellcheck
}

file_lengths() {
  find vqaudio -name '*.py' -exec awk -v limit="$max_lines" \
    'FNR == limit + 1 { print FILENAME ": more than " limit " lines; split it"; long = 1 } END { exit long }' {} +
}

# The wheel, built from the source distribution, must work alone: in its own environment, which takes only the
# dependencies from .venv, and in a folder from which the source tree cannot be imported.
wheel() {
  local environment=$scratch/wheel-environment site
  "$python" -m build --outdir "$scratch/dist" "$root" >"$scratch/build.log" 2>&1 || { tail -n 30 "$scratch/build.log"; return 1; }
  "$python" -m venv "$environment"
  site=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  "$environment/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-index "$scratch"/dist/*.whl
  "$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/dependencies.pth"
  cd "$scratch"
  "$environment/bin/python" - "$root" <<'END'
import pathlib, sys, vqaudio
root, package = pathlib.Path(sys.argv[1]), pathlib.Path(vqaudio.__file__).parent
assert root not in package.parents, f"the source tree was imported: {package}"
for folder, installed in [(root / "conf", package / "conf"), (root / "vqaudio", package)]:
    wanted = {p.relative_to(folder) for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    missing = sorted(str(p) for p in wanted if not (installed / p).is_file())
    assert not missing, f"not in the wheel: {missing}"
END
  "$environment/bin/vqaudio" --help >/dev/null
  "$environment/bin/vqaudio" doctor
  "$environment/bin/vqaudio" train quantizer=gumbel model=tiny --cfg job | grep -q '^exp_dir:'
}

# Run the mini recipe in a copy, so that the developer's corpora and runs stay as they are. The space in the name of the
# copy is part of the test. The work is fixed: some steps of every phase of training, and a model that is far from good.
recipe() { # QUANTIZER LAST-STAGE OUTPUT…
  local copy="$scratch/a copy" entry exp quantizer=$1 last=$2
  shift 2
  if [ ! -d "$copy" ]; then
    mkdir -p "$copy/recipes/vctk"
    for entry in .venv tools conf vqaudio; do ln -s "$root/$entry" "$copy/$entry"; done
    (cd recipes/vctk && tar -cf - --exclude ./downloads --exclude ./data --exclude ./exp .) | tar -xf - -C "$copy/recipes/vctk"
  fi
  exp=$copy/recipes/vctk/exp/smoke_$quantizer
  "$copy/recipes/vctk/run.sh" --mini true --tag "smoke_$quantizer" --quantizer "$quantizer" --stop-stage "$last" \
    --train-args "trainer.max_steps=30 trainer.max_seconds=null trainer.validate_every=15 trainer.validate_utterances=2"
  for entry in "$@"; do
    [ -s "$exp/$entry" ] || { echo "$exp/$entry is missing or empty"; return 1; }
  done
}
recipe_gumbel() { recipe gumbel 5 units/test_unseen/units.txt wav/test_seen/wav.scp; }
recipe_kmeans() { recipe kmeans 9 scores.json report.html listen/private/key.json; } # the test compares both

benches() {
  local bench
  for bench in tools/bench/*.py; do
    [ "$bench" = tools/bench/measure.py ] || "$python" "$bench" --quick
  done
}

tests() {
  local selection=()
  if [ "$quick" = true ]; then selection=(-m "not slow"); fi
  "$python" -m pytest --durations 10 ${selection[@]+"${selection[@]}"}
}

browser=--browser
if [ "$quick" = true ]; then browser=; fi
bash tools/install.sh --dev $browser || exit 1
export VQAUDIO_NEEDS_BROWSER=1    # without a browser, its tests then fail; otherwise they are skipped
step "ruff" lint
step "mypy" types
step "shellcheck" scripts
step "no file over $max_lines lines" file_lengths
step "wheel" wheel
if [ "$quick" = false ]; then
  step "mini recipe, Gumbel-softmax, until speech" recipe_gumbel
  step "mini recipe, k-means" recipe_kmeans
  step "benches, quick" benches
fi
step "pytest" tests

printf '\nAll checks took %d s.\n' "$SECONDS"
for name in ${failed[@]+"${failed[@]}"}; do printf 'FAILED: %s\n' "$name"; done
[ "${#failed[@]}" -eq 0 ]
