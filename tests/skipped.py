#!/usr/bin/python3
"""Tells which tests were skipped and why, and fails where the list doesn't allow one.

usage: skipped.py JUNIT.xml LIST    what ctest --output-junit wrote, and tests/may_skip.txt
"""

import fnmatch
import re
import sys
import xml.etree.ElementTree as ElementTree


def reasons(case):
    """Why a test was skipped, or parts of one: (name, reason) each, "" where it doesn't say."""
    name, output = case.get("name"), case.findtext("system-out") or ""
    told = [(name, reason) for reason in re.findall(r"(?m)^skipped: (.*)$", output)]
    told += [(f"{name}/{part}", reason) for part, reason in
             re.findall(r"(?m)^(test_\w+) .*\.\.\. skipped ['\"](.*)['\"]$", output)]
    told += [(name, reason) for reason in re.findall(r"(?m)^\S+:\d+: Skipped\n(.*)$", output)]
    return told or ([(name, "")] if case.find("skipped") is not None else [])


def allowed(lines):
    """The list's lines, TEST and a part of its reason, without comments."""
    return [line.split(None, 1) for line in map(str.strip, lines) if line and not line.startswith("#")]


def main(junit, listed):
    with open(listed, encoding="utf-8") as file:
        may = allowed(file)
    skipped = [each for case in ElementTree.parse(junit).iter("testcase") for each in reasons(case)]
    surplus = 0
    for name, reason in sorted(set(skipped)):
        fits = reason and any(fnmatch.fnmatchcase(name, test) and part in reason for test, part in may)
        surplus += not fits
        print(f"skipped{'' if fits else ', which ' + listed + ' does not allow'}: "
              f"{name}: {reason or 'no reason is given'}")
    return 1 if surplus else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
