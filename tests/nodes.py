"""How often `assay compare` is wrong about whole files of invented nodes: for scripts/check-nodes.sh. Not a part
of ctest: tests/node_fleet_test.cpp holds the same with few replications, and tests/bench/nodes_bench.cpp measures
all of it.

usage: nodes.py ASSAY [--pairs N]
"""

import argparse
import copy
import json
import math
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

NODES, RUNS, ROUNDS = 3, 2, 5
NODE, RUN, ROUND = 0.015, 0.005, 0.004  # standard deviations of logs
SHARED = 0.9  # the correlation of cases within a node
TRUE = 1.05


def template(assay, folder):
    """A real run of a few cases, of which one is made the headline."""
    path = folder / "real.json"
    subprocess.run([assay, "run", "gemm", "memory", "--set", "m=64", "--set", "n=64", "--set", "k=64", "--dtype", "f32", "--rounds", "3",
                    "--max-seconds", "0.1", "--out", path], check=True, capture_output=True)
    run = json.loads(path.read_text())
    run["records"] = [record for record in run["records"] if record["status"] == "ok"]
    headline = copy.deepcopy(run["records"][0])
    headline.update(probe="headline", params={"name": "bf16-cpu/2", "algo": "default"})
    run["records"].append(headline)
    for record in run["records"]:
        record.pop("here", None)
        record["facts"].pop("paced", None)
        times = [time for visit in record["rounds"] for time in visit["time_s"]]
        record["rounds"] = [{"start_s": float(i), "order": i, "batch": 1, "time_s": [statistics.median(times)]} for i in range(ROUNDS)]
    run["rounds"] = ROUNDS
    return run


def side(draws, base, name, speed, folder):
    """The files of one type's nodes."""
    paths = []
    for node in range(NODES):
        common = draws.gauss(0, 1)
        slower = [NODE * (math.sqrt(SHARED) * common + math.sqrt(1 - SHARED) * draws.gauss(0, 1)) for _ in base["records"]]
        for number in range(RUNS):
            run = copy.deepcopy(base)
            run["id"] = f"{draws.getrandbits(128):032x}"
            run["nodes"][0]["node_id"] = f"{name}{node}"
            run["nodes"][0]["identity"]["instance"]["value"] = f"type-{name}"
            for record, by in zip(run["records"], slower):
                by += draws.gauss(0, RUN)
                for visit in record["rounds"]:
                    visit["time_s"] = [t * math.exp(by + draws.gauss(0, ROUND)) / speed for t in visit["time_s"]]
            paths.append(folder / f"{name}{node}{number}.json")
            paths[-1].write_text(json.dumps(run))
    return paths


def differs(case):
    return case["change"]["low"] > 1 or case["change"]["high"] < 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assay")
    parser.add_argument("--pairs", type=int, default=300)
    options = parser.parse_args()
    draws = random.Random(14)
    headline_false = rest_false = found = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        base = template(options.assay, folder)

        def compare(speed):
            a, b = side(draws, base, "a", 1, folder), side(draws, base, "b", speed, folder)
            printed = subprocess.run([options.assay, "compare", "--a", *a, "--b", *b, "--format", "json"],
                                     check=True, capture_output=True, text=True).stdout
            cases = json.loads(printed)["cases"]
            return [case for case in cases if case["is_primary"]][0], [case for case in cases if not case["is_primary"]]

        for _ in range(options.pairs):
            headline, rest = compare(1)
            headline_false += differs(headline)
            rest_false += any(map(differs, rest))
            found += compare(TRUE)[0]["change"]["low"] > 1
    n, cases = options.pairs, len(base["records"]) - 1
    allowed = 0.05 + 2.33 * math.sqrt(0.05 * 0.95 / n)
    needed = 0.77 - 2.33 * math.sqrt(0.77 * 0.23 / n)
    print(f"{n} pairs of two types, {NODES} nodes x {RUNS} runs, nodes differ by {100 * NODE:g} %")
    print(f"the headline is said to differ and doesn't: {100 * headline_false / n:.1f} %, at most {100 * allowed:.1f}")
    print(f"any of {cases} other cases likewise:            {100 * rest_false / n:.1f} %, at most {100 * allowed:.1f}")
    print(f"a true 5 % in the headline is found:        {100 * found / n:.1f} %, at least {100 * needed:.1f}")
    return 0 if max(headline_false, rest_false) <= allowed * n and found >= needed * n else 1


if __name__ == "__main__":
    sys.exit(main())
