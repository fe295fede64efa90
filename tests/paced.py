"""Measures under a real CPU quota and over a real link with burst credit, and holds each figure
against what these give. For scripts/check-pacing.sh; needs root. Not a part of ctest: it's timing.

usage: paced.py ASSAY [quota] [link]
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile

import hosts

OFF = 0.05  # how far a figure may be from the truth
CPU = "/sys/fs/cgroup/cpu"
PERIOD_US = 100_000
SHARE = 0.4  # of one core

failures = 0


def report(what, figure, truth, paced, wanted):
    global failures
    ratio = figure / truth
    good = abs(ratio - 1) <= OFF and paced in wanted
    failures += not good
    print(f"  {what:<44} {figure:12.4g} {truth:12.4g}  {ratio:.3f}  paced: {paced or '-':<10} {'ok' if good else 'WRONG'}",
          flush=True)


def measure(assay, command, words, **how):
    """The figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "run.json")
        ran = subprocess.run([*command, assay, *words, "--no-metadata", "--quiet", "--out", file],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **how)
        if ran.returncode != 0:
            sys.exit(f"paced.py: {' '.join(words)} ended with {ran.returncode}:\n{ran.stdout}")
        figures = subprocess.run([assay, "report", "--json", file], stdout=subprocess.PIPE, check=True)
        return json.loads(figures.stdout)["cases"]


@contextlib.contextmanager
def group_of(quota_us):
    """A control group that comes before all others; -1: without a quota."""
    group = f"{CPU}/assay-paced-{os.getpid()}"
    os.mkdir(group)
    try:
        for name, value in [("cpu.cfs_period_us", PERIOD_US), ("cpu.cfs_quota_us", quota_us), ("cpu.shares", 262144)]:
            with open(f"{group}/{name}", "w") as file:
                file.write(str(value))
        yield group
    finally:
        os.rmdir(group)


def check_quota(assay):
    """Beside the rates of one core without a quota, before and after."""
    words = ["run", "peak", "gemm", "--dtype", "f32", "--set", "m=512", "--set", "n=512", "--set", "k=512",
             "--threads", "1", "--rounds", "3", "--max-seconds", "6"]

    def within(quota_us, hidden=False):
        # Where the file system of control groups can't be seen, the batches alone tell.
        hide = "mount -t tmpfs none /sys/fs/cgroup && " if hidden else ""
        with group_of(quota_us) as group:
            join = f"echo $$ >{group}/cgroup.procs && exec unshare -m sh -c '{hide}exec \"$@\"' - \"$@\""
            return measure(assay, ["sh", "-c", join, "-"], words)

    held = int(SHARE * PERIOD_US)
    print(f"a CPU quota of {SHARE} cores:")
    before = within(-1)
    for hidden, wanted in [(False, ["CPU quota"]), (True, ["stalls"])]:
        cases, after = within(held, hidden), within(-1)
        for case, one, other in zip(cases, before, after):
            truth = SHARE * (one["speed"] + other["speed"]) / 2
            report(f"{case['probe']} {case['case']}, {'hidden' if hidden else 'seen'}", case["speed"], truth,
                   case["pacing"]["paced"], wanted)
        before = after


def check_link(assay):
    """An all-reduce of two ranks sends each byte once each way: 1448 bytes in a frame of 1514. While inputs
    are written anew a bucket fills, so that a small one is a gift to each operation. A credit that the warm-up
    uses up leaves no mark."""
    for mbit, bucket_mib, mib, rounds in [(20, 4, 1, 1), (200, 0.25, 8, 3)]:
        with hosts.Hosts(2, f"{mbit}mbit", f"{int(bucket_mib * 1024)}k") as made:
            print(f"a link of {mbit} Mbit/s with a bucket of {bucket_mib:g} MiB:")
            os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
            mpirun = ["mpirun", "-np", "2", "--host", ",".join(made.addresses), "--map-by", "node", "--bind-to", "none",
                      "--mca", "btl", "tcp,self", "--mca", "plm_rsh_agent", made.agent]
            words = ["run", "all_reduce", "--backend", "native-mpi", "--set", f"bytes={int(mib * 1024)}K", "--rounds", str(rounds),
                     "--max-seconds", "15"]
            size = mib * 2**20
            gift = bucket_mib * 2**20 if bucket_mib < mib else 0
            truth = size / ((size * 1514 / 1448 - gift) / (mbit * 1e6 / 8))
            for case in measure(assay, made.on(0, mpirun), words):
                report(f"all_reduce {case['case']}", case["speed"], truth, case["pacing"]["paced"], [None, "stalls", "burst"])


def main(assay, *parts):
    if os.geteuid() != 0:
        print("paced.py: control groups and network namespaces need root", file=sys.stderr)
        return 2
    print(f"  {'':<44} {'assay':>12} {'truth':>12}")
    if not parts or "quota" in parts:
        if not os.path.exists(f"{CPU}/cpu.cfs_quota_us"):
            print("paced.py: there is no cgroup v1 with a CPU quota", file=sys.stderr)
            return 2
        check_quota(os.path.abspath(assay))
    if not parts or "link" in parts:
        if reason := hosts.why_not():
            print(f"paced.py: {reason}", file=sys.stderr)
            return 2
        check_link(os.path.abspath(assay))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
