"""Prints one Markdown row for each pair of a result file: native's all_reduce over MPI's of the same
size, by round; and over what the memory probe's copy allows, from another file.

usage: collectives.py FILE MEMORY_FILE
"""
import json
import math
import statistics
import sys

T_975 = {14: 2.145}  # Student's t for 15 rounds; others by the normal approximation
BARS = {  # bytes: bar of buffers plain, bar of buffers shared
    8: (1.0, 1.0),
    1 << 20: (1.8, 4.0),
    64 << 20: (1.8, 5.0),
}


def verdict(met):
    return "met" if met else "**not met**"


def main():
    records = []
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            records += json.load(file)["records"]
    times = {}
    for record in records:
        if record["status"] == "ok":
            params = record["params"]
            key = (record["probe"], record["backend"], params.get("bytes"), params.get("buffers"))
            times[key] = [statistics.median(visit["time_s"]) for visit in record["rounds"]]
            if record["probe"] == "memory":
                copy = record["work"]["bytes"] / statistics.median(times[key])
    for size, bars in BARS.items():
        peer = times["all_reduce", "mpi", size, "plain"]
        for buffers, bar in zip(("plain", "shared"), bars):
            own = times["all_reduce", "native", size, buffers]
            logs = [math.log(b / a) for a, b in zip(own, peer)]
            ratio = math.exp(statistics.median(logs))
            half = T_975.get(len(logs) - 1, 1.96) * statistics.stdev(logs) / math.sqrt(len(logs))
            mean = statistics.fmean(logs)
            print(f"| all_reduce f32 {size} B, 2 ranks, buffers {buffers} "
                  f"| {statistics.median(own) * 1e6:.2f} us | {statistics.median(peer) * 1e6:.2f} us "
                  f"| {ratio:.2f} | {math.exp(mean - half):.2f} … {math.exp(mean + half):.2f} ({len(logs)} pairs) "
                  f"| {bar} | {verdict(ratio >= bar)} |")
    size = 64 << 20
    own = statistics.median(times["all_reduce", "native", size, "shared"])
    bound = 2 * 2 * size / copy
    print(f"| all_reduce f32 {size} B, 2 ranks, buffers shared, peer: 2 n S over the memory probe's copy, "
          f"{copy / 1e9:.1f} GB/s | {own * 1e6:.2f} us | {bound * 1e6:.2f} us | {bound / own:.2f} | | 0.8 "
          f"| {verdict(bound / own >= 0.8)} |")


main()
