#!/usr/bin/env python3
"""keystore_psk_test.py HANDFASTCTL - `handfastctl psk` as an operator uses it, and what becomes of
a store whose importer is killed, whose file is cut short, whose bits turn.
HF_TEST_KEYS=1000000 makes the import a large one (20,000 otherwise)."""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HANDFASTCTL = None
KEY = "000102030405060708090a0b0c0d0e0f"
OTHER_KEY = "ffeeddccbbaa99887766554433221100"
MANY = int(os.environ.get("HF_TEST_KEYS", "20000"))


def write_file(path, text, mode=0o600):
    with open(path, "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    return path


def key_lines(count, prefix="device"):
    return "".join(f"{prefix}-{i:07d}@in-cse.example:{i:032x}:/in-cse/C{i}\n"
                   for i in range(count))


class PskTest(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.store = os.path.join(self.place.name, "store")
        self.seen = []  # all that was ever printed

    def tearDown(self):
        for text in self.seen:
            self.assertNotIn(KEY, text.lower())
            self.assertNotIn(OTHER_KEY, text.lower())
        self.place.cleanup()

    def path(self, name):
        return os.path.join(self.place.name, name)

    def psk(self, subcommand, *arguments, stdin="", status=0, is_json=False):
        done = subprocess.run(
            [HANDFASTCTL, *(["--json"] if is_json else []), "psk", subcommand, "--store",
             self.store, *arguments], input=stdin, capture_output=True, text=True, check=False)
        self.seen += [done.stdout, done.stderr]
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        if status == 0:
            self.assertEqual(done.stderr, "")
        else:
            self.assertNotEqual(done.stderr, "")
        return json.loads(done.stdout) if is_json and done.stdout else done.stdout + done.stderr

    def identities(self):
        return [key["identity"] for key in self.psk("list", is_json=True)["keys"]]

    # ---- one key ----------------------------------------------------------------------------

    def test_add_list_rm(self):
        self.psk("add", "dev@in-cse.example", "--entity", "/in-cse/Cdev", "--authority", "plant",
                 "--not-before", "2026-01-01", "--not-after", "2040-01-31T12:00:00Z",
                 stdin=KEY + "\n")
        listing = self.psk("list", is_json=True)
        self.assertEqual(listing["total"], 1)
        key = listing["keys"][0]
        self.assertEqual(key["identity"], "dev@in-cse.example")
        self.assertEqual(key["entity"], "/in-cse/Cdev")
        self.assertEqual(key["entity_kind"], "ae")
        self.assertEqual(key["authority"], "plant")
        self.assertEqual(key["not_before"], 1767225600)
        self.assertEqual(key["not_after"], 2211624000)
        self.assertLess(abs(key["created"] - time.time()), 60)
        self.assertIn("dev@in-cse.example /in-cse/Cdev plant", self.psk("list"))
        self.assertIn("1 removed", self.psk("rm", "dev@in-cse.example"))
        self.assertEqual(self.identities(), [])
        self.psk("rm", "dev@in-cse.example", status=1)

    def test_the_command_line(self):
        def run(*arguments, stdin=KEY):
            done = subprocess.run([HANDFASTCTL, "psk", *arguments], input=stdin, check=False,
                                  capture_output=True, text=True)
            return done.returncode, done.stdout, done.stderr

        # The store may be named before the command, as the help has it, or behind it.
        self.assertEqual(run("--store", self.store, "add", "a")[::2], (0, ""))
        self.assertEqual(run(f"--store={self.store}", "add", "b")[::2], (0, ""))
        self.assertEqual(self.identities(), ["a", "b"])
        for arguments in (["--help"], ["add", "--help"], ["--store", "x", "rm", "--help"]):
            code, out, err = run(*arguments)
            self.assertEqual((code, err), (0, ""))
            self.assertTrue(out.startswith("usage: handfastctl psk"), out)
        for arguments, said in (
                (["frobnicate"], "psk frobnicate: no such command"),
                (["--store", self.store], "psk --store: no such command"),
                (["add", "--nonsense", "x"], "handfastctl: psk: unrecognized option '--nonsense'"),
                (["list", "--force"], "psk list: --force does not fit"),
                (["rm", "--store", self.store], "usage: handfastctl psk [--store DIR]")):
            code, out, err = run(*arguments)
            self.assertEqual((code, out), (2, ""), arguments)
            self.assertIn(said, err)
            self.assertTrue(err.endswith("Try: handfastctl psk --help\n"), err)

    def test_key_from_a_file(self):
        file = write_file(self.path("key"), KEY)
        self.psk("add", "a", "--key-file", file)
        os.chmod(file, 0o644)
        self.assertIn("chmod 600", self.psk("add", "b", "--key-file", file, status=1))
        self.assertEqual(self.identities(), ["a"])

    def test_identities_that_do_not_print(self):
        self.psk("add", "#00ff3a", stdin=KEY)
        self.psk("add", "with:colon", stdin=KEY)
        self.psk("add", "bl ank", stdin=KEY)
        self.assertEqual(self.identities(), ["#00ff3a", "#626c20616e6b", "#776974683a636f6c6f6e"])
        self.psk("rm", "#00FF3A", "with:colon", "#626c20616e6b")
        self.assertEqual(self.identities(), [])

    def test_a_full_disk_is_told_and_costs_nothing(self):
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            self.skipTest("needs root and unshare(1) for a small file system")
        with open(self.path("many"), "w", encoding="ascii") as file:
            file.write(key_lines(5000))
        os.chmod(self.path("many"), 0o600)
        script = """mount -t tmpfs -o size=256k,mode=700 tmpfs "$2" && echo "$4" |
            "$1" psk --store "$2/keys" add first && ! "$1" psk --store "$2/keys" import "$3" &&
            "$1" psk --store "$2/keys" check && "$1" psk --store "$2/keys" list"""
        os.mkdir(self.path("small"))
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", HANDFASTCTL, self.path("small"),
             self.path("many"), KEY], capture_output=True, text=True, check=False)
        if "mount:" in done.stderr:
            self.skipTest(done.stderr)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("the disk is full", done.stderr)
        self.assertIn("sound: 1 keys", done.stdout)
        self.assertIn("first - -", done.stdout)

    def test_replace_must_be_said(self):
        self.psk("add", "a", stdin=KEY)
        revision = self.psk("list", is_json=True)["keys"][0]["revision"]
        self.assertIn("unchanged", self.psk("add", "a", stdin=KEY))
        self.assertIn("--replace", self.psk("add", "a", stdin=OTHER_KEY, status=1))
        self.assertEqual(self.psk("list", is_json=True)["keys"][0]["revision"], revision)
        self.psk("add", "a", "--replace", stdin=OTHER_KEY)
        self.assertGreater(self.psk("list", is_json=True)["keys"][0]["revision"], revision)

    def test_what_is_refused(self):
        for key in ("", "zz", KEY[:-1], KEY[:30], KEY * 5, KEY + ":/in-cse/C1:x", KEY + "\n" + KEY):
            self.psk("add", "a", stdin=key, status=1)
        self.psk("add", "a", "--entity", "nonsense", stdin=KEY, status=1)
        self.psk("add", "", stdin=KEY, status=1)
        self.psk("add", "#0g", stdin=KEY, status=1)
        self.psk("add", "a", "--not-after", "tomorrow", stdin=KEY, status=2)
        self.psk("add", "a", "--not-after", "0", stdin=KEY, status=2)
        self.psk("add", stdin=KEY, status=2)
        self.psk("add", "a", "b", stdin=KEY, status=2)
        self.psk("add", "a", "--key", KEY, status=1)
        self.psk("rm", status=2)
        self.psk("nonsense", status=2)
        self.assertFalse(os.path.exists(os.path.join(self.store, "current")))

    def test_no_store(self):
        for command in (("list",), ("rm", "a"), ("check",), ("backup", self.path("b"))):
            self.assertIn("no key store", self.psk(*command, status=1))

    # ---- many -------------------------------------------------------------------------------

    def test_import(self):
        lines = "# a comment\n" + key_lines(500) + f"#00ff:{KEY}\n"
        done = self.psk("import", stdin=lines, is_json=True)
        self.assertEqual(done, {"added": 501, "replaced": 0, "unchanged": 0, "complete": True})
        file = write_file(self.path("keys"), lines)
        done = self.psk("import", file, is_json=True)
        self.assertEqual(done["unchanged"], 501)
        self.assertIn("501 keys", self.psk("check"))
        done = self.psk("list", "--match", "device-00001", "--limit", "7", is_json=True)
        self.assertEqual(len(done["keys"]), 7)
        self.assertEqual(done["keys"][0]["identity"], "device-0000100@in-cse.example")

    def test_import_is_checked_before_anything_is_written(self):
        self.psk("add", "device-0000123@in-cse.example", stdin=OTHER_KEY)
        output = self.psk("import", stdin=key_lines(500), status=1)
        self.assertIn("device-0000123@in-cse.example", output)
        self.assertEqual(len(self.identities()), 1)
        output = self.psk("import", stdin=key_lines(30) + "broken line\n", status=1)
        self.assertIn("line 31", output)
        self.assertEqual(len(self.identities()), 1)

    def test_rm_from_a_file_has_a_limit(self):
        self.psk("import", stdin=key_lines(100))
        file = write_file(self.path("gone"), key_lines(11))
        self.assertIn("--force", self.psk("rm", "--from", file, status=1))
        self.assertIn("100 keys", self.psk("check"))
        self.assertIn("11 removed", self.psk("rm", "--from", file, "--force"))
        self.assertIn("5 removed", self.psk("rm", "--from", write_file(
            self.path("more"), "".join(f"device-{i:07d}@in-cse.example\r\n"
                                       for i in range(20, 25)))))
        self.assertIn("84 keys", self.psk("check"))

    def test_import_that_replaces_has_a_limit(self):
        self.psk("import", stdin=key_lines(100))
        changed = key_lines(11).replace(":0", ":f")
        self.assertNotEqual(changed, key_lines(11))
        output = self.psk("import", "--replace", stdin=changed, status=1)
        self.assertIn("11 of 100 keys", output)
        self.assertIn("--force", output)
        self.assertIn("11 replaced", self.psk("import", "--replace", "--force", stdin=changed))
        ten = key_lines(30).replace(":0", ":e").splitlines(True)[20:30]
        self.assertIn("10 replaced", self.psk("import", "--replace", stdin="".join(ten)))
        self.psk("import", "--replace", stdin=key_lines(100)[:0] + "new:" + KEY + "\n")
        # One that is named is meant.
        self.psk("add", "few", "--store", self.path("few"), stdin=KEY)
        self.psk("add", "few", "--store", self.path("few"), "--replace", stdin=OTHER_KEY)

    def audit(self):
        with open(os.path.join(self.store, "audit.log"), encoding="ascii") as file:
            return file.read().splitlines()

    def test_audit_log(self):
        self.psk("add", "a", stdin=KEY)
        self.psk("add", "a", stdin=KEY)  # changes nothing: a line for the command alone
        self.psk("add", "a", "--replace", stdin=OTHER_KEY)
        self.psk("add", 'qu"ote\\', stdin=KEY)
        self.psk("add", "b", "--replace", stdin="nonsense", status=1)
        self.psk("rm", "a", "not there")
        events = [re.search(r"event=(\w+)", line).group(1) for line in self.audit()]
        self.assertEqual(events, ["key_added", "keys_changed", "keys_changed", "key_changed",
                                  "keys_changed", "key_added", "keys_changed", "key_removed",
                                  "keys_changed"])
        text = "\n".join(self.audit())
        self.assertNotIn(KEY, text)
        self.assertNotIn(OTHER_KEY, text)
        self.assertIn('identity="qu\\x22ote\\x5C"', text)
        self.assertEqual(os.stat(os.path.join(self.store, "audit.log")).st_mode & 0o777, 0o600)
        for line in self.audit():
            self.assertRegex(line, rf'^ts=\S+Z event=\w+ by="uid={os.getuid()}\(')
        before = len(self.audit())
        self.psk("import", stdin=key_lines(3000))
        added = self.audit()[before:]
        self.assertEqual(len(added), 1001)
        self.assertIn("added=3000", added[-1])
        self.assertIn("not_listed=2000", added[-1])
        backup = self.path("backup")
        self.psk("backup", backup)
        self.psk("add", "late", stdin=KEY)
        self.psk("restore", backup)
        self.assertIn("event=keys_restored", self.audit()[-1])
        self.assertIn("removed_or_changed=1", self.audit()[-1])

    def test_no_change_without_audit(self):
        self.psk("add", "a", stdin=KEY)
        os.remove(os.path.join(self.store, "audit.log"))
        os.mkdir(os.path.join(self.store, "audit.log"))
        for command, text in ((("add", "b"), KEY), (("rm", "a"), ""), (("import",), key_lines(3))):
            self.assertIn("audit.log", self.psk(*command, stdin=text, status=1))
        self.assertEqual(self.identities(), ["a"])

    def test_backup_and_restore(self):
        self.psk("import", stdin=key_lines(100))
        backup = self.path("backup")
        self.psk("backup", backup)
        self.assertEqual(os.stat(backup).st_mode & 0o777, 0o600)
        self.assertIn("--force", self.psk("backup", backup, status=1))
        self.psk("backup", "--force", backup)
        self.assertIn("100 keys", self.psk("check", backup))
        self.psk("import", stdin=key_lines(100, "other"))
        self.assertIn("more than 10 %", self.psk("restore", backup, status=1))
        self.assertIn("200 keys", self.psk("check"))
        self.assertIn("100 of the 200", self.psk("restore", "--force", backup))
        self.assertIn("100 keys", self.psk("check"))
        self.assertEqual(sorted(os.listdir(self.store)),
                         ["audit.log", "committed", "current", "keys-2.mdb",
                          "keys-2.mdb-lock", "writers"])
        self.store = self.path("elsewhere")
        self.assertIn("100 keys", self.psk("restore", backup))
        os.chmod(backup, 0o644)
        self.assertIn("chmod 600", self.psk("restore", backup, status=1))

    def test_writers_side_by_side(self):
        self.psk("add", "first", stdin=KEY)
        running = [subprocess.Popen([HANDFASTCTL, "psk", "import", "--store", self.store],
                                    stdin=subprocess.PIPE, text=True,
                                    stdout=subprocess.DEVNULL) for _ in range(4)]
        for number, process in enumerate(running):
            process.stdin.write(key_lines(3000, f"p{number}"))
        for process in running:
            process.stdin.close()
        for process in running:
            self.assertEqual(process.wait(), 0)
        self.assertIn("12001 keys", self.psk("check"))

    # ---- what goes wrong --------------------------------------------------------------------

    def kill_during_import(self, file, generator):
        """Kills the importer, child and all, somewhere in its work; what it acknowledged."""
        process = subprocess.Popen(
            [HANDFASTCTL, "psk", "import", "--store", self.store, "--progress", file],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
        commits = generator.randrange(0, max(1, MANY // 10000))
        acknowledged = 0
        for line in process.stderr:
            match = re.match(r"committed (\d+) of", line)
            acknowledged = int(match.group(1)) if match else acknowledged
            if acknowledged >= commits * 10000:
                break
        time.sleep(generator.random() * 0.05)
        os.killpg(process.pid, signal.SIGKILL)
        for line in process.stderr:  # acknowledged before the end reached it
            match = re.match(r"committed (\d+) of", line)
            acknowledged = int(match.group(1)) if match else acknowledged
        process.wait()
        process.stderr.close()
        return acknowledged

    def test_killed_during_import(self):
        seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
        generator = random.Random(seed)
        file = write_file(self.path("keys"), key_lines(MANY))
        for round_number in range(8):
            with self.subTest(seed=seed, round=round_number):
                self.store = self.path(f"store{round_number}")
                self.psk("add", "zero", stdin=KEY)
                acknowledged = self.kill_during_import(file, generator)
                self.assertTrue(self.psk("check").startswith("sound"))
                names = self.identities()
                self.assertIn("zero", names)
                # In the order of the file, and all that was acknowledged.
                count = len(names) - 1
                self.assertGreaterEqual(count, acknowledged)
                self.assertEqual(names[:count],
                                 [f"device-{i:07d}@in-cse.example" for i in range(count)])
                self.psk("import", file)
                self.assertIn(f"{MANY + 1} keys", self.psk("check"))

    def damaged(self, change):
        """Runs every command on a copy of the store that `change` has damaged."""
        data = os.path.join(self.store, "current")
        with open(data, "rb") as file:
            good = file.read()
        with open(data, "r+b") as file:
            change(file, len(good))
        results = []
        for command in (("check",), ("list",), ("rm", "device-0000001@in-cse.example"),
                        ("backup", "--force", self.path("damaged-backup"))):
            done = subprocess.run([HANDFASTCTL, "psk", command[0], "--store", self.store,
                                   *command[1:]], capture_output=True, text=True, check=False)
            self.assertIn(done.returncode, (0, 1), (command, done.stderr))
            self.assertLessEqual(done.stderr.count("\n"), 1)
            # A flipped bit in a name makes it another name: only `check` reads every record.
            if done.returncode == 1 and "none of these keys" not in done.stderr:
                self.assertIn("damaged", done.stderr)
            results.append(done.returncode)
        with open(data, "r+b") as file:
            file.truncate(len(good))
            file.write(good)
        return results

    def test_damage_is_a_line(self):
        seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
        generator = random.Random(seed)
        self.psk("import", stdin=key_lines(300))
        with self.subTest(seed=seed):
            def cut(file, length):
                file.truncate(generator.randrange(0, length // 4096) * 4096)

            def flip(file, length):
                for _ in range(40):
                    at = generator.randrange(0, length)
                    file.seek(at)
                    byte = file.read(1)[0]
                    file.seek(at)
                    file.write(bytes([byte ^ 1 << generator.randrange(8)]))

            for _ in range(12):
                self.assertEqual(self.damaged(cut), [1, 1, 1, 1])
            found = sum(self.damaged(flip)[0] for _ in range(12))
            self.assertGreater(found, 6)

    def test_restore_of_a_damaged_store_and_of_a_damaged_backup(self):
        self.psk("import", stdin=key_lines(300))
        backup = self.path("backup")
        self.psk("backup", backup)
        os.truncate(os.path.join(self.store, "current"), 8192)
        self.assertIn("damaged", self.psk("check", status=1))
        self.assertIn("no sound store", self.psk("restore", backup))
        self.assertIn("300 keys", self.psk("check"))
        with open(backup, "r+b") as file:
            file.seek(5 * 4096 + 100)
            file.write(os.urandom(200))
        self.assertIn("damaged", self.psk("restore", backup, status=1))
        self.assertIn("300 keys", self.psk("check"))


if __name__ == "__main__":
    HANDFASTCTL = sys.argv.pop(1)
    unittest.main(verbosity=2)
