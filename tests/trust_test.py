#!/usr/bin/python3
"""What others put where assay or its scripts look is neither run, nor followed, nor believed: libraries in the
current folder, modules and programs that the environment names to a privileged program, a chroot in a folder that
others may write, wheels that aren't those that were meant.

usage: trust_test.py BINARY BUILD_FOLDER SOURCE_FOLDER [unittest arguments]
"""

import base64
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import unittest.mock
import zipfile

import run_paths

BINARY, BUILD, SOURCE = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])

SOMEBODY_ELSE = 12345


class Trust(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="assay-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def make(self, name, mode=0o755):
        """A folder of the test's own."""
        path = self.folder / name
        path.mkdir(parents=True)
        path.chmod(mode)
        return path

    def lay(self, path, text, mode=0o755):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def run_in(self, folder, command, **environment):
        """Elements of the caller's own LD_LIBRARY_PATH that are the current folder don't count."""
        kept = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self.folder)}
        libraries = [each for each in os.environ.get("LD_LIBRARY_PATH", "").split(":") if each.startswith("/")]
        if libraries:
            kept["LD_LIBRARY_PATH"] = ":".join(libraries)
        return subprocess.run(command, cwd=folder, text=True, capture_output=True, timeout=100, check=False,
                              env={**kept, **environment})


class CurrentFolder(Trust):
    def installed(self):
        prefix = self.folder / "prefix"
        subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix], check=True, capture_output=True, timeout=100)
        return prefix

    def test_nothing_that_is_built_or_installed_looks_for_libraries_in_the_current_folder(self):
        for tree, binary in ((BUILD, BINARY), (self.installed(), self.folder / "prefix/bin/assay")):
            self.assertIn(binary, list(run_paths.linked(tree)))
            self.assertEqual(run_paths.relative(tree), [])

    def test_each_way_to_look_there_is_seen(self):
        source = self.lay(self.folder / "empty.c", "")
        library = self.folder / "libempty.so"

        def relative(*options):
            subprocess.run(["gcc", "-shared", "-nostdlib", "-o", library, source, *options], check=True, cwd=self.folder)
            return run_paths.relative(self.folder)

        for tag, option in (("RUNPATH", "--enable-new-dtags"), ("RPATH", "--disable-new-dtags")):
            for path in ("/usr/lib:", ":/usr/lib", "/usr/lib::/lib", "lib", "."):
                self.assertEqual(relative(f"-Wl,{option},-rpath,{path}"), [f"{library}: {tag} [{path}]"])
        self.assertEqual(relative("-Wl,-rpath,/usr/lib:$ORIGIN/../lib"), [])
        self.assertEqual(relative(), [])
        library.rename(self.make("lib") / "nameless")
        self.assertEqual(relative("-Wl,--no-as-needed", "lib/nameless"), [f"{library}: NEEDED [lib/nameless]"])

    def test_a_program_that_is_gone_meanwhile_is_left_out_and_one_that_cant_be_read_is_not(self):
        for name, is_there in (("gone", False), ("there", True)):
            path = self.folder / name
            with unittest.mock.patch.object(run_paths, "linked", return_value=[path]):
                if is_there:
                    self.lay(path, "no program\n")
                    self.assertRaises(subprocess.CalledProcessError, run_paths.relative, self.folder)
                else:
                    self.assertEqual(run_paths.relative(self.folder), [])

    def test_libraries_in_the_current_folder_are_not_loaded(self):
        modules = sorted(BUILD.glob("libassay-*.so"))
        # Libraries that are opened by name, too.
        names = {"libcudart.so.12", "libcudart.so.13", "libnccl.so.2", "libmpi.so.40", "libmpich.so.12",
                 "libcudnn.so.9", "libcuda.so.1", "libnvidia-ml.so.1"}
        for path in [BINARY, *modules]:
            names.update(text for tag, text in run_paths.entries(path) if tag == "NEEDED")
        self.assertIn("libc.so.6", names)
        empty, littered = self.make("empty"), self.make("littered")
        for name in names:
            self.lay(littered / name, "no library\n")
        prefix = self.installed()
        loaded = set()
        for launcher in ("mpirun.openmpi", "mpirun.mpich"):
            # Its name tells which of the two modules for MPI is opened.
            folder = self.make(launcher + "-folder")
            self.lay(folder / launcher, "#!/bin/sh\n")
            (folder / "mpirun").symlink_to(launcher)
            path = f"{folder}:{os.environ['PATH']}"
            for binary in (BINARY, prefix / "bin/assay"):
                clean, dirty = (self.run_in(where, [binary, "list"], PATH=path) for where in (empty, littered))
                self.assertEqual((dirty.returncode, dirty.stdout), (0, clean.stdout), dirty.stderr)
                # This opens all modules, also those that lack a driver.
                clean, dirty = (self.run_in(where, [binary, "env", "--no-metadata"], PATH=path)
                                for where in (empty, littered))
                versions = re.compile(r"(?m)^  (mpi|libfabric|cuda|nccl) +(\w.*)$")
                self.assertEqual((dirty.returncode, versions.findall(dirty.stdout)), (0, versions.findall(clean.stdout)))
                loaded.update(versions.findall(clean.stdout))
        # Each that was built, or the test would tell nothing of it.
        mpis = {"openmpi", "mpich"}
        kinds = {**dict.fromkeys(mpis, "mpi"), "ofi": "libfabric"}
        for module in modules:
            name = module.stem.removeprefix("libassay-")
            self.assertIn(kinds.get(name, name), {entry for entry, _ in loaded}, loaded)
        self.assertEqual(len({version for entry, version in loaded if entry == "mpi"}),
                         sum(module.stem.removeprefix("libassay-") in mpis for module in modules), loaded)


class Privilege(Trust):
    """A program that has more rights than who starts it takes nothing to run from that one's environment."""

    def privileged(self, program, folder):
        """A copy of the program that runs as another group than who starts it, which glibc sees as AT_SECURE."""
        copy = folder / program.name
        shutil.copy(program, copy)
        groups = [group for group in os.getgroups() if group != os.getegid()] or [SOMEBODY_ELSE]
        try:
            os.chown(copy, -1, groups[0])
            copy.chmod(0o2755)
        except OSError:
            self.skipTest("needs the right to give a program to another group")
        return copy

    def setUp(self):
        super().setUp()
        probe = self.privileged(pathlib.Path("/usr/bin/id"), self.make("probe"))
        ours, its = (self.run_in(self.folder, [program, "-g"]).stdout for program in ("/usr/bin/id", probe))
        if ours == its:
            self.skipTest("needs the right to run a program as another group")

    def test_no_folder_of_modules(self):
        chosen = self.make("chosen")
        for family in ("openmpi", "mpich"):
            self.lay(chosen / f"libassay-{family}.so", "no module\n")
        plain = self.make("plain") / "assay"
        shutil.copy(BINARY, plain)
        said = self.run_in(self.folder, [plain, "list"], ASSAY_MODULE_DIR=str(chosen)).stdout
        self.assertRegex(said, rf"(?m)^  mpi +not loaded: {re.escape(str(chosen))}/libassay-")
        said = self.run_in(self.folder, [self.privileged(BINARY, self.make("other")), "list"],
                           ASSAY_MODULE_DIR=str(chosen)).stdout
        self.assertRegex(said, r"(?m)^  mpi +not loaded: there is no libassay-")
        self.assertNotIn(str(chosen), said)

    def test_no_plugin_that_a_library_looks_for_by_itself(self):
        ran = self.folder / "ran"
        plugins = self.make("plugins")
        source = self.lay(self.folder / "mark.c", "#include <stdio.h>\n"
                          f'__attribute__((constructor)) static void mark(void) {{ fclose(fopen("{ran}", "w")); }}\n')
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", plugins / "hwloc_mark.so", source], check=True)
        plain = self.make("plain") / "assay"
        shutil.copy(BINARY, plain)
        for binary, runs in ((plain, True), (self.privileged(BINARY, self.make("other")), False)):
            done = self.run_in(self.folder, [binary, "run", "memory", "--rounds", "1", "--max-seconds", "0.02", "--set", "bytes=1M",
                                             "--no-metadata", "--out", f"{runs}.json"], HWLOC_PLUGINS_PATH=str(plugins))
            self.assertEqual((done.returncode, ran.exists()), (0, runs), done.stderr)
            ran.unlink(missing_ok=True)

    def test_no_launcher_and_ranks_that_it_started_are_told(self):
        binary = self.privileged(BINARY, self.make("other"))
        for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"):
            done = self.run_in(self.folder, [binary, "list"], **{name: "2"})
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("assay: a launcher started this process and others, which can't find each other", done.stderr)
            self.assertEqual(self.run_in(self.folder, [binary, "list"], **{name: "1"}).returncode, 0)

    def test_ranks_that_it_starts_itself_still_meet(self):
        """They are as privileged, and are told by variables where they meet."""
        binary = self.privileged(BINARY, self.make("other"))
        done = subprocess.run([binary, "run", "all_reduce", "--backend", "native", "--ranks", "2", "--rounds", "1",
                               "--max-seconds", "0.02", "--set", "bytes=64", "--no-metadata", "--out", "here.json"],
                              cwd=self.folder, env={}, text=True, capture_output=True, timeout=100, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_no_mpirun(self):
        family = next((each for each in ("openmpi", "mpich") if (BUILD / f"libassay-{each}.so").exists()), None)
        if family is None:
            self.skipTest("this build has no MPI")
        ran = self.folder / "ran"
        path = self.make("path")
        self.lay(path / f"mpirun.{family}", f"#!/bin/sh\necho ran >{ran}\nexit 1\n")
        (path / "mpirun").symlink_to(f"mpirun.{family}")
        plain, other = self.make("plain"), self.make("other")
        for folder in (plain, other):
            # A build that has one of them alone opens that one, whatever is in PATH.
            shutil.copy(BUILD / f"libassay-{family}.so", folder)
        shutil.copy(BINARY, plain)
        binaries = [plain / "assay", self.privileged(BINARY, other)]
        for binary, runs in zip(binaries, (True, False)):
            done = self.run_in(self.folder, [binary, "run", "all_reduce", "--backend", "mpi", "--ranks", "2",
                                             "--rounds", "1", "--max-seconds", "0.02", "--set", "bytes=64",
                                             "--no-metadata", "--out", f"{runs}.json"],
                               PATH=f"{path}:{os.environ['PATH']}")
            self.assertEqual(ran.exists(), runs, done.stdout + done.stderr)
            ran.unlink(missing_ok=True)
        self.assertIn("there is no mpirun in PATH", done.stdout + done.stderr)


class NodeKey(Trust):
    def test_one_that_others_may_read_is_not_believed_and_that_is_said(self):
        key = self.lay(self.make("configuration") / "assay/node-key", "a" * 64)
        for mode, is_said in ((0o600, False), (0o644, True)):
            key.chmod(mode)
            done = self.run_in(self.folder, [BINARY, "run", "memory", "--rounds", "1", "--max-seconds", "0.02", "--set", "bytes=1M",
                                             "--no-metadata", "--out", f"{mode}.json"],
                               XDG_CONFIG_HOME=str(self.folder / "configuration"))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual("assay/node-key in the folder for configurations" in done.stderr, is_said, done.stderr)
            node = json.loads((self.folder / f"{mode}.json").read_text())["nodes"][0]
            self.assertEqual((node["node_id"] == "", "node-key" in str(node["notes"])), (is_said, is_said), node)


class Chroot(Trust):
    """scripts/check-trixie.sh with stand-ins for what it runs as root."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("needs root")
        self.tools = self.make("tools")
        self.log = self.folder / "log"
        for tool in ("debootstrap", "chroot", "mount", "umount", "apt-get", "git", "tar"):
            self.lay(self.tools / tool, f'#!/bin/sh\necho "{tool} $*" >>{self.log}\n')
        self.victim = self.lay(self.folder / "victim", "as it was")

    def check(self, chroot):
        done = self.run_in(self.folder, [SOURCE / "scripts/check-trixie.sh"], ASSAY_TRIXIE=str(chroot),
                           PATH=f"{self.tools}:/usr/sbin:/usr/bin:/sbin:/bin")
        return done, self.log.read_text() if self.log.exists() else ""

    def refused(self, chroot, why):
        done, ran = self.check(chroot)
        self.assertEqual((done.returncode, ran), (2, ""), done.stderr)
        self.assertIn(f"check-trixie: {why}", done.stderr)
        self.assertEqual(self.victim.read_text(), "as it was")

    def chroot(self, folder):
        """As debootstrap leaves one, but with links out of it where the script writes."""
        root = folder / "root"
        self.lay(root / "usr/bin/apt-get", "#!/bin/sh\n")
        settings = root / "etc/apt/apt.conf.d"
        settings.mkdir(parents=True)
        for name in [each.name for each in pathlib.Path("/etc/apt/apt.conf.d").iterdir()]:
            (settings / name).symlink_to(self.victim)
        (root / "etc/resolv.conf").symlink_to(self.victim)
        return folder

    def test_one_that_others_have_made_or_may_change_is_refused(self):
        for name, mode in (("open", 0o777), ("sticky", 0o1777), ("of-a-group", 0o770), ("seen", 0o755)):
            with self.subTest(name):
                chroot = self.chroot(self.make(name, mode))
                self.refused(chroot, f"{chroot} is no folder of root's alone")
        theirs = self.chroot(self.make("theirs", 0o700))
        os.chown(theirs, SOMEBODY_ELSE, SOMEBODY_ELSE)
        self.refused(theirs, f"{theirs} is no folder of root's alone")
        link = self.folder / "link"
        link.symlink_to(self.chroot(self.make("ours", 0o700)))
        self.refused(link, f"{link} is no folder of root's alone")
        dangling = self.folder / "dangling"
        dangling.symlink_to("none")
        self.refused(dangling, f"{dangling} is no folder of root's alone")

    def test_one_below_a_folder_that_others_may_write_is_refused(self):
        above = self.make("above")
        chroot = self.chroot(self.make("above/chroot", 0o700))
        for mode in (0o777, 0o775):
            above.chmod(mode)
            self.refused(chroot, f"{chroot} is below {above}, which others may write")
            self.refused(above / "new", f"{above / 'new'} is below {above}, which others may write")
            self.assertFalse((above / "new").exists())
        above.chmod(0o755)
        os.chown(above, SOMEBODY_ELSE, SOMEBODY_ELSE)
        self.refused(chroot, f"{chroot} is below {above}, which others may write")

    def test_root_s_own_is_used_and_links_in_it_are_not_followed(self):
        self.make("above", 0o1777)  # sticky, as /var/tmp
        chroot = self.chroot(self.make("above/chroot", 0o700))
        done, ran = self.check(chroot)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"chroot {chroot}/root env ", ran)
        self.assertNotIn("debootstrap", ran)
        self.assertEqual(self.victim.read_text(), "as it was")
        copied = list((chroot / "root/etc/apt/apt.conf.d").iterdir())
        self.assertEqual([path for path in copied if path.is_symlink()], [])

    def test_one_below_no_folder_is_refused(self):
        done, ran = self.check(self.folder / "none/new")
        self.assertEqual((done.returncode, ran), (2, ""), done.stderr)
        self.assertEqual(done.stderr, f"check-trixie: there is no folder for {self.folder / 'none/new'}\n")

    def test_a_new_one_is_closed_to_others(self):
        chroot = self.folder / "new"
        done, ran = self.check(chroot)
        self.assertEqual(chroot.stat().st_mode & 0o7777, 0o700, done.stderr)
        self.assertRegex(ran, rf"debootstrap --force-check-gpg .* trixie {chroot}/root\n")


class Wheels(Trust):
    """scripts/install-wheels.sh with the real pip, which finds wheels in a folder."""

    def setUp(self):
        super().setUp()
        if subprocess.run(["/usr/bin/python3", "-I", "-m", "pip", "--version"], capture_output=True, check=False).returncode:
            self.skipTest("there is no pip")
        self.shelf = self.make("shelf")
        self.ran = self.folder / "ran"

    def wheel(self, text="meant\n"):
        """The wheel's SHA-256."""
        path = self.shelf / "canary-1.0-py3-none-any.whl"
        about = "canary-1.0.dist-info"
        files = {"canary.py": text, f"{about}/METADATA": "Metadata-Version: 2.1\nName: canary\nVersion: 1.0\n",
                 f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
        record = "".join(f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(body.encode()).digest()).decode().rstrip('=')},"
                         f"{len(body)}\n" for name, body in files.items())
        with zipfile.ZipFile(path, "w") as archive:
            for name, body in {**files, f"{about}/RECORD": f"{record}{about}/RECORD,,\n"}.items():
                archive.writestr(name, body)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def source(self):
        """A source distribution, whose set-up would leave a mark; its SHA-256."""
        path = self.shelf / "canary-1.0.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name, body in {"canary-1.0/setup.py": f"open({str(self.ran)!r}, 'w').close()\n",
                               "canary-1.0/PKG-INFO": "Metadata-Version: 2.1\nName: canary\nVersion: 1.0\n"}.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(body)
                archive.addfile(entry, io.BytesIO(body.encode()))
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def install(self, requirement, where=None):
        wanted = self.lay(self.folder / "list.txt", requirement + "\n")
        into = self.folder / "into"
        shutil.rmtree(into, ignore_errors=True)
        done = self.run_in(where or self.folder, [SOURCE / "scripts/install-wheels.sh", wanted, into],
                           PIP_NO_INDEX="1", PIP_FIND_LINKS=str(self.shelf), PIP_CONFIG_FILE="/dev/null")
        return done, (into / "canary.py").read_text() if (into / "canary.py").exists() else ""

    def refused(self, requirement, why):
        done, installed = self.install(requirement)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(installed, "")
        self.assertIn(why, done.stderr)

    def test_wheels_are_installed_by_their_hash_alone(self):
        meant = self.wheel()
        done, installed = self.install(f"canary==1.0 --hash=sha256:{meant}")
        self.assertEqual((done.returncode, installed), (0, "meant\n"), done.stderr)
        self.wheel("another\n")
        self.refused(f"canary==1.0 --hash=sha256:{meant}", "DO NOT MATCH THE HASHES")
        self.refused("canary==1.0", "Hashes are required")

    def test_sources_are_not_built(self):
        self.refused(f"canary==1.0 --hash=sha256:{self.source()}", "No matching distribution")
        self.assertFalse(self.ran.exists())

    def test_a_pip_in_the_current_folder_is_not_run(self):
        here = self.make("here")
        for name in ("pip/__init__.py", "pip/__main__.py", "json.py", "sitecustomize.py"):
            self.lay(here / name, f"open({str(self.ran)!r}, 'w').close()\n")
        done, installed = self.install(f"canary==1.0 --hash=sha256:{self.wheel()}", here)
        self.assertEqual((done.returncode, installed), (0, "meant\n"), done.stderr)
        self.assertFalse(self.ran.exists())


class Scripts(Trust):
    """What the scripts, the image and CI say. Each pattern is one that would open a door."""

    PATTERNS = {
        "downloads by pip without hashes": r"\bpip3?\"? (install|download|wheel)\b(?!.*--require-hashes.*--only-binary :all:)",
        "runs a module of Python's that the current folder may hold": r"python3? (?!.*-I )(-\w+ )*-m ",
        "downloads what nobody signs": r"\b(curl|wget)\b|\bgit clone\b|trusted=yes|--allow-unauthenticated|--no-check-gpg",
        "takes a base whose signature isn't checked": r"\bdebootstrap (?=.*--variant)(?!.*--force-check-gpg)",
        "takes an image by a name that can be given another": r"(?i)^(ARG BASE=|FROM )(?!.*@sha256:[0-9a-f]{64}$)(?!\$\{BASE\} |source |build)",
        "has a fixed name in a place that all may write": r"(?<![\w.])/(var/tmp|tmp|dev/shm)/",
    }

    def commands(self):
        """The lines that are no comments, those that go on joined: (file, line)."""
        for path in [*SOURCE.glob("scripts/*.sh"), *SOURCE.glob("containers/*"), *SOURCE.glob("tests/*.sh"), SOURCE / ".ci/run"]:
            for line in path.read_text().replace("\\\n", " ").splitlines():
                if not line.lstrip().startswith("#"):
                    yield path.relative_to(SOURCE), re.sub(r"\s+", " ", line)

    def test_no_script_takes_what_others_can_replace(self):
        lines = list(self.commands())
        self.assertGreater(len(lines), 300)
        for what, pattern in self.PATTERNS.items():
            self.assertEqual([f"{path} {what}: {line}" for path, line in lines if re.search(pattern, line)], [])

    def test_each_pattern_sees_what_it_is_for(self):
        for line in ("pip install --quiet x", "pip3 download x", '"$venv/bin/pip" install x',
                     "python3 -m venv x", "sudo /usr/bin/python3 -B -m pip", "curl -O x", "git clone x",
                     "debootstrap --variant=minbase bookworm x", "ARG BASE=docker.io/library/debian:12-slim",
                     "FROM debian:12 AS source", "root=/var/tmp/assay", "root=${A:-/tmp/assay}"):
            self.assertTrue(any(re.search(pattern, line) for pattern in self.PATTERNS.values()), line)

    def test_every_wheel_has_a_version_and_hashes(self):
        lists = sorted(SOURCE.glob("scripts/wheels/*.txt"))
        self.assertGreater(len(lists), 2)
        for path in lists:
            text = re.sub(r"(?m)^#.*\n", "", path.read_text()).replace("\\\n", " ")
            for line in text.splitlines():
                self.assertRegex(line, r"^[a-z0-9-]+==[0-9.]+( +--hash=sha256:[0-9a-f]{64})+$", path)
        named = set(re.findall(r"wheels/([\w.-]+)\.txt", "".join(line for _, line in self.commands())))
        self.assertLessEqual(named, {path.stem for path in lists})
        self.assertIn("cuda-13.0", named)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
