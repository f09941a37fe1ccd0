#!/usr/bin/env bash
# Makes or updates .venv at the project's root; takes a moment if nothing changed.
set -euo pipefail

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
python=${PYTHON:-python3}
extras=eval,listen tested=eval,listen,export,parquet,lhotse,hub,ssl,dev
dev=false browser=false
axe="axe-playwright-python==0.1.8"    # ships axe-core 4.12.1
torch_index=https://download.pytorch.org/whl/cpu

usage="Usage: tools/install.sh [--dev] [--browser]

Installs vqaudio (editable) with the extras eval and listen into .venv at the project's root, at the versions of
constraints.txt. --dev adds what tools/test.sh needs, --browser what the tests of the listening page need (Chromium, its
driver, Firefox, PulseAudio in place of a sound card, axe-core). PYTHON=… chooses the interpreter (3.10 or newer).
pip uses your configuration. On Linux without an NVIDIA driver it also searches
$torch_index, which has torch without CUDA."

say() { printf 'install.sh: %s\n' "$*"; }
die() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

for argument in "$@"; do
  case "$argument" in
    --dev) extras=$tested dev=true ;;
    --browser) extras=$tested browser=true ;;
    -h | --help)
      printf '%s\n' "$usage"
      exit 0
      ;;
    *)
      printf 'install.sh: unknown argument: %s; see --help\n' "$argument" >&2
      exit 2
      ;;
  esac
done

check_python() {
  command -v "$python" >/dev/null || die "$python is not installed; install Python 3.10 or newer, or set PYTHON"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    die "$python is $("$python" --version 2>&1); Python 3.10 or newer is needed: PYTHON=/path/to/python3 tools/install.sh"
}

# Print the content of .venv/installed, without the extras: a hash of everything that determines the installation.
fingerprint() {
  "$python" - "$root" <<'END'
import hashlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
data = [str(root).encode(), sys.version.encode()]
data += [(root / name).read_bytes() for name in ("pyproject.toml", "constraints.txt", "tools/install.sh")]
print(hashlib.sha256(b"\0".join(data)).hexdigest())
END
}

# A killed installation leaves .venv/installing. The environment is then made anew, since packages may be incomplete.
make_venv() {
  local owner
  if [ -e "$venv/installing" ]; then
    owner=$(cat "$venv/installing")
    if [ -n "$owner" ] && kill -0 "$owner" 2>/dev/null; then
      die "another tools/install.sh is running (process $owner); wait for it, or remove $venv/installing"
    fi
    say "an earlier installation was interrupted; starting again"
    "$python" -m venv --clear "$venv" || venv_failed
  elif ! "$venv/bin/python" -m pip --version >/dev/null 2>&1 || [ "$(version "$venv/bin/python")" != "$(version "$python")" ]; then
    "$python" -m venv --clear "$venv" || venv_failed
  fi
  printf '%s\n' "$$" >"$venv/installing"
  rm -f "$venv/installed"
}

version() { "$1" -c 'import sys; print(sys.version)'; }

venv_failed() { die "cannot make $venv; on Debian and Ubuntu, install the package python3-venv"; }

# On Linux, PyPI's torch brings gigabytes of CUDA; PyTorch's own index has it without.
choose_index() {
  if [ "$(uname -s)" != Linux ] || command -v nvidia-smi >/dev/null || [ -n "${PIP_NO_INDEX:-}" ]; then return; fi
  if "$python" - "$torch_index/" >/dev/null 2>&1 <<'END'; then
import sys, urllib.request
urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="HEAD"), timeout=5)
END
    index=(--extra-index-url "$torch_index")
  fi
}

install_packages() {
  local index=() log=$venv/install.log
  choose_index
  say "installing vqaudio[$extras] into $venv (some minutes the first time)"
  if ! (cd "$root" && "$venv/bin/python" -m pip install --disable-pip-version-check ${index[@]+"${index[@]}"} \
    -c constraints.txt -e ".[$extras]") >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "pip failed; its whole output is in $log"
  fi
}

# PyPI's torchaudio fails to import with a CPU build of torch.
repair_torchaudio() {
  "$venv/bin/python" "$root/tools/repair_torchaudio.py" || die "torchaudio does not import with this torch; see the error above"
}

# Install packages as root with apt-get; fail if that is not possible.
apt_install() { # PACKAGE…
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then return 1; fi
  say "installing $* with apt-get"
  { apt-get update -q || true; DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; } \
    >"$venv/apt.log" 2>&1 && return
  tail -n 5 "$venv/apt.log" >&2
  return 1
}

install_shellcheck() {
  if command -v shellcheck >/dev/null || apt_install shellcheck; then return; fi
  die "shellcheck is missing; install it with your package manager (apt-get install shellcheck, brew install shellcheck)"
}

# The dependencies of the package that contains axe-core, another browser driver, are not needed.
install_browser() {
  if ! "$venv/bin/python" -m pip show -q "${axe%==*}" >/dev/null 2>&1; then
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps "$axe" || die "pip cannot install $axe"
  fi
  local program missing=()
  for program in chromium chromedriver pulseaudio; do
    command -v "$program" >/dev/null || missing+=("$program")
  done
  command -v firefox-esr >/dev/null || command -v firefox >/dev/null || missing+=(firefox)
  if [ "${#missing[@]}" -eq 0 ]; then return; fi
  apt_install chromium chromium-driver firefox-esr pulseaudio || die "${missing[*]} missing; install all" \
    "(on Debian: apt-get install chromium chromium-driver firefox-esr pulseaudio)"
}

check_python
wanted=$(fingerprint)
installed=$(cat "$venv/installed" 2>/dev/null || true)
case "$installed" in *dev*" $wanted" | "$extras $wanted") up_to_date=true ;; *) up_to_date=false ;; esac
case "$installed" in *dev*) extras=$tested ;; esac    # an environment with dev keeps it

if [ "$up_to_date" = false ]; then
  make_venv
  install_packages
  repair_torchaudio
  printf '%s %s\n' "$extras" "$wanted" >"$venv/installed"
  rm -f "$venv/installing"
  say "done: $venv/bin/vqaudio"
fi
if [ "$dev" = true ]; then install_shellcheck; fi
if [ "$browser" = true ]; then install_browser; fi
