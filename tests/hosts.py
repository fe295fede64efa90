"""Hosts that are network namespaces of this one, each with a name of its own, on one switch. A module
for tests, and a command that runs another with the hosts up:

    tests/hosts.py COUNT [--rate 1gbit] -- COMMAND …

COMMAND sees HOSTS (their names), HOST_ADDRESSES, and HOST_AGENT, which starts a program on a host as
ssh would (mpirun --mca plm_rsh_agent). Needs root and iproute2. Leaves nothing behind: no namespace,
link, process or file."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

LINK = "link0"


def why_not():
    """What is missing here; empty where hosts can be made."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "unshare", "hostname"):
        if not shutil.which(program):
            return f"there is no {program}"
    name = f"assay-{os.getpid()}-try"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
        if made.returncode == 0:
            made = subprocess.run(["ip", "-n", name, "link", "add", "br0", "type", "bridge"],
                                  capture_output=True, text=True)
        return made.stderr.strip()
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def ip(*words, on=None):
    subprocess.run(["ip", *(["-n", on] if on else []), *words], check=True)


class Hosts:
    """`with Hosts(4) as hosts:`; of each its name and address."""

    def __init__(self, count, rate=None, burst="256k"):
        prefix = f"assay-{os.getpid()}"
        self.switch = f"{prefix}-switch"
        self.names = [f"{prefix}-host{i}" for i in range(count)]
        # A network for each process: runs of this don't meet.
        self.addresses = [f"10.231.{os.getpid() % 250}.{i + 1}" for i in range(count)]
        self.rate, self.burst = rate, burst
        self.scratch = None

    def __enter__(self):
        self.scratch = tempfile.mkdtemp()
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _build(self):
        ip("netns", "add", self.switch)
        ip("link", "add", "br0", "type", "bridge", on=self.switch)
        ip("link", "set", "br0", "up", on=self.switch)
        for i, (name, address) in enumerate(zip(self.names, self.addresses)):
            ip("netns", "add", name)
            ip("link", "add", f"port{i}", "netns", self.switch, "type", "veth", "peer", "name", LINK,
               "netns", name)
            ip("link", "set", f"port{i}", "master", "br0", "up", on=self.switch)
            ip("link", "set", "lo", "up", on=name)
            ip("address", "add", f"{address}/24", "dev", LINK, on=name)
            ip("link", "set", LINK, "up", on=name)
            if self.rate:
                subprocess.run(["ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", LINK, "root",
                                "tbf", "rate", self.rate, "burst", self.burst, "latency", "20ms"],
                               check=True)
        for name in self.names:
            while subprocess.run(["ip", "-n", name, "link", "show", "dev", LINK], check=True,
                                 capture_output=True, text=True).stdout.find("state UP") < 0:
                pass
        self.agent = os.path.join(self.scratch, "agent")
        with open(self.agent, "w") as file:
            file.write("#!/bin/sh\ncase $1 in\n")
            for name, address in zip(self.names, self.addresses):
                file.write(f"  {address}|{name}) host={name} ;;\n")
            file.write("  *) echo \"no host $1\" >&2; exit 1 ;;\nesac\nshift\n"
                       "exec ip netns exec $host unshare -u sh -c "
                       "'hostname '$host'; exec sh -c \"$*\"' - \"$@\"\n")
        os.chmod(self.agent, 0o755)

    def on(self, index, command):
        """The command line that runs `command` on a host."""
        return ["ip", "netns", "exec", self.names[index], "unshare", "-u", "sh", "-c",
                f"hostname {self.names[index]}; exec \"$@\"", "-", *command]

    def carried(self, index):
        """The bytes that this host's link sent and received until now, of all headers."""
        links = subprocess.run(["ip", "-n", self.names[index], "-s", "-j", "link", "show", "dev", LINK], check=True,
                               capture_output=True, text=True).stdout
        stats = json.loads(links)[0]["stats64"]
        return stats["tx"]["bytes"], stats["rx"]["bytes"]

    def cut(self, index):
        """Nothing passes this host's link any more, and nobody is told."""
        ip("link", "set", f"port{index}", "nomaster", on=self.switch)

    def __exit__(self, *_):
        for name in [*self.names, self.switch]:
            if not os.path.exists(f"/run/netns/{name}"):
                continue
            pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout
            for pid in pids.split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            subprocess.run(["ip", "netns", "delete", name])
        shutil.rmtree(self.scratch, ignore_errors=True)


def main(arguments):
    at = arguments.index("--")
    rate = arguments[2] if arguments[1:at] and arguments[1] == "--rate" else None
    if reason := why_not():
        print(f"hosts: {reason}", file=sys.stderr)
        return 2

    def end(signum, _):
        sys.exit(128 + signum)

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, end)
    with Hosts(int(arguments[0]), rate) as hosts:
        environment = dict(os.environ, HOSTS=" ".join(hosts.names), HOST_AGENT=hosts.agent,
                           HOST_ADDRESSES=" ".join(hosts.addresses), TMPDIR=hosts.scratch)
        process = subprocess.Popen(arguments[at + 1:], env=environment)
        try:
            return process.wait()
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
