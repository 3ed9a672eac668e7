#!/usr/bin/env python3
"""pki_lab_test.py HANDFAST PKI.SH - the lab's infrastructure is what docs/LAB-PKI.md says it is."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

HANDFAST = SCRIPT = None
DOC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/LAB-PKI.md")
# What a library of others cannot or must not accept.
BAD_FOR_OPENSSL = {"ae-expired": "expired", "ae-revoked": "revoked",
                   "device": "unsupported name constraint"}
BAD_FOR_GNUTLS = {"ae-expired", "ae-revoked", "device"}


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


class LabTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory()
        cls.lab = os.path.join(cls.place.name, "lab")
        done = run(SCRIPT, HANDFAST, cls.lab)
        assert done.returncode == 0, done.stderr
        # Once more would overwrite it.
        assert run(SCRIPT, HANDFAST, cls.lab).returncode != 0

    @classmethod
    def tearDownClass(cls):
        cls.place.cleanup()

    def path(self, name):
        return os.path.join(self.lab, name)

    def documented(self):
        """{prefix: identities} of the table."""
        with open(DOC, encoding="utf-8") as file:
            rows = [line.split("|")[1:5] for line in file if line.startswith("| `")]
        return {name: re.findall(r"`(.*?)`", identity)
                for names, _, identity, _ in rows for name in re.findall(r"`(.*?)`", names)}

    def test_what_is_documented_is_there(self):
        documented = self.documented()
        self.assertGreater(len(documented), 12)
        for name, identities in documented.items():
            suffix = ".pub" if name.startswith("raw-") else ".pem"
            done = run(HANDFAST, "pki", "show", self.path(name + suffix))
            self.assertEqual(done.returncode, 0, done.stderr)
            for identity in identities:
                self.assertIn(identity, done.stdout)
            self.assertNotIn("BAD", done.stdout)
            self.assertTrue(os.path.exists(self.path(name + ".key")))

    def test_openssl(self):
        for name in self.documented():
            if name.startswith("raw-"):
                continue
            done = run("openssl", "verify", "-x509_strict", "-crl_check_all", "-CRLfile",
                       self.path("all.crl"), "-CAfile", self.path("anchors.pem"), "-untrusted",
                       self.path(name + ".pem"), self.path(name + ".pem"))
            with self.subTest(name=name):
                if name in BAD_FOR_OPENSSL:
                    self.assertIn(BAD_FOR_OPENSSL[name], done.stderr)
                else:
                    self.assertEqual(done.returncode, 0, done.stderr)

    def test_gnutls(self):
        for name in self.documented():
            if name.startswith("raw-"):
                continue
            done = run("certtool", "--verify", "--verify-profile", "medium",
                       "--load-ca-certificate", self.path("anchors.pem"), "--load-crl",
                       self.path("all.crl"), "--infile", self.path(name + ".pem"))
            with self.subTest(name=name):
                self.assertEqual("output: Verified" in done.stdout, name not in BAD_FOR_GNUTLS,
                                 done.stdout)

    def test_names_of_raw_keys(self):
        with open(self.path("raw-ae.ni"), encoding="ascii") as file:
            self.assertRegex(file.read(), r"\Ani:///sha-256;[\w-]{43}\n\Z")


if __name__ == "__main__":
    SCRIPT = os.path.abspath(sys.argv.pop(2))
    HANDFAST = os.path.abspath(sys.argv.pop(1))
    unittest.main()
