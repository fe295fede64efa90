#!/usr/bin/env bash
# Sets assay beside its peers on this machine and writes the outcome into docs/peers.md, one section
# a part. A quiet machine and minutes of time are needed.
# usage: scripts/compare-peers.sh PART…      parts: memory peak gemm storage storage_uncapped collectives
set -euo pipefail
cd "$(dirname "$0")/.."

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

# `assay run storage` against fio, in turn. Arguments of tests/peers/storage.py, as --seconds 10, may be
# given in STORAGE_OPTIONS; STORAGE_PATH is the folder (build), ASSAY a binary (that of the preset release).
storage_beside_fio() {
  [ -n "${ASSAY:-}" ] || scripts/build.sh release --target assay
  # shellcheck disable=SC2086
  {
    echo "Peer: $(fio --version), engine io_uring, O_DIRECT, a 1 GiB file on the same volume. Load average $(cut -d' ' -f1 /proc/loadavg)."
    /usr/bin/python3 tests/peers/storage.py "$1" "${ASSAY:-build/release/assay}" "${STORAGE_PATH:-build}" ${STORAGE_OPTIONS:-}
  } | section "$2"
}
# Under caps, about 25 minutes; root and a cgroup v1 blkio controller are needed.
storage() { storage_beside_fio capped storage; }
# Without a cap, 15 pairs a case.
storage_uncapped() { storage_beside_fio uncapped "storage without a cap"; }

# Against loops written by hand, alternating every iteration in one process.
by_hand() {
  scripts/build.sh release --target assay_peers
  # At real-time priority, where that is allowed, other processes of this machine don't count.
  local first=() how="ordinary priority"
  if chrt -f 1 true 2>/dev/null; then first=(chrt -f 1) how="real-time priority"; fi
  {
    echo "Peer: tests/peers/hand.cpp, -O3 -march=native. At $how, load average $(cut -d' ' -f1 /proc/loadavg)."
    echo
    echo "| what | assay | peer | ratio | 95 % interval | bar | |"
    echo "|---|---|---|---|---|---|---|"
    "${first[@]}" build/release/tests/assay_peers "$1"
  } | section "$1"
}
memory() { by_hand memory; }
peak() { by_hand peak; }

# Against the peak of this machine, measured in the same rounds: 4096^3 at 0.90 or more.
gemm() {
  scripts/build.sh release --target assay
  local file
  file=$(mktemp -d)/gemm.json
  build/release/assay run gemm --dtype f32,bf16 --set m=4096 --set n=4096 --set k=4096 \
    --rounds 10 --max-seconds 30 --no-metadata --quiet --out "$file" >&2
  {
    echo "Bound: the peak probe of the same dtype, back to back in the same round."
    echo
    echo "| what | of here | rounds | bar | |"
    echo "|---|---|---|---|---|"
    /usr/bin/python3 tests/peers/of_here.py "$file" 0.90
  } | section gemm
  rm -r "$(dirname "$file")"
}

# Against MPI's own all-reduce, the rounds of one run in turn, and against the memory they share.
collectives() {
  scripts/build.sh release --target assay
  local folder first=() how="ordinary priority"
  local options=(--rounds 15 --max-seconds 2 --no-metadata --quiet)
  if chrt -f 1 true 2>/dev/null; then first=(chrt -f 1) how="real-time priority"; fi
  folder=$(mktemp -d)
  "${first[@]}" build/release/assay run all_reduce --backend mpi,native --set bytes=8,1M,64M \
    --set buffers=plain,shared "${options[@]}" --out "$folder/collectives.json" >&2
  "${first[@]}" build/release/assay run memory --set pattern=copy "${options[@]}" --out "$folder/memory.json" >&2
  {
    echo "Peer: MPI_Allreduce, plain buffers. Inputs rewritten and outputs read between operations. At $how, load average $(cut -d' ' -f1 /proc/loadavg)."
    echo
    echo "| what | assay | peer | ratio | 95 % interval | bar | |"
    echo "|---|---|---|---|---|---|---|"
    /usr/bin/python3 tests/peers/collectives.py "$folder/collectives.json" "$folder/memory.json"
  } | section collectives
  rm -r "$folder"
}

[ $# -gt 0 ] || { sed -n '2,4s/^# //p' "$0"; exit 2; }
for part in "$@"; do
  case "$part" in
    memory | peak | gemm | storage | storage_uncapped | collectives) "$part" ;;
    *) echo "compare-peers.sh: there is no part \"$part\"; parts: memory peak gemm storage storage_uncapped collectives" >&2; exit 2 ;;
  esac
done
