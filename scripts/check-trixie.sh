#!/usr/bin/env bash
# Builds and tests the committed tree in a Debian 13 chroot, for its newer libraries (oneDNN 3.7,
# Open MPI 5, Google Benchmark 1.9). Needs root and debootstrap; keeps the chroot in a folder of root's,
# ${ASSAY_TRIXIE:-/var/cache/assay-trixie}, for the next time.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ $EUID -eq 0 ]] || { echo "check-trixie: must be root, for debootstrap and chroot" >&2; exit 2; }
folder=${ASSAY_TRIXIE:-/var/cache/assay-trixie}

# The folder's programs are run as root, so root alone may be able to change them. The folder is closed to
# others, also to those who would run a setuid program in it. The folders above it can't be written by
# others, or are sticky, where nobody can move what is root's.
above=$(realpath -e -- "$(dirname -- "$folder")" 2>/dev/null) || { echo "check-trixie: there is no folder for $folder" >&2; exit 2; }
folder=${above%/}/$(basename -- "$folder")
refuse() {
  echo "check-trixie: $folder $1, so that what is in it can't be run as root; give ASSAY_TRIXIE a folder that isn't there yet" >&2
  exit 2
}
at=$folder
while [[ $at != / ]]; do
  at=$(dirname -- "$at")
  [[ -n $(find "$at" -maxdepth 0 -user 0 \( ! -perm /022 -o -perm -1000 \)) ]] || refuse "is below $at, which others may write"
done
[[ -e $folder || -L $folder ]] || mkdir -m 700 -- "$folder"
[[ -n $(find "$folder" -maxdepth 0 -type d -user 0 ! -perm /077) ]] || refuse "is no folder of root's alone (mode 700)"
root=$folder/root

if [[ ! -x $root/usr/bin/apt-get ]]; then
  command -v debootstrap >/dev/null || apt-get install -y -qq debootstrap >/dev/null
  debootstrap --force-check-gpg --variant=minbase --include=ca-certificates trixie "$root" >/dev/null
fi
# How this host reaches its mirror holds within the chroot too. A link there leads elsewhere from here, so
# that it is replaced and not followed.
cp -rL --remove-destination /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
cp -L --remove-destination /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true

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
