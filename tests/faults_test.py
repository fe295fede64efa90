"""A rank that is killed or stopped while ranks work together, however they were started: each run
ends in time with a diagnosis that names it, keeps its file, and leaves no process behind."""

import concurrent.futures
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checks import check, failures, has_module, marked, nobody_is_left  # noqa: E402

ASSAY = os.path.abspath(sys.argv[1])
WATCHDOG_S = 4


class Trial:
    """A folder for its file, and an environment by which its processes are known."""

    def __init__(self, name, folder):
        self.out = os.path.join(folder, "run.json")
        self.marker = f"ASSAY_FAULTS_TEST={os.getpid()}-{name.replace(' ', '-')}"
        variable, value = self.marker.split("=")
        self.environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1",
                                OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", **{variable: value})

    def ranks(self):
        """The processes that are ranks, by rank."""
        return {int(variable.split("=")[1]): pid
                for pid, variables, program in marked(self.marker) if program == ASSAY
                for variable in variables
                if variable.startswith(("OMPI_COMM_WORLD_RANK=", "PMI_RANK=", "RANK="))}

    def left_over(self):
        return [pid for pid, _, _ in marked(self.marker)]

    def start(self, command):
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def kept(self):
        return json.load(open(self.out)) if os.path.exists(self.out) else {}


@contextlib.contextmanager
def trial(name):
    """Leaves no process and no file behind, however it ends."""
    folder = tempfile.mkdtemp()
    one = Trial(name, folder)
    try:
        yield one
        check(f"{name}: no process is left", nobody_is_left(one.left_over), one.left_over())
    finally:
        for pid in one.left_over():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder)


def run(name, launcher, question, fault, statuses, words):
    ask(name, launcher, ["run", *question, "--set", "bytes=16M", "--watchdog", str(WATCHDOG_S)], fault,
        statuses, words)


def ask(name, launcher, question, fault, statuses, words):
    with trial(name) as one:
        # Ranks that end with the run leave a case of which some visits are there already; those that
        # the run started itself end alone, and it goes on with other cases.
        process = one.start(launcher + [
            ASSAY, *question, "--rounds", "1000", "--max-seconds", "1000", "--no-metadata",
            "--out", one.out])
        begin = time.monotonic()
        # At least one visit is over before the fault.
        while time.monotonic() - begin < 40:
            try:
                if len(one.ranks()) == 2 and open(one.out + ".part").read().count("\n") >= 2:
                    break
            except OSError:
                pass
            time.sleep(0.05)
        os.kill(one.ranks()[1], fault)
        begin = time.monotonic()
        text, _ = process.communicate(timeout=60)
        took = time.monotonic() - begin
        # 16 MiB at 10 MB/s, three times, is what the work itself may take.
        check(f"{name}: in time ({took:.1f} s)", took < WATCHDOG_S + 10, text)
        check(f"{name}: exit status {process.returncode}", process.returncode in statuses, text)
        records = one.kept().get("records", [])
        reasons = " ".join(r.get("reason", "") for r in records if r["status"] in ("failed", "partial"))
        check(f"{name}: the file is kept", len(records) > 0, text)
        check(f"{name}: named in the file", any(w in reasons for w in words), reasons + text)
        check(f"{name}: visits are kept", any(r.get("rounds") for r in records), text)


def never_comes(name, launcher, statuses):
    """One rank is replaced by a program that never joins; MPI_Init would wait for it for ever."""
    late = '[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 1 ] && exec sleep 100; exec "$@"'
    with trial(name) as one:
        begin = time.monotonic()
        done = subprocess.run(launcher + ["sh", "-c", late, "sh", ASSAY, "coll", "all_reduce",
                                          "--watchdog", "2"], env=one.environment,
                              capture_output=True, text=True, timeout=60)
        took = time.monotonic() - begin
        check(f"{name}: in time ({took:.1f} s)", 2 < took < 12, done.stderr)
        check(f"{name}: exit status {done.returncode}", done.returncode in statuses, done.stderr)
        check(f"{name}: named", f"rank 0 of 2 on {socket.gethostname()}: MPI_Init" in done.stderr,
              done.stderr)


def stopped_at_the_end(name, launcher):
    """A rank is stopped while rank 0 measures alone: it is missed when they take leave."""
    with trial(name) as one:
        process = one.start(launcher + [
            ASSAY, "run", "memory", "--set", "pattern=read", "--rounds", "2", "--max-seconds", "1",
            "--no-metadata", "--watchdog", "2", "--out", one.out])
        for _ in range(400):
            if len(one.ranks()) == 2 and os.path.exists(one.out + ".part"):
                break
            time.sleep(0.05)
        os.kill(one.ranks()[1], signal.SIGSTOP)
        text, _ = process.communicate(timeout=60)
        check(f"{name}: exit status {process.returncode}", process.returncode == 3, text)
        check(f"{name}: named", "MPI_Finalize" in text and "; rank 1 is stopped" in text, text)
        check(f"{name}: the file is whole", one.kept().get("complete") is True, text)


def told_to_end(name, launcher, which):
    """Whoever is asked to end, the launcher or an assay that started its ranks: the file is whole."""
    with trial(name) as one:
        process = one.start(launcher + [
            ASSAY, "coll", "all_reduce", "--backend", "native", "--sizes", "64K", "--rounds", "1000",
            "--max-seconds", "1000", "--no-metadata", "--out", one.out])
        for _ in range(800):
            if os.path.exists(one.out + ".part") and open(one.out + ".part").read().count("\n") >= 3:
                break
            time.sleep(0.05)
        process.send_signal(which)
        text, _ = process.communicate(timeout=60)
        # A launcher has a status of its own for this; hydra's is 0 after a SIGTERM.
        check(f"{name}: exit status {process.returncode}", launcher or process.returncode == 130, text)
        kept = one.kept()
        check(f"{name}: the file is whole, and says so", kept.get("status") == "interrupted", text)
        check(f"{name}: visits are kept", any(r.get("rounds") for r in kept.get("records", [])), text)
        check(f"{name}: no journal is left", not os.path.exists(one.out + ".part"), text)


# Each trial waits for most of its time, for a watchdog's.
AT_ONCE = 2
executor = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
trials = []


def later(what, *arguments):
    trials.append(executor.submit(what, *arguments))


for family, options in (("openmpi", ["--oversubscribe"]), ("mpich", [])):
    mpirun = shutil.which("mpirun." + family)
    if not mpirun or not has_module(ASSAY, family):
        print(f"skipped: there is no mpirun.{family}, or no module for it")
        continue
    outer = [mpirun, *options, "-np", "2"]
    # hydra makes one status of that of the rank and that of the program that it killed.
    later(never_comes, f"{family} never comes", outer, (3,) if family == "openmpi" else range(1, 256))
    later(stopped_at_the_end, f"{family} stopped at the end", outer)
    later(run, f"{family} stopped", outer, ["all_reduce"], signal.SIGSTOP, (3,), ["rank 1 is stopped"])
    # A SIGHUP ends hydra by itself, and what it leaves kills the ranks.
    for which in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[:3 if family == "openmpi" else 2]:
        later(told_to_end, f"{family} told by {which.name}", outer, which)
for which in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    later(told_to_end, f"assay told by {which.name}", [], which)

mpirun = shutil.which("mpirun.openmpi")
outer = [mpirun, "--oversubscribe", "-np", "2"] if mpirun else None
if mpirun:
    later(run, "mpirun killed", outer, ["all_reduce"], signal.SIGKILL, (1, 3, 130, 137), ["rank 1 is gone"])
    by_mpi = ["all_reduce", "--backend", "mpi"]
    later(run, "launched by mpirun killed", [], by_mpi, signal.SIGKILL, (1,), ["ended early"])
    later(run, "launched by mpirun stopped", [], by_mpi, signal.SIGSTOP, (3,), ["rank 1 is stopped"])
    # nccl-tests' flag for the same time.
    later(ask, "coll -T stopped", outer, ["coll", "all_reduce", "-b", "16M", "-e", "16M", "-T", str(WATCHDOG_S)],
          signal.SIGSTOP, (3,), ["rank 1 is stopped"])
else:
    print("skipped: there is no mpirun.openmpi")
without_mpi = ["native"]
if has_module(ASSAY, "ofi"):
    without_mpi.append("ofi")
for backend in without_mpi:
    reduce = ["all_reduce", "--backend", backend]
    later(run, backend + " killed", [], reduce, signal.SIGKILL, (1, 3), ["rank 1 was killed by signal 9"])
    later(run, backend + " stopped", [], reduce, signal.SIGSTOP, (3,),
          ["rank 1 is stopped", "rank 1 was stopped"])
for one in trials:
    one.result()
sys.exit(1 if failures else 0)
