#!/usr/bin/env bash
# shellcheck disable=SC2154,SC2034  # variables come from and go to run.sh
# Runs a stage only when its inputs changed; to be sourced by run.sh, which sets data, exp, stage and stop_stage.
#
#     if stage 1 split "split the corpus" "$data/raw/train/utt2spk" "$option" "$(checksum script.py)"; then
#       job "$log" command…
#       finish
#     fi
#
# The stamp of a stage (data/<corpus>/.stamps or exp/<tag>/.stamps) holds its outcome, its sum, its name and its seconds.
# The sum is a SHA-256 of the inputs given to `stage` and of the outcome of the previous stage. A stage is skipped when
# its sum is unchanged and its output exists; after a change of an option, a list or a script it runs again, and so do
# the stages after it. The outcome equals the sum unless `finish` is given a checksum of the output; the stages after it
# then run again only when the output differs.

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*"; }

die() {
  printf 'run.sh: %s\n' "$*" >&2
  exit 1
}

checksum() { cat -- "$@" | sha256sum | cut -d ' ' -f 1; }

checksum_sets() {
  (cd -- "$data" && find "${sets[@]}" -type f ! -name drops.tsv ! -name cuts.jsonl ! -name wav.scp -print0 | sort -z | xargs -0 sha256sum) |
    sha256sum | cut -d ' ' -f 1
}

checksum_model() { if [ -f "$exp/model.safetensors" ]; then checksum "$exp/model.safetensors"; fi; }

not_ours() { # REASON [MORE]
  printf 'run.sh: %s; choose another corpus or --tag%s\n' "$1" "${2:-}" >&2
  exit 2
}

# Make a folder and mark it as vqaudio's, as vqaudio/outputs.py does; end if somebody else has put files into it.
claim() { # FOLDER KIND
  local mark=$1/.vqaudio other made=''
  mkdir -p -- "$1"
  # Listed before the mark is looked for: what another job of ours writes there comes after its mark.
  other=$(find "$1" -mindepth 1 -maxdepth 1 ! -name '.partial-*' -print -quit)
  if [ -f "$mark" ]; then
    read -r made <"$mark" || true
  elif [ -n "$other" ]; then
    not_ours "$1: holds ${other##*/}, and no .vqaudio says that vqaudio made this folder" \
      ", or put an empty file .vqaudio into it if everything in it may be replaced"
  fi
  if [ -z "$made" ]; then
    printf '%s\n' "$2" >"$1/.partial-$$"
    mv -- "$1/.partial-$$" "$mark"
  elif [ "$made" != "$2" ]; then
    not_ours "$1: was made as $made, not as $2"
  fi
}

stamp_of() { # NUMBER
  if [ "$1" -le 2 ]; then printf '%s/.stamps/stage%s' "$data" "$1"; else printf '%s/.stamps/stage%s' "$exp" "$1"; fi
}

# Succeeds when the stage is requested and not finished. Sets `changed` to true when the output of an earlier run of the
# stage, complete or not, was made from other inputs.
stage() { # NUMBER NAME TITLE OUTPUT INPUT…
  local output=$4
  stage_number=$1 stage_name=$2 stage_title=$3
  shift 4
  if [ "$stage_number" -lt "$stage" ] || [ "$stage_number" -gt "$stop_stage" ]; then return 1; fi

  local before='' done_sum=''
  if [ "$stage_number" -gt 0 ]; then
    before=$(stamp_of $((stage_number - 1)))
    [ -f "$before" ] || die "stage $stage_number ($stage_title) needs stage $((stage_number - 1)); run with --stage $((stage_number - 1))"
    read -r before _ <"$before" # its outcome
  fi
  stage_sum=$(printf '%s\n' "$before" "$@" | sha256sum | cut -d ' ' -f 1)
  stage_stamp=$(stamp_of "$stage_number")
  if [ -f "$stage_stamp" ]; then read -r _ done_sum _ <"$stage_stamp"; fi
  if [ "$done_sum" = "$stage_sum" ] && [ -e "$output" ]; then
    say "stage $stage_number: $stage_title: finished before, skipped"
    return 1
  fi

  changed=true
  if [ -f "$stage_stamp.begun" ] && [ "$(cat -- "$stage_stamp.begun")" = "$stage_sum" ]; then changed=false; fi
  mkdir -p -- "$(dirname -- "$stage_stamp")"
  rm -f -- "$stage_stamp"
  say "stage $stage_number: $stage_title"
  stage_began=$SECONDS
}

# Call this once old output has been removed: if the stage is interrupted after this point, its next run resumes it.
begun() { printf '%s\n' "$stage_sum" >"$stage_stamp.begun"; }

# Run jobs as run_jobs of cmd.sh does; if one fails, the recipe ends.
job() { # [JOB=1:N] LOG COMMAND…
  run_jobs "$@" || die "stage $stage_number ($stage_title) failed; the log is named above"
}

finish() { # [OUTCOME]
  printf '%s %s %s %s\n' "${1:-$stage_sum}" "$stage_sum" "$stage_name" "$((SECONDS - stage_began))" >"$stage_stamp.tmp"
  mv -- "$stage_stamp.tmp" "$stage_stamp"
}

# Move the files of an earlier training with other options to exp/<tag>/before-<n>.
set_aside() {
  local number=1 name
  if [ ! -e "$exp/state" ] && [ ! -e "$exp/model.safetensors" ]; then return; fi
  while [ -e "$exp/before-$number" ]; do number=$((number + 1)); done
  mkdir -p -- "$exp/before-$number"
  for name in config.yaml model.safetensors speakers.txt state tensorboard train.log metrics.jsonl failed.txt; do
    if [ -e "$exp/$name" ]; then mv -- "$exp/$name" "$exp/before-$number/"; fi
  done
  say "options or data changed: the earlier training is in exp/$tag/before-$number"
}

# Set `judges` to the directory of the Whisper model if speech can be judged here, else to nothing, with `no_judges` why.
find_judges() {
  judges='' no_judges='VQAUDIO_WHISPER, which would name a Whisper model, is not set'
  if [ -z "${VQAUDIO_WHISPER:-}" ] || [ "$stage" -gt 6 ] || [ "$stop_stage" -lt 6 ]; then return; fi
  if no_judges=$(python "$here/local/check_judges.py" 2>&1); then judges=$VQAUDIO_WHISPER; fi
}

# Set `judging` to the options that let judges score a set with this text, to none without a text or without judges.
judge_options() { # TEXT
  judging=()
  if [ -z "$judges" ]; then return; fi
  if [ -f "$1" ]; then judging=(--judges --text "$1" --whisper "$judges"); else say "no judges without $1"; fi
}

# Print "name <tab> wav.scp" for each system of the listening test: this run, its speaker swap if there is one, and the
# run whose tag differs only in the quantizer (with its stamp, which changes when that run does).
listening_systems() {
  local other other_exp
  printf '%s\t%s\n' "$quantizer" "$exp/wav/test_seen/wav.scp"
  if [ -e "$exp/wav/test_seen_swap/wav.scp" ]; then
    printf '%s\t%s\n' "${quantizer}_swap" "$exp/wav/test_seen_swap/wav.scp"
  fi
  if [ "$quantizer" = kmeans ]; then other=gumbel; else other=kmeans; fi
  other_exp=$here/exp/${tag/%$quantizer/$other}
  if [ "$other_exp" != "$exp" ] && [ -f "$other_exp/.stamps/stage5" ]; then
    printf '%s\t%s\t%s\n' "$other" "$other_exp/wav/test_seen/wav.scp" "$(cat -- "$other_exp/.stamps/stage5")"
  fi
}

# Keep an earlier listening test, since it may hold answers. Its links stay valid.
set_test_aside() {
  local number=1
  if [ ! -e "$exp/listen" ]; then return; fi
  while [ -e "$exp/listen-$number" ]; do number=$((number + 1)); done
  mv -- "$exp/listen" "$exp/listen-$number"
  say "the systems changed: the earlier listening test is in exp/$tag/listen-$number"
}

# Print the number of jobs for an extraction: more than one only if they run on several machines.
number_of_shards() { # UTT2SPK
  local lines
  if [ "$cmd_backend" = local ]; then
    echo 1
  else
    lines=$(wc -l <"$1")
    echo $((lines < nj ? lines : nj))
  fi
}

# Quote a path for a Hydra override.
hydra_quote() {
  # In Hydra's quotes a backslash escapes only a quote, or backslashes before a quote or the end.
  printf "'%s'" "$(printf '%s' "$1" | sed "s/\(\\\\*\)'/\1\1\\\\'/g; s/\(\\\\*\)\$/\1\1/")"
}
