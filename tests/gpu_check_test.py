#!/usr/bin/python3
"""Drives scripts/gpu-check.sh as it is packed, with programs in the place of assay and nvidia-smi: what of a GPU
that lacks something it takes for a failure.

usage: gpu_check_test.py SOURCE_DIR [unittest arguments]
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()

# Gives what ANSWERS says for the name of the result file: a status, and the lines of the records.
ASSAY = """#!/usr/bin/python3
import json, os, pathlib, sys
if "--out" not in sys.argv:
    sys.exit(0)
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
status, lines = json.loads(os.environ["ANSWERS"]).get(out.stem, [0, ["{}"]])
if lines:
    out.write_text('{"format":"assay-run","records":[\\n' + ",\\n".join(lines) + "]}\\n")
sys.exit(status)
"""

# A record as the program writes it.
EXAMPLE = next(line for line in (SOURCE / "tests/data/run.example.json").read_text().splitlines()
               if '"status":"skipped"' in line).removesuffix("]}")


def record(backend="cudnn", status="skipped", reason="no fp8 on this GPU", is_placed=True):
    line = EXAMPLE.replace('"backend":"ofi"', f'"backend":"{backend}"').replace("needs two ranks", reason)
    line = line.replace('"status":"skipped"', f'"status":"{status}"')
    if is_placed:
        line = line.removesuffix("}") + ',"units":[{"node":0,"device":0}]}'
    assert json.loads(line)["backend"] == backend and json.loads(line)["status"] == status, line
    return line


class GpuCheck(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="assay-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        shutil.copy(SOURCE / "scripts/gpu-check.sh", self.folder)
        for name, text in {"assay": ASSAY, "assay_gpu_tests": "#!/bin/sh\n", "nvidia-smi": "#!/bin/sh\necho GPU 0\n"}.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)

    def check(self, status, answers):
        done = subprocess.run([self.folder / "gpu-check.sh", self.folder / "out"], text=True, capture_output=True,
                              timeout=100, check=False,
                              env={**os.environ, "ANSWERS": json.dumps(answers),
                                   "PATH": f"{self.folder}:/usr/bin:/bin"})
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def test_a_gpu_that_has_all_is_well(self):
        said = self.check(0, {})
        self.assertIn("gpu-check: all that this GPU can do worked", said)
        self.assertNotIn("not on this GPU", said)

    def test_what_a_gpu_lacks_is_a_skip_with_its_reason(self):
        said = self.check(0, {"attention-fp8": [1, [record(), record()]],
                              "gemm-fast": [1, [record("cublaslt", reason='a \\"quoted\\" reason')]]})
        self.assertIn("gpu-check: not on this GPU: attention-fp8: no fp8 on this GPU\n", said)
        self.assertIn('gpu-check: not on this GPU: gemm-fast: a \\"quoted\\" reason\n', said)
        self.assertNotIn("failed", said)

    def test_a_library_that_is_missing_is_a_failure(self):
        said = self.check(1, {"attention-fp8": [1, [record(is_placed=False)]]})
        self.assertIn("gpu-check: failed: attention-fp8 (status 1)\n", said)

    def test_a_failure_beside_a_skip_is_one(self):
        for lines in ([record(), record(status="failed")], [record(status="wrong")], [], [record(), record(is_placed=False)]):
            said = self.check(1, {"decode": [1, lines]})
            self.assertIn("gpu-check: failed: decode (status 1)\n", said, lines)
            self.assertNotIn("not on this GPU", said)

    def test_another_status_than_that_of_skips_is_a_failure(self):
        for status in (2, 3, 124):
            self.assertIn(f"failed: attention (status {status})", self.check(1, {"attention": [status, [record()]]}))

    def test_a_folder_that_somebody_else_made_is_not_written_into(self):
        (self.folder / "date").write_text("#!/bin/sh\necho NOW\n")
        (self.folder / "date").chmod(0o755)
        there = self.folder / "gpu-check-NOW"
        there.mkdir()
        done = subprocess.run([self.folder / "gpu-check.sh"], cwd=self.folder, capture_output=True, timeout=100, check=False,
                              env={**os.environ, "ANSWERS": "{}", "PATH": f"{self.folder}:/usr/bin:/bin"})
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(list(there.iterdir()), [])

    def test_what_every_gpu_has_is_not_skipped(self):
        for name in ("memory", "launch", "gemm", "quick"):
            said = self.check(1, {name: [1, [record("cuda")]], "attention-fp8": [1, [record()]]})
            self.assertIn(f"gpu-check: failed: {name} (status 1)\n", said)
            self.assertIn("not on this GPU: attention-fp8", said)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
