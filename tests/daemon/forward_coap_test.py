#!/usr/bin/env python3
"""forward_coap_test.py HANDFASTD TOOLS - a CSE and a device, both libcoap's, with the daemon
between: the device observes, nothing happens for ten minutes, the CSE notifies, then asks the
device.

The ten minutes are virtual: all three have clock_ahead preloaded. HF_OBSERVE_SECONDS=600 has
the first test take them for real. TOOLS is the directory of coap_cse, coap_device, clock_ahead."""
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import forward_test
import process_test
from free_port import free_port
from forward_parts import PATIENCE

TOOLS = None
TEN_MINUTES = 600
KEY = "0123456789abcdef"
KEYS = f"dev:{KEY.encode().hex()}:/in-cse/Cdev\ntwo:{KEY.encode().hex()}:/in-cse/Ctwo\n"


class Peer:
    """A program that says what happens, line by line."""

    def __init__(self, name, *arguments, env=None):
        self.process = subprocess.Popen(
            [os.path.join(TOOLS, name), *map(str, arguments)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
        self.name = name
        self.lines = []
        self.queue = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.queue.put(line.rstrip("\n"))
        self.queue.put(None)

    def wait_for(self, text, patience=PATIENCE):
        until = time.monotonic() + patience
        while True:
            try:
                line = self.queue.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{self.name}: no {text!r} after {self.lines}") from None
            self.lines.append(line)
            if line is None:
                raise AssertionError(f"{self.name} ended: no {text!r} after {self.lines}")
            if text in line:
                return line

    def say(self):
        self.process.stdin.write("again\n")
        self.process.stdin.flush()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.process.stdin.close()


class CoapTest(forward_test.ForwardTest):
    def setUp(self):
        super().setUp()
        self.peers = []
        self.clock = self.path("clock")
        self.set_clock(0)

    def tearDown(self):
        for peer in self.peers:
            peer.end()
        super().tearDown()

    def set_clock(self, seconds):
        with open(self.clock, "r+b" if os.path.exists(self.clock) else "wb") as file:
            file.write(struct.pack("=q", seconds))

    def virtual(self):
        """An environment in which the clock is ours. A sanitizer wants to be the first library."""
        options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        return {"LD_PRELOAD": os.path.join(TOOLS, "libclock_ahead.so"),
                "HF_CLOCK_AHEAD": self.clock, "ASAN_OPTIONS": options}

    def peer(self, *arguments, env=None):
        peer = Peer(*arguments, env={**os.environ, **(env or {})})
        self.peers.append(peer)
        return peer

    def begin(self, silence, env=None):
        """A CSE, the daemon, and a device that observes."""
        self.port = free_port(socket.SOCK_DGRAM)
        self.cse = self.start_cse(silence, env)
        self.daemon = self.start("--upstream-udp", f"127.0.0.1:{self.port}",
                                 listeners=forward_test.DTLS, keys=KEYS, env=env)
        self.device = self.start_device("dev", env)

    def start_cse(self, silence, env=None):
        cse = self.peer("coap_cse", "127.0.0.1", self.port, silence, env=env)
        cse.wait_for("listening")
        return cse

    def start_device(self, identity, env=None):
        device = self.peer("coap_device", "127.0.0.1", self.daemon.port("dtls"), identity, KEY,
                           env=env)
        device.wait_for("heard notification 0")
        self.cse.wait_for("asked")
        return device

    def see_notification(self, patience=PATIENCE):
        """The notification, its acknowledgement, the CSE's own request and the device's answer."""
        self.cse.wait_for("notifying 1", patience)
        self.device.wait_for("heard notification 1")
        self.device.wait_for("was asked")
        self.cse.wait_for("device said 21.5")
        self.assertFalse([line for line in self.cse.lines if line.startswith("nack")])
        self.assertEqual(self.daemon.metric("handfast_associations"), 1)
        handshakes = 'handfast_handshakes_total{listener="dtls-0",authority="default",' \
                     'framework="provisioned-symmetric-key",outcome="ok",reason="ok"}'
        self.assertEqual(self.daemon.metric(handshakes), 1)

    def test_notified_late(self):
        silence = int(os.environ.get("HF_OBSERVE_SECONDS", "5"))
        self.begin(silence)
        self.see_notification(silence + PATIENCE)

    @unittest.skipIf(os.environ.get("HF_NO_PRELOAD"), "nothing can be preloaded here")
    def test_notified_ten_virtual_minutes_later(self):
        self.begin(TEN_MINUTES, self.virtual())
        time.sleep(1.5)
        self.assertNotIn("notifying 1 after 600 s", self.cse.lines)
        self.assertTrue(self.cse.queue.empty())
        self.set_clock(TEN_MINUTES)
        self.see_notification()
        self.device.say()  # and it goes on
        self.device.wait_for("heard notification 1")
        self.cse.wait_for("asked")
        self.set_clock(2 * TEN_MINUTES)
        self.cse.wait_for("notifying 2")
        self.device.wait_for("heard notification 2")
        self.device.wait_for("was asked")
        self.cse.wait_for("device said 21.5")

    def test_the_cse_restarts(self):
        """Its observers are forgotten, as those of any CoAP server; the associations stay."""
        self.begin(3600)
        other = self.start_device("two")
        self.cse.end()
        self.peers.remove(self.cse)
        self.device.say()  # into the void
        time.sleep(1)
        self.assertEqual(self.daemon.metric("handfast_associations"), 2)
        self.cse = self.start_cse(2)
        other.say()
        other.wait_for("heard notification 0")
        other.wait_for("heard notification 1")
        other.wait_for("was asked")
        self.cse.wait_for("device said 21.5")
        self.device.say()
        self.device.wait_for("heard notification")
        self.assertEqual(self.daemon.metric("handfast_associations"), 2)

    def test_the_cse_is_slow(self):
        """Stopped for a while, as by a full disk: what was sent waits or is sent again."""
        self.begin(3600)
        os.kill(self.cse.process.pid, signal.SIGSTOP)
        for _ in range(3):
            self.device.say()
        time.sleep(3)
        self.assertEqual(self.daemon.metric("handfast_associations"), 1)
        os.kill(self.cse.process.pid, signal.SIGCONT)
        self.device.wait_for("heard notification 0")
        self.assertEqual(self.daemon.metric("handfast_associations"), 1)


def load_tests(loader, tests, pattern):
    """Not those that were only imported."""
    del tests, pattern
    return unittest.TestSuite(CoapTest(name) for name in loader.getTestCaseNames(CoapTest)
                              if name in vars(CoapTest))


if __name__ == "__main__":
    process_test.HANDFASTD = os.path.abspath(sys.argv.pop(1))
    TOOLS = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
