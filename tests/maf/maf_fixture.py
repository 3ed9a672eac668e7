"""maf_fixture.py - a handfast-maf as a process, and clients of it made of openssl s_client:
somebody else's TLS. Every port is one the kernel chose."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import parallel  # noqa: E402

PROGRAMS = {}
PATIENCE = 20  # seconds; valgrind and sanitizers are slow

SOURCE = ("km-a@maf.example.com", "00" * 31 + "0a", "//m2msp.example/Sae1")
TARGET = ("km-b@maf.example.com", "00" * 31 + "0b", "//m2msp.example/in-cse")
OTHER = ("km-c@maf.example.com", "00" * 31 + "0c", "//m2msp.example/mn-cse")
NAMELESS = ("km-d@maf.example.com", "00" * 31 + "0d", "")

CLIENT, KEY = "sec:mafClientReg", "sec:symmKeyReg"
TYPES = {CLIENT: 10001, KEY: 10002}


def write_keys(path, entries):
    with open(path, "w", encoding="ascii") as file:
        for identity, key, entity in entries:
            file.write(f"{identity}:{key}" + (f":{entity}" if entity else "") + "\n")
    os.chmod(path, 0o600)


class Maf:
    """A running handfast-maf and its log."""

    def __init__(self, directory, *options, keys=(SOURCE, TARGET, OTHER, NAMELESS), port=0):
        self.key_file = os.path.join(directory, "maf-keys")
        self.store = os.path.join(directory, "maf-store")
        if not os.path.exists(self.key_file):
            write_keys(self.key_file, keys)
        self.process = subprocess.Popen(
            [PROGRAMS["maf"], "--listen", f"127.0.0.1:{port}", "--psk-file", self.key_file,
             "--store", self.store, *options], stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.arrival = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.port = int(re.search(r":(\d+)$", self.wait_for("event=listening")).group(1))

    def _read(self):
        for line in self.process.stderr:
            with self.arrival:
                self.lines.append(line.rstrip("\n"))
                self.arrival.notify_all()
        with self.arrival:
            self.lines.append("(end of log)")
            self.arrival.notify_all()

    def wait_for(self, needle):
        until = time.monotonic() + PATIENCE
        with self.arrival:
            while True:
                for line in self.lines:
                    if needle in line:
                        return line
                if time.monotonic() > until or self.lines[-1:] == ["(end of log)"]:
                    raise AssertionError(f"no {needle!r} in the log:\n" + "\n".join(self.lines))
                self.arrival.wait(0.5)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        self.process.stderr.close()
        return status


class Answer:
    """An HTTP response."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.rsc = int(headers.get("x-m2m-rsc", 0))
        self.body = json.loads(body) if body else None

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body}"


class Client:
    """A client of a MAF that stays connected."""

    def __init__(self, port, who=SOURCE, options=()):
        identity, key, self.entity = who
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-tls1_2", "-connect", f"127.0.0.1:{port}",
             "-servername", "maf.example.com", "-psk_identity", identity, "-psk", key, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.number = 0

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def write(self, method, path, root=None, fields=None, origin=None, ty=None):
        """A request; nothing is read."""
        body = json.dumps({root: fields}).encode() if root else b""
        self.number += 1
        head = f"{method} {path} HTTP/1.1\r\nHost: maf.example.com\r\nX-M2M-RI: r{self.number}\r\n"
        origin = self.entity if origin is None else origin
        if origin:
            head += f"X-M2M-Origin: {origin}\r\n"
        if body:
            ty = (TYPES[root] if method == "POST" else 0) if ty is None else ty
            head += "Content-Type: application/vnd.onem2m-res+json" + \
                (f"; ty={ty}" if ty else "") + f"\r\nContent-Length: {len(body)}\r\n"
        self.send(head.encode() + b"\r\n" + body)

    def read(self):
        """One response; None: the connection has ended."""
        line = self.process.stdout.readline()
        if not line:
            return None
        status = int(line.split()[1])
        headers = {}
        while True:
            line = self.process.stdout.readline().strip()
            if not line:
                break
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = self.process.stdout.read(int(headers["content-length"]))
        return Answer(status, headers, body)

    def ask(self, *arguments, **named):
        self.write(*arguments, **named)
        answer = self.read()
        if answer is not None and answer.headers.get("x-m2m-ri") != f"r{self.number}":
            raise AssertionError(f"another's answer: {answer}")
        return answer

    def register_key(self, **fields):
        wanted = {"adminFQDN": "m2msp.example", "SUID": 32, "targetIDs": [TARGET[2]], **fields}
        return self.ask("POST", "/MAFBase", KEY,
                        {name: value for name, value in wanted.items() if value is not None})

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass


class MafFixture(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def start_maf(self, *options, **named):
        maf = Maf(self.directory.name, *options, **named)
        self.addCleanup(lambda: maf.process.poll() is not None or maf.stop(signal.SIGKILL))
        return maf

    def client(self, maf, who=SOURCE, options=()):
        client = Client(maf.port, who, options)
        self.addCleanup(client.close)
        return client

    def check(self, answer, rsc):
        self.assertIsNotNone(answer)
        self.assertEqual(answer.rsc, rsc, answer)
        return answer.body


def main(usage, *names):
    """Runs the calling program's tests: its arguments begin with the programs, in this order."""
    if len(sys.argv) <= len(names):
        sys.exit(usage)
    for name in names:
        PROGRAMS[name] = os.path.abspath(sys.argv.pop(1))
    parallel.main()
