#!/bin/sh
# Installs what every image holds besides its base: the libraries that the build found itself linked against
# (STAGED/packages), launchers' needs, the installed tree, a user that isn't root, and no keys.
# usage: install-runtime.sh STAGED
set -eu
apt-get update -qq
# The base's digest stands still, so what Debian has mended since is installed here.
DEBIAN_FRONTEND=noninteractive apt-get upgrade -y -qq
DEBIAN_FRONTEND=noninteractive xargs -a "$1/packages" \
  apt-get install -y -qq --no-install-recommends openmpi-bin openssh-client openssh-server
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /etc/ssh/ssh_host_*
cp -a "$1/usr/local/." /usr/local/
if [ -d /usr/local/cuda ]; then
  echo /usr/local/cuda/lib64 >/etc/ld.so.conf.d/cuda.conf
  ldconfig
fi
useradd --create-home assay
install -d -o assay -g assay /results
