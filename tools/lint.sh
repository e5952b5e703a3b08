#!/usr/bin/env bash
# Lints Python with ruff and every shell script with shellcheck.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=.venv/bin
"${bin}/ruff" check .
"${bin}/ruff" format --check --quiet .
mapfile -d '' scripts < <(find tools egs .ci -type f \( -name '*.sh' -o -path .ci/run \) \
  -not -path '*/exp/*' -not -path '*/data/*' -not -path '*/dump/*' -not -path 'tools/bin/*' -print0)
# SCRIPTDIR/..: the recipes' skeleton is a folder deeper than the recipes that are made of it.
"${bin}/shellcheck" -x -P SCRIPTDIR:SCRIPTDIR/.. "${scripts[@]}"
echo "lint: ruff clean, shellcheck clean (${#scripts[@]} scripts)"
