#!/usr/bin/env bash
# Builds into build/PRESET/ (release by default; CMakePresets.json has dev and asan too).
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
[[ -f build/$preset/build.ninja ]] || cmake --preset "$preset" >&2
cmake --build --preset "$preset" >&2
