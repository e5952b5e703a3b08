#!/usr/bin/env bash
# Makes a recipe for a corpus of your own: egs/NAME with run.sh, its choices, and local/data.sh, which
# reads the corpus.
#
#   egs/TEMPLATE/new_recipe.sh NAME                in English
#   egs/TEMPLATE/new_recipe.sh --lang CODE NAME    in another language, such as de (doc/languages.md)
#   cd egs/NAME && ./run.sh --corpus DIR
#
# NAME: small letters, digits and underscores, 100 at most. local/data.sh says what DIR must have, and
# what to change where a corpus looks different.
set -euo pipefail
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  echo "error: $*" >&2
  exit 1
}

lang=en
if [[ ${1:-} == --lang && $# -ge 2 ]]; then
  lang=$2
  shift 2
  [[ ${lang} =~ ^[a-z]{2,3}([-_][A-Za-z0-9]+)*$ ]] ||
    die "'${lang}' cannot be a language's code; one such as de or pt-BR is wanted"
  [[ ! ${lang} =~ ^en[-_] ]] || die "English is en, whatever the region; '${lang}' is given"
fi
if [[ $# -ne 1 || $1 == -* ]]; then
  [[ ${1:-} == --help ]] || die "the name of the new recipe is wanted, and nothing behind it; --lang CODE goes before it (--help)"
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' TEMPLATE/new_recipe.sh
  exit
fi
name=$1
[[ ${name} =~ ^[a-z][a-z0-9_]*$ && ${#name} -le 100 ]] ||
  die "'${name}' cannot be a recipe's name; small letters, digits and underscores, 100 of them at most, are wanted"
[[ ! -e ${name} && ! -L ${name} ]] || die "${PWD}/${name} is there already"

mkdir -p "${name}/local"
for file in run.sh local/data.sh; do
  content=$(< "TEMPLATE/skeleton/${file}")
  content=${content//NAME:/${name}:}
  if [[ ${lang} != en ]]; then
    content=${content/"speechlm.sh \\"/"speechlm.sh \\"$'\n'"  --lang ${lang} \\"}
  fi
  printf '%s\n' "${content}" > "${name}/${file}"
  chmod +x "${name}/${file}"
done
echo "${PWD}/${name}: run.sh has its choices; local/data.sh says what DIR must have, and reads it"
echo "next: cd ${PWD}/${name} && ./run.sh --corpus DIR --dry_run"
