"""cases_server.py - our client against other people's servers: every suite they have, both ways of
resumption, what it does with a session that nobody wants."""
import os

import peers
from cases import CaseList
from cases_certificate import SUITES as CERTIFICATE_SUITES
from harness import Fail
from servers import (CoapServerGnuTls, CoapServerOpenSsl, Dialled, GnuTlsServer, MbedTlsServer,
                     OpenSslServer, Order, SessionFile, WolfSslServer, serve)

SERVERS = (OpenSslServer, GnuTlsServer, MbedTlsServer, WolfSslServer)
COAP_SERVERS = (CoapServerOpenSsl, CoapServerGnuTls)

cases = CaseList()


def once(bench, server, order, is_resumed=False, session=None):
    """A handshake, data both ways and an orderly end."""
    server.count += 1
    client = Dialled(bench, server, order, session)
    client.expect_connected(is_resumed)
    server.expect_exchange(client)
    client.end()
    if is_resumed:
        server.expect_resumed()
    server.expect_closed()


def dial(bench, kind, order):
    once(bench, serve(bench, kind, order), order)


def resume(bench, kind, order):
    """In full, then twice by what was kept; a server that has forgotten it shakes hands anew."""
    session = SessionFile(bench).name
    server = serve(bench, kind, order)
    for is_resumed in (False, True, True):
        once(bench, server, order, is_resumed, session)
    server.process.stop()
    once(bench, serve(bench, kind, order), order, False, session)


def refused_resumption(bench, kind, order):
    """A server without a session ID context cannot resume what a certificate began: OpenSSL makes
    that a fatal alert. The session is forgotten (RFC 5246 7.2.2), so that the next time works."""
    session = SessionFile(bench).name
    server = serve(bench, kind, order)
    once(bench, server, order, False, session)
    client = Dialled(bench, server, order, session, seconds=2)  # it may be anybody's alert
    client.process.expect(rb'"established":false,.*"alert":"internal_error"', 20, "an alert")
    if client.process.wait(20) != 1 or os.path.exists(session):
        raise Fail("the session was not forgotten")
    once(bench, server, order, False, session)


def add_suites():
    for kind in SERVERS:
        for transport in ("tls", "dtls"):
            for suite in (*CERTIFICATE_SUITES, *peers.SUITES):
                order = Order(transport, suite)
                cases.add(f"server {kind.name} {order}", dial, kind, order)
    for kind in COAP_SERVERS:
        for suite in (*CERTIFICATE_SUITES, *peers.SUITES):
            order = Order("dtls", suite)
            cases.add(f"server {kind.name} {order}", dial, kind, order)


def add_raw_keys():
    for transport in ("tls", "dtls"):
        for suite in (0xC023, 0xC0AE, 0xC02B):
            order = Order(transport, suite, "raw")
            cases.add(f"server gnutls {order}", dial, GnuTlsServer, order)
    for suite in (0xC023, 0xC0AE, 0xC02B):
        order = Order("dtls", suite, "raw")
        cases.add(f"server coap-server-gnutls {order}", dial, CoapServerGnuTls, order)


def add_resumption():
    for kind in SERVERS:
        for transport, suites in (("tls", (0xC023, 0x00AE)), ("dtls", (0xC0AE, 0xC0A8))):
            for suite in suites:
                for sessions in ("id", "ticket"):
                    order = Order(transport, suite, sessions=sessions)
                    cases.add(f"server {kind.name} resumes {order}", resume, kind, order)
    order = Order("dtls", 0xC0A8)
    cases.add(f"server coap-server-openssl resumes {order}", resume, CoapServerOpenSsl, order)
    order = Order("dtls", 0xC0AE)
    cases.add(f"server coap-server-openssl refuses to resume {order}", refused_resumption,
              CoapServerOpenSsl, order)


for builder in (add_suites, add_raw_keys, add_resumption):
    builder()
CASES = cases.cases
