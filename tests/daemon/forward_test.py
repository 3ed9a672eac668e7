#!/usr/bin/env python3
"""forward_test.py HANDFASTD - forwarding: both directions for the life of an association, upstreams
that are dead, slow or restarted, and who the upstream is told a peer is. The devices are OpenSSL's
and libcoap's clients, the upstreams libcoap's server, Python's HTTP server and plain sockets."""
import os
import queue
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest
import http.server

import forward_parts as parts
import process_test
import parallel
from forward_parts import Device, PATIENCE

DTLS = ("--dtls", "127.0.0.1:0")
TLS = ("--tls", "127.0.0.1:0")
KEYS = "".join(f"{name}:{process_test.KEY}:/in-cse/C{name}\n" for name in ("dev", "one", "two"))


class ForwardTest(process_test.ProcessTest):
    """The daemon and its directory are those of the process test, its tests are not."""

    def setUp(self):
        super().setUp()
        self.devices = []
        self.sockets = []

    def tearDown(self):
        for device in self.devices:
            device.process.kill()
            device.end()
        for item in self.sockets:
            item.close()
        super().tearDown()

    def keep(self, item):
        self.sockets.append(item)
        return item

    def device(self, daemon, transport, *options, **named):
        device = Device(daemon.port(transport), transport, *options, **named)
        self.devices.append(device)
        return device

    def forward(self, transport, upstream, *options, **named):
        kind = "udp" if transport == "dtls" else "tcp"
        host, port = upstream.getsockname()[:2]
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return self.start(f"--upstream-{kind}", place, *options, keys=KEYS,
                          listeners=DTLS if transport == "dtls" else TLS, **named)

    def await_metric(self, daemon, name, least):
        until = time.monotonic() + PATIENCE
        while daemon.metric(name) < least:
            self.assertLess(time.monotonic(), until, f"{name} stays {daemon.metric(name)}")
            time.sleep(0.05)


class DatagramTest(ForwardTest):
    family = socket.AF_INET
    own_address = r"^127\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\."

    def upstream(self, port=0):
        return self.keep(parts.udp_upstream(port, self.family))

    @staticmethod
    def neighbour(address):
        """The address of a record that nobody has."""
        last = address.split(".")
        last[3] = str(int(last[3]) ^ 8)
        return ".".join(last)

    def introduce(self, upstream, device, text):
        """What an upstream hears of a device, and whom it seems to come from."""
        device.say(text + b"\n")
        data, source = upstream.recvfrom(4096)
        self.assertEqual(data, text + b"\n")
        return source[:2]

    def test_both_ways_and_late(self):
        upstream = self.upstream()
        daemon = self.forward("dtls", upstream)
        one, two = (self.device(daemon, "dtls", identity=name) for name in ("one", "two"))
        first = self.introduce(upstream, one, b"from one")
        second = self.introduce(upstream, two, b"from two")
        self.assertNotEqual(first, second)
        for source in (first, second):
            self.assertRegex(source[0], self.own_address)
        for i in range(3):
            self.assertEqual(self.introduce(upstream, one, b"again %d" % i), first)
        time.sleep(5)
        for source, device in ((second, two), (first, one)):
            upstream.sendto(b"late notification", source)
            self.assertEqual(device.hear(), b"late notification")
        for device in (one, two):
            with self.assertRaises(queue.Empty):
                device.hear(0.2)
        self.assertEqual(daemon.metric('handfast_upstream_datagrams_total{direction="in"}'), 2)
        self.assertEqual(daemon.metric('handfast_upstream_datagrams_total{direction="out"}'), 5)

    def test_strangers_and_strange_addresses(self):
        upstream = self.upstream()
        stranger = self.upstream()
        daemon = self.forward("dtls", upstream)
        device = self.device(daemon, "dtls")
        address, port = self.introduce(upstream, device, b"hello")
        stranger.sendto(b"from a stranger", (address, port))
        upstream.sendto(b"to nobody's address", (upstream.getsockname()[0], port))
        drops = "handfast_upstream_drops_total"
        self.await_metric(daemon, drops + '{cause="stranger"}', 2)
        upstream.sendto(b"to a record nobody has", (self.neighbour(address), port))
        self.await_metric(daemon, drops + '{cause="stale"}', 1)
        upstream.sendto(b"", (address, port))
        upstream.sendto(bytes(3000), (address, port))
        self.await_metric(daemon, drops + '{cause="too_long"}', 1)
        upstream.sendto(b"the real one", (address, port))
        self.assertEqual(device.hear(), b"the real one")

    def test_a_former_tenants_datagram_is_not_delivered(self):
        upstream = self.upstream()
        daemon = self.forward("dtls", upstream, "--shards", "1")
        former = self.device(daemon, "dtls")
        sources = [self.introduce(upstream, former, b"first tenant")]
        for number in range(1, 4):
            former.end()
            daemon.wait_for_metric("handfast_associations", 0)
            former = self.device(daemon, "dtls")
            sources.append(self.introduce(upstream, former, b"tenant %d" % number))
            self.assert_same_record(sources[0], sources[number], number)
        self.assertEqual(len(set(sources)), 4)
        for source in sources[:3]:
            upstream.sendto(b"late, for another", source)
        self.await_metric(daemon, 'handfast_upstream_drops_total{cause="stale"}', 3)
        upstream.sendto(b"for the last", sources[3])
        self.assertEqual(former.hear(), b"for the last")

    def assert_same_record(self, first, later, number):
        """Until the two low bits that tell its tenants apart are used up: then it rests."""
        if number < 3:
            self.assertEqual(first[0], later[0], "the record was not reused")
        else:
            self.assertNotEqual(first[0], later[0], "the record did not rest")

    def test_a_dead_upstream_costs_nothing_but_its_datagrams(self):
        upstream = parts.udp_upstream(0, self.family)
        port = upstream.getsockname()[1]
        daemon = self.forward("dtls", upstream)
        device = self.device(daemon, "dtls")
        source = self.introduce(upstream, device, b"alive")
        upstream.close()
        for number in range(2, 6):
            device.say(b"into the void\n")
            self.await_metric(daemon, 'handfast_upstream_datagrams_total{direction="out"}', number)
        daemon.wait_for_metric("handfast_associations", 1)
        time.sleep(1.1)
        self.assertEqual(daemon.metric("handfast_associations"), 1)
        upstream = self.upstream(port)
        upstream.sendto(b"restarted", source)
        self.assertEqual(device.hear(), b"restarted")
        self.assertEqual(self.introduce(upstream, device, b"still here"), source)

    def test_sockets_do_not_grow_with_associations(self):
        upstream = self.upstream()
        daemon = self.forward("dtls", upstream)
        count = lambda: len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
        before = count()
        devices = [self.device(daemon, "dtls") for _ in range(8)]
        for device in devices:
            self.introduce(upstream, device, b"here")
        daemon.wait_for_metric("handfast_associations", 8)
        self.assertLess(count(), before + 4)  # the scrapes have sockets, too

    def test_proxy_header_on_every_datagram(self):
        upstream = self.upstream()
        daemon = self.forward("dtls", upstream, "--proxy-protocol", "--reference-point", "mcc")
        device = self.device(daemon, "dtls", "-servername", "cse.example.org", identity="two")
        seen = []
        for text in (b"first\n", b"second\n"):
            device.say(text)
            header, payload = parts.parse_proxy(upstream.recv(4096))
            self.assertEqual(payload, text)
            seen.append(header)
        self.assertEqual(seen[0], seen[1])
        header = seen[0]
        self.assertEqual(header["protocol"], "datagram")
        self.assertEqual(header["source"][0], "127.0.0.1")
        self.assertEqual(header["destination"], ("127.0.0.1", daemon.port("dtls")))
        self.assertEqual(header["tlvs"][0x02], b"cse.example.org")
        self.assertRegex(header["tlvs"][0x05], rb"^[0-9a-f]{16}$")
        self.assertEqual((header["client"], header["verify"]), (1, 1))
        self.assertEqual(header["ssl"], {0x21: b"DTLSv1.2", 0x23: b"TLS_PSK_WITH_AES_128_CCM_8"})
        self.assertEqual(header["tlvs"][0xE0], b"/in-cse/Ctwo")
        self.assertIn(b"two", header["tlvs"][0xE1])
        self.assertEqual(header["tlvs"][0xE2], b"provisioned-symmetric-key")
        self.assertEqual(header["tlvs"][0xE3], b"Mcc")
        self.assertNotIn(0xE4, header["tlvs"])


@unittest.skipUnless(shutil.which("coap-server-notls") and shutil.which("coap-client-openssl"),
                     "libcoap3-bin is not installed")
class CoapTest(ForwardTest):
    def test_observe_through_the_daemon(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as chosen:
            chosen.bind(("127.0.0.1", 0))
            port = chosen.getsockname()[1]
        server = subprocess.Popen(["coap-server-notls", "-A", "127.0.0.1", "-p", str(port)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            text_key = "0123456789abcdef"
            daemon = self.start("--upstream-udp", f"127.0.0.1:{port}", listeners=DTLS,
                                keys=f"dev:{text_key.encode().hex()}\n")
            done = subprocess.run(
                ["coap-client-openssl", "-s", "4", "-B", "8", "-u", "dev", "-k", text_key, "-m",
                 "get", f"coaps://127.0.0.1:{daemon.port('dtls')}/time"], capture_output=True,
                timeout=PATIENCE, check=False)
        finally:
            server.kill()
            server.wait()
        clock = re.findall(rb"[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d", done.stdout)
        self.assertGreaterEqual(len(set(clock)), 3, done)
        self.assertGreaterEqual(
            daemon.metric('handfast_upstream_datagrams_total{direction="in"}'), 4)


class StreamTest(ForwardTest):
    def test_bytes_both_ways_and_the_upstreams_end(self):
        for family, options in ((socket.AF_INET, ()), (socket.AF_INET6, ("--seccomp",))):
            upstream = self.keep(parts.tcp_upstream(family))
            # The leak checker of a sanitized build traces threads, which the filter forbids.
            daemon = self.forward("tls", upstream, *options,
                                  env={"ASAN_OPTIONS": "detect_leaks=0"})
            device = self.device(daemon, "tls")
            device.say(b"a request\n")
            with parts.accept(upstream) as connection:
                self.assertEqual(parts.read_exactly(connection, 10), b"a request\n")
                connection.sendall(b"an answer")
                self.assertEqual(device.hear_all(9), b"an answer")
            self.assertEqual(device.hear(), b"")
            daemon.wait_for_metric("handfast_associations", 0)
            daemon.wait_for_metric("handfast_upstream_connections", 0)
            self.assertEqual(daemon.stop(), 0)

    def test_http_server(self):
        body = os.urandom(3_000_000)
        got = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                got.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            daemon = self.start("--upstream-tcp", f"127.0.0.1:{server.server_address[1]}",
                                listeners=TLS)
            device = self.device(daemon, "tls")
            sent = os.urandom(2_000_000)
            device.say(b"POST /x HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(sent) + sent)
            answer = device.hear_all(len(body) + 4096)
        finally:
            server.shutdown()
            server.server_close()
        head, _, content = answer.partition(b"\r\n\r\n")
        self.assertIn(b" 200 OK", head)
        self.assertEqual(got, [sent])
        self.assertEqual(content, body)

    def test_the_devices_end_reaches_the_upstream(self):
        upstream = self.keep(parts.tcp_upstream())
        daemon = self.forward("tls", upstream)
        device = self.device(daemon, "tls")
        device.say(b"all there is\n")
        connection = self.keep(parts.accept(upstream))
        self.assertEqual(parts.read_exactly(connection, 13), b"all there is\n")
        device.end()
        self.assertEqual(parts.read_to_end(connection), b"")

    def test_a_device_that_is_cut_off_does_not_look_finished(self):
        upstream = self.keep(parts.tcp_upstream())
        daemon = self.forward("tls", upstream)
        device = self.device(daemon, "tls")
        device.say(b"half of\n")
        connection = self.keep(parts.accept(upstream))
        self.assertEqual(parts.read_exactly(connection, 8), b"half of\n")
        device.process.kill()
        with self.assertRaises(ConnectionResetError):
            parts.read_to_end(connection)
        daemon.wait_for_metric("handfast_upstream_connections", 0)

    def test_a_refusing_upstream(self):
        upstream = parts.tcp_upstream()
        daemon = self.forward("tls", upstream, "--upstream-keep", "0")
        upstream.close()
        device = self.device(daemon, "tls")
        self.assertEqual(device.hear(), b"")
        self.await_metric(daemon, 'handfast_upstream_errors_total{cause="refused"}', 1)
        daemon.wait_for_metric("handfast_associations", 0)
        line = process_test.openssl(daemon, "tls", data=b"x\n")
        self.assertEqual(line.returncode, 0, "close_notify came")

    def test_an_upstream_that_breaks(self):
        upstream = self.keep(parts.tcp_upstream())
        daemon = self.forward("tls", upstream, "--upstream-keep", "0")
        device = self.device(daemon, "tls")
        connection = parts.accept(upstream)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        self.assertEqual(device.hear(), b"")
        self.await_metric(daemon, 'handfast_upstream_errors_total{cause="reset"}', 1)
        again = self.device(daemon, "tls")
        again.say(b"again\n")
        with parts.accept(upstream) as connection:
            self.assertEqual(parts.read_exactly(connection, 6), b"again\n")

    def test_an_upstream_that_does_not_answer(self):
        upstream = self.keep(parts.tcp_upstream(backlog=0))
        waiting = []
        for _ in range(4):  # the kernel leaves what is over the backlog without an answer
            client = self.keep(socket.socket())
            client.setblocking(False)
            client.connect_ex(upstream.getsockname())
            waiting.append(client)
        time.sleep(0.2)
        daemon = self.forward("tls", upstream, "--upstream-keep", "0")
        begun = time.monotonic()
        device = self.device(daemon, "tls")
        self.assertEqual(device.hear(), b"")
        self.assertTrue(4.5 < time.monotonic() - begun < 9, time.monotonic() - begun)
        self.await_metric(daemon, 'handfast_upstream_errors_total{cause="timeout"}', 1)

    # ---- associations outlive connections

    def test_an_idle_association_outlives_the_upstream(self):
        """The upstream's end is no news for a device to which nothing is owed."""
        upstream = parts.tcp_upstream()
        port = upstream.getsockname()[1]
        daemon = self.forward("tls", upstream, "--proxy-protocol")
        device = self.device(daemon, "tls", identity="one")
        device.say(b"a question\n")
        connection = parts.accept(upstream)
        header = parts.read_header(connection)
        self.assertEqual(parts.read_exactly(connection, 11), b"a question\n")
        connection.sendall(b"an answer")
        self.assertEqual(device.hear_all(9), b"an answer")
        time.sleep(1.2)
        connection.close()
        upstream.close()  # it is restarted
        self.await_metric(daemon, "handfast_upstream_kept_total", 1)
        daemon.wait_for_metric("handfast_upstream_connections", 0)
        self.assertEqual(daemon.metric("handfast_associations"), 1)
        upstream = self.keep(parts.tcp_upstream(port=port))
        device.say(b"another\n")
        connection = self.keep(parts.accept(upstream))
        again = parts.read_header(connection)
        self.assertEqual(again["tlvs"][0x05], header["tlvs"][0x05])  # the same association
        self.assertEqual(parts.read_exactly(connection, 8), b"another\n")
        connection.sendall(b"and yet another answer")
        self.assertEqual(device.hear_all(22), b"and yet another answer")
        self.assertEqual(daemon.metric("handfast_associations"), 1)
        self.assertEqual(daemon.metric('handfast_upstream_errors_total{cause="reset"}'), 0)

    def test_what_a_device_says_waits_for_the_upstream(self):
        """Dead when the device comes, and when it speaks; there a few seconds later."""
        upstream = parts.tcp_upstream()
        port = upstream.getsockname()[1]
        daemon = self.forward("tls", upstream)
        upstream.close()
        device = self.device(daemon, "tls")
        daemon.wait_for_metric("handfast_associations", 1)
        self.await_metric(daemon, "handfast_upstream_kept_total", 1)
        device.say(b"into the void")
        self.await_metric(daemon, "handfast_upstream_retries_total", 2)
        device.say(b", and more\n")
        upstream = self.keep(parts.tcp_upstream(port=port))
        connection = self.keep(parts.accept(upstream))
        self.assertEqual(parts.read_exactly(connection, 24), b"into the void, and more\n")
        connection.sendall(b"heard")
        self.assertEqual(device.hear_all(5), b"heard")
        self.assertEqual(daemon.metric("handfast_associations"), 1)

    def test_an_upstream_that_answers_late(self):
        upstream = self.keep(parts.tcp_upstream(backlog=0))
        waiting = []
        for _ in range(4):  # the kernel leaves what is over the backlog without an answer
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(upstream.getsockname())
            waiting.append(client)
        time.sleep(0.2)
        daemon = self.forward("tls", upstream)
        device = self.device(daemon, "tls")
        device.say(b"are you there?\n")
        self.await_metric(daemon, "handfast_upstream_retries_total", 1)
        self.assertEqual(daemon.metric("handfast_associations"), 1)
        for client in waiting:
            client.close()
        until = time.monotonic() + PATIENCE
        data = b""
        while data != b"are you there?\n":  # those that were closed come first
            self.assertLess(time.monotonic(), until)
            connection = self.keep(parts.accept(upstream))
            data = connection.recv(100)
        connection.sendall(b"yes")
        self.assertEqual(device.hear_all(3), b"yes")

    def test_it_does_not_wait_for_ever(self):
        upstream = parts.tcp_upstream()
        daemon = self.forward("tls", upstream, "--upstream-keep", "2s")
        upstream.close()
        device = self.device(daemon, "tls")
        daemon.wait_for_metric("handfast_associations", 1)
        device.say(b"into the void\n")
        self.assertEqual(device.hear(), b"")
        self.await_metric(daemon, 'handfast_upstream_errors_total{cause="refused"}', 1)
        daemon.wait_for_metric("handfast_upstream_connections", 0)

    def test_a_device_that_leaves_while_it_waits(self):
        upstream = parts.tcp_upstream()
        daemon = self.forward("tls", upstream)
        upstream.close()
        devices = [self.device(daemon, "tls") for _ in range(3)]
        for device in devices:
            device.say(b"into the void\n")
        self.await_metric(daemon, "handfast_upstream_retries_total", 3)
        for device in devices:
            device.process.kill()
        daemon.wait_for_metric("handfast_associations", 0)
        daemon.wait_for_metric("handfast_upstream_connections", 0)
        self.assertEqual(daemon.stop(), 0)

    def test_an_answer_that_is_due_is_not_waited_for(self):
        """The upstream dies with a question: its device has to know."""
        upstream = self.keep(parts.tcp_upstream())
        daemon = self.forward("tls", upstream)
        device = self.device(daemon, "tls")
        device.say(b"a question\n")
        connection = parts.accept(upstream)
        self.assertEqual(parts.read_exactly(connection, 11), b"a question\n")
        time.sleep(1.2)
        connection.close()
        self.assertEqual(device.hear(), b"")
        daemon.wait_for_metric("handfast_associations", 0)

    def test_stopping_while_devices_wait(self):
        upstream = parts.tcp_upstream()
        daemon = self.forward("tls", upstream)
        upstream.close()
        device = self.device(daemon, "tls")
        device.say(b"into the void\n")
        self.await_metric(daemon, "handfast_upstream_retries_total", 1)
        begun = time.monotonic()
        self.assertEqual(daemon.stop(), 0)
        self.assertLess(time.monotonic() - begun, 6)

    def test_a_slow_upstream_stops_the_device(self):
        upstream = self.keep(parts.tcp_upstream())
        daemon = self.forward("tls", upstream)
        device = self.device(daemon, "tls")
        data = os.urandom(24_000_000)
        talker = threading.Thread(target=device.say, args=(data,))
        talker.start()
        connection = self.keep(parts.accept(upstream))
        self.await_metric(daemon, "handfast_connections_paused", 1)
        time.sleep(0.5)
        held = daemon.metric('handfast_memory_bytes{part="io"}')
        out = daemon.metric('handfast_upstream_bytes_total{direction="out"}')
        self.assertLess(out, len(data))
        got = parts.read_exactly(connection, len(data))
        talker.join()
        self.assertEqual(got, data)
        self.assertLess(held - daemon.metric('handfast_memory_bytes{part="io"}'), 1_000_000)

    def test_proxy_header_on_the_stream(self):
        upstream = self.keep(parts.tcp_upstream())
        daemon = self.forward("tls", upstream, "--proxy-protocol")
        device = self.device(daemon, "tls", "-servername", "cse.example.org", identity="one")
        device.say(b"then the bytes\n")
        connection = self.keep(parts.accept(upstream))
        device.end()
        header, rest = parts.parse_proxy(parts.read_to_end(connection))
        self.assertEqual(rest, b"then the bytes\n")
        self.assertEqual((header["protocol"], header["destination"]),
                         ("stream", ("127.0.0.1", daemon.port("tls"))))
        self.assertEqual(header["tlvs"][0x02], b"cse.example.org")
        self.assertEqual(header["tlvs"][0xE0], b"/in-cse/Cone")
        self.assertEqual(header["ssl"],
                         {0x21: b"TLSv1.2", 0x23: b"TLS_PSK_WITH_AES_128_CBC_SHA256"})


class RefusalTest(ForwardTest):
    def test_what_cannot_be_an_upstream(self):
        keys = self.path("keys")
        process_test.write_keys(keys, KEYS)
        for options, needle in (
                ((*DTLS, "--upstream-udp", "192.0.2.1:5683"), "127.0.0.0/8"),
                ((*DTLS, "--upstream-udp", "127.64.0.1:5683"), "127.64.0.0/10"),
                ((*DTLS, "--upstream-udp", "[::1]:5683"), "upstream-prefix"),
                ((*DTLS, "--upstream-udp", "[fd00::9]:5683", "--upstream-prefix", "fd00::/64"),
                 "no upstream can be there"),
                ((*DTLS, "--upstream-udp", "[::1]:5683", "--upstream-prefix", "fd00::/56"),
                 "64 bits"),
                ((*DTLS, "--upstream-udp", "127.0.0.1:0"), "ADDR:PORT"),
                ((*DTLS, "--upstream-udp", "127.0.0.1:5683", "--shards", "8",
                  "--associations-max", "8000000"), "2^22"),
                ((*DTLS, "--proxy-protocol"), "needs an upstream")):
            done = process_test.run_once(*options, "--psk-file", keys, "--check")
            self.assertEqual(done.returncode, 2, options)
            self.assertIn(needle, done.stderr)


def load_tests(loader, tests, pattern):
    """Not those that were only imported."""
    del tests, pattern
    own = unittest.TestSuite()
    for case in (DatagramTest, CoapTest, StreamTest, RefusalTest):
        names = [name for name in loader.getTestCaseNames(case) if name in vars(case)]
        own.addTests(case(name) for name in names)
    return own


if __name__ == "__main__":
    process_test.HANDFASTD = os.path.abspath(sys.argv.pop(1))
    parallel.main()
