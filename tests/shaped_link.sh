#!/usr/bin/env bash
# Two hosts and a link of 1 Gbit/s each way, as network namespaces of this one: how much of the link
# does a 16 MiB all-reduce use, and is the traffic what the formula says? Needs root, iproute2 and a
# build with MPI. Leaves nothing behind, not even when interrupted. Not a part of ctest: it's a
# measurement, and takes a minute.
#
#   tests/shaped_link.sh BUILD_FOLDER [BACKEND …]
#
# Two shared cores, Open MPI 4.1.4, libfabric 1.17: at a load average of 5 native-mpi reached 0.975 of
# what the link can carry, ofi 0.972 to 0.983, Open MPI's own all-reduce 0.32 to 0.48; at 8 to 10 the
# first two 0.955 to 0.968, since both hosts then wait for a core. Four segments in flight instead of
# 16 gave native-mpi 0.33 to 0.65.
set -euo pipefail

build=$(realpath "${1:?usage: tests/shaped_link.sh BUILD_FOLDER [BACKEND …]}")
shift
backends=("${@:-native-mpi}")
[[ $# -gt 0 ]] || backends=(native-mpi ofi)
[[ $EUID -eq 0 ]] || { echo "shaped_link: needs root, for network namespaces" >&2; exit 2; }

size=$((16 << 20))
operations=${OPERATIONS:-20}
burst=$((256 << 10))
# Two hosts that no other run of this script has.
a=assay-$$-a
b=assay-$$-b
scratch=$(mktemp -d)

cleanup() {
  for host in "$a" "$b"; do
    if [[ -e /run/netns/$host ]]; then
      ip netns pids "$host" | xargs -r kill -KILL 2>/dev/null || true
      ip netns delete "$host" || true
    fi
  done
  rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

ip netns add "$a"
ip netns add "$b"
ip link add link0 netns "$a" type veth peer name link0 netns "$b"
for host in "$a" "$b"; do
  address=10.231.77.$([[ $host == "$a" ]] && echo 1 || echo 2)
  ip -n "$host" link set lo up
  ip -n "$host" address add "$address/24" dev link0
  ip -n "$host" link set link0 up
  # The bucket makes up for timers that wake late; with one of 16 KiB a plain socket doesn't fill the
  # link either. It fills while inputs are rewritten, a gift that is subtracted below.
  ip netns exec "$host" tc qdisc add dev link0 root tbf rate 1gbit burst "$burst" latency 20ms
done

for host in "$a" "$b"; do
  until ip -n "$host" link show dev link0 | grep -q 'state UP'; do sleep 0.05; done
done

# How mpirun reaches the other host: as ssh would, with a name of its own.
cat > "$scratch/agent" <<AGENT
#!/usr/bin/env bash
shift
exec ip netns exec $b unshare -u bash -c 'hostname $b; exec bash -c "\$*"' - "\$@"
AGENT
chmod +x "$scratch/agent"

# Bytes and packets that host $1 has sent; segments that the device would cut count one by one.
sent() {
  ip netns exec "$1" tc -s qdisc show dev link0 | awk '/Sent/ { print $2, $4; exit }'
}

# Not bound to a core: either host would take the first, and they share this machine.
status=0
for backend in "${backends[@]}"; do
  read -r bytes packets < <(sent "$a")
  # In the background, so that a signal is obeyed at once and not when it ends.
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 TMPDIR=$scratch \
    ip netns exec "$a" unshare -u bash -c "hostname $a; exec \"\$@\"" - \
    mpirun -np 2 --host 10.231.77.1,10.231.77.2 --map-by node --bind-to none --mca btl tcp,self \
    --mca plm_rsh_agent "$scratch/agent" ${MPIRUN_OPTIONS:-} \
    "$build/link_program" all_reduce "$size" 2 "$operations" "$backend" > "$scratch/line" &
  wait $!
  line=$(<"$scratch/line")
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
