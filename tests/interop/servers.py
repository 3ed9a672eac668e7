"""servers.py - our client, `handfast connect`, and other people's servers: how each is started,
told what to do, and read."""
import json
import os
import tempfile
import time

import peers
from cases_certificate import SUITES as CERTIFICATE_SUITES
from harness import Fail, Skip, free_port, is_bound
from peers import IDENTITY, KEY_HEX, KEY_TEXT, program

PATIENCE = 20
SERVER_ID = "//m2msp.example/in-cse"
COAP_GET = b"\x40\x01\x12\x34\xbb.well-known\x04core"


class Order:
    """What a case wants of both ends."""

    def __init__(self, transport, suite, proof=None, sessions=None):
        self.transport = transport
        self.suite = suite
        self.proof = proof or ("certificate" if suite in CERTIFICATE_SUITES else "psk")  # or raw
        self.sessions = sessions  # "id" or "ticket": the only way that is open; None: neither

    @property
    def is_dtls(self):
        return self.transport == "dtls"

    def name(self, library):
        """The suite's, for OpenSSL 0, GnuTLS 1, Mbed TLS 2, IANA -1."""
        return (CERTIFICATE_SUITES if self.suite in CERTIFICATE_SUITES else
                peers.SUITES)[self.suite][library]

    def __str__(self):
        sessions = f" by {self.sessions}" if self.sessions else ""
        return f"{self.transport} 0x{self.suite:04X} {self.proof}{sessions}"


# ---- our client -----------------------------------------------------------------------------

class Dialled:
    """One run of `handfast connect`."""

    def __init__(self, bench, server, order, session=None, seconds=PATIENCE):
        argv = [bench.servers.handfast, "connect", f"--{order.transport}",
                f"127.0.0.1:{server.port}", "--json", "--timeout", seconds, "--suites",
                f"0x{order.suite:04X}", "--linger", 0 if order.is_dtls else PATIENCE]
        argv += self.credential(bench, server, order)
        argv += ["--session", session] if session else []
        self.order = order
        self.process = bench.process(argv)

    @staticmethod
    def credential(bench, server, order):
        pki = bench.servers.pki
        if order.proof == "psk":
            return ["--psk-file", bench.servers.key_file, "--identity", IDENTITY]
        if order.proof == "raw":
            return ["--rpk-key", f"{pki}/raw-ae.key", "--server-rpk", f"{pki}/raw-in-cse.pub",
                    "--expect", SERVER_ID]
        who, authority = ("plain-ae", "plain") if server.is_plain else (server.client, "root")
        return ["--cert", f"{pki}/{who}.pem", "--key", f"{pki}/{who}.key", "--ca",
                f"{pki}/{authority}.pem", "--expect", SERVER_ID]

    def expect_connected(self, is_resumed=False):
        """Checks what it reports."""
        match = self.process.expect(rb'(\{"established":.*?\})\n', PATIENCE, "a report")
        told = json.loads(match.group(1))
        if not told["established"]:
            raise Fail(f"not established: {told}")
        wanted = {"suite": self.order.name(-1), "resumed": is_resumed,
                  "extended_master_secret": True,
                  "framework": "provisioned-symmetric-key" if self.order.proof == "psk"
                               else "certificate"}
        if self.order.proof != "psk":
            wanted["entity_id"] = SERVER_ID
        for name, value in wanted.items():
            if told[name] != value:
                raise Fail(f"{name} is {told[name]!r}, not {value!r}")

    def expect_data(self, data):
        if not peers.wait_for_data(self.process, 0, data, PATIENCE):
            raise Fail(f"{data!r} did not arrive")

    def end(self):
        self.process.end_input()
        if self.process.wait(PATIENCE) != 0:
            raise Fail("handfast connect did not end well")


class SessionFile:
    """A name for `handfast connect --session`; there is no such file yet."""

    def __init__(self, bench):
        self.directory = tempfile.TemporaryDirectory()
        self.name = os.path.join(self.directory.name, "session")
        bench.keep(self)

    def stop(self):
        self.directory.cleanup()


# ---- their servers --------------------------------------------------------------------------

class Echo:
    """A server that is running: `process`, `port`. What it hears it gives back."""
    has_resumption = has_close = True
    is_plain = False  # shows a certificate of an authority without name constraints
    client = "ae"  # otherwise: what it is shown
    question = answer = b"one line\n"

    def __init__(self, bench, order):
        self.bench = bench
        self.order = order
        self.count = 0  # of associations served
        self.process = self.port = None
        self.start()

    def launch(self, argv, pattern):
        """Starts a program that says which port it has chosen."""
        self.process = self.bench.process(argv)
        self.port = int(self.process.expect(pattern, PATIENCE, "a server").group(1))

    def launch_at(self, command, offset=0):
        """Starts a program that has to be told: `command` makes its argv of a port, `offset` above
        which it then waits. Once more if somebody else was faster."""
        for _ in range(5):
            port = free_port(self.order.transport)
            self.process = self.bench.process(command(port - offset))
            until = time.monotonic() + PATIENCE
            while not self.process.is_ended and time.monotonic() < until:
                if is_bound(port, self.order.transport):
                    self.port = port
                    return
                time.sleep(0.01)
            self.process.stop()
        raise Fail("the server does not start")

    @classmethod
    def lacks(cls, order):
        """Why this server cannot do what a case is about, or None."""
        del order
        return None

    def expect_exchange(self, client):
        client.process.send(self.question)
        client.expect_data(self.answer)

    def expect_count(self, pattern, what):
        """That the server has said it once for each association."""
        self.process.expect(rb".*".join([pattern] * self.count), PATIENCE, what)

    def expect_resumed(self):
        """That the server says so, of the last association."""

    def expect_closed(self):
        """That the server says that the client has said goodbye."""


class OpenSslServer(Echo):
    """openssl s_server; it shows what it hears, and what it sends is its standard input."""
    name = "openssl"

    def start(self):
        pki, order = self.bench.servers.pki, self.order
        argv = [program("openssl"), "s_server", "-accept", "127.0.0.1:0", "-cipher",
                f"{order.name(0)}:@SECLEVEL=0"]
        argv += ["-dtls1_2", "-mtu", 1300] if order.is_dtls else ["-tls1_2"]
        argv += [] if order.sessions == "ticket" else ["-no_ticket"]
        argv += [] if order.sessions == "id" else ["-no_cache"]
        if order.proof == "psk":
            argv += ["-nocert", "-psk", KEY_HEX, "-psk_identity", IDENTITY]
        else:
            argv += ["-cert", f"{pki}/in-cse.pem", "-key", f"{pki}/in-cse.key", "-cert_chain",
                     f"{pki}/sp.pem", "-CAfile", f"{pki}/anchors.pem", "-Verify", 3,
                     "-verify_return_error"]
        self.launch(argv, rb"ACCEPT 127\.0\.0\.1:(\d+)\n")

    def expect_exchange(self, client):
        line = b"line %d of openssl's client\n" % self.count
        client.process.send(line)
        self.process.expect(line, PATIENCE)
        answer = b"and %d of openssl's server\n" % self.count
        self.process.send(answer)
        client.expect_data(answer)

    def expect_resumed(self):
        self.process.expect(rb"Reused session-id", PATIENCE)

    def expect_closed(self):
        self.expect_count(rb"\nDONE\n", "an orderly end")


class GnuTlsServer(Echo):
    """gnutls-serv. Over DTLS it does not tell what it has agreed on."""
    name = "gnutls"

    def start(self):
        pki, order = self.bench.servers.pki, self.order
        priority = (f"NONE:+VERS-{'D' * order.is_dtls}TLS1.2:+COMP-NULL:+SIGN-ECDSA-SHA256:"
                    f"+GROUP-SECP256R1:{order.name(1)}:"
                    f"{'+PSK' if order.proof == 'psk' else '+ECDHE-ECDSA'}")
        argv = ["--echo"]
        argv += ["--udp"] if order.is_dtls else []
        argv += [] if order.sessions == "ticket" else ["--noticket"]
        argv += [] if order.sessions == "id" else ["--nodb"]
        if order.proof == "psk":
            argv += ["--pskpasswd", self.bench.file(f"{IDENTITY}:{KEY_HEX}\n")]
        elif order.proof == "raw":
            priority += ":+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK"
            argv += ["--rawpkfile", f"{pki}/raw-in-cse.pub", "--rawpkkeyfile",
                     f"{pki}/raw-in-cse.key", "--require-client-cert"]
        else:
            argv += ["--x509certfile", f"{pki}/in-cse.pem", "--x509keyfile", f"{pki}/in-cse.key",
                     "--x509cafile", f"{pki}/anchors.pem", "--require-client-cert",
                     "--verify-client-cert"]
        argv = [program("gnutls-serv"), "--priority", priority, *argv]
        self.launch_at(lambda port: [*argv, "--port", port])

    def expect_resumed(self):
        if not self.order.is_dtls:
            self.process.expect(rb"This is a resumed session", PATIENCE)


class MbedTlsServer(Echo):
    """mbedtls_server. Mbed TLS knows no name constraints."""
    name = "mbedtls"
    is_plain = True

    def start(self):
        pki, order = self.bench.servers.pki, self.order
        argv = [self.bench.tool("mbedtls_server"), "--suite", order.name(2)]
        argv += ["--dtls"] if order.is_dtls else []
        argv += {"id": ["--cache"], "ticket": ["--tickets"], None: []}[order.sessions]
        if order.proof == "psk":
            argv += ["--identity", IDENTITY, "--key", KEY_HEX]
        else:
            argv += ["--cert", f"{pki}/plain-in-cse.pem", "--key-file", f"{pki}/plain-in-cse.key",
                     "--ca", f"{pki}/plain.pem"]
        self.launch(argv, rb"listening (\d+)\n")

    def expect_resumed(self):
        self.process.expect(rb"connected \S+ \S+ full\n.*connected \S+ \S+ resumed\n", PATIENCE)

    def expect_closed(self):
        self.expect_count(rb"closed\n", "an orderly end")


class WolfSslServer(MbedTlsServer):
    """wolfssl_server; what it says it says as mbedtls_server does. wolfSSL takes our AE-IDs, which
    are URIs, for a violation of the authority's name constraints."""
    name = "wolfssl"
    is_plain = False
    client = "mn-cse"

    def start(self):
        pki, order = self.bench.servers.pki, self.order
        self.launch([self.bench.tool("wolfssl_server"), order.transport,
                     order.name(0).replace("AES128-CCM8", "AES128-CCM-8"), f"{pki}/in-cse.pem",
                     f"{pki}/in-cse.key", f"{pki}/root.pem", order.sessions or "none"],
                    rb"listening (\d+)\n")

    @classmethod
    def lacks(cls, order):
        if order.proof == "psk":
            return "Debian's wolfSSL has no suites with static pre-shared keys"
        if order.suite == 0xC0AC:
            return "wolfSSL 5.5 has no ECDHE-ECDSA-AES128-CCM with tags of 16 bytes"
        return None


class CoapServer(Echo):
    """libcoap's example server, DTLS one port above the one that it is told."""
    is_plain = True
    question = COAP_GET
    answer = b"</time>"

    def start(self):
        pki, order = self.bench.servers.pki, self.order
        argv = [program(f"coap-server-{self.library}"), "-A", "127.0.0.1", "-v", 7]
        if order.proof == "psk":
            argv += ["-k", KEY_TEXT, "-h", "a hint"]
        elif order.proof == "raw":
            with open(f"{pki}/raw-in-cse.pub", encoding="ascii") as public, \
                    open(f"{pki}/raw-in-cse.key", encoding="ascii") as private:
                argv += ["-M", self.bench.file(public.read() + private.read())]
        else:
            argv += ["-c", f"{pki}/plain-in-cse.pem", "-j", f"{pki}/plain-in-cse.key", "-C",
                     f"{pki}/plain.pem"]
        self.launch_at(lambda port: [*argv, "-p", port], offset=1)


class CoapServerOpenSsl(CoapServer):
    name, library = "coap-server-openssl", "openssl"

    @classmethod
    def lacks(cls, order):
        return "libcoap on OpenSSL allows no CBC with pre-shared keys" if order.suite == 0x00AE \
            else None


class CoapServerGnuTls(CoapServer):
    name, library = "coap-server-gnutls", "gnutls"


def serve(bench, kind, order):
    """A server of that kind; skips if it cannot do what is ordered."""
    why = kind.lacks(order)
    if why is not None:
        raise Skip(why)
    return kind(bench, order)
