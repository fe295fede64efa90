#!/usr/bin/env bash
# How often `assay compare` is wrong about 300 pairs of whole files of invented nodes, and finds a true 5 %: about
# two minutes. ASSAY names another binary; PAIRS another number. All bars of comparing types, by the functions
# on node values, are in tests/bench/nodes_bench.cpp.
# usage: scripts/check-nodes.sh
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ -z ${ASSAY:-} ]]; then
  scripts/build.sh release --target assay
  ASSAY=$PWD/build/release/assay
fi
exec /usr/bin/python3 -B tests/nodes.py "$ASSAY" ${PAIRS:+--pairs "$PAIRS"}
