#!/usr/bin/env bash
# shellcheck disable=SC2034  # words is read by the scripts that source this
# For scripts that start launchers: sourced by parallel.sh and in_parts.sh.

# run COMMAND...: until it has ended, also when this script is told to stop meanwhile: a launcher then
# has its jobs cancelled.
child=""
run() {
  "$@" &
  child=$!
  wait "${child}"
}
stop() {
  trap '' INT TERM HUP
  if [[ -n ${child} ]]; then kill -TERM "${child}" 2> /dev/null || true; fi
  wait
  exit 143
}
trap stop INT TERM HUP

# words_of TEXT: its words as a shell has them, with quotes, in the array `words`.
words_of() { mapfile -d '' words < <(xargs printf '%s\0' <<< "$1"); }

# begun_elsewhere LAUNCHER: whether its jobs may run on other machines.
begun_elsewhere() { [[ -n $1 && ${1##*/} != local.py ]]; }
