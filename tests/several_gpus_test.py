#!/usr/bin/python3
"""Drives the real binary over the stand-in for CUDA and NCCL: several GPUs in its one process.

usage: several_gpus_test.py BINARY FOLDER_OF_THE_STAND_IN [unittest arguments]
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

BINARY, MODULES = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])


class SeveralGpus(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="assay-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        # A build tree may be below a folder that others write to, from which no module is opened.
        self.modules = self.folder / "modules"
        shutil.copytree(MODULES, self.modules)
        for path in (self.modules, *self.modules.iterdir()):
            path.chmod(0o755)

    def perf(self, *arguments, operation="all_reduce", status=0):
        link = self.folder / f"{operation}_perf"
        if not link.exists():
            link.symlink_to(BINARY)
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        done = subprocess.run([link, "--backend", "nccl", "--no-metadata", "--out", "a.json", *arguments],
                              cwd=self.folder, text=True, capture_output=True, timeout=100, check=False,
                              env={**kept, "LC_ALL": "C", "HOME": str(self.folder), "ASSAY_MODULE_DIR": str(self.modules)})
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def test_users_run_nccl_tests_on_the_gpus_of_one_node_without_mpirun(self):
        done = self.perf("-b", "8", "-e", "1M", "-f", "2", "-g", "8", "-J", "n.json", "--price", "36")
        self.assertIn("# nThread 1 nGpus 8 minBytes 8 maxBytes 1048576 step: 2(factor)", done.stdout)
        for rank in range(8):
            self.assertRegex(done.stdout, rf"\n#  Rank  {rank} Group  0 Pid +[0-9]+ on +\S+ device  {rank} "
                                          rf"\[0000:1{rank}:00\] stand-in\n")
        self.assertNotIn("assay starts", done.stdout)
        rows = [line.split() for line in done.stdout.splitlines() if line and not line.startswith("#")]
        self.assertEqual([int(row[0]) for row in rows], [8 << i for i in range(18)])
        last = rows[-1]
        # 5 us and 100 GB/s, as the stand-in has it; busbw is 2 x 7 / 8 of that.
        self.assertAlmostEqual(float(last[5]), 5 + (1 << 20) / 1e5, delta=0.01)
        self.assertAlmostEqual(float(last[7]) / float(last[6]), 1.75, delta=0.01)
        self.assertEqual((last[8], last[12]), ("0", "0"))
        self.assertRegex(last[16], r"^[0-7]@\S+\([0-7]\)$")
        # One pays for the node, whatever it holds: 36 $/h is 1 cent a second.
        self.assertAlmostEqual(float(last[19]), 0.01 * float(last[5]) * 1e-6 / (1 << 20) * 1e12, delta=1e-3)
        run = json.loads((self.folder / "a.json").read_text())
        self.assertEqual(len(run["nodes"]), 1)
        self.assertEqual([rank["devices"] for rank in run["ranks"]], [[gpu] for gpu in range(8)])
        self.assertEqual([unit["device"] for unit in run["records"][0]["units"]], list(range(8)))
        self.assertEqual(run["records"][0]["device"]["kind"], "gpu")
        self.assertEqual(run["records"][0]["facts"]["launch"], "one thread for 8 GPUs, in groups")
        self.assertEqual(json.loads((self.folder / "n.json").read_text())["config"]["ngpus"], 8)

    def test_figures_of_the_stand_in_are_refused_as_measurements(self):
        self.perf("-b", "64", "-e", "64", "-g", "2")
        for command in (["report", "a.json"], ["compare", "a.json", "a.json"]):
            done = subprocess.run([BINARY, *command], cwd=self.folder, text=True, capture_output=True, timeout=20,
                                  check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("a.json: this was made with a stand-in", done.stderr)

    def test_threads_have_gpus_of_their_own(self):
        done = self.perf("-t", "2", "-g", "2", "-b", "64", "-e", "64", operation="alltoall")
        self.assertIn("# nThread 2 nGpus 2 ", done.stdout)
        self.assertIn("device  3 [0000:13:00] stand-in\n", done.stdout)
        self.assertIn("# Out of bounds values : 0 OK\n", done.stdout)

    def test_gpus_that_there_are_not_are_told_before_anything_is_measured(self):
        done = self.perf("-t", "3", "-g", "3", status=2)
        self.assertEqual(done.stdout, "")
        self.assertIn("node 0 has 8 GPUs, too few for its ranks: 0 and 8 would share 0000:10:00", done.stderr)
        self.assertFalse((self.folder / "a.json").exists())

    def test_ranks_and_gpus_contradict_each_other(self):
        self.assertIn("give one", self.perf("--ranks", "2", "-g", "2", status=2).stderr)
        self.assertIn("nccl alone", self.perf("--backend", "mpi", "-g", "2", status=2).stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
