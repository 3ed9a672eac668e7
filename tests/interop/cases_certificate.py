"""cases_certificate.py - certificates and raw public keys: other people's clients, both ends
showing who they are, on both transports; who is refused, with which alert; and over a bad network.

The credentials are those of tests/support/pki.sh, see docs/LAB-PKI.md.
"""
import json
import subprocess

import peers
from cases import CaseList, ECHO, IMPATIENT, LOSSY_SECONDS, NETWORKS, WHOAMI, proxied
from harness import Fail
from peers import InteractiveClient, program

SERVER_NAME = "in-cse.m2msp.example"
SUITES = {  # IANA number: OpenSSL, GnuTLS, Mbed TLS, how GnuTLS ends its description, IANA
    0xC023: ("ECDHE-ECDSA-AES128-SHA256", "+AES-128-CBC:+SHA256",
             "TLS-ECDHE-ECDSA-WITH-AES-128-CBC-SHA256", "(AES-128-CBC)-(SHA256)",
             "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    0xC02B: ("ECDHE-ECDSA-AES128-GCM-SHA256", "+AES-128-GCM:+AEAD",
             "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256", "(AES-128-GCM)",
             "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    0xC0AC: ("ECDHE-ECDSA-AES128-CCM", "+AES-128-CCM:+AEAD",
             "TLS-ECDHE-ECDSA-WITH-AES-128-CCM", "(AES-128-CCM)",
             "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    0xC0AE: ("ECDHE-ECDSA-AES128-CCM8", "+AES-128-CCM-8:+AEAD",
             "TLS-ECDHE-ECDSA-WITH-AES-128-CCM-8", "(AES-128-CCM-8)",
             "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
}
WOLFSSL_SUITES = (0xC023, 0xC02B, 0xC0AE)
SUITE_OF = {"tls": 0xC023, "dtls": 0xC0AE}  # TS-0003 10.2.3: the mandatory ones
ALL_FLAVOURS = "cse-id,ae-id,node-id"

certificate_cases = CaseList()
add = certificate_cases.add


class Certificate:
    """What a case wants of a client."""

    def __init__(self, transport, suite=None, who="ae", **changes):
        self.transport = transport
        self.suite = suite or SUITE_OF[transport]
        self.who = who  # name of the credential; None: none
        self.types = ""  # GnuTLS's certificate types
        self.is_plain = False  # of an authority without name constraints, like the server's
        self.etm = True
        self.mtu = 0
        self.priority_option = ""  # GnuTLS's, such as %NO_TICKETS
        self.extra = ()  # options of the program itself
        for name, value in changes.items():
            setattr(self, name, value)

    @property
    def is_dtls(self):
        return self.transport == "dtls"


def place_of(bench, settings, options=ECHO, flavours=ALL_FLAVOURS):
    """A server with certificates, pins and pre-shared keys."""
    pki = bench.servers.pki
    if settings.is_plain:
        return bench.servers.get(
            *options, "--cert", f"{pki}/plain-in-cse.pem", "--key", f"{pki}/plain-in-cse.key",
            "--client-ca", f"{pki}/plain.pem").address(settings.transport)
    return bench.servers.get(
        *options, "--cert", f"{pki}/in-cse.pem", "--key", f"{pki}/in-cse.key", "--client-ca",
        f"{pki}/anchors.pem", "--crl", f"{pki}/all.crl", "--client-rpk", f"{pki}/pins",
        "--client-flavours", flavours).address(settings.transport)


class OpenSsl(InteractiveClient):
    """openssl s_client with a certificate."""
    name = "openssl"

    def start(self, bench, to, settings):
        pki = bench.servers.pki
        argv = [program("openssl"), "s_client", "-connect", f"{to[0]}:{to[1]}", "-CAfile",
                f"{pki}/root.pem", "-verify_return_error", "-verify_hostname", SERVER_NAME,
                "-noservername", "-nbio", "-cipher", SUITES[settings.suite][0],
                "-dtls1_2" if settings.is_dtls else "-tls1_2"]
        if settings.who:
            argv += ["-cert", f"{pki}/{settings.who}.pem", "-key", f"{pki}/{settings.who}.key",
                     "-cert_chain", f"{pki}/sp.pem"]
        argv += [] if settings.etm else ["-no_etm"]
        argv += ["-mtu", settings.mtu] if settings.mtu else []
        return bench.process(argv + list(settings.extra))

    def expect_connected(self, process, settings, seconds):
        match = process.expect(rb"New, [^\n]*, Cipher is (\S+)\n", seconds, "a handshake")
        if match.group(1).decode() != SUITES[settings.suite][0]:
            raise Fail(f"negotiated {match.group(1).decode()}")
        process.expect(rb"Verify return code: 0 \(ok\)", seconds)
        process.expect(rb"Extended master secret: yes\n", seconds)

    def expect_alert(self, process, alert, seconds):
        process.expect(rb"SSL alert number %d\n" % alert, seconds, f"alert {alert}")


class GnuTls(InteractiveClient):
    """gnutls-cli with a certificate or a raw public key."""
    name = "gnutls"

    def start(self, bench, to, settings):
        pki = bench.servers.pki
        version = "+VERS-DTLS1.2" if settings.is_dtls else "+VERS-TLS1.2"
        priority = (f"NONE:{version}:+COMP-NULL:+SIGN-ECDSA-SHA256:+ECDHE-ECDSA:"
                    f"+GROUP-SECP256R1:{SUITES[settings.suite][1]}")
        argv = [program("gnutls-cli"), "--port", to[1], "--disable-sni"]
        argv += ["--udp"] if settings.is_dtls else []
        argv += ["--mtu", settings.mtu] if settings.mtu else []
        priority += f":{settings.priority_option}" if settings.priority_option else ""
        if settings.types:
            priority += f":{settings.types}"
            argv += ["--rawpkkeyfile", f"{pki}/{settings.who}.key", "--rawpkfile",
                     f"{pki}/{settings.who}.pub", "--no-ca-verification"]
        else:
            argv += ["--x509cafile", f"{pki}/root.pem", "--verify-hostname", SERVER_NAME]
            if settings.who:
                argv += ["--x509certfile", f"{pki}/{settings.who}.pem", "--x509keyfile",
                         f"{pki}/{settings.who}.key"]
        return bench.process(argv + ["--priority", priority, *settings.extra, to[0]])

    def expect_connected(self, process, settings, seconds):
        match = process.expect(rb"- Description: ([^\n]+)\n.*- Simple Client Mode:\n", seconds,
                               "a handshake")
        if not match.group(1).decode().endswith(f"-{SUITES[settings.suite][3]}"):
            raise Fail(f"negotiated {match.group(1).decode()}")

    def expect_alert(self, process, alert, seconds):
        process.expect(rb"Received alert \[%d\]" % alert, seconds, f"alert {alert}")


class MbedTls:
    """mbedtls_client with a certificate. It knows no name constraints, and takes no certificate
    with critical extensions that it does not know."""
    name = "mbedtls"

    @staticmethod
    def command(bench, to, settings, options, seconds):
        pki = bench.servers.pki
        if not settings.is_plain:
            raise TypeError("not for Mbed TLS")
        argv = [bench.tool("mbedtls_client"), "--host", to[0], "--port", to[1], "--suite",
                SUITES[settings.suite][2], "--cert", f"{pki}/plain-{settings.who}.pem",
                "--key-file", f"{pki}/plain-{settings.who}.key", "--ca", f"{pki}/plain.pem",
                "--name", SERVER_NAME, "--timeout-ms", seconds * 1000, *options]
        argv += ["--dtls"] if settings.is_dtls else []
        argv += [] if settings.etm else ["--no-etm"]
        argv += ["--mtu", settings.mtu] if settings.mtu else []
        return argv

    def exchange(self, bench, to, settings, data=b"one line\n", seconds=30, is_lossy=False):
        more = ["--request-hex", data.hex(), *(["--lossy"] if is_lossy else ["--count", 2])]
        if bench.process(self.command(bench, to, settings, more, seconds)).wait(seconds + 20) != 0:
            raise Fail("mbedtls_client did not get through")


class WolfSsl:
    """wolfssl_client, which knows nothing but certificates."""
    name = "wolfssl"

    @staticmethod
    def command(bench, to, settings, data, *how):
        pki = bench.servers.pki
        return [bench.tool("wolfssl_client"), settings.transport, to[0], to[1],
                SUITES[settings.suite][0].replace("AES128-CCM8", "AES128-CCM-8"),
                f"{pki}/{settings.who}.pem", f"{pki}/{settings.who}.key",
                f"{pki}/root.pem", SERVER_NAME, data, *how]

    def exchange(self, bench, to, settings, data="one line", seconds=30):
        if bench.process(self.command(bench, to, settings, data)).wait(seconds) != 0:
            raise Fail("wolfssl_client did not get through")


OPENSSL, GNUTLS, MBEDTLS, WOLFSSL = OpenSsl(), GnuTls(), MbedTls(), WolfSsl()


def prepare(pki, handfast):
    """What the lab has besides."""
    def make(*arguments):
        subprocess.run([handfast, "pki", *arguments], cwd=pki, check=True,
                       stdout=subprocess.DEVNULL)

    make("ca", "plain", "--name", "Plain", "--unconstrained")
    make("cse-id", "plain-in-cse", "//m2msp.example/in-cse", "--issuer", "plain")
    make("ae-id", "plain-ae", "//m2msp.example/S42", "--issuer", "plain")
    with open(f"{pki}/raw-ae.ni", encoding="ascii") as file, \
            open(f"{pki}/pins", "w", encoding="ascii") as out:
        out.write(f"{file.read().strip()} //m2msp.example/S77\n")


def exchange(bench, client, settings):
    client.exchange(bench, place_of(bench, settings), settings)


def check_whoami(text, entity_id, credential_id, suite):
    told = json.loads(text)
    wanted = {"framework": "certificate", "entity_id": entity_id}
    wanted.update({"credential_id": credential_id} if credential_id else {})
    wanted.update({"suite": SUITES[suite][4]} if suite else {})
    for name, value in wanted.items():
        if told[name] != value:
            raise Fail(f"{name} is {told[name]!r}, not {value!r}")


def whoami(bench, client, settings, entity_id, credential_id):
    process = client.start(bench, place_of(bench, settings, WHOAMI), settings)
    client.expect_connected(process, settings, 30)
    process.send(peers.HTTP_REQUEST)
    match = process.expect(rb"HTTP/1\.1 200 [^\n]*\n.*?\r\n\r\n(\{.*?\})\s*$", 30, "an answer")
    check_whoami(match.group(1), entity_id, credential_id, settings.suite)
    client.end(process, 30)


def coap(bench, library):
    """libcoap's client, by OpenSSL or GnuTLS. It sends its own certificate and no issuer's."""
    pki = bench.servers.pki
    settings = Certificate("dtls", is_plain=True)
    host, port = place_of(bench, settings, WHOAMI)
    process = bench.process([program(f"coap-client-{library}"), "-v", "6", "-B", 20, "-c",
                             f"{pki}/plain-ae.pem", "-j", f"{pki}/plain-ae.key", "-R",
                             f"{pki}/plain.pem", "-n", "-m", "get",
                             f"coaps://{host}:{port}/whoami"])
    match = process.expect(rb"(\{\"[^}]*\})", 25, "an answer")
    check_whoami(match.group(1), "//m2msp.example/S42", "33-//m2msp.example/S42", None)


def coap_raw(bench, suite):
    """libcoap's client on GnuTLS with a raw public key. It takes whatever key the server shows, and
    says that it takes certificates too: so the server has none."""
    pki = bench.servers.pki
    with open(f"{pki}/raw-ae.pub", encoding="ascii") as public, \
            open(f"{pki}/raw-ae.key", encoding="ascii") as private:
        both = bench.file(public.read() + private.read())
    host, port = bench.servers.get(*WHOAMI, "--suites", suite, "--rpk-key",
                                   f"{pki}/raw-in-cse.key", "--client-rpk",
                                   f"{pki}/pins").address("dtls")
    process = bench.process([program("coap-client-gnutls"), "-v", "6", "-B", 20, "-M", both, "-m",
                             "get", f"coaps://{host}:{port}/whoami"])
    match = process.expect(rb"(\{\"[^}]*\})", 25, "an answer")
    check_whoami(match.group(1), "//m2msp.example/S77", None, int(suite, 16))


def refused(bench, client, settings, alert, flavours=ALL_FLAVOURS):
    process = client.start(bench, place_of(bench, settings, ECHO, flavours), settings)
    client.expect_alert(process, alert, 30)


def lossy(bench, client, settings, options, seed, server=(*ECHO, *IMPATIENT)):
    to = place_of(bench, settings, server)
    place = proxied(bench, Place(to), options, seed)
    client.exchange(bench, place, settings, seconds=LOSSY_SECONDS, is_lossy=True)


class Place:
    """An address where cases.proxied() looks for a server."""

    def __init__(self, to):
        self.to = to

    def address(self, _):
        return self.to


def text(suite):
    return f"0x{suite:04X}"


def add_suites():
    for client in (OPENSSL, GNUTLS, MBEDTLS, WOLFSSL):
        for transport in ("tls", "dtls"):
            for suite in SUITES if client is not WOLFSSL else WOLFSSL_SUITES:
                add(f"certificate {client.name} {transport} {text(suite)}", exchange, client,
                    Certificate(transport, suite, is_plain=client is MBEDTLS))
    for client in (OPENSSL, MBEDTLS):
        for transport in ("tls", "dtls"):
            add(f"certificate {client.name} {transport} 0xC023 etm=False", exchange, client,
                Certificate(transport, 0xC023, etm=False, is_plain=client is MBEDTLS))
    for library in ("openssl", "gnutls"):
        add(f"certificate coap-client-{library}", coap, library)


def add_identities():
    for client in (OPENSSL, GNUTLS):
        for who, entity, credential in (
                ("ae", "//m2msp.example/S42", "33-//m2msp.example/S42"),
                ("ae-behind-cse", "//m2msp.example/in-cse/C42",
                 "33-//m2msp.example/in-cse/C42")):
            add(f"certificate {client.name} is {who}", whoami, client,
                Certificate("tls", who=who), entity, credential)


def add_raw_keys():
    raw = "+CTYPE-CLI-RAWPK"
    for transport in ("tls", "dtls"):
        for name, types in (("both ways", f"{raw}:+CTYPE-SRV-RAWPK"),
                            ("client's only", f"{raw}:+CTYPE-SRV-X509"),
                            ("client's, server's or X.509",
                             f"{raw}:+CTYPE-SRV-RAWPK:+CTYPE-SRV-X509")):
            for suite in (SUITE_OF[transport], 0xC02B):
                add(f"certificate gnutls {transport} {text(suite)} raw keys {name}", exchange,
                    GNUTLS, Certificate(transport, suite, who="raw-ae", types=types))
    for suite in ("0xC0AE", "0xC02B"):
        add(f"certificate coap-client-gnutls {suite} raw keys", coap_raw, suite)
    for transport in ("tls", "dtls"):
        add(f"certificate gnutls {transport} raw key that is not pinned", refused, GNUTLS,
            Certificate(transport, who="raw-in-cse", types=f"{raw}:+CTYPE-SRV-RAWPK"), 46)


def add_refusals():
    for client in (OPENSSL, GNUTLS):
        for transport in ("tls", "dtls"):
            for who, alert in (("ae-revoked", 44), ("ae-expired", 45), (None, 40)):
                add(f"certificate {client.name} {transport} {who} is refused", refused, client,
                    Certificate(transport, who=who), alert)
        add(f"certificate {client.name} of another flavour", refused, client,
            Certificate("tls"), 43, "cse-id")


def add_networks():
    for number, (name, options) in enumerate(NETWORKS):
        for client in (OPENSSL, GNUTLS, MBEDTLS):
            add(f"network certificate {client.name} {name}", lossy, client,
                Certificate("dtls", is_plain=client is MBEDTLS), options, 7 * number + 3)
    for client in (OPENSSL, GNUTLS, MBEDTLS):
        add(f"network certificate {client.name} loss 10% and mtu 256 both ways", lossy, client,
            Certificate("dtls", mtu=256, is_plain=client is MBEDTLS), NETWORKS[0][1], 4,
            (*ECHO, *IMPATIENT, "--mtu", "256"))


for builder in (add_suites, add_identities, add_raw_keys, add_refusals, add_networks):
    builder()
CASES = certificate_cases.cases
