"""Prints one Markdown row a case of a result file: speed over the speed of its bound, by round.

usage: of_here.py FILE BAR
"""
import json
import statistics
import sys


def amount(work):
    return work.get("flops") or work["bytes"]


def main():
    path, bar = sys.argv[1], float(sys.argv[2])
    with open(path, encoding="utf-8") as file:
        records = json.load(file)["records"]
    for record in records:
        if record["status"] != "ok" or not record.get("here"):
            sys.exit(f"of_here.py: {record['probe']} is {record['status']}: {record.get('reason', '')}")
        ratios = []
        for visit in record["rounds"]:
            speed = amount(record["work"]) / statistics.median(visit["time_s"])
            bound = amount(record["here"]["work"]) / statistics.median(visit["here_time_s"])
            ratios.append(speed / bound)
        ratio = statistics.fmean(ratios)
        params = record["params"]
        what = f"{record['probe']} {params['dtype']} {params['m']}x{params['n']}x{params['k']}, {record['backend']}"
        rounds = ", ".join(f"{each:.3f}" for each in ratios)
        print(f"| {what} | {ratio:.3f} | {rounds} | {bar:.2f} | {'met' if ratio >= bar else '**not met**'} |")


main()
