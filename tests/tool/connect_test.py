#!/usr/bin/env python3
"""connect_test.py HANDFAST HANDFASTD PKI.SH - `handfast connect` against our server (other people's
are in tests/interop): pre-shared keys, certificates and raw public keys, over TLS and DTLS; whom it
refuses, what it reports, how it ends. Every server is its own process on a loopback port."""
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import parallel  # noqa: E402
from free_port import free_port  # noqa: E402

TOOL = DAEMON = SCRIPT = None
PATIENCE = 20
KEY = "000102030405060708090a0b0c0d0e0f"


class ConnectTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory()
        cls.lab = os.path.join(cls.place.name, "lab")
        subprocess.run([SCRIPT, TOOL, cls.lab], check=True, timeout=60)
        cls.keys = cls.write("keys", f"dev:{KEY}:/in-cse/Cdev\n")
        with open(cls.path("raw-ae.ni"), encoding="ascii") as file:
            cls.pins = cls.write("pins", file.read().strip() + " //m2msp.example/S42\n")

    @classmethod
    def tearDownClass(cls):
        cls.place.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.lab, name)

    @classmethod
    def write(cls, name, text):
        path = os.path.join(cls.place.name, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(text)
        return path

    def setUp(self):
        self.servers = []

    def tearDown(self):
        for server in self.servers:
            server.kill()
            server.communicate()
            server.log.close()

    def serve(self, port, transport, *command):
        """Starts a server and waits until its port is taken."""
        log = tempfile.TemporaryFile()  # pylint: disable=consider-using-with
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log,
                                  stderr=subprocess.STDOUT)
        server.log = log
        self.servers.append(server)
        until = time.monotonic() + PATIENCE
        kind = "t" if transport == "tls" else "u"
        while time.monotonic() < until:
            seen = subprocess.run(["ss", f"-Hln{kind}", f"sport = :{port}"], capture_output=True,
                                  text=True, check=True)
            if f":{port} " in seen.stdout:
                return server
            time.sleep(0.02)
        log.seek(0)
        self.fail(f"{command[0]} does not listen: {log.read()}")

    def connect(self, transport, port, *options, data=b"hello there\n"):
        """(exit code, standard output, standard error)"""
        done = subprocess.run([TOOL, "connect", f"--{transport}", f"127.0.0.1:{port}", "--timeout",
                               "10", *(["--linger", "0.5"] if transport == "dtls" else []),
                               *options], input=data, capture_output=True, timeout=PATIENCE,
                              check=False)
        return done.returncode, done.stdout, done.stderr.decode()

    def check(self, transport, port, *options, data=b"hello there\n", answer=b"hello there\n",
              report=r"established"):
        code, out, err = self.connect(transport, port, *options, data=data)
        self.assertEqual(code, 0, err)
        self.assertIn(answer, out, err)
        self.assertRegex(err, report)
        return err

    def certificate(self, name="mn-cse"):
        return ["--cert", self.path(f"{name}.pem"), "--key", self.path(f"{name}.key"), "--ca",
                self.path("root.pem")]

    # -- our own server --

    def daemon(self, *options, name="in-cse"):
        """{"tls": port, "dtls": port}"""
        ports = {"tls": free_port(socket.SOCK_STREAM), "dtls": free_port(socket.SOCK_DGRAM)}
        self.serve(ports["dtls"], "dtls", DAEMON, "--tls", f"127.0.0.1:{ports['tls']}", "--dtls",
                   f"127.0.0.1:{ports['dtls']}", "--cert", self.path(f"{name}.pem"), "--key",
                   self.path(f"{name}.key"), "--respond", "echo", "--shards", "1", *options)
        return ports

    def test_handfastd(self):
        ports = self.daemon("--psk-file", self.keys, "--client-ca", self.path("root.pem"),
                            "--rpk-key", self.path("raw-in-cse.key"), "--client-rpk", self.pins)
        for transport, port in ports.items():
            self.check(transport, port, "--psk-file", self.keys)
            self.check(transport, port, *self.certificate(), report="peer +//m2msp.example/in-cse")
            self.check(transport, port, "--rpk-key", self.path("raw-ae.key"), "--server-rpk",
                       self.path("raw-in-cse.pub"))
            # Mixed: our raw key, the server's certificate.
            code, out, err = self.connect(transport, port, "--rpk-key", self.path("raw-ae.key"),
                                          "--ca", self.path("root.pem"))
            self.assertEqual((code, out), (0, b"hello there\n"), err)
            self.check(transport, port, *self.certificate(), "--max-fragment", "512", "--suites",
                       "0xC0AC", "--require-ems", report="ECDSA_WITH_AES_128_CCM,")

    def test_two_domains_both_ways(self):
        """Two IN-CSEs of two providers over Mcc': each is Entity A once, and Entity B once."""
        ends = {"in-cse": "root", "other-in-cse": "other-root"}
        names = {"in-cse": "//m2msp.example/in-cse", "other-in-cse": "//other.example/in-cse"}
        ports = {}
        for end in ends:
            other = next(name for name in ends if name != end)
            ports[end] = self.daemon("--client-ca", self.path(f"{ends[other]}.pem"),
                                     "--client-flavours", "cse-id", "--reference-point", "mcc'",
                                     name=end)
        for caller, called in (("in-cse", "other-in-cse"), ("other-in-cse", "in-cse")):
            for transport in ("tls", "dtls"):
                self.check(transport, ports[called][transport], "--cert",
                           self.path(f"{caller}.pem"), "--key", self.path(f"{caller}.key"), "--ca",
                           self.path(f"{ends[called]}.pem"), "--expect", names[called],
                           "--reference-point", "mcc'", report=f"peer +{names[called]}\n")
        # An AE has no business on Mcc'.
        code, _, err = self.connect("tls", ports["other-in-cse"]["tls"], "--cert",
                                    self.path("ae.pem"), "--key", self.path("ae.key"), "--ca",
                                    self.path("other-root.pem"))
        self.assertEqual(code, 1, err)

    # -- whom it refuses, what it says --

    def test_the_wrong_server(self):
        ports = self.daemon("--psk-file", self.keys, "--client-ca", self.path("root.pem"))
        for transport, port in ports.items():
            for options, reason in (
                    ([*self.certificate(), "--expect", "//m2msp.example/mn-cse"], "peer_name"),
                    (["--cert", self.path("mn-cse.pem"), "--key", self.path("mn-cse.key"), "--ca",
                      self.path("other-root.pem")], "unknown_ca"),
                    ([*self.certificate("ae-expired")], "peer_alert"),
                    (["--rpk-key", self.path("raw-ae.key"), "--ca", self.path("root.pem")],
                     "peer_alert"),
                    (["--psk-file", self.keys, "--identity", "nobody"], "no_credential")):
                with self.subTest(transport=transport, reason=reason):
                    code, out, err = self.connect(transport, port, *options, "--json", "--timeout",
                                                  "2")
                    self.assertEqual((code, out), (1, b""), err)
                    report = json.loads(err.splitlines()[0])
                    self.assertFalse(report["established"])
                    self.assertEqual(report["reason"], reason, err)

    def test_a_wrong_key(self):
        ports = self.daemon("--psk-file", self.keys, "--client-ca", self.path("root.pem"))
        keys = self.write("wrong-keys", f"dev:{'ff' * 16}\n")
        code, _, err = self.connect("tls", ports["tls"], "--psk-file", keys)
        self.assertEqual(code, 1)
        self.assertIn("bad_record_mac", err)
        begun = time.monotonic()
        code, _, err = self.connect("dtls", ports["dtls"], "--psk-file", keys, "--timeout", "2")
        self.assertEqual(code, 1)
        self.assertIn("did not end in time", err)
        self.assertLess(time.monotonic() - begun, 10)

    def test_json_and_probe(self):
        ports = self.daemon("--psk-file", self.keys, "--client-ca", self.path("root.pem"))
        for transport, port in ports.items():
            code, out, err = self.connect(transport, port, *self.certificate(), "--probe",
                                          "--json", "--sni", "In-CSE.m2msp.example")
            self.assertEqual((code, err), (0, ""))
            report = json.loads(out)
            self.assertTrue(report["established"] and report["extended_master_secret"])
            self.assertEqual(report["entity_id"], "//m2msp.example/in-cse")
            self.assertEqual(report["entity_kind"], "cse")
            self.assertEqual(report["server_name"], "in-cse.m2msp.example")
            self.assertEqual(report["framework"], "certificate")
            self.assertEqual(report["peer"], f"127.0.0.1:{port}")
            self.assertGreater(report["handshake_ms"], 0)

    def test_a_long_stream_comes_back_whole(self):
        ports = self.daemon("--psk-file", self.keys, "--client-ca", self.path("root.pem"))
        data = os.urandom(3 << 20)
        code, out, err = self.connect("tls", ports["tls"], "--psk-file", self.keys, data=data)
        self.assertEqual(code, 0, err)
        self.assertTrue(out == data, f"{len(out)} of {len(data)} bytes, or others")

    def test_nobody_there(self):
        port = free_port(socket.SOCK_STREAM)
        code, _, err = self.connect("tls", port, "--psk-file", self.keys)
        self.assertEqual(code, 1)
        self.assertIn(f"127.0.0.1:{port}: Connection refused", err)
        code, _, err = self.connect("dtls", port, "--psk-file", self.keys, "--timeout", "2")
        self.assertEqual(code, 1, err)

    def test_keylog(self):
        ports = self.daemon("--psk-file", self.keys, "--client-ca", self.path("root.pem"))
        log = os.path.join(self.place.name, "keylog")
        self.check("tls", ports["tls"], "--psk-file", self.keys, "--keylog", log)
        with open(log, encoding="ascii") as file:
            self.assertRegex(file.read(), r"\ACLIENT_RANDOM [0-9a-f]{64} [0-9a-f]{96}\n\Z")
        self.assertEqual(os.stat(log).st_mode & 0o777, 0o600)

    def test_wrong_usage(self):
        for options in ([], ["--tls", "127.0.0.1:1"], ["--tls", "nonsense"],
                        ["--tls", "127.0.0.1:1", "--psk-file", self.keys, "behind"],
                        ["--tls", "127.0.0.1:1", "--cert", "x"],
                        ["--tls", "127.0.0.1:1", "--psk-file", self.keys, "--suites", "RC4"],
                        ["--tls", "127.0.0.1:1", "--psk-file", self.keys, "--timeout", "soon"],
                        ["--tls", "127.0.0.1:1", "--cert", "x", "--key", "y"],
                        ["--nonsense"]):
            done = subprocess.run([TOOL, "connect", *options], capture_output=True, text=True,
                                  timeout=PATIENCE, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""), options)
            self.assertTrue(done.stderr)
        done = subprocess.run([TOOL, "connect", "--help"], capture_output=True, text=True,
                              timeout=PATIENCE, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                               "../../docs/handfast-connect.1.md"), encoding="utf-8") as file:
            page = file.read()
        for option in re.findall(r"--[a-z-]+", done.stdout):
            self.assertIn(f"**{option}**", page)


if __name__ == "__main__":
    SCRIPT = os.path.abspath(sys.argv.pop(3))
    DAEMON = os.path.abspath(sys.argv.pop(2))
    TOOL = os.path.abspath(sys.argv.pop(1))
    parallel.main()
