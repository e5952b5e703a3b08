#!/usr/bin/env bash
# Stage 1: a language of Common Voice to data/paired, data/speech, data/dev and one folder for each test
# part, and unpaired text to data/text/unpaired.txt. Parts are tables of the release. Common Voice
# cannot be downloaded without an agreement to its terms (commonvoice.mozilla.org): one archive a
# language, to be unpacked as CORPUS/LANG/{clips,validated.tsv,...}. The text is any in the language:
# Common Voice has none but its transcripts.
set -euo pipefail

# <options>
dry_run=false     # only say what would run
corpus=           # folder of Common Voice, with a folder for each language
lang=en           # code of the language: the folder's name
paired_parts=     # table with transcripts
speech_parts=     # table whose speech alone is used, without the clips of the dev and test sets
dev_parts=        # table for validation
test_parts=       # tables to be tested, each a set of its own; .tsv may be left out
text_corpus=      # text of the language: files, or folders of *.txt
text_kind=auto    # book (paragraphs between blank lines) or lines
shares=           # per cent of the speakers for train, dev and test, such as 80,10,10: they are cut from
                  # validated.tsv, where a release has no more
max_bad_share=0.1 # stop if more of a set is wrong
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
release=${corpus}/${lang} tables=${corpus}/${lang} cut="" # tables of the release go by their names
read -ra tests <<< "${test_parts}"
read -ra texts <<< "${text_corpus}"
[[ ! -e ${text_corpus} ]] || texts=("${text_corpus}") # one path, which may have spaces
((${#texts[@]})) || ${listing} || die "--text_corpus, text in the language ${lang}, is needed"

if [[ -n ${shares} ]]; then
  tables=${PWD}/data/tables cut=${PWD}/data/tables/
  step "tables" --output data/tables --needs "${release}/validated.tsv" -- \
    python local/cut_table.py --table "${release}/validated.tsv" --shares "${shares}" \
    --output data/tables
fi

# prepare SET TABLE [further options]: the clips of a table to data/SET.
prepare() {
  step "data $1" --output "data/$1" --needs "${release}" "${tables}/$2" -- \
    python -m speechlm.bin.prepare_common_voice --release "${release}" --table "${cut}$2" \
    --language "${lang}" --max_bad_share "${max_bad_share}" --output "data/$1" "${@:3}"
}

prepare paired "${paired_parts%.tsv}.tsv"
prepare dev "${dev_parts%.tsv}.tsv"
for part in "${tests[@]}"; do prepare "${part}" "${part%.tsv}.tsv"; done
held=(data/dev)
for part in "${tests[@]}"; do held+=("data/${part}"); done
step "data speech" --output data/speech --needs "${release}" "${held[@]}" -- \
  python -m speechlm.bin.prepare_common_voice --release "${release}" \
  --table "${speech_parts%.tsv}.tsv" --language "${lang}" --without_text --exclude "${held[@]}" \
  --max_bad_share "${max_bad_share}" --output data/speech
step "unpaired text" --output data/text/unpaired.txt --needs "${texts[@]}" -- \
  python -m speechlm.bin.normalize_text --input "${texts[@]}" --kind "${text_kind}" \
  --language "${lang}" --output data/text/unpaired.txt
