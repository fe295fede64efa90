#!/usr/bin/env python3
"""Recomputes every figure that assay prints from the result files, as results/METRICS.md defines it.

  recompute.py FIGURES RESULT                        FIGURES: assay report --json RESULT
  recompute.py COMPARISON --a RESULT… --b RESULT…    COMPARISON: assay compare --json …
  recompute.py RANKING --files RESULT…               RANKING: assay compare --json --all-pairs --by file A B C …
  recompute.py GROUPS --files RESULT…                GROUPS: assay compare --json FOLDER
  (with --force, --within, --noise and --primary as given to assay, but for GROUPS)

Standard library only, and written from METRICS.md, not from the C++: a second pair of eyes. Exit
status 0 if all figures agree to 1e-9 relative, 1 if one differs (each is named), 2 for wrong use.
"""

import argparse
import csv
import datetime
import functools
import json
import math
import pathlib
import re
import statistics
import sys

ALPHA = 1 - 0.95
GPU_BACKENDS = {"cublas", "cublaslt", "cuda", "cudnn", "nccl"}  # of files that tell no device's kind
MANY_RUNS = 1000
RESULTS = pathlib.Path(__file__).resolve().parent.parent / "results"


# --- Probes ---


@functools.lru_cache(maxsize=None)
def probe_table():
    """The table of METRICS.md: by the name of a probe, its cells by column."""
    section = (RESULTS / "METRICS.md").read_text(encoding="utf-8").split("\n## Probes\n")[1].split("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    return {cells[0].strip("`"): dict(zip(lines[0], cells)) for cells in lines[2:]}


def cell(probe, column):
    table = probe_table()
    return table.get(probe, table["any other"])[column]


def said(probe, words):
    """What the last column has behind these words: the names there; None without them."""
    found = re.search(f"(?:^|, ){words}((?: `[^`]*`)*)(?:,|$)", cell(probe, "and"))
    return found and re.findall("`([^`]*)`", found[1])


def where(condition, params):
    """Whether params fulfil "`NAME` is `VALUE` or `VALUE`", "`NAME` < NUMBER"."""
    name, *values = re.findall("`([^`]*)`", condition)
    below = re.search("< ([0-9]+)", condition)
    return params.get(name, math.inf) < int(below[1]) if below else params.get(name) in values


def probe_class(probe):
    return cell(probe, "class")


def bus_factor(probe, n):
    """busbw of algbw."""
    return {"none": None, "1": 1, "(n − 1) ÷ n": (n - 1) / n, "2 (n − 1) ÷ n": 2 * (n - 1) / n}[cell(probe, "f")]


# --- Time, speed and dollars ---


def all_times(record, key="time_s"):
    return [t for visit in record.get("rounds", []) for t in visit.get(key, [])]


def median_s(record):
    times = all_times(record)
    return statistics.median(times) if times else None


def samples(visit):
    """(iterations, seconds per iteration, seconds since the visit's first sample began), one a sample."""
    found, at = [], 0.0
    counts = visit["iterations"] if in_spans(visit) else [max(1, visit["batch"])] * len(visit["time_s"])
    for n, t in zip(counts, visit["time_s"]):
        found.append((n, t, at))
        at += n * t
    return found


def in_spans(visit):
    return len(visit.get("iterations", [])) == len(visit["time_s"]) > 0


def seconds_of(some):
    return sum(n * t for n, t, _ in some)


def over_time(some):
    return seconds_of(some) / sum(n for n, _, _ in some)


def log_rates(some, count):
    """Of so many equal spans of the samples."""
    cuts = [i * len(some) // count for i in range(count + 1)]
    return [-math.log(over_time(some[a:b])) for a, b in zip(cuts, cuts[1:])]


def alike(values):
    mean = statistics.fmean(values)
    alone = math.fsum((v - mean) ** 2 for v in values)
    together = math.fsum((a - mean) * (b - mean) for a, b in zip(values, values[1:]))
    return min(max(together / alone, 0.0), 0.9) if alone > 0 else 0.0


def fall(some):
    """How many samples come before the rate falls for good; None where it doesn't."""
    if len(some) < 30:
        return None
    y = log_rates(some, 30)
    def levels(k):
        return statistics.fmean(y[:k]), statistics.fmean(y[k:])
    def gain(k):
        before, after = levels(k)
        return k * (30 - k) * (before - after) ** 2
    k = max(range(2, 29), key=gain)
    before, after = levels(k)
    if not 1 - math.exp(after - before) >= 0.2:
        return None
    e = [v - (before if i < k else after) for i, v in enumerate(y)]
    r = alike(e)
    error = math.sqrt(math.fsum(v * v for v in e) / 28 * (1 / k + 1 / (30 - k)) * (1 + r) / (1 - r))
    return k * len(some) // 30 if before - after > 6 * error else None


def stalls(some):
    if len(some) < 10:
        return False
    times, mean = [t for _, t, _ in some], over_time(some)
    if 1 / 1.1 < mean / statistics.median(times) < 1.1:
        return False
    return sum(a <= mean < b for a, b in zip(times, times[1:])) >= 3


def pacing(record):
    """The statistic, why, the burst, and by visit the samples that count."""
    visits = record.get("rounds", [])
    counted = [samples(v) for v in visits]
    is_in_spans = any(in_spans(v) for v in visits)
    why = record.get("facts", {}).get("paced")
    why = why if isinstance(why, str) else None
    telling = sum(len(some) >= 10 for some in counted)
    stalling = sum(stalls(some) for some in counted)
    if why is None and not is_in_spans and stalling > 0 and 2 * stalling >= telling:
        why = "stalls"
    begins = [sum(map(seconds_of, counted[:i])) for i in range(len(counted))]
    in_order = [(n, t, at + begin) for some, begin in zip(counted, begins) for n, t, at in some]
    shortest = min((seconds_of(some) for some in counted if some), default=0)
    by_place = sorted((sample for some in counted for sample in some if sample[2] < shortest),
                      key=lambda sample: sample[2])
    found = fall(in_order) if is_in_spans or len(visits) == 1 else None
    ordered, each_visit = in_order, False
    if found is None and len(visits) > 1:
        found, ordered, each_visit = fall(by_place), by_place, True
    burst = None
    if found is not None:
        fell = ordered[found][2]
        longest = max(n * t for n, t, _ in ordered)
        def left(since):
            return [[s for s in some if (0 if each_visit else begin) + s[2] >= since]
                    for some, begin in zip(counted, begins)]
        def are_left(after):
            return any(after) and (not each_visit or all(some or not all_ for some, all_ in zip(after, counted)))
        after = next((after for after in (left(fell + longest), left(fell)) if are_left(after)), None)
    if found is not None and after is not None:
        counted = after
        everything = [s for some in counted for s in some]
        burst = {"each_visit": each_visit, "lasted_s": fell, "before_s": over_time(ordered[:found]),
                 "after_s": over_time(everything)}
        why = why or "burst"
    return {"over_time": is_in_spans or why is not None, "why": why, "burst": burst, "counted": counted,
            "spans": sum(len(v["time_s"]) for v in visits if in_spans(v)),
            "measured_s": sum(seconds_of(samples(v)) for v in visits)}


def time_of(some, is_over_time):
    return over_time(some) if is_over_time else statistics.median(t for _, t, _ in some)


def usual_s(record):
    """The time behind the speed."""
    paced = pacing(record)
    everything = [s for some in paced["counted"] for s in some]
    return time_of(everything, paced["over_time"]) if everything else None


def mean_s(record):
    everything = [s for some in pacing(record)["counted"] for s in some]
    return over_time(everything) if everything else None


def log_round_times(record, over_time=None):
    """By the record's own statistic, or that of a comparison."""
    paced = pacing(record)
    over_time = paced["over_time"] if over_time is None else over_time
    return [math.log(time_of(some, over_time)) for some in paced["counted"] if some]


def stable_s(record):
    visits = [v for v in record.get("rounds", []) if in_spans(v) and len(v.get("stable_time_s", [])) == len(v["iterations"])]
    iterations = sum(sum(v["iterations"]) for v in visits)
    return sum(n * t for v in visits for n, t in zip(v["iterations"], v["stable_time_s"])) / iterations if iterations else None


def measured(record):
    return record["status"] in ("ok", "partial")


def work_of(probe, params, work):
    """W and its unit."""
    amount, _, condition = cell(probe, "counts, else as usual").partition(" where ")
    amount = amount.strip("`")
    if amount in work and where(condition, params):
        return work[amount], {"bytes": "B/s", "ops": "IOPS"}[amount]
    if "flops" in work:
        return work["flops"], "OP/s" if params.get("dtype") == "int8" else "FLOP/s"
    if "bytes" in work:
        return work["bytes"], "B/s"
    if "ops" in work:
        return work["ops"], "op/s"
    return None, None


def work(record):
    return work_of(record["probe"], record["params"], record.get("work", {}))


def rate(record, seconds):
    amount, _ = work(record)
    return amount / seconds if measured(record) and amount and seconds else None


def speed(record):
    return rate(record, usual_s(record))


def of_here(record):
    here = record.get("here")
    if here is None or not measured(record) or pacing(record)["over_time"]:
        return None
    amount, unit = work(record)
    bound, bound_unit = work_of(here["probe"], here["params"], here["work"])
    if not amount or not bound or unit != bound_unit:
        return None
    ratios = [(amount / statistics.median(v["time_s"])) / (bound / statistics.median(v["here_time_s"]))
              for v in record.get("rounds", []) if v["time_s"] and v.get("here_time_s")]
    return statistics.fmean(ratios) if ratios else None


def bus_bandwidth(record):
    if speed(record) is None or "ranks" not in record["params"]:
        return None
    factor = bus_factor(record["probe"], record["params"]["ranks"])
    return None if factor is None else speed(record) * factor


def wire(record):
    """GB/s on a rank's share of the busiest link, and by which algorithm; nothing of one that isn't told."""
    moved, algorithm = (record.get("facts", {}).get(name) for name in ("wire_bytes", "algorithm"))
    if bus_bandwidth(record) is None or moved is None or algorithm is None:
        return None, None
    nodes = record["params"].get("nodes", 1)
    sharers = record["params"]["ranks"] / nodes if nodes > 1 else 1
    return moved / sharers / median_s(record) / 1e9, algorithm


def fits(records):
    """The cost model of each sweep, T = A + B S, by least squares of the relative residuals."""
    sweeps = {}
    for i, record in enumerate(records):
        if bus_bandwidth(record):
            rest = {name: value for name, value in record["params"].items() if name != "bytes"}
            sweeps.setdefault((record["probe"], record["backend"], params_text(rest)), []).append(i)
    found = []
    for places in sweeps.values():
        places.sort(key=lambda i: records[i]["work"]["bytes"])
        sizes = [records[i]["work"]["bytes"] for i in places]
        times = [usual_s(records[i]) for i in places]
        if len(places) < 3 or sizes[0] == sizes[-1]:
            continue
        aa = ab = bb = a1 = b1 = 0.0
        for size, time in zip(sizes, times):
            a, b = 1 / time, size / time
            aa, ab, bb, a1, b1 = aa + a * a, ab + a * b, bb + b * b, a1 + a, b1 + b
        below = aa * bb - ab * ab
        start, per_byte = (a1 * bb - b1 * ab) / below, (aa * b1 - ab * a1) / below
        if start < 0:
            start, per_byte = 0.0, b1 / bb
        elif per_byte < 0:
            start, per_byte = a1 / aa, 0.0
        residual = math.sqrt(statistics.fmean(((start + per_byte * size) / time - 1) ** 2
                                              for size, time in zip(sizes, times)))
        found.append({"start_s": start, "per_byte_s": per_byte, "residual": residual,
                      "cases": places, "bytes": sizes})
    return found


@functools.lru_cache(maxsize=None)
def data_rows(name):
    path = pathlib.Path(__file__).resolve().parent.parent / "results" / name
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# The network kinds of instances.csv that TCP sockets don't use.
FABRICS = {"efa", "infiniband", "infiniband-hdr", "infiniband-ndr", "roce", "roce-cx7", "gpudirect-tcpx",
           "gpudirect-tcpxo"}


def by_sockets(run, record):
    """Whether ranks of several nodes went by TCP sockets where the nodes' type has another network."""
    if speed(record) is None or record.get("facts", {}).get("sockets") is not True or not run["nodes"] or \
            record["params"].get("nodes", 1) < 2:
        return False
    types = {(n["identity"]["provider"]["value"], n["identity"]["instance"]["value"]) for n in run["nodes"]}
    return len(types) == 1 and any((r["provider"], r["instance"]) in types and r["network_kind"] in FABRICS
                                   for r in data_rows("catalog/instances.csv"))


def most_over_network(record, busbw, wired, n, k):
    """The most busbw that comes of a node's network, over its rate: counted bytes over the fewest that a node moves."""
    g = n // k
    if wired:
        return busbw / (wired * g)
    if "spread_percent" in record["params"]:
        return None
    share = (n - 1) / n
    return {"all_reduce": 2 * share, "broadcast": 1, "reduce": 1, "alltoall": share / (g * (n - g) / n),
            "alltoallv": share / (g * (n - g) / n)}.get(record["probe"], share / ((k - 1) / k) if record["probe"] in (
                "all_gather", "reduce_scatter", "gather", "scatter") else None)


def standing(run, record):
    """What others measured, GB/s, and how this stands beside it."""
    if by_sockets(run, record):
        return None, "low"
    bus, params = bus_bandwidth(record), record["params"]
    if bus is None or kind(record) != "gpu" or not run["nodes"]:
        return None, None
    identity, nodes = run["nodes"][0]["identity"], params.get("nodes", 1)
    here = (identity["provider"]["value"], identity["instance"]["value"])
    if any((n["identity"]["provider"]["value"], n["identity"]["instance"]["value"]) != here for n in run["nodes"]):
        return None, None
    facts = [r for r in data_rows("catalog/instances.csv") if (r["provider"], r["instance"]) == here]
    if not facts or not facts[0]["accelerator_count"] or params["ranks"] != nodes * int(facts[0]["accelerator_count"]):
        return None, None
    mnnvl = record.get("facts", {}).get("mnnvl") if nodes > 1 else None
    rows = [float(r["busbw_gbs"]) for r in data_rows("figures/expected.csv")
            if (r["provider"], r["instance"], int(r["nodes"]), r["operation"], int(r["bytes"])) ==
            (*here, nodes, record["probe"], record["work"]["bytes"])
            and (mnnvl is None or mnnvl == (r["transport"] == "mnnvl"))]
    expected = rows[0] if rows else None
    if rows and bus / 1e9 < 0.9 * expected:
        return expected, "low"
    network = float(facts[0]["network_gbps"] or 0) / 8 if nodes > 1 and mnnvl is not True else 0
    wired = wire(record)[0]
    if network and (mnnvl is not None or wired is not None):
        most = most_over_network(record, bus / 1e9, wired, params["ranks"], nodes)
        if most is not None and bus / 1e9 > 1.02 * network * most:
            return expected, "suspicious"
    if network and bus / 1e9 > 1.02 * network:
        return expected, "above the bound"
    return expected, "ok" if rows else None


def overlap(record):
    """What GEMMs pay for an all-reduce beside them."""
    amounts, n = record.get("work", {}), record["params"].get("ranks")
    beside = said(record["probe"], "beside")
    if beside is None or not measured(record) or "flops" not in amounts or "bytes" not in amounts or not n:
        return None
    names = ("compute_alone", "compute", "communicate_alone", "communicate")
    visits = [v for v in record.get("rounds", []) if v["time_s"] and all(
        len(v.get("phase_time_s", {}).get(name, [])) == len(v["time_s"]) for name in names)]
    if not visits:
        return None
    a, compute, b, communicate = (
        statistics.median(t for v in visits for t in v["phase_time_s"][name]) for name in names)
    moved = amounts["bytes"] * bus_factor(beside[0], n)
    exposed, hidden = [], []
    for v in visits:
        phases = v["phase_time_s"]
        exposed.append(statistics.median(c - alone for c, alone in zip(v["time_s"], phases["compute_alone"])))
        a_round, b_round = (statistics.median(phases[name]) for name in ("compute_alone", "communicate_alone"))
        hidden.append((a_round + b_round - statistics.median(v["time_s"])) / min(a_round, b_round))
    mean, k = statistics.fmean(exposed), len(exposed)
    half = student_t(0.95, k - 1) * statistics.stdev(exposed) / math.sqrt(k) if k > 1 else None
    return {"compute_alone": amounts["flops"] / a, "compute_together": amounts["flops"] / compute,
            "communicate_alone": moved / b, "communicate_together": moved / communicate,
            "compute_slowdown": compute / a, "communicate_slowdown": communicate / b,
            "exposed_s": mean, "exposed_low_s": None if half is None else mean - half,
            "exposed_high_s": None if half is None else mean + half,
            "hidden": statistics.fmean(hidden)}


def exp(x):
    """Infinite where it is too large for a float, as std::exp has it."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def drift(record):
    """What changes from round to round, as factors of speed."""
    if not record.get("rounds"):
        return None
    x = [v["start_s"] / 60 for v, some in zip(record["rounds"], pacing(record)["counted"]) if some]
    y = log_round_times(record)
    if len(x) < 5 or not x[-1] > x[0]:
        return None
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    xx = math.fsum((a - mean_x) ** 2 for a in x)
    slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y)) / xx
    residuals = [b - mean_y - slope * (a - mean_x) for a, b in zip(x, y)]
    squares = math.fsum(e * e for e in residuals)
    spread = squares / (len(x) - 2) / xx
    if squares > 0:
        mean = statistics.fmean(residuals)
        alike = math.fsum((a - mean) * (b - mean) for a, b in zip(residuals, residuals[1:])) / math.fsum(
            (e - mean) ** 2 for e in residuals)
        alike = min(max(alike, 0.0), 0.9)
        spread *= (1 + alike) / (1 - alike)
    half, span = student_t(0.95, len(x) - 2) * math.sqrt(spread), x[-1] - x[0]
    factors = {f"{name}.{end}": exp(-(slope + sign * half) * minutes)
               for name, minutes in (("per_minute", 1), ("over_all", span))
               for end, sign in (("estimate", 0), ("low", 1), ("high", -1))}
    printed = {name: None if math.isinf(factor) else factor for name, factor in factors.items()}
    return {**printed, "span_s": span * 60, "rounds": len(x),
            "verdict": judge(factors["over_all.low"], factors["over_all.high"], 0.03)}


def of_peak(run, record):
    """What part of its data sheet an accelerator gives."""
    fast = speed(record)
    if fast is None or kind(record) != "gpu" or not record.get("units") or \
            said(record["probe"], "of peak") is None:
        return None
    accelerators = run["nodes"][record["units"][0]["node"]]["accelerators"]
    if len(accelerators) != 1 or accelerators[0]["mig"]:
        return None
    rows = [r for r in data_rows("catalog/devices.csv") if accelerators[0]["name"] in r["match"].split("|")]
    of_memory = work(record)[1] == "B/s"
    if of_memory and record.get("facts", {}).get("in_cache") is True:
        return None
    dtype = record["params"].get("dtype", "")
    column = "memory_gb_per_s" if of_memory else \
        "fp8_tflops" if dtype.startswith("fp8_") or dtype == "mxfp8" else \
        {"int8": "int8_tops", "nvfp4": "fp4_tflops"}.get(dtype, f"{dtype}_tflops")
    if not rows or not rows[0].get(column):
        return None
    peak = float(rows[0][column]) * (1e9 if of_memory else 1e12) * len(record["units"])
    clocks = [mhz for v in record.get("rounds", []) for t in v.get("telemetry", []) for mhz in t["sm_mhz"]]
    clock = statistics.median(clocks) if clocks and not of_memory else None
    nominal = rows[0]["peak_clock_mhz"]
    return {"device": rows[0]["name"], "of_spec": fast / peak, "clock_mhz": clock,
            "of_clock": fast / peak * float(nominal) / clock if clock and nominal else None}


def device_speeds(record):
    """The speed of each unit; none of what is between ranks."""
    every, median = speed(record), usual_s(record)
    if every is None or not math.isfinite(every) or probe_class(record["probe"]) == "network":
        return []
    units = len(record.get("units", []))
    if units == 1:
        return [every]
    times = [[v["unit_time_s"]["p50"][u] for v in record.get("rounds", [])
              if u < len(v.get("unit_time_s", {}).get("p50", []))] for u in range(units)]
    if not all(t and statistics.median(t) > 0 for t in times):
        return []
    speeds = [every * median / units / statistics.median(t) for t in times]
    return speeds if all(map(math.isfinite, speeds)) else []


def fits_row(record, row):
    if record["probe"] != row["probe"]:
        return False
    for word in row["params"].split():
        name, _, value = word.partition("=")
        at_least = name.endswith(">")
        there = record["params"].get(name.rstrip(">"))
        if there is None or (there < int(value) if at_least else params_text({"": there}) != f"={value}"):
            return False
    return True


def health(run, record):
    """How each device stands beside its siblings and beside what others measured."""
    speeds = device_speeds(record)
    if not speeds:
        return None
    units = record["units"]
    median = statistics.median(speeds)
    mad = statistics.median([abs(s - median) for s in speeds])
    several = len(speeds) >= 4
    scores = [0 if s == median else 0.6745 * (s - median) / mad if mad else math.inf for s in speeds]
    standings = ["ok" if not several or abs(z) <= 3.5 or abs(s / median - 1) < 0.02
                 else "low" if s < median else "suspiciously high" for s, z in zip(speeds, scores)]
    accelerators = run["nodes"][units[0]["node"]]["accelerators"]
    row = None
    if kind(record) == "gpu" and len(accelerators) == 1 and not accelerators[0]["mig"]:
        names = [r["name"] for r in data_rows("catalog/devices.csv") if accelerators[0]["name"] in r["match"].split("|")]
        for other in data_rows("figures/expected_devices.csv"):
            if other["device"] in names[:1] and fits_row(record, other) and not any(
                    kind(r) == "gpu" and fits_row(r, other)
                    and max(device_speeds(r), default=0) > max(speeds) for r in run["records"]):
                row = other
                break
    if len(speeds) == 1 and row is None:
        return None
    if row is not None and (row["unit"] == "GB/s") == (work(record)[1] == "B/s"):
        theirs = float(row["speed"]) * (1e9 if row["unit"] == "GB/s" else 1e12)
        standings = [was if was != "ok" else "low" if s / theirs < 0.88
                     else "suspiciously high" if s / theirs > 1.10 else "ok" for was, s in zip(standings, speeds)]
    devices = []
    for i, (unit, s, z, word) in enumerate(zip(units, speeds, scores, standings)):
        seen = [t for v in record.get("rounds", []) for t in v.get("telemetry", []) if t["unit"] == i]
        clocks = [mhz for t in seen for mhz in t["sm_mhz"]]
        celsius = [c for t in seen for c in t.get("temperature_c", [])]
        devices.append({"node": unit["node"], "device": unit["device"], "speed": s,
                        "z": z if several and math.isfinite(z) else None,
                        "clock_mhz": statistics.median(clocks) if clocks else None,
                        "temperature_c": max(celsius, default=None), "standing": word})
    return {"devices": devices, "slowest": speeds.index(min(speeds)),
            "spread": (max(speeds) - min(speeds)) / median}


def power(record):
    """What the devices drew, and what held them back."""
    if not measured(record) or not record.get("units"):
        return None
    watts, events = 0, set()
    for unit in range(len(record["units"])):
        seen = [t for v in record.get("rounds", []) for t in v.get("telemetry", []) if t["unit"] == unit]
        events.update(event for t in seen for event in t["events"])
        metered = [(t["energy_j"], t["at_s"][-1] - t["at_s"][0]) for t in seen
                   if t.get("energy_j") is not None and len(t["at_s"]) > 0 and t["at_s"][-1] > t["at_s"][0]]
        samples = [w for t in seen for w in t["power_w"]]
        if metered:
            watts += math.fsum(j for j, _ in metered) / math.fsum(s for _, s in metered)
        elif samples:
            watts += statistics.fmean(samples)
        else:
            return None
    flops, mean = record.get("work", {}).get("flops"), mean_s(record)
    return {"watts": watts, "joules_per_tflop": watts * mean / (flops / 1e12) if flops and mean else None,
            "held_back": "power-brake" if "hw_power_brake" in events
                         else "thermal" if events & {"hw_thermal", "sw_thermal", "hw_slowdown"}
                         else "power-capped" if "sw_power_cap" in events else "none"}


def costs(record, usd_per_hour):
    """(name, usd) in the order of the page's table."""
    seconds = mean_s(record)
    if usd_per_hour is None or seconds is None or not measured(record):
        return []
    amounts = record.get("work", {})
    if amounts.get("flops") and work(record)[1] != "B/s":
        per_hour = usd_per_hour / (amounts["flops"] / seconds / 1e12)
        per_exa = usd_per_hour / 3600 * seconds / amounts["flops"] * 1e18
        if record["params"].get("dtype") == "int8":
            return [("usd_per_tops_hour", per_hour), ("usd_per_eop", per_exa)]
        return [("usd_per_tflops_hour", per_hour), ("usd_per_eflop", per_exa)]
    if not amounts.get("bytes"):
        return []
    name, _, rest = cell(record["probe"], "dollars of bytes").partition(" where ")
    condition, _, other = rest.partition(", else ")
    name = (name if not condition or where(condition, record["params"]) else other).strip("`")
    if name == "usd_per_tbps_hour":
        return [(name, usd_per_hour / (amounts["bytes"] / seconds / 1e12))]
    if name.startswith("usd_per_tb_") and "group" in record["params"]:
        return []
    scale = 1e12 if name.startswith("usd_per_tb_") else 2**40
    return [(name, usd_per_hour / 3600 * seconds / amounts["bytes"] * scale)]


def sustained(record):
    return (record["params"].get("regime") == "sustained" and
            all(v.get("sustained", {}).get("least_s", 0) >= 60 for v in record.get("rounds", [])))


def cached(run, record):
    """What says that a figure of storage is a cache's, or may be; and whether that is sure."""
    if probe_class(record["probe"]) != "storage" or speed(record) is None:
        return None, False
    nodes = {unit["node"] for unit in record.get("units", [])} or {0}
    index = record.get("storage")
    if index is not None and any(run["nodes"][n]["storage"][index]["kind"] == "memory" for n in nodes):
        return "memory", True
    direct = record.get("facts", {}).get("direct")
    return {"proved": (None, False), "refuted": ("refuted", True)}.get(direct, ("cache?", False))


def unpriced(run, record):
    if cached(run, record)[1] or by_sockets(run, record):
        return True
    return (run["suite"]["name"] in ("standard", "full") and kind(record) == "gpu"
            and said(record["probe"], "paid in bursts") is None
            and not sustained(record) and len(costs(record, 1)) > 0)


def usd_per_hour(run, offer):
    if not offer or not offer["offered"] or offer["usd_per_hour"] is None:
        return None
    return offer["usd_per_hour"] * max(1, len(run["nodes"]))


def node_figure(run, record):
    if record["status"] != "ok" or len(record.get("units", [])) < 2:
        return None
    together = rate(record, mean_s(record))
    if together is None:
        return None
    alone = [rate(r, mean_s(r)) for r in run["records"]
             if (r["probe"], r["method"], r["backend"]) ==
             (record["probe"], record["method"], record["backend"])
             and r["params"] == {**record["params"], "scope": "device"}]
    alone = [r for r in alone if r is not None]
    whole = len(alone) == len(record["units"])
    return {"together": together, "slowest_alone": min(alone) if whole else None,
            "sum_alone": math.fsum(alone) if whole else None}


def headline(run):
    accelerated = holds_accelerator(run)
    name = "bf16-train/1" if accelerated else "bf16-cpu/2"
    if not run["complete"]:
        return name, None
    for record in run["records"]:
        if (said(record["probe"], "headline") is not None and record["params"].get("name") == name
                and record["params"].get("algo", "default") == "default"
                and record["status"] == "ok" and record["complete"] and len(record["rounds"]) >= 5
                and sustained(record) and not part_used(run, kind(record))
                and (kind(record) == "cpu" or len(record["units"]) >=
                     sum(a["present"] for node in run["nodes"] for a in node["accelerators"]))
                and record.get("verify", {}).get("checked", 0) > 0 and speed(record) is not None):
            return name, match_key(record)
    return name, None


# --- Statistics ---


def beta_fraction(x, a, b):
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    value = d
    for m in range(1, 10000):
        for term in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                     -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d = 1 / ((1 + term * d) or tiny)
            c = (1 + term / c) or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def student_tail(t, df):
    """P(|T| > t)."""
    t = abs(t)
    if t == 0:
        return 1.0
    if math.isinf(t):
        return 0.0
    if df > 1e6:
        return math.erfc(t / math.sqrt(2))
    a, b = df / 2, 0.5
    x, y = df / (df + t * t), t * t / (df + t * t)
    if a < 50:
        log_ratio = math.lgamma(a + 0.5) - math.lgamma(a)
    else:  # the same by its asymptotic series, which keeps the digits
        log_ratio = 0.5 * math.log(a) - 1 / (8 * a) + 1 / (192 * a**3) - 1 / (640 * a**5)
    log_x = math.log(x) if x < 0.5 else math.log1p(-y)
    front = math.exp(a * log_x + b * math.log(y) + log_ratio - 0.5 * math.log(math.pi))
    if x < (a + 1) / (a + b + 2):
        return front * beta_fraction(x, a, b) / a
    return 1 - front * beta_fraction(y, b, a) / b


def f_tail(f, above, below):
    """P(F > f), of a ratio of variances with these degrees of freedom."""
    if f <= 0:
        return 1.0
    if math.isinf(f):
        return 0.0
    a, b = below / 2, above / 2
    x, y = below / (below + above * f), above * f / (below + above * f)
    front = math.exp(a * math.log(x) + b * math.log(y) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b))
    if x < (a + 1) / (a + b + 2):
        return front * beta_fraction(x, a, b) / a
    return 1 - front * beta_fraction(y, b, a) / b


@functools.lru_cache(maxsize=None)
def student_t(confidence, df):
    wanted = 1 - confidence
    low, high = 0.0, 1.0
    while student_tail(high, df) > wanted:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if student_tail(middle, df) > wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def variance(values):
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)


class SplitMix64:
    def __init__(self):
        self.state = 1

    def draw(self, values):
        """As many as there are, with replacement."""
        state, n, mask, drawn = self.state, len(values), 2**64 - 1, []
        for _ in range(n):
            state = (state + 0x9E3779B97F4A7C15) & mask
            x = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
            x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
            drawn.append(values[(((x ^ (x >> 31)) >> 32) * n) >> 32])
        self.state = state
        return drawn


def bootstrap_reach(confidence, resample):
    """q+ and q-: how many standard errors the interval reaches down and up."""
    t = sorted(v for v in (resample() for _ in range(9999)) if math.isfinite(v))
    if not t:
        return 0.0, 0.0
    k = min(max(1, math.floor((1 - confidence) / 2 * (len(t) + 1))), len(t))
    return max(0.0, t[len(t) - k]), max(0.0, -t[k - 1])


def ratio_or_nan(above, below):
    return above / below if below > 0 else math.nan


def one_sample(values, confidence=0.95):
    """low and high as factors around 1."""
    n = len(values)
    if n < 2:
        return None
    error = math.sqrt(variance(values) / n)
    if n < 20:
        down = up = student_t(confidence, n - 1)
    else:
        mean, random = math.fsum(values) / n, SplitMix64()

        def resample():
            drawn = random.draw(values)
            return ratio_or_nan(math.fsum(drawn) / n - mean, math.sqrt(variance(drawn) / n))

        down, up = bootstrap_reach(confidence, resample)
    return math.exp(-down * error), math.exp(up * error)


def welch(a, b):
    """difference, standard error, degrees of freedom."""
    parts = [(variance(s) / len(s), len(s) - 1) for s in (a, b)]
    return welch_of_parts(math.fsum(b) / len(b) - math.fsum(a) / len(a), parts)


def welch_of_parts(difference, parts):
    """The same from the variance of each side's mean and its degrees of freedom."""
    v = sum(part for part, _ in parts)
    below = sum(part * part / df for part, df in parts if df > 0)
    return difference, math.sqrt(v), v * v / below if below > 0 else math.inf


def two_samples(a, b, confidence):
    """estimate, low, high as factors."""
    difference, error, df = welch(a, b)
    if min(len(a), len(b)) < 20:
        down = up = student_t(confidence, df)
    else:
        random = SplitMix64()

        def resample():
            drawn_a = random.draw(a)
            drawn = welch(drawn_a, random.draw(b))
            return ratio_or_nan(drawn[0] - difference, drawn[1])

        down, up = bootstrap_reach(confidence, resample)
    return (math.exp(difference), math.exp(difference - down * error),
            math.exp(difference + up * error))


# --- Spread between nodes ---


def moderated(groups, i):
    """The variance of one node of group i and its degrees of freedom; None where nothing is known of it.

    groups: for each its nodes' log speeds, and the (variance, df) of the measured rows that fit it."""
    values, rows = groups[i]
    d, own, others = len(values) - 1, variance(values), list(rows)
    if d == 0:
        return (statistics.median(v for v, _ in rows), min(8.0, sum(df for _, df in rows))) if rows else None
    if d >= 2:
        others += [(variance(other), len(other) - 1) for j, (other, _) in enumerate(groups) if j != i and len(other) > 1]
    if not others:
        return own, d
    total = sum(df for _, df in others)
    usual = statistics.median(v / ((1 - 2 / (9 * df)) ** 3 if len(others) >= 3 else 1) for v, df in others)
    if own > 0 and f_tail(own / usual if usual else math.inf, d, total) < 0.05:
        return own, d
    borrowed = min(4.0, total / 2)
    return (borrowed * usual + d * own) / (borrowed + d), borrowed + d


def df_in_all(groups):
    return sum(len(values) - 1 for values, _ in groups) + sum(df for _, df in {row for _, rows in groups for row in rows})


def nodes_to_find(factor, types):
    """The nodes a side that find it in 80 of 100 comparisons; types: the variance between nodes and the rows of each side."""
    def finds(n):
        groups = [([math.sqrt(var * (n - 1) / 2)] + [0.0] * (n - 2) + [-math.sqrt(var * (n - 1) / 2)], rows) for var, rows in types]
        spreads = [moderated(groups, i) if n < 20 else (var, n - 1) for i, (var, _) in enumerate(types)]
        v = sum(var for var, _ in spreads) / n
        if v <= 0:
            return True
        df = v * v / sum((var / n) ** 2 / f for var, f in spreads)
        if n < 20:
            df = min(df, df_in_all(groups))
        w = sum(var for var, _ in types) / n
        return student_t(0.95, df) * math.sqrt(v) + student_t(0.6, df) * math.sqrt(w) <= abs(math.log(factor))

    low, high = 3, 1000
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if finds(middle) else (middle + 1, high)
    return low


# --- Sides of a comparison ---


def params_text(params):
    def text(value):
        return ("true" if value else "false") if isinstance(value, bool) else str(value)

    return ",".join(f"{k}={text(v)}" for k, v in sorted(params.items()))


def match_key(record):
    return f"{record['probe']}/{record['method']}/{params_text(record['params'])}"


def kind(record):
    if "device" in record:
        return record["device"]["kind"]
    return "gpu" if record["backend"] in GPU_BACKENDS else "cpu"


def node_ids(run):
    return tuple(sorted(node["node_id"] for node in run["nodes"]))


def instance(run):
    return run["nodes"][0]["identity"]["instance"]["value"] if run["nodes"] else "unknown"


def holds_accelerator(run):
    return any(a["present"] > 0 for node in run["nodes"] for a in node["accelerators"])


def part_used(run, device_kind):
    used = present = 0
    for node in run["nodes"]:
        if device_kind == "gpu":
            if any(a["mig"] and a["used"] > 0 for a in node["accelerators"]):
                return True
            used += sum(a["used"] for a in node["accelerators"])
            present += sum(a["present"] for a in node["accelerators"])
        else:
            quota = node["cpu"].get("quota")
            cores = node["cpu"]["cores_used"]
            used += cores if quota is None else min(cores, quota)
            present += node["cpu"]["cores_present"]
    return used < present


def division(run):
    build = run["assay"]
    closed = ((build.get("image_digest") or "").startswith("sha256:") and not build["dirty"]
              and build["commit"] and run["suite"]["name"] and run["suite"]["sha256"]
              and all(r["params"].get("algo", "default") == "default" for r in run["records"])
              and not any(node["env"] for node in run["nodes"]))
    return "closed" if closed else "open"


class Case:
    """What one side has of one case on one backend: a list of records for each of its runs."""

    def __init__(self, side):
        self.side = side
        self.runs = {}  # index of the run -> its records

    def record(self):
        return next(iter(self.runs.values()))[0]

    def nested(self, value):
        """Values of the runs, gathered to nodes where there are several."""
        by_nodes = {}
        for index, records in self.runs.items():
            run = self.side["runs"][index]
            by_nodes.setdefault(node_ids(run), []).append(value(run, records))
        if len(by_nodes) == 1:
            return next(iter(by_nodes.values()))
        return [statistics.fmean(by_nodes[nodes]) for nodes in sorted(by_nodes, key=" ".join)]

    def figure(self, figure):
        """The geometric mean over nodes, of runs, of records; None where a record has none."""
        each = [figure(self.side["runs"][i], r) for i, records in self.runs.items() for r in records]
        if any(v is None or v <= 0 for v in each):
            return None
        return math.exp(statistics.fmean(self.nested(
            lambda run, records: statistics.fmean(math.log(figure(run, r)) for r in records))))

    def speed(self):
        return self.figure(lambda run, record: speed(record))

    def cost(self):
        def first(run, record):
            of_record = [] if unpriced(run, record) else costs(record, usd_per_hour(run, self.side["offer"]))
            return of_record[0][1] if of_record else None

        return self.figure(first)

    def side_values(self, over_time, own):
        values = self.nested(lambda run, records: statistics.fmean(round_values(records, over_time)))
        runs = [self.side["runs"][index] for index in self.runs]
        row = fitting_noise(own, self.record()["probe"], runs[0]) if len(runs) == 1 else None
        are_nodes = len({node_ids(run) for run in runs}) > 1
        node_rows = fitting_node_rows(own, self.record()["probe"], runs) if are_nodes else []
        return SideValues(values, row, [minute(run["started"]) for run in runs], are_nodes, node_rows)

    def is_over_time(self):
        return any(pacing(record)["over_time"] for records in self.runs.values() for record in records)

    def priced(self):
        runs = [self.side["runs"][i] for i in self.runs]
        if any(unpriced(self.side["runs"][i], r) or not costs(r, 1) for i, records in self.runs.items() for r in records):
            return False
        return not any(part_used(run, kind(self.record())) or
                       (kind(self.record()) == "cpu" and holds_accelerator(run)) for run in runs)

    def alike(self):
        """The values of the facts without which the probe isn't compared."""
        return {name: frozenset(r["facts"].get(name) if isinstance(r["facts"].get(name), str) else "unknown"
                                for records in self.runs.values() for r in records)
                for name in said(self.record()["probe"], "alike in") or ()}


class SideValues:
    """Log speeds of a side's runs or nodes; of a single run, with the row of noise.csv for it, of
    nodes with the rows on how nodes differ."""

    def __init__(self, values, row, minutes, are_nodes, node_rows):
        self.values, self.row, self.minutes = values, row, minutes
        self.are_nodes, self.node_rows = are_nodes, node_rows
        self.spread = self.df_in_all = None
        self.guessed = row is not None and row["measured"] == "false"
        self.unit_variance = variance(values) if row is None else float(row["sigma"]) ** 2

    def speed(self):
        return math.exp(math.fsum(self.values) / len(self.values))

    def borrow(self, others):
        """Moderates the spread between nodes by what the other sides show."""
        if not self.are_nodes:
            return
        sides = [self, *others]
        groups = [(side.values, [(float(row["sigma"]) ** 2, row_df(row, sides)) for row in side.node_rows])
                  for side in sides if side.are_nodes]
        self.known = groups[0][1]
        self.spread, self.df_in_all = moderated(groups, 0), df_in_all(groups)
        self.unit_variance = self.spread[0]

    def part(self, other):
        """The variance of the mean, and its degrees of freedom."""
        if self.spread is not None:
            return self.spread[0] / len(self.values), self.spread[1]
        if self.row is None:
            return variance(self.values) / len(self.values), len(self.values) - 1
        return self.unit_variance, row_df(self.row, [self, other])


class Change:
    """The ratio of two sides' values, and an interval, or with a guess what it leaves."""

    def __init__(self, a, b):
        self.a, self.b = a, b
        self.guessed = a.guessed or b.guessed
        self.difference = math.fsum(b.values) / len(b.values) - math.fsum(a.values) / len(a.values)
        parts = [a.part(b), b.part(a)]
        if self.guessed:
            least = max(side.unit_variance for side in (a, b) if side.guessed)
            v = sum(side.unit_variance if side.guessed else max(part, least)
                    for side, (part, _) in zip((a, b), parts))
            self.bound = math.exp(student_t(0.95, 1) * math.sqrt(v))
            return
        _, self.error, df = welch_of_parts(self.difference, parts)
        rows = parts[:1] if a.row is not None and a.row == b.row else parts
        both = a.spread is not None and b.spread is not None
        self.df = min(df, min(a.df_in_all, b.df_in_all) if both else sum(df for _, df in rows))

    def p_value(self):
        if self.difference == 0:
            return 1.0
        return student_tail(self.difference / self.error if self.error else math.inf, self.df)

    def reach(self, confidence):
        """estimate, low, high as factors."""
        if self.guessed:
            ratio = math.exp(self.difference)
            return ratio, ratio / self.bound, ratio * self.bound
        few = min(len(self.a.values), len(self.b.values)) < 20
        own = all(side.row is None and side.spread is None for side in (self.a, self.b))
        if own or not few:
            return two_samples(self.a.values, self.b.values, confidence)
        t = student_t(confidence, self.df)
        return tuple(math.exp(self.difference + x * t * self.error) for x in (0, -1, 1))

    def judge(self, low, high, m):
        if not self.guessed:
            return judge(low, high, m)
        return "guessed faster" if low > 1 else "guessed slower" if high < 1 else "no verdict"


def row_df(row, sides):
    """As many degrees of freedom as a row of noise.csv counts between these sides."""
    minutes = [minute for side in sides for minute in side.minutes]
    near = (row["span_minutes"] and None not in minutes and
            max(minutes) - min(minutes) <= float(row["span_minutes"]))
    return min(float(row["df"]), 8 if near else 2)


def minute(utc):
    try:
        then = datetime.datetime.strptime(utc, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return None
    return then.replace(tzinfo=datetime.timezone.utc).timestamp() / 60


def round_values(records, over_time=None):
    """Log speeds of the rounds of one run; of several records, their mean in each round."""
    rounds = []
    for record in records:
        amount, _ = work(record)
        rounds.append([math.log(amount) - log_time for log_time in log_round_times(record, over_time)])
    return [statistics.fmean(r[i] for r in rounds if i < len(r))
            for i in range(max(map(len, rounds)))]


def spans_interval(some):
    """Of one visit's spans."""
    y = log_rates(some, 15)
    r = alike(y)
    reach = student_t(0.95, 14) * statistics.stdev(y) / math.sqrt(15) * math.sqrt((1 + r) / (1 - r))
    return math.exp(-reach), math.exp(reach)


def noise_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@functools.lru_cache(maxsize=None)
def built_in_noise():
    return noise_rows(RESULTS / "figures/noise.csv")


def fitting_noise(own, probe, run):
    probes = (probe, probe_class(probe))
    machines = ((run["nodes"][0]["node_id"],) if run["nodes"] else ()) + (instance(run), "*")
    fitting = [(row["measured"] == "false", probes.index(row["probe"]),
                machines.index(row["machine"]), not is_own, -float(row["df"]), place)
               for is_own, rows in ((True, own), (False, built_in_noise()))
               for place, row in enumerate(rows)
               if row["between"] == "runs" and row["probe"] in probes and row["machine"] in machines]
    best = min(fitting)
    return (built_in_noise() if best[3] else own)[best[5]]


def fitting_node_rows(own, probe, runs):
    """The measured rows between nodes that fit best: all of the same fit."""
    def of_node(row, node):
        if node and row["machine"] == node["identity"]["instance"]["value"]:
            return 0
        if node and row["machine"] in [a["name"] for a in node["accelerators"] if a["present"] > 0]:
            return 1
        return 2 if row["machine"] == "*" else None

    probes, fitting = (probe, probe_class(probe)), {}
    for is_own, rows in ((True, own), (False, built_in_noise())):
        for row in rows:
            if row["between"] != "nodes" or row["measured"] == "false" or row["probe"] not in probes:
                continue
            of_type = [of_node(row, node) for run in runs for node in run["nodes"] or [None]]
            if None not in of_type:
                fit = probes.index(row["probe"]), max(of_type), not is_own
                fitting.setdefault(fit, []).append(row)
    return fitting[min(fitting)] if fitting else []


def margin(probe, within):
    if within is not None:
        return within
    return float(cell(probe, "m").rstrip(" %")) / 100


def cases_of(side, force):
    """(probe, params, kind, method) -> backend -> Case."""
    cases = {}
    for index, run in enumerate(side["runs"]):
        for record in run["records"]:
            if speed(record) is None:
                continue
            key = (record["probe"], params_text(record["params"]), kind(record),
                   None if force else record["method"])
            case = cases.setdefault(key, {}).setdefault(record["backend"], Case(side))
            case.runs.setdefault(index, []).append(record)
    return cases


def judge(low, high, m):
    if -m < low - 1 and high - 1 < m:
        return "same"
    return "faster" if low > 1 else "slower" if high < 1 else "unclear"


def price_range(offer):
    usd = offer["usd_per_hour"]
    return (min(1.0, (offer["usd_low"] or usd) / usd), max(1.0, (offer["usd_high"] or usd) / usd))


def per_usd(a, b, change):
    """factor, its envelope, and that widened by what is unsure about the speed."""
    factor = a.cost() / b.cost()
    range_a, range_b = price_range(a.side["offer"]), price_range(b.side["offer"])
    low, high = factor * range_a[0] / range_b[1], factor * range_a[1] / range_b[0]
    return factor, low, high, low * change[1] / change[0], high * change[2] / change[0]


def more_runs(sample_a, sample_b, estimate, confidence, m):
    def reaches(k):
        n_a, n_b = len(sample_a.values) + k, len(sample_b.values) + k
        part_a, part_b = sample_a.unit_variance / n_a, sample_b.unit_variance / n_b
        v = part_a + part_b
        if v <= 0:
            return True
        df = v * v / (part_a**2 / (n_a - 1) + part_b**2 / (n_b - 1))
        return estimate * math.sinh(student_t(confidence, df) * math.sqrt(v)) <= m

    low, high = 1, MANY_RUNS
    while low < high:
        middle = (low + high) // 2
        if reaches(middle):
            high = middle
        else:
            low = middle + 1
    return low


def case_words(printed):
    return f"{printed['probe']} {printed['case']}"


def is_headline_case(run, record):
    name = "bf16-train/1" if holds_accelerator(run) else "bf16-cpu/2"
    return (said(record["probe"], "headline") is not None and record["params"].get("name") == name
            and record["params"].get("algo", "default") == "default")


def is_primary(cases, chosen):
    """Whether the case is asked alone; chosen: the (probe, params) that --primary names, or None."""
    record = cases[0].record()
    if chosen is not None:
        return (record["probe"], params_text(record["params"])) in chosen
    return all(is_headline_case(case.side["runs"][index], record) for case in cases for index in case.runs)


def compare(a, b, force, within, noise, primary):
    """(probe, params, kind, method, backend) -> figures of the row."""
    cases_a, cases_b = cases_of(a, force), cases_of(b, force)
    rows = {}
    for key in cases_a.keys() & cases_b.keys():
        of_a, of_b = cases_a[key], cases_b[key]
        if len(of_a) == len(of_b) == 1:
            pairs = [(next(iter(of_a)), next(iter(of_b)))]
        else:
            pairs = [(backend, backend) for backend in of_a.keys() & of_b.keys()]
        for backend_a, backend_b in pairs:
            case_a, case_b = of_a[backend_a], of_b[backend_b]
            if case_a.alike() != case_b.alike():
                continue
            if work(case_a.record())[1] != work(case_b.record())[1]:
                continue
            rows[(key[0], key[1], key[2], key[3], backend_b)] = (case_a, case_b)

    mixed = len({division(run) for side in (a, b) for run in side["runs"]}) > 1
    changes = {}
    for key, pair in rows.items():
        over_time = any(case.is_over_time() for case in pair)
        of_a, of_b = (case.side_values(over_time, noise) for case in pair)
        of_a.borrow([of_b])
        of_b.borrow([of_a])
        changes[key] = Change(of_a, of_b)
    figures = {}
    alone = {key: is_primary(pair, primary) for key, pair in rows.items()}
    left = {family: sum(alone[key] == family and not change.guessed for key, change in changes.items())
            for family in (True, False)}
    rejecting = {True: True, False: True}
    for key in sorted(rows, key=lambda k: (changes[k].guessed, not changes[k].guessed and
                                           changes[k].p_value(), k[:3])):
        change = changes[key]
        family = alone[key]
        confidence = None if change.guessed else 1 - ALPHA / left[family]
        estimate, low, high = interval = change.reach(confidence)
        if rejecting[family] and not change.guessed:
            rejecting[family] = low > 1 or high < 1
            left[family] -= rejecting[family]
        case_a, case_b = rows[key]
        m = margin(key[0], within)
        resolution = None if change.guessed else (high - low) / 2
        units = change.a, change.b
        nodes = (nodes_to_find(1.05, [(side.unit_variance, side.known) for side in units])
                 if all(side.are_nodes for side in units) else 0)
        row = {"is_primary": family,
               "nodes_to_find": nodes if min(len(side.values) for side in units) < nodes else None,
               "baseline": change.a.speed(), "candidate": change.b.speed(),
               "unit": work(case_b.record())[1], "change.estimate": estimate,
               "change.low": None if change.guessed else low,
               "change.high": None if change.guessed else high, "confidence": confidence, "margin": m,
               "verdict": change.judge(low, high, m), "resolution": resolution,
               "more_runs": None if change.guessed or resolution <= m else
               more_runs(change.a, change.b, estimate, confidence, m),
               "per_usd_change": None, "per_usd_envelope": None, "per_usd_verdict": None}
        if ((force or not mixed) and case_a.priced() and case_b.priced()
                and case_a.cost() is not None and case_b.cost() is not None):
            factor, down, up, *reach = per_usd(case_a, case_b, interval)
            row.update({"per_usd_change": factor, "per_usd_verdict": change.judge(*reach, m)})
            if down < up:
                row.update({"per_usd_envelope.low": down, "per_usd_envelope.high": up})
                del row["per_usd_envelope"]
        figures[key] = row
    return figures


def rank(sides, force, within, noise, primary):
    """(probe, params, kind, method) -> (side, backend) -> figures of the entry."""
    fields = {}
    for index, side in enumerate(sides):
        for key, by_backend in cases_of(side, force).items():
            for backend, case in by_backend.items():
                fields.setdefault(key, {})[(index, backend)] = case
    fields = {key: field for key, field in fields.items()
              if len({index for index, _ in field}) > 1
              and all(case.alike() == next(iter(field.values())).alike() for case in field.values())}
    alone = {key: is_primary(list(field.values()), primary) for key, field in fields.items()}
    pairs = {family: sum(len(field) * (len(field) - 1) // 2 for key, field in fields.items() if alone[key] == family)
             for family in (True, False)}
    mixed = len({division(run) for side in sides for run in side["runs"]}) > 1

    def ranks(order, worse):
        result, leader = {}, 0
        for i, entrant in enumerate(order):
            if i > 0 and worse(order[leader], entrant):
                leader = i
            result[entrant] = leader + 1
        return result

    figures = {}
    for key, field in fields.items():
        over_time = any(case.is_over_time() for case in field.values())
        sides = {entrant: case.side_values(over_time, noise) for entrant, case in field.items()}
        m = margin(key[0], within)
        confidence = 1 - ALPHA / pairs[alone[key]]
        for index, backend in field:
            lenders = {}
            for entrant in sorted(field):
                if entrant[0] != index and (entrant[0] not in lenders or entrant[1] == backend):
                    lenders[entrant[0]] = entrant
            sides[index, backend].borrow([sides[entrant] for entrant in lenders.values()])

        def slower(x, y):
            change = Change(sides[x], sides[y])
            return change.judge(*change.reach(confidence)[1:], m).endswith("slower")

        def dearer(x, y):
            change = Change(sides[x], sides[y])
            reach = per_usd(field[x], field[y], change.reach(confidence))[3:]
            return change.judge(*reach, m).endswith("slower")

        order = sorted(field, key=lambda e: -statistics.fmean(sides[e].values))
        priced = [e for e in order if field[e].cost() is not None and field[e].priced()]
        if (mixed and not force) or len(priced) < 2:
            priced = []
        priced.sort(key=lambda e: field[e].cost())
        by_speed, by_usd = ranks(order, slower), ranks(priced, dearer)
        figures[key] = {e: {"speed": sides[e].speed(), "by_speed": by_speed[e],
                            "usd": field[e].cost(), "by_usd": by_usd.get(e)} for e in order}
    return figures


# --- Groups ---


def by_node(case, over_time, per_gpu):
    """node -> the mean over its runs of the mean log speed of their rounds."""
    nodes = {}
    for index, records in case.runs.items():
        value = statistics.fmean(round_values(records, over_time))
        if per_gpu and kind(records[0]) == "gpu":
            value -= math.log(max(1, len(records[0]["units"])))
        nodes.setdefault(node_ids(case.side["runs"][index]), []).append(value)
    return {node: statistics.fmean(values) for node, values in nodes.items()}


def places(means, sizes, spreads, most_df, doubt):
    """Each one's place by comparison with the best: means are logs, of which more is better."""
    known = sum(spread is not None for spread in spreads)
    confidence = 1 - 2 * doubt / max(1, known - 1)
    found = []
    for i, mean in enumerate(means):
        place = {"may_be_best": True, "is_best": False, "by_at_least": 0.0, "behind_low": None, "behind_high": None,
                 "behind": max([0.0] + [other - mean for j, other in enumerate(means) if j != i])}
        lows, highs = [], []
        for j in range(len(means)):
            if j == i or spreads[i] is None or spreads[j] is None:
                continue
            parts = [(spreads[k][0] / sizes[k], spreads[k][1]) for k in (i, j)]
            v = parts[0][0] + parts[1][0]
            df = min(v * v / sum(part**2 / d for part, d in parts), most_df) if v > 0 else 1
            reach = student_t(confidence, df) * math.sqrt(v)
            lows.append(means[j] - mean - reach)
            highs.append(means[j] - mean + reach)
        if lows:
            place.update(behind_low=max(0.0, *lows), behind_high=max(0.0, *highs), may_be_best=max(lows) <= 0,
                         by_at_least=max(0.0, -max(highs)))
        found.append(place)
    settle(found, sizes)
    return found


def settle(found, sizes):
    """Declares the only one left."""
    left = sum(place["may_be_best"] for place in found)
    for place, size in zip(found, sizes):
        place["is_best"] = (left == 1 and len(found) > 1 and place["may_be_best"] and place["by_at_least"] > 0
                            and size > 1)
        if not place["is_best"]:
            place["by_at_least"] = 0.0


def heed_ranges(found, sizes, offers):
    """A range of prices rules out, or declares, only what each price in it does."""
    below = [-math.log(price_range(offer)[0]) for offer in offers]
    above = [math.log(price_range(offer)[1]) for offer in offers]
    for i, place in enumerate(found):
        others = [j for j in range(len(found)) if j != i]
        if not place["may_be_best"]:
            place["behind_low"] = max(0.0, place["behind_low"] - below[i] - max(above[j] for j in others))
            place["may_be_best"] = place["behind_low"] <= 0
        if place["is_best"]:
            place["by_at_least"] = max(0.0, place["by_at_least"] - above[i] - max(below[j] for j in others))
    settle(found, sizes)


def lottery(values):
    """The node values' share and bound, of fewer than 59 nodes."""
    return {"lottery.nodes": len(values), "lottery.median": math.exp(statistics.median(values)),
            "lottery.slowest": math.exp(min(values)), "lottery.bound": math.exp(min(values)),
            "lottery.share": 0.05 ** (1 / len(values)),
            "lottery.deviation": math.sqrt(variance(values)) if len(values) > 1 else 0.0}


# --- What assay printed against what the page says ---


class Check:
    def __init__(self):
        self.compared = 0
        self.differences = []

    def __call__(self, where, printed, recomputed):
        self.compared += 1
        number = isinstance(printed, (int, float)) and isinstance(recomputed, (int, float))
        if number and not isinstance(printed, bool):
            slack = 1e-12 if where.endswith("resolution") else 0.0  # a difference of factors near 1
            equal = math.isclose(printed, recomputed, rel_tol=1e-9, abs_tol=slack)
        else:
            equal = printed == recomputed
        if not equal:
            self.differences.append(f"{where}: printed {printed}, recomputed {recomputed}")

    def all_of(self, where, printed, recomputed):
        """Compares under dotted names: {"change.low": …} is printed["change"]["low"]."""
        for name, value in recomputed.items():
            there = printed
            for part in name.split("."):
                there = there.get(part) if isinstance(there, dict) else None
            self(f"{where} {name}", there, value)


def check_figures(check, printed, run):
    price = usd_per_hour(run, printed["offer"])
    check("usd_per_hour", printed["usd_per_hour"], price)
    check("price of a node", printed["price"]["usd_per_node_hour"], price and price / max(1, len(run["nodes"])))
    check("division", printed["division"], division(run))
    name, key = headline(run)
    check.all_of("headline", printed["headline"], {"name": name, "case": key})
    check("number of cases", len(printed["cases"]), len(run["records"]))
    for case, record in zip(printed["cases"], run["records"]):
        where = match_key(record)
        median, mean = median_s(record), mean_s(record)
        values = round_values([record]) if measured(record) and work(record)[0] and median else []
        interval = one_sample(values)
        paced, stable = pacing(record), stable_s(record)
        spans = [some for some in paced["counted"] if some]
        level = f"{len(values)} rounds, this run"
        if len(values) == 1 and paced["spans"]:
            interval = spans_interval(spans[0]) if len(spans[0]) >= 15 else None
            values, level = [0] * 15, "15 spans, this run"
        node = node_figure(run, record)
        check.all_of(where, case, {
            "key": where, "status": record["status"],
            "is_headline": said(record["probe"], "headline") is not None, "median_s": median, "mean_s": mean,
            "mean_to_median": mean / median if median and not paced["over_time"] else None, "speed": speed(record),
            "unit": work(record)[1] if speed(record) else None, "of_here": of_here(record),
            "busbw": bus_bandwidth(record),
            "wire_gbs": wire(record)[0],
            "wire_model": wire(record)[1],
            "expected_gbs": standing(run, record)[0],
            "standing": standing(run, record)[1],
            "stable_speed": rate(record, stable),
            "pacing.statistic": "over_time" if paced["over_time"] else "median", "pacing.paced": paced["why"],
            "pacing.spans": paced["spans"], "pacing.measured_s": paced["measured_s"]})
        burst = paced["burst"] if speed(record) else None
        check.all_of(where, case, {"pacing.burst": None} if burst is None else
                     {"pacing.burst.each_visit": burst["each_visit"], "pacing.burst.lasted_s": burst["lasted_s"],
                      "pacing.burst.speed_before": rate(record, burst["before_s"]),
                      "pacing.burst.speed_after": rate(record, burst["after_s"])})
        if interval is None:
            check(f"{where} interval", case["interval"], None)
        else:
            check.all_of(where, case, {"interval.low": interval[0], "interval.high": interval[1],
                                       "interval.units": len(values),
                                       "interval.level": level})
        check.all_of(where, case, {"node": None} if node is None else
                     {f"node.{name}": value for name, value in node.items()})
        of_overlap = overlap(record)
        check.all_of(where, case, {"overlap": None} if of_overlap is None else
                     {f"overlap.{name}": value for name, value in of_overlap.items()})
        of_drift = drift(record)
        check.all_of(where, case, {"drift": None} if of_drift is None else
                     {f"drift.{name}": value for name, value in of_drift.items()})
        share = of_peak(run, record)
        check.all_of(where, case, {"of_peak": None} if share is None else
                     {f"of_peak.{name}": value for name, value in share.items()})
        well = health(run, record)
        if well is None or case["health"] is None:
            check(f"{where} health", case["health"], well)
        else:
            check.all_of(where, case["health"], {"slowest": well["slowest"], "spread": well["spread"]})
            check(f"{where} number of devices", len(case["health"]["devices"]), len(well["devices"]))
            for device, again in zip(case["health"]["devices"], well["devices"]):
                check.all_of(f"{where} device {again['device']}", device, again)
        check(f"{where} cached", case["cached"] and case["cached"]["mark"], cached(run, record)[0])
        of_power = power(record)
        check.all_of(where, case, {"power": None} if of_power is None else
                     {f"power.{name}": value for name, value in of_power.items()})
        check(f"{where} is unpriced", case["unpriced"] is not None, unpriced(run, record))
        recomputed = [] if unpriced(run, record) else costs(record, price)
        check(f"{where} costs", [c["name"] for c in case["costs"]], [c[0] for c in recomputed])
        for cost, (name, usd) in zip(case["costs"], recomputed):
            check(f"{where} {name}", cost["usd"], usd)
            check(f"{where} {name} in place of", cost["instead_of"], printed["price"]["instead_of"])
    recomputed = fits(run["records"])
    check("number of fits", len(printed["fits"]), len(recomputed))
    for fit, again in zip(printed["fits"], recomputed):
        check.all_of(f"fit {fit['label']}", fit, again)


def chosen_primary(printed, primary):
    """The (probe, params) of the printed cases that --primary names: one by its words, or all of a probe."""
    if primary is None:
        return None
    return {(case["probe"], params_text(case["params"])) for case in printed["cases"]
            if primary in (case["probe"], case_words(case))}


def check_comparison(check, printed, side_a, side_b, force, within, noise, primary):
    rows = compare(side_a, side_b, force, within, noise, primary)
    check("number of cases", len(printed["cases"]), len(rows))
    for case in printed["cases"]:
        found = [key for key in rows if (key[0], key[1], key[4]) ==
                 (case["probe"], params_text(case["params"]), case["backend"])]
        where = f"{case['probe']}/{params_text(case['params'])} on {case['backend']}"
        check(f"{where} is a case of both sides", True, bool(found))
        if found:
            check.all_of(where, case, rows[found[0]])


def check_ranking(check, printed, sides, force, within, noise, primary):
    fields = rank(sides, force, within, noise, primary)
    check("number of cases", len(printed["cases"]), len(fields))
    for case in printed["cases"]:
        backends = {(entry["side"], entry["backend"]) for entry in case["entries"]}
        where = f"{case['probe']}/{params_text(case['params'])}"
        found = [field for key, field in fields.items()
                 if key[:2] == (case["probe"], params_text(case["params"]))
                 and set(field) == backends]
        check(f"{where} is a case of two files", True, bool(found))
        for entry in case["entries"] if found else []:
            entrant = (entry["side"], entry["backend"])
            check.all_of(f"{where} {entrant}", entry, found[0][entrant])


# Names of dtypes in files of collectives from before all probes had the same.
FORMER_DTYPES = {"i8": "int8", "f8e4m3": "fp8_e4m3", "f8e5m2": "fp8_e5m2"}


def read(path):
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    for record in document.get("records", []):
        if before := said(record["probe"], "before:"):
            record["params"].setdefault(*before)
        if record["params"].get("dtype") in FORMER_DTYPES:
            record["params"]["dtype"] = FORMER_DTYPES[record["params"]["dtype"]]
    return document


def counted_once(runs):
    """Each run once, the fullest of those that have one id, in the order in which they are given."""
    def fullness(run):
        return sum(len(record.get("rounds", [])) for record in run["records"]), run["complete"]

    fullest = {}
    for index, run in enumerate(runs):
        known = fullest.get(run["id"])
        if known is None or fullness(run) > fullness(runs[known]):
            fullest[run["id"]] = index
    return [runs[index] for index in sorted(fullest.values())]


def check_groups(check, printed, runs):
    """A ranking of groups, without --weights, --force and measured rows."""
    by_id = {run["id"]: run for run in runs}
    sides = [{"runs": [by_id[name] for name in group["ids"]], "offer": None} for group in printed["groups"]]
    cases = [cases_of(side, True) for side in sides]
    for index, case in enumerate(printed["cases"]):
        key = (case["probe"], params_text(case["params"]), case["device_kind"], None)
        shown = case["places"]
        entrants = []
        for place in shown:
            of_group = cases[place["group"]][key][place["backend"]]
            if index == 0 and printed["primary"] == "the headline":
                fit = Case(of_group.side)
                fit.runs = {i: records for i, records in of_group.runs.items()
                            if headline(of_group.side["runs"][i])[1] == match_key(records[0])}
                of_group = fit
            entrants.append(of_group)
        over_time = any(entrant.is_over_time() for entrant in entrants)
        nodes = [by_node(entrant, over_time, printed["per_gpu"]) for entrant in entrants]
        values = [[of[node] for node in sorted(of, key=" ".join)] for of in nodes]
        groups = [(of, []) for of in values]
        spreads = [moderated(groups, i) if len(of) > 1 else None for i, of in enumerate(values)]
        means, sizes = [statistics.fmean(of) for of in values], [len(of) for of in values]
        is_alone = index == 0 and printed["is_asked_alone"]
        doubt = ALPHA if is_alone else ALPHA / max(1, len(printed["cases"]) - printed["is_asked_alone"])
        check(f"{case['name']} confidence", case["confidence"], 1 - doubt)
        by_speed = places(means, sizes, spreads, df_in_all(groups), doubt)
        costs_of, chosen = {}, []
        for i, (place, entrant) in enumerate(zip(shown, entrants)):
            where = f"{case['name']}: {printed['groups'][place['group']]['name']}"
            check.all_of(where, place, {"speed": math.exp(means[i]), **lottery(values[i]),
                                        **{f"by_speed.{name}": value for name, value in by_speed[i].items()}})
            for way, price in enumerate(printed["groups"][place["group"]]["prices"]):
                entrant.side["offer"] = price["offer"]
                usd = entrant.cost() if price["offer"] is not None and entrant.priced() else None
                check(f"{where} usd {way}", place["usd"][way], usd)
                if usd is not None:
                    costs_of.setdefault(i, []).append((usd, way, price["offer"]))
        for i, found in costs_of.items():
            chosen.append((i, *min(found, key=lambda one: one[0])))
        if chosen:
            by_cost = places([-math.log(usd) for _, usd, _, _ in chosen], [sizes[i] for i, *_ in chosen],
                             [spreads[i] for i, *_ in chosen], df_in_all(groups), doubt)
            heed_ranges(by_cost, [sizes[i] for i, *_ in chosen], [offer for *_, offer in chosen])
            for (i, _, way, _), found in zip(chosen, by_cost):
                check(f"{case['name']} cheapest", shown[i]["cheapest"], way)
                check.all_of(f"{case['name']} by_cost {i}", shown[i],
                             {f"by_cost.{name}": value for name, value in found.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("printed")
    parser.add_argument("result", nargs="?")
    parser.add_argument("--a", nargs="+", default=[])
    parser.add_argument("--b", nargs="+", default=[])
    parser.add_argument("--files", nargs="+", default=[])
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--within", type=float)
    parser.add_argument("--noise", help="a noise.csv of one's own")
    parser.add_argument("--primary", help="the case that is asked alone; else the headline")
    options = parser.parse_args()
    noise = noise_rows(options.noise) if options.noise else []
    printed = read(options.printed)
    check = Check()

    def side(paths, offer):
        return {"runs": counted_once([read(path) for path in paths]), "offer": offer}

    if printed.get("format") == "assay-figures" and options.result:
        check_figures(check, printed, read(options.result))
    elif printed.get("format") == "assay-comparison" and options.a and options.b:
        check_comparison(check, printed, side(options.a, printed["baseline"]["offer"]),
                         side(options.b, printed["candidate"]["offer"]), options.force,
                         options.within, noise, chosen_primary(printed, options.primary))
    elif printed.get("format") == "assay-ranking" and options.files:
        offers = [s["offer"] for s in printed["sides"]]
        runs = counted_once([read(path) for path in options.files])
        check_ranking(check, printed, [{"runs": [r], "offer": o} for r, o in zip(runs, offers)],
                      options.force, options.within, noise, chosen_primary(printed, options.primary))
    elif printed.get("format") == "assay-groups" and options.files:
        check_groups(check, printed, counted_once([read(path) for path in options.files]))
    else:
        parser.error("give the result files behind the figures: RESULT, --a and --b, or --files")
    for difference in check.differences:
        print(difference)
    print(f"{check.compared} figures, {len(check.differences)} differ")
    return 1 if check.differences else 0


if __name__ == "__main__":
    sys.exit(main())
