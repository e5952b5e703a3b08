#!/usr/bin/env bash
# Stages 4 and 5 of speechlm.sh, which sources this: the phone recogniser and the units it decodes.

# shellcheck disable=SC2154  # options and helpers are speechlm.sh's
# <options>
# Phone recogniser
speeds="0.9 1.0 1.1"       # copies of the paired audio at these speeds train its network; those of other
                           # speeds than 1.0 have made-up sounds in pauses, so that it knows noise
realign=1                  # times that the network aligns again and is trained again
gmm_args=                  # further options of train_gmm
phone_model_config=        # another YAML file for its network
phone_model_args=          # further options for its network, such as "--max_epoch 4"
adapt_seconds=120          # seconds of each speaker's speech, at most, from which the recogniser is adapted
                           # to that speaker
dev_textgrids=             # folder of TextGrids of dev utterances: the recogniser is compared with them
durations=paper            # of units made from text: the paper's constants, or measured on alignments
# </options>

check_recognizer() {
  [[ -z ${dev_textgrids} || -d ${dev_textgrids} ]] ||
    die "--dev_textgrids is '${dev_textgrids}', which is no folder"
  [[ ${durations} =~ ^(paper|measured)$ ]] ||
    die "--durations is '${durations}'; it can be paper or measured"
  [[ ${speeds} =~ ^[0-9.\ ]+$ && " ${speeds} " == *" 1.0 "* ]] ||
    die "--speeds is '${speeds}'; numbers are wanted, 1.0 must be among them"
}

alignments() { echo "exp/recognizer/align_$((realign + 1))_sp1.0"; }

# The Gaussians and the networks are trained with the words whose pronunciation is known; the others,
# which a network has guessed, are noise to them. Decoding knows all words, and noise.
# Flat start and speaker-adapted Gaussians; alignments at several speeds; a network trained on them;
# alignments by the network and a network trained on those; the search graph, its scale and noise.
stage_4() {
  pretrains || return 0
  local rec=exp/recognizer lex=exp/lexicon/lexicon.txt known=exp/lexicon/known.txt turn more
  read -ra more <<< "${gmm_args}"
  step "Gaussian models" --output "${rec}/gmm" --needs dump/paired "${known}" -- \
    python -m speechlm.bin.train_gmm --data_dir dump/paired --lexicon "${known}" \
    --output "${rec}/gmm" "${more[@]}"
  for ((turn = 1; turn <= realign + 1; turn++)); do
    align_paired "${turn}"
    train_network "${turn}"
  done
  turn=$((realign + 1))
  step "search graph" --output "${rec}/graph" \
    --needs exp/word_lm/lm.arpa "${lex}" "${rec}/network_${turn}" -- \
    python -m speechlm.bin.make_graph --lm exp/word_lm/lm.arpa --lexicon "${lex}" \
    --phone_model "${rec}/network_${turn}" --output "${rec}/graph"
  step "values of the search" --output "${rec}/graph/search.json" \
    --needs "${rec}/graph" "${rec}/network_${turn}" "${rec}/classes_${turn}" dump/paired \
    "${known}" -- \
    python -m speechlm.bin.tune_decoding --data_dir dump/paired --lexicon "${known}" \
    --net_data "${rec}/classes_${turn}" --phone_model "${rec}/network_${turn}" \
    --graph "${rec}/graph"
}

# align_paired TURN: alignments of the paired audio at all speeds, by the Gaussians in the first turn,
# by the last turn's network in later ones.
align_paired() {
  local turn=$1 rec=exp/recognizer lex=exp/lexicon/known.txt network="" speed name joins
  ((turn == 1)) || network=${rec}/network_$((turn - 1))
  for speed in ${speeds}; do
    local speakers=${rec}/speakers_sp${speed} output=${rec}/align_${turn}_sp${speed}
    parallel "speakers at speed ${speed}" dump/paired "${speakers}" \
      --needs "${rec}/gmm" "${lex}" -- \
      python -m speechlm.bin.adapt_speakers --data_dir dump/paired --model "${rec}/gmm" \
      --lexicon "${lex}" --speed "${speed}" --max_seconds "${adapt_seconds}" \
      --output "${speakers}" --job JOB --n_jobs "{nj}"
    joins=()
    for name in units feats states; do
      joins+=(++ python -m speechlm.bin.merge_units --input "${output}" --n "{nj}" --name "${name}")
    done
    parallel "alignment ${turn} at speed ${speed}" dump/paired "${output}" \
      --needs "${rec}/gmm" "${lex}" "${speakers}" ${network:+"${network}"} -- \
      python -m speechlm.bin.align --data_dir "{split}/JOB" --model "${rec}/gmm" \
      --speakers "${speakers}" --lexicon "${lex}" --speed "${speed}" --features \
      --output "${output}" --job JOB ${network:+--phone_model "${network}"} "${joins[@]}"
  done
}

# train_network TURN: the recogniser's network, on the alignments of the same turn.
train_network() {
  local turn=$1 rec=exp/recognizer speed conf more align=() before=() classes=()
  conf=${phone_model_config:-$(config phone_model.yaml)}
  read -ra more <<< "${phone_model_args}"
  for speed in ${speeds}; do align+=("${rec}/align_${turn}_sp${speed}"); done
  if ((turn > 1)); then
    before=("${rec}/classes_$((turn - 1))")
    classes=(--classes_from "${before[0]}/classes.npz")
  fi
  step "network data ${turn}" --output "${rec}/classes_${turn}" \
    --needs "${align[@]}" "${before[@]}" -- \
    python -m speechlm.bin.make_phone_classes --align "${align[@]}" \
    --output "${rec}/classes_${turn}" "${classes[@]}"
  train "network ${turn}" "${rec}/network_${turn}" --training "${rec}/network_${turn}_train" \
    --needs "${rec}/classes_${turn}" "${conf}" -- \
    python -m speechlm.bin.train_phone_model --data "${rec}/classes_${turn}" \
    --output "${rec}/network_${turn}" --config "${conf}" --ngpu "${ngpu}" \
    --num_threads "${num_threads}" "${more[@]}"
}

stage_5() {
  pretrains || return 0
  local rec=exp/recognizer lex=exp/lexicon/lexicon.txt set sets=()
  local network=${rec}/network_$((realign + 1)) search=${rec}/graph/search.json
  if any phoneme; then sets=(speech dev); elif [[ -n ${dev_textgrids} ]]; then sets=(dev); fi
  for set in "${sets[@]}"; do
    parallel "speakers of ${set}" "dump/${set}" "${rec}/speakers_${set}" \
      --needs "${lex}" "${rec}/gmm" "${network}" "${search}" -- \
      python -m speechlm.bin.adapt_speakers --data_dir "dump/${set}" --model "${rec}/gmm" \
      --lexicon "${lex}" --graph "${rec}/graph" --phone_model "${network}" \
      --max_seconds "${adapt_seconds}" --output "${rec}/speakers_${set}" --job JOB --n_jobs "{nj}"
    parallel "units of ${set}" "dump/${set}" "dump/${set}/units_phone" \
      --needs "${lex}" "${rec}/speakers_${set}" "${network}" "${search}" -- \
      python -m speechlm.bin.decode_phones --data_dir "{split}/JOB" --model "${rec}/gmm" \
      --lexicon "${lex}" --graph "${rec}/graph" --phone_model "${network}" \
      --speakers "${rec}/speakers_${set}" --output "dump/${set}/units_phone" --job JOB ++ \
      python -m speechlm.bin.merge_units --input "dump/${set}/units_phone" --n "{nj}" \
      --data "dump/${set}"
  done
  if [[ -n ${dev_textgrids} ]]; then compare_dev "${network}"; fi
  step "durations of phones" --output "${rec}/durations.txt" --needs "$(alignments)" -- \
    python -m speechlm.bin.estimate_durations --units "$(alignments)" \
    --output "${rec}/durations.txt"
}

# compare_dev NETWORK: units of dev, decoded and by alignment of the transcripts, against TextGrids.
compare_dev() {
  local network=$1 rec=exp/recognizer lex=exp/recognizer/lexicon_dev/lexicon.txt
  step "lexicon of dev" --output "${lex}" --needs dump/dev/text ${lexicon:+"${lexicon}"} -- \
    python -m speechlm.bin.make_lexicon --text dump/dev/text ${lexicon:+--lexicon "${lexicon}"} \
    --output "${rec}/lexicon_dev"
  parallel "speakers of dev by transcripts" dump/dev "${rec}/speakers_dev_text" \
    --needs "${lex}" "${rec}/gmm" -- \
    python -m speechlm.bin.adapt_speakers --data_dir dump/dev --model "${rec}/gmm" \
    --lexicon "${lex}" --max_seconds "${adapt_seconds}" \
    --output "${rec}/speakers_dev_text" --job JOB --n_jobs "{nj}"
  parallel "alignment of dev" dump/dev "${rec}/align_dev" \
    --needs "${lex}" "${rec}/speakers_dev_text" "${network}" -- \
    python -m speechlm.bin.align --data_dir "{split}/JOB" --model "${rec}/gmm" \
    --speakers "${rec}/speakers_dev_text" --lexicon "${lex}" --phone_model "${network}" \
    --output "${rec}/align_dev" --job JOB ++ \
    python -m speechlm.bin.merge_units --input "${rec}/align_dev" --n "{nj}"
  step "report on dev" --output "${rec}/report.md" \
    --needs "${rec}/align_dev" dump/dev/units_phone "${dev_textgrids}" -- \
    python -m speechlm.bin.alignment_report --textgrids "${dev_textgrids}" \
    --units "aligned:${rec}/align_dev" decoded:dump/dev/units_phone --output "${rec}/report.md"
}

# recognizer_reports: what stage 5 has measured, a TITLE:FILE a line.
recognizer_reports() {
  if [[ -z ${dev_textgrids} ]] || ! any pretrained; then return; fi
  echo "Phone recogniser against the TextGrids of dev:exp/recognizer/report.md"
}
