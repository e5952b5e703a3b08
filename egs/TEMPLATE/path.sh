#!/usr/bin/env bash
# Sourced by the recipes: where programs and the package are.
root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PATH="${root}/.venv/bin:${root}/tools:${root}/tools/bin:${PATH}"
export PYTHONPATH="${root}${PYTHONPATH:+:${PYTHONPATH}}"
export PYTHONUNBUFFERED=1
export LC_ALL=C.UTF-8
