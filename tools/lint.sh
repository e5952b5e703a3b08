#!/usr/bin/env bash
# Lints Python with ruff, checks its types with mypy, and lints every shell script with shellcheck.
set -euo pipefail
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=.venv/bin
"${bin}/ruff" check .
"${bin}/ruff" format --check --quiet .
"${bin}/mypy" --no-error-summary
for folder in egs/*/local; do # one at a time: recipes have scripts of the same names
  if compgen -G "${folder}/*.py" > /dev/null; then "${bin}/mypy" --no-error-summary "${folder}"; fi
done
mapfile -d '' scripts < <(find tools egs .ci -type f \( -name '*.sh' -o -name '*.bash' -o -path .ci/run \) \
  -not -path '*/exp/*' -not -path '*/data/*' -not -path '*/dump/*' -not -path 'tools/bin/*' -print0)
# SCRIPTDIR/..: the recipes' skeleton is a folder deeper than the recipes that are made of it.
"${bin}/shellcheck" -x -P SCRIPTDIR:SCRIPTDIR/.. "${scripts[@]}"
echo "lint: ruff clean, mypy clean, shellcheck clean (${#scripts[@]} scripts)"
