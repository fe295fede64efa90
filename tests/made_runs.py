#!/usr/bin/env python3
"""Makes a folder of invented result files of six machine types whose true speeds are known.

    tests/made_runs.py FOLDER [--nodes 3] [--runs 2] [--bytes 27000] [--seed 7] [--sigma 0.015]

No figure in them was ever measured: they are for tests of `assay compare FOLDER`, of its speed and
of the page. The nodes of a type differ by --sigma in log speed (one standard deviation), the runs
of a node by a third of it. --bytes is the size of a file, which more samples make up.
"""
import argparse
import copy
import json
import math
import pathlib
import random
import uuid

# provider, instance, region, how it is bought, accelerators, device, true TFLOP/s of the headline.
TYPES = [
    ("aws", "p5.48xlarge", "us-east-1", "on_demand", 8, "NVIDIA H100 80GB HBM3", 5600),
    ("gcp", "a3-highgpu-8g", "us-east4", "spot", 8, "NVIDIA H100 80GB HBM3", 5320),
    ("azure", "Standard_ND96isr_H100_v5", "eastus", "on_demand", 8, "NVIDIA H100 80GB HBM3", 5570),
    ("oci", "BM.GPU.H100.8", "us-ashburn-1", "reserved", 8, "NVIDIA H100 80GB HBM3", 5630),
    ("aws", "p4de.24xlarge", "us-east-1", "spot", 8, "NVIDIA A100-SXM4-80GB", 2010),
    ("aws", "p5.4xlarge", "us-east-1", "on_demand", 1, "NVIDIA H100 80GB HBM3", 715),
]


def record(probe, params, backend, device, work, seconds, rounds, samples, rng, sustained):
    """A record whose rounds scatter by 0.2 % around `seconds`."""
    kind, name, count = device
    visits = []
    for i in range(rounds):
        times = [seconds * math.exp(rng.gauss(0, 0.002)) for _ in range(samples)]
        visit = {"start_s": 12.5 + 61 * i, "order": i, "batch": 1, "time_s": times}
        if sustained:
            visit["sustained"] = {"least_s": 60, "heated_s": 60.5, "counted_s": 61.0, "ended": "steady",
                                  "drift": [], "start": []}
        visits.append(visit)
    made = {"probe": probe, "method": 1, "params": params, "backend": backend,
            "device": {"kind": kind, "name": name}, "status": "ok", "complete": True,
            "stopped": "rounds", "reason": "", "remedy": "",
            "work": {**work, "per": "iteration, all units"}, "facts": {},
            "units": [{"rank": 0, "node": 0, "device": i} for i in range(count)],
            "storage": None, "here": None, "histograms": {}, "rounds": visits,
            "verify": {"when": "timed", "round": 1, "checked": 65536, "wrong": 0, "max_error": 0.001,
                       "tolerance": 0.008, "reference": "f64 rows"}}
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--bytes", type=int, default=27000)
    parser.add_argument("--sigma", type=float, default=0.015)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    here = pathlib.Path(__file__).parent
    example = json.loads((here / "data" / "run.example.json").read_text())
    options.folder.mkdir(parents=True, exist_ok=True)
    rounds, cases = 5, 4
    # A sample takes about 22 bytes of text.
    samples = max(1, (options.bytes - 7500) // 22 // (rounds * cases))
    for provider, instance, region, purchase, count, device, tflops in TYPES:
        for node in range(options.nodes):
            of_node = math.exp(rng.gauss(0, options.sigma))
            node_id = f"{rng.getrandbits(256):064x}"
            for number in range(options.runs):
                speed = tflops * 1e12 * of_node * math.exp(rng.gauss(0, options.sigma / 3))
                run = copy.deepcopy(example)
                run["id"] = str(uuid.UUID(int=rng.getrandbits(128)))
                run["started"] = f"2026-11-{20 + number % 9:02}T10:{node % 60:02}:00Z"
                run["ended"] = f"2026-11-{20 + number % 9:02}T10:{node % 60:02}:59Z"
                run["offers"] = []
                only = run["nodes"][0]
                only["node_id"] = node_id
                for key, value in (("provider", provider), ("instance", instance),
                                   ("region", region), ("zone_id", "unknown"),
                                   ("purchase", purchase)):
                    only["identity"][key] = {"value": value, "how": "flag", "confidence": "certain"}
                only["accelerators"][0].update(name=device, present=count, visible=count, used=count,
                                               power_limit_w=None)
                flops = 10**13 * count
                gpus = ("gpu", device, count)
                headline = {"name": "bf16-train/1", "dtype": "bf16", "algo": "default", "cache": "cold",
                            "inputs": "normal", "regime": "sustained", "scope": "node", "tokens": 512}
                gemm = {"dtype": "bf16", "acc": "f32", "batch": 1, "cache": "cold", "inputs": "normal",
                        "regime": "burst", "algo": "default", "scope": "node", "k": 8192, "n": 8192}
                run["records"] = [
                    record("headline", headline, "cublaslt", gpus, {"flops": flops, "formula": "headline/1"},
                           flops / speed, rounds, samples, rng, True),
                    record("gemm", {**gemm, "m": 8192}, "cublaslt", gpus,
                           {"flops": flops, "formula": "gemm/2mnk"}, flops / speed / 1.1, rounds,
                           samples, rng, False),
                    record("gemm", {**gemm, "m": 16}, "cublaslt", gpus,
                           {"flops": flops, "formula": "gemm/2mnk"}, flops / speed * 7, rounds,
                           samples, rng, False),
                    record("memory", {"op": "triad", "bytes": 1 << 30, "scope": "node"}, "native", gpus,
                           {"bytes": 3 * count << 30, "formula": "memory/triad3n"},
                           (3 * count << 30) / (speed * 0.0035), rounds, samples, rng, False),
                ]
                name = f"{provider}-{instance}-{node}-{number}.json"
                (options.folder / name).write_text(json.dumps(run, separators=(",", ":")))


if __name__ == "__main__":
    main()
