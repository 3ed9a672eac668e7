"""cases_refused.py - what has to fail: how it fails on the wire, and that nobody else suffers."""
import concurrent.futures
import re
import time

import peers
from cases import ECHO, SUITE_OF, CaseList, exchange
from harness import Fail, TcpTap, UdpTap
from peers import CLIENTS, GNUTLS, MBEDTLS, OPENSSL, Settings

ALERT = 21
HANDSHAKE_FAILURE, PROTOCOL_VERSION, INAPPROPRIATE_FALLBACK = 40, 70, 86
BAD_RECORD_MAC = 20

cases = CaseList()


def tapped(bench, settings, server=ECHO):
    tap_kind = UdpTap if settings.is_dtls else TcpTap
    return bench.keep(tap_kind(bench.servers.get(*server).address(settings.transport)))


def start(bench, client, to, settings):
    if client is not MBEDTLS:
        return client.start(bench, to, settings)
    return bench.process(client.command(bench, to, settings, ["--request-hex", "00"], 20))


def flat(records):
    """What an observer sees: the type and length of each record, and the bytes of an alert. Flights
    that were sent again count once."""
    seen = [(kind, length, payload.hex() if kind == ALERT else "")
            for kind, *_, length, payload in records]
    return list(dict.fromkeys(seen))


def alert_of(tap):
    """The (level, description) of the alert the server sent in the clear, or None."""
    for kind, *_, payload in tap.records("server"):
        if kind == ALERT and len(payload) == 2:
            return tuple(payload)
    return None


def refused(bench, client, settings, alerts, server=ECHO):
    """The client fails, with one of `alerts`, all fatal; the next one succeeds."""
    tap = tapped(bench, settings, server)
    process = start(bench, client, tap.address, settings)
    if process.wait(20) == 0:
        raise Fail("the client says that it was served")
    alert = alert_of(tap)
    if alert is None or alert[0] != 2 or alert[1] not in alerts:
        raise Fail(f"the server's alert is {alert}, expected a fatal one of {alerts}")
    exchange(bench, OPENSSL, Settings("tls", 0x00AE))


# ---- keys and identities --------------------------------------------------------------------

def observe(bench, client, settings):
    """What the server sends to a client that cannot have the right key."""
    tap = tapped(bench, settings)
    process = start(bench, client, tap.address, settings)
    if settings.is_dtls:
        # A record that does not authenticate is dropped, and the client goes on asking.
        time.sleep(4)
    else:
        process.wait(20)
    if process.saw(rb"Simple Client Mode|connected DTLS|connected TLS"):
        raise Fail("the client says that it was served")
    process.stop()
    return flat(tap.records("server"))


def indistinguishable(bench, client, transport, others):
    """A wrong key and an identity nobody knows look the same to the peer."""
    settings = [Settings(transport, SUITE_OF[transport], key=peers.WRONG_KEY_HEX)]
    settings += [Settings(transport, SUITE_OF[transport], identity=identity)
                 for identity in others]
    with concurrent.futures.ThreadPoolExecutor(len(settings)) as pool:
        wrong_key, *unknown = pool.map(lambda each: observe(bench, client, each), settings)
    if not wrong_key:
        raise Fail("the server said nothing at all")
    if transport == "tls" and wrong_key[-1] != (ALERT, 2, bytes([2, BAD_RECORD_MAC]).hex()):
        raise Fail(f"a wrong key ends in {wrong_key[-1]}")
    for identity, seen in zip(others, unknown):
        if seen != wrong_key:
            raise Fail(f"identity of {len(identity)} bytes: {seen}, wrong key: {wrong_key}")
    exchange(bench, client, Settings(transport, SUITE_OF[transport]))


def add_keys():
    for client in CLIENTS:
        for transport in ("tls", "dtls"):
            cases.add(f"refused {client.name} {transport} unknown identity looks like wrong key",
                      indistinguishable, client, transport, ("unknown-client",))
    for transport in ("tls", "dtls"):
        cases.add(f"refused mbedtls {transport} oversized identity looks like wrong key",
                  indistinguishable, MBEDTLS, transport, ("x" * 1025, "x" * 4000))


# ---- suites and versions --------------------------------------------------------------------

def add_hellos():
    for transport in ("tls", "dtls"):
        cases.add(f"refused openssl {transport} no common suite", refused, OPENSSL,
                  Settings(transport, None, ciphers="PSK-AES256-CBC-SHA384"), (HANDSHAKE_FAILURE,))
        cases.add(f"refused openssl {transport} suite switched off", refused, OPENSSL,
                  Settings(transport, 0x00A8), (HANDSHAKE_FAILURE,),
                  (*ECHO, "--suites", "PSK-AES128-CCM8,PSK-AES128-CBC-SHA256"))
    cases.add("refused openssl tls 1.1", refused, OPENSSL,
              Settings("tls", None, versions="-tls1_1"), (PROTOCOL_VERSION,))
    cases.add("refused openssl tls 1.0", refused, OPENSSL,
              Settings("tls", None, versions="-tls1"), (PROTOCOL_VERSION,))
    cases.add("refused openssl dtls 1.0", refused, OPENSSL,
              Settings("dtls", None, versions="-dtls1"), (PROTOCOL_VERSION,))
    # To a server that does not know supported_versions such a hello merely has no suite for it.
    cases.add("refused openssl tls 1.3 only", refused, OPENSSL,
              Settings("tls", None, versions="-tls1_3"), (PROTOCOL_VERSION, HANDSHAKE_FAILURE))
    cases.add("refused openssl tls 1.1 with fallback SCSV", refused, OPENSSL,
              Settings("tls", None, versions="-tls1_1", extra=("-fallback_scsv",)),
              (INAPPROPRIATE_FALLBACK,))
    cases.add("refused openssl tls without ems where it is required", refused, OPENSSL,
              Settings("tls", 0x00AE, ems=False), (71, HANDSHAKE_FAILURE),
              (*ECHO, "--require-ems"))
    cases.add("accepted openssl tls 1.2 with fallback SCSV", exchange, OPENSSL,
              Settings("tls", 0x00AE, extra=("-fallback_scsv",)))


# ---- renegotiation --------------------------------------------------------------------------

def add_renegotiation():
    for transport in ("tls", "dtls"):
        cases.add(f"refused openssl {transport} renegotiation", renegotiation, transport)
    cases.add("refused gnutls tls renegotiation", rehandshake)


def renegotiation(bench, transport):
    """s_client asks for it with R; no_renegotiation is the answer, which it takes as an end."""
    settings = Settings(transport, SUITE_OF[transport])
    process = OPENSSL.start(bench, bench.servers.get(*ECHO).address(transport), settings)
    OPENSSL.expect_connected(process, settings, 10)
    process.send(b"R\n")
    process.expect(rb"RENEGOTIATING.*no renegotiation", 10, "a refusal")
    process.wait(10)
    exchange(bench, OPENSSL, settings)


def rehandshake(bench):
    """gnutls-cli asks again and again: it is told no, and in the end cut off."""
    settings = Settings("tls", 0x00AE, extra=("--rehandshake",))
    process = GNUTLS.start(bench, bench.servers.get(*ECHO).address("tls"), settings)
    process.expect(rb"No renegotiation is allowed", 10, "a refusal")
    if process.wait(20) == 0:
        raise Fail("gnutls-cli says that it renegotiated")
    if re.search(rb"ReHandshake was completed", process.output):
        raise Fail("a renegotiation was completed")
    exchange(bench, GNUTLS, Settings("tls", 0x00AE))


for builder in (add_keys, add_hellos, add_renegotiation):
    builder()
CASES = cases.cases
