# Completion of options in bash: of ./run.sh in this project's recipes, and of the command speechlm.
#
#   source tools/completion.bash        (from ~/.bashrc: source /PATH/TO/speechlm/tools/completion.bash)
#
# What can be completed is asked of the programs' own --help when the tab key is pressed, so that it
# never goes stale. A run.sh that is none of this project's is not run for that: its files are
# completed. Values: true and false, names that an option lists, else files.

_speechlm_egs=$(CDPATH="" cd -P "$(dirname "${BASH_SOURCE[0]}")/../egs" && pwd)

# _speechlm_recipe FILE: whether it is the run.sh of a recipe of this project.
_speechlm_recipe() {
  local folder
  [[ -x $1 ]] || return 1
  folder=$(CDPATH="" cd -P "$(dirname -- "$1")" 2> /dev/null && pwd) || return 1
  [[ ${folder%/*} == "${_speechlm_egs}" && ${folder##*/} != TEMPLATE ]]
}

# _speechlm_options HELP: the options that a help text lists, a word a line.
_speechlm_options() {
  local line
  while IFS= read -r line; do
    if [[ ${line} =~ ^\ \ (-[a-zA-Z],\ )?(--[a-zA-Z0-9_]+) ]]; then echo "${BASH_REMATCH[2]}"; fi
  done <<< "$1"
  [[ $1 == *$'\n'"  -h, --help"* ]] || echo --help
}

# _speechlm_values HELP OPTION: what an option can be, a word a line; nothing if the help does not say.
_speechlm_values() {
  local line inside=false name=$2
  while IFS= read -r line; do
    if [[ ${line} =~ ^\ \ (-[a-zA-Z],\ )?(--[a-zA-Z0-9_]+) ]]; then
      if [[ ${BASH_REMATCH[2]} == "${name}" ]]; then inside=true; else inside=false; fi
      if ${inside} && [[ ${line} =~ ^[^{]*\{([^}]*)\} ]]; then # argparse's choices
        printf '%s\n' "${BASH_REMATCH[1]//,/$'\n'}"
        return
      fi
    fi
    if ${inside} && [[ ${line} =~ \[(true|false)\]$ ]]; then # a default of parse_options.sh
      printf '%s\n' true false
      return
    fi
  done <<< "$1"
}

# _speechlm_reply HELP WORD BEFORE: sets COMPREPLY for a word behind another one.
_speechlm_reply() {
  local values
  if [[ $2 == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_speechlm_options "$1")" -- "$2")
    return
  fi
  values=$(_speechlm_values "$1" "$3")
  if [[ -n ${values} ]]; then
    mapfile -t COMPREPLY < <(compgen -W "${values}" -- "$2")
  elif [[ -z $2 && $3 != --* ]]; then # behind a value
    mapfile -t COMPREPLY < <(compgen -W "$(_speechlm_options "$1")")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$2")
  fi
}

_speechlm_run_sh() {
  local script=$1 n task=() help
  COMPREPLY=()
  [[ ${script} == */* ]] || script=./${script}
  if ! _speechlm_recipe "${script}"; then
    mapfile -t COMPREPLY < <(compgen -f -- "$2")
    return
  fi
  if [[ $3 == --task ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_speechlm_tasks)" -- "$2")
    return
  fi
  for ((n = 1; n < COMP_CWORD; n++)); do # the options of a task are listed with it
    if [[ ${COMP_WORDS[n]} == --task && -n ${COMP_WORDS[n + 1]:-} ]]; then
      task=(--task "${COMP_WORDS[n + 1]}")
    fi
  done
  help=$("${script}" "${task[@]}" --help 2> /dev/null < /dev/null)
  _speechlm_reply "${help}" "$2" "$3"
}

# _speechlm_tasks: files NAME.sh of the template that have stages NAME_N.
_speechlm_tasks() {
  local file name
  for file in "${_speechlm_egs}"/TEMPLATE/*.sh; do
    name=${file##*/} name=${name%.sh}
    if grep -q "^${name}_[0-9]*() {" "${file}"; then echo "${name}"; fi
  done
}

_speechlm_command() {
  local help names="" line
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    help=$("$1" --help 2> /dev/null < /dev/null)
    while IFS= read -r line; do
      if [[ ${line} =~ ^\ \ ([a-z][a-z0-9_]*)\  ]]; then names+=" ${BASH_REMATCH[1]}"; fi
    done <<< "${help}"
    mapfile -t COMPREPLY < <(compgen -W "${names} --help --version" -- "$2")
    return
  fi
  help=$(COLUMNS=1000 "$1" "${COMP_WORDS[1]}" --help 2> /dev/null < /dev/null)
  _speechlm_reply "${help}" "$2" "$3"
}

complete -o filenames -F _speechlm_run_sh run.sh ./run.sh
complete -o filenames -F _speechlm_command speechlm
