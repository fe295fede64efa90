"""That tests/skipped.py sees every way in which tests say that they were skipped."""

import contextlib
import io
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import skipped  # noqa: E402

JUNIT = """<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="(empty)" tests="5">
  <testcase name="Gpu.Adds" status="notrun"><skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>
    <system-out>[ RUN      ] Gpu.Adds
/src/tests/gpu_test.cpp:27: Skipped
there is no GPU

[  SKIPPED ] Gpu.Adds (0 ms)
</system-out></testcase>
  <testcase name="slurm" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/>
    <system-out>skipped: there is no srun; install it
</system-out></testcase>
  <testcase name="faults" status="run"><system-out>ok    killed
skipped: there is no mpirun.mpich
ok    stopped
</system-out></testcase>
  <testcase name="end_to_end" status="run"><system-out>test_a (__main__.EndToEnd.test_a) ... ok
test_b (__main__.EndToEnd.test_b) ... skipped 'there is a driver here'
</system-out></testcase>
  <testcase name="Text.Sizes" status="run"><system-out>[       OK ] Text.Sizes (0 ms)
</system-out></testcase>
</testsuite>
"""
LIST = """# comment
Gpu.*                no GPU
slurm                no srun
faults               no mpirun.mpich
end_to_end/test_b    a driver
"""


class Skipped(unittest.TestCase):
    def verdict(self, junit, listed):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as text:
            for name, content in (("j.xml", junit), ("list", listed)):
                with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
                    file.write(content)
            status = skipped.main(f"{folder}/j.xml", f"{folder}/list")
        return status, text.getvalue().replace(folder + "/", "")

    def test_all_that_is_allowed_is_told_and_passes(self):
        status, text = self.verdict(JUNIT, LIST)
        self.assertEqual(status, 0)
        self.assertEqual(text.splitlines(), ["skipped: Gpu.Adds: there is no GPU",
                                             "skipped: end_to_end/test_b: there is a driver here",
                                             "skipped: faults: there is no mpirun.mpich",
                                             "skipped: slurm: there is no srun; install it"])

    def test_each_line_that_is_missing_fails(self):
        lines = LIST.splitlines()[1:]
        for line in lines:
            status, text = self.verdict(JUNIT, "\n".join(other for other in lines if other != line))
            self.assertEqual(status, 1, line)
            self.assertEqual(text.count(", which list does not allow: "), 1, line)

    def test_another_reason_or_none_fails(self):
        self.assertEqual(self.verdict(JUNIT.replace("there is no GPU", "it was raining"), LIST)[0], 1)
        silent = '<testsuite><testcase name="Gpu.Adds" status="notrun"><skipped/></testcase></testsuite>'
        status, text = self.verdict(silent, LIST)
        self.assertEqual((status, "Gpu.Adds: no reason is given" in text), (1, True))

    def test_nothing_skipped_is_nothing_told(self):
        self.assertEqual(self.verdict('<testsuite><testcase name="a" status="run"/></testsuite>', LIST), (0, ""))


if __name__ == "__main__":
    unittest.main()
