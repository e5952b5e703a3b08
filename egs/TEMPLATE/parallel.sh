#!/usr/bin/env bash
# Runs a command on the parts of a data directory as parallel jobs, then joins their results.
#
#   parallel.sh --data DIR --nj N --cmd LAUNCHER --output FOLDER [--keep true] -- COMMAND...
#     [++ JOIN...]...
#
# In the commands {split} stands for the folder of the parts and {nj} for their number. In COMMAND JOB
# is the number of the job; in a JOIN a word with JOB becomes one word for each job, in their order.
# Logs: FOLDER/log/JOB.log. FOLDER is removed first: what an interrupted run with another number of jobs
# left there must not be joined with this one's; --keep true is for commands that see to it themselves.
set -euo pipefail

data="" nj=1 cmd=local.py output="" keep=false
while [[ $# -gt 0 && $1 != -- ]]; do
  case "$1" in
    --data) data=$2 ;;
    --nj) nj=$2 ;;
    --cmd) cmd=$2 ;;
    --output) output=$2 ;;
    --keep) keep=$2 ;;
    *) echo "parallel.sh: error: unknown option $1" >&2; exit 1 ;;
  esac
  shift 2
done
shift
[[ -n ${data} && -n ${output} && $# -gt 0 ]] ||
  { echo "parallel.sh: error: --data, --output and a command are wanted" >&2; exit 1; }

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

${keep} || rm -rf "${output}"
split=${output}/split
nj=$(python -m speechlm.bin.split_data --input "${data}" --n "${nj}" --output "${split}")
mapfile -d '' launcher < <(xargs printf '%s\0' <<< "${cmd}") # words as a shell has them, with quotes
line=("${launcher[@]}" JOB=1:"${nj}" "${output}/log/JOB.log")
# Jobs that may run on other machines say themselves that they make the output (tools/owner.py).
if [[ -n ${SPEECHLM_OWNER:-} && ${launcher[0]##*/} != local.py ]]; then
  line+=(hold.py "${SPEECHLM_OWNER}" "${SPEECHLM_STEP}" --)
fi
joining=false
for word in "$@" ++; do
  word=${word//"{split}"/${split}}
  word=${word//"{nj}"/${nj}}
  if [[ ${word} == ++ ]]; then
    run "${line[@]}"
    line=() joining=true
  elif ${joining} && [[ ${word} == *JOB* ]]; then
    for ((job = 1; job <= nj; job++)); do line+=("${word//JOB/${job}}"); done
  else
    line+=("${word}")
  fi
done
rm -rf "${split}"
