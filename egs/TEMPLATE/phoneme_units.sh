#!/usr/bin/env bash
# Stage 6 for phoneme units, sourced by speechlm.sh: further labellings of the speech, each by a
# SpeechLM that was pre-trained with the one before. The first is the recogniser's (stage 5).

# shellcheck disable=SC2154  # options and helpers are speechlm.sh's
# <options>
# Phoneme units
phone_iterations=1         # labellings: by the recogniser, then by a SpeechLM that was pre-trained with
                           # the last one and the text
phone_network_share=0.5    # of the recogniser's scores beside those of the SpeechLM that labels
phone_iteration_args=      # further options for training these models, in place of pretrain_args
# </options>

check_phoneme() {
  [[ ${phone_iterations} =~ ^[1-9]$ ]] ||
    die "--phone_iterations is '${phone_iterations}'; it can be 1 to 9"
  [[ ${phone_network_share} =~ ^[0-9]+(\.[0-9]*)?$ ]] ||
    die "--phone_network_share is '${phone_network_share}'; it can be 0 or more"
}

# phone_labels TURN: the units of a labelling.
phone_labels() { if (($1 == 1)); then echo units_phone; else echo "units_phone_$1"; fi; }
phone_iteration() { echo "exp/phones_$1"; }

phoneme_6() {
  local turn set last
  if ((phone_iterations == 1)); then say "not needed with --phone_iterations 1"; fi
  for ((turn = 2; turn <= phone_iterations; turn++)); do
    last=$((turn - 1))
    train_phone_iteration "${last}"
    phone_scores "iteration ${last}" "$(phone_iteration "${last}")" "$(phone_labels "${last}")" \
      "${phone_network_share}"
    for set in speech dev; do label_phones "${set}" "${turn}"; done
  done
}

# train_phone_iteration TURN: a model on the labels of this turn and the text, which makes the next.
train_phone_iteration() {
  local conf more units options needs
  conf=${pretrain_config:-$(config "pretrain_${config_size}.yaml")}
  units=$(phone_labels "$1")
  mapfile -t options < <(phoneme_options speech_text)
  mapfile -t needs < <(phoneme_needs speech_text)
  read -ra more <<< "${phone_iteration_args}"
  train_widely "model for phones $(($1 + 1))" "$(phone_iteration "$1")" \
    --needs "${conf}" "dump/speech/${units}" "dump/dev/${units}" dump/text "${needs[@]}" -- \
    python -m speechlm.bin.pretrain --config "${conf}" --config_size "${config_size}" \
    --speech_dir dump/speech --dev_dir dump/dev --units "${units}" \
    --text dump/text/train.txt --dev_text dump/text/dev.txt "${options[@]}" \
    --output "$(phone_iteration "$1")" --seed "${seed}" --ngpu "${ngpu}" \
    --num_threads "${num_threads}" "${more[@]}"
}

# phone_scores NAME MODEL UNITS SHARE: a model in place of the recogniser's network, or beside a share of
# it: priors from the units that it was pre-trained with, the acoustic scale from dev.
phone_scores() {
  local rec=exp/recognizer lex=exp/lexicon/lexicon.txt network gpus
  network=${rec}/network_$((realign + 1)) gpus=$(gpus_of tune_phone_scores)
  step "phone scores of $1" --cmd "$(launcher_for "${gpus}")" --output "$2/phone_scores" \
    --needs "$2" "dump/speech/$3" "${rec}/gmm" "${network}" "${rec}/graph" "${lex}" dump/dev \
    "${rec}/speakers_dev" -- \
    python -m speechlm.bin.tune_phone_scores --speechlm "$2" --units "dump/speech/$3" \
    --model "${rec}/gmm" --phone_model "${network}" --graph "${rec}/graph" --lexicon "${lex}" \
    --data_dir dump/dev --speakers "${rec}/speakers_dev" --network_share "$4" \
    --ngpu "${gpus}" --output "$2/phone_scores"
}

# phone_decoder MODEL SET GRAPH: decode_phones with its options, a word a line; the parts are JOBs.
phone_decoder() {
  printf '%s\n' python -m speechlm.bin.decode_phones --data_dir "{split}/JOB" \
    --model exp/recognizer/gmm --lexicon exp/lexicon/lexicon.txt --graph "$3" \
    --phone_model "exp/recognizer/network_$((realign + 1))" --speechlm "$1" \
    --phone_scores "$1/phone_scores" --speakers "exp/recognizer/speakers_$2" --job JOB
}

# phone_decoder_needs MODEL SET GRAPH: what it reads, a word a line.
phone_decoder_needs() {
  printf '%s\n' exp/lexicon/lexicon.txt "exp/recognizer/speakers_$2" \
    "exp/recognizer/network_$((realign + 1))" "$3" "$1" "$1/phone_scores"
}

# label_phones SET TURN: units of a data directory by the model of the turn before.
label_phones() {
  local output model gpus decoder needs
  model=$(phone_iteration $(($2 - 1))) output=dump/$1/$(phone_labels "$2")
  gpus=$(gpus_of decode_phones)
  mapfile -t decoder < <(phone_decoder "${model}" "$1" exp/recognizer/graph)
  mapfile -t needs < <(phone_decoder_needs "${model}" "$1" exp/recognizer/graph)
  parallel "phones $2 of $1" "dump/$1" "${output}" --cmd "$(launcher_for "${gpus}")" \
    --needs "${needs[@]}" -- \
    "${decoder[@]}" --ngpu "${gpus}" --output "${output}" ++ \
    python -m speechlm.bin.merge_units --input "${output}" --n "{nj}" --data "dump/$1"
}

# decode_with_phones SYSTEM TEST: words of a pre-trained model that is not fine-tuned. Behind
# decode_with_hmm, which makes the graph and the speakers.
decode_with_phones() {
  local model output decoder needs
  model=$(pretrained "$1") output=$(pretrained "$1")/decode_$2_phones
  mapfile -t decoder < <(phone_decoder "${model}" "$2" "$(hmm_graph)")
  mapfile -t needs < <(phone_decoder_needs "${model}" "$2" "$(hmm_graph)")
  parallel "decode $2 with the phones of $1" "dump/$2" "${output}" --cmd "${decode_cmd}" \
    --needs "${needs[@]}" -- \
    "${decoder[@]}" --ngpu "$(gpus_of decode_phones)" --output "${output}/units" \
    --text "${output}/parts/JOB" ++ \
    python -m speechlm.bin.merge_text --input "${output}/parts/JOB" --output "${output}"
}

# phoneme_units, phoneme_options SYSTEM, phoneme_needs SYSTEM: the units of speech, what pretrain is
# told besides, and the files that are in it, a word a line.
phoneme_units() { phone_labels "${phone_iterations}"; }

phoneme_options() {
  if ! is "$1" text; then return; fi
  printf '%s\n' --lexicon exp/lexicon/lexicon.txt
  [[ ${durations} != measured ]] || printf '%s\n' --durations exp/recognizer/durations.txt
}

# phoneme_durations SYSTEM: what plot_durations makes units of text from.
phoneme_durations() {
  printf '%s\n' --text "$(text_folder)/train.txt" --model "$(pretrained "$1")"
  phoneme_options "$1"
}

phoneme_needs() {
  if ! is "$1" text; then return; fi
  echo exp/lexicon/lexicon.txt
  [[ ${durations} != measured ]] || echo exp/recognizer/durations.txt
}
