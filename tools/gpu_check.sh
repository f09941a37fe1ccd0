#!/usr/bin/env bash
# Checks a GPU against the CPU and measures it, in at most six minutes: what tools/bench/RESULTS.md says of a GPU.
set -uo pipefail

usage="Usage: tools/gpu_check.sh FILE

Writes a section for tools/bench/RESULTS.md to FILE: codes and samples of the GPU beside those of the CPU, a training under
torchrun with NCCL, and the speed of training (float32, bf16, compiled), extraction and sampling beside a large matrix
product. Needs .venv (tools/install.sh) with a torch for the GPU. Exits with 1 if a check fails or runs out of its time.

VQAUDIO_CHECK_DEVICE=cpu tries the script itself on the CPU, with small networks and gloo; its figures mean nothing."

case "${1:-}" in
  -h | --help)
    printf '%s\n' "$usage"
    exit 0
    ;;
  "" | -*)
    printf 'gpu_check.sh: give the file to write; see --help\n' >&2
    exit 2
    ;;
esac
case "$1" in
  /*) out=$1 ;;
  *) out=$PWD/$1 ;;
esac
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd -- "$root" || exit 1
python=$root/.venv/bin/python
export VQAUDIO_CHECK_DEVICE=${VQAUDIO_CHECK_DEVICE:-cuda}
quick=()
if [ "$VQAUDIO_CHECK_DEVICE" = cpu ]; then quick=(--quick); fi
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
failed=()

# Append what a command prints; note it if it fails or takes longer. The seconds of all parts make less than six minutes.
part() { # NAME SECONDS COMMAND…
  local name=$1 seconds=$2 code began=$SECONDS
  shift 2
  timeout -k 5 "$seconds" "$@" >"$scratch/part.log" 2>"$scratch/errors.log"
  code=$?
  { printf '### %s\n\n' "$name"; cat "$scratch/part.log"; } >>"$out"
  if [ "$code" -ne 0 ]; then
    failed+=("$name")
    printf 'FAILED with code %d (124: not done in %d s)\n\n' "$code" "$seconds" >>"$out"
    tail -n 20 "$scratch/errors.log" >&2
  fi
  printf '%s: code %d in %d s\n' "$name" "$code" $((SECONDS - began)) >&2
}

commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
printf '## GPU\n\n%s, %s, commit %s\n\n' "\`tools/gpu_check.sh\`" "$(date +%Y-%m-%d)" "$commit" >"$out"
part "Equality with the CPU" 60 "$python" tools/bench/gpu.py equality "${quick[@]}"
part "Process group" 110 "$python" tools/bench/gpu.py group "${quick[@]}"
part "Speed" 80 "$python" tools/bench/gpu.py speed "${quick[@]}"
if [ "$VQAUDIO_CHECK_DEVICE" != cpu ]; then part "torch.compile" 95 "$python" tools/bench/gpu.py compiled; fi
cat "$out"
[ "${#failed[@]}" -eq 0 ]
