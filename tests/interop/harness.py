"""harness.py - processes, servers and wires of the interop matrix: what a case is built from."""
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import free_port as ports  # noqa: E402

# What the servers stand on: HF_TEST_IO=epoll or uring; otherwise what they choose.
IO = ["--io", os.environ["HF_TEST_IO"]] if "HF_TEST_IO" in os.environ else []
OUTPUT_SHOWN = 2500  # bytes of a process's output that a failure shows


class Fail(Exception):
    """A case failed; the message says what was expected."""


class Skip(Exception):
    """A case cannot run here; the message says why."""


class Process:
    """A program with a pipe on its input, and its output collected as it comes."""

    def __init__(self, argv, env=None):
        self.argv = [str(part) for part in argv]
        self.output = b""
        self.changed = threading.Condition()
        self.is_ended = False
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})
        self.reader = threading.Thread(target=self._collect, daemon=True)
        self.reader.start()

    def _collect(self):
        while chunk := os.read(self.process.stdout.fileno(), 65536):
            with self.changed:
                self.output += chunk
                self.changed.notify_all()
        with self.changed:
            self.is_ended = True
            self.changed.notify_all()

    def saw(self, pattern):
        with self.changed:
            return re.search(pattern, self.output, re.S)

    def expect(self, pattern, seconds, what=None):
        """Waits until the output matches, and gives the match."""
        until = time.monotonic() + seconds
        with self.changed:
            while True:
                match = re.search(pattern, self.output, re.S)
                if match:
                    return match
                left = until - time.monotonic()
                if left <= 0 or self.is_ended:
                    why = "the program ended" if self.is_ended else f"not within {seconds} s"
                    raise Fail(f"expected {what or pattern!r}: {why}")
                self.changed.wait(left)

    def send(self, data):
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # it ended: what it was to answer will be missed

    def end_input(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def wait(self, seconds):
        """The exit status; Fail if it does not end."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Fail(f"{os.path.basename(self.argv[0])} did not end within {seconds} s") from None
        self.reader.join(seconds)
        return status

    def stop(self):
        self.end_input()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.reader.join(1)

    def tail(self):
        with self.changed:
            text = self.output[-OUTPUT_SHOWN:].decode("utf-8", "backslashreplace")
        return text.replace("\0", "\\0")


class Server:
    """A handfastd on ports of its own choice."""

    def __init__(self, binary, key_file, options, is_wildcard=False, seconds=30):
        self.options = options
        places = ["[::]:0"] if is_wildcard else ["127.0.0.1:0", "[::1]:0"]
        argv = [binary, "--psk-file", key_file, "--log-format", "logfmt", "--log-level", "debug",
                "--shards", "2", *IO]
        for place in places:
            argv += ["--dtls", place, "--tls", place]
        argv += ["--respond-anywhere"] if is_wildcard else []
        self.process = Process(argv + list(options))
        self.process.expect(rb"event=ready[^\n]*\n", seconds, "the server to be ready")
        self.ports = {}
        found = re.findall(rb"event=listening transport=(\w+) address=(\S+?):(\d+)\s",
                           self.process.output)
        for transport, host, port in found:
            family = "v6" if host.startswith(b"[") else "v4"
            self.ports[transport.decode(), family] = int(port)
            if is_wildcard:
                self.ports[transport.decode(), "v4"] = int(port)

    def address(self, transport, family="v4", host=None):
        """(host, port) of a listener."""
        return host or {"v4": "127.0.0.1", "v6": "::1"}[family], self.ports[transport, family]

    def stop(self):
        """Ends it as an operator does; Fail unless it ends well and nothing was amiss."""
        self.process.process.terminate()
        status = self.process.wait(20)
        if re.search(rb"Sanitizer|runtime error", self.process.output):
            raise Fail("a sanitizer complained")
        if status != 0:
            raise Fail(f"the server ended with status {status}")


class Servers:
    """Servers shared by cases, one for each set of options, started when first asked for."""

    def __init__(self, binary, key_file):
        self.binary = binary
        self.key_file = key_file
        self.lock = threading.Lock()
        self.running = {}
        self.pki = None  # directory of tests/support/pki.sh
        self.handfast = None  # the tool

    def get(self, *options, is_wildcard=False):
        with self.lock:
            key = (options, is_wildcard)
            if key not in self.running:
                self.running[key] = self.start(*options, is_wildcard=is_wildcard)
            return self.running[key]

    def start(self, *options, is_wildcard=False):
        """One that no other case sees."""
        return Server(self.binary, self.key_file, options, is_wildcard)


class Proxy:
    """The bad network in front of a server's DTLS port."""

    def __init__(self, binary, to, *options):
        host, port = to
        to_text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.process = Process([binary, "--listen", "127.0.0.1:0", "--to", to_text, *options])
        match = self.process.expect(rb"listening 127\.0\.0\.1:(\d+)\n", 10)
        self.address = "127.0.0.1", int(match.group(1))

    def stop(self):
        self.process.process.terminate()
        self.process.wait(5)
        return self.process.tail().splitlines()[-1]


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def free_port(transport):
    """A port of 127.0.0.1 that nobody has just now."""
    kind = socket.SOCK_DGRAM if transport == "dtls" else socket.SOCK_STREAM
    return ports.free_port(kind)


def is_bound(port, transport):
    """Whether some socket of this machine waits at the port."""
    kind, states = ("udp", None) if transport == "dtls" else ("tcp", "0A")  # 0A: listening
    for table in (kind, kind + "6"):
        with open(f"/proc/net/{table}", encoding="ascii") as file:
            rows = [line.split() for line in file.readlines()[1:]]
        if any(int(row[1].rpartition(":")[2], 16) == port and states in (None, row[3])
               for row in rows):
            return True
    return False


class TcpTap:
    """Listens, passes one connection through to a server, and keeps what went by."""

    def __init__(self, to):
        self.to = to
        self.sent = {"client": b"", "server": b""}  # by whom
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.is_server_done = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(self.to)
        back = threading.Thread(target=self._copy, args=("server", server, client), daemon=True)
        back.start()
        self._copy("client", client, server)
        back.join()
        client.close()
        server.close()

    def _copy(self, who, source, sink):
        try:
            while data := source.recv(65536):
                self.sent[who] += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        if who == "server":
            self.is_server_done.set()

    def records(self, who):
        """[(content type, length, payload)] of the TLS records `who` sent."""
        data, found = self.sent[who], []
        while len(data) >= 5:
            length = int.from_bytes(data[3:5], "big")
            found.append((data[0], length, data[5:5 + length]))
            data = data[5 + length:]
        return found

    def stop(self):
        self.listener.close()


class UdpTap:
    """The same for datagrams, of one client."""

    def __init__(self, to):
        self.datagrams = {"client": [], "server": []}
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.listener.bind(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.upstream = socket.socket(family_of(to[0]), socket.SOCK_DGRAM)
        self.upstream.connect(to)
        self.is_stopped = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        client = None
        while not self.is_stopped:
            ready, _, _ = select.select([self.listener, self.upstream], [], [], 0.1)
            try:
                if self.listener in ready:
                    data, client = self.listener.recvfrom(65536)
                    self.datagrams["client"].append(data)
                    self.upstream.send(data)
                if self.upstream in ready:
                    data = self.upstream.recv(65536)
                    self.datagrams["server"].append(data)
                    self.listener.sendto(data, client)
            except OSError:
                pass  # a port that is closed by now

    def records(self, who):
        """[(content type, epoch, length, payload)] of the DTLS records `who` sent."""
        found = []
        for data in list(self.datagrams[who]):
            while len(data) >= 13:
                length = int.from_bytes(data[11:13], "big")
                found.append((data[0], int.from_bytes(data[3:5], "big"), length,
                              data[13:13 + length]))
                data = data[13 + length:]
        return found

    def stop(self):
        self.is_stopped = True
        self.thread.join()
        self.listener.close()
        self.upstream.close()


class Bench:
    """What one case has at hand; it is cleaned up after the case, whatever happened."""

    def __init__(self, servers, tools):
        self.servers = servers
        self.tools = tools
        self.things = []

    def tool(self, name):
        path = os.path.join(self.tools, name)
        if not os.path.exists(path):
            raise Skip(f"{name} is not built")
        return path

    def keep(self, thing):
        """Remembers something that has a stop()."""
        self.things.append(thing)
        return thing

    def process(self, argv, env=None):
        return self.keep(Process(argv, env))

    def file(self, text):
        file = tempfile.NamedTemporaryFile("w", delete=False)
        file.write(text)
        file.close()
        self.keep(TemporaryFile(file.name))
        return file.name

    def clean(self):
        for thing in reversed(self.things):
            try:
                thing.stop()
            except Fail:
                pass  # it is being thrown away; a case that cares has asked before

    def tails(self):
        """The output of every program of the case, for a failure."""
        for thing in self.things:
            process = thing if isinstance(thing, Process) else getattr(thing, "process", None)
            if isinstance(process, Process):
                yield " ".join(process.argv), process.tail()


class TemporaryFile:
    def __init__(self, name):
        self.name = name

    def stop(self):
        os.unlink(self.name)
