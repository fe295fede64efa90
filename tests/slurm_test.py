"""Ranks that a real Slurm starts: slurmctld, slurmd and munged of this test's own, on the loopback
interface and in a temporary folder, so that none of this machine's is needed or touched."""

import json
import os
import pwd
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

SKIPPED = 77
ASSAY = os.path.abspath(sys.argv[1])
WATCHDOG_S = 3
MARKER = f"ASSAY_SLURM_TEST={os.getpid()}"

DAEMONS = ["munged", "slurmctld", "slurmd"]
CONFIGURATION = """
ClusterName=assay
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def program(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_cluster(folder, environment, running):
    for name in ("state", "spool"):
        os.mkdir(f"{folder}/{name}")
    with open(f"{folder}/key", "wb") as key:
        key.write(os.urandom(128))
    os.chmod(f"{folder}/key", 0o600)
    controller_port, node_port = free_ports(2)
    with open(f"{folder}/slurm.conf", "w") as file:
        file.write(CONFIGURATION.format(
            host=socket.gethostname().split(".")[0], user=pwd.getpwuid(os.geteuid()).pw_name,
            folder=folder, controller_port=controller_port, node_port=node_port))
    commands = [["munged", "--foreground", "--force"] +
                [f"--{what}={folder}/{file}" for what, file in
                 (("key-file", "key"), ("socket", "munge.socket"), ("pid-file", "munged.pid"),
                  ("log-file", "munged.log"), ("seed-file", "munged.seed"))],
                ["slurmctld", "-D", "-c"], ["slurmd", "-D"]]
    for command in commands:
        log = open(f"{folder}/{command[0]}.out", "w")
        running.append(subprocess.Popen([program(command[0]), *command[1:]], env=environment,
                                        stdout=log, stderr=subprocess.STDOUT))
        while command[0] == "munged" and not os.path.exists(f"{folder}/munge.socket"):
            time.sleep(0.02)
    for _ in range(150):
        state = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True,
                               text=True)
        if state.stdout.strip() == "idle":
            return
        time.sleep(0.1)
    logs = "".join(open(f"{folder}/{name}.out").read() for name in DAEMONS)
    raise RuntimeError(f"the node is {state.stdout.strip() or state.stderr.strip()}\n{logs}")


def ranks():
    """The processes of this test that are ranks, also those that the daemons started."""
    return {int(each[13:]): pid for pid, variables, where in marked(MARKER) if where == ASSAY
            for each in variables if each.startswith("SLURM_PROCID=")}


def ladder(name, environment, srun, options, library):
    """A ladder of sizes on two ranks: one file, exact sums, every size on both ranks."""
    folder = tempfile.mkdtemp()
    command = ["srun", "-n2", *srun, ASSAY, "coll", "all_reduce", "-b", "8", "-e", "1M", "-f", "8",
               "-n", "5", "--no-metadata", *options, "--out", os.path.join(folder, "run.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    text = done.stdout + done.stderr
    check(f"{name}: exit status 0", done.returncode == 0, text)
    check(f"{name}: one table", done.stdout.count("# Collective test concluded") == 1, text)
    check(f"{name}: one file", os.listdir(folder) == ["run.json"], os.listdir(folder))
    if os.listdir(folder) == ["run.json"]:
        run = json.load(open(os.path.join(folder, "run.json")))
        records = run["records"]
        check(f"{name}: both ranks", [each["rank"] for each in run["ranks"]] == [0, 1], run["ranks"])
        check(f"{name}: every size, in and out of place",
              sorted(each["params"]["bytes"] for each in records) ==
              sorted(2 * [8 ** power for power in range(1, 7)]), records)
        check(f"{name}: exact", all(each["status"] == "ok" and each["verify"]["checked"] > 0 and
                                    each["verify"]["wrong"] == 0 for each in records), records)
        check(f"{name}: by {library}",
              all(each["backend"] == library or each["facts"].get("mpi", "").startswith(library)
                  for each in records), records)
    check(f"{name}: no rank is left", nobody_is_left(ranks), ranks())
    shutil.rmtree(folder)


def fault(name, environment, srun, options, which, statuses, words, whole_step):
    """Rank 1 is killed or stopped while both work: it is named, in time, and what was measured is
    kept. Where Slurm ends the whole step before rank 0 can, the visits are in the journal."""
    folder = tempfile.mkdtemp()
    out = os.path.join(folder, "run.json")
    process = subprocess.Popen(
        ["srun", "-n2", *srun, ASSAY, "run", "all_reduce", "--set", "bytes=1M", "--rounds", "1000",
         "--max-seconds", "1000", "--no-metadata", "--watchdog", str(WATCHDOG_S), *options,
         "--out", out], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(800):
        if len(ranks()) == 2 and os.path.exists(out + ".part") and \
           open(out + ".part").read().count("\n") >= 2:
            break
        time.sleep(0.05)
    os.kill(ranks()[1], which)
    begin = time.monotonic()
    text, _ = process.communicate(timeout=60)
    took = time.monotonic() - begin
    check(f"{name}: in time ({took:.1f} s)", took < WATCHDOG_S + 10, text)
    check(f"{name}: exit status {process.returncode}", process.returncode in statuses, text)
    # UCX, over which MPICH's data goes, ends a rank that is just reading the memory of one that is gone.
    ended_by_ucx = "process_vm_readv" in text and "No such process" in text
    whole_step = whole_step or ended_by_ucx
    check(f"{name}: named", words in text or ended_by_ucx, text)
    kept = out + ".part" if whole_step else out
    report = subprocess.run([ASSAY, "report", "--json", kept], capture_output=True, text=True)
    check(f"{name}: visits are kept", '"all_reduce"' in report.stdout, report.stdout + report.stderr)
    if not whole_step:
        check(f"{name}: the file names it too", words in open(out).read(), text)
    check(f"{name}: no rank is left", nobody_is_left(ranks), ranks())
    shutil.rmtree(folder)


def told_to_end(name, environment, options, end, kills):
    """The step is asked to end, by `end`: the file is whole. Where that `kills` all ranks before they
    can do anything, the journal has it all."""
    folder = tempfile.mkdtemp()
    out = os.path.join(folder, "run.json")
    process = subprocess.Popen(
        ["srun", "-n2", ASSAY, "coll", "all_reduce", "--sizes", "64K", "--rounds", "1000",
         "--max-seconds", "1000", "--no-metadata", *options, "--out", out],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(800):
        if os.path.exists(out + ".part") and open(out + ".part").read().count("\n") >= 3:
            break
        time.sleep(0.05)
    end(process)
    text, _ = process.communicate(timeout=60)
    check(f"{name}: exit status {process.returncode}", process.returncode != 0, text)
    check(f"{name}: no rank is left", nobody_is_left(ranks), ranks())
    kept = "run.json.part" if kills else "run.json"
    check(f"{name}: {kept} alone is left", os.listdir(folder) == [kept], os.listdir(folder))
    figures = subprocess.run([ASSAY, "report", "--json", os.path.join(folder, kept)],
                             capture_output=True, text=True)
    told = json.loads(figures.stdout or "{}")
    check(f"{name}: visits are kept, of a run that is not complete",
          told.get("complete") is False and any(each["rounds"] for each in told["cases"]),
          figures.stdout + figures.stderr + text)
    shutil.rmtree(folder)


missing = [name for name in ["srun", "sinfo", *DAEMONS] if program(name) is None]
if missing:
    print(f"skipped: there is no {missing[0]}; scripts/setup.sh test installs what is missing")
    sys.exit(SKIPPED)

home = tempfile.mkdtemp(prefix="assay-slurm-")
daemons = []
try:
    # Not the user's own cluster, nor a step of it that this test may itself be run in.
    own = {name: value for name, value in os.environ.items()
           if not name.startswith(("SLURM_", "PMI", "OMPI_", "SRUN_"))}
    name, value = MARKER.split("=")
    own.update({"SLURM_CONF": f"{home}/slurm.conf", name: value})
    start_cluster(home, own, daemons)
    protocols = subprocess.run(["srun", "--mpi=list"], env=own, capture_output=True, text=True)
    known = protocols.stdout + protocols.stderr
    for module, protocol, library in (("openmpi", "pmix", "Open MPI"), ("mpich", "pmi2", "MPICH")):
        if not has_module(ASSAY, module):
            print(f"skipped: this build has no module for {library}")
        elif protocol not in known:
            print(f"skipped: this srun has no --mpi={protocol}")
        else:
            ladder(protocol, own, [f"--mpi={protocol}"], [], library)
            # Slurm's PMIx ends a step of which a task has died; its PMI-2 leaves that to us.
            ends_it = protocol == "pmix"
            fault(f"{protocol} killed", own, [f"--mpi={protocol}"], ["--backend", "mpi"],
                  signal.SIGKILL, (3, 137), "task 1: Killed" if ends_it else "rank 1 is gone", ends_it)
    if has_module(ASSAY, "openmpi") and "pmix" in known:
        fault("pmix stopped", own, ["--mpi=pmix"], ["--backend", "mpi"], signal.SIGSTOP, (3, 137),
              "rank 1 is stopped", False)
    by_tcp = dict(own, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_ports(1)[0]))
    native = ["--bootstrap", "tcp", "--backend", "native"]
    ladder("tcp", by_tcp, [], native, "native")
    told_to_end("step cancelled", by_tcp, native,
                lambda _: subprocess.run(["scancel", "--me"], env=own, check=True), kills=False)
    told_to_end("srun told to end", by_tcp, native, lambda step: step.send_signal(signal.SIGTERM), kills=True)
finally:
    for daemon in reversed(daemons):
        daemon.terminate()
    for daemon in daemons:
        try:
            daemon.wait(timeout=5)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    for pid, _, _ in marked(MARKER):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    shutil.rmtree(home)
sys.exit(1 if failures else 0)
