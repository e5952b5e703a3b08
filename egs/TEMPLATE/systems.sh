#!/usr/bin/env bash
# Systems: what a fine-tuning can start from (--systems). The rows below are all that the stages and
# the tasks know of them; a further system is a further row. Sourced by speechlm.sh.
# shellcheck disable=SC2154  # options and helpers are speechlm.sh's

# start: scratch, pretrained (in stage 10) or given (--init_model).
# units, text: what the pre-training of stage 10 reads. The file of a kind of unit has KIND_units,
#   KIND_options and KIND_needs, which print what these are to pretrain; --unit_type names a kind.
#   KIND_units.sh is found by its name; its stages KIND_6 to KIND_9 run where a system has the kind,
#   and check_KIND, KIND_reports and KIND_durations, if it has them, where options are checked,
#   results gathered and durations drawn.
# configuration: NAME of its conf/NAME_SIZE.yaml.
system_table="
  # system     start       units    text  configuration
  scratch      scratch     -        -     -
  speech       pretrained  phoneme  -     pretrain
  speech_text  pretrained  phoneme  text  pretrain
  hidden       pretrained  hidden   -     pretrain
  hidden_text  pretrained  hidden   text  pretrain
  given        given       -        -     -
"
system_names=() unit_kinds=()
declare -A system_row system_units system_config
while read -r name start units text configuration; do
  [[ -n ${name} && ${name} != "#" ]] || continue
  system_names+=("${name}")
  system_row[${name}]="${start} ${units} ${text}"
  system_units[${name}]=${units}
  system_config[${name}]=${configuration}
  [[ ${units} == - ]] || among "${units}" "${unit_kinds[@]}" || unit_kinds+=("${units}")
done <<< "${system_table}"

# is SYSTEM WORD...: whether its row has all these words: pretrained, phoneme, text, ...
is() {
  local word
  for word in "${@:2}"; do [[ " ${system_row[$1]} " == *" ${word} "* ]] || return 1; done
}

# chosen WORD...: those systems of this run whose rows have all these words, one a line.
chosen() {
  local system
  for system in "${inits[@]}"; do
    if is "${system}" "$@"; then echo "${system}"; fi
  done
}

# any WORD...: whether this run has such a system.
any() { [[ -n $(chosen "$@") ]]; }

# pretrains: whether this run has a system that is pre-trained in stage 10; says so if not.
pretrains() {
  if any pretrained; then return; fi
  say "not needed: no system starts from a pre-training of this recipe"
  return 1
}

# choose_systems: sets the array `inits` to the systems of this run. Those of the first kind of unit
# stand for what is the same with units of --unit_type.
choose_systems() {
  local system other words
  read -ra words <<< "${systems}"
  inits=()
  for system in "${words[@]}"; do
    among "${system}" "${system_names[@]}" ||
      die "--systems has '${system}'; it can have $(list_systems)"
    if is "${system}" "${unit_kinds[0]}" && [[ ${unit_type} != "${unit_kinds[0]}" ]]; then
      for other in "${system_names[@]}"; do
        if same_but_units "${system}" "${other}"; then system=${other} && break; fi
      done
    fi
    inits+=("${system}")
  done
}

# same_but_units SYSTEM OTHER: whether OTHER is SYSTEM with units of --unit_type.
same_but_units() {
  [[ ${system_row[$2]} == "${system_row[$1]/ ${system_units[$1]} / ${unit_type} }" &&
    ${system_config[$2]} == "${system_config[$1]}" ]]
}

list_systems() {
  local listed
  printf -v listed '%s, ' "${system_names[@]}"
  echo "${listed%, }"
}

check_systems() {
  among "${unit_type}" "${unit_kinds[@]}" ||
    die "--unit_type is '${unit_type}'; it can be $(alternatives "${unit_kinds[@]}")"
  choose_systems
  ((${#inits[@]} > 0)) || die "--systems names none of $(list_systems)"
  [[ -z $(printf '%s\n' "${inits[@]}" | sort | uniq -d) ]] ||
    die "--systems '${systems}' names one twice"
  [[ ${text_lines} =~ ^([1-9][0-9]*)?$ ]] ||
    die "--text_lines is '${text_lines}'; it can be a number from 1, or nothing: all lines"
  [[ -z ${text_lines} ]] || any text ||
    die "--text_lines is for systems that see text, and --systems '${systems}' has none"
  if ! any given; then return; fi
  [[ -n ${init_model} ]] ||
    die "--systems given needs --init_model, the folder of a trained SpeechLM"
  [[ -d ${init_model} ]] || ((stop_stage < 11)) || ${dry_run} ||
    die "--init_model is '${init_model}', which is no folder; --systems given starts from it"
}

# variant SYSTEM: what is put behind its name in those of its trainings, but for the tags.
variant() { if is "$1" text; then echo "${text_lines:+_${text_lines}}"; fi; }

pretrained() { echo "exp/pretrain_$1$(variant "$1")${tag:+_${tag}}"; }

# initial SYSTEM: the model that its fine-tuning starts from; nothing for scratch.
initial() {
  if is "$1" pretrained; then pretrained "$1"; fi
  if is "$1" given; then echo "${init_model}"; fi
}
