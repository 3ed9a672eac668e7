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

    def connect(self, *options, status=0, text=b""):
        maf_fixture.write_keys(self.path("km"), [SOURCE])
        done = subprocess.run(
            [maf_fixture.PROGRAMS["tool"], "connect", "--maf",
             f"{FQDN}=127.0.0.1:{self.maf.port}", "--maf-admin", "m2msp.example", *options],
            input=text, capture_output=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, status, done)
        return done

    def test_connect_does_all_of_it(self):
        self.maf = self.start_maf()
        front = self.start_front(self.maf.port)
        ask = b"GET / HTTP/1.0\r\n\r\n"
        km = ("--maf-psk-file", self.path("km"))
        tls = ("--tls", f"127.0.0.1:{front.tls}")
        with open(self.path("own"), "w", encoding="ascii") as file:
            file.write("5c" * 32 + "\n")
        for more in ((), ("--maf-key-file", self.path("own")), ("--maf-origin", SOURCE[2]),
                     ("--maf-identity", SOURCE[0], "--maf-days", "1", "--timeout", "10")):
            done = self.connect(*tls, *km, "--expect", TARGET[2], *more, text=ask)
            self.assertEqual(json.loads(done.stdout.split(b"\r\n\r\n", 1)[1])["entity_id"],
                             SOURCE[2])
            self.assertIn(b"@" + FQDN.encode() + b" for " + TARGET[2].encode(), done.stderr)
        done = self.connect("--dtls", f"127.0.0.1:{front.dtls_port}", *km, "--maf-target",
                            TARGET[2], "--probe", "--json", "--maf-save", self.path("kc"))
        self.assertEqual(json.loads(done.stdout)["transport"], "DTLS 1.2")
        with open(self.path("kc"), encoding="ascii") as file:
            identity, key = file.read().strip().split(":")
        self.assertEqual(front.whoami(identity, key=key, at="")["entity_id"], SOURCE[2])
        # The MAF refuses; the MAF does not know us; the server is not the key's target.
        self.connect(*tls, *km, "--maf-target", TARGET[2], "--maf-origin", TARGET[2], status=1)
        maf_fixture.write_keys(self.path("bad"), [(SOURCE[0], "ff" * 32, "")])
        self.connect(*tls, "--maf-psk-file", self.path("bad"), "--maf-target", TARGET[2], status=1)
        done = self.connect(*tls, *km, "--maf-target", maf_fixture.OTHER[2], status=1)
        self.assertIn(b"handfast: connect: ", done.stderr)
        for wrong in (km, (*km, "--maf-target", "/in-cse"), ("--maf-target", TARGET[2]),
                      (*km, "--maf-target", TARGET[2], "--psk-file", self.path("km")),
                      (*km, "--maf-target", TARGET[2], "--maf-days", "0")):
            self.connect(*tls, *wrong, status=2)

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

    def pki(self, *arguments):
        subprocess.run([maf_fixture.PROGRAMS["tool"], "pki", *arguments], cwd=self.directory.name,
                       check=True, capture_output=True, timeout=PATIENCE)

    def test_certificates_all_the_way(self):
        """Device, MAF and front end have no key in common with anybody."""
        self.pki("ca", "root", "--unconstrained")
        self.pki("fqdn", "maf", FQDN, "--issuer", "root")
        self.pki("fqdn", "other", "other.example.com", "--issuer", "root")
        self.pki("ae-id", "device", SOURCE[2], "--issuer", "root")
        self.pki("cse-id", "front", TARGET[2], "--issuer", "root")
        ca = self.path("root.pem")
        for name, is_right in (("maf", True), ("other", False)):
            maf = self.start_maf("--cert", self.path(f"{name}.pem"), "--key",
                                 self.path(f"{name}.key"), "--client-ca", ca)
            done = subprocess.run(
                [maf_fixture.PROGRAMS["tool"], "maf", "key-register", "--maf",
                 f"{FQDN}=127.0.0.1:{maf.port}", "--cert", self.path("device.pem"), "--key",
                 self.path("device.key"), "--ca", ca, "--admin", "m2msp.example", "--target",
                 TARGET[2], "--save", self.path("kc")], capture_output=True, text=True,
                timeout=PATIENCE, check=False)
            self.assertEqual(done.returncode == 0, is_right, done)
            self.maf = maf
            self.assertEqual(subprocess.run(
                [maf_fixture.PROGRAMS["tool"], "connect", "--maf", f"{FQDN}=127.0.0.1:{maf.port}",
                 "--maf-cert", self.path("device.pem"), "--maf-key", self.path("device.key"),
                 "--maf-ca", ca, "--maf-admin", "m2msp.example", "--maf-target", TARGET[2],
                 "--maf-save", self.path("kc2"), "--tls", "127.0.0.1:9", "--probe"],
                capture_output=True, timeout=PATIENCE, check=False).returncode, 1)
            self.assertEqual(os.path.exists(self.path("kc2")), is_right)
            if os.path.exists(self.path("kc2")):
                os.unlink(self.path("kc2"))
            if is_right:
                with open(self.path("kc"), encoding="ascii") as file:
                    identity, key = file.read().strip().split(":")
            with open(self.path("conf"), "w", encoding="ascii") as file:
                file.write(f'''
authority "a" {{ psk-file = "{self.path("local-keys")}" }}
listener "tls-0" {{ transport = tls address = "127.0.0.1:0" authority = "a" respond = whoami }}
listener "dtls-0" {{ transport = dtls address = "127.0.0.1:0" authority = "a" }}
metrics {{ address = "127.0.0.1:0" }}
maf "{FQDN}" {{
    address = {{"127.0.0.1:{maf.port}"}} origin = "{TARGET[2]}" ca = "{ca}"
    certificate = "{self.path("front.pem")}" private-key = "{self.path("front.key")}"
}}
''')
            front = self.start_front(0, config=self.path("conf"))
            told = front.whoami(identity, key=key, at="")
            self.assertEqual(told["entity_id"] if told else None,
                             SOURCE[2] if is_right else None)
            front.stop()
            maf.stop()

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
