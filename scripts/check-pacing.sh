#!/usr/bin/env bash
# Checks figures of what really paces itself: a CPU quota (cgroup v1 cpu.cfs_quota_us), seen by assay and hidden from it,
# and a link with burst credit (tc tbf) between two network namespaces. Figures must be work over time,
# by what the quota or the link gives, and be marked paced; the exit status is 1 where they aren't.
# Needs root, iproute2 and Open MPI; takes about two minutes. ASSAY names another binary.
# usage: scripts/check-pacing.sh [quota] [link]
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ -z ${ASSAY:-} ]]; then
  scripts/build.sh release --target assay
  ASSAY=build/release/assay
fi
exec /usr/bin/python3 -B tests/paced.py "$ASSAY" "$@"
