#!/usr/bin/python3
"""Drives the real binary as a user would: files, signals, secrets, prices, the installed tree.

usage: end_to_end_test.py BINARY BUILD_FOLDER SOURCE_FOLDER [unittest arguments]
"""

import datetime
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import jsonschema

BINARY, BUILD, SOURCE = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])

# Short visits: what is tested here is not how long things take.
QUICK = ["--rounds", "2", "--max-seconds", "0.02", "--no-metadata"]
SMALL = ["--set", "bytes=1M"]
NATIVE = ["--backend", "native", "--no-metadata"]


def environment(**extra):
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", **extra}


class EndToEnd(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="assay-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def assay(self, *arguments, status=0, binary=BINARY, **extra):
        done = subprocess.run([binary, *arguments], cwd=self.folder, text=True, capture_output=True, timeout=120,
                              env=environment(HOME=str(self.folder), **extra), check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def read(self, name):
        return json.loads((self.folder / name).read_text())

    @unittest.skipUnless(shutil.which("mpirun"), "there is no mpirun")
    def test_a_link_with_the_name_of_nccl_tests_does_as_nccl_tests(self):
        link = self.folder / "all_gather_perf"
        link.symlink_to(BINARY)
        flags = ["-b", "64", "-e", "4K", "-f", "8", "-n", "5", "-w", "2", "-d", "double", "-S", "1"]
        done = self.assay(*flags, "-M", "1", "-J", "n.json", "--out", "a.json", "--no-metadata", binary=link)
        rows = [line.split() for line in done.stdout.splitlines() if line and not line.startswith("#")]
        self.assertEqual([row[:5] for row in rows],
                         [[str(size), str(size // 16), "double", "none", "-1"] for size in (64, 512, 4096)])
        self.assertIn("# Collective test starting: all_gather_perf\n", done.stdout)
        self.assertIn("# -M is about GPUs: not used\n", done.stdout)
        self.assertRegex(done.stdout, r"#  Rank  1 Group  0 Pid +[0-9]+ on +\S+ device +[0-9]+ \[cpu\] ")
        run = self.read("a.json")
        jsonschema.validate(run, json.loads((SOURCE / "results/file/run.schema.json").read_text()))
        self.assertEqual(len(run["records"]), 6)
        for record in run["records"]:
            self.assertEqual([visit["batch"] for visit in record["rounds"]], [5])
            self.assertEqual(sum(count for _, count in record["histograms"]["latency_s"]["counts"]), 5)
        nccl = self.read("n.json")
        self.assertEqual([row["out_of_place"]["nwrong"] for row in nccl["results"]], [0, 0, 0])
        mean = sum(run["records"][0]["rounds"][0]["unit_time_s"]["p50"]) / 2 * 1e6
        self.assertAlmostEqual(nccl["results"][0]["out_of_place"]["time"], mean, places=6)

    @unittest.skipUnless(shutil.which("mpirun"), "there is no mpirun")
    def test_coll_says_by_its_exit_status_what_came_of_it(self):
        little = ["coll", "all_reduce", "--sizes", "64", "-n", "3", "--no-metadata"]
        self.assay(*little, NCCL_TESTS_MIN_BW="0")
        done = self.assay(*little, status=1, NCCL_TESTS_MIN_BW="100000")
        self.assertRegex(done.stdout, r"# Avg bus bandwidth    : \S+ FAILED\n")
        self.assertIn("nobody to exchange with", self.assay(*little, "--ranks", "1", status=2).stderr)
        done = self.assay("coll", "barrier", "-n", "5", "--format", "nccl", "--no-metadata")
        self.assertRegex(done.stdout, r"\n +0 +0 +none +none +-1 +[0-9.]+ +N/A +N/A +0 ")
        self.assertIn("there is no backend nothing; ", self.assay(*little, "--backend", "nothing", status=2).stderr)
        done = self.assay(*little, "--backend", "native-mpi,mpi", "--expect", "64:0.000001")
        self.assertEqual(re.findall(r"# backend (\S+)", done.stdout), ["native-mpi", "mpi"])
        self.assertIn("under the 100000 of --expect", self.assay(*little, "--expect", "64:1e5", status=1).stderr)
        self.assertIn("did you mean all_reduce?", self.assay("coll", "all_reduse", status=2).stderr)
        for wrong in (["coll", "all_reduce", "-d", "fp8_e4m"], ["run", "all_reduce", "--dtype", "fp8_e4m"],
                      ["run", "gemm", "--set", "dtype=fp8_e4m"]):
            self.assertIn(" is 'fp8_e4m'; did you mean fp8_e4m3", self.assay(*wrong, status=2).stderr)
        done = self.assay("coll", "reduce", "--sizes", "64,1K", "-r", "all", "--rounds", "2", "--max-seconds",
                          "0.02", "--format", "csv", "--no-metadata")
        self.assertEqual([line.split(",")[4:6] for line in done.stdout.splitlines()[1:]],
                         [[root, place] for root in "01" for _ in "ab" for place in ("out_of_place", "in_place")])

    def test_a_floor_is_missed_where_there_is_no_figure(self):
        for operation, sizes, floor in (("all_reduce", "64", "64M"), ("all_reduce", "10", "10"),
                                        ("all_gather", "8,64K", "8"), ("barrier", "", "64")):
            done = self.assay("coll", operation, *(["--sizes", sizes] if sizes else []), "--ranks", "3", "-n", "2",
                              *NATIVE, "--expect", floor + ":1e-9", status=1)
            self.assertIn(f"no figure for {floor}, whose floor is 1e-09 GB/s", done.stderr)

    def test_whatever_a_collective_wrote_is_read_back(self):
        schema = json.loads((SOURCE / "results/file/run.schema.json").read_text())
        for operation in ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce", "alltoall", "alltoallv",
                          "gather", "scatter", "sendrecv", "barrier"):
            sizes = [] if operation == "barrier" else ["--sizes", "0,1,8,100", "-d", "all"]
            self.assay("coll", operation, *sizes, "--ranks", "3", "-n", "1", "-w", "0", *NATIVE, "--out", "a.json")
            jsonschema.validate(self.read("a.json"), schema)
            figures = json.loads(self.assay("report", "a.json", "--json").stdout)
            self.assertEqual(len(figures["cases"]), len(self.read("a.json")["records"]))
            self.assertIn("ok", {case["status"] for case in figures["cases"]})
            self.assertEqual([path.name for path in self.folder.glob("a.json*")], ["a.json"])
            (self.folder / "a.json").unlink()

    def test_a_run_writes_a_file_that_the_schema_accepts(self):
        self.assay("run", "peak", "memory", *QUICK, *SMALL, "--out", "a.json", "--gbench-out", "g.json")
        run = self.read("a.json")
        schema = json.loads((SOURCE / "results/file/run.schema.json").read_text())
        jsonschema.validate(run, schema)
        self.assertEqual(run["status"], "complete")
        self.assertEqual({record["probe"] for record in run["records"]}, {"peak", "memory"})
        for record in run["records"]:
            if record["status"] == "ok":
                self.assertEqual(record["device"], {"kind": "cpu", "name": run["nodes"][0]["cpu"]["model"]})
                self.assertEqual(len(record["rounds"]), 2)
                self.assertEqual(record["verify"]["wrong"], 0)
        names = [benchmark["name"] for benchmark in self.read("g.json")["benchmarks"]]
        self.assertTrue(any(name.startswith("memory/") and "/round:2" in name for name in names), names)
        self.assertFalse((self.folder / "a.json.part").exists())

    def test_an_all_reduce_beside_gemms_is_verified_and_its_figures_can_be_recomputed(self):
        step = ["--set", "comm_cores=0", "--set", "bytes=1M", "--set", "m=32,64", "--set", "n=64", "--set", "k=64"]
        backends = ["native"] + (["mpi"] if shutil.which("mpirun") else [])
        done = self.assay("run", "overlap", *QUICK, *step, "--backend", ",".join(backends), "--out", "a.json", "--json")
        run = self.read("a.json")
        jsonschema.validate(run, json.loads((SOURCE / "results/file/run.schema.json").read_text()))
        self.assertEqual([record["status"] for record in run["records"]], ["ok"] * 2 * len(backends))
        for record in run["records"]:
            m, gemms = record["params"]["m"], record["facts"]["gemms"]
            self.assertGreaterEqual(gemms, 1)
            self.assertEqual(record["work"]["flops"], 2 * gemms * 2 * m * 64 * 64)
            # The sums of both ranks, and something of each one's products.
            self.assertGreater(record["verify"]["checked"], 2 * (1 << 20) // 4)
            self.assertEqual(record["verify"]["wrong"], 0)
            self.assertTrue(record["facts"]["shared_cores"])
            for visit in record["rounds"]:
                for i, both in enumerate(visit["time_s"]):
                    parts = visit["phase_time_s"]
                    self.assertEqual(both, max(parts["compute"][i], parts["communicate"][i]))
        (self.folder / "figures.json").write_text(done.stdout)
        subprocess.run(["/usr/bin/python3", SOURCE / "scripts/recompute.py", "figures.json", "a.json"],
                       cwd=self.folder, check=True, timeout=60)

    def test_a_transport_that_was_not_used_is_one_sentence_and_no_figure(self):
        sizes = ["-b", "8", "-e", "64", "-f", "8", "-n", "5", "--backend", "native", "--no-metadata"]
        done = self.assay("coll", "all_reduce", *sizes, "--require-transport", "efa", "--out", "other.json", status=1)
        sentence = ("transport efa was asked for (--require-transport), but with native every rank went "
                    "over shared memory")
        self.assertEqual(done.stderr.count(sentence), 1, done.stderr)
        records = self.read("other.json")["records"]
        self.assertEqual(len(records), 4)
        for record in records:
            self.assertEqual((record["status"], record["reason"]), ("failed", sentence))
            self.assertFalse(record.get("rounds"))
        self.assay("coll", "all_reduce", *sizes, "--require-transport", "Shared Memory")

    def test_the_default_name_is_provider_instance_and_time(self):
        self.assay("run", "peak", *QUICK, "--provider", "AWS/..", "--instance", "p5.48xlarge")
        names = [path.name for path in self.folder.glob("*.json")]
        self.assertEqual(len(names), 1)
        self.assertRegex(names[0], r"^aws[a-z0-9._-]*-p5\.48xlarge-\d{8}T\d{6}Z\.json$")

    def test_an_existing_file_is_not_overwritten(self):
        (self.folder / "mine.json").write_text("precious")
        done = self.assay("run", "peak", *QUICK, "--out", "mine.json", status=2)
        self.assertIn("mine.json", done.stderr)
        self.assertEqual((self.folder / "mine.json").read_text(), "precious")

    def test_a_bad_path_fails_before_measuring(self):
        begin = time.monotonic()
        done = self.assay("run", "gemm", "--out", "no/such/folder/x.json", status=2)
        self.assertIn("no/such/folder", done.stderr)
        self.assertLess(time.monotonic() - begin, 20)

    def test_an_interrupted_run_keeps_what_it_measured(self):
        process = subprocess.Popen([BINARY, "run", "peak", "--rounds", "500", "--max-seconds", "5", "--no-metadata",
                                    "--out", "x.json"], cwd=self.folder, stderr=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, text=True, env=environment(HOME=str(self.folder)))
        for line in process.stderr:
            if line.startswith("round 5 "):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        process.stderr.close()
        self.assertEqual(process.wait(timeout=60), 130, rest)
        run = self.read("x.json")
        self.assertEqual(run["status"], "interrupted")
        self.assertFalse(run["complete"])
        self.assertGreaterEqual(max(len(record.get("rounds", [])) for record in run["records"]), 4)
        self.assertIn("peak", self.assay("report", "x.json").stdout)

    def test_kill_9_loses_at_most_one_visit(self):
        rng = random.Random(9)
        for attempt in range(12):
            name = f"k{attempt}.json"
            process = subprocess.Popen(
                [BINARY, "run", "peak", "--dtype", "f32", "--rounds", "1000", "--max-seconds", "10",
                 "--no-metadata", "--out", name], cwd=self.folder, stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL, text=True, env=environment(HOME=str(self.folder)))
            for line in process.stderr:
                if line.startswith("round 1 "):
                    break
            time.sleep(rng.uniform(0.0, 0.5))
            process.kill()
            begun = [int(n) for n in re.findall(r"^round (\d+) ", process.stderr.read(), re.M)] or [1]
            process.stderr.close()
            process.wait()
            self.assertFalse((self.folder / name).exists())
            figures = json.loads(self.assay("report", f"{name}.part", "--json").stdout)
            kept = max((case["rounds"] for case in figures["cases"]), default=0)
            # Round n has begun, so n - 1 visits have ended and been written; the one under way may be lost.
            self.assertGreaterEqual(kept, max(begun) - 1)

    def test_forty_canaries_leak_nowhere(self):
        canaries = {f"CANARY_{n}": f"canary{n:02d}{random.Random(n).getrandbits(64):016x}" for n in range(28)}
        names = ("NCCL_DEBUG", "OMPI_MCA_btl", "SLURM_JOB_ID", "AWS_SECRET_ACCESS_KEY", "NCCL_TOPO_FILE",
                 "NCCL_SOCKET_IFNAME", "UCX_NET_DEVICES", "HF_TOKEN", "KUBERNETES_SERVICE_HOST", "USER", "HOSTNAME")
        for n, name in enumerate(names):
            canaries[name] = f"https://canary{28 + n}@secret.example/canary{28 + n}"
        storage = self.folder / "canary39-folder"
        storage.mkdir()
        out = self.folder / "canary39-folder" / "x.json"
        typed = ["--price", "98.7654", "--instance", "canary40-AKIAIOSFODNN7EXAMPLE"]
        canaries["ASSAY_IMAGE_DIGEST"] = "registry.example/canary41:latest"
        done = self.assay("run", "peak", "memory", "storage", *QUICK, *SMALL, "--filter", "peak|memory|seqread",
                          "--storage-path", str(storage), *typed, "--out", str(out), "--report", "page.html",
                          "--gbench-out", "g.json", "--json", **canaries)
        # A typed name that is a secret in part is told in part.
        leaves = re.compile(r"canary(?!40-\(redacted\))\d\d|98\.7654|98\.77 USD|AKIA")
        for text in (out.read_text(), (self.folder / "page.html").read_text(), (self.folder / "g.json").read_text(),
                     done.stdout):
            found = leaves.search(text)
            self.assertIsNone(found, found and text[max(0, found.start() - 80):found.end() + 20])
        # The terminal names the file that the user named, and what was typed; nothing else.
        told = done.stderr.replace(str(storage), "").replace("98.77 USD", "").replace(typed[-1], "")
        self.assertIsNone(leaves.search(told), told)
        kept = self.read("canary39-folder/x.json")
        self.assertTrue(all(not offer["private"] for offer in kept["offers"]))
        self.assertIsNone(kept["assay"]["image_digest"])
        # A run that is killed leaves its journal.
        process = subprocess.Popen([BINARY, "run", "peak", "--rounds", "500", "--max-seconds", "50", "--no-metadata", *typed,
                                    "--out", "k.json"], cwd=self.folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                   text=True, env=environment(HOME=str(self.folder), **canaries))
        for line in process.stderr:
            if line.startswith("round 2 "):
                break
        process.kill()
        process.communicate()
        journal = (self.folder / "k.json.part").read_text()
        self.assertGreater(journal.count("\n"), 1)
        self.assertIsNone(leaves.search(journal))

    def test_a_typed_price_gives_dollars_and_stays_at_home(self):
        done = self.assay("run", "peak", *QUICK, "--price", "3.5", "--out", "p.json", "--report", "p.html")
        self.assertRegex(done.stdout, r"price: 3\.500? USD/h")
        self.assertRegex(done.stdout, r"USD per T(FLOP|OP)/s-h")
        self.assertEqual([offer for offer in self.read("p.json")["offers"] if offer["private"]], [])
        self.assertNotIn("3.50 USD", (self.folder / "p.html").read_text())
        figures = self.assay("run", "peak", *QUICK, "--price", "3.5", "--out", "q.json", "--json").stdout
        self.assertIsNone(json.loads(figures)["usd_per_hour"])
        done = self.assay("run", "peak", *QUICK, "--price", "3.5", "--keep-price", "--out", "kept.json", "--json")
        costs = [case["costs"] for case in json.loads(done.stdout)["cases"] if case["status"] == "ok"]
        self.assertTrue(costs and all(costs))
        self.assertIn(3.5, [offer["usd_per_hour"] for offer in self.read("kept.json")["offers"]])

    def test_a_run_that_is_killed_leaves_yesterdays_page(self):
        for seconds in (1.5, 0.1, 0.6):
            (self.folder / "page.html").write_text("yesterday's page")
            process = subprocess.Popen([BINARY, "run", "peak", "--rounds", "500", "--max-seconds", "500", "--no-metadata",
                                        "--out", f"k{seconds}.json", "--report", "page.html", "--gbench-out", "g.json"],
                                       cwd=self.folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                                       env=environment(HOME=str(self.folder)))
            process.stderr.readline()  # it has begun
            time.sleep(seconds)
            process.kill()
            process.communicate()
            self.assertEqual((self.folder / "page.html").read_text(), "yesterday's page")
            self.assertFalse((self.folder / "g.json").exists())

    def test_no_output_follows_a_link_or_the_umask(self):
        victim = self.folder / "victim"
        victim.write_text("precious")
        self.assay("run", "peak", *QUICK, "--out", "a.json")

        def linked(*arguments):
            for name in ("page", "gbench", "nccl"):
                (self.folder / name).unlink(missing_ok=True)
                (self.folder / name).symlink_to(victim)
            done = subprocess.run([BINARY, *arguments], cwd=self.folder, text=True, capture_output=True, timeout=120,
                                  env=environment(HOME=str(self.folder)), check=False, umask=0o077)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(victim.read_text(), "precious")
            return {path.name for path in self.folder.iterdir() if path.is_file() and not path.is_symlink()}

        self.assertIn("page", linked("report", "a.json", "--out", "page"))
        files = linked("run", "peak", *QUICK, "--out", "b.json", "--report", "page", "--gbench-out", "gbench")
        self.assertLessEqual({"b.json", "page", "gbench"}, files)
        # nccl-tests never writes over a name.
        self.assertIn("nccl.0", linked("coll", "all_reduce", "--sizes", "64", "-n", "2", *NATIVE, "-J", "nccl",
                                       "--out", "c.json"))
        for name in ("b.json", "c.json", "nccl.0"):
            self.assertEqual((self.folder / name).stat().st_mode & 0o7777, 0o644, name)
        (self.folder / "d.json").symlink_to("nowhere")
        done = self.assay("run", "peak", *QUICK, "--out", "d.json", status=2)
        self.assertIn("'d.json' is a link that leads to nothing", done.stderr)
        self.assertNotIn("round 1", done.stderr)
        self.assertFalse((self.folder / "nowhere").exists())

    def test_a_page_goes_to_standard_output_by_its_name_and_to_a_pipe(self):
        self.assay("run", "peak", *QUICK, "--out", "a.json")
        for script in ("\"$@\" --out /dev/stdout >page.html", "\"$@\" --out /dev/stdout | cat >page.html",
                       "\"$@\" --out >(cat >page.html); wait $!", "mkfifo p; cat p >page.html & \"$@\" --out p; wait"):
            done = subprocess.run(["bash", "-c", script, "bash", BINARY, "report", "a.json"], cwd=self.folder, text=True,
                                  capture_output=True, timeout=60, check=False, env=environment(HOME=str(self.folder)))
            self.assertEqual(done.returncode, 0, script + done.stderr)
            page = self.folder / "page.html"
            self.assertTrue(page.read_text().endswith("</html>\n"), script)
            page.unlink()

    def test_a_page_never_takes_the_place_of_the_run_it_is_made_from(self):
        self.assay("run", "peak", *QUICK, "--out", "a.json")
        self.assay("run", "peak", *QUICK, "--out", "b.json")
        before = (self.folder / "a.json").read_bytes()
        (self.folder / "link.json").symlink_to("a.json")
        for files in (["a.json", "--out", "a.json"], ["b.json", "link.json", "--out", "./a.json"]):
            done = self.assay("report", *files, status=2)
            self.assertRegex(done.stderr, "--out names '(a|link).json', which the page is made from; give the page")
            self.assertEqual((self.folder / "a.json").read_bytes(), before)

    def test_a_page_names_no_folder_that_tells_of_a_user(self):
        for folder in ("ada@corp.example", "results", "bob@corp.example"):
            (self.folder / folder).mkdir()
            self.assay("run", "peak", *QUICK, "--out", f"{folder}/a.json")

        def names(*files):
            self.assay("report", *files, "--out", "page.html")
            page = (self.folder / "page.html").read_text()
            self.assertNotIn("@corp", page)
            return re.findall(r"<td>((?:results/)?a\.json[^<]*)</td>", page)

        self.assertEqual(sorted(set(names("ada@corp.example/a.json", "results/a.json"))), ["a.json", "results/a.json"])
        self.assertEqual(sorted(set(names("ada@corp.example/a.json", "results/a.json", "bob@corp.example/a.json"))),
                         ["a.json (1)", "a.json (2)", "results/a.json"])

    @unittest.skipUnless(shutil.which("chromium"), "there is no chromium")
    def test_in_a_browser_the_page_draws_and_runs_no_script_but_its_own(self):
        self.assay("run", "peak", *QUICK, "--out", "a.json", "--report", "page.html")
        page = (self.folder / "page.html").read_text()
        injected = ("<script>document.title = 'injected'</script><img src=x onerror=\"document.title = 'injected'\">"
                    "<a id=link href=\"javascript:document.title='injected'\">x</a><style>body { display: none }</style>")
        (self.folder / "injected.html").write_text(page.replace("</h1>", "</h1>" + injected, 1))
        # The attack works where nothing forbids it.
        (self.folder / "open.html").write_text(re.sub(r"<meta http-equiv=[^>]*>", "", page).replace("</h1>", "</h1>" + injected, 1))
        titles = {}
        for name in ("page", "injected", "open"):
            done = subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
                                   f"--user-data-dir={self.folder}/profile", f"file://{self.folder}/{name}.html"],
                                  text=True, capture_output=True, timeout=120, check=False)
            titles[name] = re.search(r"<title>(.*?)</title>", done.stdout)[1]
            self.assertRegex(done.stdout, r"<svg class=\"wide\"", name)
        self.assertEqual(titles["page"], titles["injected"])
        self.assertEqual(titles["open"], "injected")

    def test_the_cost_bound_ends_the_run(self):
        self.assay("run", "peak", "--rounds", "400", "--max-seconds", "400", "--no-metadata", "--price", "3600",
                   "--max-cost", "1.5", "--out", "c.json")
        run = self.read("c.json")
        self.assertFalse(run["complete"])
        self.assertIn("cost", {record["stopped"] for record in run["records"]})

    def test_the_time_bound_ends_the_run_which_keeps_what_it_cost(self):
        done = self.assay("run", "peak", "--rounds", "400", "--max-seconds", "400", "--no-metadata", "--price", "3600",
                          "--keep-price", "--max-minutes", "0.03", "--paid-before", "10", "--out", "c.json")
        run = self.read("c.json")
        self.assertFalse(run["complete"])
        self.assertIn("time", {record["stopped"] for record in run["records"]})
        cost = run["cost"]
        self.assertAlmostEqual(cost["planned_s"], 1.8)
        self.assertGreater(cost["held_s"], 1.8)
        self.assertEqual(cost["billed_s"], cost["held_s"])  # nothing is known of this provider's unit
        self.assertAlmostEqual(cost["usd"], cost["held_s"])
        self.assertAlmostEqual(cost["first_verified_usd"], 10 + run["timeline_s"]["first_verified"])
        self.assertIn("at most 1.8 s, at most 1.800 USD", done.stderr)
        self.assertRegex(done.stderr, r"which cost .* USD \(1\.800 USD expected\); .* with 10\.0 s before the run")

    def test_a_run_is_held_against_its_invoice(self):
        self.assay("run", "peak", *QUICK, "--no-metadata", "--provider", "aws", "--instance", "p5.48xlarge", "--region",
                   "us-east-1", "--purchase", "on_demand", "--out", "a.json")
        run = self.read("a.json")
        # The run may begin and end in one second, which is too short to be found.
        form = "%Y-%m-%dT%H:%M:%SZ"
        ended = datetime.datetime.strptime(run["started"], form) + datetime.timedelta(seconds=2)
        run["ended"] = ended.strftime(form)
        (self.folder / "a.json").write_text(json.dumps(run))
        hour = run["started"][:13]
        end = f"{hour}:59:59Z" if run["ended"][:13] == hour else run["ended"]
        usd = run["cost"]["usd_per_node_hour"]

        def invoice(paid):
            (self.folder / "focus.csv").write_text(
                "ChargeCategory,PricingUnit,PricingQuantity,ContractedUnitPrice,ListCost,ContractedCost,EffectiveCost,"
                "BilledCost,BillingCurrency,ProviderName,RegionId,ChargePeriodStart,ChargePeriodEnd,InstanceType\n"
                f"Usage,Hours,0.5,{paid},{usd / 2},{paid / 2},{paid / 2},{paid / 2},USD,AWS,us-east-1,{hour}:00:00Z,{end},"
                "p5.48xlarge\n")

        invoice(usd)
        self.assertIn("as billed", self.assay("price", "bill", "a.json", "--focus", "focus.csv").stdout)
        invoice(0.82 * usd)
        self.assertIn("--discount NAME=0.82", self.assay("price", "bill", "a.json", "--focus", "focus.csv", status=1).stdout)
        self.assay("price", "bill", ".", "--focus", "focus.csv", "--discount", "ea=0.82")
        self.assay("price", "bill", "a.json", "--focus", "focus.csv", "--within", "25%")
        self.assertIn("can't read", self.assay("price", "bill", "a.json", "--focus", "none.csv", status=2).stderr)
        # The run's own way of buying finds its lines, whichever price is asked for.
        spot = self.assay("price", "bill", "a.json", "--focus", "focus.csv", "--purchase", "spot", status=1).stdout
        self.assertRegex(spot, r"(?s)\(spot.*by 1 line;")
        self.assertIn("  its file:    ", spot)
        run["ended"] = ""
        run["id"] = "0" * 32
        (self.folder / "cut.json").write_text(json.dumps(run))
        done = self.assay("price", "bill", ".", "--focus", "focus.csv", "--discount", "ea=0.82")
        self.assertIn("left out ./cut.json: it doesn't tell when", done.stderr)
        self.assay("price", "bill", "cut.json", "--focus", "focus.csv", status=2)
        self.assertIn("--prices FILE", self.assay("price", "list", "--purchase", "owned", status=2).stderr)

    def test_the_printed_figures_can_be_recomputed(self):
        done = self.assay("run", "peak", "memory", *SMALL, "--rounds", "5", "--max-seconds", "0.1", "--no-metadata",
                          "--price", "2", "--keep-price", "--out", "a.json", "--json")
        (self.folder / "figures.json").write_text(done.stdout)
        subprocess.run(["/usr/bin/python3", SOURCE / "scripts/recompute.py", "figures.json", "a.json"],
                       cwd=self.folder, check=True, timeout=60)

    def test_a_run_is_counted_once_and_never_held_against_itself(self):
        self.assay("run", "peak", *QUICK, "--out", "a.json")
        self.assay("run", "peak", *QUICK, "--out", "b.json")
        shutil.copy(self.folder / "a.json", self.folder / "copy.json")
        for other in ("a.json", "copy.json"):
            done = self.assay("compare", "a.json", other, status=2)
            self.assertIn(f"a.json and {other} hold one run", done.stderr)
        done = self.assay("compare", "--a", "a.json", "copy.json", "--b", "b.json")
        self.assertIn("copy.json is the same run as a.json: counted once", done.stdout)
        done = self.assay("report", "a.json", "copy.json", "--json")
        self.assertEqual(len(done.stdout.splitlines()), 1)
        self.assertIn("copy.json is the same run as a.json", done.stderr)
        changed = self.read("a.json")
        changed["records"][0]["rounds"][0]["time_s"][0] *= 2
        (self.folder / "changed.json").write_text(json.dumps(changed))
        done = self.assay("compare", "--a", "a.json", "changed.json", "--b", "b.json", status=2)
        self.assertIn("a.json and changed.json have one id", done.stderr)

    def test_a_journal_beside_its_file_is_the_same_run(self):
        process = subprocess.Popen([BINARY, "run", "peak", "--rounds", "6", "--max-seconds", "3", "--no-metadata",
                                    "--out", "a.json"], cwd=self.folder, stderr=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, text=True, env=environment(HOME=str(self.folder)))
        for line in process.stderr:
            if line.startswith("round 4 "):
                shutil.copy(self.folder / "a.json.part", self.folder / "half.part")
        process.stderr.close()
        self.assertEqual(process.wait(timeout=60), 0)
        self.assay("run", "peak", *QUICK, "--out", "b.json")
        done = self.assay("compare", "--a", "half.part", "a.json", "--b", "b.json")
        self.assertIn("half.part holds less of the run that a.json holds: left out", done.stdout)

    def test_the_page_loads_nothing(self):
        self.assay("run", "peak", *QUICK, "--out", "a.json", "--report", "page.html")
        page = (self.folder / "page.html").read_text()
        for pattern in (r"<script[^>]+src=", r"<link", r"<img", r"@import", r"url\("):
            self.assertIsNone(re.search(pattern, page.split("<script>")[0]), pattern)
        self.assertIn("<table>", page)

    def test_a_reader_that_goes_away_is_not_an_error(self):
        done = subprocess.run(["bash", "-c", f"set -o pipefail; '{BINARY}' price list | head -n 1"], text=True,
                              capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")

    def to(self, output, *arguments, binary=BINARY):
        """The exit status and stderr of a command whose standard output is what the shell calls so."""
        done = subprocess.run(["bash", "-c", f'set -o pipefail; exec "$@" {output}', "bash", binary, *arguments], cwd=self.folder,
                              text=True, stderr=subprocess.PIPE, timeout=120, check=False,
                              env=environment(HOME=str(self.folder)))
        return done.returncode, done.stderr

    def test_results_that_do_not_reach_standard_output_are_status_2_and_a_sentence(self):
        self.assay("run", "peak", *QUICK, "--out", "a.json")
        link = self.folder / "all_reduce_perf"
        link.symlink_to(BINARY)
        why = {">/dev/full": "No space left on device", ">&-": "Bad file descriptor"}
        for output, words in why.items():
            for command in (["--help"], ["--version"], ["run", "--help"], ["list"], ["env", "--no-metadata"],
                            ["price", "list"], ["price", "show", "aws", "p5.48xlarge"], ["report", "a.json"],
                            ["report", "a.json", "--json"], ["compare", "a.json", "a.json", "--force", "--csv"],
                            ["noise", "peak", "--dtype", "f32", *QUICK, "--runs", "4", "--minutes", "0", "--noise", "n.csv"]):
                status, text = self.to(output, *command)
                self.assertEqual(status, 2, (command, output, text))
                if command[0] != "compare":
                    self.assertIn(f"assay: the results could not all be written to standard output: {words}", text)
            self.assertEqual(self.to(output, "--help", binary=link)[0], 2)
            for binary, command in [
                    (BINARY, ["run", "peak", *QUICK]),
                    (link, ["-b", "8", "-e", "8", "-n", "2", *NATIVE]),
                    (BINARY, ["coll", "all_reduce", "--sizes", "8", "--ranks", "4", "--bisect", *NATIVE, *QUICK[:4]]),
                    *((BINARY, ["coll", "all_reduce", "--sizes", "8,64,512", "-n", "2", *NATIVE, "--format", style])
                      for style in ("table", "csv", "json"))]:
                before = set(self.folder.glob("*.json"))
                status, text = self.to(output, *command, "--quiet", binary=binary)
                made = set(self.folder.glob("*.json")) - before
                self.assertEqual((status, len(made)), (2, 1), text)
                name = made.pop().name
                self.assertIn(f"wrote {name}\n", text.split("assay: the results")[0])
                self.assertEqual(self.read(name)["status"], "complete")
        self.assertEqual(self.to("| true", "coll", "all_reduce", "--sizes", "8", "-n", "2", *NATIVE, "-q"), (0, ""))

    def test_a_full_volume_is_status_2_and_a_sentence_and_leaves_nothing_half_written(self):
        self.assay("run", "peak", *QUICK, "--out", "a.json")
        run = self.read("a.json")
        run["id"] = "0" * 32
        (self.folder / "b.json").write_text(json.dumps(run))
        (self.folder / "full").mkdir()
        # A small tmpfs in a mount namespace of its own; as another user in one of users too.
        begin = ["unshare", "-m" if os.geteuid() == 0 else "-rm", "bash", "-c"]
        mount = "mount -t tmpfs -o size=64k none full || exit 77; head -c 64K /dev/zero >full/filler || exit 77; "
        if subprocess.run([*begin, mount], cwd=self.folder, capture_output=True, check=False).returncode != 0:
            self.skipTest("no small volume can be mounted here")
        commands = {
            "run": ["run", "peak", *QUICK, "--quiet", "--out", "full/r.json"],
            "coll": ["coll", "all_reduce", "--sizes", "8,64", "-n", "2", *NATIVE, "--quiet", "--out", "full/r.json"],
            "report": ["report", "a.json", "--out", "full/page.html"],
            "compare": ["compare", "a.json", "b.json"],
        }
        for left in (0, 4096, 8192):
            for name, command in commands.items():
                out = ">full/table" if name == "compare" else ">/dev/null"
                script = (mount + f"truncate -s -{left} full/filler; [ {left} -gt 0 ] && echo 'old page' >full/page.html; "
                          f'"$@" {out}; status=$?; echo "status $status"; '
                          "for file in full/*; do [ $file = full/filler ] || { echo \"file $file\"; cat $file; echo; }; done")
                done = subprocess.run([*begin, script, "bash", BINARY, *command], cwd=self.folder, text=True,
                                      capture_output=True, timeout=120, check=False,
                                      env=environment(HOME=str(self.folder)))
                where = f"{name} with {left} bytes: {done.stderr}{done.stdout}"
                status = int(re.search(r"^status ([0-9]+)$", done.stdout, re.M)[1])
                files = dict(re.findall(r"^file full/(\S+)\n(.*?)\n(?=file |\Z)", done.stdout, re.M | re.S))
                if status == 0:
                    self.assertGreater(left, 0, where)
                else:
                    self.assertEqual(status, 2, where)
                    self.assertRegex(done.stderr, r"assay: .*No space left on device", where)
                # Whole, or not there; a journal is whole up to its last line.
                if "r.json" in files:
                    self.assertEqual(json.loads(files["r.json"])["status"], "complete", where)
                self.assertEqual("r.json" in files, status == 0 and name in ("run", "coll"), where)
                if "r.json.part" in files:
                    for line in files["r.json.part"].split("\n")[:-1]:
                        json.loads(line)
                if left > 0 and name == "report" and status != 0:
                    self.assertEqual(files["page.html"], "old page\n", where)
                self.assertEqual([file for file in files if file not in ("r.json", "r.json.part", "page.html", "table")],
                                 [], where)

    def test_runs_that_begin_in_one_second_each_have_a_file(self):
        link = self.folder / "all_reduce_perf"
        link.symlink_to(BINARY)
        commands = [[link, "-b", "8", "-e", "8", "-n", "2", *NATIVE]] * 6
        commands += [[BINARY, "run", "peak", "--dtype", "f32", *QUICK]] * 2
        runs = [subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 env=environment(HOME=str(self.folder))) for command in commands]
        self.assertEqual([run.wait(timeout=120) for run in runs], [0] * 8)
        names = list(self.folder.glob("*.json"))
        self.assertEqual(len(names), 8)
        self.assertEqual(len({json.loads(name.read_text())["id"] for name in names}), 8)
        self.assertEqual(list(self.folder.glob("*.part")), [])

    def slowed(self, name, factor, probe="gemm"):
        """A result of one case that took so many times as long as the example's; its id is its name."""
        run = json.loads((SOURCE / "tests/data/run.example.json").read_text())
        run["id"] = name
        run["records"] = [record for record in run["records"] if record["probe"] == probe]
        for record in run["records"]:
            for visit in record["rounds"]:
                visit["time_s"] = [time_s * factor for time_s in visit["time_s"]]
        (self.folder / name).write_text(json.dumps(run))
        return name

    def test_a_slowdown_that_can_not_be_told_is_status_2_and_says_what_to_do(self):
        a, b, c, d = (self.slowed(f"{factor}.json", factor) for factor in (1, 1.01, 1.1, 2))
        asked = ["compare", "--fail-slower", "3%"]
        guessed = "can't be told in 1 of 1 case (gemm bf16 8192 x 8192 x 8192): σ is a guess; measure it with 'assay noise'"
        for other in (b, c):
            done = self.assay(*asked, a, other, status=2)
            self.assertIn(guessed, done.stderr)
            self.assertIn("no verdict: σ is a guess; `assay noise` measures it", " ".join(done.stdout.split()))
        self.assertIn("by a guess 50.0 % slower", self.assay(*asked, a, d, status=1).stderr)
        self.assertEqual(self.assay(*asked, d, a).stderr, "")
        self.assertIn(guessed, self.assay(*asked, "--a", a, b, "--b", c, status=2).stderr)
        # Runs of one's own on each side: slower, as fast, and too few to tell.
        near = [self.slowed(f"near{factor}.json", factor) for factor in (1, 1.0001, 0.9999)]
        slow = [self.slowed(f"slow{factor}.json", factor) for factor in (1.1, 1.1001, 1.0999)]
        wide = [self.slowed(f"wide{factor}.json", factor) for factor in (0.95, 1, 1.05)]
        more = [self.slowed(f"more{factor}.json", factor) for factor in (1, 1.0002, 0.9998)]
        self.assertIn("9.1 % slower, more than", self.assay(*asked, "--a", *near, "--b", *slow, status=1).stderr)
        self.assay(*asked, "--a", *near, "--b", *more)
        self.assertRegex(self.assay(*asked, "--a", *near, "--b", *wide, status=2).stderr,
                         r"can't be told in 1 of 1 case .*: it takes \d+ more runs? a side")
        # A case that the candidate lacks, or failed, is not passed in silence.
        both = json.loads((self.folder / near[0]).read_text())
        example = json.loads((SOURCE / "tests/data/run.example.json").read_text())
        lost = next(record for record in example["records"] if record["probe"] == "storage" and record["rounds"])
        both["records"].append(lost)
        (self.folder / "both.json").write_text(json.dumps(both | {"id": "both"}))
        alone = "can't be told in 1 more: the candidate has no figure of storage "
        self.assertIn(alone, self.assay(*asked, "--a", "both.json", *near[1:], "--b", *more, status=2).stderr)
        self.assay(*asked, "--a", *more, "--b", "both.json", *near[1:])
        # A file of one's own says how runs differ.
        row = "gemm,*,runs,{},15,60,true,16 A/A runs,2026-11-28\n"
        header = "probe,machine,between,sigma,df,span_minutes,measured,how,date\n"
        (self.folder / "n.csv").write_text(header + row.format(0.0001))
        own = [*asked, "--noise", "n.csv"]
        self.assertIn("9.1 % slower, more than", self.assay(*own, a, c, status=1).stderr)
        self.assay(*own, a, b)
        done = self.assay(*own, a, b, "--json")
        case = json.loads(done.stdout)["cases"][0]
        self.assertEqual((case["verdict"], case["between_runs"]),
                         ("slower", "gemm 0.01 % (16 A/A runs over 60 min, 2026-11-28)"))
        (self.folder / "n.csv").write_text(header + row.format(0.05))
        self.assertRegex(self.assay(*own, a, b, status=2).stderr, r"it takes \d+ more runs? a side")
        (self.folder / "n.csv").write_text(header + row.format("1e9"))
        self.assertIn("n.csv, row 1: sigma is 1e+09", self.assay(*own, a, b, status=2).stderr)
        self.assertIn("can't read 'none.csv'", self.assay("compare", "--noise", "none.csv", a, b, status=2).stderr)
        self.assertIn("is of two sides", self.assay("compare", "--fail-slower", "3", a, b, c, status=2).stderr)
        for sides in ([a, b], [a, b, c]):
            for style in ("json", "csv"):
                self.assertEqual(self.assay("compare", "--format", style, *sides).stdout,
                                 self.assay("compare", f"--{style}", *sides).stdout)
        self.assertIn("ask for two formats", self.assay("compare", "--csv", "--json", a, b, status=2).stderr)
        lines = self.assay("report", "--format", "csv", a, b).stdout.splitlines()
        self.assertEqual([line.startswith("file,probe,") for line in lines], [True] + [False] * (len(lines) - 1))

    def test_a_folder_that_takes_no_file_is_told_of_before_measuring(self):
        link = self.folder / "all_reduce_perf"
        link.symlink_to(BINARY)

        def in_no_folder(*command):
            return subprocess.run(command, cwd="/sys/kernel", text=True, capture_output=True, timeout=60, check=False,
                                  env=environment(HOME=str(self.folder)))
        for command in (["run", "peak", *QUICK], ["coll", "all_reduce", "--sizes", "8", *NATIVE]):
            done = in_no_folder(BINARY, *command)
            self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
            self.assertRegex(done.stderr, r"^assay: can't .*; .*\n$")
        # nccl-tests writes none, so its scripts may stand anywhere.
        done = in_no_folder(link, "-b", "8", "-e", "8", *NATIVE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^# no result file: ")
        self.assertIn("# Avg bus bandwidth    : ", done.stdout)
        done = in_no_folder(link, "-b", "8", "-e", "8", *NATIVE, "--out", "a.json")
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)

    def noise(self, *arguments, **extra):
        return self.assay("noise", "peak", "--dtype", "f32", *QUICK, "--runs", "4", "--minutes", "0", *arguments, **extra)

    def test_noise_is_measured_kept_and_taken_by_compare(self):
        own = self.folder / ".local/share/assay/noise.csv"
        done = self.noise(TMPDIR=str(self.folder))
        self.assertIn("run 4 of 4 (B)\n", done.stderr)
        self.assertIn(f"wrote {own}\n", done.stderr)
        self.assertRegex(done.stdout, r"(?m)^  peak +[0-9.]+ % +3 +[0-9.]+ min .* 1  peak f32")
        self.assertEqual(list(self.folder.glob("assay-noise-*")), [], "its runs are gone")
        for name in ("a.json", "b.json"):
            self.assay("run", "peak", "--dtype", "f32", *QUICK, "--out", name)
        node = self.read("a.json")["nodes"][0]["node_id"]
        self.assertRegex(own.read_text(), rf"(?m)^peak,{node},runs,[0-9.e-]+,3,[0-9.]+,true,4 A/A runs,20..-..-..$")
        case = json.loads(self.assay("compare", "a.json", "b.json", "--json").stdout)["cases"][0]
        self.assertRegex(case["between_runs"], r"^peak [0-9.e+]+ % \(4 A/A runs over ")
        self.assertIsNotNone(case["change"]["low"])
        # Better rows stay, and others are none of its business.
        header = own.read_text().splitlines()[0]
        better = f"{header}\npeak,{node},runs,0.01,15,60,true,16 A/A runs,2026-11-28\ngemm,*,runs,0.02,15,60,true,of old,2026\n"
        own.write_text(better)
        self.assertIn("note: the file keeps peak 1 % (16 A/A runs over 60 min, 2026-11-28)", self.noise().stderr)
        self.assertEqual(own.read_text(), better)
        self.noise("--noise", "new.csv", XDG_DATA_HOME=str(self.folder / "none"))
        self.assertEqual((self.folder / "new.csv").read_text().count("\n"), 2)
        self.noise(XDG_DATA_HOME=str(self.folder / "data"))
        self.assertTrue((self.folder / "data/assay/noise.csv").exists())

    def test_noise_adds_sessions_up_and_keeps_their_runs(self):
        kept = self.folder / "n.csv.runs"
        self.assertIn("these rows count as 2 df", self.noise("--add", "--noise", "n.csv").stderr)
        self.assertEqual(len(list(kept.glob("*/*.json"))), 4)
        time.sleep(1)  # the folder of a session is named by its second
        done = self.noise("--add", "--noise", "n.csv")
        self.assertRegex(done.stdout, r"(?m)^  peak +[0-9.]+ % +[0-9.]+ +[0-9.]+ min +± [0-9.]+ %")
        self.assertEqual(len(list(kept.glob("*"))), 2)
        self.assertIn(",true,8 A/A runs in 2 sessions,", (self.folder / "n.csv").read_text())
        # Runs of another node beside it are none of its business, nor is half a session.
        other = next(kept.glob("*"))
        for path in other.glob("*.json"):
            path.write_text(path.read_text().replace(self.read(path)["nodes"][0]["node_id"], "0" * 64))
        (kept / "half.new").mkdir()
        before = (self.folder / "n.csv").read_text()
        (self.folder / "n.csv").unlink()
        time.sleep(1)
        self.noise("--add", "--noise", "n.csv")
        self.assertIn(",true,8 A/A runs in 2 sessions,", (self.folder / "n.csv").read_text())
        self.assertNotEqual((self.folder / "n.csv").read_text(), before)
        # A file that holds no run is told at once, and nothing is lost.
        path = next(other.glob("*.json"))
        path.write_text(path.read_text()[:200])
        before = (self.folder / "n.csv").read_text()
        done = self.noise("--add", "--noise", "n.csv", status=2)
        self.assertRegex(done.stderr, r"^assay: .*n\.csv\.runs/.*\.json.*\n$")
        self.assertEqual((self.folder / "n.csv").read_text(), before)

    def test_noise_says_at_once_what_it_can_not_do_and_keeps_nothing_of_half_a_measurement(self):
        own = self.folder / "noise.csv"
        own.write_text("probe,machine,between,sigma,df,span_minutes,measured,how,date\npeak,x,runs,0,3,1,true,h,2026\n")
        before = own.read_text()
        for arguments, words in ((["--noise", "noise.csv"], "noise.csv, row 1: sigma is '0'"),
                                 (["--noise", "none/noise.csv"], "can't write 'none/noise.csv'"),
                                 (["--runs", "3"], "--runs"), (["--out", "a.json"], "keeps no results of its runs"),
                                 (["--dtype", "f13", "--noise", "new.csv"], "'f13'"),
                                 (["--max-cost", "1", "--noise", "new.csv"], "run 1 of 4 ended with status 2")):
            done = self.noise(*arguments, status=2)
            self.assertIn(words, done.stderr)
            self.assertNotIn("run 2 of 4", done.stderr)
        self.assertEqual(own.read_text(), before)
        own.unlink()
        for ended_by in (signal.SIGINT, signal.SIGTERM):
            run = subprocess.Popen([BINARY, "noise", "peak", "--dtype", "f32", "--no-metadata", "--rounds", "100",
                                    "--noise", "noise.csv"], cwd=self.folder, text=True, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE,
                                   env=environment(HOME=str(self.folder), TMPDIR=str(self.folder)))
            self.addCleanup(run.kill)
            self.assertEqual(run.stderr.readline(), "run 1 of 16 (A)\n")
            time.sleep(0.5)
            run.send_signal(ended_by)
            self.assertIn("interrupted: nothing was kept\n", run.communicate(timeout=30)[1])
            self.assertEqual(run.returncode, 130)
            self.assertEqual([path.name for path in self.folder.glob("*noise*")], [])

    def test_a_page_on_a_full_disk_leaves_the_old_one(self):
        self.assay("run", "peak", *QUICK, "--out", "a.json")
        (self.folder / "page.html").write_text("a good page")
        done = subprocess.run(["bash", "-c", f"ulimit -f 1; exec '{BINARY}' report a.json --out page.html"],
                              cwd=self.folder, text=True, capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("can't write 'page.html'", done.stderr)
        self.assertEqual((self.folder / "page.html").read_text(), "a good page")

    def test_an_installed_tree_finds_its_modules(self):
        prefix = self.folder / "prefix"
        subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix], check=True, capture_output=True, timeout=120)
        listed = self.assay("list", binary=prefix / "bin/assay").stdout
        beside = self.assay("list").stdout
        module = re.compile(r"^  mpi +(.*)$", re.M)
        self.assertEqual(module.search(listed).group(1), module.search(beside).group(1))

    def test_without_a_gpu_every_gpu_case_is_named_with_its_reason(self):
        listed = self.assay("list").stdout
        if "there is no libassay-cuda.so" in listed:
            self.skipTest("this build has no cuda module")
        if pathlib.Path("/dev/nvidiactl").exists():
            self.skipTest("there is a driver here")
        why = "not loaded: there is no NVIDIA driver; try: "
        modules = ["cuda"] + (["nccl"] if "there is no libassay-nccl.so" not in listed else [])
        for module in modules:
            self.assertRegex(listed, rf"(?m)^  {module} +{why}")
        self.assertEqual(listed.count("there is no NVIDIA driver"), len(modules), "each reason is said once")
        self.assertIn("not here: cublaslt (module cuda)\n", listed.split("  gemm ")[1].split("  memory ")[0])
        self.assertIn("not here: cuda (module cuda)\n", listed.split("  memory ")[1].split("  attention ")[0])
        for probe in ("all_reduce", "overlap"):
            self.assertRegex(listed.split(f"  {probe} ")[1], r"^.*\n +backends: .*nccl \(module nccl\)\n")
        # What opens all modules has their versions.
        software = self.assay("env", "--no-metadata").stdout
        self.assertRegex(software, r"(?m)^  cuda +CUDA 1[23]\.\d+ \(driver: none\), cuBLASLt 1[23]\.")
        self.assay("run", "gemm", *QUICK, "--backend", "cublaslt", "--out", "g.json", status=1)
        record = self.read("g.json")["records"][0]
        self.assertEqual((record["status"], record["reason"]), ("skipped", "there is no NVIDIA driver"))

    def test_a_probe_asked_for_by_name_that_cannot_run_is_a_failure(self):
        done = self.assay("run", "memory", "fabric", *QUICK, "--set", "bytes=4k", "--backend", "native-mpi,native",
                          "--out", "m.json", status=1, PATH="/nonexistent")
        statuses = {record["probe"]: record["status"] for record in self.read("m.json")["records"]}
        self.assertEqual(statuses, {"memory": "ok", "fabric": "skipped"})
        self.assertRegex(done.stderr, r"  fabric  .*  2 x cpu/native-mpi  skipped: there is no .*; try: ")

    def test_a_wrong_name_is_one_sentence_and_no_file_whatever_the_command(self):
        noise = ["noise", "--noise", "noise.csv"]
        for command in (["run"], ["run", "gemm", "storage"], ["coll", "all_reduce"], noise, [*noise, "storage"]):
            for words in (["--backend", "nosuch"], ["--backend", "onednn, nosuch"], ["--backend", "Native,nosuch"]):
                done = self.assay(*command, *words, "--no-metadata", status=2)
                self.assertRegex(done.stderr, r"^assay: there is no backend nosuch; there are [a-z_, -]+\n$")
                self.assertEqual(done.stdout, "")
        for command in (["run"], noise):
            done = self.assay(*command, "--device", "gpu:0", "--no-metadata", status=2)
            self.assertRegex(done.stderr, r"^assay: there is no device gpu:0; .*\n$")
        self.assertIn("did you mean native?", self.assay("run", "--backend", "nativ", status=2).stderr)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_what_runs_by_none_of_the_backends_asked_for_has_no_record(self):
        done = self.assay("run", "memory", "storage", *QUICK, *SMALL, "--backend", "Native", "--out", "m.json", status=1)
        self.assertEqual({record["probe"] for record in self.read("m.json")["records"]}, {"memory"})
        self.assertIn("assay: storage is not measured: it runs by none of --backend native\n", done.stderr)
        done = self.assay("run", "storage", *QUICK, "--backend", "onednn", "--out", "s.json", status=2)
        self.assertEqual(done.stderr, "assay: nothing that was asked for can run with --backend onednn; storage has "
                                      "backends io_uring, psync\n")
        done = self.assay("coll", "all_reduce", "--backend", "onednn", "--no-metadata", status=2)
        self.assertIn("can run with --backend onednn; all_reduce has backends mpi, native, native-mpi, ofi, nccl\n", done.stderr)
        self.assertEqual([path.name for path in self.folder.glob("*json*")], ["m.json"])

    def test_each_case_is_told_of_after_its_first_visit_also_where_nothing_is_a_terminal(self):
        run = subprocess.Popen([BINARY, "run", "memory", *SMALL, "--set", "pattern=read,copy", "--rounds", "40",
                                "--max-seconds", "8", "--no-metadata", "--json", "--out", "a.json"], cwd=self.folder, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(HOME=str(self.folder)))
        self.addCleanup(run.kill)
        told = []
        while len(told) < 2:
            line = run.stderr.readline()
            self.assertNotEqual(line, "", "the run ended first")
            if " so far (" in line:
                told.append(line)
        self.assertIsNone(run.poll())
        self.assertTrue((self.folder / "a.json.part").exists(), "it is still measuring")
        for line in told:
            self.assertRegex(line, r"^  memory  (read|copy) 1 MiB.*  cpu/native  [0-9.]+ [KMGT]B/s so far \(1 of 40 rounds\)")
            self.assertNotRegex(line, "±|USD|%")
        self.assertNotEqual(told[0], told[1])
        run.send_signal(signal.SIGINT)
        out, rest = run.communicate(timeout=60)
        self.assertNotIn(" so far (", out + rest)
        self.assertEqual(len(json.loads(out)["cases"]), 2)
        done = self.assay("run", "peak", "--dtype", "f32", *QUICK, "--quiet", "--out", "q.json")
        self.assertEqual(done.stderr, "")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
