#!/usr/bin/env bash
# Stages 4 and 5 of speechlm.sh, which sources this: the phone recogniser and the units it decodes.
# shellcheck disable=SC2154  # options and helpers are speechlm.sh's

# Flat start and speaker-adapted Gaussians; alignments at several speeds; a network trained on them;
# alignments by the network and a network trained on those; the search graph and its scale.
stage_4() {
  local rec=exp/recognizer lex=exp/lexicon/lexicon.txt turn more
  read -ra more <<< "${gmm_args}"
  step "Gaussian models" --output ${rec}/gmm --needs 2:dump/paired --needs 3:${lex} -- \
    python -m speechlm.bin.train_gmm --data_dir dump/paired --lexicon ${lex} \
    --output ${rec}/gmm "${more[@]}"
  for ((turn = 1; turn <= realign + 1; turn++)); do
    align_paired "${turn}"
    train_network "${turn}"
  done
  turn=$((realign + 1))
  step "search graph" --output ${rec}/graph --needs 3:exp/word_lm/lm.arpa --needs 3:${lex} \
    --needs "4:${rec}/network_${turn}" -- \
    python -m speechlm.bin.make_graph --lm exp/word_lm/lm.arpa --lexicon ${lex} \
    --phone_model "${rec}/network_${turn}" --output ${rec}/graph
  step "acoustic scale" --output ${rec}/graph/search.json --needs 4:${rec}/graph \
    --needs "4:${rec}/network_${turn}" --needs "4:${rec}/classes_${turn}" -- \
    python -m speechlm.bin.tune_decoding --data_dir dump/paired \
    --net_data "${rec}/classes_${turn}" --phone_model "${rec}/network_${turn}" \
    --graph ${rec}/graph
}

# align_paired TURN: alignments of the paired audio at all speeds, by the Gaussians in the first turn,
# by the last turn's network in later ones.
align_paired() {
  local turn=$1 rec=exp/recognizer speed options needs name joins=()
  options=() needs=(--needs "4:${rec}/gmm" --needs 3:exp/lexicon/lexicon.txt)
  if ((turn > 1)); then
    options=(--phone_model "${rec}/network_$((turn - 1))")
    needs+=(--needs "4:${options[1]}")
  fi
  for speed in ${speeds}; do
    local speakers=${rec}/speakers_sp${speed} output=${rec}/align_${turn}_sp${speed}
    parallel "speakers at speed ${speed}" dump/paired "${speakers}" --needs "4:${rec}/gmm" \
      --needs 3:exp/lexicon/lexicon.txt -- \
      python -m speechlm.bin.adapt_speakers --data_dir dump/paired --model ${rec}/gmm \
      --lexicon exp/lexicon/lexicon.txt --speed "${speed}" \
      --max_seconds "${adapt_seconds}" --output "${speakers}" \
      --job JOB --n_jobs "{nj}"
    joins=()
    for name in units feats states; do
      joins+=(++ python -m speechlm.bin.merge_units --input "${output}" --n "{nj}" --name "${name}")
    done
    parallel "alignment ${turn} at speed ${speed}" dump/paired "${output}" "${needs[@]}" \
      --needs "4:${speakers}" -- \
      python -m speechlm.bin.align --data_dir "{split}/JOB" --model ${rec}/gmm \
      --speakers "${speakers}" --lexicon exp/lexicon/lexicon.txt --speed "${speed}" --features \
      --output "${output}" --job JOB "${options[@]}" "${joins[@]}"
  done
}

# train_network TURN: the recogniser's network, on the alignments of the same turn.
train_network() {
  local turn=$1 rec=exp/recognizer speed conf more classes=() align=() needs=()
  conf=${phone_model_config:-$(config phone_model.yaml)}
  read -ra more <<< "${phone_model_args}"
  for speed in ${speeds}; do
    align+=("${rec}/align_${turn}_sp${speed}")
    needs+=(--needs "4:${align[-1]}")
  done
  if ((turn > 1)); then
    classes=(--classes_from "${rec}/classes_$((turn - 1))/classes.npz")
    needs+=(--needs "4:${rec}/classes_$((turn - 1))")
  fi
  step "network data ${turn}" --output "${rec}/classes_${turn}" "${needs[@]}" -- \
    python -m speechlm.bin.make_phone_classes --align "${align[@]}" \
    --output "${rec}/classes_${turn}" "${classes[@]}"
  train "network ${turn}" "${rec}/network_${turn}_train" "${rec}/network_${turn}" \
    --needs "4:${rec}/classes_${turn}" \
    --needs "given:${conf}" -- \
    python -m speechlm.bin.train_phone_model --data "${rec}/classes_${turn}" \
    --output "${rec}/network_${turn}" --config "${conf}" --ngpu "${ngpu}" \
    --num_threads "${num_threads}" "${more[@]}"
}

stage_5() {
  local rec=exp/recognizer lex=exp/lexicon/lexicon.txt set sets=(speech dev)
  local network=${rec}/network_$((realign + 1))
  if only_hidden; then
    sets=()
    [[ -z ${dev_textgrids} ]] || sets=(dev)
  fi
  for set in "${sets[@]}"; do
    parallel "speakers of ${set}" "dump/${set}" "${rec}/speakers_${set}" --needs 3:${lex} \
      --needs "4:${rec}/gmm" --needs "4:${network}" --needs 4:${rec}/graph/search.json -- \
      python -m speechlm.bin.adapt_speakers --data_dir "dump/${set}" --model ${rec}/gmm \
      --lexicon ${lex} --graph ${rec}/graph --phone_model "${network}" \
      --max_seconds "${adapt_seconds}" --output "${rec}/speakers_${set}" --job JOB --n_jobs "{nj}"
    parallel "units of ${set}" "dump/${set}" "dump/${set}/units_phone" --needs 3:${lex} \
      --needs "4:${rec}/speakers_${set}" --needs "4:${network}" \
      --needs 4:${rec}/graph/search.json -- \
      python -m speechlm.bin.decode_phones --data_dir "{split}/JOB" --model ${rec}/gmm \
      --lexicon ${lex} --graph ${rec}/graph --phone_model "${network}" \
      --speakers "${rec}/speakers_${set}" --output "dump/${set}/units_phone" --job JOB ++ \
      python -m speechlm.bin.merge_units --input "dump/${set}/units_phone" --n "{nj}" \
      --data "dump/${set}"
  done
  if [[ -n ${dev_textgrids} ]]; then compare_dev "${network}"; fi
  local aligned=${rec}/align_$((realign + 1))_sp1.0
  step "durations of phones" --output ${rec}/durations.txt --needs "4:${aligned}" -- \
    python -m speechlm.bin.estimate_durations --units "${aligned}" --output ${rec}/durations.txt
}

# compare_dev NETWORK: units of dev, decoded and by alignment of the transcripts, against TextGrids.
compare_dev() {
  local network=$1 rec=exp/recognizer lex=exp/recognizer/lexicon_dev/lexicon.txt more=() needs=()
  if [[ -n ${lexicon} ]]; then
    more=(--lexicon "${lexicon}") needs=(--needs "given:${lexicon}")
  fi
  step "lexicon of dev" --output ${lex} --needs 2:dump/dev/text "${needs[@]}" -- \
    python -m speechlm.bin.make_lexicon --text dump/dev/text "${more[@]}" \
    --output ${rec}/lexicon_dev
  parallel "speakers of dev by transcripts" dump/dev ${rec}/speakers_dev_text --needs 5:${lex} \
    --needs "4:${rec}/gmm" -- \
    python -m speechlm.bin.adapt_speakers --data_dir dump/dev --model ${rec}/gmm \
    --lexicon ${lex} --max_seconds "${adapt_seconds}" \
    --output ${rec}/speakers_dev_text --job JOB --n_jobs "{nj}"
  parallel "alignment of dev" dump/dev ${rec}/align_dev --needs 5:${lex} \
    --needs "5:${rec}/speakers_dev_text" --needs "4:${network}" -- \
    python -m speechlm.bin.align --data_dir "{split}/JOB" --model ${rec}/gmm \
    --speakers ${rec}/speakers_dev_text --lexicon ${lex} --phone_model "${network}" \
    --output ${rec}/align_dev --job JOB ++ \
    python -m speechlm.bin.merge_units --input ${rec}/align_dev --n "{nj}"
  step "report on dev" --output ${rec}/report.md --needs "5:${rec}/align_dev" \
    --needs 5:dump/dev/units_phone --needs "given:${dev_textgrids}" -- \
    python -m speechlm.bin.alignment_report --textgrids "${dev_textgrids}" \
    --units "aligned:${rec}/align_dev" decoded:dump/dev/units_phone --output ${rec}/report.md
}

# phoneme_inputs: what phoneme units of speech and text are to pretrain, in its `inputs`, `needs`.
phoneme_inputs() {
  inputs=(--units units_phone "${text[@]}")
  needs+=(--needs 5:dump/speech/units_phone --needs 5:dump/dev/units_phone)
  if [[ ${init} == *_text ]]; then
    inputs+=(--lexicon exp/lexicon/lexicon.txt)
    needs+=(--needs 3:exp/lexicon/lexicon.txt)
    if [[ ${durations} == measured ]]; then
      inputs+=(--durations exp/recognizer/durations.txt)
      needs+=(--needs 5:exp/recognizer/durations.txt)
    fi
  fi
}
