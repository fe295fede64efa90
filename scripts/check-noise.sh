#!/usr/bin/env bash
# How often `assay compare` is wrong on this machine. At most 4 of 30 pairs of consecutive runs of one
# kind may have any verdict: compute (five rounds of peak, gemm and memory), collectives (single-shot, under
# the name of nccl-tests), storage. At least 18 of 20 trials of three runs a side must find what is there:
# quota (a CPU quota of 30 %), throttle (read_iops halved). At least 28 of 40 trials must find slight: a CPU quota
# of 90 %, on peak and gemm; where runs differ by more than 2.9 % three a side can't, and compare must say how
# many would. The last three need root and cgroup v1.
# Results are kept in NOISE_FOLDER (build/noise), so that a second call goes on where the first ended.
# All of it takes about an hour of a quiet machine. ASSAY names another binary; TRIALS a smaller number.
# usage: scripts/check-noise.sh [KIND…]      kinds: compute collectives storage quota throttle slight
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ -z ${ASSAY:-} ]]; then
  scripts/build.sh release --target assay
  ASSAY=$PWD/build/release/assay
fi
mkdir -p "${NOISE_FOLDER:=build/noise}"
# shellcheck disable=SC2086
exec /usr/bin/python3 -B tests/noise.py "$ASSAY" "$NOISE_FOLDER" ${TRIALS:+--trials $TRIALS} "$@"
