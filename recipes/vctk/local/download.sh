#!/usr/bin/env bash
# Stage -1: downloads VCTK 0.92 to OUT.zip and unpacks it to OUT, without the recordings of the second microphone.
#
#     download.sh OUT
#
# An interrupted download resumes from OUT.zip.part, an interrupted unpacking starts again. OUT and OUT.zip exist only
# when they are complete; OUT.zip is not needed after that.
# Source: Edinburgh DataShare, doi:10.7488/ds/2645, CC BY 4.0.
set -euo pipefail

urls=(
  https://datashare.ed.ac.uk/bitstreams/535f4286-e54c-4038-838c-a02285e32cb2/download
  https://datashare.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip
)
size=11747302977    # bytes; size and sum are those that torchaudio and TensorFlow Datasets check
sha256=f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c
attempts=10
pause=5             # seconds between two attempts

die() {
  printf 'download.sh: %s\n' "$*" >&2
  exit 1
}

# Run a command in the background and wait for it: a signal to this script then ends the command too.
run() { "$@" & wait $!; }
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
trap 'exit 143' INT TERM

bytes() { if [ -f "$1" ]; then wc -c <"$1"; else echo 0; fi; } # FILE

check_free_space() {
  local needed free
  needed=$(((size - $(bytes "$part") + size / 2) / 1024)) # half of the archive is unpacked
  free=$(df -Pk -- "$(dirname -- "$out")" | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$needed" ] ||
    die "$out: needs $((needed >> 20)) GiB, but $((free >> 20)) GiB are free; make room and run again"
}

# Every attempt resumes from what the earlier ones have left. (curl's own --retry starts again from where it began.)
download() {
  local attempt code
  for ((attempt = 0; attempt < attempts; attempt++)); do
    if [ "$(bytes "$part")" -eq "$size" ]; then return; fi
    if [ "$attempt" -gt 0 ]; then sleep "$pause"; fi
    code=0
    run curl --fail --location --silent --show-error --connect-timeout 60 --speed-limit 1000 --speed-time 60 \
      --continue-at - --output "$part" "${urls[attempt % ${#urls[@]}]}" || code=$?
    # 33: the server cannot resume. 0 with another size: it sent another file.
    if [[ $code =~ ^(0|33)$ && $(bytes "$part") -ne $size ]]; then rm -f -- "$part"; fi
  done
  [ "$(bytes "$part")" -eq "$size" ] || die "$zip: the download failed $attempts times; run again to resume it"
}

check_sum() {
  local command=(sha256sum) sum
  command -v sha256sum >/dev/null || command=(shasum -a 256) # macOS
  sum=$("${command[@]}" <"$part")
  if [ "${sum%% *}" != "$sha256" ]; then
    rm -f -- "$part"
    die "$zip: the SHA-256 of the download is ${sum%% *}, not $sha256; the download was deleted, run again"
  fi
}

# extractall keeps every member inside the folder: it drops "..", drives and leading slashes, and makes no links.
unpack='
import sys, zipfile, zlib
archive, folder = sys.argv[1:]
try:
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder, [name for name in file.namelist() if not name.endswith("_mic2.flac")])
except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
    sys.exit(f"download.sh: {archive}: cannot be unpacked ({error}); delete it if it is damaged, and run again")
'

out=${1:?usage: download.sh OUT}
zip=$out.zip part=$out.zip.part
if [ -d "$out" ]; then exit; fi
command -v curl >/dev/null || die "curl is missing; install it with your package manager"
mkdir -p -- "$(dirname -- "$out")"
if [ ! -f "$zip" ]; then
  check_free_space
  download
  check_sum
  mv -- "$part" "$zip"
fi
rm -rf -- "$out.partial"
run python -c "$unpack" "$zip" "$out.partial"
mv -- "$out.partial" "$out"
