#!/usr/bin/env bash
# Installs what is missing, builds everything and runs every test. Arguments go
# to ctest, e.g. `-R storage`. The last line says `N passed, M failed`.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd -- "$root"

log=$(mktemp)
trap 'rm -f -- "$log"' EXIT

say() {
  printf '==> %s\n' "$*"
}

# What never ran has failed.
give_up() {
  printf 'error: %s\n' "$*" >&2
  printf '0 passed, 1 failed\n'
  exit 1
}

say "Looking for what the tests need"
deploy/install-deps.sh --build --test || give_up "something is missing"

say "Building"
cmake --preset release -DTILLSTREAM_TESTS=ON > "$log" 2>&1 || {
  cat "$log" >&2
  give_up "cmake cannot configure the build"
}
cmake --build --preset release --parallel "$(nproc)" \
  || give_up "the build broke"

say "Testing"
status=0
ctest --preset release --parallel "$(nproc)" "$@" 2>&1 | tee "$log" || status=$?

# ctest says `97% tests passed, 1 tests failed out of 33`.
summary=$(sed -nE \
  's/^[0-9]+% tests passed, ([0-9]+) tests? failed out of ([0-9]+).*/\1 \2/p' \
  "$log")
[ -n "$summary" ] || give_up "ctest ran no test"
read -r failed total <<< "$summary"
printf '%d passed, %d failed\n' "$((total - failed))" "$failed"
exit "$status"
