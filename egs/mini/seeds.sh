#!/usr/bin/env bash
# This recipe with several seeds: ../TEMPLATE/seeds.sh says how (--help).
set -euo pipefail
CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../TEMPLATE/seeds.sh "$@"
