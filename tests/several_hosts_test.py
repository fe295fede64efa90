"""Ranks of the real binary on several hosts, with MPI and without: one file of all nodes, and runs
that end in time with a diagnosis when a link is cut. Argument: the program."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import hosts  # noqa: E402
from checks import check, failures, has_module, marked, nobody_is_left  # noqa: E402

ASSAY = os.path.abspath(sys.argv[1])
WATCHDOG_S = 3
USUAL = ["--no-metadata", "--provider", "aws", "--region", "us-east-1", "--rounds", "2",
         "--max-seconds", "0.2"]
ALIKE = ["--instance", "c7i.large", "--price", "0.5", "--keep-price"]


def environment(net, **more):
    return dict(os.environ, TMPDIR=net.scratch, XDG_CONFIG_HOME=net.scratch, OMPI_ALLOW_RUN_AS_ROOT="1",
                OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", ASSAY_HOSTS_TEST=str(os.getpid()),
                **{name: str(value) for name, value in more.items()})


def start(net, host, command, **variables):
    # Into a file: what mpirun left on another host could keep a pipe open.
    output = tempfile.TemporaryFile("w+", dir=net.scratch)
    process = subprocess.Popen(net.on(host, command), env=environment(net, **variables), stdout=output,
                               stderr=subprocess.STDOUT)
    return process, output


def by_mpirun(net, ranks, arguments):
    """One process, which starts the others."""
    slots = ranks // len(net.names)
    command = [MPIRUN, "-np", str(ranks), "--host", ",".join(f"{a}:{slots}" for a in net.addresses),
               "--bind-to", "none", "--mca", "plm_rsh_agent", net.agent, ASSAY, *arguments]
    return [start(net, 0, command)]


def by_tcp(net, ranks, arguments, of_host=None):
    """A process each, the hosts taking turns; `of_host`: what each host's are told besides."""
    hosts_of = [rank % len(net.names) for rank in range(ranks)]
    key = os.urandom(32).hex()
    return [start(net, host, [ASSAY, *arguments, *(of_host[host] if of_host else []), "--bootstrap", "tcp"],
                  MASTER_ADDR=net.addresses[0], MASTER_PORT=29555, RANK=rank, WORLD_SIZE=ranks,
                  ASSAY_BOOTSTRAP_KEY=key, FI_PROVIDER="tcp")
            for rank, host in enumerate(hosts_of)]


def outcome(started, timeout=60):
    """The exit statuses and all that was printed."""
    deadline = time.monotonic() + timeout
    texts = []
    for process, output in started:
        try:
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            texts.append("killed: it hung; ")
        output.seek(0)
        texts.append(output.read())
    return [process.returncode for process, _ in started], "".join(texts)


def left_over():
    """Processes of assay and mpirun that this test started, on any host."""
    return [pid for pid, _, where in marked(f"ASSAY_HOSTS_TEST={os.getpid()}")
            if os.path.basename(where).startswith(("assay", "mpirun", "orterun"))]


def check_file(name, net, path, processes, ranks, order):
    """`order`: the node of each rank."""
    nodes = len(net.names)
    statuses, text = outcome(processes)
    check(f"{name}: exit status", set(statuses) == {0}, text)
    if not os.path.exists(path):
        check(f"{name}: a file", False, text)
        return
    file = open(path).read()
    run = json.loads(file)
    check(f"{name}: all nodes in one file", len(run["nodes"]) == nodes, len(run["nodes"]))
    check(f"{name}: each node says what it is",
          all(n["identity"]["instance"]["value"] == "c7i.large" and n["cpu"]["model"] and n["software"]
              for n in run["nodes"]), run["nodes"])
    check(f"{name}: each rank's node", [r["node"] for r in run["ranks"]] == order, run["ranks"])
    records = [r for r in run["records"] if r["status"] == "ok"]
    each = [r for r in records if r["probe"] == "memory"]
    check(f"{name}: cases of one node ran on each",
          all([u["node"] for u in r["units"]] == list(range(nodes)) and
              len(r["rounds"][0]["unit_time_s"]["p50"]) == nodes for r in each) and
          (len(each) > 0 or name != "mpirun run"), text)
    check(f"{name}: measured on all ranks", len(records) > 0 and all(
        [u["node"] for u in r["units"]] == order for r in records if len(r["units"]) == ranks), text)
    check(f"{name}: the transport between hosts",
          all("tcp" in r["facts"]["transport"] if r["backend"] == "ofi" else
              r["facts"]["transport"] in ("ob1/tcp", "shared memory within a node, ob1/tcp between nodes")
              for r in records if r["probe"] in ("all_reduce", "fabric")), records)
    check(f"{name}: which is by sockets",
          all(r["facts"].get("sockets") is True for r in records if r["probe"] in ("all_reduce", "fabric")), records)
    check(f"{name}: verified", all(r["verify"]["wrong"] == 0 for r in records), text)
    check(f"{name}: no host's name", not any(h in file for h in net.names), file)
    figures = json.loads(subprocess.run([ASSAY, "report", "--as-run", "--json", path], check=True,
                                        capture_output=True, text=True).stdout)
    check(f"{name}: every node is paid", figures["usd_per_hour"] == 0.5 * nodes, figures["usd_per_hour"])


def check_unlike(name, net, arguments):
    path = os.path.join(net.scratch, "unlike.json")
    statuses, text = outcome(by_tcp(net, 2, [*arguments, "--out", path],
                                    [["--instance", "c7i.large"], ["--instance", "c7i.xlarge"]]))
    check(f"{name}: exit status", statuses == [0, 0], text)
    what = "the nodes differ in instance: c7i.large (node 0), c7i.xlarge (node 1)"
    check(f"{name}: a note on the terminal", what in text, text)
    check(f"{name}: a note in the file", what in open(path).read())
    report = subprocess.run([ASSAY, "report", "--json", path], check=True, capture_output=True, text=True)
    check(f"{name}: no price of one for both", json.loads(report.stdout)["usd_per_hour"] is None)


def check_wire(net, operation, algorithm):
    """What a link carried beside the fact `wire_bytes`: of the operations that one run did more than another, so
    that meeting, warm-up and the file are in neither."""
    ranks, size, few, many = 4, 1 << 20, 2, 26
    carried, operations, records = [], [], []
    for iterations in (few, many):
        path = os.path.join(net.scratch, f"wire-{operation}-{iterations}.json")
        before = [net.carried(host) for host in range(len(net.names))]
        statuses, text = outcome(by_tcp(net, ranks, ["coll", operation, "-b", str(size), "-e", str(size), "-n",
                                                     str(iterations), "-w", "1", "--backend", "ofi", "--no-metadata",
                                                     *ALIKE, "--out", path]))
        after = [net.carried(host) for host in range(len(net.names))]
        check(f"wire {operation}: exit status", set(statuses) == {0}, text)
        if not os.path.exists(path):
            return
        records = [r for r in json.load(open(path))["records"] if r["status"] == "ok"]
        operations.append(sum(r["rounds"][0]["batch"] * len(r["rounds"][0]["time_s"]) for r in records))
        carried.append([[b - a for a, b in zip(*link)] for link in zip(before, after)])
    told = {r["facts"]["wire_bytes"] for r in records}
    check(f"wire {operation}: one algorithm", {r["facts"]["algorithm"] for r in records} == {algorithm}, records)
    check(f"wire {operation}: counted operations", len(told) == 1 and operations[1] > operations[0], operations)
    one = max(more - less for few, many in zip(*carried) for less, more in zip(few, many)) / (
        operations[1] - operations[0])
    # Headers of TCP, IP and Ethernet are 66 of 1514 bytes at most, besides them acknowledgements.
    ratio = one / told.pop()
    check(f"wire {operation}: what the link carried ({ratio:.3f} of what was told)", 1 <= ratio < 1.08, operations)


def check_cut(name, net, by, arguments):
    path = os.path.join(net.scratch, f"{name.replace(' ', '-')}.json")
    processes = by(net, 2, [*arguments, "--set", "bytes=4M", "--rounds", "1000", "--max-seconds",
                               "1000", "--no-metadata", "--watchdog", str(WATCHDOG_S), "--out", path])
    begin = time.monotonic()
    while time.monotonic() - begin < 30:  # until a visit is over
        if os.path.exists(path + ".part") and open(path + ".part").read().count("\n") >= 2:
            break
        time.sleep(0.05)
    net.cut(1)
    begin = time.monotonic()
    statuses, text = outcome(processes)
    took = time.monotonic() - begin
    # 4 MiB at 10 MB/s, three times, is what the work itself may take; mpirun gets seven seconds more.
    check(f"{name}: in time ({took:.1f} s)", took < WATCHDOG_S + 15, text)
    if by is by_mpirun:
        # The other side's words are lost with the link; mpirun's status is its own.
        check(f"{name}: exit status {statuses}", statuses[0] != 0, text)
        check(f"{name}: a diagnosis", "watchdog: rank 0 of 2 on" in text, text)
    else:
        check(f"{name}: exit status {statuses}", statuses == [3, 3], text)
        check(f"{name}: a diagnosis of each side",
              all(f"watchdog: rank {rank} of 2 on" in text for rank in range(2)), text)
    kept = json.load(open(path)) if os.path.exists(path) else {}
    reasons = " ".join(r.get("reason", "") for r in kept.get("records", []))
    check(f"{name}: the file is kept, with the reason", "is not over in time" in reasons, reasons + text)
    check(f"{name}: visits are kept", any(r.get("rounds") for r in kept.get("records", [])), text)
    # But Open MPI's daemon on the host that is cut off: it takes its time to notice.
    check(f"{name}: no process is left", nobody_is_left(left_over), left_over())


MPIRUN = shutil.which("mpirun.openmpi") if has_module(ASSAY, "openmpi") else None


def main():
    if reason := hosts.why_not():
        print(f"skipped: {reason}")
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    coll = ["coll", "all_reduce", "-b", "1M", "-e", "1M", *USUAL]
    with hosts.Hosts(2) as net:
        if MPIRUN:
            path = os.path.join(net.scratch, "run.json")
            processes = by_mpirun(net, 2, ["run", "all_reduce", "fabric", "memory", "--set", "bytes=64K", *ALIKE,
                                           *USUAL, "--out", path])
            check_file("mpirun run", net, path, processes, 2, [0, 1])
        if has_module(ASSAY, "ofi"):
            path = os.path.join(net.scratch, "coll.json")
            processes = by_tcp(net, 4, [*coll, *ALIKE, "--backend", "ofi", "--out", path])
            check_file("tcp coll", net, path, processes, 4, [0, 1, 0, 1])
            for operation, algorithm in (("all_reduce", "hier"), ("all_gather", "ring"), ("reduce", "hier"),
                                         ("gather", "linear"), ("scatter", "linear")):
                check_wire(net, operation, algorithm)
            check_unlike("tcp unlike", net, [*coll, "--backend", "ofi"])
            check_cut("tcp cut", net, by_tcp, ["run", "all_reduce", "--backend", "ofi"])
    if MPIRUN:
        with hosts.Hosts(4) as net:
            path = os.path.join(net.scratch, "coll.json")
            processes = by_mpirun(net, 4, [*coll, *ALIKE, "--out", path])
            check_file("mpirun coll", net, path, processes, 4, [0, 1, 2, 3])
        with hosts.Hosts(2) as net:
            check_cut("mpirun cut", net, by_mpirun,
                      ["run", "all_reduce", "--backend", "native-mpi"])
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
