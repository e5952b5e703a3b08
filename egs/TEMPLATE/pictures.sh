#!/usr/bin/env bash
# Stage 14: pictures of what the run has trained and measured, for the report. Each is a step, made anew
# when its inputs change. Sourced by speechlm.sh.
# shellcheck disable=SC2154  # options and helpers are speechlm.sh's

pictures=() no_pictures=() # files, and NAME:REASON of those that this run does not have

# suffix: what the names of the report and of the pictures of this run end in.
suffix() { echo "${text_lines:+_text_${text_lines}}${finetune_tag:+_${finetune_tag}}"; }
image() { echo "exp/images/$1$(suffix).png"; }

# without WHAT REASON: a picture that this run does not have.
without() { no_pictures+=("$1:$2"); }

# draw NAME [options of step] -- COMMAND...: COMMAND --output exp/images/NAME.png, and what the options say
# that it makes --also. What cannot be drawn does not end the run, but the report says so.
draw() {
  local name=$1 file log status also=() words=("${@:2}") n
  file=$(image "${name}") log=$(log_of "$(image "${name}")")
  for ((n = 0; n < ${#words[@]}; n++)); do
    [[ ${words[n]} != --also ]] || also+=("${words[n + 1]}")
  done
  if ${listing} || ${dry_run}; then
    step "picture ${name}" --output "${file}" "${words[@]}" --output "${file}"
    return
  fi
  mkdir -p "${log%/*}"
  if step "picture ${name}" --output "${file}" "${words[@]}" --output "${file}" 2>&1 > /dev/null |
    tee "${log}" >&2; then
    pictures+=("${file}" "${also[@]}")
    return
  fi
  status=${PIPESTATUS[0]}
  ((status < 128)) || exit "${status}"
  without "${name}" "it could not be drawn; ${log} says why"
}

# draw_pictures RESULT...: all pictures of the run; each RESULT is a value of report --scores.
draw_pictures() {
  draw_curves
  draw_rates "$@"
  if defined "${task}_pictures"; then "${task}_pictures"; fi
  if ! any pretrained; then
    without "units, their durations, an utterance, attention" "no model is pre-trained in this run"
    return
  fi
  draw_units
  draw_utterances
}

# draw_curves: of all pre-trainings of the run.
draw_curves() {
  local system curves=() needs=()
  for system in $(chosen pretrained); do
    curves+=("${system}:$(pretrained "${system}")") needs+=("$(pretrained "${system}")")
  done
  if ((${#curves[@]} == 0)); then
    without "learning curves of pre-training" "no model is pre-trained in this run"
    return
  fi
  local values=(loss accuracy_middle accuracy_top)
  if any pretrained text; then values+=(loss_ctc); fi
  draw curves --needs "${needs[@]}" -- python -m speechlm.bin.plot_curves \
    --curves "${curves[@]}" --values "${values[@]}" --x updates \
    --title "Learning curves of pre-training"
}

# draw_rates RESULT...: a picture a test set.
draw_rates() {
  local result place test own needs known=()
  for result in "$@"; do
    place=${result%:*} test=${place##*:}
    among "${test}" "${known[@]}" || known+=("${test}")
  done
  for test in "${known[@]}"; do
    own=() needs=()
    for result in "$@"; do
      place=${result%:*}
      if [[ ${place##*:} == "${test}" ]]; then own+=("${result}") needs+=("${result##*:}"); fi
    done
    draw "rates_${test// /_}" --needs "${needs[@]}" -- \
      python -m speechlm.bin.plot_rates --scores "${own[@]}" --seed "${seed}"
  done
}

# draw_units: for each kind of unit which phones the units stand for, and how long they last in speech
# and text.
draw_units() {
  local kind units options needs with_text
  for kind in "${unit_kinds[@]}"; do
    any "${kind}" || continue
    units=dump/speech/$("${kind}_units")
    draw "units_${kind}" --needs "${units}" "$(alignments)" -- \
      python -m speechlm.bin.plot_units --units "${units}" --name "${kind} units" \
      --alignments "$(alignments)"
    mapfile -t with_text < <(chosen "${kind}" text)
    if ((${#with_text[@]} == 0)) || ! defined "${kind}_durations"; then
      without "durations of ${kind} units" "no system is pre-trained with them and text"
      continue
    fi
    mapfile -t options < <("${kind}_durations" "${with_text[0]}")
    mapfile -t needs < <("${kind}_needs" "${with_text[0]}")
    draw "durations_${kind}" --needs "${units}" "$(pretrained "${with_text[0]}")" "${needs[@]}" -- \
      python -m speechlm.bin.plot_durations --units "${units}" --name "${kind} units" \
      "${options[@]}" --seed "${seed}"
  done
}

# draw_utterances: for each kind of unit an utterance, and attention in it, of the last model with them.
draw_utterances() {
  local kind system model units attention
  for kind in "${unit_kinds[@]}"; do
    any pretrained "${kind}" || continue
    system=$(chosen pretrained "${kind}" | tail -n 1)
    model=$(pretrained "${system}") units=dump/speech/$("${kind}_units")
    attention=$(image "attention_${system}")
    draw "utterance_${system}" --also "${attention}" \
      --needs "${model}" dump/paired "$(alignments)" "${units}" -- \
      python -m speechlm.bin.plot_utterance --model "${model}" --name "${system}" \
      --data_dir dump/paired --alignments "$(alignments)" --units "${units}" --seed "${seed}" \
      --attention "${attention}"
  done
}
