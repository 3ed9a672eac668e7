#!/usr/bin/env python3
"""shim_test.py SHIM - the shim, driven as BoringSSL's runner would drive it: OpenSSL is the peer,
and this program carries bytes, or frames datagrams and commands, between the two."""
import re
import socket
import struct
import subprocess
import sys
import tempfile
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
    """Listens, starts the shim, and takes its connection; again() takes the next one."""

    def __init__(self, *flags, ipv6=False, shim_id=0x1122334455667788):
        self.listener = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET)
        self.listener.bind(("::1" if ipv6 else "127.0.0.1", 0))
        self.listener.listen(1)
        self.shim = subprocess.Popen(
            [SHIM, "-port", str(self.listener.getsockname()[1]), "-shim-id", str(shim_id),
             *(["-ipv6"] if ipv6 else []), *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lock = threading.Lock()
        self.wire = None
        self.threads = []
        self.again()

    def again(self):
        for thread in self.threads:  # all that was said is carried over
            thread.join(PATIENCE)
        if self.wire is not None:
            self.wire.close()
        until = time.monotonic() + PATIENCE
        self.listener.settimeout(0.1)
        while True:
            try:
                self.wire, _ = self.listener.accept()
                break
            except TimeoutError:
                if self.shim.poll() is not None or time.monotonic() > until:
                    raise EOFError from None
        self.wire.settimeout(PATIENCE)
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

    def expect(self, seconds):
        """The next timeout ought to be in so many seconds; None: there ought to be none."""
        with self.lock:
            value = (1 << 64) - 1 if seconds is None else int(seconds * 1e9)
            self.wire.sendall(b"E" + struct.pack(">Q", value))

    def end(self):
        """The exit code, and what the shim said."""
        self.listener.close()
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
            except OSError:
                pass
            try:
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        self.threads = [threading.Thread(target=carry, args=ends, daemon=True)
                        for ends in ((self.wire, peer), (peer, self.wire))]
        for thread in self.threads:
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
        return runner, self.join(transport, runner, *client)

    def join(self, transport, runner, *client):
        """s_client, at the shim that is a server."""
        port = self.bridge(transport, runner)
        peer = openssl("s_client", "-connect", f"127.0.0.1:{port}", "-psk", KEY.encode().hex(),
                       "-psk_identity", "dev", "-cipher", f"{SUITES[transport]}:@SECLEVEL=0",
                       "-tls1_2" if transport == "tls" else "-dtls1_2", "-nocommands", *client)
        self.addCleanup(self.drop, peer)
        return peer

    @staticmethod
    def drop(peer):
        peer.kill()
        peer.wait()
        peer.stdin.close()
        peer.stdout.close()

    def dial(self, transport, *flags, server=()):
        """The shim as client, s_server as server."""
        kind = socket.SOCK_STREAM if transport == "tls" else socket.SOCK_DGRAM
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        peer = openssl("s_server", "-accept", str(port), "-nocert", "-psk", KEY.encode().hex(),
                       "-psk_identity", "dev", "-cipher", f"{SUITES[transport]}:@SECLEVEL=0",
                       "-tls1_2" if transport == "tls" else "-dtls1_2", *server)
        self.addCleanup(self.drop, peer)
        read_until(peer, rb"ACCEPT")
        runner = Runner(*(["-dtls"] if transport == "dtls" else []), *PSK, *flags)
        runner.port = port
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

    def resume_at_shim(self, *flags, offers=True, tickets=True):
        """Two connections to the shim, the second with the first one's session, or not."""
        with tempfile.TemporaryDirectory() as directory:
            kept = f"{directory}/session"
            more = [] if tickets else ["-no_ticket"]
            runner, peer = self.serve("tls", "-resume-count", "1", *flags,
                                      client=["-sess_out", kept, *more])
            self.echo(peer)
            peer.stdin.close()
            read_until(peer, rb"\Z(?!)")
            runner.again()
            peer = self.join("tls", runner, *(["-sess_in", kept] if offers else []), *more)
            said = b""
            if not flags:
                peer.stdin.write(b"again\n")
                peer.stdin.flush()
                said = read_until(peer, re.escape(flipped(b"again")))
            peer.stdin.close()
            return runner.end(), said

    def test_a_server_resumes(self):
        for tickets in (True, False):
            end, said = self.resume_at_shim(tickets=tickets)
            self.assertEqual(end, (0, ""))
            self.assertIn(b"\nReused, ", said)
            self.assertEqual(b"TLS session ticket:" in said, tickets)

    def test_a_server_does_not_resume(self):
        end, _ = self.resume_at_shim("-on-resume-expect-session-miss", offers=False)
        self.assertEqual(end, (0, ""))
        end, _ = self.resume_at_shim("-check-close-notify", offers=False)
        self.assertEqual(end, (1, "no session was resumed\n"))
        end, _ = self.resume_at_shim("-on-resume-expect-session-miss")
        self.assertEqual(end, (1, "a session was resumed\n"))
        end, _ = self.resume_at_shim("-resumption-delay", "4000", "-expect-session-miss")
        self.assertEqual(end, (0, ""))

    def resume_from_shim(self, *flags, server=()):
        """The shim dials twice, and says how that went."""
        runner, _ = self.dial("tls", "-resume-count", "1", "-shim-shuts-down", *flags,
                              server=server)
        try:
            runner.again()
            runner.carry_stream(connect(runner.port))
        except EOFError:
            pass  # it has nothing more to do
        return runner.end()

    def test_a_client_resumes(self):
        for server, flag in (((), "-expect-no-session-id"),
                             (("-no_ticket",), "-on-initial-expect-session-id")):
            self.assertEqual(self.resume_from_shim(flag, server=server), (0, ""))

    def test_a_client_does_not_resume(self):
        end = self.resume_from_shim("-on-resume-expect-session-miss")
        self.assertEqual(end, (1, "a session was resumed\n"))
        end = self.resume_from_shim("-on-initial-expect-no-session")
        self.assertEqual(end, (1, "a session came\n"))
        end = self.resume_from_shim("-no-ticket", "-expect-no-session",
                                    "-on-resume-expect-session-miss")
        self.assertEqual(end, (0, ""))
        end = self.resume_from_shim("-on-initial-expect-session-id")
        self.assertEqual(end, (1, "no session with an ID came\n"))

    def test_when_the_next_timeout_is(self):
        for first, second, said in ((0.4, 0.8, None), (0.2, None, "no timeout when expected"),
                                    (0.6, None, "a timeout before it was expected"),
                                    (None, None, "a timeout before it was expected"),
                                    (0.4, 1.6, "a timeout before it was expected")):
            runner = Runner("-dtls", *PSK, "-initial-timeout-duration-ms", "400")
            runner.read_packet()
            runner.expect(first)
            runner.advance(0.1)
            self.assertIsNone(runner.read_packet())
            if second is not None:
                runner.advance(0.3)
                self.assertIsNone(runner.read_packet())
                runner.read_packet()
                runner.expect(second)  # the interval doubles
            runner.advance(0.81)
            try:
                while runner.read_packet() is not None:
                    pass
                if said is None:
                    runner.read_packet()
                    runner.wire.close()
            except (EOFError, ConnectionResetError):
                pass
            code, err = runner.end()
            self.assertEqual(code, 1)
            self.assertIn(said or ":TRUNCATED:", err)

    def make_certificates(self, directory):
        """A CA, a server and a client, as TS-0003 has CSEs: PEM files NAME.pem and NAME.key."""
        def run(*arguments):
            subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=directory)
        for name, extensions in (
                ("ca", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign"),
                ("server", "keyUsage=critical,digitalSignature\nsubjectAltName=DNS:in.b.example"),
                ("client", "keyUsage=critical,digitalSignature\nsubjectAltName=DNS:in.a.example")):
            with open(f"{directory}/{name}.cnf", "w", encoding="ascii") as file:
                file.write(f"prompt=no\ndistinguished_name=d\n[d]\nCN={name}\n[e]\n{extensions}\n"
                           "[ca]\ndefault_ca=c\n[c]\ndatabase=index\nserial=serial\n"
                           "new_certs_dir=.\ndefault_md=sha256\npolicy=p\ncopy_extensions=none\n"
                           "[p]\ncommonName=supplied\n")
            run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
            with open(f"{directory}/index", "w", encoding="ascii"):
                pass
            with open(f"{directory}/{name}.cnf", "r+", encoding="ascii") as file:
                text = file.read()
                file.seek(0)
                file.write("[req]\n" + text)
            run("req", "-new", "-key", f"{name}.key", "-config", f"{name}.cnf", "-out", "req")
            issuer = ["-selfsign", "-keyfile", "ca.key"] if name == "ca" else [
                "-cert", "ca.pem", "-keyfile", "ca.key"]
            # The shim's clock stands in November 2023.
            run("ca", "-batch", "-config", f"{name}.cnf", "-in", "req", "-out", f"{name}.pem",
                "-rand_serial", "-startdate", "20230101000000Z", "-enddate", "20400101000000Z",
                "-extensions", "e", "-notext", *issuer)

    def test_certificates(self):
        with tempfile.TemporaryDirectory() as directory:
            self.make_certificates(directory)
            ours = ["-cert-file", f"{directory}/server.pem", "-key-file",
                    f"{directory}/server.key", "-trust-cert", f"{directory}/ca.pem",
                    "-require-any-client-certificate"]
            for flags, expected in (
                    (["-expect-peer-signature-algorithm", "1027"], (0, "")),
                    (["-max-cert-list", "100"], (1, ":CHAIN_LENGTH:|:MESSAGE_TOO_LONG:"))):
                runner = Runner("-server", *ours, *flags)
                peer = openssl("s_client", "-connect", f"127.0.0.1:{self.bridge('tls', runner)}",
                               "-tls1_2", "-cert", f"{directory}/client.pem", "-key",
                               f"{directory}/client.key", "-cipher", "ECDHE-ECDSA-AES128-SHA256")
                self.addCleanup(self.drop, peer)
                if expected[0] == 0:
                    self.echo(peer)
                    peer.stdin.close()
                code, err = runner.end()
                self.assertEqual(code, expected[0], err)
                self.assertRegex(err, expected[1] or "^$")

    def test_what_is_not_known(self):
        for flags in (["-no-such-flag"], ["-on-resume-no-such-flag"], ["-quic"],
                      ["-advertise-alpn", "x"], ["-min-version", "772"], ["-max-version", "770"],
                      ["-on-resume-max-version", "770"], ["-server"], [], ["-cipher", "RC4-SHA"]):
            done = subprocess.run([SHIM, "-port", "1", "-shim-id", "1", *flags], timeout=PATIENCE,
                                  capture_output=True, check=False)
            self.assertEqual(done.returncode, 89, (flags, done.stderr))
        done = subprocess.run([SHIM, "-is-handshaker-supported"], timeout=PATIENCE,
                              capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, b"No\n"))
        # A command of the wire that it cannot obey.
        runner = Runner("-dtls", *PSK)
        runner.wire.sendall(b"U" + bytes(8))
        self.assertEqual(runner.end()[0], 89)


if __name__ == "__main__":
    SHIM = sys.argv.pop(1)
    unittest.main()
