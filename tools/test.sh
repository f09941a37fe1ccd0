#!/usr/bin/env bash
# Everything that must hold before a commit: style, types, scripts, wheel, the mini recipe with both quantizers, tests.
set -uo pipefail

usage="Usage: tools/test.sh

Brings .venv up to date (tools/install.sh --dev --browser) and runs every check; goes on after one that fails, names those at the
end and exits with 1. Takes some minutes. Single checks: .venv/bin/ruff check, .venv/bin/mypy, .venv/bin/pytest tests/test_units.py"
case "${1:-}" in
  '') ;;
  -h | --help)
    printf '%s\n' "$usage"
    exit 0
    ;;
  *)
    printf 'test.sh: unknown argument: %s; see --help\n' "$1" >&2
    exit 2
    ;;
esac

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd -- "$root" || exit 1
python=$root/.venv/bin/python
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
longest_file=300    # lines
steps=0
failed=()

step() { # NAME FUNCTION: run it in a subshell with errexit
  local code began=$SECONDS
  printf '\n=== %s\n' "$1"
  ( set -e; "$2" )
  code=$?
  steps=$((steps + 1))
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
  find vqaudio -name '*.py' -exec awk -v limit="$longest_file" \
    'FNR == limit + 1 { print FILENAME ": more than " limit " lines; split it"; long = 1 } END { exit long }' {} +
}

# The wheel, made from the source distribution, must work alone: installed in an environment of its own that takes
# only the dependencies from .venv, called from a folder where the source tree cannot be imported.
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

# In a copy, so that neither corpora nor runs of the developer are touched; the space in its name is part of the test.
recipe() { # QUANTIZER
  local copy="$scratch/a copy" entry exp
  if [ ! -d "$copy" ]; then
    mkdir -p "$copy/recipes/vctk"
    for entry in .venv tools conf vqaudio; do ln -s "$root/$entry" "$copy/$entry"; done
    (cd recipes/vctk && tar -cf - --exclude ./downloads --exclude ./data --exclude ./exp .) | tar -xf - -C "$copy/recipes/vctk"
  fi
  exp=$copy/recipes/vctk/exp/smoke_$1
  "$copy/recipes/vctk/run.sh" --mini true --tag "smoke_$1" --quantizer "$1" --train-args "trainer.max_steps=40 trainer.max_seconds=90"
  for entry in units/test_seen/units.txt units/test_unseen/units.txt wav/test_seen/wav.scp scores.json report.html listen/private/key.json; do
    [ -s "$exp/$entry" ] || { echo "$exp/$entry is missing or empty"; return 1; }
  done
}
recipe_kmeans() { recipe kmeans; }
recipe_gumbel() { recipe gumbel; }

benches() {
  local bench
  for bench in tools/bench/*.py; do
    [ "$bench" = tools/bench/measure.py ] || "$python" "$bench" --quick
  done
}

tests() { "$python" -m pytest --junitxml "$scratch/tests.xml" --durations 10; }

bash tools/install.sh --dev --browser || exit 1
export VQAUDIO_NEEDS_BROWSER=1    # a missing one fails tests/test_listen_browser.py in place of skipping it
step "ruff" lint
step "mypy" types
step "shellcheck" scripts
step "no file over $longest_file lines" file_lengths
step "wheel" wheel
step "mini recipe, k-means" recipe_kmeans
step "mini recipe, Gumbel-softmax" recipe_gumbel
step "benches, quick" benches
step "pytest" tests

# pytest counts its tests; each other step counts as one.
read -r passed failures < <("$python" - "$scratch/tests.xml" $((steps - 1)) "${#failed[@]}" <<'END'
import sys, xml.etree.ElementTree
steps, failed = int(sys.argv[2]), int(sys.argv[3])
try:
    suite = xml.etree.ElementTree.parse(sys.argv[1]).getroot().find("testsuite").attrib
    bad = int(suite["failures"]) + int(suite["errors"])
    good = int(suite["tests"]) - bad - int(suite["skipped"])
except (OSError, xml.etree.ElementTree.ParseError):
    good, bad = 0, 1
failed_steps = failed - (bad > 0)
print(good + steps - failed_steps, bad + failed_steps)
END
)
printf '\nAll checks took %d s.\n' "$SECONDS"
for name in ${failed[@]+"${failed[@]}"}; do printf 'FAILED: %s\n' "$name"; done
printf '%d passed, %d failed\n' "$passed" "$failures"
[ "${#failed[@]}" -eq 0 ]
