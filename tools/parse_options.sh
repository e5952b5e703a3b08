#!/usr/bin/env bash
# Sourced by a script after its option block: sets the script's variables from "--name value".
#
#   # <options>
#   # A heading
#   stage=1          # what it is for; it must be a number because its default is one
#   share=0.1        # likewise, with decimals
#   dry_run=false    # "--dry_run" alone, or "--dry_run true|false"
#   # </options>
#   . parse_options.sh    (with the script's "$@")
#
# Files that the script has sourced before may have option blocks of their own: it names them in the
# array option_files. --help prints the comment at the top of the script and then all option blocks.
# An unknown option is an error that names the nearest one.

declare -A option_defaults
declare -a option_files

# Reads the option blocks of the script and of its files: option_names, option_defaults, and
# option_help, the text of --help with the values that hold when it is read.
_read_option_blocks() {
  local file
  option_names=() option_help=""
  _read_option_block "$0" true
  for file in "${option_files[@]}"; do _read_option_block "${file}" false; done
}

# _read_option_block FILE TOP: adds those of a file; TOP: whether --help prints its first comment.
_read_option_block() {
  local line inside=false top=$2 width=20 name default=""
  while IFS= read -r line; do
    if ${top} && [[ ${line} != "#"* ]]; then top=false; fi
    # A default stands behind the last line of its option's description.
    if ${inside} && [[ ! ${line} =~ ^\ +#\  ]]; then
      option_help=${option_help%$'\n'}${default}${option_help:+$'\n'} default=""
    fi
    if ${top} && [[ ${line} != "#!"* ]]; then
      line=${line#\#}
      option_help+="${line# }"$'\n'
    elif [[ ${line} == "# <options>" ]]; then
      inside=true
    elif [[ ${line} == "# </options>" ]]; then
      break
    elif ${inside} && [[ ${line} =~ ^([a-z][a-z0-9_]*)=[^#]*(#\ (.*))?$ ]]; then
      name=${BASH_REMATCH[1]}
      option_names+=("${name}")
      option_defaults[${name}]=${!name}
      printf -v line "  %-${width}s %s" "--${name}" "${BASH_REMATCH[3]}"
      option_help+=${line}$'\n' default=${!name:+ [${!name}]}
    elif ${inside} && [[ ${line} =~ ^\ +#\ (.*)$ ]]; then
      printf -v line "  %-${width}s %s" "" "${BASH_REMATCH[1]}"
      option_help+="${line}"$'\n'
    elif ${inside} && [[ ${line} =~ ^#\ (.*)$ ]]; then
      option_help+=$'\n'"${BASH_REMATCH[1]}"$'\n'
    fi
  done < "$1"
}

# Prints the edit distance of two words.
_edit_distance() {
  local a=$1 b=$2 i j cost best
  local -a row previous
  for ((j = 0; j <= ${#b}; j++)); do previous[j]=${j}; done
  for ((i = 1; i <= ${#a}; i++)); do
    row=("${i}")
    for ((j = 1; j <= ${#b}; j++)); do
      cost=1
      [[ ${a:i-1:1} != "${b:j-1:1}" ]] || cost=0
      best=$((previous[j - 1] + cost))
      ((previous[j] + 1 >= best)) || best=$((previous[j] + 1))
      ((row[j - 1] + 1 >= best)) || best=$((row[j - 1] + 1))
      row[j]=${best}
    done
    previous=("${row[@]}")
  done
  echo "${previous[${#b}]}"
}

_nearest_option() {
  local name distance nearest="" least=1000
  for name in "${option_names[@]}" help; do
    distance=$(_edit_distance "$1" "${name}")
    if ((distance < least)); then
      least=${distance} nearest=${name}
    fi
  done
  echo "${nearest}"
}

_option_error() {
  echo "error: ${0##*/}: $*" >&2
  exit 1
}

_decimal='^-?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]+)?$'

# Sets one variable, after checking that the value is of its default's kind.
_set_option() {
  local name=$1 value=$2 default=${option_defaults[$1]}
  if [[ ${default} =~ ^(true|false)$ && ! ${value} =~ ^(true|false)$ ]]; then
    _option_error "--${name} takes true or false, not '${value}'"
  elif [[ ${default} =~ ^[0-9]+$ && ! ${value} =~ ^[0-9]+$ ]]; then
    _option_error "--${name} takes a number, not '${value}'"
  elif [[ ${default} =~ ^[0-9]+$ && ${#value} -gt 18 ]]; then # bash reckons with 63 bits
    _option_error "--${name} takes a number of at most 18 digits, not '${value}'"
  elif [[ ${default} =~ ^[0-9]*[.][0-9]+$ && ! ${value} =~ ${_decimal} ]]; then
    _option_error "--${name} takes a decimal number, not '${value}'"
  fi
  [[ ! ${default} =~ ^[0-9]+$ ]] || value=$((10#${value}))
  printf -v "${name}" '%s' "${value}"
}

_parse_options() {
  local name value inline
  while (($# > 0)); do
    [[ $1 == --* ]] || _option_error "'$1' is not an option (--help lists them)"
    name=${1#--}
    if [[ ${name} == help ]]; then
      _read_option_blocks
      printf '%s' "${option_help}"
      exit 0
    fi
    value="" inline=false
    if [[ ${name} == *=* ]]; then
      value=${name#*=} name=${name%%=*} inline=true
    fi
    [[ ${name} != help ]] || _option_error "--help takes no value"
    name=${name//-/_}
    [[ " ${option_names[*]} " == *" ${name} "* ]] ||
      _option_error "unknown option --${name}; the nearest valid one is --$(_nearest_option "${name}")"
    shift
    if ! ${inline}; then
      if [[ ${option_defaults[${name}]} =~ ^(true|false)$ && ${1---} == --* ]]; then
        value=true
      else
        [[ $# -gt 0 && " ${option_names[*]/#/--} " != *" $1 "* ]] ||
          _option_error "--${name} wants a value"
        value=$1
        shift
      fi
    fi
    _set_option "${name}" "${value}"
  done
}

_read_option_blocks
_parse_options "$@"
