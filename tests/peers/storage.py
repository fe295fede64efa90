"""Sets `assay run storage` beside fio on the same volume, in turn, and writes a table.

Under a cap both run in one control group (cgroup v1 blkio, which takes root). Standard library only.
Usage: storage.py capped|uncapped ASSAY FOLDER [--only WORD] [--pairs N] [--seconds S] > table.md
"""
import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile

# Two-sided 95 % quantiles of Student's t by degrees of freedom.
STUDENT_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262,
             10: 2.228, 11: 2.201, 12: 2.179, 13: 2.160, 14: 2.145, 15: 2.131, 19: 2.093, 24: 2.064,
             29: 2.045}
CASES = [("randread", 4096, 32), ("randread", 4096, 1), ("randwrite", 4096, 32), ("randwrite", 4096, 1),
         ("seqread", 1 << 20, 32), ("seqwrite", 1 << 20, 32)]
# The caps, and the cases that meet them.
IOPS = [200, 1000, 3000, 10000]
BYTES_PER_S = [5_000_000, 50_000_000, 200_000_000]
CAPPED = [(f"{side}_iops_device", cap, (f"rand{side}", 4096, depth))
          for cap in IOPS for depth in (1, 32) for side in ("read", "write")]
# At 5 MB/s a MiB takes 0.2 s, so that half a measurement would count to 2 %.
CAPPED += [(f"{side}_bps_device", cap, (f"seq{side}", 1 << (17 if cap < 50_000_000 else 20), depth))
           for cap in BYTES_PER_S for depth in (1, 32) for side in ("read", "write")]
CGROUP = "/sys/fs/cgroup/blkio/assay-peers"
FIO_TUNED = ["--fixedbufs=1", "--registerfiles=1", "--iodepth_batch_submit=16", "--iodepth_batch_complete_min=8",
             "--iodepth_batch_complete_max=64", "--gtod_reduce=1"]
# The bars under a cap: how far assay may be from fio, and by how much its interval is widened.
MOST_OFF = 0.02
WIDER = 0.005
HELD = 0.9
# Where fio itself gives another rate after assay than before it, others use the volume: measured again.
SAME = 0.01
ATTEMPTS = 3


def run(command, cgroup=None):
    def join():
        if cgroup:
            with open(cgroup + "/cgroup.procs", "w") as procs:
                procs.write(str(os.getpid()))
    return subprocess.run(command, preexec_fn=join, stdout=subprocess.PIPE, check=True).stdout


def assay(args, case, seconds, rounds, cgroup=None):
    """One case by the program that people run: its record, and its figures."""
    pattern, block_bytes, depth = case
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "storage.json")
        run([args.assay, "run", "storage", "--storage-path", args.folder, "--set", f"pattern={pattern}", "--set",
             f"block_bytes={block_bytes}", "--set", f"depth={depth}", "--rounds", str(rounds), "--max-seconds",
             str(seconds), "--no-metadata", "--quiet", "--out", file], cgroup)
        with open(file, encoding="utf-8") as results:
            record, = json.load(results)["records"]
        figures, = json.loads(run([args.assay, "report", "--json", file]))["cases"]
    assert record["status"] == "ok" and record["verify"]["wrong"] == 0, record
    return record, figures


def fio(args, case, seconds, cgroup=None, options=()):
    pattern, block_bytes, depth = case
    rw = {"seqread": "read", "seqwrite": "write"}.get(pattern, pattern)
    reply = run(["fio", "--name=peer", "--filename=" + args.file, "--size=1g", "--rw=" + rw, f"--bs={block_bytes}",
                 f"--iodepth={depth}", "--ioengine=io_uring", "--direct=1", f"--runtime={seconds}", "--time_based",
                 "--ramp_time=1", "--output-format=json", *options], cgroup)
    job, = json.loads(reply)["jobs"]
    side = job["write" if pattern.endswith("write") else "read"]
    # fio's rate is taken as all its bytes over its whole runtime. Its own `iops` divides what ended within the asked
    # time by that longer time, and is too low.
    ios = side["io_bytes"] / block_bytes
    cpu_s = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] / 1000
    return ios / (side["runtime"] / 1000), cpu_s / ios


def fill(args):
    """The file of fio, written in full just before, as assay's is."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(args.file)
    run(["fio", "--name=fill", "--filename=" + args.file, "--size=1g", "--rw=write", "--bs=1m", "--iodepth=8",
         "--ioengine=io_uring", "--direct=1", "--refill_buffers", "--end_fsync=1", "--output=/dev/null"])


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
def cap_of(folder, what, limit):
    device = os.stat(folder).st_dev
    os.makedirs(CGROUP, exist_ok=True)
    try:
        with open(f"{CGROUP}/blkio.throttle.{what}", "w") as file:
            file.write(f"{os.major(device)}:{os.minor(device)} {limit}")
        yield CGROUP
    finally:
        os.rmdir(CGROUP)


def capped(args):
    if not os.path.isdir("/sys/fs/cgroup/blkio") or os.geteuid() != 0:
        sys.exit("storage.py: a cap takes root and a cgroup v1 blkio controller.")
    cells = [(what, limit, case) for what, limit, case in CAPPED
             if args.only in f"{name_of(case)}, {what} {limit}"]
    fill(args)
    free = {case: fio(args, case, 3)[0] for case in dict.fromkeys(case for _, _, case in cells)}
    print(f"\n{args.seconds} s each of `assay run storage` ({args.rounds} rounds) between two halves of fio (each behind"
          f" a ramp of 1 s), in one control group (cgroup v1 `blkio.throttle`); again, {ATTEMPTS} times at most, where the two"
          f" halves differ by over {SAME:.0%}:\n")
    print("| case | cap | assay | interval | fio | assay / fio | cap in the interval, widened by 0.5 % | |")
    print("|---|---|---|---|---|---|---|---|")
    near, held, skipped, repeated, disturbed, ratios = 0, 0, 0, 0, 0, []
    for what, limit, case in cells:
        unit, scale, per_transfer = ("MB/s", 1e6, case[1]) if "bps" in what else ("IOPS", 1, 1)
        row = f"| {name_of(case)} | {limit / scale:,.0f} {unit} |"
        if free[case] * per_transfer < limit:
            skipped += 1
            print(f"{row} | | | | | skipped: without a cap it is {free[case] * per_transfer / scale:,.0f} {unit} |",
                  flush=True)
            continue
        with cap_of(args.folder, what, limit) as cgroup:
            for attempt in range(ATTEMPTS):
                before, _ = fio(args, case, args.seconds // 2, cgroup)
                _, figures = assay(args, case, args.seconds, args.rounds, cgroup)
                after, _ = fio(args, case, args.seconds // 2, cgroup)
                if abs(after / before - 1) <= SAME:
                    break
            repeated += attempt
        iops = (before + after) / 2
        if abs(after / before - 1) > SAME:
            disturbed += 1
            print(f"{row} | | {before * per_transfer / scale:,.2f}, then {after * per_transfer / scale:,.2f} | | |"
                  " others used the volume, thrice |", flush=True)
            continue
        # Figures are in bytes or in transfers, by the size of a block.
        ours = figures["speed"] / (case[1] if figures["unit"] == "B/s" else 1) * per_transfer
        low, high = (ours * figures["interval"][end] for end in ("low", "high"))
        ratio = ours / (iops * per_transfer)
        ratios.append(ratio)
        is_near, is_held = abs(ratio - 1) <= MOST_OFF, low * (1 - WIDER) <= limit <= high * (1 + WIDER)
        near += is_near
        held += is_held
        print(f"{row} {ours / scale:,.2f} | {low / scale:,.2f} … {high / scale:,.2f} | {iops * per_transfer / scale:,.2f}"
              f" | {ratio:.4f} | {'yes' if is_held else 'no'} | {'met' if is_near else '**not met**'} |", flush=True)
        print(f"{name_of(case)}, {limit / scale:,.0f} {unit}: {ours / scale:,.2f}, fio {iops * per_transfer / scale:,.2f}",
              file=sys.stderr, flush=True)
    count = len(ratios)
    if count == 0:
        sys.exit("storage.py: no cell could be measured")
    worst = max(ratios, key=lambda ratio: abs(ratio - 1))
    print(f"\nWithin {MOST_OFF:.0%} of fio: {near} of {count} cells, the worst {worst:.4f} (bar: all,"
          f" {'met' if near == count else '**not met**'}). The cap in the interval: {held} of {count} (bar:"
          f" {HELD:.0%}, {'met' if held >= HELD * count else '**not met**'}). Skipped: {skipped}; disturbed: {disturbed}; measured again: {repeated} times.")


def uncapped(args):
    print(f"\n{args.pairs} pairs in turn, {args.seconds} s each; medians, and the ratio assay / fio with its"
          " 95 % interval (t on log ratios of pairs), which must not lie wholly below 0.97; that of processor time must not lie wholly above 1:\n")
    print("| case | assay IOPS | fio IOPS | ratio | verdict | CPU a transfer: assay | fio | fio, tuned |"
          " assay / fio | verdict |")
    print("|---|---|---|---|---|---|---|---|---|---|")

    def by_assay(case):
        record, figures = assay(args, case, args.seconds + 1, 1)
        per_transfer = case[1] if figures["unit"] == "B/s" else 1
        return figures["speed"] / per_transfer, record["facts"]["cpu_s_per_op"]

    def by_fio(case, options=()):
        fill(args)
        return fio(args, case, args.seconds, options=options)

    for case in CASES:
        if args.only not in name_of(case):
            continue
        ours, theirs, tuned = [], [], []
        for pair in range(args.pairs):
            sides = [(by_assay, ours), (by_fio, theirs)]
            for peer, results in sides if pair % 2 == 0 else reversed(sides):
                results.append(peer(case))
            tuned.append(by_fio(case, FIO_TUNED if case[2] >= 8 else FIO_TUNED[:2]))
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
    parser.add_argument("part", choices=["capped", "uncapped"])
    parser.add_argument("assay")
    parser.add_argument("folder")
    parser.add_argument("--only", default="", help="cells whose name holds this")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int,
                        help="of each measurement; even where capped [24; uncapped: 2]")
    args = parser.parse_args()
    args.file = os.path.join(args.folder, ".fio-peer.tmp")
    args.seconds = args.seconds or {"capped": 24, "uncapped": 2}[args.part]
    if args.part == "capped" and args.seconds % 2:
        parser.error("--seconds must be even: fio cuts off half seconds")
    try:
        (capped if args.part == "capped" else uncapped)(args)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(args.file)


if __name__ == "__main__":
    sys.exit(main())
