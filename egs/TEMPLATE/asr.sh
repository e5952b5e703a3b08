#!/usr/bin/env bash
# Recognition (--task asr), sourced by speechlm.sh: fine-tuning with CTC; decoding greedily, with an
# n-gram and with a Transformer; error rates of each.

# shellcheck disable=SC2154  # options and helpers are speechlm.sh's
# <options>
# Recognition
lm=ngram                   # what is decoded with beside greedily: none, ngram, or transformer (ngram
                           # first, then a Transformer of words puts its n-best lists in order; with
                           # --search flashlight it is in the search, with the paper's weights)
decode_lm=                 # n-gram of the decoding graph, an ARPA file or its .gz, in place of a trained one
decode_lexicon=            # its words: a list, or a lexicon with letters (.lst) or phones; if empty,
                           # those of stage 3's lexicon
decode_lm_order=           # the trained one's order; none: stage 3's word model is taken
decode_lm_prune=           # counts up to which its n-grams are left out, a number an order: "0 0 1"
rescore_lm=                # larger n-gram that rescores the n-best lists: ARPA, .gz or KenLM binary
corpus_lm=false            # where these three are not given, those that belong to the corpus
                           # (egs/librispeech: pruned 3-gram, 200,000 words, 4-gram; 1.4 GB)
lm_config=                 # another YAML file for the Transformer
lm_args=                   # further options for it, such as "--max_epoch 3"
search=graph               # graph, or flashlight, the paper's decoder (slower, and so is its tuning)
lm_weight=                 # of log10 P(words); these three are tuned on dev where they are not given
word_score=                # added for each word
blank_score=               # subtracted for each frame of blank
search_args=               # further options of decode_ctc for the search, such as "--search_beam 14"
nbest=100                  # sentences of an n-best list
paper_decoding=false       # a further row: flashlight with the paper's weights and beam, nothing tuned, and
                           # the n-gram of --rescore_lm if there is one
kept_results=              # a table of other runs' results (egs/mini/local/kept_results.tsv is one), rows of the
                           # report that are marked as such
# </options>

hmm=HMM # the phone recogniser with the same word model, as a system: what there is without SpeechLM

check_asr() {
  local option
  [[ ${lm} =~ ^(none|ngram|transformer)$ ]] ||
    die "--lm is '${lm}'; it can be none, ngram or transformer"
  [[ ${search} =~ ^(graph|flashlight)$ ]] ||
    die "--search is '${search}'; it can be graph or flashlight"
  for option in decode_lm decode_lexicon rescore_lm lm_config kept_results; do
    [[ -z ${!option} || -f ${!option} ]] || ${dry_run} ||
      die "--${option} is '${!option}', which is no file"
  done
  if ${corpus_lm}; then
    asr_wants_words || die "--corpus_lm is for decoding with words, and --lm is none"
    use_corpus_lm
  fi
  [[ -z ${decode_lm} || -z ${decode_lm_order}${decode_lm_prune} ]] ||
    die "--decode_lm is a finished n-gram; --decode_lm_order and --decode_lm_prune are for a trained one"
  for option in lm_weight word_score blank_score; do
    [[ ${!option} =~ ^(-?([0-9]+(\.[0-9]*)?|\.[0-9]+))?$ ]] ||
      die "--${option} is '${!option}'; a number is wanted, or nothing: tuned on dev"
  done
  [[ -z ${lm_weight} || ! ${lm_weight} =~ ^(-.*|[0.]+)$ ]] ||
    die "--lm_weight is '${lm_weight}'; a number above 0 is wanted (--lm none is without one)"
  ((nbest >= 2)) || die "--nbest is '${nbest}'; it can be 2 or more"
}

# use_corpus_lm: stage 1 makes these files.
use_corpus_lm() {
  decode_lm=${decode_lm:-data/lm/decode_lm.arpa.gz}
  decode_lexicon=${decode_lexicon:-data/lm/decode_lexicon.txt}
  rescore_lm=${rescore_lm:-data/lm/rescore_lm.arpa.gz}
}

# asr_wants_words: whether stage 13 wants a word model.
asr_wants_words() { [[ ${lm} != none ]]; }

# asr_model SYSTEM
asr_model() { echo "exp/asr_$1$(variant "$1")${finetune_tag:+_${finetune_tag}}"; }

asr_11() { side_by_side finetune_asr "${inits[@]}"; }

# finetune_asr SYSTEM: on the paired set, or on one of its own.
finetune_asr() {
  local output conf from more set=paired
  if finetunes_apart; then set=finetune; fi
  conf=${finetune_config:-$(config "${size_finetune[${config_size}]}")}
  read -ra more <<< "${finetune_args}"
  output=$(asr_model "$1") from=$(initial "$1")
  train_widely "fine-tune $1" "${output}" \
    --needs "${conf}" "dump/${set}" dump/dev ${from:+"${from}"} -- \
    python -m speechlm.bin.finetune_asr --config "${conf}" --config_size "${config_size}" \
    --train_dir "dump/${set}" --dev_dir dump/dev ${from:+--init "${from}"} --output "${output}" \
    --seed "${seed}" --ngpu "${ngpu}" --num_threads "${num_threads}" "${more[@]}"
}

# The words and the n-gram of the decoding graph: given, trained for it, or stage 3's.
words() { echo "${decode_lexicon:-exp/lexicon/words.txt}"; }
ngram() {
  if [[ -n ${decode_lm} ]]; then echo "${decode_lm}"; return; fi
  if [[ -n ${decode_lm_order}${decode_lm_prune} ]]; then echo exp/decode_lm/lm.arpa; return; fi
  echo exp/word_lm/lm.arpa
}
graph=exp/decoding_graph
transformer=exp/lm_transformer

asr_12() {
  local prune
  if ! asr_wants_words; then
    say "not needed with --lm none"
    return
  fi
  if [[ $(ngram) == exp/decode_lm/* ]]; then
    read -ra prune <<< "${decode_lm_prune}"
    step "n-gram for decoding" --output exp/decode_lm/lm.arpa --needs dump/text "$(words)" -- \
      python -m speechlm.bin.train_ngram --text dump/text/train.txt --vocabulary "$(words)" \
      --order "${decode_lm_order:-${lm_order}}" ${prune[0]+--prune "${prune[@]}"} \
      --output exp/decode_lm/lm.arpa
  fi
  step "decoding graph" --output "${graph}" --needs "$(ngram)" "$(words)" -- \
    python -m speechlm.bin.make_ctc_graph --lm "$(ngram)" --lexicon "$(words)" --output "${graph}"
  if [[ ${lm} == transformer ]]; then train_transformer; fi
}

# train_transformer: of words. It needs none of the models of speech.
train_transformer() {
  local conf more
  conf=${lm_config:-$(config "${size_lm[${config_size}]}")}
  read -ra more <<< "${lm_args}"
  train "word Transformer" "${transformer}" --needs "${conf}" dump/text "$(words)" -- \
    python -m speechlm.bin.train_lm --config "${conf}" --text dump/text/train.txt \
    --dev_text dump/text/dev.txt --lexicon "$(words)" --output "${transformer}" \
    --seed "${seed}" --ngpu "${ngpu}" --num_threads "${num_threads}" "${more[@]}"
}

# asr_beside: what can be trained beside the pre-trainings where the run comes to stage 12.
asr_beside() {
  if ((stop_stage >= 12)) && [[ ${lm} == transformer ]]; then echo train_transformer; fi
}

asr_13() {
  local system test
  for system in "${inits[@]}"; do decode_system "${system}"; done
  if asr_wants_words && rescores; then side_by_side rescore_system "${inits[@]}"; fi
  if ! asr_wants_words || ! any pretrained; then return; fi
  for test in "${tests[@]}"; do decode_with_hmm "${test}"; done
  for system in $(chosen pretrained phoneme); do decode_phones_of "${system}"; done
}

# decode_phones_of SYSTEM: the pre-trained model's phones, with nothing fine-tuned.
decode_phones_of() {
  local test
  phone_scores "$1" "$(pretrained "$1")" "$(phoneme_units)" 0
  for test in "${tests[@]}"; do decode_with_phones "$1" "${test}"; done
}

# decode_system SYSTEM: greedily, and with words.
decode_system() {
  local test
  for test in $(decoded_sets); do write_emissions "$1" "${test}"; done
  for test in "${tests[@]}"; do decode_greedily "$1" "${test}"; done
  if asr_wants_words; then decode_with_words "$1"; fi
}

# decoded_sets: the test sets, and dev if weights are tuned.
decoded_sets() {
  if asr_wants_words; then echo dev; fi
  printf '%s\n' "${tests[@]}"
}

# write_emissions SYSTEM SET: the network's log-probabilities, once for all that follows.
write_emissions() {
  local model output
  model=$(asr_model "$1") output=$(asr_model "$1")/emissions_$2
  parallel "emissions of $2 with $1" "dump/$2" "${output}" --cmd "${decode_cmd}" \
    --needs "${model}" -- \
    python -m speechlm.bin.emissions --model "${model}" --data_dir "{split}/JOB" \
    --ngpu "$(gpus_of emissions)" --output "${output}" --job JOB ++ \
    python -m speechlm.bin.merge_units --input "${output}" --n "{nj}" --name emissions
}

# decode NAME SYSTEM SET OUTPUT [INPUT...] -- [options of decode_ctc]: in parallel jobs.
decode() {
  local name=$1 set=$3 output=$4 needs=() emissions
  emissions=$(asr_model "$2")/emissions_$3
  shift 4
  while [[ $1 != -- ]]; do needs+=("$1") && shift; done
  shift
  parallel "${name}" "dump/${set}" "${output}" --cmd "${decode_cmd}" \
    --needs "${emissions}" "${needs[@]}" -- \
    python -m speechlm.bin.decode_ctc --emissions "${emissions}" --data_dir "{split}/JOB" \
    --output "${output}/parts/JOB" "$@" ++ \
    python -m speechlm.bin.merge_text --input "${output}/parts/JOB" --output "${output}"
}

decode_greedily() { decode "decode $2 with $1" "$1" "$2" "$(asr_model "$1")/decode_$2" --; }

# search_options: how the graph, or flashlight, is searched, a word a line.
search_options() {
  local more
  read -ra more <<< "${search_args}"
  printf '%s\n' --graph "${graph}" --search "${search}" "${more[@]}"
}

# decode_with_words SYSTEM: weights from dev, then the test sets; then with larger models.
decode_with_words() {
  local model tuned test options given=()
  model=$(asr_model "$1") tuned=$(asr_model "$1")/tune_ngram
  mapfile -t options < <(search_options)
  [[ -z ${lm_weight} ]] || given+=(--lm_weight "${lm_weight}")
  [[ -z ${word_score} ]] || given+=(--word_score "${word_score}")
  [[ -z ${blank_score} ]] || given+=(--blank_score "${blank_score}")
  step "weights of ngram for $1" --cmd "${decode_cmd}" --output "${tuned}" \
    --needs "${model}/emissions_dev" dump/dev "${graph}" -- \
    python -m speechlm.bin.tune_ctc --emissions "${model}/emissions_dev" --data_dir dump/dev \
    --output "${tuned}" --nj "${nj}" "${options[@]}" "${given[@]}"
  for test in $(rescores && echo dev) "${tests[@]}"; do
    decode "decode ${test} with $1 and ngram" "$1" "${test}" "${model}/decode_${test}_ngram" \
      "${graph}" "${tuned}" -- "${options[@]}" --tuned "${tuned}/weights.json" --nbest "${nbest}"
  done
  if [[ ${lm} == transformer && ${search} != graph ]]; then decode_in_one_pass "$1"; fi
  if ${paper_decoding}; then decode_as_the_paper "$1"; fi
}

# rescore_system SYSTEM: its n-best lists with larger models, each a single job.
rescore_system() {
  if [[ -n ${rescore_lm} ]]; then rescore "$1" large "${rescore_lm}"; fi
  if [[ ${lm} == transformer && ${search} == graph ]]; then
    rescore "$1" transformer "${transformer}"
  fi
}

# rescores: whether n-best lists are rescored, with weights from dev.
rescores() { [[ -n ${rescore_lm} || (${lm} == transformer && ${search} == graph) ]]; }

# rescore SYSTEM NAME LM: the n-best lists of the n-gram, in another order.
rescore() {
  local model test tuned gpus=0
  if [[ $2 == transformer ]]; then gpus=$(gpus_of rescore); fi
  model=$(asr_model "$1") tuned=$(asr_model "$1")/tune_$2
  step "weights of $2 for $1" --cmd "${decode_cmd}" --output "${tuned}" \
    --needs "${model}/decode_dev_ngram" dump/dev/text "$3" -- \
    python -m speechlm.bin.tune_rescoring --nbest "${model}/decode_dev_ngram" --ref dump/dev/text \
    --lm "$3" --ngpu "${gpus}" --output "${tuned}"
  for test in "${tests[@]}"; do
    step "decode ${test} with $1 and $2" --cmd "${decode_cmd}" \
      --output "${model}/decode_${test}_$2" \
      --needs "${model}/decode_${test}_ngram" "${tuned}" "$3" -- \
      python -m speechlm.bin.rescore --nbest "${model}/decode_${test}_ngram" --lm "$3" \
      --tuned "${tuned}/weights.json" --ngpu "${gpus}" --output "${model}/decode_${test}_$2"
  done
}

# decode_in_one_pass SYSTEM: flashlight with the Transformer in its search, as the paper has it.
decode_in_one_pass() {
  local test
  for test in "${tests[@]}"; do
    decode "decode ${test} with $1 and transformer" "$1" "${test}" \
      "$(asr_model "$1")/decode_${test}_transformer" "${graph}" "${transformer}" -- \
      --graph "${graph}" --search flashlight --paper --neural_lm "${transformer}"
  done
}

# decode_as_the_paper SYSTEM: flashlight, beam 1500, weights 2 and -1, no blank score; with the larger
# n-gram if one is given.
decode_as_the_paper() {
  local test
  for test in "${tests[@]}"; do
    decode "decode ${test} with $1 as the paper" "$1" "${test}" \
      "$(asr_model "$1")/decode_${test}_paper" "${graph}" ${rescore_lm:+"${rescore_lm}"} -- \
      --graph "${graph}" --search flashlight --paper ${rescore_lm:+--ngram "${rescore_lm}"}
  done
}

# hmm_graph: the recogniser's own, or one of the n-gram that is given for decoding.
hmm_graph() {
  if [[ $(ngram) == exp/word_lm/* ]]; then echo exp/recognizer/graph; else
    echo exp/recognizer/graph_decoding
  fi
}

# make_hmm_graph NETWORK OUTPUT: with the n-gram for decoding.
make_hmm_graph() {
  local lex=exp/lexicon/lexicon.txt
  step "graph of HMM for decoding" --output "$2" \
    --needs "$(ngram)" "${lex}" "$1" -- \
    python -m speechlm.bin.make_graph --lm "$(ngram)" --lexicon "${lex}" --phone_model "$1" \
    --output "$2"
}

# decode_with_hmm TEST: the recogniser of stage 4, with the same n-gram.
decode_with_hmm() {
  local rec=exp/recognizer lex=exp/lexicon/lexicon.txt network output=exp/hmm/decode_$1_ngram
  local hmm_graph tuned=exp/recognizer/graph/search.json
  hmm_graph=$(hmm_graph) network=${rec}/network_$((realign + 1))
  if [[ ${hmm_graph} != "${rec}/graph" ]]; then make_hmm_graph "${network}" "${hmm_graph}"; fi
  parallel "speakers of $1" "dump/$1" "${rec}/speakers_$1" --cmd "${decode_cmd}" \
    --needs "${lex}" "${rec}/gmm" "${network}" "${rec}/graph" "${rec}/graph/search.json" -- \
    python -m speechlm.bin.adapt_speakers --data_dir "dump/$1" --model "${rec}/gmm" \
    --lexicon "${lex}" --graph "${rec}/graph" --phone_model "${network}" \
    --max_seconds "${adapt_seconds}" --output "${rec}/speakers_$1" --job JOB --n_jobs "{nj}"
  parallel "decode $1 with HMM and ngram" "dump/$1" "${output}" --cmd "${decode_cmd}" \
    --needs "${lex}" "${rec}/speakers_$1" "${network}" "${hmm_graph}" "${tuned}" -- \
    python -m speechlm.bin.decode_phones --data_dir "{split}/JOB" --model "${rec}/gmm" \
    --lexicon "${lex}" --graph "${hmm_graph}" --tuned "${tuned}" --phone_model "${network}" \
    --speakers "${rec}/speakers_$1" --output "${output}/units" --job JOB \
    --text "${output}/parts/JOB" ++ \
    python -m speechlm.bin.merge_text --input "${output}/parts/JOB" --output "${output}"
}

# decodings: how this run's systems are decoded, a word a line.
decodings() {
  echo greedy
  if ! asr_wants_words; then return; fi
  if ${paper_decoding}; then echo paper; fi
  echo ngram
  if [[ -n ${rescore_lm} ]]; then echo large; fi
  if [[ ${lm} == transformer ]]; then echo transformer; fi
}

asr_14() {
  local system test decoding folder scores=() reports=() audio
  for system in "${inits[@]}"; do
    for test in "${tests[@]}"; do
      for decoding in $(decodings); do
        folder=$(asr_model "${system}")/decode_${test}
        if [[ ${decoding} != greedy ]]; then folder+=_${decoding}; fi
        score "${system}" "${decoding}" "${test}" "${folder}"
      done
    done
  done
  if asr_wants_words && any pretrained; then
    for test in "${tests[@]}"; do
      score "${hmm}" ngram "${test}" "exp/hmm/decode_${test}_ngram"
      for system in $(chosen pretrained phoneme); do
        score "${system}" phones "${test}" "$(pretrained "${system}")/decode_${test}_phones"
      done
    done
  fi
  mapfile -t reports < <(unit_reports)
  audio=$(for test in "${tests[@]}"; do echo "${test}:dump/${test}"; done)
  write_report "${audio}" "${scores[@]}" -- --baseline "${hmm}" \
    ${kept_results:+--kept "${kept_results}"} --include "${reports[@]}"
}

# asr_pictures: fine-tuning, and the weights of decoding.
asr_pictures() {
  local system curves=() needs=() tunings=()
  for system in "${inits[@]}"; do
    curves+=("${system}:$(asr_model "${system}")") needs+=("$(asr_model "${system}")")
    tunings+=("${system}:$(asr_model "${system}")/tune_ngram")
  done
  draw finetuning --needs "${needs[@]}" -- python -m speechlm.bin.plot_curves \
    --curves "${curves[@]}" --values cer_ctc wer_ctc --x updates \
    --title "Learning curves of fine-tuning"
  if ! asr_wants_words; then
    without "weights of decoding" "--lm none has none"
  elif [[ -n ${lm_weight} && -n ${word_score} && -n ${blank_score} ]]; then
    without "weights of decoding" "they were given"
  else
    draw tuning --needs "${tunings[@]#*:}" -- \
      python -m speechlm.bin.plot_tuning --tunings "${tunings[@]}"
  fi
}

# score SYSTEM DECODING TEST FOLDER: adds to the array scores.
score() {
  local more=() known=() file
  if asr_wants_words; then
    known=("${graph}/words.txt")
    if [[ $1 == "${hmm}" || $2 == phones ]]; then known=("$(hmm_graph)/words.txt"); fi
    more+=(--lexicon "${known[0]}")
  fi
  for file in nbest:nbest.tsv search:search.json; do
    if [[ -f $4/${file#*:} ]]; then more+=("--${file%:*}" "$4/${file#*:}"); fi
  done
  step "score $3 with $1 and $2" --output "$4/score" \
    --needs "$4" "dump/$3/text" "dump/$3/utt2spk" "${known[@]}" -- \
    python -m speechlm.bin.score --name "$3" --ref "dump/$3/text" --hyp "$4/text" \
    --output "$4/score" "${more[@]}"
  scores+=("$1:$2:$3:$4/score")
}
