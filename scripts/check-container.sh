#!/usr/bin/env bash
# Builds an image with buildah over a debootstrapped base, checks its size, user and keys, and runs the
# quick suite from it; of "cuda" also that its libraries are found where no driver is. Needs root; works
# where no container engine runs. Further arguments go to `assay run`.
# usage: check-container.sh [cpu|cuda] [ARGUMENT …]
set -euo pipefail
cd "$(dirname "$0")/.."
target=cpu
if [[ ${1:-} =~ ^(cpu|cuda)$ ]]; then
  target=$1
  shift
fi
[[ $EUID -eq 0 ]] || { echo "check-container: must be root, for debootstrap and buildah" >&2; exit 2; }
for tool in debootstrap buildah; do
  command -v $tool >/dev/null || apt-get install -y -qq --no-install-recommends $tool >/dev/null
done
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
base=localhost/assay-check-base image=localhost/assay:$target
declare -A most_compressed_mb=([cpu]=150 [cuda]=2000)

if ! buildah inspect --type image $base >/dev/null 2>&1; then
  root=$(mktemp -d)
  debootstrap --force-check-gpg --variant=minbase --include=ca-certificates bookworm "$root" >/dev/null
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  # How this host reaches its mirror and PyPI: images of this check are for this host alone.
  cp -rL /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  [[ ! -e /etc/pip.conf ]] || cp /etc/pip.conf "$root/etc/"
  container=$(buildah from scratch)
  buildah add -q "$container" "$root" / >/dev/null
  buildah commit -q --rm "$container" $base >/dev/null
  rm -rf "$root"
fi

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
git archive HEAD | tar -x -C "$tree"
buildah bud -q --build-arg BASE=$base --target "$target" -t "$image" -f containers/Containerfile "$tree" >/dev/null

buildah push -q "$image" "oci-archive:$tree/image.tar"
compressed_mb=$(($(stat -c %s "$tree/image.tar") / 1000000))
[[ $compressed_mb -le ${most_compressed_mb[$target]} ]] ||
  { echo "check-container: $compressed_mb MB compressed, more than ${most_compressed_mb[$target]}" >&2; exit 1; }

container=$(buildah from "$image")
trap 'buildah rm "$container" >/dev/null; rm -rf "$tree"' EXIT
inside() { buildah run --isolation chroot "$container" -- "$@"; }
[[ $(inside id -u) != 0 ]] || { echo "check-container: the image runs as root" >&2; exit 1; }
! inside sh -c 'ls /etc/ssh/ssh_host_*' 2>/dev/null || { echo "check-container: keys in the image" >&2; exit 1; }
if [[ $target == cuda ]]; then
  { inside assay list && inside assay env --no-metadata; } >"$tree/list"
  # Each library tells its version once it is loaded, and nothing but a driver may be missing.
  for found in 'CUDA [0-9.]* (driver: none), cuBLASLt [0-9.]*, cuDNN [0-9]' 'nccl  *NCCL [0-9]' \
    'not here: cublaslt (module cuda)' 'not here: cudnn (module cuda)' 'cuda  *not loaded: there is no NVIDIA driver'; do
    grep -q "$found" "$tree/list" || { echo "check-container: no '$found' in assay list or env" >&2; exit 1; }
  done
fi
inside assay-entrypoint run "$@"
inside sh -c 'ls -l /results'
echo "check-container: $compressed_mb MB compressed, not root, no keys, quick suite ran"
