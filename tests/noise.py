"""Counts the wrong verdicts of `assay compare` on this machine: for scripts/check-noise.sh, which says what
is held to what. Not a part of ctest: it's timing.

usage: noise.py ASSAY FOLDER [--trials N] [KIND…]
"""

import argparse
import contextlib
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys

ALIKE = ["compute", "collectives", "storage"]
UNLIKE = ["quota", "throttle", "slight"]
PAIRS, MOST_FALSE = 30, 4
TRIALS = {"quota": 20, "throttle": 20, "slight": 40}
LEAST_FOUND = {"quota": 18, "throttle": 18, "slight": 28}
QUOTA = {"quota": 0.3, "slight": 0.9}  # of all CPUs
# The largest deviation between runs with which three a side find 10 % less in four of five trials (Welch's t).
MOST_SIGMA = 0.029
READ_IOPS = 4000  # and half of it

SHAPE = ["--set", "m=1024", "--set", "n=1024", "--set", "k=1024"]
RUN = {
    "compute": ["run", "peak", "gemm", "memory", "--dtype", "f32", *SHAPE, "--rounds", "5", "--max-seconds", "1"],
    "collectives": ["-b", "8", "-e", "4M", "-f", "8", "-n", "20"],
    "storage": ["run", "storage", "--set", "pattern=randread,seqread", "--set", "block_bytes=64K", "--set", "depth=8",
                "--rounds", "3", "--max-seconds", "4"],
    "quota": ["run", "peak", "--dtype", "f32", "--rounds", "3", "--max-seconds", "3"],
    "slight": ["run", "peak", "gemm", "--dtype", "f32", *SHAPE, "--rounds", "3", "--max-seconds", "2"],
    "throttle": ["run", "storage", "--set", "pattern=randread", "--set", "block_bytes=4K", "--set", "depth=32",
                 "--rounds", "3", "--max-seconds", "4"],
}


@contextlib.contextmanager
def group(controller, settings):
    """A control group (v1) with these settings; its task file."""
    path = f"/sys/fs/cgroup/{controller}/assay-noise-{os.getpid()}"
    os.mkdir(path)
    try:
        for name, value in settings.items():
            with open(f"{path}/{name}", "w") as file:
                file.write(str(value))
        yield f"{path}/cgroup.procs"
    finally:
        os.rmdir(path)


def held(kind, side, folder):
    """What a run of this side is held to."""
    if kind in QUOTA and side == "b":
        return group("cpu", {"cpu.cfs_period_us": 100_000, "cpu.cfs_quota_us": int(QUOTA[kind] * os.cpu_count() * 100_000)})
    if kind == "throttle":
        device = os.stat(folder).st_dev
        cap = READ_IOPS if side == "a" else READ_IOPS // 2
        return group("blkio", {"blkio.throttle.read_iops_device": f"{os.major(device)}:{os.minor(device)} {cap}"})
    return contextlib.nullcontext()


def measure(assay, kind, side, file):
    """One run, unless its file is there."""
    if file.exists():
        return
    unfinished = file.with_suffix(".new.json")
    for old in (unfinished, pathlib.Path(f"{unfinished}.part")):
        old.unlink(missing_ok=True)
    binary = assay
    if kind == "collectives":
        binary = file.parent / "all_reduce_perf"
        if not binary.is_symlink():
            binary.symlink_to(assay)
    where = ["--storage-path", file.parent] if kind in ("storage", "throttle") else []
    with held(kind, side, file.parent) as procs:
        def join():
            if procs:
                with open(procs, "w") as tasks:
                    tasks.write(str(os.getpid()))
        ran = subprocess.run([binary, *RUN[kind], *where, "--no-metadata", "--quiet", "--out", unfinished], preexec_fn=join,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ran.returncode != 0 and not unfinished.exists():
        sys.exit(f"noise.py: a run of {kind} ended with {ran.returncode}:\n{ran.stdout}")
    unfinished.rename(file)


def verdicts(assay, a, b):
    """Those that say that something differs."""
    compared = subprocess.run([assay, "compare", "--a", *a, "--b", *b, "--json"], stdout=subprocess.PIPE)
    cases = json.loads(compared.stdout)["cases"]
    if not cases:
        sys.exit(f"noise.py: nothing in common to compare in {a} and {b}")
    return [(case["probe"], case["case"], case["verdict"], case["change"]["estimate"]) for case in cases
            if case["verdict"].endswith(("faster", "slower"))]  # guessed ones too


def alike(assay, kind, folder, pairs):
    wrong = 0
    for pair in range(pairs):
        a, b = (folder / f"{kind}-{pair:02}-{side}.json" for side in "ab")
        measure(assay, kind, "a", a)
        measure(assay, kind, "b", b)
        found = verdicts(assay, [a], [b])
        wrong += bool(found)
        for case in found:
            print(f"  pair {pair}: {case}", flush=True)
    most = MOST_FALSE * pairs // PAIRS
    print(f"{kind}: {wrong} of {pairs} pairs have a false verdict (at most {most}): {'met' if wrong <= most else 'NOT MET'}",
          flush=True)
    return wrong <= most


def speeds(assay, file):
    """The log speed of each case of a run."""
    reported = subprocess.run([assay, "report", file, "--json"], check=True, stdout=subprocess.PIPE)
    return {(case["probe"], case["case"]): math.log(case["speed"]) for case in json.loads(reported.stdout)["cases"] if case["speed"]}


def sigma_of(assay, sides):
    """The deviation between runs of the case that varies most, over sides of several runs each."""
    squares, df = {}, 0
    for files in sides:
        runs = [speeds(assay, file) for file in files]
        df += len(runs) - 1
        for case in runs[0]:
            squares[case] = squares.get(case, 0) + (len(runs) - 1) * statistics.variance([run[case] for run in runs])
    return math.sqrt(max(squares.values()) / df)


def says_how_many(assay, a, b):
    """Whether compare says how many runs more would tell, where it doesn't tell."""
    compared = subprocess.run([assay, "compare", "--a", *a, "--b", *b, "--fail-slower", "8%"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
    return compared.returncode == 1 or "it takes" in compared.stderr


def unlike(assay, kind, folder, trials):
    seen = 0
    sides, missed = [], []
    for trial in range(trials):
        files = {side: [folder / f"{kind}-{trial:02}-{side}{run}.json" for run in range(3)] for side in "ab"}
        for run in range(3):  # in turn, so that no side has another time of day
            for side in "ab":
                measure(assay, kind, side, files[side][run])
        sides.append(files["a"])
        found = verdicts(assay, files["a"], files["b"])
        right = bool(found) and all(case[2].startswith("slower") for case in found)
        seen += right
        if not right:
            missed.append((files["a"], files["b"]))
            print(f"  trial {trial}: {found}", flush=True)
    least = -(-LEAST_FOUND[kind] * trials // TRIALS[kind])
    sigma = sigma_of(assay, sides)
    if kind == "slight" and sigma > MOST_SIGMA:
        said = sum(says_how_many(assay, a, b) for a, b in missed)
        print(f"{kind}: runs differ by {100 * sigma:.1f} %, too much for three a side to find 10 %: found in {seen} of {trials} trials, and in "
              f"{said} of the {len(missed)} others it says how many runs would: {'met' if said == len(missed) else 'NOT MET'}", flush=True)
        return said == len(missed)
    print(f"{kind}: found in {seen} of {trials} trials (at least {least}): {'met' if seen >= least else 'NOT MET'}", flush=True)
    return seen >= least


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("assay", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--trials", type=int, help="instead of 30 pairs and 20 or 40 trials")
    args = parser.parse_intermixed_args()
    if unknown := set(args.kinds) - {*ALIKE, *UNLIKE}:
        parser.error(f"there is no kind {', '.join(sorted(unknown))}; kinds: {' '.join(ALIKE + UNLIKE)}")
    assay, folder = args.assay.resolve(), args.folder.resolve()
    good = True
    for kind in args.kinds or ALIKE + UNLIKE:
        if kind in ALIKE:
            good &= alike(assay, kind, folder, args.trials or PAIRS)
        else:
            good &= unlike(assay, kind, folder, args.trials or TRIALS[kind])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
