#!/bin/sh
# Runs the benchmarks and prints the tables of docs/performance.md. Not part of CI's verdict.
#
#   sh tests/bench/run.sh [--quick] [--only NAME] [--out DIR]
#
# Everything runs on this machine, the load generator too: compare figures within one run only.
set -eu
cd "$(dirname "$0")/../.."
[ -f build/release/CMakeCache.txt ] || cmake --preset release > /dev/null
cmake --build --preset release > /dev/null
exec python3 tests/bench/bench.py --bin build/release "$@"
