#!/usr/bin/env bash
# Runs a command on the parts of a data directory as parallel jobs, then joins their results.
#
#   parallel.sh --data DIR --nj N --cmd LAUNCHER --log PREFIX -- COMMAND... [++ JOIN...]
#
# In both commands {split} stands for the folder of the parts, {nj} for their number; in COMMAND JOB is
# the number of the job. PREFIX.JOB.log are the logs.
set -euo pipefail

data="" nj=1 cmd=local.py log=""
while [[ $# -gt 0 && $1 != -- ]]; do
  case "$1" in
    --data) data=$2 ;;
    --nj) nj=$2 ;;
    --cmd) cmd=$2 ;;
    --log) log=$2 ;;
    *) echo "$0: error: unknown option $1" >&2; exit 1 ;;
  esac
  shift 2
done
shift
[[ -n ${data} && -n ${log} && $# -gt 0 ]] || { echo "$0: error: see the top of it" >&2; exit 1; }

nj=$(python -m speechlm.bin.split_data --input "${data}" --n "${nj}")
work=() join=() behind=false
for word in "$@"; do
  if [[ ${word} == ++ ]]; then
    behind=true
    continue
  fi
  word=${word//"{split}"/${data}/split${nj}}
  word=${word//"{nj}"/${nj}}
  if ${behind}; then join+=("${word}"); else work+=("${word}"); fi
done

read -ra launcher <<< "${cmd}"
"${launcher[@]}" JOB=1:"${nj}" "${log}.JOB.log" "${work[@]}"
if ${behind}; then "${join[@]}"; fi
