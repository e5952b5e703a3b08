#!/usr/bin/env bash
# Speech translation (--task st), sourced by speechlm.sh: what its stages do in place of, or around,
# those of recognition. Sets: translated (training), dev and the test sets have text.LANG; paired and
# speech are for pre-training, which is done only where a system asks for it.
# shellcheck disable=SC2154  # options and helpers are speechlm.sh's

read -ra languages <<< "${target_lang}"

check_translation() {
  ((${#languages[@]} > 0)) || die "--task st needs --target_lang, the language to translate into"
  [[ ${target_kind} =~ ^(char|bpe)$ ]] ||
    die "--target_kind is '${target_kind}'; it can be char or bpe"
  [[ ${target_style} =~ ^(cased|lower)$ ]] ||
    die "--target_style is '${target_style}'; it can be cased or lower"
  if [[ " ${systems} " == *" given "* && -z ${init_model} ]]; then
    die "--systems given needs --init_model, the folder of a trained SpeechLM"
  fi
  [[ " ${systems} " != *" given "* || -d ${init_model} ]] || ((stop_stage < 11)) || ${dry_run} ||
    die "--init_model is '${init_model}', which is no folder; --systems given starts from it"
}

# Whether a system starts from a pre-training of this recipe.
pretrains() { [[ " ${systems}" =~ " "(speech|hidden) ]]; }

only_with_pretraining() {
  if pretrains; then "stage_${current}"; else
    echo "stage ${current} | not needed: no system starts from a pre-training of this recipe" >&2
  fi
}

translator() { echo "exp/st_$1_$2${finetune_tag:+_${finetune_tag}}"; }
vocabulary() { echo "exp/vocabulary_$1${finetune_tag:+_${finetune_tag}}"; }

translation_1() {
  local more pretrain=false
  read -ra more <<< "${data_opts}"
  if pretrains; then pretrain=true; fi
  local/data.sh --dry_run "${dry_run}" --corpus "${corpus}" --translations "${translations}" \
    --source_lang "${source_lang}" --target_lang "${target_lang}" --pretrain "${pretrain}" \
    --text_corpus "${text_corpus}" --max_bad_share "${max_bad_share}" "${more[@]}"
}

translation_2() {
  local name sets=(translated) limits
  if pretrains; then stage_2; else sets+=(dev "${tests[@]}"); fi
  for name in "${sets[@]}"; do
    limits=()
    [[ ${name} != translated ]] ||
      limits=(--min_seconds "${min_seconds}" --max_seconds "${max_seconds}")
    step "format ${name}" --output "dump/${name}" --needs "1:data/${name}" -- \
      python -m speechlm.bin.format_data --input "data/${name}" --output "dump/${name}" \
      "${limits[@]}" --max_bad_share "${max_bad_share}" --nj "${nj}"
  done
}

translation_3() { only_with_pretraining; }
translation_4() { only_with_pretraining; }
translation_5() { only_with_pretraining; }

translation_10() {
  local init needed=()
  for init in "${inits[@]}"; do
    [[ ! ${init} =~ ^(speech|hidden) ]] || needed+=("${init}")
  done
  if pretrains; then side_by_side pretrain "${needed[@]}"; else only_with_pretraining; fi
}

translation_11() {
  local language init test wanted=() check needs
  for language in "${languages[@]}"; do
    check=("dump/dev/text.${language}") needs=(--needs "2:dump/dev/text.${language}")
    for test in "${tests[@]}"; do
      check+=("dump/${test}/text.${language}") needs+=(--needs "2:dump/${test}/text.${language}")
    done
    step "vocabulary of ${language}" --output "$(vocabulary "${language}")" \
      --needs "2:dump/translated/text.${language}" "${needs[@]}" -- \
      python -m speechlm.bin.train_vocabulary --text "dump/translated/text.${language}" \
      --kind "${target_kind}" --size "${target_size}" --style "${target_style}" \
      --check "${check[@]}" --output "$(vocabulary "${language}")"
    for init in "${inits[@]}"; do wanted+=("${init}:${language}"); done
  done
  side_by_side finetune_translation "${wanted[@]}"
}

# finetune_translation INIT:LANGUAGE: with an attention decoder, from what INIT names.
finetune_translation() {
  local init=${1%%:*} language=${1#*:} output from=() needs=() more conf
  conf=${finetune_config:-$(config "finetune_st_${config_size}.yaml")}
  read -ra more <<< "${finetune_args}"
  output=$(translator "${init}" "${language}")
  if [[ ${init} == given ]]; then
    from=(--init "${init_model}") needs=(--needs "given:${init_model}")
  elif [[ ${init} != scratch ]]; then
    from=(--init "$(pretrained "${init}")")
    needs=(--needs "10:${from[1]}")
  fi
  train "translate into ${language} from ${init}" "${output}" "${output}" --needs "given:${conf}" \
    --needs 2:dump/translated --needs 2:dump/dev --needs "11:$(vocabulary "${language}")" \
    "${needs[@]}" -- \
    python -m speechlm.bin.finetune_st --config "${conf}" --config_size "${config_size}" \
    --train_dir dump/translated --dev_dir dump/dev --target_lang "${language}" \
    --vocabulary "$(vocabulary "${language}")" "${from[@]}" --output "${output}" \
    --seed "${seed}" --ngpu "${ngpu}" --num_threads "${num_threads}" "${more[@]}"
}

translation_12() { echo "stage 12 | not needed for translation" >&2; }

# What an interrupted run has translated is kept.
translation_13() {
  local language init test model output
  for language in "${languages[@]}"; do
    for init in "${inits[@]}"; do
      model=$(translator "${init}" "${language}")
      for test in "${tests[@]}"; do
        output=${model}/decode_${test}
        step "translate ${test} into ${language} with ${init}" --output "${output}" \
          --needs "2:dump/${test}" --needs "11:${model}" -- \
          ../TEMPLATE/parallel.sh --data "dump/${test}" --nj "${nj}" --cmd "${decode_cmd}" \
          --output "${output}" --keep true -- \
          python -m speechlm.bin.decode_st --model "${model}" --data_dir "{split}/JOB" \
          --beam "${beam}" --length_penalty "${length_penalty}" --output "${output}/parts/JOB" ++ \
          python -m speechlm.bin.merge_text --input "${output}/parts/JOB" --output "${output}"
      done
    done
  done
}

translation_14() {
  local language init test decoded scores=() report=exp/RESULTS${finetune_tag:+_${finetune_tag}}.md
  for language in "${languages[@]}"; do
    for init in "${inits[@]}"; do
      for test in "${tests[@]}"; do
        decoded=$(translator "${init}" "${language}")/decode_${test}
        step "score ${test} in ${language} with ${init}" --output "${decoded}/score" \
          --needs "13:${decoded}" --needs "2:dump/${test}/text.${language}" -- \
          python -m speechlm.bin.score_st --name "${test}" --target_lang "${language}" \
          --ref "dump/${test}/text.${language}" --source "dump/${test}/text" \
          --style "${target_style}" --hyp "${decoded}/text" --output "${decoded}/score"
        scores+=("${init}:${source_lang}-${language} ${test}:${decoded}/score")
      done
    done
  done
  if ${dry_run}; then return; fi
  show_times.py exp/times.tsv > exp/times.md
  python -m speechlm.bin.report_st --title "$(basename "${PWD}")" --scores "${scores[@]}" \
    --command "$(command_line)" --seed "${seed}" --output "${report}" \
    --include "Wall time (seconds):exp/times.md"
  cat exp/times.md
  echo "stage 14 | report: ${PWD}/${report}" >&2
}
