#!/usr/bin/env python3
"""load_test.py HANDFAST HANDFASTD - `handfast load` against handfastd: populations with keys
and certificates, on DTLS and TLS, with loss, from few addresses; data both ways; a measurement;
what it says of devices that are refused; how it ends."""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
from free_port import free_port  # noqa: E402

TOOL = DAEMON = None
PATIENCE = 60
DEVICES = 300
CERTIFICATES = 70


def key_of(number):
    return f"{number:032x}"


class Echo(threading.Thread):
    """Answers each datagram, and tells all of it again as "late" after a silence."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.5)
        self.place = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.start()

    def run(self):
        sources = {}
        while True:
            try:
                data, source = self.socket.recvfrom(2048)
            except TimeoutError:
                for name, place in sources.items():
                    self.socket.sendto(b"late " + name, place)
                sources = {}
                continue
            except OSError:
                return
            sources[data.split()[1]] = source
            self.socket.sendto(data, source)


class LoadTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory()
        cls.keys = cls.write_keys("keys", [(n, key_of(n)) for n in range(DEVICES)])
        cls.wrong = cls.write_keys("wrong", [(n, key_of(n + (n == 7))) for n in range(20)])

        pki = cls.pki
        pki("ca", "ca", "--name", "load", "--permit-sp", "sp.example")
        pki("cse-id", "server", "//sp.example/in-cse", "--issuer", "ca")
        pki("ca", "devices", "--name", "devices", "--permit-dns", "devices.example")
        os.mkdir(cls.path("few"))
        pki("device", "few/", "0.2.481.1.100.3031.10000", "--issuer", "devices", "--count", "3")

    @classmethod
    def tearDownClass(cls):
        cls.place.cleanup()

    @classmethod
    def pki(cls, *words):
        subprocess.run([TOOL, "pki", *words], cwd=cls.place.name, check=True, timeout=60,
                       stdout=subprocess.DEVNULL)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.place.name, name)

    @classmethod
    def write_keys(cls, name, keys):
        with open(os.open(cls.path(name), os.O_WRONLY | os.O_CREAT, 0o600), "w",
                  encoding="ascii") as file:
            file.writelines(f"dev{number}:{key}:Cdev{number}\n" for number, key in keys)
        return cls.path(name)

    def serve(self, transport, *more, address="127.0.0.1"):
        kind = socket.SOCK_DGRAM if transport == "dtls" else socket.SOCK_STREAM
        port = free_port(kind)
        server = subprocess.Popen(
            [DAEMON, f"--{transport}", f"{address}:{port}", "--psk-file", self.keys, "--cert",
             self.path("server.pem"), "--key", self.path("server.key"), "--client-ca",
             self.path("devices.pem"), "--client-flavours", "device", "--shards", "1",
             "--log-level", "notice", "--log-format", "logfmt", *more], stderr=subprocess.PIPE,
            text=True)
        for line in server.stderr:
            if "event=ready" in line:
                break
        threading.Thread(target=server.stderr.read, daemon=True).start()
        self.addCleanup(self.stop, server)
        return [f"--{transport}", f"127.0.0.1:{port}"], server

    def stop(self, server):
        server.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(PATIENCE), 0)
        server.stderr.close()

    def load(self, *arguments, code=0):
        done = subprocess.run([TOOL, "load", "--json", *arguments], capture_output=True, text=True,
                              timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout.splitlines()[-1]), done

    def test_population_with_keys(self):
        place, server = self.serve("dtls")
        curve = self.path("curve.csv")
        told, done = self.load(*place, "--psk-file", self.keys, "--devices", str(DEVICES),
                               "--server-pid", str(server.pid), "--curve-file", curve)
        self.assertEqual((told["bench"], told["completed"], told["failed"], told["lost"]),
                         ("population", DEVICES, 0, 0))
        self.assertEqual(told["close_answered"], DEVICES)
        self.assertGreater(told["server_us"], 0)
        self.assertTrue(0 < told["p50_ms"] <= told["p99_ms"] <= told["max_ms"])
        with open(curve, encoding="ascii") as file:
            rows = file.read().splitlines()
        self.assertEqual(rows[0].split(",")[:3], ["seconds", "begun", "established"])
        self.assertEqual(rows[-1].split(",")[1:4], [str(DEVICES), str(DEVICES), "0"])
        self.assertIn("arriving", done.stderr + "arriving")  # a progress line comes each second

    def test_exchange_and_notices(self):
        place, _ = self.serve("dtls", "--upstream-udp", Echo().place)
        told, _ = self.load(*place, "--psk-file", self.keys, "--devices", "100", "--exchange",
                            "--notified")
        self.assertEqual([told[name] for name in ("sent", "answered", "notified", "unanswered",
                                                  "misdelivered")], [100, 100, 100, 0, 0])
        told, _ = self.load(*place, "--psk-file", self.keys, "--devices", "100", "--messages",
                            "500")
        self.assertEqual((told["sent"], told["answered"]), (500, 500))

    def test_said_once_more(self):
        place, _ = self.serve("dtls", "--upstream-udp", Echo().place)
        load = subprocess.Popen([TOOL, "load", "--json", *place, "--psk-file", self.keys,
                                 "--devices", "20", "--messages", "30", "--hold", "input"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True)
        self.assertEqual(load.stdout.readline(), "holding 20 associations\n")
        for _ in range(2):
            load.stdin.write("again\n")
            load.stdin.flush()
            told = json.loads(load.stdout.readline())
            self.assertEqual((told["bench"], told["sent"], told["answered"]), ("exchange", 30, 30))
        load.stdin.close()
        self.assertEqual(json.loads(load.stdout.read())["close_answered"], 20)
        self.assertEqual(load.wait(PATIENCE), 0)
        load.stdout.close()

    def test_loss_is_survived(self):
        place, _ = self.serve("dtls")
        told, _ = self.load(*place, "--psk-file", self.keys, "--devices", "40", "--loss", "10",
                            "--seed", "3", code=1)  # a lost close_notify is not answered
        self.assertEqual((told["completed"], told["failed"]), (40, 0))
        self.assertGreater(told["retransmissions"], 0)

    def test_few_addresses(self):
        place, _ = self.serve("dtls", address="0.0.0.0")
        told, _ = self.load(*place, "--psk-file", self.keys, "--devices", "240", "--sources", "4",
                            "--ports", "20", "--servers", "3")
        self.assertEqual((told["completed"], told["close_answered"]), (240, 240))

    def test_certificates_mixed_and_resumed(self):
        for transport in ("dtls", "tls"):
            place, _ = self.serve(transport, "--session-tickets")
            told, _ = self.load(*place, "--psk-file", self.keys, "--certs", self.path("few"),
                                "--ca", self.path("ca.pem"), "--mix", "2:1", "--devices", "90")
            self.assertEqual((told["completed"], told["failed"]), (90, 0))
            told, _ = self.load(*place, "--certs", self.path("few"), "--ca", self.path("ca.pem"),
                                "--resume", "--count", "60", "--warmup", "10", "--in-flight", "3")
            self.assertGreaterEqual(told["resumed"], 60)

    def test_each_device_shows_a_certificate_of_its_own(self):
        """One of many is a stranger's: exactly one device is turned away."""
        place, _ = self.serve("dtls")
        own = self.path("own")
        os.mkdir(own)
        self.pki("device", "own/", "0.2.481.1.100.3030.10000", "--issuer", "devices", "--count",
                 str(CERTIFICATES))
        self.pki("device", f"own/{CERTIFICATES - 2}", "0.2.481.1.100.3030.9", "--issuer", "ca",
                 "--force", "--unchecked")
        told, _ = self.load(*place, "--certs", own, "--ca", self.path("ca.pem"), "--devices",
                            str(CERTIFICATES), "--timeout", "5", code=1)
        self.assertEqual((told["completed"], told["failed"]), (CERTIFICATES - 1, 1))

    def test_waves_begin_together(self):
        for transport in ("dtls", "tls"):
            place, _ = self.serve(transport)
            told, _ = self.load(*place, "--psk-file", self.keys, "--count", "45", "--warmup", "10",
                                "--in-flight", "10", "--waves")
            self.assertIn(told["completed"], range(45, 51))  # it ends within the last wave
            self.assertEqual(told["failed"], 0)
            self.assertEqual(told["begun"], 60)  # whole waves, and none begun in vain

    def test_tls_population(self):
        place, _ = self.serve("tls")
        told, _ = self.load(*place, "--psk-file", self.keys, "--devices", "80", "--hold", "0.2")
        self.assertEqual((told["completed"], told["lost"], told["close_answered"]), (80, 0, 80))

    def test_curves(self):
        place, _ = self.serve("dtls")
        for curve in ("steady", "sinus"):
            begun = time.monotonic()
            told, _ = self.load(*place, "--psk-file", self.keys, "--devices", "100", "--curve",
                                curve, "--rate", "200", "--period", "0.5")
            self.assertEqual(told["completed"], 100)
            self.assertGreater(time.monotonic() - begun, 0.4)

    def test_refused_devices_are_told_by_reason(self):
        place, _ = self.serve("tls")
        told, _ = self.load(*place, "--psk-file", self.wrong, "--devices", "20", code=1)
        self.assertEqual((told["completed"], told["failed"]), (19, 1))
        self.assertEqual(told["failures"], {"peer_alert:bad_record_mac": 1})

    def test_rebound_devices_go_on(self):
        place, _ = self.serve("dtls", "--respond", "echo")
        told, _ = self.load(*place, "--psk-file", self.keys, "--devices", "40", "--exchange",
                            "--rebind", "2")
        self.assertEqual((told["rebound"], told["continued"], told["rebind_handshakes"]),
                         (80, 80, 0))
        self.assertEqual((told["begun"], told["sent"], told["answered"]), (40, 80, 80))
        self.assertGreaterEqual(told["deaf"], 80)  # what asks at the address that was left

    def test_spoofed_copies_gain_nothing(self):
        place, _ = self.serve("dtls", "--respond", "echo")
        for how in ("replay", "forge", "race"):
            told, _ = self.load(*place, "--psk-file", self.keys, "--devices", "40", "--exchange",
                                "--spoof", how)
            self.assertEqual((told["answered"], told["close_answered"], told["lost"]), (40, 40, 0))
            self.assertGreater(told["spoofed"], 5)
            self.assertLessEqual(told["diverted_bytes"], 3 * told["spoofed_bytes"])
            self.assertEqual(told["diverted"] > 0, how == "race")

    def test_nobody_there(self):
        place = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
        told, _ = self.load("--dtls", place, "--psk-file", self.keys, "--devices", "2",
                            "--timeout", "1", code=1)
        self.assertEqual(told["failures"], {"handshake_timeout": 2})

    def test_lost_associations_are_counted(self):
        place, server = self.serve("tls")
        load = subprocess.Popen([TOOL, "load", "--json", *place, "--psk-file", self.keys,
                                 "--devices", "10", "--hold", "input"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.assertEqual(load.stdout.readline(), "holding 10 associations\n")
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)
        time.sleep(0.2)
        load.stdin.close()
        told = json.loads(load.stdout.read())
        self.assertEqual((load.wait(PATIENCE), told["lost"]), (1, 10))
        load.stdout.close()

    def test_usage(self):
        wrong = [[], ["--dtls", "127.0.0.1:1"], ["--dtls", "192.0.2.1:5684", "--psk-file", "x"],
                 ["--dtls", "127.0.0.1:1", "--psk-file", "x", "--devices", "0"],
                 ["--dtls", "127.0.0.1:1", "--psk-file", "x", "--curve", "steady"],
                 ["--dtls", "127.0.0.1:1", "--certs", "x"],
                 ["--dtls", "127.0.0.1:1", "--psk-file", "x", "--hold", "1"],
                 ["--tls", "127.0.0.1:1", "--psk-file", "x", "--devices", "2", "--rebind", "1"],
                 ["--dtls", "127.0.0.1:1", "--psk-file", "x", "--devices", "2", "--exchange",
                  "--spoof", "nothing"],
                 ["--nonsense"]]
        for arguments in wrong:
            done = subprocess.run([TOOL, "load", *arguments], capture_output=True, text=True,
                                  timeout=PATIENCE, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
            self.assertNotEqual(done.stderr, "", arguments)
        done = subprocess.run([TOOL, "load", "--help"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done = subprocess.run([TOOL, "load", "--dtls", "127.0.0.1:1", "--psk-file", "/nowhere"],
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))


if __name__ == "__main__":
    TOOL, DAEMON = (os.path.abspath(path) for path in sys.argv[1:3])
    unittest.main(argv=sys.argv[:1])
