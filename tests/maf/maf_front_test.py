#!/usr/bin/env python3
"""maf_front_test.py HANDFAST-MAF HANDFASTD HANDFASTCTL - handfastd with a real MAF behind it, and
in between a proxy that delays, drips, cuts and refuses; or a MAF made here that lies. The devices
are openssl s_client."""
import base64
import json
import os
import queue
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import maf_fixture
from maf_fixture import KEY, PATIENCE, SOURCE, TARGET, MafFixture

LOCAL = ("dev", "00" * 15 + "01")
KC = bytes(range(32))
FQDN = "maf.example.com"


class Proxy:
    """TCP, from a port of its own to another; `mode` says what it does to what the MAF sends:
    pass, delay (seconds), cut (after so many bytes), drip, or refuse connections."""

    def __init__(self, port):
        self.target = port
        self.mode = ("pass",)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        self.pairs = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                if self.mode[0] == "refuse":
                    raise OSError
                server = socket.create_connection(("127.0.0.1", self.target), 5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            self.pairs.append((client, server))
            for pair in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _send_late(self, late, sink):
        """Each piece when it is due: what comes behind it does not wait for it again."""
        while (item := late.get()) is not None:
            due, data = item
            time.sleep(max(0, due - time.monotonic()))
            try:
                sink.sendall(data)
            except OSError:
                pass

    def _carry(self, source, sink, is_answer):
        late = queue.Queue()
        threading.Thread(target=self._send_late, args=(late, sink), daemon=True).start()
        try:
            while data := source.recv(65536):
                mode = self.mode if is_answer else ("pass",)
                if mode[0] == "delay":
                    late.put((time.monotonic() + mode[1], data))
                    continue
                if mode[0] == "cut":
                    sink.sendall(data[:mode[1]])
                    break
                if mode[0] == "drip":
                    for byte in data:
                        sink.sendall(bytes([byte]))
                        time.sleep(mode[1])
                else:
                    sink.sendall(data)
        except OSError:
            pass
        late.put(None)
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        """Ends every connection there is."""
        for pair in self.pairs:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs = []

    def close(self):
        self.listener.close()
        self.cut()


class Liar:
    """A MAF that answers what it is told to, by openssl s_server: TLS is real, the rest is not."""

    def __init__(self, answer):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            ["openssl", "s_server", "-quiet", "-tls1_2", "-nocert", "-accept",
             f"127.0.0.1:{self.port}", "-psk_identity", TARGET[0], "-psk", TARGET[1], "-cipher",
             "PSK-AES128-CBC-SHA256:@SECLEVEL=0"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.answer = answer
        threading.Thread(target=self._serve, daemon=True).start()
        time.sleep(0.3)

    def _serve(self):
        for line in self.process.stdout:
            found = re.match(rb"GET /(\S+) HTTP", line)
            if found:
                reply = self.answer(found.group(1).decode())
                self.process.stdin.write(reply)
                self.process.stdin.flush()

    def close(self):
        self.process.kill()
        self.process.wait()


def answer_of(name, **changes):
    """What a MAF would say, but for `changes`."""
    fields = {"resourceID": name, "expirationTime": "20361231T235959", "sourceID": SOURCE[2],
              "adminFQDN": "m2msp.example", "SUID": 32, "keyValue": KC.hex(), **changes}
    return http(json.dumps({KEY: fields}).encode())


def http(body, rsc=2000):
    return (f"HTTP/1.1 200 OK\r\nX-M2M-RSC: {rsc}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


class FrontTest(MafFixture):
    def start_front(self, port, *options, second=None, config=None):
        """A handfastd that believes in a MAF at `port`, or in what its configuration says."""
        maf_fixture.write_keys(self.path("front-keys"), [TARGET])
        maf_fixture.write_keys(self.path("local-keys"), [(*LOCAL, "/in-cse/Clocal")])
        if config is not None:
            front = Front(self, ["--config", config, "--shards", "2"])
            self.addCleanup(front.stop)
            return front
        addresses = [port] if second is None else [port, second]
        mafs = [text for p in addresses for text in ("--maf", f"{FQDN}=127.0.0.1:{p}")]
        front = Front(self, [*mafs, *options])
        self.addCleanup(front.stop)
        return front

    def start_pair(self, *options):
        """A MAF, a proxy, a front end; the name of a key registered for it."""
        maf = self.start_maf()
        proxy = Proxy(maf.port)
        self.addCleanup(proxy.close)
        return maf, proxy, self.start_front(proxy.port, *options), self.register(maf)

    def register(self, maf, **fields):
        made = self.check(self.client(maf).register_key(
            keyValue=base64.b64encode(KC).decode(), **fields), 2001)
        return made[KEY]["resourceID"]

    # ---- the way it should be

    def test_association_with_kc(self):
        _, proxy, front, name = self.start_pair()
        self.assertEqual(front.whoami(name)["entity_id"], SOURCE[2])
        self.assertEqual(front.whoami(name)["framework"], "maf")
        self.assertEqual(front.whoami(name.upper())["entity_id"], SOURCE[2])
        self.assertTrue(front.dtls(name))
        self.assertEqual(proxy.connections, 1)
        front.wait_for_metric(f'handfast_maf_requests_total{{maf="{FQDN}"}}', 1)
        front.wait_for_metric("handfast_maf_cache_hits_total", 3)
        front.wait_for_metric("handfast_maf_lookup_seconds_count", 1)

    def test_unknown_fqdn_sends_nothing(self):
        _, proxy, front, name = self.start_pair()
        for identity in (f"{name}@other.example.com", f"{name}@", name, f"{name}@{FQDN}@x.y",
                         f"{name}@x.{FQDN}", f"{name}/x@{FQDN}"):
            self.assertIsNone(front.whoami(identity, at=""))
        time.sleep(0.3)
        self.assertEqual(proxy.connections, 0)
        self.assertEqual(front.metric("handfast_maf_questions_total"), 0)
        self.assertEqual(front.whoami(*LOCAL[:1], key=LOCAL[1], at="")["entity_id"],
                         "/in-cse/Clocal")

    def test_what_the_maf_refuses(self):
        maf, _, front, _ = self.start_pair()
        self.assertIsNone(front.whoami("0" * 32))
        front.wait_for("reason=key_unknown")
        other = self.register(maf, targetIDs=[maf_fixture.OTHER[2]])
        self.assertIsNone(front.whoami(other))
        front.wait_for_metric('outcome="not_found"', 1, "handfast_maf_lookups_total")
        front.wait_for_metric('outcome="not_authorized"', 1, "handfast_maf_lookups_total")
        wrong = self.register(maf)
        self.assertIsNone(front.whoami(wrong, key="00" * 32))
        front.wait_for("reason=key_mismatch")

    def test_revocation(self):
        maf, _, front, name = self.start_pair()
        client = front.stay(name)
        self.assertTrue(client.ask())
        self.assertIn("ended", front.control("revoke", f"{name}@{FQDN}"))
        self.assertFalse(client.ask())
        self.assertIsNone(front.whoami(name))
        never = self.register(maf)
        self.assertIn("no key", front.control("revoke", f"{never}@{FQDN}"))
        self.assertIsNone(front.whoami(never))
        self.assertEqual(front.control("revoke", "dev", status=1), "")

    def test_many_with_one_identity_ask_once(self):
        _, proxy, front, name = self.start_pair()
        front.whoami("0" * 32)  # the connection stands
        proxy.mode = ("delay", 1)
        told = []
        devices = [threading.Thread(target=lambda: told.append(front.whoami(name)))
                   for _ in range(20)]
        for device in devices:
            device.start()
        for device in devices:
            device.join()
        self.assertEqual({one and one["entity_id"] for one in told}, {SOURCE[2]})
        front.wait_for_metric(f'handfast_maf_requests_total{{maf="{FQDN}"}}', 2)
        proxy.mode = ("refuse",)  # every later association of the pair asks nobody
        proxy.cut()
        self.assertIsNotNone(front.whoami(name))
        self.assertTrue(front.dtls(name))
        self.assertEqual(front.metric(f'handfast_maf_requests_total{{maf="{FQDN}"}}'), 2)

    def test_expiry(self):
        maf, _, front, _ = self.start_pair()
        end = int(time.time()) + 4
        stamp = lambda seconds: time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        ends, goes_on = (self.register(maf, expirationTime=stamp(end)) for _ in range(2))
        stayers = [front.stay(name) for name in (ends, goes_on)]
        self.assertTrue(all(stayer.ask() for stayer in stayers))
        self.check(self.client(maf).ask("PUT", f"/{goes_on}", KEY,
                                        {"expirationTime": stamp(end + 3600)}), 2004)
        time.sleep(max(0, end + 0.2 - time.time()))
        # What was made with the key ends with it; a new handshake with it fails, or, if the MAF
        # has prolonged it, succeeds: that is how a device has its keys renewed.
        self.assertFalse(any(stayer.ask() for stayer in stayers))
        self.assertIsNone(front.whoami(ends))
        front.wait_for("reason=key_")
        self.assertEqual(front.whoami(goes_on)["entity_id"], SOURCE[2])
        self.assertTrue(front.dtls(goes_on))

    # ---- what can go wrong on the way

    def test_delay(self):
        _, proxy, front, name = self.start_pair()
        front.whoami("0" * 32)  # the connection stands
        for seconds in (0.5, 1.5):
            proxy.mode = ("delay", seconds)
            begun = time.monotonic()
            self.assertTrue(front.dtls(name))
            self.assertGreater(time.monotonic() - begun, seconds)
            name = self.register(self.maf_of(proxy))

    def maf_of(self, proxy):
        class Port:
            port = proxy.target
        return Port

    def test_cut_in_the_middle_of_an_answer(self):
        maf, proxy, front, name = self.start_pair()
        front.whoami("0" * 32)
        proxy.mode = ("cut", 40)
        self.assertIsNone(front.whoami(name))  # sent twice, cut twice
        front.wait_for("reason=source_unavailable")
        self.assertEqual(front.whoami(LOCAL[0], key=LOCAL[1], at="")["entity_id"],
                         "/in-cse/Clocal")
        proxy.mode = ("pass",)
        self.eventually(front, name)

    def eventually(self, front, name):
        until = time.monotonic() + PATIENCE
        while front.whoami(name) is None:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.2)

    def test_slow_drip_is_within_the_deadline(self):
        _, proxy, front, name = self.start_pair("--handshake-timeout", "4s")
        front.whoami("0" * 32)
        proxy.mode = ("drip", 0.002)
        self.assertEqual(front.whoami(name)["entity_id"], SOURCE[2])
        proxy.mode = ("drip", 5)
        begun = time.monotonic()
        self.assertIsNone(front.whoami(self.register(self.maf_of(proxy))))
        self.assertLess(time.monotonic() - begun, 8)
        front.wait_for_metric("handfast_handshakes_parked", 0)

    def test_maf_restarts_and_is_gone(self):
        maf, proxy, front, name = self.start_pair()
        other = self.register(maf)
        self.assertIsNotNone(front.whoami(name))
        proxy.mode = ("refuse",)
        proxy.cut()
        maf.stop(signal.SIGKILL)
        self.assertIsNotNone(front.whoami(name))  # kept
        self.assertIsNone(front.whoami(other))
        front.wait_for("event=maf_down")
        begun = time.monotonic()
        self.assertIsNone(front.whoami(other))  # at once
        self.assertLess(time.monotonic() - begun, 2)
        self.assertIsNotNone(front.whoami(LOCAL[0], key=LOCAL[1], at=""))
        maf = self.start_maf()
        proxy.target = maf.port
        proxy.mode = ("pass",)
        front.wait_for("event=maf_up")  # by itself
        self.assertIsNotNone(front.whoami(other))

    def test_first_address_is_dead(self):
        maf = self.start_maf()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            dead = probe.getsockname()[1]
        front = self.start_front(dead, second=maf.port)
        self.assertIsNotNone(front.whoami(self.register(maf)))
        front.wait_for_metric("handfast_maf_address", 1)

    def test_front_starts_while_the_maf_is_down(self):
        maf, proxy, front, name = self.start_pair()
        front.stop()
        proxy.mode = ("refuse",)
        front = self.start_front(proxy.port)
        self.assertIsNone(front.whoami(name))
        self.assertIsNotNone(front.whoami(LOCAL[0], key=LOCAL[1], at=""))
        proxy.mode = ("pass",)
        self.eventually(front, name)

    def test_wrong_key_of_the_maf(self):
        maf = self.start_maf(keys=(SOURCE, (TARGET[0], "ff" * 32, TARGET[2])))
        front = self.start_front(maf.port)
        self.assertIsNone(front.whoami("0" * 32))
        front.wait_for("reason=source_unavailable")
        front.wait_for_metric('cause="authentication"', 3, "handfast_maf_connection_failures")

    # ---- a MAF that lies

    def test_lies(self):
        lies = {
            "suid": lambda name: answer_of(name, SUID=22),
            "expired": lambda name: answer_of(name, expirationTime="20200101T000000"),
            "key_length": lambda name: answer_of(name, keyValue="00" * 16),
            "source_id": lambda name: answer_of(name, sourceID="nobody"),
            "resource_id": lambda name: answer_of("1" * 32),
            "server_error": lambda name: http(b"", 5000),
            "not_found": lambda name: http(b"", 4004),
            "not_authorized": lambda name: http(b"", 4103),
            "malformed": lambda name: http(b"{"),
            "too_long": lambda name: http(b" " * 20000),
        }
        reasons = {"suid": "key_unknown", "expired": "key_expired", "key_length": "key_unknown",
                   "source_id": "key_unknown", "resource_id": "key_unknown",
                   "not_found": "key_unknown", "not_authorized": "key_unknown"}
        told = []
        liar = Liar(lambda name: lies[told[-1]](name))
        self.addCleanup(liar.close)
        front = self.start_front(liar.port)
        for number, outcome in enumerate(lies):
            with self.subTest(outcome=outcome):
                told.append(outcome)
                self.assertIsNone(front.whoami(f"{number:032x}"))
                front.wait_for_metric(f'outcome="{outcome}"', 1, "handfast_maf_lookups_total")
                front.wait_for(f"reason={reasons.get(outcome, 'source_unavailable')} "
                               f"listener=tls-0")
                self.assertIsNotNone(front.whoami(LOCAL[0], key=LOCAL[1], at=""))
        front.wait_for_metric("handfast_handshakes_parked", 0)

    def test_configurations_that_are_refused(self):
        maf_fixture.write_keys(self.path("front-keys"), [TARGET])
        maf_fixture.write_keys(self.path("local-keys"), [(*LOCAL, "")])
        for options in (["--maf", "x"], ["--maf", f"{FQDN}=1"], ["--maf", "x=127.0.0.1:1"],
                        ["--maf", f"{FQDN}=127.0.0.1:0"], ["--maf-identity", "nobody@x.y"],
                        ["--maf-psk-file", "/none"], ["--maf-origin", "in cse"]):
            defaults = ["--maf", f"{FQDN}=127.0.0.1:1", "--maf-identity", TARGET[0],
                        "--maf-psk-file", self.path("front-keys")]
            done = subprocess.run(
                [maf_fixture.PROGRAMS["front"], "--tls", "127.0.0.1:0", "--psk-file",
                 self.path("local-keys"), *defaults, *options], capture_output=True,
                timeout=PATIENCE, check=False)
            self.assertEqual(done.returncode, 2, (options, done))


class Stayer:
    """A device that stays connected."""

    def __init__(self, front, identity, key):
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-tls1_2", "-connect", f"127.0.0.1:{front.tls}",
             "-psk_identity", identity, "-psk", key],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def ask(self):
        """Whether it is still served."""
        try:
            self.process.stdin.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        while line := self.process.stdout.readline():
            if b"credential_id" in line:
                return True
        return False

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass


class Front:
    """A handfastd, its log and its devices."""

    def __init__(self, test, options):
        self.test = test
        self.socket = test.path("front.sock")
        if options[0] != "--config":
            options = ["--tls", "127.0.0.1:0", "--dtls", "127.0.0.1:0", "--metrics",
                       "127.0.0.1:0", "--control", self.socket, "--shards", "2", "--psk-file",
                       test.path("local-keys"), "--maf-identity", TARGET[0], "--maf-psk-file",
                       test.path("front-keys"), "--maf-origin", TARGET[2], *options]
        self.process = subprocess.Popen([maf_fixture.PROGRAMS["front"], *options],
                                        stderr=subprocess.PIPE, text=True,
                                        env=self.environment(options))
        self.lines = []
        self.is_killed = False
        self.arrival = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.wait_for("event=ready")
        self.tls, self.dtls_port, self.metrics = (
            int(re.search(r"address=\S+:(\d+)", self.wait_for(f"transport={kind} ")).group(1))
            for kind in ("tls", "dtls", "metrics"))

    @staticmethod
    def environment(options):
        """The leak check of a sanitized build traces its process, which seccomp forbids."""
        is_filtered = "--seccomp" in options
        if options[0] == "--config":
            with open(options[1], encoding="utf-8") as file:
                is_filtered = "seccomp = yes" in file.read()
        extra = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
        return {**os.environ, **(extra if is_filtered else {})}

    _read = maf_fixture.Maf._read
    wait_for = maf_fixture.Maf.wait_for

    def stop(self):
        if self.is_killed:
            return
        if self.process.poll() is None:
            self.process.terminate()
        self.test.assertEqual(self.process.wait(PATIENCE), 0, self.lines)
        self.reader.join(PATIENCE)
        self.process.stderr.close()

    def kill(self):
        """As a power cut does to it."""
        self.is_killed = True
        self.process.kill()
        self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        self.process.stderr.close()

    def whoami(self, name, key=KC.hex(), at="@" + FQDN):
        """What it says of the device; None: no association."""
        done = subprocess.run(
            ["openssl", "s_client", "-quiet", "-tls1_2", "-connect", f"127.0.0.1:{self.tls}",
             "-psk_identity", name + at, "-psk", key], input=b"GET / HTTP/1.0\r\n\r\n",
            capture_output=True, timeout=PATIENCE + 20, check=False)
        _, _, body = done.stdout.partition(b"\r\n\r\n")
        return json.loads(body) if body else None

    def dtls(self, name, key=KC.hex()):
        """Whether a DTLS handshake completes."""
        done = subprocess.run(
            ["openssl", "s_client", "-brief", "-dtls1_2", "-connect",
             f"127.0.0.1:{self.dtls_port}", "-cipher", "PSK-AES128-CCM8:@SECLEVEL=0",
             "-psk_identity", f"{name}@{FQDN}", "-psk", key], input=b"", capture_output=True,
            timeout=PATIENCE + 20, check=False)
        return b"CONNECTION ESTABLISHED" in done.stderr

    def stay(self, name):
        client = Stayer(self, f"{name}@{FQDN}", KC.hex())
        self.test.addCleanup(client.close)
        return client

    def control(self, *arguments, status=0):
        done = subprocess.run([maf_fixture.PROGRAMS["ctl"], "--socket", self.socket, *arguments],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.test.assertEqual(done.returncode, status, done)
        return done.stdout

    def metric(self, needle, name=""):
        """The sum over lines that begin with `name` and hold `needle`."""
        url = f"http://127.0.0.1:{self.metrics}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines
                   if line.startswith(name) and needle in line and line[0] != "#")

    def wait_for_metric(self, needle, value, name=""):
        until = time.monotonic() + PATIENCE
        while self.metric(needle, name) < value or (value == 0 and self.metric(needle, name) > 0):
            self.test.assertLess(time.monotonic(), until, (needle, self.metric(needle, name)))
            time.sleep(0.1)


if __name__ == "__main__":
    maf_fixture.main(__doc__, "maf", "front", "ctl")
