#!/usr/bin/env bash
# Builds the CPU image with buildah over a debootstrapped base, checks its size, user and keys, and
# runs the quick suite from it. Needs root; works where no container engine runs. Arguments go to
# `assay run`.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ $EUID -eq 0 ]] || { echo "check-container: must be root, for debootstrap and buildah" >&2; exit 2; }
for tool in debootstrap buildah; do
  command -v $tool >/dev/null || apt-get install -y -qq --no-install-recommends $tool >/dev/null
done
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
base=localhost/assay-base image=localhost/assay:cpu
max_compressed_mb=150

if ! buildah inspect --type image $base >/dev/null 2>&1; then
  root=$(mktemp -d)
  debootstrap --variant=minbase --include=ca-certificates bookworm "$root" >/dev/null
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  cp -rL /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"  # how this host reaches its mirror
  container=$(buildah from scratch)
  buildah add -q "$container" "$root" / >/dev/null
  buildah commit -q --rm "$container" $base >/dev/null
  rm -rf "$root"
fi

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
git archive HEAD | tar -x -C "$tree"
buildah bud -q --build-arg BASE=$base --target cpu -t $image -f containers/Containerfile "$tree" >/dev/null

buildah push -q $image "oci-archive:$tree/image.tar"
compressed_mb=$(($(stat -c %s "$tree/image.tar") / 1000000))
[[ $compressed_mb -le $max_compressed_mb ]] ||
  { echo "check-container: $compressed_mb MB compressed, more than $max_compressed_mb" >&2; exit 1; }

container=$(buildah from $image)
trap 'buildah rm "$container" >/dev/null; rm -rf "$tree"' EXIT
inside() { buildah run --isolation chroot "$container" -- "$@"; }
[[ $(inside id -u) != 0 ]] || { echo "check-container: the image runs as root" >&2; exit 1; }
! inside sh -c 'ls /etc/ssh/ssh_host_*' 2>/dev/null || { echo "check-container: keys in the image" >&2; exit 1; }
inside assay-entrypoint run "$@"
inside sh -c 'ls -l /results'
echo "check-container: $compressed_mb MB compressed, not root, no keys, quick suite ran"
