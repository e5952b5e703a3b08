#!/usr/bin/env bash
# SpeechLM with phoneme or hidden units, from a corpus to word error rates.
#
#   ./run.sh                          all stages; what is finished is not done again
#   ./run.sh --stage 4 --stop_stage 5 only these
#   ./run.sh --dry_run                what would run
#
# Stages: 1 data, 2 dump, 3 lexicon and word model, 4 phone recogniser, 5 phone units of speech,
# 6 k-means, 7 hidden units, 8 text-to-unit model, 9 text units, 10 pre-train, 11 fine-tune,
# 12 language model for decoding, 13 decode, 14 score.
# Options (the value in brackets is the default; a recipe's run.sh chooses its own):
set -euo pipefail

# <options>
# Running
stage=1                    # first stage to run
stop_stage=14              # last stage to run
dry_run=false              # only say what would run
nj=4                       # parallel jobs of the CPU stages (the results do not depend on it)
ngpu=0                     # GPUs of each training; 0 trains on the CPU
num_threads=2              # threads of each training on the CPU
train_jobs=1               # trainings of different systems at the same time
seed=1                     # of all that is drawn at random in trainings
tag=                       # put behind the names of trainings, so that variants stand side by side
finetune_tag=              # the same for fine-tunings and results alone, in place of --tag
# Corpus (handed to the recipe's local/data.sh)
corpus=                    # folder of the recordings; without it data.sh downloads or makes them
paired_parts=              # parts with transcripts, for recogniser and fine-tuning
speech_parts=              # parts whose speech alone is used, for pre-training
dev_parts=                 # parts for validation
test_parts=                # parts to be tested, each a test set of its own
text_corpus=               # unpaired text: a folder or files
data_opts=                 # further options of local/data.sh (local/data.sh --help lists them)
min_seconds=0.5            # shorter utterances of the paired and speech sets are left out
max_seconds=36             # longer ones too
max_bad_share=0.1          # stages 1 and 2 stop if a larger share of a set is wrong
dev_share=0.01             # share of the unpaired text that is kept for validation
# Lexicon and word model of the recogniser
lexicon=                   # a lexicon looked at before CMUdict (WORD PHONE PHONE ...)
max_words=200000           # words of the lexicon: the most frequent, and those of transcripts
lm_order=3                 # order of the word model
# Phone recogniser
speeds="0.9 1.0 1.1"       # copies of the paired audio at these speeds train its network
realign=1                  # times that the network aligns again and is trained again
gmm_args=                  # further options of train_gmm
phone_model_config=        # another YAML file for its network
phone_model_args=          # further options for its network, such as "--max_epoch 4"
adapt_seconds=120          # of each speaker's speech, at most, that recogniser transforms are made from
dev_textgrids=             # folder of TextGrids of dev utterances: the recogniser is compared with them
durations=paper            # of units made from text: the paper's constants, or measured on alignments
# Trainings
unit_type=phoneme          # kind of units: phoneme (SpeechLM-P) or hidden (SpeechLM-H)
config_size=base           # tiny, base or large: conf/pretrain_SIZE.yaml and conf/finetune_SIZE*.yaml
pretrain_config=           # another YAML file for pre-training
finetune_config=           # another YAML file for fine-tuning
pretrain_args=             # further options for pre-training, such as "--max_epoch 3"
finetune_args=             # further options for fine-tuning
systems="speech_text"      # what fine-tuning starts from: any of scratch, speech, speech_text, hidden,
                           # hidden_text (with --unit_type hidden, speech means hidden)
init_speech=               # a SpeechLM, or a HuBERT in Hugging Face's format, from whose front end and
                           # speech layers pre-training starts
# Hidden units
iterations=2               # clusterings: of MFCC, then of a model trained on the last units
iteration_args=            # further options for training these models, in place of pretrain_args
hidden_layer=              # their layer that is clustered; the middle one if empty
hidden_model=              # instead, a layer (the 9th) of this SpeechLM is clustered, or of this
                           # HuBERT, WavLM or wav2vec 2.0 in Hugging Face's format
clusters="100 500"         # hidden units of each iteration
portion=0.1                # share of the speech that k-means is trained on
kmeans_args=               # further options of train_kmeans, such as "--n_init 5"
text_to_unit_config=       # another YAML file for the text-to-unit model
text_to_unit_args=         # further options for training it
text_units_args=           # further options of generate_text_units, such as "--bfloat16"
# Speech translation
task=asr                   # asr: recognition; st: translation, in recipes whose corpus has it
init_model=                # the trained SpeechLM from which the system "given" starts (--systems given)
source_lang=en             # language of the speech
target_lang=               # languages to translate into
translations=              # folder of the translations (handed to the recipe's local/data.sh)
target_kind=char           # pieces of the target vocabulary: char or bpe
target_size=1000           # how many of them, for bpe
target_style=cased         # translations as they are: cased; or lower, without punctuation
beam=5                     # hypotheses of an utterance
length_penalty=1.0         # their scores are divided by the length to this power
# </options>

template=../TEMPLATE # recipes stand beside it, and are where they are run
# shellcheck source=path.sh
. ../TEMPLATE/path.sh
# shellcheck source=cmd.sh
. "$([[ -f cmd.sh ]] && echo ./cmd.sh || echo ../TEMPLATE/cmd.sh)"
given=("$@")
# shellcheck source=../../tools/parse_options.sh
. parse_options.sh

names=(- data dump "lexicon and word model" "phone recogniser" "phone units of speech" k-means
  "hidden units of speech" "text-to-unit model" "text units" pre-train fine-tune
  "language model for decoding" decode score)
declare -A finetune_names=([tiny]=tiny [base]=base_100h [large]=large_960h)
read -ra tests <<< "${test_parts}"
[[ ${unit_type} != hidden ]] || systems=${systems//speech/hidden}
read -ra inits <<< "${systems}"
finetune_tag=${finetune_tag:-${tag}}

# shellcheck source=recognizer.sh
. ../TEMPLATE/recognizer.sh # stages 4 and 5
# shellcheck source=hidden_units.sh
. ../TEMPLATE/hidden_units.sh # stages 6 to 9
# shellcheck source=translation.sh
. ../TEMPLATE/translation.sh # stages of --task st

main() {
  check_options
  local n
  for ((n = stage; n <= stop_stage; n++)); do
    current=${n}
    echo "== stage ${n}: ${names[n]} ==" >&2
    if [[ ${task} == st ]] && declare -F "translation_${n}" > /dev/null; then
      "translation_${n}"
    else
      "stage_${n}"
    fi
  done
}

die() {
  echo "error: $*" >&2
  exit 1
}

check_options() {
  ((stage >= 1 && stage <= 14)) || die "--stage is ${stage}; stages are 1 to 14"
  ((stop_stage >= stage && stop_stage <= 14)) ||
    die "--stop_stage is ${stop_stage}; it can be ${stage} (--stage) to 14"
  [[ ${unit_type} =~ ^(phoneme|hidden)$ ]] ||
    die "--unit_type is '${unit_type}'; it can be phoneme or hidden"
  check_hidden
  [[ ${config_size} =~ ^(tiny|base|large)$ ]] ||
    die "--config_size is '${config_size}'; it can be tiny, base or large"
  [[ -z ${dev_textgrids} || -d ${dev_textgrids} ]] ||
    die "--dev_textgrids is '${dev_textgrids}', which is no folder"
  [[ ${durations} =~ ^(paper|measured)$ ]] ||
    die "--durations is '${durations}'; it can be paper or measured"
  [[ ${speeds} =~ ^[0-9.\ ]+$ && " ${speeds} " == *" 1.0 "* ]] ||
    die "--speeds is '${speeds}'; numbers are wanted, 1.0 must be among them"
  local test
  for test in "${tests[@]}"; do
    [[ ! ${test} =~ ^(paired|speech|text|translated)$ && (${test} != dev || ${dev_parts} == dev) ]] ||
      die "--test_parts has '${test}', which is the recipe's own name for another set"
  done
  local option
  for option in nj train_jobs; do
    ((${!option} >= 1)) || die "--${option} is ${!option}; it can be 1 or more"
  done
  for option in lexicon {phone_model,pretrain,finetune,text_to_unit}_config; do
    [[ -z ${!option} || -f ${!option} ]] || die "--${option} is '${!option}', which is no file"
  done
  [[ ${task} =~ ^(asr|st)$ ]] || die "--task is '${task}'; it can be asr or st"
  [[ ${task} == asr ]] || check_translation
  local init
  [[ -z $(printf '%s\n' "${inits[@]}" "${tests[@]}" | sort | uniq -d) ]] ||
    die "--systems '${systems}' or --test_parts '${test_parts}' names one twice"
  ((stop_stage < 13 || ${#tests[@]} > 0)) || die "--test_parts names nothing to decode"
  for init in "${inits[@]}"; do
    [[ ${init} =~ ^(scratch|(speech|hidden)(_text)?)$ || (${task} == st && ${init} == given) ]] ||
      die "--systems has '${init}'; it can have scratch, speech, speech_text, hidden, hidden_text"
  done
  ((${#inits[@]} > 0)) || die "--systems names none of scratch, speech, speech_text, hidden, ..."
}

# step NAME [options of tools/step.py] -- COMMAND...: skipped when its output is there already.
step() {
  local options=(--stage "${current}" --name "$1")
  shift
  if ${dry_run}; then options+=(--dry_run); fi
  step.py "${options[@]}" "$@"
}

# train NAME FOLDER OUTPUT [options of step] -- COMMAND...: a training, which resumes in FOLDER.
train() {
  local name=$1 folder=$2 output=$3
  shift 3
  step "${name}" --training "${folder}" --output "${output}" --log "${folder}/train.log" \
    --launcher "${cuda_cmd} --gpu ${ngpu} --num_threads ${num_threads} ${folder}/job.log" "$@"
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
  for argument in "$@"; do
    if ((running == train_jobs)); then
      wait -n || exit 1
      running=$((running - 1))
    fi
    "${function}" "${argument}" &
    running=$((running + 1))
  done
  for (( ; running > 0; running--)); do wait -n || exit 1; done
  trap - EXIT INT TERM
  set +m
}

stop_groups() {
  local group
  for group in $(jobs -p); do kill -TERM -- "-${group}" 2> /dev/null || true; done
  { wait; } 2> /dev/null
}

# parallel NAME DATA OUTPUT [options of step] -- COMMAND... [++ JOIN...]: jobs over the parts of a data
# directory, whose results are joined (see parallel.sh).
parallel() {
  local name=$1 data=$2 output=$3 options=()
  shift 3
  while [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  step "${name}" --output "${output}" --needs "2:${data}" "${options[@]}" -- \
    ../TEMPLATE/parallel.sh --data "${data}" --nj "${nj}" --cmd "${train_cmd}" \
    --output "${output}" "$@"
}

# not_needed REASON
not_needed() {
  echo "stage ${current} | not needed $*" >&2
}

# config FILE: the recipe's own conf/FILE, else the template's.
config() {
  if [[ -f conf/$1 ]]; then echo "conf/$1"; else echo "${template}/conf/$1"; fi
}

asr() { echo "exp/asr_$1${finetune_tag:+_${finetune_tag}}"; }
pretrained() { echo "exp/pretrain_$1${tag:+_${tag}}"; }

stage_1() {
  local more
  read -ra more <<< "${data_opts}"
  local/data.sh --dry_run "${dry_run}" --corpus "${corpus}" --paired_parts "${paired_parts}" \
    --speech_parts "${speech_parts}" --dev_parts "${dev_parts}" --test_parts "${test_parts}" \
    --text_corpus "${text_corpus}" "${more[@]}"
}

stage_2() {
  local name
  for name in paired speech; do
    step "format ${name}" --output "dump/${name}" --needs "1:data/${name}" -- \
      python -m speechlm.bin.format_data --input "data/${name}" --output "dump/${name}" \
      --min_seconds "${min_seconds}" --max_seconds "${max_seconds}" \
      --max_bad_share "${max_bad_share}" --nj "${nj}"
  done
  for name in dev "${tests[@]}"; do
    step "format ${name}" --output "dump/${name}" --needs "1:data/${name}" -- \
      python -m speechlm.bin.format_data --input "data/${name}" --output "dump/${name}" \
      --max_bad_share "${max_bad_share}" --nj "${nj}"
  done
  local spoken=(dump/dev/text) needs=(--needs 2:dump/dev/text)
  for name in "${tests[@]}"; do
    spoken+=("dump/${name}/text") needs+=(--needs "2:dump/${name}/text")
  done
  step "unpaired text" --output dump/text --needs 1:data/text/unpaired.txt "${needs[@]}" -- \
    python -m speechlm.bin.normalize_text --input data/text/unpaired.txt --kind lines \
    --exclude "${spoken[@]}" --dev_share "${dev_share}" --dev_output dump/text/dev.txt \
    --output dump/text/train.txt
}

stage_3() {
  local more=() needs=()
  if [[ -n ${lexicon} ]]; then
    more=(--lexicon "${lexicon}") needs=(--needs "given:${lexicon}")
  fi
  step "lexicon" --output exp/lexicon/lexicon.txt --needs 2:dump/paired --needs 2:dump/text \
    "${needs[@]}" -- \
    python -m speechlm.bin.make_lexicon --text dump/paired/text dump/text/train.txt \
    --max_words "${max_words}" "${more[@]}" --output exp/lexicon
  step "word model" --output exp/word_lm/lm.arpa --needs 2:dump/text \
    --needs 3:exp/lexicon/lexicon.txt --needs 3:exp/lexicon/words.txt -- \
    python -m speechlm.bin.train_ngram --text dump/text/train.txt \
    --vocabulary exp/lexicon/words.txt --order "${lm_order}" --output exp/word_lm/lm.arpa
}

# stage_4 and stage_5: recognizer.sh; stage_6 to stage_9: hidden_units.sh

stage_10() {
  local init needed=()
  for init in "${inits[@]}"; do
    [[ ${init} == scratch ]] || needed+=("${init}")
  done
  side_by_side pretrain "${needed[@]}"
}

# pretrain INIT: on speech, or on speech and text.
pretrain() {
  local init=$1 output text=() inputs=() needs=() more conf
  conf=${pretrain_config:-$(config "pretrain_${config_size}.yaml")}
  read -ra more <<< "${pretrain_args}"
  output=$(pretrained "${init}")
  if [[ ${init} == *_text ]]; then
    text=(--text dump/text/train.txt --dev_text dump/text/dev.txt) needs=(--needs 2:dump/text)
  fi
  if [[ ${init} == hidden* ]]; then hidden_inputs; else phoneme_inputs; fi
  if [[ -n ${init_speech} ]]; then
    inputs+=(--init_speech "${init_speech}")
    [[ ! -e ${init_speech} ]] || needs+=(--needs "given:${init_speech}") # else a name on the hub
  fi
  train "pre-train ${init}" "${output}" "${output}" --needs "given:${conf}" "${needs[@]}" -- \
    python -m speechlm.bin.pretrain --config "${conf}" --config_size "${config_size}" \
    --speech_dir dump/speech --dev_dir dump/dev "${inputs[@]}" --output "${output}" \
    --seed "${seed}" --ngpu "${ngpu}" --num_threads "${num_threads}" "${more[@]}"
}

stage_11() { side_by_side finetune "${inits[@]}"; }

# finetune INIT: with CTC on the paired set, from what INIT names.
finetune() {
  local init=$1 output from=() needs=() more conf
  conf=${finetune_config:-$(config "finetune_${finetune_names[${config_size}]}.yaml")}
  read -ra more <<< "${finetune_args}"
  output=$(asr "${init}")
  if [[ ${init} != scratch ]]; then
    from=(--init "$(pretrained "${init}")")
    needs=(--needs "10:${from[1]}")
  fi
  train "fine-tune ${init}" "${output}" "${output}" --needs "given:${conf}" \
    --needs 2:dump/paired --needs 2:dump/dev "${needs[@]}" -- \
    python -m speechlm.bin.finetune_asr --config "${conf}" --config_size "${config_size}" \
    --train_dir dump/paired --dev_dir dump/dev "${from[@]}" --output "${output}" \
    --seed "${seed}" --ngpu "${ngpu}" --num_threads "${num_threads}" "${more[@]}"
}

stage_12() {
  echo "stage 12 | not needed for greedy decoding" >&2
}

stage_13() {
  local init test output
  for init in "${inits[@]}"; do
    for test in "${tests[@]}"; do
      output=$(asr "${init}")/decode_${test}
      parallel "decode ${test} with ${init}" "dump/${test}" "${output}" \
        --needs "11:$(asr "${init}")" -- \
        python -m speechlm.bin.decode_ctc --model "$(asr "${init}")" --data_dir "{split}/JOB" \
        --output "${output}/parts/JOB" ++ \
        python -m speechlm.bin.merge_text --input "${output}/parts/JOB" --output "${output}"
    done
  done
}

stage_14() {
  local init test decoded scores=() report=exp/RESULTS${finetune_tag:+_${finetune_tag}}.md
  for init in "${inits[@]}"; do
    for test in "${tests[@]}"; do
      decoded=$(asr "${init}")/decode_${test}
      step "score ${test} with ${init}" --output "${decoded}/score" \
        --needs "13:${decoded}" --needs "2:dump/${test}/text" -- \
        python -m speechlm.bin.score --name "${test}" --ref "dump/${test}/text" \
        --hyp "${decoded}/text" --output "${decoded}/score"
      scores+=("${init}:${test}:${decoded}/score")
    done
  done
  if ${dry_run}; then return; fi
  show_times.py exp/times.tsv > exp/times.md
  local more=()
  if [[ -n ${dev_textgrids} ]]; then
    more=("Phone recogniser against the TextGrids of dev:exp/recognizer/report.md")
  fi
  hidden_reports
  python -m speechlm.bin.report --title "$(basename "${PWD}")" --scores "${scores[@]}" \
    --command "$(command_line)" --seed "${seed}" --output "${report}" \
    --include "${more[@]}" "Wall time (seconds):exp/times.md"
  cat exp/times.md
  echo "stage 14 | report: ${PWD}/${report}" >&2
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
