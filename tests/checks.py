"""What tests that run the real binary in many processes have in common."""

import os
import time

failures = []


def check(name, ok, detail=""):
    print(("ok    " if ok else "WRONG ") + name + ("" if ok else f": {detail}"), flush=True)
    if not ok:
        failures.append(name)


def has_module(program, name):
    """Whether the program's build has that module, beside it."""
    return os.path.exists(os.path.join(os.path.dirname(program), f"libassay-{name}.so"))


def marked(marker):
    """Processes that have `marker` ("NAME=VALUE") in their environment: pid, variables, program."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            variables = open(f"/proc/{pid}/environ", "rb").read().decode(errors="replace").split("\0")
            if marker in variables and int(pid) != os.getpid():
                found.append((int(pid), variables, os.readlink(f"/proc/{pid}/exe")))
        except OSError:
            pass
    return found


def nobody_is_left(who):
    """True once `who()` finds none, which is given five seconds."""
    for _ in range(50):
        if not who():
            return True
        time.sleep(0.1)
    return False
