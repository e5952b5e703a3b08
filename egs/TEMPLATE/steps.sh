#!/usr/bin/env bash
# How steps are run: sourced by speechlm.sh and by the recipes' local/data.sh, after their options.
# `current` is the number of the stage that is running, `dry_run` an option of all of them. With
# LISTING_STEPS=true in the environment steps are listed in place of being run: stage, output, name.
# shellcheck disable=SC2154  # options are of the script that sources this; launchers are cmd.sh's

# shellcheck source=launchers.sh
. ../TEMPLATE/launchers.sh

export SPEECHLM_RUN=$$ # when this shell is killed, its steps end

listing=false
[[ ${LISTING_STEPS:-} != true ]] || listing=true

die() {
  echo "error: $*" >&2
  exit 1
}

# among WORD WORD...: whether the first is one of the others.
among() {
  local word
  for word in "${@:2}"; do
    if [[ ${word} == "$1" ]]; then return; fi
  done
  return 1
}

# alternatives WORD...: "a, b or c".
alternatives() {
  local listed=$1 n
  for ((n = 2; n < $#; n++)); do listed+=", ${!n}"; done
  if (($# > 1)); then listed+=" or ${!#}"; fi
  echo "${listed}"
}

# say WORDS: a line of the stage, such as why it has nothing to do.
say() { echo "stage ${current} | $*" >&2; }

# step NAME [--cmd LAUNCHER] [options of tools/step.py] -- COMMAND...: skipped when its output is there
# already. The command is a job of LAUNCHER (step_cmd) on a cluster if conf/resources.txt says so.
step() {
  local name=$1 cmd=${step_cmd:-local.py} options=() output="" placed=false prefix=()
  shift
  if ${listing}; then
    list_outputs "${name}" "$@"
    return
  fi
  # Every step in another language than English depends on its letters and phones.
  if [[ -n ${SPEECHLM_LANGUAGE:-} ]]; then options+=(--needs "${language_file}"); fi
  while [[ $1 != -- ]]; do
    case "$1" in
      --cmd) cmd=$2 && shift 2 && continue ;;
      --output) output=$2 ;;
      --launcher) placed=true ;;
    esac
    options+=("$1")
    shift
  done
  if ! ${placed} && as_job "${cmd}" "$@"; then
    output=$(log_of "${output}")
    options+=(--launcher "$(launcher "${cmd}" "$@") ${output@Q}" --jobs "$(describe 1 "${cmd}" "$@")")
  elif ! ${placed}; then
    on_its_cores "$@"
  fi
  if ${dry_run}; then options+=(--dry_run); fi
  "${prefix[@]}" step.py --stage "${current}" --name "${name}" "${options[@]}" "$@"
}

# list_outputs NAME [options of tools/step.py] -- COMMAND...
list_outputs() {
  local name=$1
  shift
  while [[ $1 != -- ]]; do
    if [[ $1 == --output || $1 == --also ]]; then
      printf '%s\t%s\t%s\n' "${current}" "$2" "${name}"
    fi
    shift
  done
}

# train NAME OUTPUT [options of step] -- COMMAND...: a training, which resumes in OUTPUT, or in the
# folder that a --training among the options names. It has one process, or one for each GPU.
train() {
  local name=$1 output=$2 folder=$2
  shift 2
  if [[ $1 == --training ]]; then
    folder=$2
    shift 2
  fi
  start_training "${name}" "${folder}" "" --output "${output}" "$@"
}

# train_widely NAME OUTPUT [options of step] -- COMMAND...: the same on ${num_nodes} nodes, each with
# a process for each of ${ngpu} GPUs, or without GPUs with ${num_procs} processes.
train_widely() {
  local name=$1 output=$2 procs=$((ngpu > 0 ? ngpu : num_procs)) reserve="" ranks=()
  shift 2
  # Of GPUs the table says how many cores each takes.
  if ((ngpu == 0 && procs > 1)); then reserve="--num_threads $((num_threads * procs))"; fi
  if ((num_nodes > 1)); then reserve+=" --num_nodes ${num_nodes}"; fi
  if ((num_nodes * procs > 1)); then
    ranks=(--ranks "ranks.py --nodes ${num_nodes} --per_node ${procs} --num_threads ${num_threads}")
    if ((ngpu == 0)); then ranks[1]+=" --cpu"; fi
  fi
  start_training "${name}" "${output}" "${reserve}" --output "${output}" "${ranks[@]}" "$@"
}

# start_training NAME FOLDER RESERVE [options of step] -- COMMAND...: RESERVE are options of the
# launcher that go before the table.
start_training() {
  local name=$1 folder=$2 cmd="${cuda_cmd} $3" job_log=$2/job.log
  shift 3
  step "${name}" --training "${folder}" --log "${folder}/train.log" \
    --launcher "$(launcher "${cmd}" "$@") ${job_log@Q}" --jobs "$(describe 1 "${cmd}" "$@")" "$@"
}

# parallel NAME DATA OUTPUT [--cmd LAUNCHER] [--keep] [options of step] -- COMMAND... [++ JOIN...]:
# jobs over the parts of a data directory, whose results are joined (see parallel.sh).
parallel() {
  local name=$1 data=$2 output=$3 cmd=${train_cmd} keep=() options=()
  shift 3
  while [[ $1 != -- ]]; do
    case "$1" in
      --cmd) cmd=$2 && shift ;;
      --keep) keep=(--keep true) ;;
      *) options+=("$1") ;;
    esac
    shift
  done
  step "${name}" --output "${output}" --needs "${data}" "${options[@]}" \
    --launcher "" --jobs "$(describe_parallel "${cmd}" "$@")" -- \
    ../TEMPLATE/parallel.sh --data "${data}" --nj "${nj}" --cmd "$(launcher "${cmd}" "$@")" \
    --output "${output}" "${keep[@]}" "$@"
}

# describe_parallel LAUNCHER -- COMMAND... [++ JOIN...]
describe_parallel() {
  local word words=() count=${nj} cmd=$1 text="" part
  ! is_local "${cmd}" || return 0
  shift 2
  for word in "$@" ++; do
    if [[ ${word} != ++ ]]; then
      words+=("${word}")
      continue
    fi
    part=$(describe "${count}" "${cmd}" "${words[@]}")
    text+=${part:+${text:+; }${part}}
    words=() count=1 cmd=${step_cmd:-local.py}
  done
  echo "${text}"
}

# in_parts OUTPUT COMMAND...: options of step, a line each, for a program that does its work in jobs if it
# is told to (see in_parts.sh); none on this machine, where it has processes of its own.
in_parts() {
  local output=$1 ends jobs text
  shift
  as_job "${train_cmd}" "$@" || return 0
  ends=speechlm.bin.$(program_of "$@")_ends
  jobs=("$(launcher "${train_cmd}" "$@")" "$(launcher "${step_cmd}" "${ends}")")
  text=$(describe 1 "${step_cmd}" "${ends}")
  output=$(log_of "${output}")
  printf '%s\n' --launcher \
    "../TEMPLATE/in_parts.sh --nj ${nj} --cmd ${jobs[0]@Q} --ends ${jobs[1]@Q} --log ${output@Q} --" \
    --jobs "$(describe "${nj}" "${train_cmd}" "$@")${text:+; before and behind: ${text}}"
}

# side_by_side FUNCTION ARGUMENT...: FUNCTION for each, ${train_jobs} at a time; what is under way is
# stopped when one fails or when the run is interrupted.
side_by_side() {
  local function=$1 argument running=0
  shift
  if ${dry_run}; then
    for argument in "$@"; do "${function}" "${argument}"; done
    return
  fi
  set -m # each in a process group of its own
  trap 'trap - EXIT; stop_groups' EXIT
  trap 'exit 130' INT TERM
  trap 'exit 75' USR1 # of trainings that have saved their states
  for argument in "$@"; do
    if ((running == train_jobs)); then
      wait -n || exit 1
      running=$((running - 1))
    fi
    { # told to stop, it waits until its step has saved a training's state
      trap 'exit 143' TERM
      "${function}" "${argument}"
    } &
    running=$((running + 1))
  done
  for (( ; running > 0; running--)); do wait -n || exit 1; done
  trap - EXIT INT TERM USR1
  set +m
}

stop_groups() {
  local group
  for group in $(jobs -p); do kill -TERM -- "-${group}" 2> /dev/null || true; done
  { wait; } 2> /dev/null
}
