#!/bin/sh
# Without arguments, or with those of assay: assay, in /results. `sshd` serves a launcher on
# ${ASSAY_SSH_PORT:-2222} with a host key made for this container alone; whoever starts it mounts
# ~/.ssh/authorized_keys. Anything that is a program's name is run as it is (mpirun, bash).
set -eu

if [ "${1:-}" = sshd ]; then
  keys=$(mktemp -d)
  ssh-keygen -q -t ed25519 -N '' -f "$keys/host_key"
  exec /usr/sbin/sshd -D -e -p "${ASSAY_SSH_PORT:-2222}" -h "$keys/host_key" \
    -o PasswordAuthentication=no -o PidFile=none -o UsePAM=no
fi

if ! grep -q ' /results ' /proc/self/mountinfo; then
  echo "note: /results is not a mount, so what is written there ends with this container; fix:" \
    "-v \"\$PWD:/results\", or afterwards: podman cp $(cat /etc/hostname):/results/. ." >&2
fi
case "${1:-run}" in
  run | list | env | compare | report | price | -*) exec assay "$@" ;;
  *) exec "$@" ;;
esac
