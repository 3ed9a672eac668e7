"""restart_test.py - one handfastd takes over from another under traffic, forth and back; a
successor that dies at any moment, or may not, changes nothing; draining.

    restart_test.py HANDFASTD HANDFASTCTL HANDFAST
"""
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import unittest
import urllib.request

import operation_fixture
import process_test
from operation_fixture import OperationFixture
from process_test import KEY, PATIENCE

TOOL = None
CONFIG = """\
process { shards = 2 }
metrics { address = "127.0.0.1:0" }
control {
    socket = "{socket}"
    takeover = "{socket}.takeover"
}
log { level = info }
limits { associations-max = 8192 }
authority "main" {
    psk-file = "{keys}"
}
listener "tls" {
    transport = tls
    address = "127.0.0.1:0"
    respond = %s
}
listener "dtls" {
    transport = dtls
    address = "127.0.0.1:0"
    respond = echo
}
"""
HELLO, STATE, REFUSED, SOCKETS, SHARED, READY = 1, 2, 3, 4, 5, 6
CHUNK, PARCEL, FROZEN, COMMIT, GO, SESSIONS = 7, 8, 9, 10, 11, 12


class Load:
    """A population that speaks."""

    def __init__(self, daemon, transport, devices, messages):
        self.process = subprocess.Popen(
            [TOOL, "load", f"--{transport}", f"127.0.0.1:{daemon.port(transport)}", "--psk-file",
             daemon.key_file, "--devices", str(devices), "--messages", str(messages), "--json",
             "--hold", "input"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)

    def result(self):
        """Once all is said; until then nobody goes."""
        self.process.stdin.close()
        out = self.process.stdout.read()
        return self.process.wait(PATIENCE), json.loads(out[out.index("{"):])

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Successor:
    """The other end of the conversation, as far as a test wants it."""

    def __init__(self, daemon, **changes):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(daemon.socket + ".takeover")
        listeners = [{"name": name, "transport": name, "address": "127.0.0.1:0"}
                     for name in ("tls", "dtls")]
        hello = {"version": 1, "shards": 2, "associations_max": 8192, "listeners": listeners}
        hello.update(changes)
        self.send(HELLO, json.dumps(hello).encode())

    def send(self, kind, data=b""):
        self.socket.sendall(struct.pack(">3sBHHI", b"HFH", kind, 0, 0, len(data)) + data)

    def receive(self):
        head, fds, _, _ = socket.recv_fds(self.socket, 12, 253)
        for fd in fds:
            os.close(fd)
        if len(head) < 12:
            return None, b""
        _, kind, _, _, length = struct.unpack(">3sBHHI", head)
        data = b""
        while len(data) < length:
            data += self.socket.recv(length - len(data))
        return kind, data

    def receive_until(self, wanted):
        while True:
            kind, data = self.receive()
            if kind in (wanted, None):
                return data if kind == wanted else None

    def close(self):
        self.socket.close()


class RestartTest(OperationFixture):
    def tearDown(self):
        for daemon in self.daemons:
            for pid in re.findall(r"to_pid=(\d+)", "\n".join(daemon.lines)):
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        super().tearDown()

    def load(self, *arguments):
        load = Load(*arguments)
        self.addCleanup(load.close)
        return load

    def start(self, respond="echo", options=()):
        return self.start_daemon(text=CONFIG % respond, options=options)

    def restart(self, daemon):
        pid = daemon.ask("restart")["pid"]
        self.assertEqual(daemon.ask("status")["pid"], pid)
        return pid

    def stop(self, daemon, pid):
        """The last one in a row; whoever is not our child is waited for by its end of the log."""
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        while daemon.reader.is_alive():
            self.assertLess(time.monotonic(), until)
            time.sleep(0.02)
        self.assertTrue(any("all associations are closed" in line for line in daemon.lines))

    def test_forth_and_back_under_traffic(self):
        daemon = self.start()
        loads = [self.load(daemon, "dtls", 300, 100000), self.load(daemon, "tls", 60, 30000)]
        self.associations(daemon, 360)
        pids = {daemon.process.pid}
        for _ in range(3):
            pids.add(self.restart(daemon))
        self.assertEqual(len(pids), 4)
        status = daemon.ask("status")
        self.assertEqual(status["associations"], 360)
        self.assertEqual(sum(each["handshakes_ok"] for each in status["listeners"]), 0)
        for load in loads:
            code, result = load.result()
            self.assertEqual(code, 0, result)
            # What took a second was said again: that is UDP's, or a busy machine's.
            self.assertEqual((result["lost"], result["unanswered"], result["misdelivered"]),
                             (0, 0, 0), result)
            self.assertLessEqual(result["sent_again"], result["sent"] // 100, result)
        self.assertEqual(daemon.process.wait(PATIENCE), 0)
        self.stop(daemon, status["pid"])
        taken = [line for line in daemon.lines if "event=taken_over" in line]
        self.assertEqual(len(taken), 3)
        for line in taken:
            self.assertIn("associations=360 left_out=0 connections=60 connections_lost=0 ", line)

    def test_sessions_by_id_survive(self):
        """OpenSSL offers one, and again after two restarts."""
        text = (CONFIG % "echo").replace("log {", "sessions { cache = 1000 }\nlog {")
        daemon = self.start_daemon(text=text)
        session = os.path.join(self.directory.name, "session")

        def connect(*options):
            done = subprocess.run(
                ["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{daemon.port('tls')}",
                 "-psk", KEY, "-psk_identity", "dev", "-cipher",
                 "PSK-AES128-CBC-SHA256:@SECLEVEL=0", *options], input="", capture_output=True,
                text=True, timeout=PATIENCE, check=False)
            return re.search(r"^(New|Reused), ", done.stdout, re.M).group(1)

        self.assertEqual(connect("-sess_out", session), "New")
        self.assertEqual(connect("-sess_in", session), "Reused")
        for _ in range(2):
            self.restart(daemon)
        self.assertEqual(connect("-sess_in", session), "Reused")
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.port('metrics')}/metrics",
                                    timeout=PATIENCE) as answer:
            metrics = answer.read().decode()
        for line in ("handfast_takeovers_total 2", 'handfast_takeover_sessions{outcome="taken"} 1',
                     'handfast_takeover_associations{outcome="left_out"} 0'):
            self.assertIn(f"\n{line}\n", metrics)
        self.assertRegex(metrics, r'handfast_takeover_seconds\{phase="silent"\} \d+\.\d{6}\n')
        self.stop(daemon, daemon.ask("status")["pid"])

    def test_a_successor_that_takes_no_sessions(self):
        """One of before they were handed over: it is not sent what it does not know."""
        daemon = self.start_daemon(text=(CONFIG % "echo") + "sessions { cache = 1000 }\n")
        for sessions, is_sent in ((None, False), (0, False), (1, True)):
            successor = Successor(daemon, **({} if sessions is None else {"sessions": sessions}))
            self.assertIsNotNone(successor.receive_until(SHARED))
            successor.send(READY)
            kinds = set()
            while FROZEN not in kinds:
                kind, _ = successor.receive()
                self.assertIsNotNone(kind)
                kinds.add(kind)
            self.assertEqual(SESSIONS in kinds, is_sent)
            successor.close()
        self.assertEqual(daemon.stop(), 0)

    def test_a_key_that_went_meanwhile_goes(self):
        daemon = self.start("whoami")
        stays = self.client(daemon)
        self.assertTrue(stays.asks_whoami())
        process_test.write_keys(daemon.key_file, f"dev:{KEY}:/in-cse/Cdev\nother:{KEY}\n")
        daemon.ask("reload")
        goes = self.client(daemon, "other")
        self.assertTrue(goes.asks_whoami())
        process_test.write_keys(daemon.key_file, f"dev:{KEY}:/in-cse/Cdev\n")
        pid = self.restart(daemon)
        self.assertEqual(goes.wait_end(), 0)
        self.assertTrue(stays.asks_whoami())
        # And what a reload ends later is found by the same name.
        process_test.write_keys(daemon.key_file, f"new:{KEY}\n")
        daemon.ask("reload", "--force")
        self.assertIsNotNone(stays.wait_end())
        self.associations(daemon, 0)
        self.stop(daemon, pid)

    def test_a_successor_that_dies_changes_nothing(self):
        daemon = self.start("whoami")
        client = self.client(daemon)
        self.assertTrue(client.asks_whoami())

        def to_state(successor):
            self.assertIsNotNone(successor.receive_until(STATE))

        def to_shared(successor):
            self.assertIsNotNone(successor.receive_until(SHARED))

        def to_chunk(successor):
            to_shared(successor)
            successor.send(READY)
            self.assertIsNotNone(successor.receive_until(CHUNK))

        def to_frozen(successor):
            to_chunk(successor)
            self.assertIsNotNone(successor.receive_until(FROZEN))

        def to_nonsense(successor):
            to_frozen(successor)
            successor.send(READY)

        stages = (lambda successor: None, to_state, to_shared, to_chunk, to_frozen, to_nonsense)
        for count, stage in enumerate(stages, 1):
            successor = Successor(daemon)
            stage(successor)
            successor.close()
            until = time.monotonic() + PATIENCE
            while sum("event=handover_failed" in line for line in daemon.lines) < count:
                self.assertLess(time.monotonic(), until, stage)
                time.sleep(0.02)
            self.assertTrue(client.asks_whoami())
            self.assertEqual(daemon.ask("status")["pid"], daemon.process.pid)
        newcomer = self.client(daemon)
        self.assertTrue(newcomer.asks_whoami())
        pid = self.restart(daemon)
        self.assertTrue(client.asks_whoami())
        self.stop(daemon, pid)

    def test_what_does_not_fit_is_refused(self):
        daemon = self.start()
        other = [{"name": "tls", "transport": "tls", "address": "127.0.0.1:0"},
                 {"name": "other", "transport": "dtls", "address": "127.0.0.1:0"}]
        for change, word in (({"shards": 3}, b"shards"), ({"version": 99}, b"version"),
                             ({"associations_max": 7}, b"associations-max"),
                             ({"listeners": other}, b"listener 2 differs"),
                             ({"listeners": other[:1]}, b"number of listeners")):
            successor = Successor(daemon, **change)
            self.assertIn(word, successor.receive_until(REFUSED))
            successor.close()
        # With handfastctl: a configuration that is broken, and one that is another.
        client = self.client(daemon)
        with open(daemon.config_file, encoding="latin-1") as file:
            good = file.read()
        for text, word in ((good.replace("shards = 2", "shards = 1"), "shards"),
                           (good + "nonsense\n", "its log says why")):
            with open(daemon.config_file, "w", encoding="latin-1") as file:
                file.write(text)
            self.assertIn(word, daemon.ask("restart", status=1)["error"])
            self.assertEqual(daemon.ask("status")["pid"], daemon.process.pid)
        self.assertIsNone(client.process.poll())

    def test_without_a_takeover_socket(self):
        daemon = self.start_daemon()
        self.assertIn("takeover", daemon.ask("restart", status=1)["error"])

    def ready(self, daemon):
        try:
            url = f"http://127.0.0.1:{daemon.port('metrics')}/readyz"
            return urllib.request.urlopen(url, timeout=PATIENCE).read().decode().strip()
        except urllib.error.HTTPError as error:
            return error.read().decode().strip()

    def test_draining(self):
        daemon = self.start("whoami")
        client = self.client(daemon)
        self.assertTrue(client.asks_whoami())
        self.assertEqual(self.load(daemon, "dtls", 5, 100).result()[0], 0)
        daemon.ask("drain", "--seconds", "600")
        self.assertEqual(self.ready(daemon), "draining")
        self.assertIsNotNone(client.wait_end())  # it was idle
        self.assertEqual(daemon.process.wait(PATIENCE), 0)  # nobody is left
        self.assertTrue(any("drained" in line for line in daemon.lines))

    def test_draining_ends_in_time(self):
        daemon = self.start()
        load = subprocess.Popen([TOOL, "load", "--dtls", f"127.0.0.1:{daemon.port('dtls')}",
                                 "--psk-file", daemon.key_file, "--devices", "3", "--hold", "input",
                                 "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(load.stdout.close)
        self.addCleanup(load.wait)
        self.addCleanup(load.stdin.close)
        self.assertIn(b"holding 3", load.stdout.readline())
        daemon.ask("drain", "--seconds", "1")
        self.assertIn("does not serve", daemon.ask("drain", status=1)["error"])
        self.assertEqual(daemon.process.wait(PATIENCE), 0)

    def test_systemd_follows(self):
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.settimeout(PATIENCE)
        self.addCleanup(receiver.close)
        receiver.bind(self.path("notify"))
        os.environ["NOTIFY_SOCKET"] = self.path("notify")
        self.addCleanup(os.environ.pop, "NOTIFY_SOCKET", None)
        daemon = self.start_daemon(text=CONFIG % "echo", notify=True)
        self.assertEqual(receiver.recv(1000), b"READY=1")
        pid = self.restart(daemon)
        self.assertEqual(receiver.recv(1000), f"MAINPID={pid}".encode())
        self.assertEqual(receiver.recv(1000), b"READY=1")
        self.assertEqual(daemon.process.wait(PATIENCE), 0)
        self.stop(daemon, pid)
        self.assertEqual(receiver.recv(1000), b"STOPPING=1")

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_dropped_privileges_and_seccomp(self):
        text = (CONFIG % "whoami").replace(
            "process { shards = 2 }", 'process {\n shards = 2\n user = "nobody"\n seccomp = yes\n}')
        os.chmod(self.directory.name, 0o777)
        daemon = self.start_daemon(text=text, owner=65534)
        client = self.client(daemon)
        self.assertTrue(client.asks_whoami())
        pid = None
        for _ in range(2):
            pid = self.restart(daemon)
            self.assertTrue(client.asks_whoami())
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                status = file.read()
            self.assertRegex(status, r"Seccomp:\s+2")
            self.assertNotRegex(status, r"Uid:\s+0\b")
        self.stop(daemon, pid)


if __name__ == "__main__":
    TOOL = sys.argv.pop(3)
    operation_fixture.main("usage: restart_test.py HANDFASTD HANDFASTCTL HANDFAST")
