#!/usr/bin/env bash
# A recipe with several seeds: mean error rates with intervals, paired differences, and pictures.
#
#   cd egs/NAME && ../TEMPLATE/seeds.sh [--seeds "1 2 3"] [options of ./run.sh]
#
# Corpus, recogniser, units and word models are made once, with the recipe's own seed. Then each seed
# pre-trains, fine-tunes, decodes and scores under --tag seedN (exp/RESULTS_seedN.md), and all are compared
# in exp/SEEDS.md. What is finished is not done again, so that a further seed costs only its own time.
# Options; all others go to ./run.sh:
set -euo pipefail

# <options>
seeds="1 2 3"              # of trainings
tag=                       # stands before seedN in names of folders and files: for variants side by side
text_amounts=              # lines of text, such as "1000 4000": speech_text is trained with so many, too, and
                           # error rates are drawn by the amount (none: system speech; all: speech_text)
pairs="speech:speech_text hidden:hidden_text HMM/ngram:speech_text" # what is compared (compare_seeds --pairs)
curves=                    # further pre-trainings to be drawn beside this one's, such as
                           # "paper:exp/pretrain_speech_text_paper"
curves_x=cpu               # what learning curves stand over: cpu (seconds), wall (seconds) or updates
dry_run=false              # only say what would run
# </options>

die() {
  echo "error: $*" >&2
  exit 1
}

[[ -x run.sh ]] || die "${PWD} has no run.sh; this is to be run in the folder of a recipe"
command=../TEMPLATE/seeds.sh
for word in "$@"; do
  if [[ ${word} == *[[:space:]]* || -z ${word} ]]; then word="'${word}'"; fi
  command+=" ${word}"
done

# Options of the block above, with their values; the others are for run.sh.
own=() rest=()
while (($# > 0)); do
  name=${1%%=*}
  case "${name//-/_}" in
    __help) own+=("$1") ;;
    __dry_run)
      own+=("$1")
      if [[ ${2-} =~ ^(true|false)$ ]]; then
        own+=("$2")
        shift
      fi
      ;;
    __seeds | __tag | __text_amounts | __pairs | __curves | __curves_x)
      own+=("$1")
      if [[ $1 != *=* && $# -gt 1 ]]; then
        own+=("$2")
        shift
      fi
      ;;
    __seed | __finetune_tag | __stage | __stop_stage | __text_lines | __list_steps)
      die "$1 is chosen here for each training: see --seeds, --tag and --text_amounts (--help)"
      ;;
    *) rest+=("$1") ;;
  esac
  shift
done
set -- "${own[@]}"
# shellcheck source=path.sh
. ../TEMPLATE/path.sh
# shellcheck source=../../tools/parse_options.sh
. parse_options.sh
# shellcheck source=dry_run.sh
. ../TEMPLATE/dry_run.sh

read -ra numbers <<< "${seeds}"
read -ra amounts <<< "${text_amounts}"
read -ra compared <<< "${pairs}"
read -ra further <<< "${curves}"
word=${tag:+${tag}_}seed
suffix=${tag:+_${tag}}
tables=exp/seeds${suffix} images=exp/images report=exp/SEEDS${suffix}.md

main() {
  local seed amount
  check_options
  if ${dry_run}; then
    rest+=(--dry_run true)
    begin_dry_run
  fi
  recipe --stage 1 --stop_stage 9
  recipe --stage 12 --stop_stage 12
  for seed in "${numbers[@]}"; do
    of_seed "${seed}"
    for amount in "${amounts[@]}"; do
      of_seed "${seed}" --systems speech_text --text_lines "${amount}"
    done
  done
  gather
  compare
  if ((${#curve_list[@]} > 0)); then draw_curves; fi
  if ((${#amounts[@]} > 0)); then draw_amounts; fi
  run python -m speechlm.bin.page --report "${report}" --output "${report%.md}.html"
  ${dry_run} || echo "report: ${PWD}/${report}, as a page ${report%.md}.html" >&2
}

check_options() {
  local seed amount
  ((${#numbers[@]} > 0)) || die "--seeds names none"
  for seed in "${numbers[@]}"; do
    [[ ${seed} =~ ^(0|[1-9][0-9]{0,8})$ ]] || die "--seeds has '${seed}', which is no whole number"
  done
  for amount in "${amounts[@]}"; do
    [[ ${amount} =~ ^[1-9][0-9]{0,17}$ ]] ||
      die "--text_amounts has '${amount}', which is no number of lines"
  done
  [[ -z $(printf '%s\n' "${numbers[@]}" | sort | uniq -d) ]] || die "--seeds '${seeds}' names one twice"
  [[ ${tag} =~ ^([A-Za-z0-9_][A-Za-z0-9._-]*)?$ ]] ||
    die "--tag has '${tag}', which cannot be part of a folder's name"
  [[ ${curves_x} =~ ^(cpu|wall|updates)$ ]] ||
    die "--curves_x is '${curves_x}'; it can be cpu, wall or updates"
}

# recipe [options]: run.sh with the user's options, and these. It ends when this script is told to.
recipe() {
  ./run.sh "${rest[@]}" "$@" &
  child=$!
  trap 'kill -TERM "${child}"; wait "${child}" || true; exit 130' INT TERM HUP
  wait "${child}"
  trap - INT TERM HUP
}

# of_seed SEED [options]: its trainings and their scores. Stage 2 draws the lines of text.
of_seed() {
  local seed=$1 first last
  shift
  echo "== seed ${seed}${*:+ $*} ==" >&2
  for first in ${1:+2} 10 13; do
    last=$((first == 2 ? 2 : first + 1))
    recipe --stage "${first}" --stop_stage "${last}" --seed "${seed}" --tag "${word}${seed}" "$@"
  done
}

# run COMMAND...: or only say it.
run() {
  if ${dry_run}; then echo "would run"$'\n'"    ${*@Q}" >&2; else "$@"; fi
}

# gather: what the runs have made, as the driver lists its steps: test sets (those of translation with
# their language in `shown`), systems, results that do not depend on the seed, and pre-trainings.
gather() {
  local seed stage output name
  tests=() shown=() systems=() fixed=() curve_list=("${further[@]}")
  for seed in "${numbers[@]}"; do
    while IFS=$'\t' read -r stage output name; do
      if [[ ${stage} == 10 && ${name} == "pre-train "* ]]; then
        curve_list+=("${name#pre-train }:${output}")
      elif [[ ${stage} == 11 && ${name} == "fine-tune "* ]]; then
        add systems "${name#fine-tune }"
      elif [[ ${stage} == 14 && ${name} =~ ^score\ ([^ ]+)\ (with|in)\ ([^ ]+)(.*) ]]; then
        add tests "${BASH_REMATCH[1]}"
        if [[ ${BASH_REMATCH[2]} == in ]]; then
          add shown "${BASH_REMATCH[1]} ${BASH_REMATCH[3]}"
        else
          add shown "${BASH_REMATCH[1]}"
        fi
        if [[ ${output} != *"_${word}${seed}/"* && ${BASH_REMATCH[4]} == " and "* ]]; then
          add fixed "${BASH_REMATCH[3]}:${BASH_REMATCH[4]# and }:${BASH_REMATCH[1]}:${output}"
        fi
      fi
    done < <(recipe --list_steps true --seed "${seed}" --tag "${word}${seed}")
  done
  ((${#tests[@]} > 0)) || die "the recipe lists no scores, which are the steps of its stage 14"
}

# add ARRAY WORD: unless it is there.
add() {
  local -n array=$1
  local known
  for known in "${array[@]}"; do
    if [[ ${known} == "$2" ]]; then return; fi
  done
  array+=("$2")
}

compare() {
  local test pictures=()
  for test in "${shown[@]}"; do pictures+=("$(picture "rates_${test}")"); done
  if ((${#curve_list[@]} > 0)); then pictures+=("$(picture curves)"); fi
  if ((${#amounts[@]} > 0)); then
    for test in "${shown[@]}"; do pictures+=("$(picture "text_${test}")"); done
  fi
  if ! ${dry_run}; then
    mkdir -p "${tables}"
    show_times.py exp/times.tsv --stages 10 11 > "${tables}/times.md"
  fi
  run python -m speechlm.bin.compare_seeds --exp exp --tests "${tests[@]}" --tag "${word}" \
    ${compared[0]+--pairs "${compared[@]}"} ${fixed[0]+--without_seed "${fixed[@]}"} \
    --title "$(basename "${PWD}"): seeds ${seeds}" --command "${command}" \
    --rates "${tables}/rates.tsv" --differences "${tables}/differences.tsv" \
    --include "Trainings (seconds):${tables}/times.md" --pictures "${pictures[@]}" \
    --output "${report}"
  for test in "${shown[@]}"; do
    run python -m speechlm.bin.plot_rates --rates "${tables}/rates.tsv" --test "${test}" \
      --output "$(picture "rates_${test}")"
  done
}

# picture NAME: its file.
picture() { echo "${images}/seeds${suffix}_${1// /_}.png"; }

draw_curves() {
  run python -m speechlm.bin.plot_curves --curves "${curve_list[@]}" --x "${curves_x}" \
    --output "$(picture curves)"
}

draw_amounts() {
  local test amount known="" list=()
  printf -v known ' %s' "${systems[@]}"
  [[ "${known} " != *" speech "* ]] || list+=(0:speech)
  for amount in "${amounts[@]}"; do list+=("${amount}:speech_text_${amount}"); done
  [[ "${known} " != *" speech_text "* ]] || list+=(all:speech_text)
  for test in "${shown[@]}"; do
    run python -m speechlm.bin.plot_text --rates "${tables}/rates.tsv" --test "${test}" \
      --amounts "${list[@]}" --text dump/text/train.txt --output "$(picture "text_${test}")"
  done
}

main
