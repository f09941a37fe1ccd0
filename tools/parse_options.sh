#!/usr/bin/env bash
# Parses options as Kaldi's scripts do: `--some-name value` sets the variable some_name. To be sourced.
#
#     stage=0 mini=false                       # defaults
#     options=(stage mini)                     # the names that a user may set
#     help_message="Usage: $0 [options] …"
#     . parse_options.sh                       # reads "$@"
#
# Unlike Kaldi's parser, it evaluates nothing (a value with quotes or $(…) stays text), sets only the names listed in
# `options`, and rejects a missing value. A variable whose default is true or false takes only these two values.

option_error() {
  printf '%s: %s; see --help\n' "$(basename -- "$0")" "$1" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h)
      printf '%s\n' "${help_message:?}"
      exit 0
      ;;
    --*=*) option_error "$1: write --name value, not --name=value" ;;
    --?*) ;;
    *) option_error "unexpected argument: $1" ;;
  esac

  option_name=${1#--}
  option_name=${option_name//-/_}
  option_known=false
  for option_candidate in "${options[@]:?}"; do
    if [ "$option_candidate" = "$option_name" ]; then option_known=true; fi
  done
  if [ "$option_known" = false ]; then option_error "unknown option: $1"; fi

  if [ $# -lt 2 ] || [[ $2 == --* ]]; then option_error "$1 needs a value"; fi
  case "${!option_name}" in
    true | false)
      if [ "$2" != true ] && [ "$2" != false ]; then option_error "$1 takes true or false, not: $2"; fi
      ;;
  esac
  printf -v "$option_name" '%s' "$2"
  shift 2
done
unset option_name option_known option_candidate
