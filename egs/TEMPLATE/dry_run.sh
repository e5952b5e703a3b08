#!/usr/bin/env bash
# What is said of steps without running them: sourced by speechlm.sh and seeds.sh.

# shellcheck disable=SC2034,SC2154  # options and helpers are those of the scripts that source this
list_all_steps() {
  listing=true
  export LISTING_STEPS=true # for local/data.sh
  for ((current = 1; current < ${#names[@]}; current++)); do run_stage 2> /dev/null || true; done
}

# begin_dry_run: from here on its steps know of each other by a file (tools/foreseen.py).
begin_dry_run() {
  if [[ -z ${DRY_RUN_STEPS:-} ]]; then
    DRY_RUN_STEPS=$(mktemp)
    export DRY_RUN_STEPS
    trap 'rm -f "${DRY_RUN_STEPS}"' EXIT
  fi
}

# What a dry run does not come across otherwise: folders of the user's that are not there.
warn_of_absent() {
  local option word words
  read -ra words <<< "${text_corpus}"
  [[ ! -e ${text_corpus} ]] || words=()
  if ((stage == 1)); then
    for option in corpus speech_corpus translations; do
      warn_unless_there "--${option} is" "${!option:-}"
    done
    for word in "${words[@]}"; do warn_unless_there "--text_corpus has" "${word}"; done
  fi
  if ((stop_stage >= 11)) && any given; then warn_unless_there "--init_model is" "${init_model}"; fi
}

# warn_unless_there WHAT PATH
warn_unless_there() {
  [[ -z $2 || -e $2 ]] || echo "warning: $1 '$2', which is not there" >&2
}
