#!/bin/sh
# run.sh [PRESET] [ctest arguments] - install what is missing, build, and run the whole suite; ctest's summary is
# the last thing it prints.
#
#   sh tests/run.sh                    everything, with the release build
#   sh tests/run.sh dev -L unit        unit tests with the dev build
#   sh tests/run.sh asan -L 'unit|fault'
#
# On a fresh Debian 12 or Ubuntu 24.04 a shell and git are enough. The second time it needs no network.
set -eu
cd "$(dirname "$0")/.."

preset=release
case ${1:-} in
-h | --help)
	sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
	exit 0
	;;
'' | -*) ;;
*)
	preset=$1
	shift
	;;
esac

sh deploy/install-deps.sh --test
jobs=$(nproc)
log=build/run-$preset.log
echo "tests/run.sh: building $preset"
if ! { cmake --preset "$preset" && cmake --build --preset "$preset"; } >"$log" 2>&1; then
	tail -n 100 "$log"
	echo "tests/run.sh: the build failed; all of it is in $log"
	exit 1
fi
echo "tests/run.sh: running the suite"
# Tests that need a quiet machine say so in CMake (RUN_SERIAL).
exec ctest --preset "$preset" -j "$jobs" --progress "$@"
