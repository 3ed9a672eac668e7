#!/usr/bin/env python3
"""daemon_run.py - harm done to a running handfastd: bad key files, garbage on its sockets, slow,
half-open and vanishing connections by the thousand, signals at the wrong time.

    daemon_run.py --binary HANDFASTD [--count N] [--seed N] [CASE...]

Beside every case two associations of openssl s_client stay open, one on TLS, one on DTLS; they and
a fresh client, must be served all the while. All on loopback; a process a case, for descriptors.
"""
import argparse
import concurrent.futures
import itertools
import os
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from harness import IO, Fail, Process, Skip  # noqa: E402

KEY = "8f1d2c3b4a5968778695a4b3c2d1e0f1"
NEW_KEY = "00112233445566778899aabbccddeeff"
KEYS = f"device:{KEY}:/in-cse/Cdevice\n".encode()
PATIENCE = 20
FLOOD_ADDRESS = "127.0.0.2"  # another prefix than the good clients' 127.0.0.1


def wait_count(process, words, count, what):
    """Waits until the output of the process holds the words so many times."""
    until = time.monotonic() + PATIENCE
    with process.changed:
        while process.output.count(words) < count:
            left = until - time.monotonic()
            if left <= 0 or process.is_ended:
                raise Fail(f"expected {what}: {process.output.count(words)} of {count} came")
            process.changed.wait(left)


class Bystander:
    """A client of somebody else's making that stays, and asks who it is from time to time."""

    def __init__(self, daemon, transport, identity="device", key=KEY):
        self.transport = transport
        self.count = itertools.count(1)
        kind = ["-tls1_2"] if transport == "tls" else ["-dtls1_2"]
        suite = "PSK-AES128-CBC-SHA256" if transport == "tls" else "PSK-AES128-CCM8"
        self.process = Process(["openssl", "s_client", "-quiet", *kind, "-connect",
                                f"127.0.0.1:{daemon.ports[transport]}", "-cipher",
                                f"{suite}:@SECLEVEL=0", "-psk_identity", identity, "-psk", key])

    def check(self):
        """Fail unless /whoami is answered, on the association that has been there all the time."""
        number = next(self.count)
        if self.transport == "tls":
            self.process.send(b"GET /whoami HTTP/1.1\r\nHost: x\r\n\r\n")
        else:
            self.process.send(struct.pack(">BBH", 0x40, 1, number) + b"\xb6whoami")
        wait_count(self.process, b'"credential_id":"12-device"', number,
                   f"answer {number} to a bystander on {self.transport}")

    def stop(self):
        self.process.stop()


class Daemon:
    """A handfastd that answers /whoami, with its log and metrics."""

    def __init__(self, binary, directory, *options, keys=KEYS):
        self.key_file = os.path.join(directory, "keys")
        write_keys(self.key_file, keys)
        self.process = Process([binary, "--psk-file", self.key_file, "--log-format", "logfmt",
                                "--dtls", "127.0.0.1:0", "--tls", "127.0.0.1:0", "--metrics",
                                "127.0.0.1:0", "--shards=2", "--respond=whoami", *IO, *options])
        self.process.expect(rb"event=ready[^\n]*\n", PATIENCE, "the daemon to be ready")
        found = re.findall(rb"event=listening transport=(\w+) address=\S+?:(\d+)\s",
                           self.process.output)
        self.ports = {transport.decode(): int(port) for transport, port in found}
        self.bystanders = [Bystander(self, "tls"), Bystander(self, "dtls")]
        self.check()

    def address(self, transport):
        return "127.0.0.1", self.ports[transport]

    def pid(self):
        return self.process.process.pid

    def check(self):
        """Fail unless the daemon lives and serves the two that are there and one that comes."""
        if self.process.process.poll() is not None:
            raise Fail(f"the daemon ended with status {self.process.process.returncode}")
        for bystander in self.bystanders:
            bystander.check()
        for transport in ("tls", "dtls"):
            fresh = Bystander(self, transport)
            try:
                fresh.check()
            finally:
                fresh.stop()

    def metrics(self):
        url = f"http://127.0.0.1:{self.ports['metrics']}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.read().decode()

    def metric(self, name, text=None):
        """The sum over everything of this name that has, among others, the labels given."""
        wanted = [x for x in re.split("[{},]", name) if x]  # the family first
        return sum(float(line.rsplit(" ", 1)[1]) for line in (text or self.metrics()).splitlines()
                   if re.match(wanted[0] + "[{ ]", line) and all(x in line for x in wanted))

    def wait_metric(self, name, is_good, what):
        until = time.monotonic() + PATIENCE
        while not is_good(value := self.metric(name)):
            if time.monotonic() > until:
                raise Fail(f"{name} is {value}, expected {what}")
            time.sleep(0.1)
        return value

    def failed(self, reason):
        """The name of the metric that counts failed handshakes of one reason."""
        return f'handfast_handshakes_total{{outcome="failed",reason="{reason}"}}'

    def stop(self):
        """Ends it as an operator does; Fail unless it ends well, in time and without complaint."""
        began = time.monotonic()
        if self.process.process.poll() is None:
            self.process.process.terminate()
        status = self.process.wait(PATIENCE)
        for bystander in self.bystanders:
            bystander.stop()
        text = self.process.output
        if re.search(rb"Sanitizer|runtime error", text):
            raise Fail("a sanitizer complained: " + self.process.tail())
        if status != 0:
            raise Fail(f"the daemon ended with status {status}")
        if time.monotonic() - began > 8:
            raise Fail("it took more than 8 s to end")
        for secret in (KEY, NEW_KEY):
            if secret.encode() in text:
                raise Fail("a key is in the log")

    def kill(self):
        for bystander in self.bystanders:
            bystander.stop()
        self.process.stop()


def write_keys(path, data, mode=0o600):
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


def require(condition, text):
    if not condition:
        raise Fail(text)


class Bench:
    """What a case has at hand."""

    def __init__(self, options, directory):
        self.binary = options.binary
        self.count = options.count
        self.directory = directory
        self.random = random.Random(options.seed)
        self.daemons = []
        self.sockets = []

    def start(self, *options, **named):
        daemon = Daemon(self.binary, self.directory, *options, **named)
        self.daemons.append(daemon)
        return daemon

    def connect(self, daemon, source="127.0.0.1", transport="tls"):
        peer = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sockets.append(peer)
        peer.settimeout(PATIENCE)
        peer.bind((source, 0))
        peer.connect(daemon.address(transport))
        return peer

    def noise(self, longest):
        return self.random.randbytes(self.random.randrange(1, longest))

    def close_sockets(self):
        for peer in self.sockets:
            peer.close()
        self.sockets.clear()

    def clean(self):
        self.close_sockets()
        for daemon in self.daemons:
            daemon.kill()


# Each line of what is wrong, and what the message must say.
LONG = b"f" * 1025
KEY_FILE_ERRORS = [
    (b"device\n", b"line 1: no colon"),
    (b"# good\n\n" + KEYS + b"nothing here\n", b"line 4: no colon"),
    (b":" + KEY.encode() + b"\n", b"line 1: the identity is empty"),
    (LONG + b":" + KEY.encode() + b"\n", b"longer than 1024"),
    (b"d\xff\xfe:" + KEY.encode() + b"\n", b"does not print"),
    (b"d\x01:" + KEY.encode() + b"\n", b"does not print"),
    (b"#:" + KEY.encode() + b"\n", b"hexadecimal identity is empty"),
    (b"#xyz:" + KEY.encode() + b"\n", b"must be hexadecimal"),
    (b"#abc:" + KEY.encode() + b"\n", b"odd number"),
    (b"#" + b"ab" * 1025 + b":" + KEY.encode() + b"\n", b"longer than 1024"),
    (b"device:\n", b"the key is empty"),
    (b"device:" + KEY[:-1].encode() + b"\n", b"odd number"),
    (b"device:" + KEY[:-1].encode() + b"g\n", b"no hexadecimal digit"),
    (b"device: " + KEY.encode() + b"\n", b"no hexadecimal digit"),
    (b"device:" + KEY[:30].encode() + b"\n", b"shorter than 16"),
    (b"device:" + KEY.encode() * 4 + b"00\n", b"longer than 64"),
    (KEYS + KEYS, b"line 2: the identity was already given in line 1"),
    (b"#646576696365:" + NEW_KEY.encode() + b"\n" + KEYS, b"already given in line 1"),
    (b"device:" + KEY.encode() + b":\n", b"entity-id is empty"),
    (b"device:" + KEY.encode() + b":nonsense\n", b"neither a CSE-ID nor an AE-ID"),
    (b"device:" + KEY.encode() + b":/" + b"x" * 600 + b"\n", b"longer than 512"),
    (b"device:" + KEY.encode() + b":/a\x02b\n", b"does not print"),
    (b"dev\0ice:" + KEY.encode() + b"\n", b"NUL"),
    (KEYS + b"\0\0\0\0", b"NUL"),
    (b"\xef\xbb\xbf" + KEYS, b"byte order mark"),
    (b"\xff\xfe" + KEYS.decode().encode("utf-16-le"), b"line 1:"),
    (b"x" * 1000000, b"line 1:"),
]


def shows_key(text):  # eight digits in a row of any key
    return any(key[at:at + 8].encode() in text for key in (KEY, NEW_KEY)
               for at in range(len(key) - 7))


def case_key_files_at_start(bench):
    """A file with any error is refused at start: status 2, file and line named, no key shown."""
    path = os.path.join(bench.directory, "bad-keys")
    for data, needle in KEY_FILE_ERRORS:
        for extra in ([], ["--check"]):
            write_keys(path, data)
            command = [bench.binary, "--psk-file", path, "--tls", "127.0.0.1:0", *extra]
            done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
            require(done.returncode == 2, f"{data[:60]!r}: status {done.returncode}, not 2")
            require(needle in done.stderr, f"{data[:60]!r}: {needle!r} not in {done.stderr!r}")
            require(path.encode() in done.stderr, f"{done.stderr!r} does not name the file")
            require(not shows_key(done.stderr), f"{done.stderr!r} shows key material")


def case_key_files_of_wrong_kind(bench):
    """Not a file, not there, not only the owner's: refused, and none of them hangs."""
    def attempt(path, needle):
        done = subprocess.run([bench.binary, "--psk-file", path, "--tls", "127.0.0.1:0"],
                              capture_output=True, timeout=PATIENCE, check=False)
        require(done.returncode == 2, f"{path}: status {done.returncode}, not 2")
        require(needle in done.stderr, f"{path}: {needle!r} not in {done.stderr!r}")

    fifo = os.path.join(bench.directory, "fifo")
    os.mkfifo(fifo, 0o600)
    attempt(fifo, b"not a regular file")
    attempt(bench.directory, b"not a regular file")
    attempt("/dev/zero", b"not a regular file")
    attempt(os.path.join(bench.directory, "nowhere"), b"No such file")
    path = os.path.join(bench.directory, "open-keys")
    for mode in (0o604, 0o640, 0o620, 0o602, 0o660, 0o644, 0o666, 0o610, 0o777):
        write_keys(path, KEYS, mode)
        attempt(path, b"chmod 600")


def case_key_files_at_reload(bench):
    """A bad file at SIGHUP changes nothing: the old keys stay, the reason is logged and counted."""
    daemon = bench.start()
    failures = 0
    for data, needle in KEY_FILE_ERRORS:
        write_keys(daemon.key_file, data)
        os.kill(daemon.pid(), signal.SIGHUP)
        failures += 1
        wait_count(daemon.process, b"stay as they were", failures, f"no for {data[:40]!r}")
        line = re.findall(rb"event=reload_failed[^\n]*\n", daemon.process.output)[-1]
        require(needle in line, f"{data[:40]!r}: {needle!r} not in {line!r}")
        require(not shows_key(line), f"{line!r} shows key material")
    daemon.check()
    name = 'handfast_key_reloads_total{outcome="failed"}'
    daemon.wait_metric(name, lambda n: n >= failures, failures)
    write_keys(daemon.key_file, f"other:{NEW_KEY}\n".encode() + KEYS)
    os.kill(daemon.pid(), signal.SIGHUP)
    daemon.process.expect(rb"event=reloaded", PATIENCE)
    daemon.check()
    daemon.stop()


def case_garbage_datagrams(bench):
    """Noise on the DTLS port: counted by cause, unanswered, served through."""
    daemon = bench.start()
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind((FLOOD_ADDRESS, 0))
    bench.sockets.append(peer)
    for at in range(20000):
        data = bench.noise(1400)
        if at % 2:  # behind the header of a record
            kind = bench.random.choice((20, 21, 22, 22, 23, 24, 25))
            epoch = bench.random.choice((0, 0, 0, 1, 2, 65535))
            data = struct.pack(">BHHHIH", kind, bench.random.choice((0xFEFD, 0xFEFF, 0x0303)),
                               epoch, 0, at, len(data)) + data
        peer.sendto(data, daemon.address("dtls"))
        if at % 5000 == 0:
            peer.sendto(b"", daemon.address("dtls"))  # ends a multishot receive
            daemon.check()
    daemon.check()
    until = time.monotonic() + PATIENCE
    while True:
        text = daemon.metrics()
        causes = {match.group(1): float(match.group(2)) for match in
                  re.finditer(r'handfast_drops_total\{cause="(\w+)"\} (\S+)', text)}
        seen = [cause for cause, value in causes.items() if value > 0]
        if len(seen) >= 5 or time.monotonic() > until:
            break
        time.sleep(0.2)
    require(len(seen) >= 5, f"drops of only {seen}")
    peer.setblocking(False)
    try:
        answer = peer.recv(2000)
        require(answer[13] == 3, "a stranger was answered with more than a HelloVerifyRequest")
    except BlockingIOError:
        pass
    daemon.stop()


def case_garbage_connections(bench):
    """Noise and other protocols on the TLS port: an alert or a close, the reason logged."""
    daemon = bench.start("--log-rate", "0")
    first = [b"GET / HTTP/1.1\r\n\r\n", b"\x80\x2e\x01\x03\x01", b"SSH-2.0-x\r\n", b"\0" * 100,
             b"\x16\x03\x01\x48\x01" + b"x" * 200, b"\x16\x03\x01\xff\xff", b"\x17\x03\x03\0\1x",
             b"\x16\x03\x01\0\0", b"\x15\x03\x01\0\2\2\x28", b"\x14\x03\x01\0\1\1",
             b"\x16\x03\x01\0\4\1\xff\xff\xff", b"\x16\x04\x00\0\4\1\0\0\0"]
    for at in range(600):
        peer = bench.connect(daemon, FLOOD_ADDRESS)
        try:
            peer.sendall(first[at] if at < len(first) else bench.noise(3000))
            if at % 7 == 0:
                peer.shutdown(socket.SHUT_WR)
            if at < len(first):
                while peer.recv(4096):
                    pass
        except (ConnectionError, BrokenPipeError):
            pass
        peer.close()
    bench.sockets.clear()
    daemon.check()
    total = daemon.wait_metric('handfast_handshakes_total{outcome="failed"', lambda n: n >= 600,
                               "600 or more")
    for reason in ("unexpected_message", "record_overflow", "decode_error", "message_too_long",
                   "protocol_version", "peer_alert"):
        require(daemon.metric(daemon.failed(reason)) > 0, f"no handshake failed for {reason}")
        require(daemon.process.saw(b"event=handshake_failed reason=" + reason.encode()),
                f"{reason} is not in the log")
    require(total < 700, f"{total} failed handshakes for 600 connections")
    daemon.stop()


def case_slow_hellos(bench):
    """One byte now and then: the connection ends when its hello is due, others notice nothing."""
    daemon = bench.start("--hello-timeout", "2s")
    peers = [bench.connect(daemon, FLOOD_ADDRESS) for _ in range(200)]
    hello = b"\x16\x03\x01\x00\x80\x01\x00\x00\x7c\x03\x03" + bytes(100)
    began, at, alive = time.monotonic(), 0, set(peers)
    while alive and time.monotonic() - began < 10:
        for peer in list(alive):
            try:
                peer.send(hello[at:at + 1])
                peer.setblocking(False)
                if peer.recv(100) == b"":
                    alive.discard(peer)
            except BlockingIOError:
                pass
            except OSError:
                alive.discard(peer)
        at += 1
        daemon.bystanders[at % 2].check()
        time.sleep(0.2)
    took = time.monotonic() - began
    require(not alive, f"{len(alive)} slow connections are alive after 10 s")
    require(1.5 < took < 8, f"slow connections ended after {took:.1f} s, not about 2")
    daemon.wait_metric(daemon.failed("hello_timeout"), lambda n: n >= 200, "200")
    daemon.process.expect(rb"reason=hello_timeout", PATIENCE)
    daemon.check()
    daemon.stop()


def raise_descriptors(wanted):
    """How many sockets may be open here."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = min(hard, wanted + 200) if hard != resource.RLIM_INFINITY else wanted + 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, soft - 200)


def case_half_open_connections(bench):
    """Thousands of connections that say nothing: limits hold, others are served, all ends."""
    count = raise_descriptors(bench.count)
    if count < 1000:
        raise Skip(f"only {count} descriptors are allowed")
    daemon = bench.start("--hello-timeout", "8s")
    engine_memory = 'handfast_memory_bytes{part="engine"'
    daemon.wait_metric("handfast_associations", lambda n: n >= 2, "2, the bystanders")
    memory = daemon.metric(engine_memory)
    require(memory > 0, "the engine's memory is not told")
    begun = time.monotonic()
    for at in range(count):
        bench.connect(daemon, FLOOD_ADDRESS)
        if at % 2000 == 1999:
            daemon.check()
    is_at_once = time.monotonic() - begun < 6  # before the first of them have timed out
    text = daemon.metrics()
    open_now = daemon.metric("handfast_handshakes_open", text)
    require(open_now <= 2 * 4096, f"{open_now} handshakes are open, more than slots exist")
    now = daemon.metric(engine_memory, text)
    require(now == memory, f"the engine's memory has grown from {memory} to {now}")
    if count > 2 * 4096 and is_at_once:  # one prefix must not get all slots of both shards
        daemon.wait_metric(daemon.failed("prefix_limit"), lambda n: n > 0, "some")
    daemon.check()
    refused = lambda: daemon.metric(daemon.failed("prefix_limit"))
    daemon.wait_metric(daemon.failed("hello_timeout"), lambda n: n >= count - refused() - 100,
                       "all that were admitted")
    daemon.wait_metric("handfast_handshakes_open", lambda n: n == 0, "0, as all have timed out")
    print(f"     {count} connections, {refused():.0f} refused for their prefix")
    bench.close_sockets()
    daemon.check()
    daemon.stop()


def case_connections_reset(bench):
    """Thousands of connections reset at the same moment."""
    count = raise_descriptors(min(bench.count, 6000))
    daemon = bench.start("--shards", "1")
    for _ in range(3):
        peers = [bench.connect(daemon, FLOOD_ADDRESS) for _ in range(count)]
        os.kill(daemon.pid(), signal.SIGSTOP)  # so that it finds them all at once
        for peer in peers:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        bench.close_sockets()
        os.kill(daemon.pid(), signal.SIGCONT)
        daemon.check()
    daemon.wait_metric(daemon.failed("truncated"), lambda n: n > count, "thousands")
    daemon.wait_metric("handfast_handshakes_open", lambda n: n == 0, "0")
    daemon.stop()


def client_hello(cookie, sequence, randomness):
    """A DTLS 1.2 ClientHello that offers TLS_PSK_WITH_AES_128_CCM_8."""
    body = (b"\xfe\xfd" + randomness + b"\0" + bytes([len(cookie)]) + cookie +
            b"\0\4\xc0\xa8\0\xff" + b"\1\0" + b"\0\4\0\x17\0\0")
    message = (b"\1" + struct.pack(">I", len(body))[1:] + struct.pack(">H", sequence) + b"\0\0\0" +
               struct.pack(">I", len(body))[1:] + body)
    return struct.pack(">BHHHIH", 22, 0xFEFF, 0, 0, sequence, len(message)) + message


def case_half_open_datagrams(bench):
    """Thousands of DTLS handshakes begun from one address and never continued."""
    daemon, answered = bench.start("--handshake-timeout", "10s", "--handshakes-max", "2048"), 0
    for at in range(bench.count):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind((FLOOD_ADDRESS, 0))
            peer.connect(daemon.address("dtls"))
            peer.settimeout(2)
            randomness = bench.random.randbytes(32)
            peer.send(client_hello(b"", 0, randomness))
            try:
                while (answer := peer.recv(2000))[13] == 2:
                    pass  # a ServerHello, again, to who had the port a moment ago
                require(answer[13] == 3, "the first answer is not a HelloVerifyRequest")
                peer.send(client_hello(answer[28:28 + answer[27]], 1, randomness))
                answered += 1
            except (TimeoutError, ConnectionError):
                pass
        if at % 2500 == 2499:
            daemon.check()
    require(answered > bench.count * 0.9, f"only {answered} of {bench.count} were answered")
    open_now = daemon.metric("handfast_handshakes_open")
    require(open_now <= 2048, f"{open_now} handshakes are open, more than slots exist")
    dropped = daemon.wait_metric('handfast_drops_total{cause="prefix_limit"}',
                                 lambda n: n > bench.count - 2500, "most of them")
    print(f"     {answered} verified, {dropped:.0f} refused for their prefix")
    daemon.check()
    daemon.wait_metric("handfast_handshakes_open", lambda n: n == 0, "0, as all have timed out")
    daemon.check()
    daemon.stop()


def case_metrics_port_abused(bench):
    """Garbage, silence and floods on the metrics port stop neither it nor the shards."""
    daemon = bench.start()
    for at in range(300):
        peer = bench.connect(daemon, transport="metrics")
        try:
            if at % 3 == 0:
                peer.sendall(bench.noise(20000))
            elif at % 3 == 1:
                peer.sendall(b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * (at * 20))
        except ConnectionError:
            pass
    for bystander in daemon.bystanders:
        bystander.check()
    bench.close_sockets()
    require("handfast_build_info" in daemon.metrics(), "no metrics any more")
    daemon.check()
    daemon.stop()


def case_signals(bench):
    """SIGHUP by the hundred, SIGPIPE, SIGUSR1 to no effect it should not have."""
    daemon = bench.start()
    for _ in range(300):
        os.kill(daemon.pid(), signal.SIGHUP)
        os.kill(daemon.pid(), signal.SIGPIPE)
    daemon.check()
    daemon.process.expect(rb"event=reloaded", PATIENCE)
    daemon.stop()


def case_stop_under_load(bench):
    """SIGTERM while connections are slow, half-open and coming: it ends well and in time."""
    daemon = bench.start()
    for at in range(1000):
        peer = bench.connect(daemon, FLOOD_ADDRESS)
        if at % 2:
            peer.send(b"\x16\x03\x01\x00\x80\x01")
    noise = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bench.sockets.append(noise)
    for _ in range(1000):
        noise.sendto(bench.noise(1000), daemon.address("dtls"))
    daemon.stop()


def case_refusals_are_told_apart_in_the_log(bench):
    """An unknown identity and a wrong key look the same to the peer, not to the operator."""
    daemon = bench.start()
    seen = []
    for identity, key, reason in (("nobody", KEY, b"key_unknown"),
                                  ("device", NEW_KEY, b"key_mismatch")):
        client = Bystander(daemon, "tls", identity, key)
        client.process.wait(PATIENCE)
        daemon.process.expect(rb"event=handshake_failed reason=" + reason, PATIENCE)
        daemon.wait_metric(daemon.failed(reason.decode()), lambda n: n == 1, "1")
        seen.append(re.findall(r"alert number \d+", client.process.tail()))
        client.stop()
    require(seen[0] == seen[1] == ["alert number 20"], f"the peer sees {seen}")
    daemon.check()
    daemon.stop()


def run_case(case, options):
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(options, directory)
        name = case.__name__[len("case_"):]
        began = time.monotonic()
        try:
            case(bench)
            print(f"PASS {name} ({time.monotonic() - began:.1f} s)", flush=True)
            return "passed"
        except Skip as why:
            print(f"SKIP {name}: {why}", flush=True)
            return "skipped"
        except (Fail, OSError, subprocess.SubprocessError) as why:
            print(f"FAIL {name}: {why}", flush=True)
            if not isinstance(why, Fail):
                traceback.print_exc(file=sys.stdout)
            for daemon in bench.daemons:
                print(daemon.process.tail())
            return "failed"
        finally:
            bench.clean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--count", type=int, default=10000)  # how many thousand is thousands
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("cases", nargs="*")
    options = parser.parse_args()
    wanted = [value for name, value in globals().items() if name.startswith("case_") and
              name[5:] in (options.cases or [name[5:]])]
    print(f"seed {options.seed}")
    with concurrent.futures.ProcessPoolExecutor(4) as pool:  # most of them wait
        results = list(pool.map(run_case, wanted, [options] * len(wanted)))
    print(", ".join(f"{results.count(word)} {word}" for word in ("passed", "failed", "skipped")))
    return 1 if "failed" in results or not results else 0


if __name__ == "__main__":
    sys.exit(main())
