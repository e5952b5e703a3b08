#!/usr/bin/env bash
# SUPERB: what frozen networks are good for. Small heads on a weighted sum of a network's layers learn
# ten tasks; of each only the learning rate is chosen, on dev. Beside the models stand filter banks,
# cepstra, and the first model's network with random weights.
#   ./run.sh                                       the models of egs/mini, on corpora made by espeak-ng
#   ./run.sh --models "base=FOLDER hubert=FOLDER"  other models: a SpeechLM, a HuBERT, a WavLM
#   ./run.sh --corpus DIR --config "" --on_the_fly true --ngpu 1
#                                                  the real corpora, in DIR/LibriSpeech and so on, with
#                                                  SUPERB's own values
#   ./run.sh --tasks er --corpora "er=IEMOCAP"     emotions, which no synthesizer makes
# Stages: 1 data, 2 dump, 11 layers and heads, 14 report (exp/RESULTS.md). The others are not needed.
# Options (the value in brackets is the default):
set -euo pipefail
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")"

# <options>
stage=1                    # first stage to run
stop_stage=14              # last stage to run
dry_run=false              # only say what would run
list_steps=false           # only list the steps of all stages: stage, output and name, between tabs
models="speech=../mini/exp/pretrain_speech speech_text=../mini/exp/pretrain_speech_text hidden_text=../mini/exp/pretrain_hidden_text" # what is judged: each NAME=FOLDER, or NAME=OWNER/NAME of the Hugging Face hub
baselines="fbank mfcc random" # what stands beside it: filter banks, cepstra, and the first model's network
                           # with random weights
tasks="pr asr ks ic sid qbe sf asv sd" # any of these, and er, which needs IEMOCAP (doc/superb.md has their names)
seeds=3                    # heads of each task and model, from seeds 1, 2, ...; the first chooses the rate
corpus=                    # folder that has the corpora; without it they are made by espeak-ng
corpora=                   # corpora that are elsewhere, each TASK=FOLDER
scale=1.0                  # size of what espeak-ng makes: 0.1 makes about a tenth of the recordings
corpus_seed=1              # seed of what espeak-ng says
config=conf/small.yaml     # YAML file of steps, batches, widths and rates of the heads, for a quick trial a
                           # copy with fewer steps; if empty, SUPERB's own
min_seconds=0.2            # shorter utterances are left out, for all models
max_bad_share=0.1          # stages 1 and 2 stop if a larger share of a corpus is wrong
on_the_fly=false           # compute layers whenever they are needed, in place of keeping them
nj=2                       # parallel jobs of stages 1 and 2
train_jobs=2               # pairs of a task and a model that are worked on at the same time
ngpu=0                     # GPUs of each of these: 0 or 1
num_threads=1              # CPU threads of each of these
# </options>

given=("$@")
printf -v LIST_STEPS '%q ' "$0" "${given[@]}" --list_steps true
export LIST_STEPS
unset LISTING_STEPS
# shellcheck source=../TEMPLATE/path.sh
. ../TEMPLATE/path.sh
# shellcheck source=../TEMPLATE/steps.sh
. ../TEMPLATE/steps.sh
# shellcheck source=../TEMPLATE/dry_run.sh
. ../TEMPLATE/dry_run.sh
# shellcheck disable=SC2034  # read by parse_options.sh
option_files=(../TEMPLATE/launchers.sh)
# shellcheck source=../../tools/parse_options.sh
. parse_options.sh

declare -A upstream=() elsewhere=()
declare -A folder=([pr]=LibriSpeech [asr]=LibriSpeech [ks]=speech_commands
  [ic]=fluent_speech_commands_dataset [sid]=VoxCeleb1 [qbe]=quesst14Database [sf]=audio_snips
  [asv]=VoxCeleb1 [sd]=Libri2Mix [er]=IEMOCAP)
known=(pr asr ks ic sid qbe sf asv sd er)
names=() chosen=() numbers=()

main() {
  if ${list_steps}; then dry_run=true listing=true; fi
  choose_launchers
  check_options
  ${listing} || check_torch
  if ${dry_run} && ! ${listing}; then begin_dry_run; fi
  if ((stage <= 1 && stop_stage >= 1)); then stage_1; fi
  if ((stage <= 2 && stop_stage >= 2)); then stage_2; fi
  if ((stage <= 11 && stop_stage >= 11)); then stage_11; fi
  if ((stage <= 14 && stop_stage >= 14)); then stage_14; fi
}

check_options() {
  local word task
  ((stage >= 1 && stage <= 14)) || die "--stage is ${stage}; stages are 1 to 14"
  ((stop_stage >= stage && stop_stage <= 14)) ||
    die "--stop_stage is ${stop_stage}; it can be ${stage} (--stage) to 14"
  read -ra chosen <<< "${tasks}"
  ((${#chosen[@]} > 0)) || die "--tasks names none"
  for task in "${chosen[@]}"; do
    among "${task}" "${known[@]}" ||
      die "--tasks has '${task}'; it can have $(alternatives "${known[@]}")"
  done
  [[ -z $(printf '%s\n' "${chosen[@]}" | sort | uniq -d) ]] ||
    die "--tasks '${tasks}' names one twice"
  for word in ${models}; do
    [[ ${word} == [A-Za-z]*=?* && ${word%%=*} =~ ^[A-Za-z0-9_.-]+$ ]] ||
      die "--models has '${word}'; NAME=FOLDER is expected"
    add_model "${word%%=*}" "${word#*=}"
    ((stage > 11 || stop_stage < 11)) || check_model "${word}" "${word#*=}"
  done
  ((${#names[@]} > 0)) || die "--models names none"
  for word in ${baselines}; do
    among "${word}" fbank mfcc random || die "--baselines has '${word}'; there are fbank, mfcc, random"
    if [[ ${word} == random ]]; then
      add_model random "random:${upstream[${names[0]}]}"
    else
      add_model "${word}" "${word}"
    fi
  done
  for word in ${corpora}; do
    { [[ ${word} == *=?* ]] && among "${word%%=*}" "${known[@]}"; } ||
      die "--corpora has '${word}'; TASK=FOLDER is expected"
    [[ -z ${elsewhere[${word%%=*}]-} ]] || die "--corpora has two folders of ${word%%=*}"
    elsewhere[${word%%=*}]=${word#*=}
  done
  ! among er "${chosen[@]}" || [[ -n ${corpus} || -n ${elsewhere[er]-} ]] ||
    die "--tasks has er, which no synthesizer makes: --corpora er=FOLDER (IEMOCAP) is needed"
  ((seeds >= 1 && train_jobs >= 1 && nj >= 1 && num_threads >= 1)) ||
    die "--seeds, --train_jobs, --nj and --num_threads of 1 or more are expected"
  ((ngpu <= 1)) || die "--ngpu is ${ngpu}; a task and a model take 0 or 1, and --train_jobs says how many run at once"
  mapfile -t numbers < <(seq "${seeds}")
  [[ -z ${config} || -f ${config} ]] || die "--config is '${config}', which is no file"
  ((stage > 1)) || check_corpora
}

# add_model NAME UPSTREAM
add_model() {
  [[ -z ${upstream[$1]-} ]] || die "--models and --baselines have two called '$1'"
  names+=("$1")
  upstream[$1]=$2
}

# check_model WORD PLACE: what --models names must be there before any corpus is made. A name on the
# Hugging Face hub is no folder here, and neither is the one before its slash.
check_model() {
  local absent="--models has '$1', but no model is there"
  if [[ -d $2 ]]; then
    [[ -f $2/config.yaml || -f $2/config.json ]] ||
      complain "${absent}: a folder with config.yaml (ours) or config.json (Hugging Face) is expected"
  elif [[ -e $2 ]]; then
    complain "${absent}, but a file; the folder of a model is expected"
  elif [[ $2 == [./~]* || $2 == */*/* || ($2 == */* && -d ${2%%/*}) ]]; then
    [[ $2 != ../mini/exp/* ]] || absent+="; egs/mini/run.sh makes it"
    complain "${absent}"
  fi
}

# check_corpora: those that are not made here.
check_corpora() {
  local task place seen=()
  for task in "${chosen[@]}"; do
    place=$(corpus_of "${task}")
    if [[ -n ${corpus}${elsewhere[${task}]-} && ! -e ${place} ]] && ! among "${place}" "${seen[@]}"; then
      complain "'${place}' is not there, the corpus of ${task}"
      seen+=("${place}")
    fi
  done
}

# complain WORDS: the end, or a warning where nothing is run.
complain() {
  ${dry_run} || die "$*"
  ${listing} || echo "warning: $*" >&2
}

# corpus_of TASK
corpus_of() { echo "${elsewhere[$1]:-${corpus:-data/corpora}/${folder[$1]}}"; }

# model_files NAME: what the layers of a model follow from; a name on the Hugging Face hub is no file.
model_files() {
  local place=${upstream[$1]#random:}
  if [[ -e ${place} || ${place} == [./~]* ]]; then echo "${place}"; fi
}

stage_1() {
  local task current=1 wanted=false
  for task in "${chosen[@]}"; do
    if [[ -z ${corpus} && -z ${elsewhere[${task}]-} ]]; then wanted=true; fi
  done
  if ${wanted}; then
    step "corpora by espeak-ng" --output data/corpora -- \
      python local/make_superb.py --output data/corpora --scale "${scale}" \
      --seed "${corpus_seed}" --nj "${nj}"
  fi
  for task in "${chosen[@]}"; do
    step "data of ${task}" --output "data/${task}" --needs "$(corpus_of "${task}")" -- \
      python -m speechlm.bin.prepare_superb --task "${task}" --corpus "$(corpus_of "${task}")" \
      --max_bad_share "${max_bad_share}" --output "data/${task}"
  done
}

stage_2() {
  local task current=2
  for task in "${chosen[@]}"; do
    step "format ${task}" --output "dump/${task}" --needs "data/${task}" -- \
      python -m speechlm.bin.format_data --input "data/${task}" --output "dump/${task}" \
      --min_seconds "${min_seconds}" --max_bad_share "${max_bad_share}" --nj "${nj}"
  done
}

stage_11() {
  local current=11 name task all=()
  for name in "${names[@]}"; do
    for task in "${chosen[@]}"; do all+=("${task}/${name}"); done
  done
  side_by_side judge "${all[@]}"
}

# heavy NAME LOG [options of step] -- COMMAND...: a job with the GPUs and threads that were asked for.
heavy() {
  local name=$1 log=$2 cmd="${cuda_cmd} --gpu ${ngpu} --num_threads ${num_threads}"
  shift 2
  step "${name}" --log "${log}" --launcher "$(launcher "${cmd}" "$@") ${log@Q}" \
    --jobs "$(describe 1 "${cmd}" "$@")" "$@"
}

# judge TASK/NAME: layers of a model, and heads on them.
judge() {
  local task=${1%%/*} name=${1#*/} layers=exp/layers/$1 output=exp/heads/$1 input=() needs=()
  mapfile -t needs < <(model_files "${name}")
  if ${on_the_fly}; then
    input=(--upstream "${upstream[${name}]}")
  else
    input=(--features "${layers}")
    heavy "layers of ${name} for ${task}" "${layers}.log" --output "${layers}" \
      --needs "dump/${task}" "${needs[@]}" -- \
      python -m speechlm.bin.superb_features --upstream "${upstream[${name}]}" \
      --data_dir "dump/${task}" --output "${layers}" --ngpu "${ngpu}" --num_threads "${num_threads}"
    needs=("${layers}")
  fi
  heavy "heads of ${task} on ${name}" "${output}.log" --output "${output}" \
    --needs "data/${task}" "dump/${task}" "${needs[@]}" ${config:+"${config}"} -- \
    python -m speechlm.bin.superb_judge --task "${task}" --model "${name}" \
    --task_dir "data/${task}" --data_dir "dump/${task}" "${input[@]}" \
    ${config:+--config "${config}"} --seeds "${numbers[@]}" --output "${output}" \
    --ngpu "${ngpu}" --num_threads "${num_threads}"
}

stage_14() {
  local current=14 name task all=()
  for name in "${names[@]}"; do
    for task in "${chosen[@]}"; do all+=("exp/heads/${task}/${name}"); done
  done
  step "report" --output exp/RESULTS.md --also exp/images/weights.png --needs "${all[@]}" -- \
    python -m speechlm.bin.superb_report --results "${all[@]}" --picture exp/images/weights.png \
    --output exp/RESULTS.md
  step "page" --output exp/RESULTS.html --needs exp/RESULTS.md -- \
    python -m speechlm.bin.page --report exp/RESULTS.md --output exp/RESULTS.html
}

main
