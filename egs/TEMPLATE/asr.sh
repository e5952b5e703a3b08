#!/usr/bin/env bash
# Recognition (--task asr), sourced by speechlm.sh: fine-tuning with CTC, greedy decoding, error rates.

# shellcheck disable=SC2154  # options and helpers are speechlm.sh's
declare -A finetune_names=([tiny]=tiny [base]=base_100h [large]=large_960h)

# asr_model SYSTEM
asr_model() { echo "exp/asr_$1${finetune_tag:+_${finetune_tag}}"; }

asr_11() { side_by_side finetune_asr "${inits[@]}"; }

# finetune_asr SYSTEM: on the paired set, or on one of its own.
finetune_asr() {
  local output conf from more set=paired
  if finetunes_apart; then set=finetune; fi
  conf=${finetune_config:-$(config "finetune_${finetune_names[${config_size}]}.yaml")}
  read -ra more <<< "${finetune_args}"
  output=$(asr_model "$1") from=$(initial "$1")
  train "fine-tune $1" "${output}" \
    --needs "${conf}" "dump/${set}" dump/dev ${from:+"${from}"} -- \
    python -m speechlm.bin.finetune_asr --config "${conf}" --config_size "${config_size}" \
    --train_dir "dump/${set}" --dev_dir dump/dev ${from:+--init "${from}"} --output "${output}" \
    --seed "${seed}" --ngpu "${ngpu}" --num_threads "${num_threads}" "${more[@]}"
}

asr_12() { say "not needed for greedy decoding"; }

asr_13() {
  local system test model output
  for system in "${inits[@]}"; do
    model=$(asr_model "${system}")
    for test in "${tests[@]}"; do
      output=${model}/decode_${test}
      parallel "decode ${test} with ${system}" "dump/${test}" "${output}" --cmd "${decode_cmd}" \
        --needs "${model}" -- \
        python -m speechlm.bin.decode_ctc --model "${model}" --data_dir "{split}/JOB" \
        --output "${output}/parts/JOB" ++ \
        python -m speechlm.bin.merge_text --input "${output}/parts/JOB" --output "${output}"
    done
  done
}

asr_14() {
  local system test decoded scores=() reports=()
  for system in "${inits[@]}"; do
    for test in "${tests[@]}"; do
      decoded=$(asr_model "${system}")/decode_${test}
      step "score ${test} with ${system}" --output "${decoded}/score" \
        --needs "${decoded}" "dump/${test}/text" -- \
        python -m speechlm.bin.score --name "${test}" --ref "dump/${test}/text" \
        --hyp "${decoded}/text" --output "${decoded}/score"
      scores+=("${system}:${test}:${decoded}/score")
    done
  done
  mapfile -t reports < <(unit_reports)
  write_report --scores "${scores[@]}" --include "${reports[@]}"
}
