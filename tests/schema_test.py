"""run.schema.json says what the program writes and FORMAT.md explains. Arguments: the source tree,
and the program that prints a Run in which every field is set."""

import copy
import json
import pathlib
import re
import subprocess
import sys

import jsonschema

root = pathlib.Path(sys.argv[1])
schema = json.loads((root / "results/file/run.schema.json").read_text())
example = json.loads((root / "tests/data/run.example.json").read_text())
sample = json.loads(subprocess.run([sys.argv[2]], check=True, capture_output=True).stdout)
format_page = (root / "results/FORMAT.md").read_text()

jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
failures = []


def expect(condition, sentence):
    if not condition:
        failures.append(sentence)


for name, document in (("the example", example), ("the program's own", sample)):
    for error in validator.iter_errors(document):
        failures.append(f"{name}: {error.json_path}: {error.message[:200]}")

# Each of these is a file that something went wrong with; a schema that takes it is too lax.
BROKEN = {
    "another format": (["format"], "fio"),
    "a later version": (["version"], 2),
    "a feature that nobody knows": (["needs"], ["time_travel"]),
    "a time of zero": (["records", 0, "rounds", 0, "time_s", 0], 0),
    "a time in words": (["records", 0, "rounds", 0, "time_s"], "0.001"),
    "a param that isn't an integer": (["records", 0, "params", "m"], 8192.5),
    "a status of its own": (["records", 0, "status"], "fine"),
    "a price of zero": (["offers", 0, "usd_per_hour"], 0),
    "a date in another order": (["offers", 0, "price_date"], "21.11.2026"),
    "a measured record without rounds": (["records", 0, "rounds"], None),
    "a node without identity": (["nodes", 0, "identity"], None),
    "a negative count of cores": (["nodes", 0, "cpu", "cores_used"], -1),
    "a number in the environment": (["nodes", 0, "env", "NCCL_DEBUG"], 1),
    "work in fractions": (["records", 0, "work", "flops"], 1.5),
}
for what, (path, value) in BROKEN.items():
    document = copy.deepcopy(example)
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    expect(not validator.is_valid(document), f"the schema takes {what}")


def described(part, keys):
    """All keys that the schema describes."""
    if isinstance(part, dict):
        for key, below in part.get("properties", {}).items():
            keys.add(key)
            described(below, keys)
        for name in ("items", "additionalProperties", "$defs", "anyOf"):
            described(part.get(name), keys)
        for key, below in part.items():
            if key not in ("properties", "if", "then", "else"):
                described(below, keys)
    elif isinstance(part, list):
        for below in part:
            described(below, keys)
    return keys


keys = described(schema, set())
explained = set(re.findall(r"`([a-z0-9_]+)`", format_page))
expect(len(keys) > 100, f"only {len(keys)} keys were found in the schema")
for key in sorted(keys - explained):
    failures.append(f"FORMAT.md does not explain `{key}`")

# Tables whose keys are data.
FREE = {"params", "facts", "command", "timeline_s", "software", "env", "histograms"}


def undescribed(document, path):
    if isinstance(document, list):
        for element in document:
            undescribed(element, path)
    elif isinstance(document, dict):
        for key, below in document.items():
            if not path or path[-1] not in FREE:
                expect(key in keys, f"the schema does not describe {'.'.join(path + [key])}")
            undescribed(below, path + [key])


undescribed(sample, [])

for failure in failures:
    print(failure)
sys.exit(1 if failures else 0)
