#!/usr/bin/env bash
# From a clean machine to the whole test suite's verdict, with what was skipped and why: tests/may_skip.txt
# has what may be. Arguments go to ctest.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh test
scripts/build.sh release
scripts/install-wheels.sh scripts/wheels/axe.txt build/axe
results=$PWD/build/release/tests.xml
rm -f "$results"
status=0
# One more than there are cores, since many tests wait for what is killed or silent.
ctest --preset release -j $(($(nproc) + 1)) --output-junit "$results" --test-output-size-passed 1000000 \
  --test-output-size-failed 1000000 "$@" || status=$?
if [[ -f $results ]]; then tests/skipped.py "$results" tests/may_skip.txt || status=1; fi
exit $status
