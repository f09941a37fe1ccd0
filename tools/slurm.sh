#!/usr/bin/env bash
# Runs the mini recipe on a Slurm cluster of this one machine, started for it, with jobs that are killed on the way.
set -euo pipefail

usage="Usage: tools/slurm.sh

Starts a Slurm cluster of this machine in a temporary folder and runs the mini recipe until units, with a short training,
by Slurm and without it; all data, the model and the units must be the same. A recipe that is stopped in its training and
an extraction whose jobs are cancelled or killed must end with the same bytes when the command is given again. At last two
trainings are a sweep. Takes some minutes. Needs root, Slurm and the extra sweep: apt-get install slurm-wlm munge, and
.venv/bin/pip install -c constraints.txt -e '.[sweep]'"
cores=4    # that Slurm believes in
running=   # the process of a recipe in the background
settings="trainer.max_steps=30 trainer.validate_every=15 trainer.validate_utterances=2 trainer.log_every=3"

case "${1:-}" in
  '') ;;
  -h | --help)
    printf '%s\n' "$usage"
    exit 0
    ;;
  *)
    printf 'slurm.sh: unknown argument: %s; see --help\n' "$1" >&2
    exit 2
    ;;
esac
for command in munged slurmctld slurmd sbatch scancel scontrol squeue; do
  if ! PATH=$PATH:/usr/sbin command -v "$command" >/dev/null; then
    printf 'slurm.sh: there is no %s here; apt-get install slurm-wlm munge\n' "$command" >&2
    exit 2
  fi
done
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
if ! "$root/.venv/bin/python" -c 'import hydra_plugins.hydra_submitit_launcher' 2>/dev/null; then
  echo "slurm.sh: the extra sweep is not installed; .venv/bin/pip install -c constraints.txt -e '.[sweep]'" >&2
  exit 2
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "slurm.sh: a Slurm daemon runs as root; run this as root, in a container for example" >&2
  exit 2
fi

scratch=$(mktemp -d)
export PATH=$PATH:/usr/sbin SLURM_CONF=$scratch/slurm.conf OMP_NUM_THREADS=1

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*"; }

fail() {
  printf 'slurm.sh: FAILED: %s\n' "$*" >&2
  exit 1
}

# No cgroups, no limits of resources and no tasks bound to cores, so that it runs in a container too.
configure() {
  local host
  host=$(hostname -s)
  mkdir -p "$scratch/state" "$scratch/spool" "$scratch/log"
  head -c 1024 /dev/urandom >"$scratch/munge.key"
  chmod 400 "$scratch/munge.key"
  chmod 755 "$scratch"
  cat >"$SLURM_CONF" <<END
ClusterName=vqaudio
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$scratch/munge.socket
CredType=cred/munge
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$scratch/state
SlurmdSpoolDir=$scratch/spool
SlurmctldPidFile=$scratch/slurmctld.pid
SlurmdPidFile=$scratch/slurmd.pid
SlurmctldLogFile=$scratch/log/slurmctld.log
SlurmdLogFile=$scratch/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
}

start() {
  munged --force --key-file="$scratch/munge.key" --socket="$scratch/munge.socket" --pid-file="$scratch/munged.pid" \
    --log-file="$scratch/log/munged.log" --seed-file="$scratch/munged.seed"
  slurmctld
  slurmd
  wait_for "Slurm did not start" idle
}

idle() { [ "$(sinfo -h -o %T 2>/dev/null)" = idle ]; }

stop() {
  local name tries=0
  if [ -n "$running" ]; then kill "$running" 2>/dev/null || true; fi
  scancel --quiet --user root 2>/dev/null || true
  while [ -n "$(squeue -h 2>/dev/null)" ] && [ "$tries" -lt 300 ]; do # without slurmd, its jobs would stay for ever
    tries=$((tries + 1))
    sleep 0.2
  done
  for name in slurmd slurmctld munged; do
    if [ -f "$scratch/$name.pid" ]; then kill "$(cat "$scratch/$name.pid")" 2>/dev/null || true; fi
  done
  wait
  sleep 1    # slurmctld saves its state
  rm -rf -- "$scratch"
}

wait_for() { # MESSAGE COMMAND…
  local message=$1 tries=0
  shift
  until "$@"; do
    tries=$((tries + 1))
    [ "$tries" -lt 3000 ] || fail "$message; $(tail -q -n 3 "$scratch/log/slurmd.log" "$scratch/slurm.out")"
    sleep 0.2
  done
}

# Copy the recipe and the package, which may change here; the spaces in the names are a part of the test.
copy() { # FOLDER
  mkdir -p "$1/recipes/vctk"
  cp -R "$root/tools" "$root/conf" "$root/vqaudio" "$1"
  ln -s "$root/.venv" "$1/.venv"
  (cd "$root/recipes/vctk" && tar -cf - --exclude ./downloads --exclude ./data --exclude ./exp .) | tar -xf - -C "$1/recipes/vctk"
}

# Become the recipe until units; for a subshell, whose process then is that of run.sh.
recipe() { # BACK-END
  local folder="$scratch/by $1"
  export cmd_backend=$1 slurm_cores=1 PYTHONPATH=$folder
  exec "$folder/recipes/vctk/run.sh" --mini true --tag run --nj 3 --stop-stage 4 --train-args "$settings"
}

same() { # FOLDER…, relative to the recipe
  local folder
  for folder in "$@"; do
    diff -r -q -x shards -x cuts.jsonl "$scratch/by local/recipes/vctk/$folder" "$scratch/by slurm/recipes/vctk/$folder" ||
      fail "$folder of Slurm differs"
  done
}

has() { [ -s "$1" ]; }

at_work() { [ "$(wc -l 2>/dev/null <"$shards/$1-of-3/journal.txt" || echo 0)" -gt 3 ]; } # SHARD

running_id() { squeue -h -r -o '%F_%K %j' | sed -n "s/^\([0-9]*_$1\) $2-.*/\1/p"; } # TASK NAME

trap stop EXIT
configure
say "Slurm in $scratch"
start
copy "$scratch/by local"
copy "$scratch/by slurm"
by_slurm="$scratch/by slurm/recipes/vctk"
data=(data/mini/{train,dev,test_seen,test_unseen}/{wav,utt2dur,text,utt2spk,phones.ctm})

say "without Slurm"
(recipe local >"$scratch/local.out")

say "by Slurm, and stopped by SIGTERM in the training"
recipe slurm >"$scratch/slurm.out" 2>&1 &
running=$!
wait_for "no training started" has "$by_slurm/exp/run/metrics.jsonl"
kill "$running"
if wait "$running"; then fail "a stopped recipe ended as if finished"; fi
grep -q "stopped by a signal" "$scratch/slurm.out" || fail "the recipe does not say that it was stopped"
[ -z "$(squeue -h)" ] || fail "a stopped recipe leaves jobs in the queue"
grep -q "the same command resumes" "$by_slurm/exp/run/log/train.log" || fail "the training did not save its state"

say "the same command again, killed in the extraction: a job by scancel, another by kill -9"
recipe slurm >"$scratch/slurm.out" 2>&1 &
running=$!
shards=$by_slurm/exp/run/units/train/shards
wait_for "no extraction started" at_work 2
wait_for "shard 3 did not start" at_work 3
cancelled=$(running_id 2 extract_train.JOB)
killed=$(running_id 3 extract_train.JOB)
scancel "$cancelled"
killed=$(scontrol show job "$killed" -o | sed -n 's/^JobId=\([0-9]*\) .*/\1/p')
scontrol listpids "$killed" 2>/dev/null | awk '$1 ~ /^[0-9]+$/ { print $1 }' | xargs kill -9
if wait "$running"; then fail "a recipe whose jobs were killed ended as if finished"; fi
grep -q "^failed: .*extract_train\..\.log" "$scratch/slurm.out" || fail "the recipe does not name the log of a killed job"
[ ! -e "$by_slurm/exp/run/units/train/units.json" ] || fail "killed shards were merged"

say "the same command again"
(recipe slurm >"$scratch/slurm.out" 2>&1) || fail "$(tail -n 3 "$scratch/slurm.out")"
for shard in 2 3; do
  grep "utterances already done" "$by_slurm/exp/run/log/extract_train.$shard.log" || fail "shard $shard began anew"
done
same "${data[@]}" exp/run/model.safetensors exp/run/units
say "the data, the model and the units are those without Slurm"

say "two trainings as a sweep, by submitit"
folder="$scratch/by slurm"
sweep="$folder/sweep"
PYTHONPATH=$folder "$root/.venv/bin/vqaudio" train -m hydra/launcher=submitit_slurm hydra.launcher.cpus_per_task=1 \
  model=tiny quantizer=kmeans,gumbel trainer=mini trainer.max_steps=6 trainer.validate_every=6 trainer.save_every=6 \
  trainer.validate_utterances=2 "data.train='$by_slurm/data/mini/dev'" "data.valid='$by_slurm/data/mini/dev'" \
  "exp_dir='$sweep'" >"$scratch/slurm.out" 2>&1 || fail "the sweep; $(tail -n 3 "$scratch/slurm.out")"
for name in kmeans gumbel; do
  has "$sweep/quantizer=$name/model.safetensors" || fail "the sweep wrote no model of quantizer=$name"
done
say "all passed"
