#!/usr/bin/env bash
# Measures Tillstream on this machine, against private servers with durability
# on, and draws what came out.
#
#   benchmarks/run.sh [--smoke] [--rounds N] [--seconds S] [--history N]
#                     [--out DIR] [name…]
#
#   name        B0, B1, B2, P1 to P10 (docs/performance.md says what each is),
#               or micro; none: all. Baselines of what is named run, too.
#   --smoke     a moment of each, to see that they work; judges no time
#   --rounds    5 unless set; medians and ranges are over rounds
#   --seconds   of one measurement, 20 unless set (P2: three times that)
#   --history   purchases of the long history, 10000000 unless set
#   --out       results.json, report.md, *.svg; build/bench unless set
#
# Needs the program and its benchmarks built:
#   cmake --preset release && cmake --build --preset release
# TILLSTREAM_BUILD_DIR names another build directory.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/suite/main.py" "$@"
