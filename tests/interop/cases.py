"""cases.py - the matrix: who shakes hands with handfastd, how, and over what kind of network.

A case is a name and a function of a Bench; it passes by returning. Names begin with a group, so
that `run --only` can pick one.
"""
import peers
from harness import Fail, Proxy, TcpTap, free_port
from peers import CLIENTS, GNUTLS, MBEDTLS, OPENSSL, Settings

ECHO = ("--respond", "echo")
WHOAMI = ("--respond", "whoami")
SUITE_OF = {"tls": 0x00AE, "dtls": 0xC0A8}  # TS-0003 10.2.2: the mandatory ones
LINES_200K = b"".join(b"%06d: somebody else's implementation\n" % i for i in range(4800))


class CaseList:
    """Named cases in the order in which they were added."""

    def __init__(self):
        self.cases = []

    def add(self, name, run, *args, **kwargs):
        self.cases.append((name, lambda bench: run(bench, *args, **kwargs)))


cases = CaseList()
add = cases.add


def exchange(bench, client, settings, server=ECHO, family="v4", host=None, is_wildcard=False,
             data=b"one line\n"):
    """A handshake, data both ways and an orderly end."""
    place = bench.servers.get(*server, is_wildcard=is_wildcard)
    client.exchange(bench, place.address(settings.transport, family, host), settings, data)


def text(suite):
    return f"0x{suite:04X}"


# ---- plain: every client, every suite -------------------------------------------------------

def add_suites():
    for client in CLIENTS:
        for transport in ("tls", "dtls"):
            for suite in peers.SUITES:
                add(f"suite {client.name} {transport} {text(suite)}", exchange, client,
                    Settings(transport, suite))


def add_extensions():
    """Extended master secret and encrypt-then-MAC, on and off on either side."""
    for client in CLIENTS:
        for transport in ("tls", "dtls"):
            for ems, etm in ((True, False), (False, True), (False, False)):
                add(f"extension {client.name} {transport} 0x00AE ems={ems} etm={etm}", exchange,
                    client, Settings(transport, 0x00AE, ems=ems, etm=etm))
            add(f"extension {client.name} {transport} 0x00AE server without etm", exchange, client,
                Settings(transport, 0x00AE, etm=client is not GNUTLS), (*ECHO, "--no-etm"))
        add(f"extension {client.name} dtls 0xC0A8 ems=False", exchange, client,
            Settings("dtls", 0xC0A8, ems=False))
    for client in (OPENSSL, GNUTLS):
        for transport in ("tls", "dtls"):
            add(f"extension {client.name} {transport} server name", exchange, client,
                Settings(transport, SUITE_OF[transport], server_name="in.example.org"))
    for client in CLIENTS:
        for transport in ("tls", "dtls"):
            add(f"extension {client.name} {transport} identity hint", exchange, client,
                Settings(transport, SUITE_OF[transport]), (*ECHO, "--psk-hint", "hint of a hint"))
    for transport in ("tls", "dtls"):
        for option in ("%NO_EXTENSIONS", "%DISABLE_SAFE_RENEGOTIATION", "%FALLBACK_SCSV"):
            add(f"extension gnutls {transport} {option}", exchange, GNUTLS,
                Settings(transport, SUITE_OF[transport], ems=option != "%NO_EXTENSIONS",
                         priority_option=option))
    # A client that would rather speak 1.3, with all that its hello then carries.
    add("extension openssl tls prefers 1.3", exchange, OPENSSL,
        Settings("tls", 0x00AE, versions="all"))
    add("extension gnutls tls prefers 1.3", exchange, GNUTLS,
        Settings("tls", 0x00AE, versions="all"))


def add_identities():
    for client in CLIENTS:
        for name, identity in (("128 bytes", peers.IDENTITY_128), ("250 bytes", peers.IDENTITY_250),
                               ("with colons", peers.IDENTITY_COLON),
                               ("in UTF-8", peers.IDENTITY_UTF8)):
            add(f"identity {client.name} tls {name}", exchange, client,
                Settings("tls", 0x00AE, identity=identity))
    add("identity mbedtls dtls 1024 bytes", exchange, MBEDTLS,
        Settings("dtls", 0xC0A8, identity=peers.IDENTITY_1024))


def add_whoami():
    for client in CLIENTS:
        for suite in peers.SUITES:
            add(f"whoami {client.name} https {text(suite)}", whoami, client,
                Settings("tls", suite))
    for library in ("openssl", "gnutls"):
        for family in ("v4", "v6"):
            for is_wildcard in (False, True):
                add(f"whoami coap-client-{library} {family}{' wildcard' * is_wildcard}", coap,
                    library, family, is_wildcard)
        add(f"whoami coap-client-{library} identity hint", coap, library,
            server=(*WHOAMI, "--psk-hint", "hint"))


def whoami(bench, client, settings):
    client.whoami(bench, bench.servers.get(*WHOAMI).address("tls"), settings)


def coap(bench, library, family="v4", is_wildcard=False, server=WHOAMI):
    place = bench.servers.get(*server, is_wildcard=is_wildcard)
    peers.coap_whoami(bench, library, place.address("dtls", family), Settings("dtls", None))


# ---- addresses and sizes --------------------------------------------------------------------

def add_addresses():
    for client in CLIENTS:
        for transport in ("tls", "dtls"):
            settings = Settings(transport, SUITE_OF[transport])
            add(f"address {client.name} {transport} [::1]", exchange, client, settings,
                family="v6")
            for family in ("v4", "v6"):
                add(f"address {client.name} {transport} wildcard by {family}", exchange, client,
                    settings, family=family, is_wildcard=True)
    # Our sockets are connected: only an answer from the address that was asked arrives.
    for client in (OPENSSL, MBEDTLS):
        for transport in ("tls", "dtls"):
            add(f"address {client.name} {transport} wildcard by 127.0.0.2", exchange, client,
                Settings(transport, SUITE_OF[transport]), host="127.0.0.2", is_wildcard=True)


def add_sizes():
    for length in (512, 1024, 2048, 4096):
        add(f"size openssl tls max_fragment_length {length}", limited_records, OPENSSL,
            Settings("tls", 0x00AE, max_fragment=length))
        add(f"size mbedtls tls max_fragment_length {length}", limited_records, MBEDTLS,
            Settings("tls", 0x00A8, max_fragment=length))
    add("size gnutls tls record_size_limit 512", limited_answer,
        Settings("tls", 0x00AE, max_fragment=512, identity=peers.IDENTITY_250))
    for client in CLIENTS:
        add(f"size {client.name} dtls max_fragment 512", exchange, client,
            Settings("dtls", 0xC0A8, max_fragment=512), data=b"d" * 400 + b"\n")
        add(f"size {client.name} tls 180 KB", exchange, client, Settings("tls", 0x00AE),
            data=LINES_200K if client is not MBEDTLS else LINES_200K[:60000])
    add("size openssl dtls mtu 256 both ways", exchange, OPENSSL,
        Settings("dtls", 0xC0A8, identity=peers.IDENTITY_250, mtu=256), (*ECHO, "--mtu", "256"))
    add("size mbedtls dtls mtu 256 both ways", exchange, MBEDTLS,
        Settings("dtls", 0xC0A8, identity=peers.IDENTITY_1024, mtu=256), (*ECHO, "--mtu", "256"))
    add("size gnutls dtls mtu 256 both ways", exchange, GNUTLS,
        Settings("dtls", 0xC0A8, identity=peers.IDENTITY_250, mtu=256), (*ECHO, "--mtu", "256"))


def limited_records(bench, client, settings):
    """No record of ours holds more than the peer allowed, and everything arrives."""
    tap = bench.keep(TcpTap(bench.servers.get(*ECHO).address("tls")))
    client.exchange(bench, tap.address, settings, LINES_200K[:20000])
    check_limit(tap, settings)


def limited_answer(bench, settings):
    """The same for record_size_limit (RFC 8449); gnutls-cli cuts what it sends, so we answer."""
    tap = bench.keep(TcpTap(bench.servers.get(*WHOAMI).address("tls")))
    GNUTLS.whoami(bench, tap.address, settings)
    check_limit(tap, settings)


def check_limit(tap, settings):
    data = [length for content_type, length, _ in tap.records("server") if content_type == 23]
    allowed = settings.max_fragment + 80  # IV, MAC and padding at most
    if max(data) > allowed:
        raise Fail(f"a record of {max(data)} bytes, at most {allowed} were allowed")
    if len(data) < 2 or max(data) <= settings.max_fragment:
        raise Fail(f"records of {data} bytes: this tested nothing")


# ---- the bad network ------------------------------------------------------------------------

NETWORKS = (  # name, options of udp_proxy
    ("loss 10%", ("--loss", "0.1", "--dup", "0.1", "--reorder", "0.1", "--delay-ms", "1,10")),
    ("loss 20%", ("--loss", "0.2", "--dup", "0.1", "--reorder", "0.2", "--delay-ms", "1,20")),
    ("loss 30%", ("--loss", "0.3", "--dup", "0.1", "--reorder", "0.3", "--delay-ms", "1,20")),
    ("duplicates", ("--dup", "1", "--delay-ms", "0,5")),
    ("reordering", ("--reorder", "0.5", "--delay-ms", "1,5")),
)
# The server repeats its flights sooner than the default 1 s: the matrix is to end today.
IMPATIENT = ("--retransmit-initial", "250")
LOSSY_SECONDS = 100


def add_networks():
    for number, (name, options) in enumerate(NETWORKS):
        for client in CLIENTS:
            for seed in (2, 5):
                settings = Settings("dtls", 0xC0A8, identity=peers.IDENTITY_250)
                add(f"network {client.name} {name} seed {seed}", lossy, client, settings, options,
                    10 * number + seed)
        for library in ("openssl", "gnutls"):
            add(f"network coap-client-{library} {name} seed 5", lossy_coap, library, options,
                10 * number + 5)
    for client in CLIENTS:
        settings = Settings("dtls", 0xC0A8, identity=peers.IDENTITY_250, mtu=256)
        add(f"network {client.name} loss 20% and mtu 256 both ways", lossy, client, settings,
            NETWORKS[1][1], 4, (*ECHO, *IMPATIENT, "--mtu", "256"))
    settings = Settings("dtls", 0x00AE, ems=False)
    add("network openssl loss 20% 0x00AE without ems", lossy, OPENSSL, settings, NETWORKS[1][1], 5)
    add("network restart: a client comes back from its old port", restarted)
    add("network rebinding: a new port has to shake hands anew", rebound)


def proxied(bench, server, options, seed):
    return bench.keep(Proxy(bench.tool("udp_proxy"), server.address("dtls"), "--seed", str(seed),
                            *options)).address


def lossy(bench, client, settings, options, seed, server=(*ECHO, *IMPATIENT)):
    place = proxied(bench, bench.servers.get(*server), options, seed)
    client.exchange(bench, place, settings, seconds=LOSSY_SECONDS, is_lossy=True)


def lossy_coap(bench, library, options, seed):
    place = proxied(bench, bench.servers.get(*WHOAMI, *IMPATIENT), options, seed)
    peers.coap_whoami(bench, library, place, Settings("dtls", None), LOSSY_SECONDS, attempts=8)


def rebound(bench):
    """Without a connection ID a client behind a NAT that forgot it is a stranger: its records die
    unanswered, nothing else suffers, and a new handshake from the new port works."""
    server = bench.servers.get(*ECHO)
    place = proxied(bench, server, ("--rebind-after-ms", "1500"), 1)
    settings = Settings("dtls", 0xC0A8)
    client = OPENSSL.start(bench, place, settings)
    OPENSSL.expect_connected(client, settings, 10)
    seen_len = len(client.output)
    client.send(b"before\n")
    if not peers.wait_for_data(client, seen_len, b"before\n", 1):
        raise Fail("no echo before the rebinding")
    if peers.wait_for_data(client, seen_len, b"never", 2):
        raise Fail("what was never sent came back")
    client.send(b"after\n")
    if peers.wait_for_data(client, seen_len, b"after\n", 1):
        raise Fail("an association followed a new address without a connection ID")
    OPENSSL.exchange(bench, place, settings)


def restarted(bench):
    """A client dies without a word and begins again from the same port (RFC 6347 4.2.8)."""
    place = bench.servers.get(*ECHO).address("dtls")
    settings = Settings("dtls", 0xC0A8, extra=("-bind", f"127.0.0.1:{free_port('dtls')}"))
    for _ in range(3):
        client = OPENSSL.start(bench, place, settings)
        OPENSSL.expect_connected(client, settings, 10)
        client.process.kill()
        client.wait(5)
    OPENSSL.exchange(bench, place, settings)


for builder in (add_suites, add_extensions, add_identities, add_whoami, add_addresses, add_sizes,
                add_networks):
    builder()
CASES = cases.cases
