#!/usr/bin/env python3
"""process_test.py HANDFASTD - the daemon as a process: exit codes, signals, reload, log, metrics.
Its only peer is openssl s_client on loopback; every port is one the kernel chose."""
import ctypes
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import parallel  # noqa: E402

HANDFASTD = None
KEY = "000102030405060708090a0b0c0d0e0f"
OTHER_KEY = "ffeeddccbbaa99887766554433221100"
# What the daemons under test stand on: HF_TEST_IO=epoll or uring; otherwise what they choose.
IO = ["--io", os.environ["HF_TEST_IO"]] if "HF_TEST_IO" in os.environ else []
PATIENCE = 20  # seconds; valgrind and sanitizers are slow


def forbid_io_uring():
    """In a child before exec: io_uring_setup(2) gives EPERM, as under a container's filter."""
    code = struct.pack("HBBIHBBIHBBIHBBI", 0x20, 0, 0, 0, 0x15, 0, 1, 425,
                       0x06, 0, 0, 0x50001, 0x06, 0, 0, 0x7fff0000)
    program = ctypes.create_string_buffer(code)
    header = ctypes.create_string_buffer(
        struct.pack("HxxxxxxQ", 4, ctypes.addressof(program)))
    libc = ctypes.CDLL(None)
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, header, 0, 0) != 0:
        os._exit(99)


class Daemon:
    """A running handfastd and its log."""

    def __init__(self, directory, *options, keys=f"dev:{KEY}:/in-cse/Cdev\n", env=None,
                 preexec=None, is_whole=False,
                 listeners=("--dtls", "127.0.0.1:0", "--tls", "127.0.0.1:0")):
        self.key_file = os.path.join(directory, "keys")
        write_keys(self.key_file, keys)
        command = [HANDFASTD, *listeners, "--psk-file", self.key_file, "--metrics",
                   "127.0.0.1:0", "--shards", "2", *IO, *options]
        if is_whole:  # a configuration file has all the rest
            command = [HANDFASTD, *IO, *options]
        environment = {k: v for k, v in os.environ.items()
                       if k not in ("JOURNAL_STREAM", "NOTIFY_SOCKET")}
        environment.update(env or {})
        self.process = subprocess.Popen(  # pylint: disable=subprocess-popen-preexec-fn
            command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=preexec)
        self.lines = []
        self.lock = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.wait_for("event=ready")

    def _read(self):
        for line in self.process.stderr:
            with self.lock:
                self.lines.append(line.rstrip("\n"))
                self.lock.notify_all()
        with self.lock:
            self.lines.append("(end of log)")
            self.lock.notify_all()

    def wait_for(self, needle, count=1):
        """The count-th line that holds `needle`."""
        until = time.monotonic() + PATIENCE
        with self.lock:
            while True:
                found = [line for line in self.lines if needle in line]
                if len(found) >= count:
                    return found[count - 1]
                if time.monotonic() > until or self.lines[-1:] == ["(end of log)"]:
                    raise AssertionError(f"no {needle!r} in the log:\n" + "\n".join(self.lines))
                self.lock.wait(0.5)

    def port(self, transport, index=0):
        line = [text for text in self.lines if f"event=listening transport={transport}" in text]
        return int(re.search(r"address=\S+:(\d+)", line[index]).group(1))

    def get(self, path):
        url = f"http://127.0.0.1:{self.port('metrics')}{path}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.read().decode()

    def metric(self, name):
        """The sum over everything that begins with `name`."""
        values = [line.rsplit(" ", 1)[1] for line in self.get("/metrics").splitlines()
                  if line.startswith(name)]
        if not values:
            raise AssertionError(f"no metric {name}")
        return sum(float(value) for value in values)

    def wait_for_metric(self, name, value):
        until = time.monotonic() + PATIENCE
        while self.metric(name) != value:
            if time.monotonic() > until:
                raise AssertionError(f"{name} is {self.metric(name)}, not {value}")
            time.sleep(0.2)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        return status


def write_keys(path, text, mode=0o600):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def openssl(daemon, transport, *options, identity="dev", key=KEY, data=b""):
    kind = ["-tls1_2"] if transport == "tls" else ["-dtls1_2"]
    suite = {"tls": "PSK-AES128-CBC-SHA256", "dtls": "PSK-AES128-CCM8"}[transport]
    command = ["openssl", "s_client", "-quiet", *kind, "-connect",
               f"127.0.0.1:{daemon.port(transport)}", "-cipher", f"{suite}:@SECLEVEL=0",
               "-psk_identity", identity, "-psk", key, *options]
    return subprocess.run(command, input=data, capture_output=True, timeout=PATIENCE,
                          check=False)


def run_once(*options, preexec=None):
    return subprocess.run(  # pylint: disable=subprocess-popen-preexec-fn
        [HANDFASTD, *options], capture_output=True, text=True, timeout=PATIENCE, check=False,
        preexec_fn=preexec)


class ProcessFixture(unittest.TestCase):
    """A directory and daemons that are gone when the test is over."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.daemons = []

    def tearDown(self):
        for daemon in self.daemons:
            if daemon.process.poll() is None:
                daemon.process.kill()
            daemon.process.wait()
            daemon.reader.join()
            daemon.process.stderr.close()
        self.directory.cleanup()

    def path(self, name):
        return os.path.join(self.directory.name, name)


class ProcessTest(ProcessFixture):
    def start(self, *options, **named):
        daemon = Daemon(self.directory.name, *options, **named)
        self.daemons.append(daemon)
        return daemon

    def whoami(self, daemon, **named):
        answer = openssl(daemon, "tls", data=b"GET / HTTP/1.0\r\n\r\n", **named)
        head, _, body = answer.stdout.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK"), answer)
        return json.loads(body)

    # ---- what it stands on

    def test_io_is_chosen_and_told(self):
        for options, io, because in ((["--io", "uring"], "io_uring", "configured"),
                                     (["--io", "epoll"], "epoll", "configured"),
                                     (["--io", "auto"], "io_uring", "it is there")):
            daemon = self.start(*options)
            line = daemon.wait_for("event=io_chosen")
            self.assertIn(f"io={io} ", line)
            self.assertIn(because, line)
            self.assertEqual(len([line for line in daemon.lines if "io_chosen" in line]), 1)
            self.assertEqual(daemon.stop(), 0)

    def test_a_container_that_forbids_io_uring(self):
        daemon = self.start("--io", "auto", preexec=forbid_io_uring)
        self.assertIn("seccomp profile", daemon.wait_for("event=io_chosen io=epoll"))
        for transport in ("dtls", "tls"):
            self.assertEqual(openssl(daemon, transport, "-no_ign_eof").returncode, 0)
        daemon.wait_for("event=association_established", 2)
        self.assertEqual(daemon.stop(), 0)
        keys = self.path("keys")
        done = run_once("--dtls", "127.0.0.1:0", "--psk-file", keys, "--io", "uring",
                        preexec=forbid_io_uring)
        self.assertEqual(done.returncode, 1)
        self.assertIn("seccomp profile", done.stderr)

    # ---- options and exit codes

    def test_help_and_version(self):
        for option in ("--help", "--version"):
            done = run_once(option)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("--psk-file", run_once("--help").stdout)
        version = run_once("--version").stdout
        for word in ("handfastd 0.", "liburing 2.", "BoringSSL "):
            self.assertIn(word, version)

    def test_usage_errors_are_2(self):
        keys = self.path("keys")
        write_keys(keys, f"dev:{KEY}\n")
        for options in ([], ["--dtls", "127.0.0.1:0"], ["--nonsense"],
                        ["--dtls", "nowhere", "--psk-file", keys],
                        ["--dtls", "0.0.0.0:0", "--psk-file", keys, "--respond", "echo"]):
            done = run_once(*options)
            self.assertEqual(done.returncode, 2, options)
            self.assertTrue(done.stderr.startswith("handfastd: "), done.stderr)

    def test_key_file_errors_are_2_and_show_no_key(self):
        keys = self.path("keys")
        for text, mode, needle in ((f"dev:{KEY}\n", 0o644, "chmod 600"),
                                   (f"dev:{KEY}\ndev:{KEY}\n", 0o600, "in line 1"),
                                   (f"dev:{KEY}:nonsense\n", 0o600, "line 1: the entity-id"),
                                   (f"\ndev:{KEY[1:]}\n", 0o600, "line 2: the key has an odd")):
            write_keys(keys, text, mode)
            for check in ([], ["--check"]):
                done = run_once("--dtls", "127.0.0.1:0", "--psk-file", keys, *check)
                self.assertEqual(done.returncode, 2)
                self.assertIn(needle, done.stderr)
                self.assertIn(keys, done.stderr)
                self.assertNotIn(KEY[1:9], done.stderr)
        done = run_once("--dtls", "127.0.0.1:0", "--psk-file", self.path("none"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("No such file", done.stderr)

    def test_check_opens_nothing(self):
        keys = self.path("keys")
        write_keys(keys, f"dev:{KEY}\n")
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            done = run_once("--tls", address, "--psk-file", keys, "--check")
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_port_in_use_is_1_and_named(self):
        keys = self.path("keys")
        write_keys(keys, f"dev:{KEY}\n")
        for kind, option in ((socket.SOCK_STREAM, "--tls"), (socket.SOCK_DGRAM, "--dtls"),
                             (socket.SOCK_STREAM, "--metrics")):
            with socket.socket(socket.AF_INET, kind) as taken:
                taken.bind(("127.0.0.1", 0))
                if kind == socket.SOCK_STREAM:
                    taken.listen()
                address = f"127.0.0.1:{taken.getsockname()[1]}"
                more = ["--dtls", "127.0.0.1:0"] if option == "--metrics" else []
                done = run_once(option, address, "--psk-file", keys, *more)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(address, done.stderr)
                self.assertEqual(done.stderr.count("level=error"), 1, done.stderr)

    # ---- serving

    def test_whoami_over_tls(self):
        daemon = self.start("--reference-point", "mcc")
        answer = self.whoami(daemon)
        self.assertEqual(answer["entity_id"], "/in-cse/Cdev")
        self.assertEqual(answer["entity_kind"], "ae")
        self.assertEqual(answer["credential_id"], "12-dev")
        self.assertEqual(answer["suite"], "TLS_PSK_WITH_AES_128_CBC_SHA256")
        self.assertEqual(answer["reference_point"], "Mcc")
        self.assertEqual(answer["transport"], "TLS 1.2")
        line = daemon.wait_for("event=association_established")
        for word in ("peer=127.0.0.1:", "credential=12-dev", "entity=/in-cse/Cdev"):
            self.assertIn(word, line)
        self.assertEqual(daemon.stop(), 0)
        self.assertNotIn(KEY, "\n".join(daemon.lines))

    def test_echo_over_tls_and_dtls(self):
        daemon = self.start("--respond", "echo")
        for transport in ("tls", "dtls"):
            kind = ["-tls1_2"] if transport == "tls" else ["-dtls1_2"]
            client = subprocess.Popen(
                ["openssl", "s_client", "-quiet", *kind, "-connect",
                 f"127.0.0.1:{daemon.port(transport)}", "-psk_identity", "dev", "-psk", KEY,
                 "-cipher", "PSK:@SECLEVEL=0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL)
            try:
                client.stdin.write(b"hello there\n")
                client.stdin.flush()
                self.assertEqual(client.stdout.readline(), b"hello there\n")
            finally:
                client.kill()
                client.wait()
                client.stdin.close()
                client.stdout.close()
        self.assertEqual(daemon.stop(), 0)

    def test_failures_are_logged_and_counted(self):
        daemon = self.start()
        openssl(daemon, "tls", identity='a"b\\', key=KEY)
        line = daemon.wait_for("event=handshake_failed reason=key_unknown")
        self.assertIn(r'identity="a\"b\\"', line)
        openssl(daemon, "tls", key=OTHER_KEY)
        line = daemon.wait_for("event=handshake_failed reason=key_mismatch")
        for word in ("peer=127.0.0.1:", "state=", "clause=", "identity=dev"):
            self.assertIn(word, line)
        failed = ('handfast_handshakes_total{listener="tls-1",authority="default",'
                  'framework="provisioned-symmetric-key",outcome="failed",reason=')
        daemon.wait_for_metric(failed + '"key_unknown"}', 1)
        daemon.wait_for_metric(failed + '"key_mismatch"}', 1)
        self.assertEqual(daemon.stop(), 0)

    def test_a_flood_is_suppressed(self):
        daemon = self.start("--log-rate", "2")
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and not any("event=suppressed" in line
                                                   for line in daemon.lines):
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", daemon.port("tls"))) as peer:
                    peer.sendall(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
                    peer.recv(100)
        line = daemon.wait_for("event=suppressed")
        self.assertRegex(line, r"reason=\w+ lines=\d+ of=handshake_failed")
        self.assertGreater(daemon.metric("handfast_log_lines_suppressed_total"), 0)
        self.assertEqual(daemon.stop(), 0)

    # ---- signals

    def test_a_limit_that_turns_peers_away_is_told(self):
        daemon = self.start("--associations-max", "4")  # two a shard
        connections = [socket.create_connection(("127.0.0.1", daemon.port("tls")))
                       for _ in range(6)]
        line = daemon.wait_for("event=limit_reached limit=connections")
        self.assertIn("associations-max", line)
        self.assertGreaterEqual(
            daemon.metric('handfast_connection_errors_total{cause="full"}'), 2)
        for connection in connections:
            connection.close()

    def test_tls_connections_are_limited_by_descriptors(self):
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
        daemon = self.start(preexec=few)
        connections = [socket.create_connection(("127.0.0.1", daemon.port("tls")))
                       for _ in range(300)]
        daemon.wait_for("event=limit_reached limit=connections")
        self.assertEqual(daemon.metric('handfast_connection_errors_total{cause="accept"}'), 0)
        daemon.process.send_signal(signal.SIGHUP)  # there are some left for the key file
        daemon.wait_for("event=reloaded")
        for connection in connections:
            connection.close()

    def test_stop(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            daemon = self.start()
            began = time.monotonic()
            self.assertEqual(daemon.stop(number), 0)
            self.assertLess(time.monotonic() - began, 6)
            daemon.wait_for("event=stopped")

    def client(self, daemon):
        """An association that stays open; its process is the caller's to end."""
        client = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-tls1_2", "-connect",
             f"127.0.0.1:{daemon.port('tls')}", "-psk_identity", "dev", "-psk", KEY],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(self.end_client, client)
        daemon.wait_for("event=association_established")
        return client

    @staticmethod
    def end_client(client):
        client.kill()
        client.wait()
        client.stdout.close()
        try:
            client.stdin.close()
        except BrokenPipeError:
            pass

    def test_stop_is_bounded_when_a_peer_does_not_read(self):
        daemon = self.start("--respond", "echo")
        client = self.client(daemon)
        os.set_blocking(client.stdin.fileno(), False)
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 1:  # until nobody takes any more
            try:
                if os.write(client.stdin.fileno(), bytes(65536)):
                    quiet_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.05)
        self.assertGreater(daemon.metric("handfast_send_queue_bytes"), 0)
        began = time.monotonic()
        self.assertEqual(daemon.stop(), 0)
        self.assertLess(time.monotonic() - began, 7)

    def test_a_second_signal_ends_at_once(self):
        daemon = self.start()
        client = self.client(daemon)
        client.send_signal(signal.SIGSTOP)  # it will not answer close_notify
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.send_signal(signal.SIGINT)
        self.assertEqual(daemon.process.wait(PATIENCE), 1)
        daemon.wait_for("event=killed")

    def test_signals_of_other_programs_end_nothing(self):
        daemon = self.start()
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            daemon.process.send_signal(number)
            daemon.wait_for("event=signal_ignored")
        self.assertEqual(daemon.stop(), 0)

    def test_reload(self):
        daemon = self.start("--remove-max", "100")
        self.assertEqual(self.whoami(daemon)["credential_id"], "12-dev")
        write_keys(daemon.key_file, f"new:{OTHER_KEY}\nbad line\n")
        daemon.process.send_signal(signal.SIGHUP)
        self.assertIn("line 2", daemon.wait_for("event=reload_failed"))
        self.assertEqual(self.whoami(daemon)["credential_id"], "12-dev")
        write_keys(daemon.key_file, f"new:{OTHER_KEY}\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("event=reloaded keys=1 added=1 removed=1")
        answer = self.whoami(daemon, identity="new", key=OTHER_KEY)
        self.assertEqual((answer["credential_id"], answer["entity_id"]), ("12-new", None))
        self.assertEqual(openssl(daemon, "tls", key=KEY).stdout, b"")
        daemon.wait_for("reason=key_unknown")
        self.assertEqual(daemon.metric("handfast_keys"), 1)
        self.assertEqual(daemon.metric("handfast_key_reloads_total"), 2)
        self.assertEqual(daemon.metric('handfast_reloads_total{outcome="ok"}'), 1)
        self.assertEqual(daemon.metric('handfast_reloads_total{outcome="failed"}'), 1)
        self.assertEqual(daemon.metric("handfast_reload_successful"), 1)
        self.assertEqual(daemon.stop(), 0)

    # ---- around it

    def test_metrics(self):
        daemon = self.start()
        self.assertEqual(daemon.get("/healthz"), "ok\n")
        self.whoami(daemon)
        daemon.wait_for_metric('handfast_handshakes_total{listener="tls-1",authority="default",'
                               'framework="provisioned-symmetric-key",outcome="ok"', 1)
        text = daemon.get("/metrics")
        families = set()
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                name = line.split()[2]
                self.assertNotIn(name, families, "a family is in one piece")
                families.add(name)
            elif not line.startswith("#"):
                match = re.fullmatch(r"(handfast_[a-z0-9_]+)(\{[^}]*\})? [0-9.]+", line)
                self.assertIsNotNone(match, line)
                family = re.sub(r"_(bucket|sum|count)$", "", match.group(1))
                self.assertTrue({family, match.group(1)} & families, "a sample follows its TYPE")
        for name in ("handfast_handshakes_open", "handfast_drops_total", "handfast_memory_bytes",
                     "handfast_build_info", "handfast_start_time_seconds"):
            self.assertIn(name, families)
        for secret in ("12-dev", "in-cse", "127.0.0.1", KEY):
            self.assertNotIn(secret, text)
        for path, code in (("/", 404), ("/metrics/x", 404)):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                daemon.get(path)
            self.assertEqual(caught.exception.code, code)
            caught.exception.close()
        self.assertEqual(daemon.stop(), 0)

    def test_every_metric_is_in_the_manual(self):
        daemon = self.start("--maf", "maf.example.com=127.0.0.1:9", "--maf-identity", "dev",
                            "--maf-psk-file", self.path("keys"))
        here = os.path.dirname(os.path.abspath(__file__))
        with open(os.path.join(here, "../../docs/handfastd.8.md"), encoding="utf-8") as file:
            manual = file.read()
        names = set(re.findall(r"# TYPE (\w+)", daemon.get("/metrics")))
        self.assertEqual({name for name in names if name not in manual}, set())
        documented = set(re.findall(r"\bhandfast_\w+", manual))
        self.assertEqual(documented - names, set())
        self.assertEqual(daemon.stop(), 0)

    def test_every_option_is_in_the_manual(self):
        here = os.path.dirname(os.path.abspath(__file__))
        with open(os.path.join(here, "../../docs/handfastd.8.md"), encoding="utf-8") as file:
            manual = file.read()
        options = set(re.findall(r"^  (--[a-z-]+)", run_once("--help").stdout, re.M))
        self.assertGreater(len(options), 25)
        documented = set(re.findall(r"^(?:\*\*--help\*\*, )?\*\*(--[a-z-]+)\*\*", manual, re.M))
        self.assertEqual(options - documented, {"--help"} & options - documented)
        self.assertEqual(documented - options, set())

    def test_keylog(self):
        log = self.path("keylog")
        daemon = self.start("--keylog", log)
        self.assertIn("level=warning", daemon.wait_for("event=keylog_enabled"))
        self.whoami(daemon)
        theirs = self.path("theirs")
        openssl(daemon, "tls", "-keylogfile", theirs, data=b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(os.stat(log).st_mode & 0o777, 0o600)
        with open(log, encoding="ascii") as ours, open(theirs, encoding="ascii") as peer:
            lines = ours.read().splitlines()
            wanted = [line for line in peer.read().splitlines() if not line.startswith("#")]
        self.assertEqual(len(lines), 2)
        for line in lines:
            self.assertRegex(line, r"^CLIENT_RANDOM [0-9a-f]{64} [0-9a-f]{96}$")
        self.assertEqual([line.lower() for line in wanted], [lines[1].lower()])

    def test_notify_and_journal(self):
        path = self.path("notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.settimeout(PATIENCE)
            receiver.bind(path)
            daemon = self.start(env={"NOTIFY_SOCKET": path})
            self.assertEqual(receiver.recv(100), b"READY=1")
            self.assertEqual(daemon.stop(), 0)
            self.assertEqual(receiver.recv(100), b"STOPPING=1")
        journal = self.path("journal")
        with open(journal, "wb") as stream:
            status = os.fstat(stream.fileno())
            env = dict(os.environ, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}")
            subprocess.run([HANDFASTD, "--dtls", "127.0.0.1:0", "--psk-file", self.path("keys"),
                            "--check"], stderr=stream, env=env, timeout=PATIENCE, check=True)
        with open(journal, encoding="utf-8") as stream:
            self.assertTrue(stream.read().startswith("<5>level=notice event=checked "))

    def test_no_core_no_trace(self):
        daemon = self.start()
        with open(f"/proc/{daemon.process.pid}/limits", encoding="ascii") as file:
            self.assertRegex(file.read(), r"Max core file size +0 +0 ")
        self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    HANDFASTD = os.path.abspath(sys.argv.pop(1))
    parallel.main()
