#!/usr/bin/env bash
# shellcheck disable=SC2154,SC2034  # variables come from and go to run.sh
# Checks the options of run.sh and sets the variables that depend on them; to be sourced. Installs and writes nothing.

usage_error() {
  printf 'run.sh: %s; see --help\n' "$1" >&2
  exit 2
}

absolute() { # PATH, relative to where run.sh was called
  case "$1" in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$PWD" "$1" ;; esac
}

# The command that repeats the run, for RESULTS.md: all options except those that choose the stages and the jobs.
command=recipes/vctk/run.sh
for name in "${options[@]}"; do
  case "$name:${!name}" in
    stage:* | stop_stage:* | nj:* | *:false | quantizer:kmeans | *:) ;;
    *) command+=" --${name//_/-} $(printf '%q' "${!name}")" ;;
  esac
done

for name in stage stop_stage; do
  [[ ${!name} =~ ^(-1|[0-9])$ ]] || usage_error "--${name//_/-} is ${!name}; it must be from -1 to 9"
done
[[ $nj =~ ^[1-9][0-9]*$ ]] || usage_error "--nj is $nj; it must be a whole number of at least 1"

sources=0
if [ "$mini" = true ]; then
  sources=$((sources + 1)) source_option=--vctk-root source_dir=$here/corpus source_cure="restore it with git"
fi
if [ "$download" = true ]; then
  sources=$((sources + 1)) source_option=--vctk-root source_dir=$here/downloads/VCTK-Corpus-0.92
  source_cure="run with --stage -1 to download it"
fi
if [ -n "$vctk_root" ]; then
  sources=$((sources + 1)) source_option=--vctk-root source_dir=$(absolute "$vctk_root")
fi
if [ -n "$data_dir" ]; then
  sources=$((sources + 1)) source_option=--data-dir source_dir=$(absolute "$data_dir")
fi
[ "$sources" -eq 1 ] || usage_error "give one of --mini true, --vctk-root DIR, --data-dir DIR and --download true"

if [ -n "$vctk_root$data_dir" ]; then
  [ -d "$source_dir" ] || usage_error "$source_dir: no such folder"
  source_dir=$(CDPATH='' cd -- "$source_dir" && pwd)
fi
if [ "$mini" = true ]; then corpus=mini; else corpus=$(basename -- "$source_dir"); fi
[ "$corpus" != / ] || usage_error "/ cannot be a corpus, since the name of the folder is the name of the corpus"

if [ -n "$alignment" ]; then
  alignment=$(absolute "$alignment")
  [ -f "$alignment" ] || usage_error "--alignment: $alignment: no such file"
fi

if [ -n "$init" ]; then
  if [ -n "$model" ] || [ "$quantizer" != kmeans ]; then
    usage_error "--init goes without --model and --quantizer, whose model has its own"
  fi
  if [ "$init" != default ]; then
    init=$(absolute "$init")
    [ -f "$init/model.safetensors" ] || usage_error "--init: $init: no such model"
  fi
fi

preset=default cap_unseen='' # that of make_splits.py
model=${model:-$(if [ "$mini" = true ]; then echo tiny; else echo base; fi)}
if [ "$mini" = true ]; then preset=mini cap_unseen=16; fi
trainer=${trainer:-$preset}
for name in model quantizer trainer; do
  [[ ${!name} =~ ^[A-Za-z0-9_-]+$ && -f $here/../../conf/$name/${!name}.yaml ]] ||
    usage_error "--$name is ${!name}; it must be one of$(cd "$here/../../conf/$name" && printf ' %s' *.yaml | sed 's/\.yaml//g')"
done

if [ -z "$tag" ] && [ -n "$init" ]; then tag=${corpus}_from_$(basename -- "$init"); fi
tag=${tag:-${corpus}_${model}_${quantizer}}
[[ $tag != */* && $tag != .* ]] || usage_error "--tag is $tag; it must not hold a slash nor start with a dot"

extra_overrides=()
read -r -d '' -a extra_overrides <<<"$train_args" || true
