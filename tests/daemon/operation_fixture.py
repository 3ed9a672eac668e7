"""operation_fixture.py - a daemon with a configuration file and a control socket, peers that stay
connected, and a test case that has them."""
import json
import os
import re
import subprocess
import sys
import threading
import time
import unittest

import process_test
import parallel
from broken_configs import GOOD
from process_test import KEY, PATIENCE, write_keys

HANDFASTCTL = None


class Daemon(process_test.Daemon):
    """A daemon with a configuration file and a control socket."""

    def __init__(self, directory, text=GOOD, keys=f"dev:{KEY}:/in-cse/Cdev\n", options=(),
                 notify=False, owner=None):
        self.directory = directory
        self.socket = os.path.join(directory, "control")
        self.config_file = os.path.join(directory, "handfastd.conf")
        self.key_file = os.path.join(directory, "keys")
        write_keys(self.key_file, keys)
        if owner is not None:
            os.chown(self.key_file, owner, owner)
        self.write_config(text)
        environment = {k: v for k, v in os.environ.items()
                       if k != "JOURNAL_STREAM" and (notify or k != "NOTIFY_SOCKET")}
        if "seccomp = yes" in text:  # the leak check traces its own process
            environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        self.process = subprocess.Popen(
            [process_test.HANDFASTD, "--config", self.config_file, *process_test.IO, *options],
            stderr=subprocess.PIPE, text=True, env=environment)
        self.lines = []
        self.lock = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.wait_for("ready")

    def port(self, transport, index=0):
        """In whatever format the log is."""
        lines = [line for line in self.lines
                 if "listening" in line and re.search(rf'transport"?[=:]"?{transport}\b', line)]
        return int(re.search(r'address"?[=:]"?[^ ",]+:(\d+)', lines[index]).group(1))

    def write_config(self, text):
        with open(self.config_file, "w", encoding="latin-1") as file:
            file.write(self.fill(text))

    def fill(self, text):
        return text.replace("{keys}", self.key_file).replace("{socket}", self.socket)

    def ask(self, *arguments, status=0):
        """What handfastctl --json prints, parsed."""
        done = subprocess.run([HANDFASTCTL, "--socket", self.socket, "--json", *arguments],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode != status:
            raise AssertionError(f"{arguments}: {done}")
        return json.loads(done.stdout)

    def tell(self, *arguments):
        """What it prints for people."""
        return subprocess.run([HANDFASTCTL, "--socket", self.socket, *arguments],
                              capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


class Client:
    """A TLS association that stays open."""

    def __init__(self, daemon, identity="dev", key=KEY, port=None, options=()):
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-tls1_2", "-connect",
             f"127.0.0.1:{port or daemon.port('tls')}", "-psk_identity", identity, "-psk", key,
             *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def asks_whoami(self):
        """Whether it is still served."""
        try:
            self.process.stdin.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.process.stdout.readline()
            if not line:
                return False
            head += line
        length = int(re.search(rb"content-length: *(\d+)", head, re.I).group(1))
        return b"credential_id" in self.process.stdout.read(length)

    def wait_end(self):
        return self.process.wait(PATIENCE)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass


class OperationFixture(process_test.ProcessFixture):
    def start_daemon(self, *arguments, **named):
        daemon = Daemon(self.directory.name, *arguments, **named)
        self.daemons.append(daemon)
        return daemon

    def client(self, *arguments, **named):
        client = Client(*arguments, **named)
        self.addCleanup(client.close)
        return client

    def associations(self, daemon, count, *arguments):
        """The associations, once there are so many."""
        until = time.monotonic() + PATIENCE
        while True:
            found = daemon.ask("assoc", "list", *arguments)["associations"]
            if len(found) == count:
                return found
            self.assertLess(time.monotonic(), until, found)
            time.sleep(0.05)


def main(usage):
    """Runs the calling program's tests: its arguments begin with HANDFASTD and HANDFASTCTL."""
    global HANDFASTCTL  # pylint: disable=global-statement
    if len(sys.argv) < 3:
        sys.exit(usage)
    process_test.HANDFASTD = os.path.abspath(sys.argv.pop(1))
    HANDFASTCTL = os.path.abspath(sys.argv.pop(1))
    parallel.main()
