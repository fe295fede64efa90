#!/usr/bin/env bash
# Builds and tests the committed tree in a Debian 13 chroot, for its newer libraries (oneDNN 3.7,
# Open MPI 5, Google Benchmark 1.9). Needs root and debootstrap; keeps the chroot in
# ${ASSAY_TRIXIE:-/var/tmp/assay-trixie} for the next time.
set -euo pipefail
cd "$(dirname "$0")/.."
root=${ASSAY_TRIXIE:-/var/tmp/assay-trixie}
[[ $EUID -eq 0 ]] || { echo "check-trixie: must be root, for debootstrap and chroot" >&2; exit 2; }

if [[ ! -x $root/usr/bin/apt-get ]]; then
  command -v debootstrap >/dev/null || apt-get install -y -qq debootstrap >/dev/null
  debootstrap --variant=minbase --include=ca-certificates trixie "$root" >/dev/null
fi
# How this host reaches its mirror holds within the chroot too.
cp -rL /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true

mounted=()
cleanup() { for at in "${mounted[@]}"; do umount -l "$at"; done; }
trap cleanup EXIT
# A mount of its own, so that within it "/" has a line in mountinfo, as on any machine.
mount --bind "$root" "$root" && mounted=("$root")
for at in proc sys dev dev/shm; do
  mount --rbind "/$at" "$root/$at" && mount --make-rslave "$root/$at" && mounted=("$root/$at" "${mounted[@]}")
done

mkdir -p "$root/src"
git archive HEAD | tar -x -C "$root/src"
chroot "$root" env -u LD_PRELOAD PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
  /src/scripts/test.sh "$@"
