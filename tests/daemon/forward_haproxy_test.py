#!/usr/bin/env python3
"""forward_haproxy_test.py HANDFASTD - an HTTP server behind HAProxy's accept-proxy behind the
daemon: the server sees who the device is, and nothing that a device says about it. HAProxy is
configured as docs/FORWARDING.md says: its lines are taken from there."""
import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import unittest

import forward_parts as parts
import forward_test
import process_test
from forward_parts import PATIENCE

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
KEYS = "".join(f"{name}:{process_test.KEY}{entity}\n" for name, entity in (
    ("dev", ":/in-cse/Cdev"), ("one", ":/in-cse/Cone"), ("pending", "")))
SPOOFED = ("X-M2M-Entity: /in-cse/Cadmin", "x-m2m-entity: /in-cse/Cadmin",
           "X-M2M-ENTITY : /in-cse/Cadmin", "X-M2M-Association: ffffffffffffffff",
           "X_M2M_Entity: /in-cse/Cadmin", "X-M2M-Server-Name: admin",
           "X-Forwarded-For: 192.0.2.99")


def documented_frontend():
    """The block of the documentation, which operators paste."""
    with open(os.path.join(ROOT, "docs/FORWARDING.md"), encoding="utf-8") as file:
        return re.search(r"```\n(frontend cse\n.*?)```", file.read(), re.S).group(1)


def device_answer(device):
    """Some of an answer: what comes in two seconds."""
    data = b""
    while b"connection=" not in data and b"entity=" not in data:
        data += device.hear()
    return data


class Handler(http.server.BaseHTTPRequestHandler):
    """Tells what it was told."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = "".join(f"{name.lower()}={value}\n" for name, value in self.headers.items())
        body = body.encode("latin-1")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@unittest.skipUnless(shutil.which("haproxy"), "haproxy is not installed")
class HaproxyTest(forward_test.ForwardTest):
    def setUp(self):
        super().setUp()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.haproxy = None

    def tearDown(self):
        super().tearDown()
        self.stop_haproxy()
        self.server.shutdown()
        self.server.server_close()

    def stop_haproxy(self):
        if self.haproxy is not None:
            self.haproxy.kill()
            self.haproxy.wait()

    def start_haproxy(self, host="127.0.0.1", port=0):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        if port == 0:
            with socket.socket(family) as chosen:
                chosen.bind((host, 0))
                port = chosen.getsockname()[1]
        text = documented_frontend()
        self.assertIn("bind 127.0.0.1:8080 accept-proxy", text)
        bound = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        text = text.replace("127.0.0.1:8080", bound)
        path = self.path("haproxy.cfg")
        with open(path, "w", encoding="ascii") as file:
            file.write("defaults\n    mode http\n    option forwardfor\n    timeout connect 5s\n"
                       "    timeout client 60s\n    timeout server 60s\n" + text +
                       f"backend cse\n    server cse 127.0.0.1:{self.server.server_port}\n")
        done = subprocess.run(["haproxy", "-c", "-f", path], capture_output=True, text=True,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.haproxy = subprocess.Popen(["haproxy", "-db", "-f", path],
                                        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until = time.monotonic() + PATIENCE
        while True:  # a connection without the header is refused, but there
            with socket.socket(family) as probe:
                if probe.connect_ex((host, port)) == 0:
                    return bound, port
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)

    def start_daemon(self, upstream):
        return self.start("--upstream-tcp", upstream, "--proxy-protocol", "--proxy-unique-id",
                          "association-and-entity", keys=KEYS, listeners=forward_test.TLS)

    def ask(self, device, *lines):
        """What the server was told of one request, as lists by header."""
        request = "GET / HTTP/1.1\r\nHost: cse\r\n" + "".join(f"{x}\r\n" for x in lines) + "\r\n"
        device.say(request.encode())
        data = b""
        while b"\r\n\r\n" not in data:
            part = device.hear()
            self.assertNotEqual(part, b"", data)
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200"), head)
        length = int(re.search(rb"content-length: *(\d+)", head, re.I).group(1))
        body += device.hear_all(length - len(body))
        told = {}
        for line in body.decode("latin-1").splitlines():
            name, _, value = line.partition("=")
            told.setdefault(name.strip(), []).append(value)
        return told

    def test_the_server_sees_who_it_is(self):
        for host in ("127.0.0.1", "::1"):
            bound, _ = self.start_haproxy(host)
            daemon = self.start_daemon(bound)
            seen = {}
            for identity in ("dev", "one"):
                device = self.device(daemon, "tls", "-servername", "cse.example.org",
                                     identity=identity)
                for _ in range(2):  # and again on the same connection
                    told = self.ask(device)
                    self.assertEqual(told["x-m2m-entity"], [f"/in-cse/C{identity}"])
                    self.assertEqual(told["x-m2m-server-name"], ["cse.example.org"])
                    self.assertEqual(told["x-forwarded-for"], ["127.0.0.1"])
                    seen.setdefault(identity, set()).update(told["x-m2m-association"])
            self.assertTrue(all(len(ids) == 1 for ids in seen.values()), seen)
            self.assertNotEqual(seen["dev"], seen["one"])
            self.assertRegex(" ".join(seen["dev"]), "^[0-9a-f]{16}$")
            self.assertEqual(daemon.stop(), 0)
            self.stop_haproxy()

    def test_what_a_device_makes_up_is_gone(self):
        bound, _ = self.start_haproxy()
        daemon = self.start_daemon(bound)
        device = self.device(daemon, "tls", identity="one")
        for spoofed in ([line] for line in SPOOFED if " :" not in line):
            told = self.ask(device, *spoofed)
            self.assertEqual(told["x-m2m-entity"], ["/in-cse/Cone"], spoofed)
            self.assertEqual(len(told["x-m2m-association"]), 1)
            self.assertNotIn("ffffffffffffffff", told["x-m2m-association"])
            self.assertNotIn("x-m2m-server-name", told)  # it named none
            self.assertFalse([name for name in told if "_" in name], told)
        told = self.ask(device, *[line for line in SPOOFED if " :" not in line])
        self.assertEqual(told["x-m2m-entity"], ["/in-cse/Cone"])
        self.assertEqual(told["x-forwarded-for"], ["127.0.0.1"])
        pending = self.device(daemon, "tls", identity="pending")
        told = self.ask(pending, *[line for line in SPOOFED if " :" not in line])
        self.assertNotIn("x-m2m-entity", told)  # nobody yet, whatever it says
        device.say(b"GET / HTTP/1.1\r\nHost: cse\r\n" + SPOOFED[2].encode() + b"\r\n\r\n")
        self.assertNotIn(b" 200", device.hear())  # a blank before the colon is not let through

    def test_without_the_header_nobody_is_believed(self):
        """HAProxy takes no request on that port without one."""
        _, port = self.start_haproxy()
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(PATIENCE)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: cse\r\n"
                               b"X-M2M-Entity: /in-cse/Cadmin\r\n\r\n")
            try:
                answer = connection.recv(4096)
            except ConnectionResetError:
                answer = b""
        self.assertNotIn(b" 200", answer)

    def test_haproxy_restarts(self):
        bound, port = self.start_haproxy()
        daemon = self.start_daemon(bound)
        device = self.device(daemon, "tls")
        self.ask(device)
        time.sleep(1.2)  # so that nobody can think it belongs to the answer
        self.stop_haproxy()
        other = self.device(daemon, "tls", identity="one")
        other.say(b"GET / HTTP/1.1\r\nHost: cse\r\n\r\n")
        self.await_metric(daemon, "handfast_upstream_retries_total", 1)
        daemon.wait_for_metric("handfast_associations", 2)
        self.start_haproxy(port=port)
        self.assertIn(b"/in-cse/Cone", device_answer(other))
        self.assertEqual(self.ask(device)["x-m2m-entity"], ["/in-cse/Cdev"])
        self.assertEqual(daemon.metric("handfast_associations"), 2)


def load_tests(loader, tests, pattern):
    """Not those that were only imported."""
    del tests, pattern
    return unittest.TestSuite(HaproxyTest(name) for name in loader.getTestCaseNames(HaproxyTest)
                              if name in vars(HaproxyTest))


if __name__ == "__main__":
    process_test.HANDFASTD = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
