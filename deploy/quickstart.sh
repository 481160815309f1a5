#!/usr/bin/env bash
# Installs what is missing, builds Tillstream and runs all of it on this
# machine. Arguments go to `tillstream up`, e.g. `--port 8080`.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd -- "$root"

say() {
  printf '==> %s\n' "$*"
}

say "Looking for what Tillstream needs"
deploy/install-deps.sh --build

log=$(mktemp)
say "Building (a few minutes the first time)"
cmake --preset release > "$log" 2>&1 || {
  cat "$log" >&2
  exit 1
}
rm -f -- "$log"
cmake --build --preset release --parallel "$(nproc)" --target tillstream

say "Starting"
exec build/release/tillstream up "$@"
