#!/usr/bin/env bash
# Stage 1: recordings to Kaldi data directories. As it stands, --corpus DIR is a folder with
#   DIR/PART/SPEAKER-NAME.wav    a recording of one utterance (.wav, .flac, .mp3, .ogg, .opus)
#   DIR/PART/text                lines "SPEAKER-NAME WORDS": its transcript, in the language of --lang
#   DIR/text/*.txt               unpaired text (or another place, --text_corpus)
# Parts whose speech alone is used need no transcripts. A part can be of any name but text.
#
# The contract, for a corpus that looks different: the options below are what the driver gives to this
# script (any others come through its --data_opts). It makes data directories with wav.scp, utt2spk,
# spk2utt and text, sorted in the C locale, the speaker a prefix of the utterance id (and segments,
# where utterances are parts of long recordings):
#   data/paired    recordings with transcripts, for the recogniser and for fine-tuning
#   data/finetune  the same, where --finetune_parts are given: then fine-tuning is on these alone
#   data/speech    recordings for pre-training; needs no text
#   data/dev       recordings with transcripts, for validation
#   data/PART      one for each test part
# whose transcripts have A to Z, apostrophes and spaces only (in other languages small letters,
# apostrophes and spaces); any sample rate will do (stage 2 makes 16 kHz, one channel). And
# data/text/unpaired.txt: text of the same kind, a sentence a line.
set -euo pipefail

# <options>
dry_run=false        # only say what would run
corpus=              # folder of the recordings
paired_parts=        # its parts with transcripts
finetune_parts=      # parts with transcripts for fine-tuning, where they are others
speech_parts=        # parts whose speech alone is used
dev_parts=           # parts for validation
test_parts=          # parts to be tested, each a set of its own
text_corpus=         # unpaired text: files, or folders of *.txt; without it DIR/text
lang=en              # code of the language of transcripts and text
max_bad_share=0.1    # stop if more of a part is wrong
# </options>

# shellcheck source=../../TEMPLATE/path.sh
. ../TEMPLATE/path.sh
# shellcheck source=../../../tools/parse_options.sh
. parse_options.sh
current=1
# shellcheck source=../../TEMPLATE/steps.sh
. ../TEMPLATE/steps.sh

# prepare SET "PARTS" [further options]: parts of the corpus to data/SET.
prepare() {
  local set=$1 parts part folders=()
  read -ra parts <<< "$2"
  ((${#parts[@]})) || die "no part is named for data/${set}: --${set}_parts is empty"
  for part in "${parts[@]}"; do folders+=("${corpus}/${part}"); done
  step "data ${set}" --output "data/${set}" --needs "${folders[@]}" -- \
    python -m speechlm.bin.prepare_recordings --corpus "${corpus}" --parts "${parts[@]}" \
    --language "${lang}" --max_bad_share "${max_bad_share}" --output "data/${set}" "${@:3}"
}

[[ -n ${corpus} ]] || ${listing} || die "--corpus, the folder of the recordings, is needed"
read -ra tests <<< "${test_parts}"
read -ra texts <<< "${text_corpus}"
[[ ! -e ${text_corpus} ]] || texts=("${text_corpus}") # one path, which may have spaces
[[ -n ${text_corpus} ]] || texts=("${corpus}/text")

prepare paired "${paired_parts}"
[[ -z ${finetune_parts} ]] || prepare finetune "${finetune_parts}"
prepare speech "${speech_parts}" --without_text
prepare dev "${dev_parts}"
for part in "${tests[@]}"; do prepare "${part}" "${part}"; done
step "unpaired text" --output data/text/unpaired.txt --needs "${texts[@]}" -- \
  python -m speechlm.bin.normalize_text --input "${texts[@]}" --kind lines --language "${lang}" \
  --output data/text/unpaired.txt
