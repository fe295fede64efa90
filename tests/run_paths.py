#!/usr/bin/python3
"""Lists the programs and libraries below some folders that would load what lies in the current folder: the loader
starts there for an element of RPATH or RUNPATH that is empty or relative, and for a needed library named by a relative path.

usage: run_paths.py FOLDER…    a line for each; exit status 1 where there are any, 2 where there is no program at all
"""

import os
import pathlib
import re
import subprocess
import sys


def linked(folder):
    """The programs and shared libraries below a folder; object files are none yet."""
    for path in sorted(pathlib.Path(folder).rglob("*")):
        try:
            if path.is_symlink() or not path.is_file():
                continue
            with path.open("rb") as file:
                head = file.read(18)
        except OSError:  # gone meanwhile
            continue
        if head[:4] == b"\x7fELF" and int.from_bytes(head[16:18], sys.byteorder) in (2, 3):  # ET_EXEC, ET_DYN
            yield path


def entries(path):
    """The dynamic section's needed libraries and search paths: (tag, text)."""
    told = subprocess.run(["readelf", "-dW", path], text=True, capture_output=True, check=True,
                          env={**os.environ, "LC_ALL": "C"}).stdout
    return re.findall(r"(?m)^ *0x[0-9a-f]+ \((NEEDED|RPATH|RUNPATH)\) [^\[]*\[(.*)\]$", told)


def relative(folder):
    """A sentence for each entry that depends on the current folder."""
    said = []
    for path in linked(folder):
        try:
            found = entries(path)
        except subprocess.CalledProcessError:
            if path.exists():
                raise
            continue  # gone meanwhile
        for tag, text in found:
            if tag == "NEEDED":
                bad = "/" in text and not text.startswith("/")
            else:
                bad = any(not element.startswith(("/", "$ORIGIN", "${ORIGIN}")) for element in text.split(":"))
            if bad:
                said.append(f"{path}: {tag} [{text}]")
    return said


if __name__ == "__main__":
    if not all(any(linked(folder)) for folder in sys.argv[1:]):
        sys.exit(2)
    found = [line for folder in sys.argv[1:] for line in relative(folder)]
    print("".join(line + "\n" for line in found), end="")
    sys.exit(1 if found else 0)
