#!/usr/bin/env bash
# Speech translation (--task st), sourced by speechlm.sh: what its stages do in place of, or around,
# those of all tasks. Sets: translated (training), dev and the test sets have text.LANG; paired and
# speech are for pre-training, which is done only where a system asks for it.

# shellcheck disable=SC2154  # options and helpers are speechlm.sh's
# <options>
# Speech translation
source_lang=en             # language of the speech
target_lang=               # languages to translate into
translations=              # folder of the translations (handed to the recipe's local/data.sh)
target_kind=char           # pieces of the target vocabulary: char or bpe
target_size=1000           # how many of them, for bpe
target_style=cased         # translations as they are: cased; lower, without punctuation; or moses,
                           # with punctuation as Moses' scripts normalize it, as in the paper
beam=5                     # hypotheses of an utterance
length_penalty=1.0         # their scores are divided by the length to this power
# </options>

check_st() {
  local language
  [[ -z ${finetune_parts}${speech_corpus} ]] ||
    die "--finetune_parts and --speech_corpus are not for --task st, whose set is translated"
  [[ ${target_lang} == *[![:space:]]* ]] ||
    die "--task st needs --target_lang, the language to translate into"
  for language in ${target_lang}; do check_name target_lang "${language}"; done
  check_name source_lang "${source_lang}"
  # Where models are pre-trained here, their letters and phones are those of the speech.
  [[ ${lang} == en || ${lang} == "${source_lang}" ]] ||
    die "--lang is '${lang}', and --source_lang, the language of the speech, '${source_lang}'"
  lang=${source_lang}
  [[ ${target_kind} =~ ^(char|bpe)$ ]] ||
    die "--target_kind is '${target_kind}'; it can be char or bpe"
  [[ ${target_style} =~ ^(cased|lower|moses)$ ]] ||
    die "--target_style is '${target_style}'; it can be cased, lower or moses"
}

translator() { echo "exp/st_$1$(variant "$1")_$2${finetune_tag:+_${finetune_tag}}"; }
vocabulary() { echo "exp/vocabulary_$1${finetune_tag:+_${finetune_tag}}"; }

st_1() {
  local more pretrain=false
  read -ra more <<< "${data_opts}"
  if any pretrained; then pretrain=true; fi
  local/data.sh --dry_run "${dry_run}" --corpus "${corpus}" --translations "${translations}" \
    --source_lang "${source_lang}" --target_lang "${target_lang}" --pretrain "${pretrain}" \
    --text_corpus "${text_corpus}" --max_bad_share "${max_bad_share}" "${more[@]}"
  make_language_file
}

st_2() {
  local name
  if any pretrained; then stage_2; else
    for name in dev "${tests[@]}"; do format_set "${name}"; done
  fi
  format_training_set translated
}

st_11() {
  local languages language system test check wanted=()
  read -ra languages <<< "${target_lang}"
  for language in "${languages[@]}"; do
    check=("dump/dev/text.${language}")
    for test in "${tests[@]}"; do check+=("dump/${test}/text.${language}"); done
    step "vocabulary of ${language}" --output "$(vocabulary "${language}")" \
      --needs "dump/translated/text.${language}" "${check[@]}" -- \
      python -m speechlm.bin.train_vocabulary --text "dump/translated/text.${language}" \
      --kind "${target_kind}" --size "${target_size}" --style "${target_style}" \
      --language "${language}" --check "${check[@]}" --output "$(vocabulary "${language}")"
    for system in "${inits[@]}"; do wanted+=("${system}:${language}"); done
  done
  side_by_side finetune_st "${wanted[@]}"
}

# finetune_st SYSTEM:LANGUAGE: with an attention decoder.
finetune_st() {
  local system=${1%%:*} language=${1#*:} output conf from more words
  conf=${finetune_config:-$(config "finetune_st_${config_size}.yaml")}
  read -ra more <<< "${finetune_args}"
  output=$(translator "${system}" "${language}") from=$(initial "${system}")
  words=$(vocabulary "${language}")
  train_widely "translate into ${language} from ${system}" "${output}" \
    --needs "${conf}" dump/translated dump/dev "${words}" ${from:+"${from}"} -- \
    python -m speechlm.bin.finetune_st --config "${conf}" --config_size "${config_size}" \
    --train_dir dump/translated --dev_dir dump/dev --target_lang "${language}" \
    --vocabulary "${words}" ${from:+--init "${from}"} --output "${output}" \
    --seed "${seed}" --ngpu "${ngpu}" --num_threads "${num_threads}" "${more[@]}"
}

st_12() { say "not needed for translation"; }

# What an interrupted run has translated is kept.
st_13() {
  local languages language system test model output
  read -ra languages <<< "${target_lang}"
  for language in "${languages[@]}"; do
    for system in "${inits[@]}"; do
      model=$(translator "${system}" "${language}")
      for test in "${tests[@]}"; do
        output=${model}/decode_${test}
        parallel "translate ${test} into ${language} with ${system}" "dump/${test}" "${output}" \
          --cmd "${decode_cmd}" --keep --needs "${model}" -- \
          python -m speechlm.bin.decode_st --model "${model}" --data_dir "{split}/JOB" \
          --beam "${beam}" --length_penalty "${length_penalty}" --ngpu "$(gpus_of decode_st)" \
          --output "${output}/parts/JOB" ++ \
          python -m speechlm.bin.merge_text --input "${output}/parts/JOB" --output "${output}"
      done
    done
  done
}

st_14() {
  local languages language system test decoded scores=() audio=""
  read -ra languages <<< "${target_lang}"
  for language in "${languages[@]}"; do
    for system in "${inits[@]}"; do
      for test in "${tests[@]}"; do
        decoded=$(translator "${system}" "${language}")/decode_${test}
        step "score ${test} in ${language} with ${system}" --output "${decoded}/score" \
          --needs "${decoded}" "dump/${test}/text.${language}" -- \
          python -m speechlm.bin.score_st --name "${test}" --target_lang "${language}" \
          --ref "dump/${test}/text.${language}" --source "dump/${test}/text" \
          --style "${target_style}" --hyp "${decoded}/text" --output "${decoded}/score"
        scores+=("${system}:${source_lang}-${language} ${test}:${decoded}/score")
      done
    done
    for test in "${tests[@]}"; do
      audio+=${audio:+$'\n'}"${source_lang}-${language} ${test}:dump/${test}"
    done
  done
  write_report "${audio}" "${scores[@]}" -- --include
}

# st_pictures: fine-tuning.
st_pictures() {
  local languages language system curves=() needs=()
  read -ra languages <<< "${target_lang}"
  for language in "${languages[@]}"; do
    for system in "${inits[@]}"; do
      curves+=("${system} ${language}:$(translator "${system}" "${language}")")
      needs+=("$(translator "${system}" "${language}")")
    done
  done
  draw finetuning --needs "${needs[@]}" -- python -m speechlm.bin.plot_curves \
    --curves "${curves[@]}" --values loss accuracy --x updates --title "Learning curves of fine-tuning"
}
