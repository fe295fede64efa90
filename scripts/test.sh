#!/usr/bin/env bash
# From a clean machine to the whole test suite's verdict. Arguments go to ctest.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh test
scripts/build.sh release
ctest --preset release -j "$(nproc)" "$@"
