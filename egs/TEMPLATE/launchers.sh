#!/usr/bin/env bash
# What starts jobs, and what each program takes: sourced by steps.sh and parallel.sh. The table is
# the recipe's own conf/resources.txt, else that of TEMPLATE.

# shellcheck disable=SC2034,SC2154  # options and helpers are those of the scripts that source this
# <options>
# Jobs
cluster=local              # where jobs run: local, this machine; or slurm, a Slurm cluster, whose partitions
                           # conf/slurm.conf names (doc/clusters.md). The launchers themselves, with
                           # options of their own, can stand in the recipe's cmd.sh
job_ngpu=                  # GPUs of each job that runs a trained model over speech or text (features, units,
                           # decoding): 0 or 1; if empty, 1 where --ngpu is above 0
# </options>

# choose_launchers: sets train_cmd, cuda_cmd, decode_cmd and step_cmd.
choose_launchers() {
  among "${cluster}" local slurm || die "--cluster is '${cluster}'; it can be local or slurm"
  [[ ${job_ngpu} =~ ^[01]?$ ]] || die "--job_ngpu is '${job_ngpu}'; it can be 0 or 1"
  unset step_cmd
  # shellcheck source=cmd.sh
  . ../TEMPLATE/cmd.sh
  # shellcheck source=/dev/null
  if [[ -f cmd.sh ]]; then . ./cmd.sh; fi
  export step_cmd=${step_cmd:-${train_cmd}}
  warn_of_unknown_programs
}

# check_torch: what trains on GPUs has a build of torch for them; jobs would find that out hours later. A
# dry run warns.
check_torch() {
  local build said
  ((${ngpu:-0} > 0)) || return 0
  build=$(python -c 'from importlib.metadata import version; print(version("torch"))' 2> /dev/null) || true
  [[ ${build} == *+cpu ]] || return 0
  said="--ngpu ${ngpu}: torch ${build} is a build for CPUs; TORCH=cuda tools/install.sh in the project's folder"
  said+=" brings that for NVIDIA's GPUs"
  ${dry_run} || die "${said}"
  echo "warning: ${said}" >&2
}

# is_local LAUNCHER: whether it is this machine's own.
is_local() { [[ ${1%%[[:space:]]*} == *local.py ]]; }

declare -A resource_table
resource_file=conf/resources.txt
[[ -f ${resource_file} ]] || resource_file=${BASH_SOURCE[0]%/*}/${resource_file}
read_resources() {
  local program row
  while read -r program row || [[ -n ${program} ]]; do # the last line may have no end
    row=${row//$'\r'/} program=${program//$'\r'/}
    row=${row%%#*}
    if [[ -n ${program} && ${program} != "#"* ]]; then
      check_resources "${program}" "${row}"
      resource_table[${program}]=${row}
    fi
  done < "${resource_file}"
  [[ -n ${resource_table[default]:-} && ${resource_table[default]} != here* ]] ||
    bad_resources "there is no row of cores, memory, time and GPU for default"
}

bad_resources() {
  echo "error: ${resource_file}: $1" >&2
  exit 1
}

# warn_of_unknown_programs: of rows whose name no program has, so that nothing would take them.
warn_of_unknown_programs() {
  local program files root=${BASH_SOURCE[0]%/*}/../..
  for program in "${!resource_table[@]}"; do
    files=("${root}/speechlm/bin/${program%_ends}.py" "local/${program}.py" "${root}"/egs/*/local/"${program}".py)
    if [[ ${program} != default && ! -f ${files[0]} && ! -f ${files[1]} && ! -f ${files[2]} ]]; then
      echo "warning: ${resource_file}: the row of '${program}' is not used: no program of speechlm/bin or of a\
 recipe's local/ has this name" >&2
    fi
  done
}

# check_resources PROGRAM ROW
check_resources() {
  local blank='[[:space:]]+' row time='(-|([0-9]+-)?[0-9]+(:[0-9]+){0,2})'
  [[ -z ${resource_table[$1]:-} ]] || bad_resources "there are two rows of $1; keep one"
  row="([1-9][0-9]*|nj)${blank}[1-9][0-9]*[KMGTkmgt]?${blank}${time}${blank}(-|1|ngpu)"
  [[ $2 =~ ^(here|${row})[[:space:]]*$ ]] ||
    bad_resources "the row of $1 is '$2'; wanted are cores (a number or nj), memory (4G or 1500M; whole numbers), time \
(4:00:00, 1-0 or -) and GPU (-, 1 or ngpu), or the word here"
}

# program_of COMMAND...: the name of its row, that of a module of speechlm.bin or of a .py file; - of others.
program_of() {
  local word
  for word in "$@"; do
    case ${word} in
      speechlm.bin.*) echo "${word#speechlm.bin.}" && return ;;
      *.py) word=${word##*/} && echo "${word%.py}" && return ;;
    esac
  done
  echo -
}

# gpus_of PROGRAM: the GPUs of each of its jobs, for its option --ngpu.
gpus_of() {
  local cores memory time gpu
  read -r cores memory time gpu <<< "${resource_table[$1]:-${resource_table[default]}}"
  case ${gpu} in
    ngpu) echo "${ngpu:-0}" ;;
    1) echo "${job_ngpu:-$((${ngpu:-0} > 0))}" ;;
    *) echo 0 ;;
  esac
}

# as_job LAUNCHER COMMAND...: whether the command is a job of a cluster: one of ours that does not run here.
as_job() {
  local program
  ! is_local "$1" || return 1
  program=$(program_of "${@:2}")
  [[ ${program} != - && ${resource_table[${program}]:-} != here* ]]
}

# resources_of LAUNCHER COMMAND...: sets cores, memory, time and gpus; `given` names those of them that
# the launcher's own options say.
resources_of() {
  local row gpu number name
  row=${resource_table[$(program_of "${@:2}")]:-${resource_table[default]}}
  read -r cores memory time gpu <<< "${row/here/${resource_table[default]}}"
  gpus=0 given=" "
  if [[ " ${*:2} " =~ \ --ngpu\ ([0-9]+)\  ]]; then gpus=${BASH_REMATCH[1]}; fi
  [[ ${cores} != nj ]] || cores=${nj:-1}
  if [[ ${gpu} == ngpu ]] && ((gpus == 0)); then cores=${num_threads:-1}; fi
  if [[ ${gpu} == ngpu ]] && ((gpus > 1)); then
    number=${memory%[KMGTkmgt]}
    cores=$((cores * gpus)) memory=$((number * gpus))${memory#"${number}"}
  fi
  for name in cores:num[-_]threads memory:mem time:time gpus:gpu; do
    if [[ $1 =~ (^|[[:space:]])--${name#*:}[=[:space:]]+([^[:space:]]+) ]]; then
      given+="${name%:*} "
      printf -v "${name%:*}" '%s' "${BASH_REMATCH[2]}"
    fi
  done
}

# launcher LAUNCHER COMMAND...: the launcher with options for what the command takes, but for those that it
# has. On this machine memory and time are not limited.
launcher() {
  local cores memory time gpus given words=""
  resources_of "$@"
  if ! is_local "$1" || ((cores > 1)); then words+=" cores:--num_threads=${cores}"; fi
  if ! is_local "$1"; then words+=" memory:--mem=${memory} time:--time=${time}"; fi
  if ((gpus > 0)); then words+=" gpus:--gpu=${gpus}"; fi
  echo "$1$(left_out_given "${words}")"
}

# on_its_cores COMMAND...: sets `prefix`, the words before a command that runs here without a launcher, so that
# it has the threads that it would have as a job: a product's last bits depend on their number.
on_its_cores() {
  local cores memory time gpus given name
  resources_of local.py "$@"
  prefix=(env)
  for name in OMP MKL OPENBLAS; do prefix+=("${name}_NUM_THREADS=${cores}"); done
}

# left_out_given "NAME:OPTION=VALUE ...": those that are not in `given` or without a value, as words.
left_out_given() {
  local word
  for word in $1; do
    if [[ ${given} == *" ${word%%:*} "* || ${word} == *=- ]]; then continue; fi
    word=${word#*:}
    echo -n " ${word%%=*} ${word#*=}"
  done
}

# describe COUNT LAUNCHER COMMAND...: so many jobs and what each takes, on each of its nodes; nothing if
# they are none.
describe() {
  local cores memory time gpus given some=s nodes=""
  as_job "${@:2}" || return 0
  resources_of "${@:2}"
  ((cores > 1)) || some=""
  ((gpus > 0)) || gpus=no
  [[ ${gpus} == 1 ]] && gpus+=" GPU" || gpus+=" GPUs"
  if [[ $2 =~ --num[-_]nodes[=[:space:]]+([0-9]+) ]]; then nodes=", ${BASH_REMATCH[1]} nodes"; fi
  echo "$1 x $(program_of "${@:3}"): ${cores} core${some}, ${memory}, ${time/#-/no limit}, ${gpus}${nodes}"
}

# log_of OUTPUT: the log of the job that makes it.
log_of() {
  local name=${1#exp/}
  echo "exp/log/${name//\//.}.log"
}

read_resources
