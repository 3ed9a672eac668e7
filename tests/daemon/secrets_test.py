#!/usr/bin/env python3
"""secrets_test.py HANDFASTCTL - `handfastctl secrets`: the first secret, the next, what is said of
a file that is wrong, and that no secret is ever printed."""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

HANDFASTCTL = None


class SecretsTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.file = os.path.join(directory.name, "shared-secrets")

    def run_it(self, *arguments, status=0):
        done = subprocess.run([HANDFASTCTL, "secrets", *arguments], capture_output=True, text=True,
                              check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertNotRegex(done.stdout + done.stderr, "[0-9a-f]{32}")
        return done.stdout + done.stderr

    def rotate(self, *arguments, status=0):
        return self.run_it("rotate", "--file", self.file, *arguments, status=status)

    def states(self):
        text = self.run_it("list", "--file", self.file, "--json")
        return [entry["state"] for entry in json.loads(text)]

    def content(self):
        with open(self.file, encoding="ascii") as file:
            return file.read()

    def write(self, text, mode=0o600):
        with open(self.file, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)

    def test_first_and_next(self):
        self.assertIn("1 in the file", self.rotate())
        self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o600)
        self.assertEqual(self.states(), ["active"])
        first = self.content()
        self.rotate()
        self.assertEqual(self.states(), ["coming", "active"])
        self.assertTrue(self.content().endswith(first))
        self.assertRegex(self.content(), r"\A(\d{8}T\d{6}Z [0-9a-f]{64}\n){2}\Z")
        self.assertEqual(len(set(re.findall("[0-9a-f]{64}", self.content()))), 2)

    def test_old_ones_go(self):
        self.write("20200101T000000Z " + "11" * 32 + "\n20200102T000000Z " + "22" * 32 + "\n")
        self.assertEqual(self.states(), ["active", "accepted"])
        self.rotate("--in", "60", "--keep", "3600")
        self.assertEqual(self.states(), ["coming", "active"])
        self.assertNotIn("1111", self.content())

    def test_refusals(self):
        self.assertIn("No such file", self.run_it("list", "--file", self.file, status=1))
        self.write("nonsense\n")
        self.assertIn("line 1:", self.rotate(status=1))
        self.assertEqual(self.content(), "nonsense\n")
        self.write("20200101T000000Z " + "11" * 32 + "\n", mode=0o644)
        self.assertIn("chmod 600", self.rotate(status=1))
        self.run_it(status=2)
        self.run_it("rotate", "--in", "-1", status=2)
        self.run_it("rotate", "--in", "soon", status=2)
        self.run_it("rotate", "more", status=2)
        self.assertIn("rotate", self.run_it("--help"))


if __name__ == "__main__":
    HANDFASTCTL = sys.argv.pop(1)
    unittest.main(verbosity=2)
