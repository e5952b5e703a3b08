#!/usr/bin/env bash
# Stage 1: parts of LibriSpeech (or of a corpus in its layout) to data/paired, data/speech, data/dev and
# one folder for each test part, with --finetune_parts data/finetune too, and unpaired text to
# data/text/unpaired.txt; with --corpus_lm word models for decoding to data/lm. What is not given is
# downloaded from OpenSLR: resumable, with checksums.
# With --speech_corpus data/speech is of Libri-Light: parts of long recordings (data/speech/segments).
set -euo pipefail

# <options>
dry_run=false     # only say what would run
corpus=           # folder with the parts; without it they are downloaded into downloads/
paired_parts=     # parts with transcripts
finetune_parts=   # parts with transcripts for fine-tuning, where they are others
speech_parts=     # parts whose speech alone is used
speech_corpus=    # folder of these, in Libri-Light's layout: PART/SPEAKER/BOOK/NAME.flac and .json
dev_parts=        # parts for validation
test_parts=       # parts to be tested, each a set of its own
text_corpus=      # files, or folders of *.txt; without it LibriSpeech's language model text
max_bad_share=0.1 # stop if more of a set is wrong
corpus_lm=false   # n-grams and words of openslr.org/11 too (1.4 GB), for decoding
mirror=           # base URL to download from instead of openslr.org
text_kind=auto    # book (paragraphs between blank lines) or lines
segment_seconds=30.0 # Libri-Light: no segment is longer (s)
min_segment=2.0   # Libri-Light: shorter segments (s) are left out
max_pause=2.0     # Libri-Light: longer pauses (s) are in no segment
nj=16             # processes for Libri-Light
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
  for part in "${parts[@]}"; do folders+=("${corpus}/${part}"); done
  step "data ${set}" --output "data/${set}" --needs "${folders[@]}" -- \
    python -m speechlm.bin.prepare_librispeech --corpus "${corpus}" --parts "${parts[@]}" \
    --max_bad_share "${max_bad_share}" --output "data/${set}" "${@:3}"
}

# prepare_librilight: parts of Libri-Light to data/speech.
prepare_librilight() {
  local parts part folders=()
  read -ra parts <<< "${speech_parts}"
  for part in "${parts[@]}"; do folders+=("${speech_corpus}/${part}"); done
  step "data speech" --output data/speech --needs "${folders[@]}" -- \
    python -m speechlm.bin.prepare_librilight --corpus "${speech_corpus}" \
    --parts "${parts[@]}" --max_seconds "${segment_seconds}" --min_seconds "${min_segment}" \
    --max_pause "${max_pause}" --max_bad_share "${max_bad_share}" --nj "${nj}" --output data/speech
}

from=()
[[ -z ${mirror} ]] || from=(--mirror "${mirror}")
read -ra texts <<< "${text_corpus}"
[[ ! -e ${text_corpus} ]] || texts=("${text_corpus}") # one path, which may have spaces
read -ra tests <<< "${test_parts}"
if [[ -z ${corpus} ]]; then
  corpus=downloads/LibriSpeech
  wanted="${paired_parts} ${finetune_parts} ${dev_parts} ${test_parts}"
  [[ -n ${speech_corpus} ]] || wanted+=" ${speech_parts}"
  read -ra parts <<< "${wanted}"
  mapfile -t parts < <(printf '%s\n' "${parts[@]}" | sort -u)
  for part in "${parts[@]}"; do
    step "download ${part}" --output "${corpus}/${part}" -- \
      python -m speechlm.bin.download_librispeech --parts "${part}" --output downloads \
      "${from[@]}"
  done
fi

prepare paired "${paired_parts}"
[[ -z ${finetune_parts} ]] || prepare finetune "${finetune_parts}"
if [[ -n ${speech_corpus} ]]; then prepare_librilight; else
  prepare speech "${speech_parts}" --without_text
fi
prepare dev "${dev_parts}"
for part in "${tests[@]}"; do prepare "${part}" "${part}"; done

if [[ -z ${text_corpus} ]]; then
  texts=(downloads/librispeech-lm-norm.txt.gz)
  step "download text" --output "${texts[0]}" -- \
    python -m speechlm.bin.download_librispeech --text --output downloads "${from[@]}"
fi
step "unpaired text" --output data/text/unpaired.txt --needs "${texts[@]}" -- \
  python -m speechlm.bin.normalize_text --input "${texts[@]}" --kind "${text_kind}" \
  --output data/text/unpaired.txt

if ${corpus_lm}; then
  step "download word models" --output data/lm/decode_lm.arpa.gz \
    --also data/lm/decode_lexicon.txt --also data/lm/rescore_lm.arpa.gz -- \
    python -m speechlm.bin.download_librispeech --lm --output data/lm "${from[@]}"
fi
