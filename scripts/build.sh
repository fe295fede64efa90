#!/usr/bin/env bash
# Builds into build/PRESET/ (release by default; CMakePresets.json has dev and asan too). What follows
# goes to cmake --build: scripts/build.sh asan --target assay_tests
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
[[ -f build/$preset/build.ninja ]] || cmake --preset "$preset" >&2
cmake --build --preset "$preset" "${@:2}" >&2
