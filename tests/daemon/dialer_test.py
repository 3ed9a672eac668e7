#!/usr/bin/env python3
"""dialer_test.py HANDFASTD HANDFASTCTL HANDFAST - two provider domains, each with its own
authority, handfastd and server, joined over Mcc' in both directions: the daemons dial."""
import http.client
import http.server
import os
import re
import signal
import socket
import sys
import threading
import time
import unittest

import certificate_test
import operation_fixture
import process_test
from process_test import KEY, PATIENCE

HERE, OTHER = "//m2msp.example/in-cse", "//other.example/in-cse"

CONFIG = """
authority "own" {{
    certificate = "{pki}/{who}.pem"
    key = "{pki}/{who}.key"
    client-ca = "{pki}/{ca}.pem"
    {authority}
}}
listener "mccp" {{
    transport = tls
    address = "127.0.0.1:{port}"
    reference-point = mcc-prime
    upstream = "tcp:127.0.0.1:{upstream}"
    {listener}
}}
dialer "away" {{
    transport = tls
    address = {{{addresses}}}
    peer = "{peer}"
    listen = "127.0.0.1:0"
    {dialer}
}}
sessions {{ tickets = yes }}
control {{
    socket = "{{socket}}"
    takeover = "{{socket}}.takeover"
}}
metrics {{ address = "127.0.0.1:0" }}
process {{
    shards = 2
    {process}
}}
{more}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server(http.server.ThreadingHTTPServer):
    """A CSE, as far as HTTP is concerned: says its name, and gives back what it is sent."""
    daemon_threads = True

    def __init__(self, name):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, body):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):  # pylint: disable=invalid-name
                self.answer(f"{name} {self.path}".encode())

            def do_POST(self):  # pylint: disable=invalid-name
                self.answer(self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.handle_error = lambda *_: None  # resets are what is tested
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()


class DialerFixture(certificate_test.CertificateFixture):
    server = Server

    def setUp(self):
        super().setUp()
        self.successors = []
        self.ports = {"here": free_port(), "other": free_port()}
        self.servers = {name: self.server(name) for name in self.ports}
        for server in self.servers.values():
            self.addCleanup(server.server_close)
            self.addCleanup(server.shutdown)

    def text(self, side, dialer="", listener="", authority="", addresses=None, peer=None,
             process="", more=""):
        """Of one domain: `other` is the one that is not ours."""
        is_here = side == "here"
        there = self.ports["other" if is_here else "here"]
        return CONFIG.format(
            pki=self.pki, who="in-cse" if is_here else "other-in-cse",
            ca="other-root" if is_here else "root", port=self.ports[side],
            upstream=self.servers[side].port, peer=peer or (OTHER if is_here else HERE),
            addresses=addresses or f'"127.0.0.1:{there}"', dialer=dialer, listener=listener,
            authority=authority, process=process, more=more)

    def start(self, side, **named):
        directory = os.path.join(self.directory.name, side)
        os.makedirs(directory, exist_ok=True)
        daemon = operation_fixture.Daemon(directory, self.text(side, **named))
        self.daemons.append(daemon)
        return daemon

    def entrance(self, daemon, transport="tcp"):
        return daemon.port(f"plain-{transport}")

    def connect(self, daemon):
        connection = http.client.HTTPConnection("127.0.0.1", self.entrance(daemon),
                                                timeout=PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def get(self, daemon, path="/", connection=None):
        connection = connection or self.connect(daemon)
        connection.request("GET", path)
        return connection.getresponse().read().decode()

    def metric(self, daemon, name):
        text = daemon.get("/metrics")
        found = re.search(rf"^{re.escape(name)} (\d+)$", text, re.M)
        self.assertIsNotNone(found, name)
        return int(found.group(1))

    def until(self, condition):
        until = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)

    def restart(self, daemon):
        """By a process that takes over; it is none of our children."""
        self.successors.append(daemon.ask("restart")["pid"])
        self.assertEqual(daemon.ask("status")["pid"], self.successors[-1])

    def tearDown(self):
        for pid in self.successors:
            os.kill(pid, signal.SIGKILL)
        super().tearDown()

    def dialer(self, daemon):
        return daemon.ask("status")["dialers"][0]


class DialerTest(DialerFixture):
    def test_both_directions(self):
        here = self.start("here", process="seccomp = yes")
        other = self.start("other")
        self.assertEqual(self.dialer(here)["state"], "idle")
        one, two = self.connect(here), self.connect(other)
        self.assertEqual(self.get(here, "/a", one), "other /a")
        self.assertEqual(self.get(other, "/b", two), "here /b")
        self.assertEqual(self.get(here, "/c", one), "other /c")  # the connection is kept
        for daemon, who in ((here, OTHER), (other, HERE)):
            found = self.associations(daemon, 2)
            self.assertEqual({one["entity_id"] for one in found}, {who})
            self.assertEqual({one["reference_point"] for one in found}, {"Mcc'"})
            self.assertEqual(sorted(one["dialled"] for one in found), [False, True])
            dialled = [one for one in found if one["dialled"]][0]
            self.assertEqual((dialled["dialer"], dialled["framework"], dialled["suite"]),
                             ("away", "certificate",
                              "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"))
            self.assertEqual(self.dialer(daemon)["state"], "up")
            self.assertIn("away", daemon.tell("status"))
            self.assertIn("away", daemon.tell("assoc", "list"))
            self.assertEqual(self.metric(daemon, 'handfast_dials_total{dialer="away",outcome="ok",'
                                                 'reason="ok"}'), 1)
        one.close()
        self.associations(here, 1)
        self.associations(other, 1)
        self.assertEqual((here.stop(), other.stop()), (0, 0))

    def test_each_connection_has_its_own_and_resumes(self):
        here, other = self.start("here"), self.start("other")
        body = os.urandom(3 << 20)
        self.get(here)
        connections = [self.connect(here) for _ in range(6)]
        for connection in connections:
            connection.request("POST", "/", body)
        for connection in connections:
            self.assertEqual(connection.getresponse().read(), body)
        self.assertGreaterEqual(len(here.ask("assoc", "list")["associations"]), 6)
        self.until(lambda: self.metric(other, "handfast_resumptions_total") == 6)
        self.assertEqual((here.stop(), other.stop()), (0, 0))

    def test_the_other_side_is_restarted(self):
        here = self.start("here", dialer="redial-max = 2s\nwait = 60s")
        waits = self.connect(here)
        waits.request("GET", "/early")  # nobody is there yet: it waits
        here.wait_for("event=dial_failed reason=unreachable dialer=away")
        self.until(lambda: self.dialer(here)["state"] == "backing-off")
        other = self.start("other")
        self.assertEqual(waits.getresponse().read(), b"other /early")
        other.process.kill()
        other.process.wait()
        self.associations(here, 0)
        with self.assertRaises((ConnectionError, http.client.HTTPException)):
            self.get(here, "/again", waits)
        late = self.connect(here)
        late.request("GET", "/late")
        other = self.start("other")
        self.assertEqual(late.getresponse().read(), b"other /late")
        self.assertEqual((here.stop(), other.stop()), (0, 0))

    def test_whoever_else_answers_is_nobody(self):
        here = self.start("here", peer="//other.example/mn-cse", dialer="wait = 1s")
        other = self.start("other")
        with self.assertRaises(ConnectionError):
            self.get(here)
        here.wait_for("event=dial_failed reason=peer_name dialer=away")
        here.wait_for("event=dial_given_up dialer=away")
        self.assertEqual(self.dialer(here)["associations"], 0)
        failed = 'handfast_dials_total{dialer="away",outcome="failed",reason="peer_name"}'
        self.assertGreaterEqual(self.metric(here, failed), 1)
        self.assertEqual((here.stop(), other.stop()), (0, 0))

    def test_addresses_in_order_and_one_kept_ready(self):
        nobody = free_port()
        other = self.start("other")
        here = self.start("here", dialer="keep = yes", addresses=f'"127.0.0.1:{nobody}", '
                          f'"127.0.0.1:{self.ports["other"]}"')
        self.associations(here, 1)
        connection = self.connect(here)
        self.assertEqual(self.get(here, "/", connection), "other /")
        self.associations(here, 2)
        self.assertEqual(self.dialer(here)["address"], f"127.0.0.1:{self.ports['other']}")
        other.process.kill()
        other.process.wait()
        self.associations(here, 0)
        other = self.start("other")
        self.associations(here, 1)
        # A reload takes new addresses without a restart.
        here.write_config(self.text("here", dialer="keep = no", addresses=f'"127.0.0.1:{nobody}"'))
        here.ask("reload")
        self.assertEqual(self.dialer(here)["address"], f"127.0.0.1:{nobody}")
        self.assertEqual((here.stop(), other.stop()), (0, 0))

    def test_the_way_back_comes_after_the_way_there(self):
        here, other = self.start("here"), self.start("other", dialer="pair = mccp\nwait = 60s")
        back = self.connect(other)
        back.request("GET", "/back")
        time.sleep(1.5)  # SA2 before SA1: it must not be dialled
        self.associations(other, 0)
        self.assertEqual(self.get(here, "/there"), "other /there")
        self.assertEqual(back.getresponse().read(), b"here /back")
        self.assertEqual((here.stop(), other.stop()), (0, 0))

    def test_another_process_goes_on(self):
        here, other = self.start("here", dialer="keep = yes"), self.start("other")
        connection = self.connect(here)
        self.assertEqual(self.get(here, "/before", connection), "other /before")
        self.associations(here, 2)
        self.restart(here)
        self.assertEqual(self.get(here, "/after", connection), "other /after")
        self.assertEqual(self.dialer(here)["associations"], 2)
        self.assertEqual(self.get(here, "/kept"), "other /kept")
        self.until(lambda: self.dialer(here)["associations"] == 3)
        self.assertEqual(other.stop(), 0)

    def test_pre_shared_keys(self):
        keys = {}
        for side, who in (("here", OTHER), ("other", HERE)):
            keys[side] = os.path.join(self.directory.name, f"keys-{side}")
            process_test.write_keys(keys[side], f"joined@m2msp.example:{KEY}:{who}\n")
        def start(side):
            return self.start(side, authority=f'psk-file = "{keys[side]}"',
                              dialer='identity = "joined@m2msp.example"\n'
                                     "suites = {PSK-AES128-CBC-SHA256}")
        here, other = start("here"), start("other")
        self.assertEqual(self.get(here), "other /")
        self.assertEqual(self.get(other), "here /")
        self.assertEqual({one["framework"] for one in self.associations(here, 2)},
                         {"provisioned-symmetric-key"})
        # Who is at the other end of a key is who must answer.
        process_test.write_keys(keys["here"], f"joined@m2msp.example:{KEY}:{HERE}\n")
        here.ask("reload", "--force")
        self.associations(here, 0)
        connection = self.connect(here)
        connection.request("GET", "/")
        here.wait_for("event=dial_failed reason=identity_refused")
        self.assertEqual((here.stop(), other.stop()), (0, 0))

    def test_what_check_config_says(self):
        good = 'listen = "127.0.0.1:0"'
        for before, after, message in (
                (good, 'listen = "0.0.0.0:8080"', "add allow-plain = yes"),
                (good, 'listen = "192.0.2.1:8080"\nallow-plain = maybe', "is not yes or no"),
                (good, "", "listen is missing"),
                (good, f'listen = "127.0.0.1:{self.ports["here"]}"', "in use by another block"),
                (f'peer = "{OTHER}"', "", "peer is missing"),
                (f'peer = "{OTHER}"', 'peer = "/in-cse"', "is not an absolute CSE-ID"),
                (good, good + "\npair = nobody", "pair: there is no such listener"),
                (good, good + '\nidentity = "me"', "needs a psk-file or a key-store"),
                (good, good + "\nauthority = nobody", "there is no such authority"),
                (good, good + "\nredial-min = 2m", "redial-max is less"),
                (f'"127.0.0.1:{self.ports["other"]}"', '"other.example:443"', "not resolved"),
                (good, good + "\nkeeep = yes", "keeep")):
            text = self.text("here")
            self.assertIn(before, text)
            path = os.path.join(self.directory.name, "conf")
            with open(path, "w", encoding="ascii") as file:
                file.write(text.replace(before, after).replace("{socket}", path + ".socket"))
            done = self.check("--config", path, listener=())
            self.assertEqual(done.returncode, 2, done)
            self.assertIn(message, done.stderr)
            self.assertRegex(done.stderr, r"conf: line \d+: ")


class Echo(threading.Thread):
    """A CSE, as far as datagrams are concerned: says its name in front of what it hears."""

    def __init__(self, name):
        super().__init__(daemon=True)
        self.name_sent = name.encode()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.peer = None  # an association: whoever spoke last
        self.start()

    def run(self):
        while True:
            data, self.peer = self.socket.recvfrom(4096)
            if data == b"end":
                return
            if not data.startswith(b"quiet"):
                self.socket.sendto(self.name_sent + b" " + data, self.peer)

    def server_close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.sendto(b"end", ("127.0.0.1", self.port))
        self.join()
        self.socket.close()

    def shutdown(self):
        pass


class DatagramTest(DialerFixture):
    server = Echo

    def text(self, side, **named):
        text = super().text(side, **named)
        return text.replace("transport = tls", "transport = dtls").replace("tcp:", "udp:")

    def cse(self):
        cse = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        cse.settimeout(PATIENCE)
        self.addCleanup(cse.close)
        return cse

    def ask(self, daemon, word, cse=None):
        cse = cse or self.cse()
        cse.sendto(word, ("127.0.0.1", self.entrance(daemon, "udp")))
        return cse.recv(4096)

    def test_both_directions_on_one_association_each(self):
        here = self.start("here", process="seccomp = yes")
        other = self.start("other")
        self.assertEqual(self.ask(here, b"one"), b"other one")
        self.assertEqual(self.ask(here, b"two"), b"other two")  # by another socket
        self.assertEqual(self.ask(other, b"three"), b"here three")
        found = self.associations(here, 2)
        self.assertEqual({one["suite"] for one in found},
                         {"TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"})
        self.assertEqual({one["entity_id"] for one in found}, {OTHER})
        # Another process takes over, and the association with it.
        self.restart(other)
        self.assertEqual(self.ask(here, b"four"), b"other four")
        self.assertEqual(self.ask(other, b"five"), b"here five")
        self.associations(other, 2)
        # The peer may begin, too: it comes to whoever spoke last.
        cse = self.cse()
        self.ask(here, b"hello", cse)
        self.servers["other"].socket.sendto(b"unasked", self.servers["other"].peer)
        self.assertEqual(cse.recv(4096), b"unasked")
        self.assertEqual(here.stop(), 0)

    def test_what_comes_early_waits_and_silence_is_noticed(self):
        named = {"dialer": "silence = 2s\nredial-max = 1s\nwait = 60s",
                 "more": "limits { handshake-timeout = 3s }"}
        here = self.start("here", **named)
        cse = self.cse()
        entrance = ("127.0.0.1", self.entrance(here, "udp"))
        for word in (b"a", b"b"):
            cse.sendto(word, entrance)
        here.wait_for("event=dial_failed reason=handshake_timeout")
        other = self.start("other")
        self.assertEqual({cse.recv(4096), cse.recv(4096)}, {b"other a", b"other b"})
        # Killed, it says nothing: that is what tells, once something was said to it.
        other.process.kill()
        other.process.wait()
        cse.sendto(b"quiet", entrance)
        self.associations(here, 0)
        other = self.start("other")
        self.until(lambda: self.heard(cse, entrance))
        self.assertEqual((here.stop(), other.stop()), (0, 0))

    def heard(self, cse, entrance):
        cse.sendto(b"again", entrance)
        cse.settimeout(0.5)
        try:
            return cse.recv(4096) == b"other again"
        except TimeoutError:
            return False

    def test_kept_and_dialled_again_and_resumed(self):
        other = self.start("other", listener="", process="dtls-notify-on-stop = yes")
        here = self.start("here", dialer="keep = yes\nredial-max = 1s")
        self.associations(here, 1)
        self.assertEqual(self.ask(here, b"one"), b"other one")
        handle = self.associations(here, 1)[0]["association"]
        daemon = here.ask("assoc", "close", handle)
        self.assertTrue(daemon)
        here.wait_for("resumed=yes")
        self.assertEqual(self.ask(here, b"two"), b"other two")
        self.assertEqual(other.stop(), 0)
        self.associations(here, 0)
        other = self.start("other")
        self.associations(here, 1)
        self.assertEqual(self.ask(here, b"three"), b"other three")
        self.assertEqual((here.stop(), other.stop()), (0, 0))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    certificate_test.HANDFAST = os.path.abspath(sys.argv.pop(3))
    operation_fixture.main(__doc__)
