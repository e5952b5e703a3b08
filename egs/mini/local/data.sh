#!/usr/bin/env bash
# Stage 1: makes a corpus in LibriSpeech's layout with espeak-ng, and reads it as LibriSpeech is read.
set -euo pipefail

# <options>
dry_run=false             # only say what would run
corpus=                   # a corpus made before; without it one is made in data/corpus
paired_parts=             # parts with transcripts
speech_parts=             # parts whose speech alone is used
dev_parts=                # parts for validation
test_parts=               # parts to be tested, each a set of its own
text_corpus=              # text; without it the corpus's own
max_bad_share=0.1         # stop if more of a set is wrong
paired=300                # utterances with transcripts
unpaired=1500             # utterances of speech alone
dev=100                   # utterances for validation
test=200                  # utterances to be tested
text=20000                # sentences of text
speakers=20,60,10,20      # speakers of the parts: with transcripts, without, dev, test
min_snr=10                # signal-to-noise ratio (dB) of the noisiest recordings
max_snr=35                # and of the cleanest
seed=1                    # of the corpus
nj=2                      # processes
# </options>

# shellcheck source=../../TEMPLATE/path.sh
. ../TEMPLATE/path.sh
# shellcheck source=../../../tools/parse_options.sh
. parse_options.sh
current=1
# shellcheck source=../../TEMPLATE/steps.sh
. ../TEMPLATE/steps.sh

if [[ -z ${corpus} ]]; then
  corpus=data/corpus
  IFS=, read -ra numbers <<< "${speakers}"
  step "make the corpus" --output "${corpus}" -- \
    python local/make_corpus.py --output "${corpus}" --paired "${paired}" --unpaired "${unpaired}" \
    --dev "${dev}" --test "${test}" --text "${text}" --speakers "${numbers[@]}" --seed "${seed}" \
    --min_snr "${min_snr}" --max_snr "${max_snr}" --nj "${nj}"
fi
exec ../librispeech/local/data.sh --dry_run "${dry_run}" --corpus "${corpus}" \
  --paired_parts "${paired_parts}" --speech_parts "${speech_parts}" --dev_parts "${dev_parts}" \
  --test_parts "${test_parts}" --text_corpus "${text_corpus:-${corpus}/text}" --text_kind lines \
  --max_bad_share "${max_bad_share}"
