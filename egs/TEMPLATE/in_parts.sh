#!/usr/bin/env bash
# Runs a program that divides its work itself, as jobs of a cluster: COMMAND --plan, which says what each
# job does, COMMAND --job 1 to COMMAND --job N side by side, and COMMAND --finish.
#
#   in_parts.sh --nj N --cmd LAUNCHER --ends LAUNCHER --log FILE -- COMMAND...
#
# LAUNCHER of --ends starts the first and the last. Logs: FILE without its .log, with .plan.log, .JOB.log and
# .finish.log.
set -euo pipefail

nj=1 cmd="" ends="" log=""
while [[ $1 != -- ]]; do
  case "$1" in
    --nj) nj=$2 ;;
    --cmd) cmd=$2 ;;
    --ends) ends=$2 ;;
    --log) log=${2%.log} ;;
    *) echo "in_parts.sh: error: unknown option $1" >&2; exit 1 ;;
  esac
  shift 2
done
shift
# shellcheck source=waiting.sh
. "${BASH_SOURCE[0]%/*}/waiting.sh"

words_of "${ends}"
run "${words[@]}" "${log}.plan.log" "$@" --plan
words_of "${cmd}"
SPEECHLM_JOBS=${nj} run "${words[@]}" JOB=1:"${nj}" "${log}.JOB.log" "$@" --job JOB
words_of "${ends}"
run "${words[@]}" "${log}.finish.log" "$@" --finish
