#!/usr/bin/env bash
# Runs a command on the parts of a data directory as parallel jobs, then joins their results.
#
#   parallel.sh --data DIR --nj N --cmd LAUNCHER --output FOLDER [--keep true] -- COMMAND...
#     [++ JOIN...]...
#
# In the commands {split} stands for the folder of the parts, which are made once in DIR, and {nj} for
# their number. In COMMAND JOB is the number of the job; in a JOIN a word with JOB becomes one word for each
# job, in their order. A JOIN is a job of ${step_cmd} where conf/resources.txt says so.
#
# FOLDER is removed first: what an interrupted run with another number of jobs left there must not be
# joined with this one's. The jobs write into a folder of this run in it, whose files go to FOLDER when all
# have ended well, so that a job of an earlier run that lives on somewhere changes nothing. --keep true is
# for commands that see to both themselves. Logs: FOLDER/log/JOB.log.
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
template=${BASH_SOURCE[0]%/*}
# shellcheck source=launchers.sh
. "${template}/launchers.sh"
# shellcheck source=waiting.sh
. "${template}/waiting.sh"

# start LAUNCHER WORD... -- COMMAND...: the words behind the launcher are its range and its log. Jobs that
# may run on other machines say themselves that they make the output (tools/owner.py).
start() {
  local words line
  words_of "$1"
  line=("${words[@]}")
  shift
  while [[ $1 != -- ]]; do line+=("$1") && shift; done
  shift
  if [[ -n ${SPEECHLM_OWNER:-} ]] && begun_elsewhere "${words[0]}"; then
    line+=(hold.py "${SPEECHLM_OWNER}" "${SPEECHLM_STEP}" --)
  fi
  run "${line[@]}" "$@"
}

# join COMMAND...
join() {
  joins=$((joins + 1))
  if as_job "${step_cmd:-local.py}" "$@"; then
    start "$(launcher "${step_cmd}" "$@")" "${output}/log/join_${joins}.log" -- "$@"
  else
    on_its_cores "$@"
    run "${prefix[@]}" "$@"
  fi
}

# parts: makes those of the data, if they are not there, and sets {split} and {nj}.
parts() {
  local split_data=(python -m speechlm.bin.split_data --input "${data}" --n "${nj}")
  split=${data}/.split${nj}
  if [[ ! -d ${split} ]] && as_job "${step_cmd:-local.py}" "${split_data[@]}"; then
    start "$(launcher "${step_cmd}" "${split_data[@]}")" "${output}/log/split.log" -- "${split_data[@]}"
  fi
  nj=$("${split_data[@]}")
}

# gather: the files of this run's folder become those of the output. A change of a folder makes a network
# file system's client ask its server, so that no file of another machine is overlooked.
gather() {
  if ${keep}; then return; fi
  : > "${work}/.look"
  rm "${work}/.look"
  find "${work}" -mindepth 1 -maxdepth 1 -exec mv -t "${output}" -- {} +
  rm -rf "${output}"/.jobs.*
}

work=${output} joins=0
if ! ${keep}; then
  rm -rf "${output}"
  work=${output}/.jobs.${SPEECHLM_STEP:-$$}
fi
mkdir -p "${work}"
parts
line=() joining=false
for word in "$@" ++; do
  word=${word//"{split}"/${split}}
  word=${word//"{nj}"/${nj}}
  if [[ ${word} == ++ ]]; then
    if ${joining}; then join "${line[@]}"; else
      SPEECHLM_JOBS=${nj} start "${cmd}" JOB=1:"${nj}" "${output}/log/JOB.log" -- "${line[@]}"
      gather
    fi
    line=() joining=true
  elif ! ${joining} && [[ ${word} == "${output}" || ${word} == "${output}/"* ]]; then
    line+=("${work}${word#"${output}"}")
  elif ${joining} && [[ ${word} == *JOB* ]]; then
    for ((job = 1; job <= nj; job++)); do line+=("${word//JOB/${job}}"); done
  else
    line+=("${word}")
  fi
done
