#!/usr/bin/env bash
# Builds lmplz (KenLM's n-gram estimator) into tools/bin, from KenLM's source package.
# Optional: without it the built-in estimator is used. Needs a C++ compiler, cmake and Boost's headers.
set -euo pipefail
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=0.3.0
bin=${PWD}/tools/bin
python=.venv/bin/python
[[ -x ${python} ]] || python=python3

die() { echo "install_kenlm: error: $*" >&2; exit 1; }

check_tools() {
  local missing=()
  command -v cmake > /dev/null || missing+=(cmake)
  command -v c++ > /dev/null || missing+=("a C++ compiler")
  command -v make > /dev/null || missing+=(make)
  [[ -f /usr/include/boost/version.hpp || -f ${BOOST_ROOT:-/nowhere}/include/boost/version.hpp ||
    -f /usr/local/include/boost/version.hpp || -f /opt/homebrew/include/boost/version.hpp ]] ||
    missing+=("Boost (program_options, system, thread)")
  ((${#missing[@]} == 0)) ||
    die "missing: $(printf '%s; ' "${missing[@]}")on Debian and Ubuntu:" \
      "apt install build-essential cmake libboost-program-options-dev libboost-system-dev" \
      "libboost-thread-dev zlib1g-dev"
}

build() {
  local work=$1
  "${python}" -m pip download --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    --no-binary kenlm --dest "${work}" "kenlm==${version}" ||
    die "the source package kenlm ${version} could not be downloaded"
  tar -xzf "${work}/kenlm-${version}.tar.gz" -C "${work}"
  cmake -S "${work}/kenlm-${version}" -B "${work}/build" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_POLICY_VERSION_MINIMUM=3.5 > "${work}/cmake.log" 2>&1 ||
    { tail -n 20 "${work}/cmake.log" >&2; die "cmake failed"; }
  make -C "${work}/build" -j "$(nproc)" lmplz build_binary query > "${work}/make.log" 2>&1 ||
    { tail -n 20 "${work}/make.log" >&2; die "the build failed"; }
}

install_programs() {
  local work=$1 name
  mkdir -p "${bin}"
  for name in lmplz build_binary query; do
    cp "${work}/build/bin/${name}" "${bin}/.${name}.new"
    mv "${bin}/.${name}.new" "${bin}/${name}"
  done
}

if [[ -x ${bin}/lmplz ]]; then
  echo "install_kenlm: ${bin}/lmplz is there already"
  exit 0
fi
check_tools
work=$(mktemp -d)
trap 'rm -rf "${work}"' EXIT
echo "install_kenlm: building lmplz, build_binary and query (about a minute)"
build "${work}"
install_programs "${work}"
"${bin}/lmplz" --help > /dev/null 2>&1 || [[ $? -eq 1 ]] || die "${bin}/lmplz does not run"
echo "install_kenlm: done: ${bin}"
