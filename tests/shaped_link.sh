#!/usr/bin/env bash
# Two hosts and a link of 1 Gbit/s each way, as network namespaces of this one: how much of the link
# does a 16 MiB all-reduce use, and is the traffic what the formula says? Needs root, iproute2 and a
# build with MPI. Leaves nothing behind, not even when interrupted. Not a part of ctest: it's a
# measurement, and takes a minute.
#
#   tests/shaped_link.sh BUILD_FOLDER [BACKEND …]
#
# Two shared cores, Open MPI 4.1.4, libfabric 1.17: on a quiet machine native-mpi reached 0.986 of what
# the link can carry, ofi 0.984; Open MPI's own all-reduce 0.32 to 0.48. At a load average of 8 to 10
# the first two reach 0.955 to 0.968, since both hosts then wait for a core. Four segments in flight
# instead of 16 gave native-mpi 0.33 to 0.65.
set -euo pipefail

if [[ -z ${HOST_AGENT:-} ]]; then
  # A bucket of 256 KiB makes up for timers that wake late; with one of 16 KiB a plain socket doesn't
  # fill the link either. It fills while inputs are rewritten, a gift that is subtracted below.
  exec /usr/bin/python3 -B "$(dirname "$0")/hosts.py" 2 --rate 1gbit -- "$0" "$@"
fi

build=$(realpath "${1:?usage: tests/shaped_link.sh BUILD_FOLDER [BACKEND …]}")
shift
backends=("${@:-native-mpi}")
[[ $# -gt 0 ]] || backends=(native-mpi ofi)

size=$((16 << 20))
operations=${OPERATIONS:-20}
burst=$((256 << 10))  # as hosts.py has it
read -r a _ <<<"$HOSTS"

# Bytes and packets that host $1 has sent; segments that the device would cut count one by one.
sent() {
  ip netns exec "$1" tc -s qdisc show dev link0 | awk '/Sent/ { print $2, $4; exit }'
}

# Not bound to a core: either host would take the first, and they share this machine.
status=0
for backend in "${backends[@]}"; do
  read -r bytes packets < <(sent "$a")
  line=$(OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
    ip netns exec "$a" unshare -u bash -c "hostname $a; exec \"\$@\"" - \
    mpirun -np 2 --host "${HOST_ADDRESSES// /,}" --map-by node --bind-to none --mca btl tcp,self \
    --mca plm_rsh_agent "$HOST_AGENT" ${MPIRUN_OPTIONS:-} \
    "$build/link_program" all_reduce "$size" 2 "$operations" "$backend")
  read -r bytes_after packets_after < <(sent "$a")
  echo "$line"
  # A frame carries 1448 bytes of data in 1514 (Ethernet 14, IPv4 20, TCP 20 and its time stamps
  # 12). With two ranks each sends the whole size once: 2 (n - 1) / n of it.
  awk -v size="$size" -v operations="$operations" -v burst="$burst" -v bytes=$((bytes_after - bytes)) \
    -v packets=$((packets_after - packets)) '{
      ideal_s = (size * 1514 / 1448 - burst) / (1e9 / 8)
      share = ideal_s / $3
      fast = (share >= 0.97)
      ratio = (bytes - 66 * packets) / (size * operations)
      same = (ratio >= 0.98 && ratio <= 1.02)
      printf "  %.3f of what the link can carry (%.1f of %.1f MB/s): %s\n", share, size / $3 / 1e6,
             size / ideal_s / 1e6, fast ? "ok" : "TOO SLOW"
      printf "  %.4f of the bytes by formula were counted on the link: %s\n", ratio,
             same ? "ok" : "NOT THE SAME"
      exit !(fast && same && $7 == 0)
    }' <<<"$line" || status=1
done
exit $status
