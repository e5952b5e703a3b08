#!/usr/bin/env bash
# Stage 1: CoVoST 2 on Common Voice to data/translated, data/dev and data/test, which have text.LANG.
# For pre-training here also data/paired (transcripts), data/speech (validated clips), both without
# the clips of dev and test, and data/text/unpaired.txt. Neither corpus can be downloaded without an
# agreement to its terms:
#   Common Voice (release 4 is the one CoVoST 2 was made on): commonvoice.mozilla.org, one archive a
#     language, to be unpacked as CORPUS/LANG/{clips,validated.tsv,...}
#   CoVoST 2: dl.fbaipublicfiles.com/covost/covost_v2.SRC_TGT.tsv.tar.gz, unpacked into TRANSLATIONS
set -euo pipefail

# <options>
dry_run=false           # only say what would run
corpus=                 # folder of Common Voice, with a folder for each language
translations=           # folder of CoVoST's TSV files; without it those are in the corpus's folder
source_lang=en          # language of the speech
target_lang=de          # languages of the translations
pretrain=false          # whether transcripts, more speech and text for pre-training are wanted
paired_table=train.tsv  # table of Common Voice whose transcripts are for the recogniser
text_corpus=            # text for pre-training: files, or folders of *.txt
max_bad_share=0.1       # stop if more of a part is wrong
# </options>

# shellcheck source=../../TEMPLATE/path.sh
. ../TEMPLATE/path.sh
# shellcheck source=../../../tools/parse_options.sh
. parse_options.sh
current=1
# shellcheck source=../../TEMPLATE/steps.sh
. ../TEMPLATE/steps.sh

[[ -n ${corpus} ]] || ${listing} ||
  die "--corpus, the folder of Common Voice with a folder for each language, is needed"
translations=${translations:-${corpus}}
read -ra targets <<< "${target_lang}"
release=${corpus}/${source_lang}

for part in train dev test; do
  set=${part/train/translated}
  step "data ${set}" --output "data/${set}" --needs "${release}" "${translations}" -- \
    python -m speechlm.bin.prepare_covost --common_voice "${release}" \
    --translations "${translations}" --source "${source_lang}" --target "${targets[@]}" \
    --part "${part}" --max_bad_share "${max_bad_share}" --output "data/${set}"
done

if ! ${pretrain}; then exit; fi
for set in paired speech; do
  table=(--table validated.tsv --without_text)
  [[ ${set} == speech ]] || table=(--table "${paired_table}")
  step "data ${set}" --output "data/${set}" --needs "${release}" data/dev data/test -- \
    python -m speechlm.bin.prepare_common_voice --release "${release}" \
    --language "${source_lang}" --exclude data/dev data/test --max_bad_share "${max_bad_share}" \
    --output "data/${set}" "${table[@]}"
done
read -ra texts <<< "${text_corpus}"
[[ ! -e ${text_corpus} ]] || texts=("${text_corpus}") # one path, which may have spaces
((${#texts[@]})) || ${listing} ||
  die "--text_corpus, text in the language of the speech, is needed for pre-training"
step "unpaired text" --output data/text/unpaired.txt --needs "${release}" "${texts[@]}" -- \
  python -m speechlm.bin.normalize_text --input "${texts[@]}" --kind lines \
  --language "${source_lang}" --output data/text/unpaired.txt
