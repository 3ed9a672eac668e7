#!/usr/bin/env python3
"""proxy_in_test.py HANDFASTD HANDFASTCTL - TLS listeners behind a balancer: its PROXY header names
the peer, HAProxy's and ones made by hand; and nobody else's header is believed."""
import shutil
import socket
import struct
import subprocess
import threading
import time
import unittest

import operation_fixture
import process_test
from operation_fixture import OperationFixture
from process_test import PATIENCE

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
CONFIG = """
listener "front" {
    transport = tls
    address = "127.0.0.1:0"
    authority = a
    respond = whoami
    trusted-proxy = {"127.0.0.1", "2001:db8::/32"}
}
listener "direct" {
    transport = tls
    address = "127.0.0.1:0"
    authority = a
    respond = whoami
    trusted-proxy = {"192.0.2.0/24"}
}
authority "a" { psk-file = "{keys}" }
control { socket = "{socket}" }
log { format = logfmt }
"""


def header(address="198.51.100.9", port=4711, command=0x21, tlvs=b""):
    """A header of version 2."""
    if command == 0x20:
        body, family = b"", 0
    elif ":" in address:
        body = socket.inet_pton(socket.AF_INET6, address) * 2 + struct.pack(">HH", port, 443)
        family = 0x21
    else:
        body = socket.inet_aton(address) + socket.inet_aton("192.0.2.1")
        body, family = body + struct.pack(">HH", port, 443), 0x11
    body += tlvs
    return SIGNATURE + bytes((command, family)) + struct.pack(">H", len(body)) + body


class Relay:
    """A balancer of one connection at a time, which says `first` before anything else."""

    def __init__(self, port, first, step=None):
        self.port, self.first, self.step = port, first, step
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(0, len(self.first), self.step or len(self.first)):
                server.sendall(self.first[i:i + (self.step or len(self.first))])
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=pair, daemon=True).start()

    @staticmethod
    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()


class ProxyInTest(OperationFixture):
    def relay(self, daemon, first, index=0, step=None):
        relay = Relay(daemon.port("tls", index), first, step)
        self.addCleanup(relay.close)
        return relay.listener.getsockname()[1]

    def peer_of(self, daemon, port):
        """What the daemon takes a client for that comes through the relay."""
        client = self.client(daemon, port=port)
        self.assertTrue(client.asks_whoami())
        found = self.associations(daemon, 1)
        client.close()
        self.associations(daemon, 0)
        return found[0]["peer"]

    def test_named_by_hand(self):
        daemon = self.start_daemon(CONFIG)
        cases = (
            (header(), None, "198.51.100.9:4711"),
            (header(), 1, "198.51.100.9:4711"),
            (header("2001:db8:7::1", 99), 3, "[2001:db8:7::1]:99"),
            (header(tlvs=b"\x02\0\x0bexample.com" + b"\x04\x04\0" + bytes(1024)), None,
             "198.51.100.9:4711"),
        )
        for first, step, expected in cases:
            self.assertEqual(self.peer_of(daemon, self.relay(daemon, first, step=step)), expected)
        # Of its own doing: the connection is its own.
        peer = self.peer_of(daemon, self.relay(daemon, header(command=0x20)))
        self.assertTrue(peer.startswith("127.0.0.1:"), peer)

    def test_refused(self):
        daemon = self.start_daemon(CONFIG)
        bad = (b"\x16\x03\x01\x02\0\x01", header()[:12] + b"\x31" + header()[13:],
               header()[:20], header(tlvs=b"\x04\x10\0" + bytes(4096)), b"PROXY TCP4 ")
        for first in bad:
            with socket.create_connection(("127.0.0.1", daemon.port("tls"))) as stream:
                stream.settimeout(PATIENCE)
                stream.sendall(first)
                stream.shutdown(socket.SHUT_WR)
                try:
                    self.assertEqual(stream.recv(100), b"", first)
                except ConnectionResetError:
                    pass
        # Nobody else's word counts: the header is no ClientHello.
        with socket.create_connection(("127.0.0.1", daemon.port("tls", 1))) as stream:
            stream.settimeout(PATIENCE)
            stream.sendall(header())
            self.assertNotIn(b"\x16", stream.recv(100)[:1])
        client = self.client(daemon, port=daemon.port("tls", 1))  # and none is asked for
        self.assertTrue(client.asks_whoami())
        self.assertTrue(self.associations(daemon, 1)[0]["peer"].startswith("127.0.0.1:"))

    def test_silent_balancer(self):
        """It has five seconds for its header; a stop does not wait for them."""
        daemon = self.start_daemon(CONFIG)
        with socket.create_connection(("127.0.0.1", daemon.port("tls"))) as stream, \
                socket.create_connection(("127.0.0.1", daemon.port("tls"))) as late:
            stream.settimeout(PATIENCE)
            stream.sendall(header()[:5])
            begun = time.monotonic()
            self.assertEqual(stream.recv(1), b"")
            self.assertGreater(time.monotonic() - begun, 3)
            late.close()
        with socket.create_connection(("127.0.0.1", daemon.port("tls"))) as stream:
            stream.sendall(header()[:5])
            self.assertEqual(daemon.stop(), 0)

    @unittest.skipUnless(shutil.which("haproxy"), "haproxy is not installed")
    def test_haproxy(self):
        daemon = self.start_daemon(CONFIG)
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            port = chosen.getsockname()[1]
        path = self.path("haproxy.cfg")
        with open(path, "w", encoding="ascii") as file:
            file.write("defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n"
                       "    timeout server 60s\n"
                       f"frontend f\n    bind 127.0.0.1:{port}\n    default_backend b\n"
                       f"backend b\n    server s 127.0.0.1:{daemon.port('tls')} send-proxy-v2\n")
        haproxy = subprocess.Popen(["haproxy", "-db", "-f", path], stderr=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)
        self.addCleanup(lambda: (haproxy.kill(), haproxy.wait()))
        until = time.monotonic() + PATIENCE
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)
        client = self.client(daemon, port=port)
        self.assertTrue(client.asks_whoami())
        peer = self.associations(daemon, 1)[0]["peer"]
        # The client's own address, not that of HAProxy's connection to the daemon.
        sockets = subprocess.run(["ss", "-Htn", "dst", f"127.0.0.1:{port}"], capture_output=True,
                                 text=True, check=True).stdout
        self.assertIn(f" {peer} ", sockets.replace("\n", " \n"))


if __name__ == "__main__":
    operation_fixture.main("usage: proxy_in_test.py HANDFASTD HANDFASTCTL")
