#!/usr/bin/env bash
# Builds the documentation from docs/ and the docstrings; a broken link is an error.
set -euo pipefail

usage="Usage: tools/docs.sh [FOLDER]

Writes the documentation to FOLDER (default: site, which git ignores). Needs the extra docs:
.venv/bin/pip install -c constraints.txt -e '.[docs]'. To see changes while you write: .venv/bin/mkdocs serve"

case "${1:-}" in
  -h | --help)
    printf '%s\n' "$usage"
    exit 0
    ;;
  -*)
    printf 'docs.sh: unknown argument: %s; see --help\n' "$1" >&2
    exit 2
    ;;
esac
out=$(realpath -m -- "${1:-site}")
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd -- "$root"
python=$root/.venv/bin/python
[ -x "$python" ] || python=python3
if [ -e "$out" ] && [ -n "$(ls -A "$out")" ] && [ ! -f "$out/sitemap.xml" ]; then
  printf 'docs.sh: %s: holds files that are no documentation; choose another folder\n' "$out" >&2
  exit 2
fi
NO_MKDOCS_2_WARNING=true exec "$python" -m mkdocs build --strict --quiet --site-dir "$out"
