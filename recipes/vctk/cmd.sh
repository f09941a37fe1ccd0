#!/usr/bin/env bash
# Runs the jobs of the recipe, on this machine or on Slurm; to be sourced.
#
#     run_jobs [JOB=1:N] LOG COMMAND…
#
# runs COMMAND once, or N copies of it. With JOB=1:N, write "$JOB" where the number of the job, 1 … N, belongs: in the
# name of the log and in the command, for example
#
#     run_jobs JOB=1:4 "extract.$JOB.log" vqaudio extract --shard "$JOB/4" …
#
# Each log starts with the command and ends with its exit code. When a job fails, run_jobs names its log, prints the
# last 20 lines of it, and returns 1.

cmd_backend=${cmd_backend:-local}        # local: all jobs at once on this machine | slurm: one job array
slurm_cores=${slurm_cores:-4}            # of each job on Slurm
slurm_options=(--time=24:00:00)          # e.g. --partition=gpu --gres=gpu:1
JOB=$'\037'                              # replaced by the number; a control character, so that no path contains it

run_jobs() {
  local first=1 last=1
  if [[ $1 =~ ^JOB=([0-9]+):([0-9]+)$ ]]; then
    first=${BASH_REMATCH[1]} last=${BASH_REMATCH[2]}
    shift
  fi
  local log=$1 job failed=0
  shift
  mkdir -p -- "$(dirname -- "$log")"
  for ((job = first; job <= last; job++)); do rm -f -- "${log//$JOB/$job}"; done
  case "$cmd_backend" in
    local) run_local_jobs "$@" || failed=1 ;;
    slurm) run_slurm_jobs "$@" || failed=1 ;;
    *)
      echo "cmd.sh: cmd_backend is $cmd_backend, not local or slurm; set one of these" >&2
      return 1
      ;;
  esac
  if [ "$failed" -eq 0 ]; then return 0; fi
  for ((job = first; job <= last; job++)); do
    if [ "$(tail -n 1 -- "${log//$JOB/$job}" 2>/dev/null)" != "# Ended (code 0)" ]; then
      printf 'failed: %s\n' "${log//$JOB/$job}" >&2
      tail -n 20 -- "${log//$JOB/$job}" | sed 's/^/    /' >&2 || echo "    (there is no log)" >&2
      return 1
    fi
  done
  return 1
}

# Run one job; log its command, its output and its exit code. SIGTERM is passed on (training then saves its state).
run_job() {
  local log=$1 child code=0
  shift
  { printf '# '; printf '%q ' "$@"; printf '\n'; } >"$log"
  "$@" >>"$log" 2>&1 </dev/null &
  child=$!
  trap 'kill -TERM "$child" 2>/dev/null' TERM
  wait "$child" || code=$?
  while kill -0 "$child" 2>/dev/null; do wait "$child" || code=$?; done    # a signal interrupted the wait
  printf '# Ended (code %d)\n' "$code" >>"$log"
  return "$code"
}

run_local_jobs() {
  local pids=() pid code=0
  for ((job = first; job <= last; job++)); do
    run_job "${log//$JOB/$job}" "${@//$JOB/$job}" &
    pids+=($!)
  done
  trap 'kill -TERM "${pids[@]}" 2>/dev/null; wait; echo "stopped by a signal; run the same command to resume" >&2; exit 143' INT TERM HUP
  for pid in "${pids[@]}"; do wait "$pid" || code=1; done
  trap - INT TERM HUP
  return "$code"
}

# Submit one array over a script per job; `sbatch --wait` returns when all jobs have ended. An array with the same name,
# which a killed recipe has left, ends first (singleton). Slurm reads %a and the like in the name of an output as
# placeholders, %% as a percent sign.
run_slurm_jobs() {
  local folder script output code=0
  if ! command -v sbatch >/dev/null; then
    echo "cmd.sh: cmd_backend is slurm, but there is no sbatch here; run on a login node, or set it to local" >&2
    return 1
  fi
  folder=$(dirname -- "$log")/q
  mkdir -p -- "$folder"
  script=$(basename -- "${log//$JOB/JOB}")
  script=$(CDPATH='' cd -- "$folder" && pwd)/$script
  rm -f -- "$script".*.slurm
  for ((job = first; job <= last; job++)); do
    {
      printf '#!/usr/bin/env bash\nset -uo pipefail\n'
      declare -f run_job
      printf 'cd %q && run_job' "$PWD"
      printf ' %q' "${log//$JOB/$job}" "${@//$JOB/$job}"
      printf '\n'
    } >"$script.$job.sh"
  done
  # shellcheck disable=SC2016  # Slurm sets the variable
  printf '#!/usr/bin/env bash\nexec bash %q."$SLURM_ARRAY_TASK_ID".sh\n' "$script" >"$script.sh"
  : >"$script.id"
  sbatch --parsable --wait --array="$first-$last" --export=ALL --signal=B:TERM@120 --output="${script//%/%%}.%a.slurm" \
    --job-name="$(basename -- "$script" .log)-$(cksum <<<"$script" | cut -d ' ' -f 1)" --dependency=singleton \
    --cpus-per-task="$slurm_cores" "${slurm_options[@]}" "$script.sh" >"$script.id" &
  trap 'cancel_slurm_jobs "$script.id"; wait; echo "stopped by a signal; run the same command to resume" >&2; exit 143' \
    INT TERM HUP
  wait $! || code=$?
  trap - INT TERM HUP
  if [ "$code" -eq 0 ]; then return 0; fi
  cancel_slurm_jobs "$script.id" # those that Slurm still has if sbatch lost it
  for output in "$script".*.slurm; do
    if [ -s "$output" ]; then sed 's/^/slurm: /' "$output" >&2; fi
  done
  return 1
}

# Cancel the array whose id sbatch has written to a file, as ID or ID;CLUSTER; what has ended is no error.
cancel_slurm_jobs() { # FILE
  local id
  IFS=';' read -r id _ <"$1" || return 0
  scancel --quiet "$id" || true
}
