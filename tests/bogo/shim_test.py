#!/usr/bin/env python3
"""shim_test.py SHIM - the shim, driven as BoringSSL's runner would drive it: OpenSSL is the peer,
and this program carries bytes, or frames datagrams and commands, between the two."""
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

SHIM = None
KEY = "0123456789abcdef"
PSK = ["-psk", KEY, "-psk-identity", "dev"]
SUITES = {"tls": "PSK-AES128-CBC-SHA256", "dtls": "PSK-AES128-CCM8"}
PATIENCE = 20


def flipped(data):
    return bytes(octet ^ 0xFF for octet in data)


class Runner:
    """Listens, starts the shim, and takes its connection."""

    def __init__(self, *flags, ipv6=False, shim_id=0x1122334455667788):
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        with socket.socket(family) as listener:
            listener.bind(("::1" if ipv6 else "127.0.0.1", 0))
            listener.listen(1)
            listener.settimeout(PATIENCE)
            self.shim = subprocess.Popen(
                [SHIM, "-port", str(listener.getsockname()[1]), "-shim-id", str(shim_id),
                 *(["-ipv6"] if ipv6 else []), *flags], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE)
            self.wire, _ = listener.accept()
        self.wire.settimeout(PATIENCE)
        self.lock = threading.Lock()
        self.shim_id = struct.unpack("<Q", self.read(8))[0]

    def read(self, length):
        data = b""
        while len(data) < length:
            part = self.wire.recv(length - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def read_packet(self):
        opcode = self.read(1)
        if opcode == b"t":
            return None
        assert opcode == b"P", opcode
        return self.read(struct.unpack(">I", self.read(4))[0])

    def send_packet(self, data):
        with self.lock:
            self.wire.sendall(b"P" + struct.pack(">I", len(data)) + data)

    def advance(self, seconds):
        with self.lock:
            self.wire.sendall(b"T" + struct.pack(">Q", int(seconds * 1e9)))

    def end(self):
        """The exit code, and what the shim said."""
        try:
            _, err = self.shim.communicate(timeout=PATIENCE)
        finally:
            self.shim.kill()
            self.wire.close()
        return self.shim.returncode, err.decode()

    # -- what is between it and OpenSSL --

    def carry_stream(self, peer):
        def carry(source, sink):
            try:
                while data := source.recv(65536):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        threads = [threading.Thread(target=carry, args=ends, daemon=True)
                   for ends in ((self.wire, peer), (peer, self.wire))]
        for thread in threads:
            thread.start()

    def carry_datagrams(self, udp, to=None):
        """`to`: where the peer is; None: who speaks first."""
        def up():
            try:
                while True:
                    packet = self.read_packet()
                    if packet is not None:
                        udp.sendto(packet, self.peer)
            except (OSError, EOFError):
                udp.close()

        def down():
            try:
                while True:
                    data, self.peer = udp.recvfrom(65536)
                    self.send_packet(data)
            except OSError:
                pass
        self.peer = to
        for target in (up, down):
            threading.Thread(target=target, daemon=True).start()


def openssl(*arguments):
    return subprocess.Popen(["openssl", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def read_until(process, pattern):
    data = b""
    until = time.monotonic() + PATIENCE
    while not re.search(pattern, data, re.S) and time.monotonic() < until:
        part = process.stdout.read1(65536)
        if not part:
            break
        data += part
    return data


def connect(port):
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), PATIENCE)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


class ShimTest(unittest.TestCase):
    def bridge(self, transport, runner):
        """A port for s_client to dial; what comes goes to the shim."""
        if transport == "tls":
            listener = socket.create_server(("127.0.0.1", 0))
            port = listener.getsockname()[1]

            def wait():
                peer, _ = listener.accept()
                listener.close()
                runner.carry_stream(peer)
            threading.Thread(target=wait, daemon=True).start()
            return port
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        runner.carry_datagrams(udp)
        return udp.getsockname()[1]

    def serve(self, transport, *flags, client=()):
        """The shim as server, s_client as client: (runner, s_client)."""
        runner = Runner("-server", *(["-dtls"] if transport == "dtls" else []), *PSK, *flags)
        port = self.bridge(transport, runner)
        peer = openssl("s_client", "-connect", f"127.0.0.1:{port}", "-psk", KEY.encode().hex(),
                       "-psk_identity", "dev", "-cipher", f"{SUITES[transport]}:@SECLEVEL=0",
                       "-tls1_2" if transport == "tls" else "-dtls1_2", "-nocommands", *client)
        self.addCleanup(self.drop, peer)
        return runner, peer

    @staticmethod
    def drop(peer):
        peer.kill()
        peer.wait()
        peer.stdin.close()
        peer.stdout.close()

    def dial(self, transport, *flags):
        """The shim as client, s_server as server."""
        kind = socket.SOCK_STREAM if transport == "tls" else socket.SOCK_DGRAM
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        peer = openssl("s_server", "-accept", str(port), "-nocert", "-psk", KEY.encode().hex(),
                       "-psk_identity", "dev", "-cipher", f"{SUITES[transport]}:@SECLEVEL=0",
                       "-tls1_2" if transport == "tls" else "-dtls1_2")
        self.addCleanup(self.drop, peer)
        read_until(peer, rb"ACCEPT")
        runner = Runner(*(["-dtls"] if transport == "dtls" else []), *PSK, *flags)
        if transport == "tls":
            runner.carry_stream(connect(port))
        else:
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.bind(("127.0.0.1", 0))
            runner.carry_datagrams(udp, ("127.0.0.1", port))
        return runner, peer

    def echo(self, peer, text=b"echo this"):
        peer.stdin.write(text + b"\n")
        peer.stdin.flush()
        self.assertIn(flipped(text), read_until(peer, re.escape(flipped(text))))

    def test_server(self):
        for transport in ("tls", "dtls"):
            runner, peer = self.serve(transport, "-expect-extended-master-secret")
            self.assertEqual(runner.shim_id, 0x1122334455667788)
            self.echo(peer)
            peer.stdin.close()
            self.assertEqual(runner.end(), (0, ""))

    def test_client(self):
        for transport in ("tls", "dtls"):
            runner, peer = self.dial(transport, "-expect-cipher",
                                     "174" if transport == "tls" else "49320")
            read_until(peer, rb"CIPHER is|Shared ciphers")
            self.echo(peer)
            peer.stdin.write(b"Q\n")
            peer.stdin.flush()
            if transport == "dtls":  # nobody says goodbye there
                runner.wire.shutdown(socket.SHUT_RDWR)
            self.assertEqual(runner.end(), (0, ""))

    def test_ipv6(self):
        runner = Runner("-server", *PSK, ipv6=True, shim_id=7)
        self.assertEqual(runner.shim_id, 7)
        runner.wire.close()
        code, err = runner.end()
        self.assertEqual(code, 1)
        self.assertIn(":TRUNCATED:", err)

    def test_exporter(self):
        runner, peer = self.serve("tls", "-export-keying-material", "32", "-export-label",
                                  "EXPORTER-test",
                                  client=["-keymatexport", "EXPORTER-test", "-keymatexportlen",
                                          "32"])
        peer.stdin.write(b"the end\n")
        peer.stdin.flush()
        data = read_until(peer, re.escape(flipped(b"the end")))
        theirs = bytes.fromhex(re.search(rb"Keying material: ([0-9A-F]{64})", data)[1].decode())
        self.assertIn(theirs, data)
        peer.stdin.close()
        self.assertEqual(runner.end(), (0, ""))

    def test_server_names(self):
        runner, peer = self.serve("tls", "-expect-server-name", "name.example",
                                  client=["-servername", "name.example"])
        self.echo(peer)
        peer.stdin.close()
        self.assertEqual(runner.end(), (0, ""))
        runner, peer = self.serve("tls", "-expect-server-name", "other.example",
                                  client=["-servername", "name.example"])
        self.assertEqual(runner.end(), (1, "another server name came\n"))

    def test_writes_first_and_shuts_down(self):
        runner, peer = self.serve("tls", "-shim-writes-first", "-shim-shuts-down",
                                  "-check-close-notify", client=["-quiet"])
        self.assertIn(b"hello", read_until(peer, b"hello"))
        self.assertEqual(runner.end(), (0, ""))

    def test_a_wrong_key(self):
        runner = Runner("-server", "-psk", "fedcba9876543210", "-psk-identity", "dev")
        port = self.bridge("tls", runner)
        peer = openssl("s_client", "-connect", f"127.0.0.1:{port}", "-psk", KEY.encode().hex(),
                       "-psk_identity", "dev", "-cipher", "PSK-AES128-CBC-SHA256:@SECLEVEL=0",
                       "-tls1_2")
        self.addCleanup(self.drop, peer)
        code, err = runner.end()
        self.assertEqual(code, 1)
        self.assertIn(":KEY_MISMATCH:", err)

    def test_the_clock_is_the_runners(self):
        runner = Runner("-dtls", *PSK)
        hello = runner.read_packet()
        now = 0
        for due in (1, 3, 7):  # RFC 6347 4.2.4.1: the interval doubles
            runner.advance(due - 0.1 - now)
            now = due + 0.1
            self.assertIsNone(runner.read_packet())  # the acknowledgement, and no hello
            runner.advance(0.2)
            self.assertIsNone(runner.read_packet())
            again = runner.read_packet()
            self.assertEqual(again[13:], hello[13:])
            self.assertGreater(again[5:11], hello[5:11])
        runner.wire.close()
        self.assertEqual(runner.end()[0], 1)

    def test_a_first_timeout_of_choice(self):
        runner = Runner("-dtls", *PSK, "-initial-timeout-duration-ms", "250")
        hello = runner.read_packet()
        runner.advance(0.25)
        self.assertIsNone(runner.read_packet())
        self.assertEqual(runner.read_packet()[13:], hello[13:])
        runner.wire.close()
        runner.end()

    def test_the_mtu(self):
        runner = Runner("-dtls", "-psk", KEY, "-psk-identity", "x" * 600, "-mtu", "256")
        hello = runner.read_packet()
        self.assertLessEqual(len(hello), 256)
        runner.wire.sendall(b"M" + struct.pack(">I", 300))
        runner.advance(1)
        self.assertIsNone(runner.read_packet())
        self.assertEqual(runner.read_packet()[13:], hello[13:])
        runner.wire.close()
        runner.end()

    def test_what_is_not_known(self):
        for flags in (["-no-such-flag"], ["-resume-count", "1"], ["-quic"], ["-on-resume-async"],
                      ["-advertise-alpn", "x"], ["-min-version", "772"], ["-max-version", "770"],
                      ["-server"], [], ["-cipher", "RC4-SHA"]):
            done = subprocess.run([SHIM, "-port", "1", "-shim-id", "1", *flags], timeout=PATIENCE,
                                  capture_output=True, check=False)
            self.assertEqual(done.returncode, 89, (flags, done.stderr))
        done = subprocess.run([SHIM, "-is-handshaker-supported"], timeout=PATIENCE,
                              capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, b"No\n"))
        # A command of the wire that it cannot obey.
        runner = Runner("-dtls", *PSK)
        runner.wire.sendall(b"E" + bytes(8))
        self.assertEqual(runner.end()[0], 89)


if __name__ == "__main__":
    SHIM = sys.argv.pop(1)
    unittest.main()
