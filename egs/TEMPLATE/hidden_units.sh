#!/usr/bin/env bash
# Stages 6 to 9 for hidden units, sourced by speechlm.sh: units of speech by k-means, and of text
# by a text-to-unit model, for the systems hidden and hidden_text.

# shellcheck disable=SC2154  # options and helpers are speechlm.sh's
# <options>
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
# </options>

check_hidden() {
  ((iterations >= 1)) || die "--iterations is ${iterations}; it can be 1 or more"
  [[ ${clusters} =~ ^\ *[1-9][0-9]*(\ +[1-9][0-9]*)*\ *$ ]] ||
    die "--clusters is '${clusters}'; it can be a number, or one for each iteration"
  [[ ${hidden_layer} =~ ^([1-9][0-9]*)?$ ]] ||
    die "--hidden_layer is '${hidden_layer}'; it can be the number of a layer, from 1"
  check_model hidden_model "${hidden_model}"
}

# Clusterings, a name a line: the last makes the units.
turns() { if [[ -n ${hidden_model} ]]; then echo model; else seq "${iterations}"; fi; }
last_turn() { turns | tail -n 1; }
units_of_turn() { echo "units_hidden_$1"; }
iteration() { echo "exp/hubert_$1"; }

# k-means on MFCC; in a further iteration a model is trained on the units before, and its middle
# layer is clustered.
hidden_6() {
  local turn last
  for turn in $(turns); do
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
        --layer "${hidden_layer:-${size_layer[${config_size}]}}"
    fi
  done
}

# gpus_for TURN PROGRAM: the GPUs of each job that computes its features: none for MFCC.
gpus_for() { if [[ $1 == 1 ]]; then echo 0; else gpus_of "$2"; fi; }

# launcher_for GPUS: what starts jobs of features with so many.
launcher_for() { if (($1 > 0)); then echo "${cuda_cmd}"; else echo "${train_cmd}"; fi; }

# cluster TURN FEATURES...: k-means on a random sample of the speech, in exp/kmeans_TURN.
cluster() {
  local turn=$1 output=exp/kmeans_$1 counts count more model="" gpus
  local samples=${output}/samples
  shift
  gpus=$(gpus_for "${turn}" sample_features)
  read -ra counts <<< "${clusters}"
  read -ra more <<< "${kmeans_args}"
  count=${counts[-1]}
  if [[ ${turn} == model ]]; then
    [[ ! -e ${hidden_model} ]] || model=${hidden_model} # else a name on the hub
  else
    count=${counts[turn - 1]:-${count}}
    ((turn == 1)) || model=$(iteration $((turn - 1)))
  fi
  parallel "k-means ${turn}" dump/speech "${output}" --cmd "$(launcher_for "${gpus}")" \
    ${model:+--needs "${model}"} -- \
    python -m speechlm.bin.sample_features --data_dir "{split}/JOB" --portion "${portion}" \
    --seed "${seed}" "$@" --ngpu "${gpus}" --output "${samples}" --job JOB ++ \
    python -m speechlm.bin.train_kmeans --samples "${samples}" --n "{nj}" \
    --n_clusters "${count}" --seed "${seed}" "${more[@]}" --output "${output}/kmeans.npz" ++ \
    rm -r "${samples}"
}

# label SET TURN: units of a data directory.
label() {
  local set=$1 turn=$2 output gpus
  gpus=$(gpus_for "${turn}" apply_kmeans)
  output=dump/${set}/$(units_of_turn "${turn}")
  parallel "hidden units ${turn} of ${set}" "dump/${set}" "${output}" \
    --cmd "$(launcher_for "${gpus}")" --needs "exp/kmeans_${turn}" -- \
    python -m speechlm.bin.apply_kmeans --kmeans "exp/kmeans_${turn}/kmeans.npz" \
    --data_dir "{split}/JOB" --ngpu "${gpus}" --output "${output}" --job JOB ++ \
    python -m speechlm.bin.merge_units --input "${output}" --n "{nj}" --data "dump/${set}"
}

# train_iteration TURN: a model on the units of speech alone, whose features are clustered next.
train_iteration() {
  local turn=$1 conf more units output
  conf=${pretrain_config:-$(config "pretrain_${config_size}.yaml")}
  units=$(units_of_turn "${turn}") output=$(iteration "${turn}")
  read -ra more <<< "${iteration_args}"
  train_widely "model for iteration $((turn + 1))" "${output}" \
    --needs "${conf}" "dump/speech/${units}" "dump/dev/${units}" -- \
    python -m speechlm.bin.pretrain --config "${conf}" --config_size "${config_size}" \
    --speech_dir dump/speech --dev_dir dump/dev --units "${units}" --output "${output}" \
    --seed "${seed}" --ngpu "${ngpu}" --num_threads "${num_threads}" "${more[@]}"
}

# Units of all sets, and how well those of each iteration tell phones apart.
hidden_7() {
  local turn last
  last=$(last_turn)
  for turn in $(turns); do
    label paired "${turn}"
    [[ -z ${dev_textgrids} && ${turn} != "${last}" ]] || label dev "${turn}"
  done
  label speech "${last}"
  compare_units paired exp/unit_quality --alignments "$(alignments)"
  if [[ -n ${dev_textgrids} ]]; then
    compare_units dev exp/unit_quality_dev --textgrids "${dev_textgrids}"
  fi
}

# compare_units SET OUTPUT OPTION REFERENCE
compare_units() {
  local set=$1 output=$2 option=$3 reference=$4 turn folder units=() needs=("$4")
  for turn in $(turns); do
    folder=dump/${set}/$(units_of_turn "${turn}")
    if [[ ${turn} == model ]]; then units+=("model:${folder}"); else
      units+=("iteration_${turn}:${folder}")
    fi
    needs+=("${folder}")
  done
  step "quality of hidden units of ${set}" --output "${output}" --needs "${needs[@]}" -- \
    python -m speechlm.bin.unit_quality --units "${units[@]}" "${option}" "${reference}" \
    --output "${output}"
}

hidden_8() {
  if ! any hidden text; then
    say "not needed without units of text"
    return
  fi
  local units conf more
  units=dump/paired/$(hidden_units)
  conf=${text_to_unit_config:-$(config "${size_text_to_unit[${config_size}]}")}
  read -ra more <<< "${text_to_unit_args}"
  step "phones and units" --output exp/unit_pairs --needs "$(alignments)" "${units}" -- \
    python -m speechlm.bin.make_unit_pairs --align "$(alignments)" --units "${units}" \
    --output exp/unit_pairs
  train "text-to-unit model" exp/text_to_unit --needs "${conf}" exp/unit_pairs -- \
    python -m speechlm.bin.train_text_to_unit --pairs exp/unit_pairs --config "${conf}" \
    --output exp/text_to_unit --seed "${seed}" --ngpu "${ngpu}" --num_threads "${num_threads}" \
    "${more[@]}"
}

# text_units PART: the units of the text that pre-training sees.
text_units() {
  if [[ $1 == train ]]; then
    echo "exp/text_units${text_lines:+_${text_lines}${tag:+_${tag}}}/train"
  else
    echo "exp/text_units/$1"
  fi
}

# Jobs that are stopped go on with the lines that are missing.
hidden_9() {
  if ! any hidden text; then
    say "not needed without units of text"
    return
  fi
  local part output text generate more needs=(dump/text exp/lexicon/lexicon.txt exp/text_to_unit)
  read -ra more <<< "${text_units_args}"
  if [[ ${durations} == measured ]]; then
    more+=(--durations exp/recognizer/durations.txt) needs+=(exp/recognizer/durations.txt)
  fi
  for part in dev train; do
    output=$(text_units "${part}") text=dump/text/${part}.txt
    if [[ ${part} == train && -n ${text_lines} ]]; then
      text=$(text_folder)/train.txt needs+=("${text}")
    fi
    generate=(python -m speechlm.bin.generate_text_units --text "${text}"
      --model exp/text_to_unit --lexicon exp/lexicon/lexicon.txt --output "${output}"
      --seed "${seed}" "${more[@]}")
    SPEECHLM_JOBS=${nj} step "hidden units of ${part} text" --output "${output}" --needs "${needs[@]}" \
      --launcher "$(launcher "${train_cmd}" "${generate[@]}") JOB=1:${nj} ${output}/log/JOB.log" \
      --jobs "$(describe "${nj}" "${train_cmd}" "${generate[@]}")" -- \
      "${generate[@]}" --replace --job JOB --nj "${nj}"
    step "report on ${part} text" --output "${output}/report.txt" --needs "${output}" -- \
      "${generate[@]}" --finish
  done
}

# hidden_units, hidden_options SYSTEM, hidden_needs SYSTEM: the units of speech, what pretrain is told
# besides, and the files that are in it, a word a line.
hidden_units() { units_of_turn "$(last_turn)"; }

hidden_options() {
  if ! is "$1" text; then return; fi
  printf '%s\n' --text_units "$(text_units train)" --dev_text_units "$(text_units dev)"
}

# hidden_durations SYSTEM: the units of text of plot_durations.
hidden_durations() { printf '%s\n' --text_units "$(text_units train)"; }

hidden_needs() {
  if ! is "$1" text; then return; fi
  printf '%s\n' "$(text_units train)"{,/report.txt} "$(text_units dev)"{,/report.txt}
}

# hidden_reports: what stages 7 and 8 have measured, a TITLE:FILE a line.
hidden_reports() {
  echo "Hidden units of paired against the recogniser's alignments:exp/unit_quality/units.md"
  [[ -z ${dev_textgrids} ]] ||
    echo "Hidden units of dev against the TextGrids:exp/unit_quality_dev/units.md"
  if any hidden text; then echo "Text to hidden units:exp/text_to_unit/RESULTS.md"; fi
}
