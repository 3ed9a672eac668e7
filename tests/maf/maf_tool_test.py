#!/usr/bin/env python3
"""maf_tool_test.py HANDFAST-MAF HANDFASTD HANDFASTCTL HANDFAST - Entity A's side by the tool: the
procedures of TS-0003 8.8.2, and the whole way from the MAF to an association with Kc."""
import json
import os
import subprocess

import maf_fixture
from maf_fixture import PATIENCE, SOURCE, TARGET
from maf_front_test import FQDN, FrontTest


class ToolTest(FrontTest):
    def maf_tool(self, verb, *options, who=SOURCE, status=0, maf=None):
        keys = self.path(f"km-{who[0]}")
        maf_fixture.write_keys(keys, [who])
        done = subprocess.run(
            [maf_fixture.PROGRAMS["tool"], "maf", verb, "--maf",
             f"{FQDN}=127.0.0.1:{(maf or self.maf).port}", "--psk-file", keys, *options],
            capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, status, done)
        return dict(line.split(None, 1) for line in done.stdout.splitlines() if " " in line)

    def test_the_whole_way(self):
        self.maf = self.start_maf()
        front = self.start_front(self.maf.port)
        for supplied in ((), ("--key-file", self.path("own"))):
            with open(self.path("own"), "w", encoding="ascii") as file:
                file.write("5c" * 32 + "\n")
            told = self.maf_tool("key-register", "--admin", "m2msp.example", "--target", TARGET[2],
                                 "--origin", SOURCE[2], "--days", "1", "--label", "x",
                                 "--save", self.path("kc"), *supplied)
            self.assertEqual(told["client"], SOURCE[2])
            self.assertEqual(os.stat(self.path("kc")).st_mode & 0o777, 0o600)
            with open(self.path("kc"), encoding="ascii") as file:
                identity, key = file.read().strip().split(":")
            self.assertEqual(identity, told["identity"])
            self.assertEqual(key == "5c" * 32, bool(supplied))
            self.assertEqual(front.whoami(identity, key=key, at="")["entity_id"], SOURCE[2])
            for transport, port in (("--tls", front.tls), ("--dtls", front.dtls_port)):
                done = subprocess.run(
                    [maf_fixture.PROGRAMS["tool"], "connect", transport, f"127.0.0.1:{port}",
                     "--psk-file", self.path("kc"), "--probe", "--json"], capture_output=True,
                    timeout=PATIENCE, check=False)
                self.assertEqual(done.returncode, 0, done)
                json.loads(done.stdout)
            got = self.maf_tool("key-retrieve", told["registration"], "--save", self.path("got"),
                                who=TARGET)
            self.assertEqual(got["client"], SOURCE[2])
            with open(self.path("got"), encoding="ascii") as file:
                self.assertEqual(file.read().strip(), f"{identity}:{key}:{SOURCE[2]}")

    def test_registrations(self):
        self.maf = self.start_maf()
        made = self.maf_tool("register", "--admin", "m2msp.example", "--label", "x")
        name = made["registration"]
        self.assertEqual(self.maf_tool("show", name)["label"].strip(), "x")
        self.assertEqual(self.maf_tool("update", name, "--label", "y")["label"].strip(), "y")
        self.maf_tool("config", name, status=1)
        self.maf_tool("show", name, who=TARGET, status=1)
        self.maf_tool("deregister", name)
        self.maf_tool("show", name, status=1)
        key = self.maf_tool("key-register", "--admin", "m2msp.example", "--target", TARGET[2],
                            "--save", self.path("kc"))["registration"]
        self.maf_tool("key-update", key, "--days", "1")
        self.maf_tool("key-retrieve", key, status=1)
        self.maf_tool("key-retrieve", key, who=TARGET)
        self.maf_tool("key-deregister", key)
        self.maf_tool("key-retrieve", key, who=TARGET, status=1)

    def test_what_is_refused(self):
        self.maf = self.start_maf()
        self.maf_tool("register", "--admin", "m2msp.example", "--origin", TARGET[2], status=1)
        self.maf_tool("register", status=1)
        self.maf_tool("register", "--admin", "x", status=2)
        self.maf_tool("key-register", "--target", "/in-cse", status=2)
        self.maf_tool("show", status=2)
        self.maf_tool("show", "a/b", status=2)
        self.maf_tool("nonsense", status=2)
        self.maf_tool("show", "x", who=(SOURCE[0], "ff" * 32, ""), status=1)
        self.maf.stop()
        self.maf_tool("show", "x", status=1)


# The tests of the base class are run where they belong.
for inherited in [name for name in dir(FrontTest) if name.startswith("test_")]:
    setattr(ToolTest, inherited, None)
del FrontTest

if __name__ == "__main__":
    maf_fixture.main(__doc__, "maf", "front", "ctl", "tool")
