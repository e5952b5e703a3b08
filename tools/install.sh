#!/usr/bin/env bash
# Installs the toolkit into .venv, with the exact versions of tools/requirements.lock.txt, for
# Python 3.11 or 3.12 (README.md says what stands in the way of others).
#
#   tools/install.sh            does what is missing; with nothing missing it only says so
#   tools/install.sh docs       and what builds the site and runs the notebook (requirements.docs.txt)
#   VENV=DIR tools/install.sh   another environment than .venv
#   PYTHON=FILE                 the interpreter to make it from (default: python3.11, python3.12, or a
#                               python3 that is one of them)
#   TORCH=cpu|cuda              the build of torch (default: cuda where nvidia-smi finds a GPU, or where it
#                               was installed before)
#
# A killed install goes on where it stopped. The CPU build of torch comes from where pip is set up to
# look (index or find-links), else from PyTorch's own index.
set -euo pipefail
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=${VENV:-.venv}
lock=tools/requirements.lock.txt
docs_lock=tools/requirements.docs.txt
stamp=${venv}/.speechlm-installed
torch_index=https://download.pytorch.org/whl/cpu

say() { echo "install: $*"; }
die() { echo "install: error: $*" >&2; exit 1; }

choose_torch() {
  case "${TORCH:-}" in
    cpu | cuda) echo "${TORCH}" ;;
    "")
      if nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then
        echo cuda
      elif grep -qs '^torch cuda;' "${stamp}"; then
        echo cuda # a host without GPUs, of a cluster that has some
      else
        echo cpu
      fi
      ;;
    *) die "TORCH is '${TORCH}'; it can be cpu or cuda" ;;
  esac
}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"${PYTHON}"} python3.11 python3.12 python3 python; do
    if "${candidate}" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
      2> /dev/null; then
      echo "${candidate}"
      return
    fi
  done
  die "the lock is for Python 3.11 and 3.12, and no such interpreter was found (name it with PYTHON=FILE);" \
    "of 3.13 kenlm 0.3.0 and flashlight-text 0.0.7 have no builds"
}

make_venv() {
  local python
  [ -x "${venv}/bin/python" ] && "${venv}/bin/python" -m pip --version > /dev/null 2>&1 && return
  python=$(find_python)
  say "making ${venv} with ${python}"
  "${python}" -m venv "${venv}" ||
    die "'${python} -m venv ${venv}' failed (Debian and Ubuntu: apt install $("${python}" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'))"
}

pip_install() {
  "${venv}/bin/python" -m pip install --disable-pip-version-check --progress-bar off \
    --no-compile -qq "$@"
}

torch_is() {
  "${venv}/bin/python" tools/verify_install.py --torch "$1" "${lock}" > /dev/null 2>&1
}

# The version is asked for as "+cpu", which only a CPU build has: a plain "torch==2.13.0" would take the
# CUDA build, and gigabytes of libraries with it, wherever no CPU build is offered beside it.
install_torch() {
  local version=$1 flavour=$2
  torch_is "${flavour}" && return
  say "torch ${version}, ${flavour} build"
  if [ "${flavour}" = cuda ]; then
    pip_install --upgrade --constraint "${lock}" "torch==${version},!=${version}+cpu" ||
      die "no CUDA build of torch ${version} was found (TORCH=cpu takes the CPU build)"
  elif [ "$(uname -s)" != Linux ]; then
    pip_install --no-deps "torch==${version}"
  else
    pip_install --no-deps "torch==${version}+cpu" 2> /dev/null ||
      pip_install --no-deps --timeout 20 --retries 1 --index-url "${torch_index}" \
        "torch==${version}+cpu" ||
      die "the CPU build of torch ${version} was found neither where pip looks nor at ${torch_index}." \
        "Download its wheel elsewhere and call this again with PIP_FIND_LINKS=FOLDER"
  fi
}

# A killed pip may leave a package whose record says more than is there: those are installed anew.
install_lock() {
  local flavour=$1 broken
  grep -v '^torch==' "${lock}" > "${venv}/requirements.txt"
  say "$(grep -c == "${venv}/requirements.txt") packages of ${lock}"
  broken=$("${venv}/bin/python" tools/verify_install.py --broken --torch "${flavour}" "${lock}")
  if [ -n "${broken}" ]; then
    say "incomplete, installed anew:" "${broken//$'\n'/ }"
    # shellcheck disable=SC2086  # one requirement a word
    pip_install --no-deps --force-reinstall ${broken}
  fi
  pip_install --no-deps --requirement "${venv}/requirements.txt" || die_of_packages
}

die_of_packages() {
  local lacking
  lacking=$("${venv}/bin/python" tools/verify_install.py --compiler "${lock}")
  [ -z "${lacking}" ] || die "a package could not be installed, as said above. kenlm has no wheel and is" \
    "compiled; missing here: ${lacking//$'\n'/; }"
  die "a package could not be installed, as said above"
}

# torchaudio's wheel is built for CUDA. Beside a CPU build of torch its compiled part does not load, and
# `import torchaudio` fails, also where transformers does it. Without that part, which nothing here
# uses, it is imported.
fit_torchaudio() {
  [ "$1" = cpu ] || return 0
  "${venv}/bin/python" -c 'import torchaudio' 2> /dev/null && return
  say "torchaudio without its compiled part"
  rm -f "${venv}"/lib/python*/site-packages/torchaudio/lib/*.so
}

# An environment that another checkout has made is used if its versions are those wanted here (recipes
# and tests find this checkout's code by its place), and is never changed.
leave_to_its_owner() {
  local there owner
  [ -f "${stamp}" ] || return 1
  there=$(cat "${stamp}") owner=${there##*; }
  [ "${owner}" != "${PWD}" ] && [ -f "${owner}/tools/install.sh" ] || return 1
  [ "${there%; *}" = "${1%; *}" ] ||
    die "${venv} belongs to ${owner}, and has other versions than are wanted here; make one of your" \
      "own (VENV=DIR, or remove the link ${venv})"
  say "${venv} is that of ${owner} (torch: ${flavour} build); it is used as it is"
}

# What the site and the notebook need; an environment of another checkout is not changed here either.
install_docs() {
  local python=${venv}/bin/python there owner
  "${python}" tools/verify_install.py "${docs_lock}" > /dev/null 2>&1 && return
  there=$(cat "${stamp}") owner=${there##*; }
  [ "${owner}" = "${PWD}" ] || die "${venv} belongs to ${owner}, and is not as ${docs_lock} says:" \
    "call 'tools/install.sh docs' there, or make one of your own (VENV=DIR, or remove the link ${venv})"
  say "$(grep -c == "${docs_lock}") packages of ${docs_lock}"
  pip_install --no-deps --requirement "${docs_lock}"
  "${python}" tools/verify_install.py "${docs_lock}" || die "${venv} is not as ${docs_lock} says"
}

install_toolkit() {
  local flavour version wanted start=${SECONDS}
  flavour=$(choose_torch)
  wanted="torch ${flavour}; $(cat "${lock}" setup.py | cksum); ${PWD}"
  if [ -f "${stamp}" ] && [ "$(cat "${stamp}")" = "${wanted}" ]; then
    say "${venv} is up to date (torch: ${flavour} build)"
    return
  fi
  leave_to_its_owner "${wanted}" && return
  make_venv
  rm -f "${stamp}"
  version=$(sed -n 's/^torch==//p' "${lock}")
  install_lock "${flavour}"
  install_torch "${version}" "${flavour}"
  fit_torchaudio "${flavour}"
  pip_install --no-deps --no-build-isolation --editable .
  "${venv}/bin/python" tools/verify_install.py --torch "${flavour}" "${lock}" ||
    die "${venv} is not as the lock says; remove it and call this again"
  echo "${wanted}" > "${stamp}"
  say "done in $((SECONDS - start)) s"
}

case "${1:-}" in
  "") install_toolkit ;;
  docs)
    install_toolkit
    install_docs
    ;;
  *) die "'$1' cannot be installed; it can be docs, or nothing" ;;
esac
