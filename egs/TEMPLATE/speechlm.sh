#!/usr/bin/env bash
# SpeechLM with phoneme units, from a corpus to word error rates.
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
seed=1                     # of all that is drawn at random in trainings
tag=                       # put behind the names of trainings, so that variants stand side by side
# Corpus (handed to the recipe's local/data.sh)
corpus=                    # folder of the recordings; without it data.sh downloads or makes them
paired_parts=              # parts with transcripts, for recogniser and fine-tuning
speech_parts=              # parts whose speech alone is used, for pre-training
dev_parts=                 # parts for validation
test_parts=                # parts to be tested, each a test set of its own
text_corpus=               # unpaired text: a folder or files
data_opts=                 # further options of data.sh
min_seconds=0.5            # shorter utterances of the paired and speech sets are left out
max_seconds=36             # longer ones too
# Lexicon and word model of the recogniser
lexicon=                   # a lexicon looked at before CMUdict (WORD PHONE PHONE ...)
max_words=200000           # words of the lexicon: the most frequent, and those of transcripts
lm_order=3                 # order of the word model
# Trainings
unit_type=phoneme          # kind of units
config_size=base           # tiny, base or large: conf/pretrain_SIZE.yaml and conf/finetune_SIZE.yaml
pretrain_config=           # another YAML file for pre-training
finetune_config=           # another YAML file for fine-tuning
pretrain_args=             # further options for pre-training, such as "--max_epoch 3"
finetune_args=             # further options for fine-tuning
systems="speech_text"      # what fine-tuning starts from: any of scratch, speech, speech_text
# </options>

template=../TEMPLATE # recipes stand beside it, and are where they are run
# shellcheck source=path.sh
. ../TEMPLATE/path.sh
# shellcheck source=cmd.sh
. "$([[ -f cmd.sh ]] && echo ./cmd.sh || echo ../TEMPLATE/cmd.sh)"
# shellcheck source=../../tools/parse_options.sh
. parse_options.sh

names=(- data dump "lexicon and word model" "phone recogniser" "phone units of speech" k-means
  "hidden units of speech" "text-to-unit model" "text units" pre-train fine-tune
  "language model for decoding" decode score)
read -ra tests <<< "${test_parts}"
read -ra inits <<< "${systems}"

main() {
  check_options
  local n
  for ((n = stage; n <= stop_stage; n++)); do
    current=${n}
    echo "== stage ${n}: ${names[n]} ==" >&2
    "stage_${n}"
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
  [[ ${unit_type} != hidden ]] ||
    die "--unit_type hidden is not there yet; phoneme is"
  [[ ${unit_type} == phoneme ]] || die "--unit_type is '${unit_type}'; it can be phoneme"
  [[ ${config_size} =~ ^(tiny|base|large)$ ]] ||
    die "--config_size is '${config_size}'; it can be tiny, base or large"
  local init
  for init in "${inits[@]}"; do
    [[ ${init} =~ ^(scratch|speech|speech_text)$ ]] ||
      die "--systems has '${init}'; it can have scratch, speech and speech_text"
  done
  ((${#inits[@]} > 0)) || die "--systems names none of scratch, speech, speech_text"
}

# step NAME [options of tools/step.py] -- COMMAND...: skipped when its output is there already.
step() {
  local options=(--stage "${current}" --name "$1")
  shift
  if ${dry_run}; then options+=(--dry_run); fi
  step.py "${options[@]}" "$@"
}

# train NAME OUTPUT [options of step] -- COMMAND...: a training, which resumes in its own folder.
train() {
  local name=$1 output=$2
  shift 2
  step "${name}" --training --output "${output}" --log "${output}/train.log" \
    --launcher "${cuda_cmd} --gpu ${ngpu} --num_threads ${num_threads} ${output}/job.log" "$@"
}

not_needed() {
  echo "stage ${current} | not needed for ${unit_type} units" >&2
}

# config FILE: the recipe's own conf/FILE, else the template's.
config() {
  if [[ -f conf/$1 ]]; then echo "conf/$1"; else echo "${template}/conf/$1"; fi
}

asr() { echo "exp/asr_$1${tag:+_${tag}}"; }
pretrained() { echo "exp/pretrain_$1${tag:+_${tag}}"; }

stage_1() {
  read -ra more <<< "${data_opts}"
  local/data.sh --dry_run "${dry_run}" --corpus "${corpus}" --paired_parts "${paired_parts}" \
    --speech_parts "${speech_parts}" --dev_parts "${dev_parts}" --test_parts "${test_parts}" \
    --text_corpus "${text_corpus}" --seed "${seed}" "${more[@]}"
}

stage_2() {
  local name
  for name in paired speech; do
    step "format ${name}" --output "dump/${name}" --needs "1:data/${name}" -- \
      python -m speechlm.bin.format_data --input "data/${name}" --output "dump/${name}" \
      --min_seconds "${min_seconds}" --max_seconds "${max_seconds}" --nj "${nj}"
  done
  for name in dev "${tests[@]}"; do
    step "format ${name}" --output "dump/${name}" --needs "1:data/${name}" -- \
      python -m speechlm.bin.format_data --input "data/${name}" --output "dump/${name}" --nj "${nj}"
  done
}

stage_6() { not_needed; }
stage_7() { not_needed; }
stage_8() { not_needed; }
stage_9() { not_needed; }

stage_10() {
  local init output text needs more conf
  conf=${pretrain_config:-$(config "pretrain_${config_size}.yaml")}
  read -ra more <<< "${pretrain_args}"
  for init in "${inits[@]}"; do
    [[ ${init} != scratch ]] || continue
    output=$(pretrained "${init}")
    text=() needs=()
    if [[ ${init} == speech_text ]]; then
      text=(--text dump/text/train.txt --dev_text dump/text/dev.txt
        --lexicon exp/lexicon/lexicon.txt)
      needs=(--needs 2:dump/text/train.txt --needs 2:dump/text/dev.txt
        --needs 3:exp/lexicon/lexicon.txt)
    fi
    train "pre-train ${init}" "${output}" --needs "given:${conf}" \
      --needs 5:dump/speech/units_phone/units.scp --needs 5:dump/dev/units_phone/units.scp \
      "${needs[@]}" -- \
      python -m speechlm.bin.pretrain --config "${conf}" --config_size "${config_size}" \
      --speech_dir dump/speech --dev_dir dump/dev --units units_phone "${text[@]}" \
      --output "${output}" --seed "${seed}" --ngpu "${ngpu}" --num_threads "${num_threads}" \
      "${more[@]}"
  done
}

stage_11() {
  local init output from needs more conf
  conf=${finetune_config:-$(config "finetune_${config_size}.yaml")}
  read -ra more <<< "${finetune_args}"
  for init in "${inits[@]}"; do
    output=$(asr "${init}")
    from=() needs=()
    if [[ ${init} != scratch ]]; then
      from=(--init "$(pretrained "${init}")")
      needs=(--needs "10:${from[1]}")
    fi
    train "fine-tune ${init}" "${output}" --needs "given:${conf}" --needs 2:dump/paired \
      --needs 2:dump/dev "${needs[@]}" -- \
      python -m speechlm.bin.finetune_asr --config "${conf}" --config_size "${config_size}" \
      --train_dir dump/paired --dev_dir dump/dev "${from[@]}" --output "${output}" \
      --seed "${seed}" --ngpu "${ngpu}" --num_threads "${num_threads}" "${more[@]}"
  done
}

stage_12() {
  echo "stage 12 | not needed for greedy decoding" >&2
}

stage_13() {
  local init test model
  for init in "${inits[@]}"; do
    model=$(asr "${init}")
    for test in "${tests[@]}"; do
      step "decode ${test} with ${init}" --output "${model}/decode_${test}/text" \
        --needs "11:${model}" --needs "2:dump/${test}" -- \
        "${template}/parallel.sh" --data "dump/${test}" --nj "${nj}" --cmd "${decode_cmd}" \
        --log "${model}/decode_${test}/log/decode" -- \
        python -m speechlm.bin.decode_ctc --model "${model}" --data_dir "{split}/JOB" \
        --output "${model}/decode_${test}/parts/JOB" ++ \
        python -m speechlm.bin.merge_text --input "${model}/decode_${test}/parts" --n "{nj}" \
        --output "${model}/decode_${test}/text"
    done
  done
}

stage_14() {
  local init test decoded scores=() needs=()
  for init in "${inits[@]}"; do
    for test in "${tests[@]}"; do
      decoded=$(asr "${init}")/decode_${test}
      step "score ${test} with ${init}" --output "${decoded}/score" \
        --needs "13:${decoded}/text" --needs "2:dump/${test}/text" -- \
        python -m speechlm.bin.score --name "${test}" --ref "dump/${test}/text" \
        --hyp "${decoded}/text" --output "${decoded}/score"
      scores+=("${init}:${test}:${decoded}/score")
      needs+=(--needs "14:${decoded}/score")
    done
  done
}

main
