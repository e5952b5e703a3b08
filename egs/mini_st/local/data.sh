#!/usr/bin/env bash
# Stage 1: makes a corpus in the layout of Common Voice and CoVoST 2, and reads it as those are read.
set -euo pipefail

# <options>
dry_run=false             # only say what would run
corpus=                   # a corpus made before; without it one is made in data/corpus
translations=             # its translations; without them they are beside its languages
source_lang=en            # language of the speech
target_lang=de            # languages of the translations
pretrain=true             # whether transcripts, more speech and text for pre-training are wanted
text_corpus=              # text for pre-training; without it the corpus's own
max_bad_share=0.1         # stop if more of a part is wrong
train=1200                # clips with translations for training
dev=60                    # for validation
test=150                  # to be tested
speech=200                # clips without translation
transcribed=300           # clips of train whose transcripts train the recogniser
text=4000                 # sentences of text
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
  step "make the corpus" --output "${corpus}" -- \
    python local/make_corpus.py --output "${corpus}" --train "${train}" --dev "${dev}" \
    --test "${test}" --speech "${speech}" --transcribed "${transcribed}" --text "${text}" \
    --seed "${seed}" --nj "${nj}"
fi
exec ../covost2/local/data.sh --dry_run "${dry_run}" --corpus "${corpus}" \
  --translations "${translations:-${corpus}}" --source_lang "${source_lang}" \
  --target_lang "${target_lang}" --pretrain "${pretrain}" --paired_table train.tsv \
  --text_corpus "${text_corpus:-${corpus}/text}" --max_bad_share "${max_bad_share}"
