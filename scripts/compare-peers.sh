#!/usr/bin/env bash
# Sets assay beside its peers on this machine and writes the outcome into docs/peers.md, one section
# a part. A quiet machine and minutes of time are needed.
# usage: scripts/compare-peers.sh PART…      parts: storage
set -euo pipefail
cd "$(dirname "$0")/.."

build() {
  cmake --preset release >/dev/null
  cmake --build --preset release --target "$@" >/dev/null
}

# Replaces the section "## TITLE" of docs/peers.md by what comes on stdin, with the day and machine.
section() {
  local title="## $1" page=docs/peers.md text
  text="$title

$(date -u +%F), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) CPUs, Linux $(uname -r).
$(cat)"
  touch "$page"
  awk -v title="$title" '$0 == title {skip = 1; next} /^## / {skip = 0} !skip' "$page" |
    cat -s >"$page.new"
  printf '\n%s\n' "$text" >>"$page.new"
  mv "$page.new" "$page"
}

# Against fio: 15 paired runs in turn, and both under a cap. Arguments of tests/peers/storage.py, as
# --pairs 3, may be given in STORAGE_OPTIONS; STORAGE_PATH is the folder (build).
storage() {
  build storage_peer
  # shellcheck disable=SC2086
  {
    echo "Peer: $(fio --version), engine io_uring, O_DIRECT, a 1 GiB file on the same volume."
    /usr/bin/python3 tests/peers/storage.py build/release/tests/storage_peer \
      "${STORAGE_PATH:-build}" ${STORAGE_OPTIONS:-}
  } | section storage
}

[ $# -gt 0 ] || { sed -n '2,4s/^# //p' "$0"; exit 2; }
for part in "$@"; do
  case "$part" in
    storage) "$part" ;;
    *) echo "compare-peers.sh: there is no part \"$part\"; parts: storage" >&2; exit 2 ;;
  esac
done
