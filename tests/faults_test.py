"""A rank that is killed or stopped while ranks work together, however they were started: each run
ends in time with a diagnosis that names it, keeps its file, and leaves no process behind."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ASSAY = os.path.abspath(sys.argv[1])
WATCHDOG_S = 4
failures = []


def ranks_of(marker):
    """The processes of this run that are ranks, by rank."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            variables = open(f"/proc/{pid}/environ", "rb").read().decode(errors="replace").split("\0")
            program = os.readlink(f"/proc/{pid}/exe")
        except OSError:
            continue
        if f"ASSAY_FAULTS_TEST={marker}" not in variables or program != ASSAY:
            continue
        for name in ("OMPI_COMM_WORLD_RANK=", "PMI_RANK=", "RANK="):
            for variable in variables:
                if variable.startswith(name):
                    found[int(variable[len(name):])] = int(pid)
    return found


def left_over(marker):
    pids = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if f"ASSAY_FAULTS_TEST={marker}".encode() in open(f"/proc/{pid}/environ", "rb").read():
                pids.append(int(pid))
        except OSError:
            pass
    return pids


def nobody_is_left(marker):
    for _ in range(50):
        if not left_over(marker):
            return True
        time.sleep(0.1)
    return False


def check(name, ok, detail):
    print(("ok    " if ok else "WRONG ") + name + ("" if ok else f": {detail}"), flush=True)
    if not ok:
        failures.append(name)


def run(name, launcher, question, fault, statuses, words):
    folder = tempfile.mkdtemp()
    marker = f"{os.getpid()}-{name.replace(' ', '-')}"
    out = os.path.join(folder, "run.json")
    environment = dict(os.environ, ASSAY_FAULTS_TEST=marker, OMPI_ALLOW_RUN_AS_ROOT="1",
                       OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    # Ranks that end with the run leave a case of which some visits are there already; those that the
    # run started itself end alone, and it goes on with other cases.
    command = launcher + [ASSAY, "run", *question, "--set", "bytes=16M", "--rounds", "1000",
                          "--max-seconds", "1000", "--no-metadata", "--watchdog", str(WATCHDOG_S),
                          "--out", out]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    try:
        begin = time.monotonic()
        # At least one visit is over before the fault.
        while time.monotonic() - begin < 40:
            try:
                if len(ranks_of(marker)) == 2 and open(out + ".part").read().count("\n") >= 2:
                    break
            except OSError:
                pass
            time.sleep(0.05)
        os.kill(ranks_of(marker)[1], fault)
        begin = time.monotonic()
        text, _ = process.communicate(timeout=60)
        took = time.monotonic() - begin
        # 16 MiB at 10 MB/s, three times, is what the work itself may take.
        check(f"{name}: in time ({took:.1f} s)", took < WATCHDOG_S + 10, text)
        check(f"{name}: exit status {process.returncode}", process.returncode in statuses, text)
        kept = json.load(open(out)) if os.path.exists(out) else {}
        broken = [r for r in kept.get("records", []) if r["status"] in ("failed", "partial")]
        reasons = " ".join(r.get("reason", "") for r in broken)
        check(f"{name}: the file is kept", len(kept.get("records", [])) > 0, text)
        check(f"{name}: named in the file", any(w in reasons for w in words), reasons + text)
        check(f"{name}: visits are kept", any(r.get("rounds") for r in kept.get("records", [])), text)
        check(f"{name}: no process is left", nobody_is_left(marker), left_over(marker))
    finally:
        for pid in left_over(marker):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder)


def never_comes(name, launcher, statuses):
    """One rank is replaced by a program that never joins; MPI_Init would wait for it for ever."""
    marker = f"{os.getpid()}-{name.replace(' ', '-')}"
    environment = dict(os.environ, ASSAY_FAULTS_TEST=marker, OMPI_ALLOW_RUN_AS_ROOT="1",
                       OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    late = '[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 1 ] && exec sleep 100; exec "$@"'
    begin = time.monotonic()
    done = subprocess.run(launcher + ["sh", "-c", late, "sh", ASSAY, "coll", "all_reduce",
                                      "--watchdog", "2"], env=environment, capture_output=True,
                          text=True, timeout=60)
    took = time.monotonic() - begin
    check(f"{name}: in time ({took:.1f} s)", 2 < took < 12, done.stderr)
    check(f"{name}: exit status {done.returncode}", done.returncode in statuses, done.stderr)
    check(f"{name}: named", f"rank 0 of 2 on {socket.gethostname()}: MPI_Init" in done.stderr,
          done.stderr)
    check(f"{name}: no process is left", nobody_is_left(marker), left_over(marker))


def stopped_at_the_end(name, launcher):
    """A rank is stopped while rank 0 measures alone: it is missed when they take leave."""
    folder = tempfile.mkdtemp()
    marker = f"{os.getpid()}-{name.replace(' ', '-')}"
    out = os.path.join(folder, "run.json")
    environment = dict(os.environ, ASSAY_FAULTS_TEST=marker, OMPI_ALLOW_RUN_AS_ROOT="1",
                       OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    process = subprocess.Popen(
        launcher + [ASSAY, "run", "memory", "--set", "pattern=read", "--rounds", "2",
                    "--max-seconds", "1", "--no-metadata", "--watchdog", "2", "--out", out],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for _ in range(400):
            if len(ranks_of(marker)) == 2 and os.path.exists(out + ".part"):
                break
            time.sleep(0.05)
        os.kill(ranks_of(marker)[1], signal.SIGSTOP)
        text, _ = process.communicate(timeout=60)
        check(f"{name}: exit status {process.returncode}", process.returncode == 3, text)
        check(f"{name}: named", "MPI_Finalize" in text and "; rank 1 is stopped" in text, text)
        kept = json.load(open(out)) if os.path.exists(out) else {}
        check(f"{name}: the file is whole", kept.get("complete") is True, text)
        check(f"{name}: no process is left", nobody_is_left(marker), left_over(marker))
    finally:
        for pid in left_over(marker):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder)


def has_module(name):
    return os.path.exists(os.path.join(os.path.dirname(ASSAY), f"libassay-{name}.so"))


for family, options in (("openmpi", ["--oversubscribe"]), ("mpich", [])):
    mpirun = shutil.which("mpirun." + family)
    if not mpirun or not has_module(family):
        print(f"skipped: there is no mpirun.{family}, or no module for it")
        continue
    outer = [mpirun, *options, "-np", "2"]
    # hydra makes one status of that of the rank and that of the program that it killed.
    never_comes(f"{family} never comes", outer, (3,) if family == "openmpi" else range(1, 256))
    stopped_at_the_end(f"{family} stopped at the end", outer)
    run(f"{family} stopped", outer, ["all_reduce"], signal.SIGSTOP, (3,), ["rank 1 is stopped"])

mpirun = shutil.which("mpirun.openmpi")
outer = [mpirun, "--oversubscribe", "-np", "2"] if mpirun else None
if mpirun:
    run("mpirun killed", outer, ["all_reduce"], signal.SIGKILL, (1, 3, 130, 137), ["rank 1 is gone"])
    by_mpi = ["all_reduce", "--backend", "mpi"]
    run("launched by mpirun killed", [], by_mpi, signal.SIGKILL, (1,), ["ended early"])
    run("launched by mpirun stopped", [], by_mpi, signal.SIGSTOP, (3,), ["rank 1 is stopped"])
else:
    print("skipped: there is no mpirun.openmpi")
without_mpi = ["native"]
if has_module("ofi"):
    without_mpi.append("ofi")
for backend in without_mpi:
    reduce = ["all_reduce", "--backend", backend]
    run(backend + " killed", [], reduce, signal.SIGKILL, (1, 3), ["rank 1 was killed by signal 9"])
    run(backend + " stopped", [], reduce, signal.SIGSTOP, (3,),
        ["rank 1 is stopped", "rank 1 was stopped"])
sys.exit(1 if failures else 0)
