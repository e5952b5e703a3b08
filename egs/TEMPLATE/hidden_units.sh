#!/usr/bin/env bash
# Stages 6 to 9 of speechlm.sh, which sources this: hidden units of speech by k-means, and of text
# by a text-to-unit model, for the systems hidden and hidden_text.
# shellcheck disable=SC2154  # options and helpers are speechlm.sh's

declare -A middle_layers=([tiny]=2 [base]=6 [large]=12)

# Clusterings, the last of which makes the units, and their numbers of clusters.
read -ra counts <<< "${clusters}"
turns=(model)
[[ -n ${hidden_model} ]] || mapfile -t turns < <(seq "${iterations}")

check_hidden() {
  ((iterations >= 1)) || die "--iterations is ${iterations}; it can be 1 or more"
  [[ ${clusters} =~ ^\ *[1-9][0-9]*(\ +[1-9][0-9]*)*\ *$ ]] ||
    die "--clusters is '${clusters}'; it can be a number, or one for each iteration"
  [[ ${hidden_layer} =~ ^([1-9][0-9]*)?$ ]] ||
    die "--hidden_layer is '${hidden_layer}'; it can be the number of a layer, from 1"
}

uses_hidden() { [[ " ${systems}" == *" hidden"* ]]; }
uses_hidden_text() { [[ " ${systems} " == *" hidden_text "* ]]; }
only_hidden() { uses_hidden && [[ " ${systems}" != *" speech"* ]]; }
hidden_units() { echo "units_hidden_$1"; }
iteration() { echo "exp/hubert_$1"; }
alignments() { echo "exp/recognizer/align_$((realign + 1))_sp1.0"; }

# k-means on MFCC; in a further iteration a model is trained on the units before, and its middle
# layer is clustered.
stage_6() {
  if ! uses_hidden; then
    not_needed "for phoneme units"
    return
  fi
  local turn last
  for turn in "${turns[@]}"; do
    if [[ ${turn} == model ]]; then
      cluster model --features model --model "${hidden_model}" --layer "${hidden_layer:-9}"
    elif ((turn == 1)); then
      cluster 1 --features mfcc
    else
      last=$((turn - 1))
      label speech "${last}"
      label dev "${last}"
      train_iteration "${last}"
      cluster "${turn}" --features speechlm --model "$(iteration "${last}")" \
        --layer "${hidden_layer:-${middle_layers[${config_size}]}}"
    fi
  done
}

# on_gpu TURN: a GPU for each job that computes features of a model, where there are some; sets the
# caller's `train_cmd` and `gpu`.
on_gpu() {
  gpu=0
  if [[ $1 != 1 ]] && ((ngpu > 0)); then gpu=1 train_cmd="${cuda_cmd} --gpu 1"; fi
}

# cluster TURN FEATURES...: k-means on a random sample of the speech, in exp/kmeans_TURN.
cluster() {
  local turn=$1 output=exp/kmeans_$1 count=${counts[-1]} needs=() more gpu train_cmd=${train_cmd}
  local samples=${output}/samples
  shift
  on_gpu "${turn}"
  read -ra more <<< "${kmeans_args}"
  if [[ ${turn} == model ]]; then
    [[ ! -e ${hidden_model} ]] || needs=(--needs "given:${hidden_model}") # else a name on the hub
  else
    count=${counts[turn - 1]:-${count}}
    ((turn == 1)) || needs=(--needs "6:$(iteration $((turn - 1)))")
  fi
  parallel "k-means ${turn}" dump/speech "${output}" "${needs[@]}" -- \
    python -m speechlm.bin.sample_features --data_dir "{split}/JOB" --portion "${portion}" \
    --seed "${seed}" "$@" --ngpu "${gpu}" --output "${samples}" --job JOB ++ \
    python -m speechlm.bin.train_kmeans --samples "${samples}" --n "{nj}" \
    --n_clusters "${count}" --seed "${seed}" "${more[@]}" --output "${output}/kmeans.npz" ++ \
    rm -r "${samples}"
}

# label SET TURN: units of a data directory.
label() {
  local set=$1 turn=$2 output gpu train_cmd=${train_cmd}
  on_gpu "${turn}"
  output=dump/${set}/$(hidden_units "${turn}")
  parallel "hidden units ${turn} of ${set}" "dump/${set}" "${output}" \
    --needs "6:exp/kmeans_${turn}" -- \
    python -m speechlm.bin.apply_kmeans --kmeans "exp/kmeans_${turn}/kmeans.npz" \
    --data_dir "{split}/JOB" --ngpu "${gpu}" --output "${output}" --job JOB ++ \
    python -m speechlm.bin.merge_units --input "${output}" --n "{nj}" --data "dump/${set}"
}

# train_iteration TURN: a model on the units of speech alone, whose features are clustered next.
train_iteration() {
  local turn=$1 conf more units output
  conf=${pretrain_config:-$(config "pretrain_${config_size}.yaml")}
  units=$(hidden_units "${turn}") output=$(iteration "${turn}")
  read -ra more <<< "${iteration_args}"
  train "model for iteration $((turn + 1))" "${output}" "${output}" --needs "given:${conf}" \
    --needs "6:dump/speech/${units}" --needs "6:dump/dev/${units}" -- \
    python -m speechlm.bin.pretrain --config "${conf}" --config_size "${config_size}" \
    --speech_dir dump/speech --dev_dir dump/dev --units "${units}" --output "${output}" \
    --seed "${seed}" --ngpu "${ngpu}" --num_threads "${num_threads}" \
    --model_conf label_rate=50 "${more[@]}"
}

# Units of all sets, and how well those of each iteration tell phones apart.
stage_7() {
  if ! uses_hidden; then
    not_needed "for phoneme units"
    return
  fi
  local turn
  for turn in "${turns[@]}"; do
    label paired "${turn}"
    [[ -z ${dev_textgrids} && ${turn} != "${turns[-1]}" ]] || label dev "${turn}"
  done
  label speech "${turns[-1]}"
  compare_units paired "exp/unit_quality" --alignments "4:$(alignments)"
  if [[ -n ${dev_textgrids} ]]; then
    compare_units dev "exp/unit_quality_dev" --textgrids "given:${dev_textgrids}"
  fi
}

# compare_units SET OUTPUT OPTION MAKER:REFERENCE
compare_units() {
  local set=$1 output=$2 option=$3 reference=$4 turn units=() needs=()
  for turn in "${turns[@]}"; do
    units+=("iteration_${turn}:dump/${set}/$(hidden_units "${turn}")")
    needs+=(--needs "7:dump/${set}/$(hidden_units "${turn}")")
  done
  [[ ${turns[0]} != model ]] || units=("${units[0]#iteration_}")
  step "quality of hidden units of ${set}" --output "${output}" "${needs[@]}" \
    --needs "${reference}" -- \
    python -m speechlm.bin.unit_quality --units "${units[@]}" "${option}" "${reference#*:}" \
    --output "${output}"
}

stage_8() {
  if ! uses_hidden_text; then
    not_needed "without units of text"
    return
  fi
  local units conf more
  units=dump/paired/$(hidden_units "${turns[-1]}")
  conf=text_to_unit.yaml
  [[ ${config_size} != tiny ]] || conf=text_to_unit_tiny.yaml
  conf=${text_to_unit_config:-$(config "${conf}")}
  read -ra more <<< "${text_to_unit_args}"
  step "phones and units" --output exp/unit_pairs --needs "4:$(alignments)" \
    --needs "7:${units}" -- \
    python -m speechlm.bin.make_unit_pairs --align "$(alignments)" --units "${units}" \
    --output exp/unit_pairs
  train "text-to-unit model" exp/text_to_unit exp/text_to_unit --needs "given:${conf}" \
    --needs 8:exp/unit_pairs -- \
    python -m speechlm.bin.train_text_to_unit --pairs exp/unit_pairs --config "${conf}" \
    --output exp/text_to_unit --seed "${seed}" --ngpu "${ngpu}" --num_threads "${num_threads}" \
    "${more[@]}"
}

# Jobs that are stopped go on with the lines that are missing.
stage_9() {
  if ! uses_hidden_text; then
    not_needed "without units of text"
    return
  fi
  local part output generate more needs=()
  read -ra more <<< "${text_units_args}"
  if [[ ${durations} == measured ]]; then
    more+=(--durations exp/recognizer/durations.txt)
    needs=(--needs 5:exp/recognizer/durations.txt)
  fi
  for part in train dev; do
    output=exp/text_units/${part}
    generate=(python -m speechlm.bin.generate_text_units --text "dump/text/${part}.txt"
      --model exp/text_to_unit --lexicon exp/lexicon/lexicon.txt --output "${output}"
      --seed "${seed}" "${more[@]}")
    step "hidden units of ${part} text" --output "${output}" --needs 2:dump/text \
      --needs 3:exp/lexicon/lexicon.txt --needs 8:exp/text_to_unit "${needs[@]}" \
      --launcher "${train_cmd} JOB=1:${nj} ${output}/log/JOB.log" -- \
      "${generate[@]}" --replace --job JOB --nj "${nj}"
    step "report on ${part} text" --output "${output}/report.txt" --needs "9:${output}" -- \
      "${generate[@]}" --finish
  done
}

# hidden_inputs: what the hidden units of speech and text are to pretrain, in its `inputs`, `needs`.
hidden_inputs() {
  local units set
  units=$(hidden_units "${turns[-1]}")
  inputs=(--units "${units}" "${text[@]}" --model_conf label_rate=50)
  needs+=(--needs "7:dump/speech/${units}" --needs "7:dump/dev/${units}")
  if [[ ${init} == *_text ]]; then
    inputs+=(--text_units exp/text_units/train --dev_text_units exp/text_units/dev)
    for set in train dev; do
      needs+=(--needs "9:exp/text_units/${set}" --needs "9:exp/text_units/${set}/report.txt")
    done
  fi
}

# hidden_reports: adds what stages 7 and 8 have measured to the caller's `more`.
hidden_reports() {
  if ! uses_hidden; then return; fi
  more+=("Hidden units of paired against the recogniser's alignments:exp/unit_quality/units.md")
  [[ -z ${dev_textgrids} ]] ||
    more+=("Hidden units of dev against the TextGrids:exp/unit_quality_dev/units.md")
  if uses_hidden_text; then more+=("Text to hidden units:exp/text_to_unit/RESULTS.md"); fi
}
