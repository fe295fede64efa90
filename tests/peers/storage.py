"""Sets assay's storage cases beside fio's, by paired runs that alternate, and writes a table.

Needs root (for the caps), fio, and the program storage_peer. Standard library only.
Usage: storage.py STORAGE_PEER FOLDER [--pairs N] [--seconds S] > table.md
"""
import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys

# Two-sided 95 % quantiles of Student's t by degrees of freedom.
STUDENT_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262,
             10: 2.228, 11: 2.201, 12: 2.179, 13: 2.160, 14: 2.145, 15: 2.131, 19: 2.093, 24: 2.064,
             29: 2.045}
CASES = [("randread", 4096, 32), ("randread", 4096, 1), ("randwrite", 4096, 32), ("randwrite", 4096, 1),
         ("seqread", 1 << 20, 32), ("seqwrite", 1 << 20, 32)]
# What is capped, at what, and the case that meets it.
CAPS = [("read_bps_device", 100_000_000, ("seqread", 1 << 20, 32)),
        ("write_bps_device", 100_000_000, ("seqwrite", 1 << 20, 32)),
        ("read_iops_device", 2000, ("randread", 4096, 32)),
        ("write_iops_device", 2000, ("randwrite", 4096, 32))]
CGROUP = "/sys/fs/cgroup/blkio/assay-peers"
FIO_TUNED = ["--fixedbufs=1", "--registerfiles=1", "--iodepth_batch_submit=16", "--iodepth_batch_complete_min=8",
             "--iodepth_batch_complete_max=64", "--gtod_reduce=1"]


def run(command, cgroup):
    def join():
        if cgroup:
            with open(cgroup + "/cgroup.procs", "w") as procs:
                procs.write(str(os.getpid()))
    result = subprocess.run(command, preexec_fn=join, stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout)


def assay(args, case, seconds, cgroup=None):
    pattern, block_bytes, depth = case
    reply = run([args.storage_peer, args.folder, pattern, str(block_bytes), str(depth), str(seconds)], cgroup)
    assert reply["wrong"] == 0 and reply["checked"] > 0, reply
    return reply["iops"], reply["cpu_s_per_op"]


def fio(args, case, seconds, cgroup=None, options=()):
    """On a file just written in full, as assay's is."""
    pattern, block_bytes, depth = case
    with contextlib.suppress(FileNotFoundError):
        os.remove(args.file)
    subprocess.run(["fio", "--name=fill", "--filename=" + args.file, "--size=1g", "--rw=write", "--bs=1m",
                    "--iodepth=8", "--ioengine=io_uring", "--direct=1", "--refill_buffers", "--end_fsync=1",
                    "--output=/dev/null"], check=True)
    rw = {"seqread": "read", "seqwrite": "write"}.get(pattern, pattern)
    reply = run(["fio", "--name=peer", "--filename=" + args.file, "--size=1g", "--rw=" + rw, f"--bs={block_bytes}",
                 f"--iodepth={depth}", "--ioengine=io_uring", "--direct=1", f"--runtime={seconds}", "--time_based",
                 "--output-format=json", *options], cgroup)
    job = reply["jobs"][0]
    side = job["write" if pattern.endswith("write") else "read"]
    cpu_s = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] / 1000
    return side["iops"], cpu_s / side["total_ios"]


def interval(ratios):
    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.mean(logs)
    if len(logs) < 2:
        return math.exp(mean), 0.0, math.inf
    degrees = max(d for d in STUDENT_T if d < len(logs))
    half = STUDENT_T[degrees] * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def name_of(case):
    return f"{case[0]} {case[1] // 1024} KiB, {case[2]} in flight"


@contextlib.contextmanager
def cap(folder, what, limit):
    device = os.stat(folder).st_dev
    os.makedirs(CGROUP, exist_ok=True)
    try:
        with open(f"{CGROUP}/blkio.throttle.{what}", "w") as file:
            file.write(f"{os.major(device)}:{os.minor(device)} {limit}")
        yield CGROUP
    finally:
        os.rmdir(CGROUP)


def capped(args):
    print(f"\nUnder a cap (cgroup v1 `blkio.throttle`), {args.capped_seconds} s each; both must reach 0.98 of it:\n")
    print("| case | cap | assay / cap | fio / cap | verdict |\n|---|---|---|---|---|")
    for what, limit, case in CAPS:
        with cap(args.folder, what, limit) as cgroup:
            shares = []
            for peer in (assay, fio):
                iops, _ = peer(args, case, args.capped_seconds, cgroup)
                shares.append(iops * (case[1] if "bps" in what else 1) / limit)
        verdict = "met" if min(shares) >= 0.98 else "missed"
        unit = "100 MB/s" if "bps" in what else "2,000 IOPS"
        print(f"| {name_of(case)} | {unit} | {shares[0]:.3f} | {shares[1]:.3f} | {verdict} |", flush=True)


def uncapped(args):
    print(f"\nUncapped, {args.pairs} pairs in turn, {args.seconds} s each; medians, and the ratio assay / fio with its"
          " 95 % interval (t on log ratios of pairs), which must not lie wholly below 0.97; that of processor time must not lie wholly above 1:\n")
    print("| case | assay IOPS | fio IOPS | ratio | verdict | CPU a transfer: assay | fio | fio, tuned |"
          " assay / fio | verdict |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for case in CASES:
        ours, theirs, tuned = [], [], []
        for pair in range(args.pairs):
            sides = [(assay, ours), (fio, theirs)]
            for peer, results in sides if pair % 2 == 0 else reversed(sides):
                results.append(peer(args, case, args.seconds))
            tuned.append(fio(args, case, args.seconds, options=FIO_TUNED if case[2] >= 8 else FIO_TUNED[:2]))
            print(f"{name_of(case)}, pair {pair + 1} of {args.pairs}: IOPS {ours[-1][0]:,.0f} / {theirs[-1][0]:,.0f},"
                  f" CPU {ours[-1][1] * 1e6:.1f} / {theirs[-1][1] * 1e6:.1f} us", file=sys.stderr, flush=True)
        ratio, low, high = interval([a[0] / f[0] for a, f in zip(ours, theirs)])
        cpu_ratio, cpu_low, cpu_high = interval([a[1] / f[1] for a, f in zip(ours, theirs)])
        cpu = [statistics.median(side[1] for side in results) * 1e6 for results in (ours, theirs, tuned)]
        print(f"| {name_of(case)} | {statistics.median(a[0] for a in ours):,.0f} |"
              f" {statistics.median(f[0] for f in theirs):,.0f} | {ratio:.3f} [{low:.3f}, {high:.3f}] |"
              f" {'met' if high >= 0.97 else 'missed'} | {cpu[0]:.2f} us | {cpu[1]:.2f} us | {cpu[2]:.2f} us |"
              f" {cpu_ratio:.3f} [{cpu_low:.3f}, {cpu_high:.3f}] | {'met' if cpu_low <= 1 else 'missed'} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("storage_peer")
    parser.add_argument("folder")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--capped-seconds", type=float, default=10)
    args = parser.parse_args()
    args.file = os.path.join(args.folder, ".fio-peer.tmp")
    try:
        if os.path.isdir("/sys/fs/cgroup/blkio") and os.geteuid() == 0:
            capped(args)
        else:
            print("\nNot capped: that takes root and a cgroup v1 blkio controller.")
        uncapped(args)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(args.file)


if __name__ == "__main__":
    sys.exit(main())
