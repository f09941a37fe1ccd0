#!/usr/bin/env bash
# Sets the environment of the recipe; to be sourced. Installs the package into .venv if it is missing.

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)

if [ ! -x "$root/.venv/bin/vqaudio" ] || [ -e "$root/.venv/installing" ]; then
  echo "path.sh: no environment yet, running tools/install.sh (takes some minutes, once)" >&2
  "$root/tools/install.sh" >&2 || {
    echo "path.sh: tools/install.sh failed; its messages are above" >&2
    exit 1
  }
fi
if [ ! -x "$root/.venv/bin/vqaudio" ]; then
  echo "path.sh: $root/.venv/bin/vqaudio is missing although tools/install.sh ran; remove .venv and run again" >&2
  exit 1
fi

export PATH="$root/.venv/bin:$PATH"
export LC_ALL=C.UTF-8            # sorts by bytes, reads UTF-8
export PYTHONIOENCODING=UTF-8
