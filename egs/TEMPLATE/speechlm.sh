#!/usr/bin/env bash
# SpeechLM with phoneme or hidden units, from a corpus to word error rates.
#
#   ./run.sh                          all stages; what is finished is not done again
#   ./run.sh --stage 4 --stop_stage 5 only these
#   ./run.sh --dry_run                what would run
#   ./run.sh --task NAME --help       these options and those of a task
#
# Stages: 1 data, 2 dump, 3 lexicon and word model, 4 phone recogniser, 5 phone units of speech,
# 6 k-means, or further phone units, 7 hidden units, 8 text-to-unit model, 9 text units,
# 10 pre-train, 11 fine-tune, 12 language model for decoding, 13 decode, 14 score.
# Options (the value in brackets is the default; a recipe's run.sh chooses its own):
set -euo pipefail

# <options>
# Running
stage=1                    # first stage to run
stop_stage=14              # last stage to run
dry_run=false              # only say what would run
list_steps=false           # only list the steps of all stages: stage, output and name, between tabs
nj=4                       # parallel jobs of the CPU stages (the results do not depend on it)
ngpu=0                     # GPUs of each training, on each of its nodes; 0 trains on CPUs
num_nodes=1                # nodes of each pre-training and fine-tuning: more than one need --cluster slurm
num_procs=1                # processes of these on each node, where --ngpu is 0; with GPUs each has one
num_threads=2              # threads of each process of a training
train_jobs=1               # trainings of different systems, and of the word Transformer, at the same time
seed=1                     # of all that is drawn at random in trainings
tag=                       # put behind the names of trainings, so that variants stand side by side
finetune_tag=              # the same for fine-tunings and results alone, in place of --tag
# Corpus (handed to the recipe's local/data.sh)
corpus=                    # folder of the recordings; without it data.sh downloads or makes them
paired_parts=              # parts with transcripts, for the recogniser and, without --finetune_parts,
                           # for fine-tuning
finetune_parts=            # parts with transcripts for fine-tuning, where they are others
speech_parts=              # parts whose speech alone is used, for pre-training
speech_corpus=             # folder of these, if another than --corpus (egs/librispeech, egs/librilight:
                           # a folder in Libri-Light's layout)
dev_parts=                 # parts for validation
test_parts=                # parts to be tested, each a test set of its own
text_corpus=               # unpaired text: a folder or files
lang=en                    # language of transcripts and text: en, or another's code, such as de or pt-BR, where
                           # the recipe's local/data.sh takes one; its phones are espeak-ng's
data_opts=                 # further options of local/data.sh (local/data.sh --help lists them)
min_seconds=0.5            # shorter utterances of sets to train on are left out
max_seconds=36             # longer ones too
max_bad_share=0.1          # stages 1 and 2 stop if a larger share of a set is wrong
dev_share=0.01             # share of the unpaired text kept for validation, at least a sentence
# Lexicon and word model of the recogniser
lexicon=                   # a lexicon looked at before CMUdict or espeak-ng (WORD PHONE PHONE ...)
max_words=200000           # words of the lexicon: the most frequent, and those of transcripts
lm_order=3                 # order of the word model
# Trainings
task=asr                   # what is fine-tuned for and tested: asr, recognition; st, translation, in
                           # recipes whose corpus has it; or another with a file TEMPLATE/TASK.sh
unit_type=phoneme          # kind of units: phoneme (SpeechLM-P) or hidden (SpeechLM-H)
config_size=base           # the paper's model: base, large, or tiny for CPUs; SpeechLM-Fast, which is no model
                           # of the paper's and takes about a third of the operations: fast_base, fast_large
                           # (neither was ever trained here), or fast_tiny for CPUs
                           # (conf/pretrain_SIZE.yaml and conf/finetune*_SIZE*.yaml)
pretrain_config=           # another YAML file for pre-training
finetune_config=           # another YAML file for fine-tuning
pretrain_args=             # further options for pre-training, such as "--max_epoch 3"
finetune_args=             # further options for fine-tuning
systems="speech_text"      # what fine-tuning starts from: any of scratch, speech, speech_text, hidden,
                           # hidden_text, given; with --unit_type hidden, speech and speech_text are read
                           # as hidden and hidden_text
text_lines=                # lines of the unpaired text that pre-training sees, drawn by --seed; all of them if
                           # empty. Word models and decoding see all. The number goes into the names of
                           # the systems with text, so that they stand side by side
init_model=                # the trained SpeechLM from which the system "given" starts
init_speech=               # a SpeechLM, or a HuBERT in Hugging Face's format, from whose front end and
                           # speech layers pre-training starts
# </options>

template=../TEMPLATE # recipes stand beside it, and are where they are run
given=("$@")
# Where an input is missing, tools/step.py runs this to learn which stage makes it.
printf -v LIST_STEPS '%q ' "$0" "$@" --list_steps true
export LIST_STEPS
unset LISTING_STEPS # only list_all_steps, below, sets it
unset SPEECHLM_LANGUAGE # run_stage sets it
language_file=data/language.json # of another language than English; stage 1 makes it
# shellcheck source=path.sh
. ../TEMPLATE/path.sh
# shellcheck source=steps.sh
. ../TEMPLATE/steps.sh
# shellcheck source=dry_run.sh
. ../TEMPLATE/dry_run.sh
# shellcheck source=sizes.sh
. ../TEMPLATE/sizes.sh
# shellcheck source=systems.sh
. ../TEMPLATE/systems.sh
# shellcheck source=recognizer.sh
. ../TEMPLATE/recognizer.sh # stages 4 and 5
# shellcheck source=pictures.sh
. ../TEMPLATE/pictures.sh
option_files=(../TEMPLATE/launchers.sh ../TEMPLATE/recognizer.sh)
for kind in "${unit_kinds[@]}"; do
  [[ -f ${template}/${kind}_units.sh ]] || continue
  # shellcheck source=hidden_units.sh
  . "${template}/${kind}_units.sh" # stages 6 to 9 of this kind: KIND_6 ...
  option_files+=("${template}/${kind}_units.sh")
done

# tasks: the names of all: each is a file NAME.sh with stages NAME_N.
tasks() {
  local file name
  for file in "${template}"/*.sh; do
    name=${file##*/} name=${name%.sh}
    if grep -q "^${name}_[0-9]*() {" "${file}"; then echo "${name}"; fi
  done
}

# The last --task counts. Options of all that are named are known, so that what a recipe chooses for
# its own task does no harm to another one.
mapfile -t known < <(tasks)
word=--task
for next in "${task}" "$@"; do
  if [[ ${next} == --task=* ]]; then word=--task next=${next#*=}; fi
  if [[ ${word} == --task ]]; then
    among "${next}" "${known[@]}" ||
      die "--task is '${next}'; it can be $(alternatives "${known[@]}")"
    # shellcheck source=asr.sh
    . "${template}/${next}.sh"
    option_files+=("${template}/${next}.sh")
  fi
  word=${next}
done
# shellcheck source=../../tools/parse_options.sh
. parse_options.sh

names=(- data dump "lexicon and word model" "phone recogniser" "phone units of speech"
  "k-means, or further phone units"
  "hidden units of speech" "text-to-unit model" "text units" pre-train fine-tune
  "language model for decoding" decode score)
read -ra tests <<< "${test_parts}"
finetune_tag=${finetune_tag:-${tag}}

main() {
  if ${list_steps}; then dry_run=true; fi
  choose_launchers
  check_options
  if ${list_steps}; then
    list_all_steps
    return
  fi
  check_torch
  if ${dry_run}; then
    begin_dry_run
    warn_of_absent
  fi
  for ((current = stage; current <= stop_stage; current++)); do
    echo "== stage ${current}: ${names[current]} ==" >&2
    run_stage
  done
}

defined() { declare -F "$1" > /dev/null; }

# The task's own stage, else that of all tasks, else those of the kinds of unit that this run has.
run_stage() {
  local name kind having=() wanted=()
  if ((current > 1)) && in_other_language; then
    export SPEECHLM_LANGUAGE=${PWD}/${language_file}
  fi
  for name in "${task}_${current}" "stage_${current}"; do
    if defined "${name}"; then
      "${name}"
      return
    fi
  done
  for kind in "${unit_kinds[@]}"; do
    if defined "${kind}_${current}"; then
      having+=("${kind}")
      if any "${kind}"; then wanted+=("${kind}"); fi
    fi
  done
  if ((${#having[@]} == 0)); then
    say "not needed for --task ${task}"
  elif ((${#wanted[@]} == 0)); then
    say "not needed without $(alternatives "${having[@]}") units"
  fi
  for kind in "${wanted[@]}"; do "${kind}_${current}"; done
}

check_options() {
  ((stage >= 1 && stage <= 14)) || die "--stage is ${stage}; stages are 1 to 14"
  ((stop_stage >= stage && stop_stage <= 14)) ||
    die "--stop_stage is ${stop_stage}; it can be ${stage} (--stage) to 14"
  check_size
  [[ ${lang} =~ ^[a-z]{2,3}([-_][A-Za-z0-9]+)*$ ]] ||
    die "--lang is '${lang}'; a code such as en, de or pt-BR is wanted"
  [[ ! ${lang} =~ ^en[-_] ]] ||
    die "--lang is '${lang}'; English has one set of letters and phones, whatever the region: --lang en"
  local test option name
  for option in tag finetune_tag; do check_name "${option}" "${!option}"; done
  for test in "${tests[@]}"; do
    check_name test_parts "${test}"
    [[ ! ${test} =~ ^(paired|finetune|speech|text|translated)$ &&
      (${test} != dev || ${dev_parts} == dev) ]] ||
      die "--test_parts has '${test}', which is the recipe's own name for another set"
  done
  [[ -z $(printf '%s\n' "${tests[@]}" | sort | uniq -d) ]] ||
    die "--test_parts '${test_parts}' names one twice"
  ((stop_stage < 13 || ${#tests[@]} > 0)) || die "--test_parts names nothing to decode"
  for option in nj train_jobs num_threads num_nodes num_procs; do
    ((${!option} >= 1)) || die "--${option} is ${!option}; it can be 1 or more"
  done
  ((ngpu == 0 || num_procs == 1)) ||
    die "--num_procs ${num_procs} is for trainings without GPUs; with --ngpu ${ngpu} each GPU has a process"
  ((num_nodes == 1)) || [[ ! ${cuda_cmd} =~ ^[^[:space:]]*(local.py|run.pl)([[:space:]]|$) ]] ||
    die "--num_nodes ${num_nodes}: trainings are started by '${cuda_cmd}' (cuda_cmd), which has one node;" \
      "--cluster slurm has more"
  for option in lexicon {phone_model,pretrain,finetune,text_to_unit}_config; do
    [[ -z ${!option} || -f ${!option} ]] || die "--${option} is '${!option}', which is no file"
  done
  check_model init_speech "${init_speech}"
  check_reserved
  check_recognizer
  for name in "${unit_kinds[@]}" "${task}"; do
    if defined "check_${name}"; then "check_${name}"; fi
  done
  check_systems
}

# Launchers reserve what these options say; a training that is told something else takes more.
# lm_args is recognition's; other tasks have none.
check_reserved() {
  local option name
  for option in {phone_model,pretrain,finetune,iteration,phone_iteration,text_to_unit,lm}_args; do
    for name in --num_threads --ngpu; do
      [[ ! " ${!option-}" =~ [[:space:]]${name}([[:space:]=]|$) ]] ||
        die "--${option} has ${name}, which ./run.sh takes itself: ./run.sh ${name} N"
    done
  done
}

# check_model OPTION PLACE: a model's folder is there; else it may be a name on the hub (OWNER/NAME).
check_model() {
  [[ -n $2 && ! -d $2 ]] || return 0
  [[ $2 != [.~/]* && $2 != */*/* && ($2 != */* || ! -d ${2%%/*}) ]] ||
    die "--$1 is '$2', which is no folder, and no name of the Hugging Face hub"
}

# check_name OPTION WORD: what becomes part of the name of a folder, in commands that launchers read.
check_name() {
  [[ $2 =~ ^([A-Za-z0-9_][A-Za-z0-9._-]*)?$ && ${#2} -le 100 ]] ||
    die "--$1 has '$2', which cannot be part of a folder's name; it can have letters of English," \
      "digits, '_', and behind these '.' and '-', 100 at most"
}

# config FILE: the recipe's own conf/FILE, else the template's.
config() {
  if [[ -f conf/$1 ]]; then echo "conf/$1"; else echo "${template}/conf/$1"; fi
}

# finetunes_apart: whether fine-tuning has a set of its own, finetune; else that is paired.
finetunes_apart() { [[ -n ${finetune_parts} && ${finetune_parts} != "${paired_parts}" ]]; }

# check_corpus_has OPTION: the recipe's local/data.sh knows it.
check_corpus_has() {
  local help
  help=$(local/data.sh --help)
  [[ $'\n'${help} == *$'\n'"  --$1 "* ]] ||
    die "--$1 is not for $(basename "${PWD}"): its local/data.sh has no such option"
}

stage_1() {
  local more apart=()
  read -ra more <<< "${data_opts}"
  # Only where they are wanted: not every corpus has them.
  if finetunes_apart; then
    check_corpus_has finetune_parts
    apart+=(--finetune_parts "${finetune_parts}")
  fi
  if [[ -n ${speech_corpus} ]]; then
    check_corpus_has speech_corpus
    apart+=(--speech_corpus "${speech_corpus}" --nj "${nj}")
  fi
  if ${corpus_lm:-false}; then
    check_corpus_has corpus_lm
    apart+=(--corpus_lm true)
  fi
  if [[ ${lang} != en ]]; then
    check_corpus_has lang
    apart+=(--lang "${lang}")
  fi
  local/data.sh --dry_run "${dry_run}" --corpus "${corpus}" --paired_parts "${paired_parts}" \
    --speech_parts "${speech_parts}" --dev_parts "${dev_parts}" --test_parts "${test_parts}" \
    --text_corpus "${text_corpus}" --max_bad_share "${max_bad_share}" \
    "${apart[@]}" "${more[@]}"
  make_language_file
}

# in_other_language: whether models write letters, or know phones, of another language than English.
in_other_language() { [[ ${lang} != en ]] && { [[ ${task} != st ]] || any pretrained; }; }

# make_language_file: letters and phones of a language other than English, from stage 1's transcripts.
make_language_file() {
  in_other_language || return 0
  step "letters and phones of ${lang}" --output "${language_file}" \
    --needs data/paired data/text/unpaired.txt ${lexicon:+"${lexicon}"} -- \
    python -m speechlm.bin.make_language --language "${lang}" \
    --text data/paired/text data/text/unpaired.txt ${lexicon:+--lexicon "${lexicon}"} \
    --output "${language_file}"
}

stage_2() {
  local name spoken=()
  for name in paired speech; do format_training_set "${name}"; done
  if finetunes_apart; then format_training_set finetune; fi
  for name in dev "${tests[@]}"; do
    format_set "${name}"
    spoken+=("dump/${name}/text")
  done
  step "unpaired text" --output dump/text --needs data/text/unpaired.txt "${spoken[@]}" -- \
    python -m speechlm.bin.normalize_text --input data/text/unpaired.txt --kind lines \
    --exclude "${spoken[@]}" --dev_share "${dev_share}" --dev_output dump/text/dev.txt \
    --output dump/text/train.txt
  if [[ -n ${text_lines} ]]; then
    step "${text_lines} lines of text" --output "$(text_folder)/train.txt" --needs dump/text -- \
      python -m speechlm.bin.sample_text --input dump/text/train.txt --lines "${text_lines}" \
      --seed "${seed}" --output "$(text_folder)/train.txt"
  fi
}

# text_folder: where the text is that pre-training sees.
text_folder() { echo "dump/text${text_lines:+_${text_lines}${tag:+_${tag}}}"; }

# format_set SET [options of format_data]
format_set() {
  local jobs command=(python -m speechlm.bin.format_data --input "data/$1" --output "dump/$1"
    "${@:2}" --max_bad_share "${max_bad_share}" --nj "${nj}")
  mapfile -t jobs < <(in_parts "dump/$1" "${command[@]}")
  step "format $1" --output "dump/$1" --needs "data/$1" "${jobs[@]}" -- "${command[@]}"
}

format_training_set() {
  format_set "$1" --min_seconds "${min_seconds}" --max_seconds "${max_seconds}"
}

# For the recogniser, and for decoding where the task wants words (TASK_wants_words).
stage_3() {
  { defined "${task}_wants_words" && "${task}_wants_words"; } || pretrains || return 0
  step "lexicon" --output exp/lexicon/lexicon.txt --also exp/lexicon/words.txt \
    --also exp/lexicon/known.txt \
    --needs dump/paired dump/text ${lexicon:+"${lexicon}"} -- \
    python -m speechlm.bin.make_lexicon --text dump/paired/text dump/text/train.txt \
    --max_words "${max_words}" ${lexicon:+--lexicon "${lexicon}"} --output exp/lexicon
  step "word model" --output exp/word_lm/lm.arpa \
    --needs dump/text exp/lexicon/lexicon.txt exp/lexicon/words.txt -- \
    python -m speechlm.bin.train_ngram --text dump/text/train.txt \
    --vocabulary exp/lexicon/words.txt --order "${lm_order}" --output exp/word_lm/lm.arpa
}

# stage_4 and stage_5: recognizer.sh; stages 6 to 9: the files of the kinds of unit

# The pre-trainings, and beside them what the task trains without one (TASK_beside).
stage_10() {
  local wanted
  pretrains || return 0
  mapfile -t wanted < <(chosen pretrained)
  if ! ${listing} && defined "${task}_beside"; then
    mapfile -t -O "${#wanted[@]}" wanted < <("${task}_beside")
  fi
  side_by_side pretrain_or_run "${wanted[@]}"
}

# pretrain_or_run SYSTEM|FUNCTION: a pre-training does not end because what is beside it fails, which
# is tried again at its own stage.
pretrain_or_run() {
  if [[ -n ${system_row[$1]-} ]]; then
    pretrain "$1"
  else
    "$1" || say "the pre-trainings go on without it"
  fi
}

# pretrain SYSTEM: on speech, or on speech and text.
pretrain() {
  local system=$1 kind=${system_units[$1]} output conf units options needs text=() more
  conf=${pretrain_config:-$(config "${system_config[${system}]}_${config_size}.yaml")}
  units=$("${kind}_units") output=$(pretrained "${system}")
  mapfile -t options < <("${kind}_options" "${system}")
  mapfile -t needs < <("${kind}_needs" "${system}")
  read -ra more <<< "${pretrain_args}"
  if is "${system}" text; then
    text=(--text "$(text_folder)/train.txt" --dev_text dump/text/dev.txt)
    needs+=(dump/text ${text_lines:+"$(text_folder)/train.txt"})
  fi
  if [[ -e ${init_speech} ]]; then needs+=("${init_speech}"); fi # else a name on the hub
  train_widely "pre-train ${system}" "${output}" \
    --needs "${conf}" "dump/speech/${units}" "dump/dev/${units}" "${needs[@]}" -- \
    python -m speechlm.bin.pretrain --config "${conf}" --config_size "${config_size}" \
    --speech_dir dump/speech --dev_dir dump/dev --units "${units}" "${text[@]}" "${options[@]}" \
    ${init_speech:+--init_speech "${init_speech}"} --output "${output}" \
    --seed "${seed}" --ngpu "${ngpu}" --num_threads "${num_threads}" "${more[@]}"
}

# stage_11 to stage_14: the file of the task

# unit_reports: what stages 5 to 9 have measured of this run's units, a TITLE:FILE a line.
unit_reports() {
  local kind
  recognizer_reports
  for kind in "${unit_kinds[@]}"; do
    if any "${kind}" && defined "${kind}_reports"; then "${kind}_reports"; fi
  done
}

# write_report AUDIO RESULT... -- [options of report] --include [TITLE:FILE...]: the table of all scores,
# pictures and times, in Markdown and as a page. AUDIO: test sets to listen to, as page --audio takes
# them, a line each; each RESULT is a value of report --scores.
write_report() {
  local report results=() audio
  report=exp/RESULTS$(suffix).md
  mapfile -t audio <<< "$1"
  shift
  while [[ $1 != -- ]]; do results+=("$1") && shift; done
  shift
  draw_pictures "${results[@]}"
  if ${dry_run}; then return; fi
  {
    show_times.py exp/times.tsv
    printf '\nSteps that ran side by side are each counted whole: the run took less than their sum.\n'
  } > exp/times.md
  cut -d "|" -f 1-4 exp/times.md # without the steps, which are in the report
  python -m speechlm.bin.report --title "$(basename "${PWD}")" --command "$(command_line)" \
    --seed "${seed}" --output "${report}" --scores "${results[@]}" \
    --pictures "${pictures[@]}" --no_pictures "${no_pictures[@]}" "$@" "Times (seconds):exp/times.md"
  python -m speechlm.bin.page --report "${report}" --scores "${results[@]}" --audio "${audio[@]}" \
    --output "${report%.md}.html" || say "${report%.md}.html could not be written"
  say "report: ${PWD}/${report}, as a page ${report%.md}.html"
}

# The command that gives these results: the options without those that choose stages.
command_line() {
  local word skip=false line=./run.sh
  for word in "${given[@]}"; do
    case "${word}" in
      --stage | --stop_stage) skip=true && continue ;;
      *[[:space:]]* | "") word="'${word}'" ;;
    esac
    if ${skip}; then skip=false; else line+=" ${word}"; fi
  done
  echo "${line}"
}

main
