"""cases_end.py - how associations and the server end, and what the server tells about them."""
import re
import socket
import tempfile
import time
import urllib.request

import peers
from cases import ECHO, LINES_200K, SUITE_OF, CaseList
from harness import Fail, TcpTap, UdpTap
from peers import CLIENTS, MBEDTLS, OPENSSL, Settings

ALERT = 21

cases = CaseList()


# ---- closing --------------------------------------------------------------------------------

def add_closing():
    for transport in ("tls", "dtls"):
        for client in CLIENTS:
            cases.add(f"close {client.name} {transport} is answered", answered, client, transport)
        cases.add(f"close openssl {transport} by Q", quit_command, transport)
    cases.add("close mbedtls tls half: the answer still comes", half_close)
    cases.add("close tls by reset disturbs nobody", reset)
    cases.add("stop tls sends close_notify", stop_tls)
    cases.add("stop dtls is silent", stop_dtls, False)
    cases.add("stop dtls sends close_notify if told to", stop_dtls, True)
    cases.add("stop with 40 associations open is bounded", stop_many)


def answered(bench, client, transport):
    """After the client's close_notify comes the server's, and nothing more."""
    tap_kind = UdpTap if transport == "dtls" else TcpTap
    tap = bench.keep(tap_kind(bench.servers.get(*ECHO).address(transport)))
    client.exchange(bench, tap.address, Settings(transport, SUITE_OF[transport]))
    if transport == "tls" and not tap.is_server_done.wait(10):
        raise Fail("the server did not close the connection")
    kinds = [kind for kind, *_ in tap.records("server")]
    if kinds.count(ALERT) != 1 or kinds[-1] != ALERT:
        raise Fail(f"the server's records are of types {kinds}")


def quit_command(bench, transport):
    settings = Settings(transport, SUITE_OF[transport])
    process = OPENSSL.start(bench, bench.servers.get(*ECHO).address(transport), settings)
    OPENSSL.expect_connected(process, settings, 10)
    process.send(b"Q\n")
    if process.wait(10) != 0 or not process.saw(rb"DONE"):
        raise Fail("s_client did not end well")


def half_close(bench):
    """close_notify right behind the request: the answer comes all the same, then the server's."""
    MBEDTLS.run(bench, bench.servers.get(*ECHO).address("tls"), Settings("tls", 0x00AE),
                ["--request-hex", LINES_200K[:30000].hex(), "--half-close"], 20)


def reset(bench):
    """Connections that vanish before, within and after the handshake."""
    server = bench.servers.get(*ECHO)
    for data in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"):
        with socket.create_connection(server.address("tls")) as connection:
            connection.sendall(data)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    settings = Settings("tls", 0x00AE)
    process = OPENSSL.start(bench, server.address("tls"), settings)
    OPENSSL.expect_connected(process, settings, 10)
    process.process.kill()
    OPENSSL.exchange(bench, server.address("tls"), settings)


def private_server(bench, *options):
    server = bench.servers.start(*options)
    bench.keep(server.process)
    return server


def connected(bench, server, transport, *extra):
    settings = Settings(transport, SUITE_OF[transport], extra=extra)
    process = OPENSSL.start(bench, server.address(transport), settings)
    OPENSSL.expect_connected(process, settings, 20)
    return process


def stop_tls(bench):
    server = private_server(bench, *ECHO)
    client = connected(bench, server, "tls", "-msg")
    server.stop()
    client.expect(rb"<<< [^\n]*Alert[^\n]*close_notify", 10, "close_notify")
    client.wait(10)


def stop_dtls(bench, is_notified):
    """close_notify would wake every device: only --dtls-notify-on-stop sends it."""
    server = private_server(bench, *ECHO, *(["--dtls-notify-on-stop"] if is_notified else []))
    tap = bench.keep(UdpTap(server.address("dtls")))
    settings = Settings("dtls", 0xC0A8)
    OPENSSL.expect_connected(OPENSSL.start(bench, tap.address, settings), settings, 20)
    server.stop()
    time.sleep(0.5)
    alerts = [kind for kind, *_ in tap.records("server") if kind == ALERT]
    if len(alerts) != int(is_notified):
        raise Fail(f"{len(alerts)} alerts when the server stopped")


def stop_many(bench):
    """Server.stop() allows 20 s; the daemon promises 5."""
    server = private_server(bench, *ECHO)
    for number in range(40):
        connected(bench, server, ("tls", "dtls")[number % 2])
    server.stop()


# ---- what the server tells ------------------------------------------------------------------

def add_telling():
    for transport in ("tls", "dtls"):
        cases.add(f"tell openssl {transport} key log agrees", key_log, transport)
    cases.add("tell metrics count what happened", metrics)


def key_log(bench, transport):
    """Both ends log the same master secret for the same client random."""
    theirs = bench.file("")
    with tempfile.TemporaryDirectory() as directory:
        server = private_server(bench, *ECHO, "--keylog", directory + "/ours")
        settings = Settings(transport, SUITE_OF[transport], extra=("-keylogfile", theirs))
        OPENSSL.exchange(bench, server.address(transport), settings)
        server.stop()
        with open(directory + "/ours", encoding="ascii") as file:
            ours = [line for line in file.read().lower().splitlines() if line[:1] != "#"]
    with open(theirs, encoding="ascii") as file:
        others = [line for line in file.read().lower().splitlines() if line[:1] != "#"]
    if len(ours) != 1 or ours != others:
        raise Fail(f"ours: {ours}, theirs: {others}")


def metrics(bench):
    """Counts agree with what was done, and no identity or address is among them."""
    server = private_server(bench, *ECHO, "--metrics", "127.0.0.1:0")
    for transport in ("tls", "dtls"):
        for _ in range(3):
            OPENSSL.exchange(bench, server.address(transport),
                             Settings(transport, SUITE_OF[transport]))
    wrong = Settings("tls", 0x00AE, key=peers.WRONG_KEY_HEX)
    OPENSSL.start(bench, server.address("tls"), wrong).wait(10)
    port = re.search(rb"transport=metrics address=\S+:(\d+)", server.process.output).group(1)
    time.sleep(2.2)  # what is served is up to a second old
    with urllib.request.urlopen(f"http://127.0.0.1:{int(port)}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    for name, labels, value in (
            ("handfast_handshakes_total", 'outcome="ok",reason="ok"', 6),
            ("handfast_handshakes_total", 'outcome="failed",reason="key_mismatch"', 1),
            ("handfast_associations", "", 0), ("handfast_handshakes_open", "", 0)):
        found = re.findall(rf'^{name}{{[^}}]*{labels}[^}}]*}} (\d+)$', text, re.M)
        if not found or sum(map(int, found)) != value:
            raise Fail(f"{name} {labels} is {found}, expected {value}")
    if peers.IDENTITY in text or "127.0.0.1" in text:
        raise Fail("an identity or address is in the metrics")


for builder in (add_closing, add_telling):
    builder()
CASES = cases.cases
