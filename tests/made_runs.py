#!/usr/bin/env python3
"""Makes a folder of invented result files of six machine types whose true speeds are known.

    tests/made_runs.py FOLDER [--nodes 3] [--runs 2] [--bytes 27000] [--seed 7] [--sigma 0.015] [--kinds]

No figure in them was ever measured: they are for tests of `assay compare FOLDER`, of its speed and
of the page. The nodes of a type differ by --sigma in log speed (one standard deviation), the runs
of a node by a third of it. --bytes is the size of a file, which more samples make up. --kinds adds
cases of every kind that the page has a picture for, collectives on two nodes among them, one GPU of one node that is slow, and cases that
were skipped.
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


def of_every_kind(flops, speed, gpus, slow, samples, rng):
    """Products, loops, memory, collectives, pairs of GPUs and storage around a node's speed."""
    kind, device, count = gpus
    gemm = {"dtype": "bf16", "acc": "f32", "batch": 1, "cache": "cold", "inputs": "normal", "regime": "burst",
            "algo": "default", "scope": "node"}
    for m, n, k in ((1, 8192, 8192), (64, 8192, 8192), (512, 8192, 8192), (4096, 4096, 4096), (16384, 16384, 16384)):
        share = m / (m + 200) * 1.1
        work = {"flops": 2 * m * n * k * count, "bytes_min": 2 * count * (m * k + n * k + m * n), "formula": "gemm/2mnk"}
        yield record("gemm", {**gemm, "m": m, "n": n, "k": k}, "cublaslt", gpus, work, work["flops"] / speed / share, 3, samples, rng, False)
    yield record("peak", {"dtype": "bf16", "scope": "node"}, "native", gpus, {"flops": flops, "formula": "peak/flops"},
                 flops / speed / 1.2, 3, samples, rng, False)
    for power in range(10, 31, 4):
        seconds = 2e-5 + 2**power / (speed / 2e4)
        params = {"bytes": 2**power, "ranks": max(2, count), "dtype": "f32"}
        made = record("all_reduce", params, "nccl", gpus, {"bytes": 2**power, "formula": "coll/bytes"}, seconds, 3, samples, rng, False)
        made["units"] = [{"rank": i, "node": 0, "device": i} for i in range(max(2, count))]
        for visit in made["rounds"]:
            times = [seconds * math.exp(rng.gauss(0, 0.03)) for _ in made["units"]]
            visit["unit_time_s"] = {"p50": times, "max": [2 * each for each in times]}
        yield made
    # On two nodes: of what the network can carry, 70 % for an all_reduce and an alltoall alike.
    for operation, share in (("all_reduce", 0.7 * 2 * (2 * count - 1) / (2 * count)), ("alltoall", 0.7 * 4 * (2 * count - 1) / (2 * count) ** 2)):
        for power in range(16, 31, 2):
            ranks = 2 * count
            factor = (2 if operation == "all_reduce" else 1) * (ranks - 1) / ranks
            seconds = 4e-5 + 2**power * factor / (400e9 * share)
            params = {"bytes": 2**power, "ranks": ranks, "nodes": 2, "dtype": "f32"}
            made = record(operation, params, "nccl", (kind, device, ranks), {"bytes": 2**power, "formula": "coll/bytes"}, seconds, 3, samples, rng, False)
            yield {**made, "facts": {"mnnvl": False}}
    for source in range(count):
        for to in range(count):
            if source != to:
                rate = 2.0e11 * (0.8 if slow and to == 3 else 1) * math.exp(rng.gauss(0, 0.004))
                yield record("copy", {"route": "peer", "bytes": 1 << 29, "from": source, "to": to, "scope": "node"}, "native",
                             (kind, device, 1), {"bytes": 1 << 29, "formula": "copy/bytes"}, (1 << 29) / rate, 2, 1, rng, False)
    for mode, block, depth, rate in (("seqread", 1 << 20, 32, 6.8e9), ("seqwrite", 1 << 20, 32, 3.1e9), ("randread", 4096, 32, 2.4e9)):
        params = {"mode": mode, "block_bytes": block, "depth": depth, "file_bytes": 1 << 32}
        yield record("storage", params, "io_uring", ("cpu", "a processor", 1), {"bytes": block, "ops": 1, "formula": "storage/bytes"},
                     block / rate / math.exp(rng.gauss(0, 0.05)), 3, samples, rng, False)
    for probe, reason in (("launch", "the driver was lost"), ("fabric", "it needs two ranks")):
        made = record(probe, {"scope": "node"}, "native", gpus, {"ops": 1, "formula": "op"}, 1, 0, 0, rng, False)
        yield {**made, "status": "skipped", "reason": reason, "remedy": "", "complete": False, "verify": None}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--bytes", type=int, default=27000)
    parser.add_argument("--sigma", type=float, default=0.015)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--kinds", action="store_true")
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
                if options.kinds:
                    slow = instance == "p5.48xlarge" and node == 1
                    if slow:
                        for visit in run["records"][0]["rounds"]:
                            times = [flops / speed * (1.15 if i == 3 else 1 + 0.001 * i) for i in range(count)]
                            visit["unit_time_s"] = {"p50": times, "max": times}
                    run["records"] += of_every_kind(flops, speed, gpus, slow, min(samples, 3), rng)
                name = f"{provider}-{instance}-{node}-{number}.json"
                (options.folder / name).write_text(json.dumps(run, separators=(",", ":")))


if __name__ == "__main__":
    main()
