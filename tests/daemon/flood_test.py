#!/usr/bin/env python3
"""flood_test.py HANDFASTD HANDFASTCTL HANDFAST - a stranger's hellos beside associations: they are
answered while it lasts, it is told, and afterwards everybody gets in at once.

The queue is filled while the daemon is stopped for a moment, so that a slow test machine floods as
well as a fast one."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import process_test

process_test.HANDFASTD, CTL, TOOL = sys.argv[1:4]
PATIENCE = 20
LOST = 'handfast_io_datagrams_dropped_total{cause="receive_queue"}'
DROPPED = 'handfast_io_datagrams_dropped_total{cause="flood"}'
HELLOS = 12000  # more than any queue holds here


def hello():
    """A ClientHello without a cookie and extensions: PSK with CCM_8."""
    body = b"\xfe\xfd" + os.urandom(32) + b"\0\0\0\2\xc0\xa8\1\0"
    message = b"\1" + len(body).to_bytes(3, "big") + bytes(5) + len(body).to_bytes(3, "big") + body
    return b"\x16\xfe\xfd" + bytes(8) + len(message).to_bytes(2, "big") + message


class Flood:
    """Hellos without a cookie from many ports, until it is ended."""

    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._go_on)

    def send(self, count):
        text = hello()
        for i in range(count):
            self.sockets[i % len(self.sockets)].sendto(text, self.target)

    def _go_on(self):
        while not self.is_over.is_set():
            self.send(100)
            time.sleep(0.001)

    def end(self):
        self.is_over.set()
        if self.thread.ident:
            self.thread.join()
        for each in self.sockets:
            each.close()


class Device:
    def __init__(self, port, keys):
        self.process = subprocess.Popen(
            [TOOL, "connect", "--dtls", f"127.0.0.1:{port}", "--psk-file", keys, "--timeout", "15"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)

    def asks(self, text):
        self.process.stdin.write(text)
        return self.process.stdout.readline()

    def close(self):
        self.process.kill()
        self.process.communicate()


@unittest.skipIf(os.geteuid() != 0, "a queue that is long enough needs CAP_NET_ADMIN")
class FloodTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)

    def device(self, daemon):
        device = Device(daemon.port("dtls"), daemon.key_file)
        self.addCleanup(device.close)
        self.assertEqual(device.asks(b"hello\n"), b"hello\n")
        return device

    def start(self, *options):
        daemon = process_test.Daemon(self.directory, "--respond", "echo", "--shards", "1",
                                     "--flood-hellos", "50", *options,
                                     listeners=("--dtls", "127.0.0.1:0"))
        self.addCleanup(daemon.stop)
        return daemon

    def flood(self, daemon):
        """A queue that is full already when the daemon comes back to it."""
        flood = Flood(daemon.port("dtls"))
        self.addCleanup(flood.end)
        daemon.process.send_signal(signal.SIGSTOP)
        flood.send(HELLOS)
        daemon.process.send_signal(signal.SIGCONT)
        flood.thread.start()
        daemon.wait_for("event=flood_begun")
        return flood

    def await_drops(self, daemon):
        until = time.monotonic() + PATIENCE
        while daemon.metric(DROPPED) == 0:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)

    def test_associations_are_answered(self):
        daemon = self.start()
        devices = [self.device(daemon) for _ in range(3)]
        flood = self.flood(daemon)
        self.await_drops(daemon)
        daemon.wait_for_metric("handfast_io_floods{", 1)
        lost = daemon.metric(LOST)
        for turn in range(20):
            for number, device in enumerate(devices):
                text = b"%d of %d\n" % (turn, number)
                self.assertEqual(device.asks(text), text)
        self.assertEqual(daemon.metric(LOST), lost)
        self.assertLess(daemon.metric("handfast_cookies_sent_total"), 2 * HELLOS)
        flood.end()
        over = daemon.wait_for("event=flood_over")
        self.assertRegex(over, r"address=127.0.0.1:\d+ dropped=\d+ ms=\d+")
        daemon.wait_for_metric("handfast_io_floods{", 0)
        self.assertEqual(daemon.metric("handfast_associations{"), 3)
        dropped = daemon.metric(DROPPED)
        for _ in range(5):
            self.device(daemon)
        self.assertEqual(daemon.metric(DROPPED), dropped)

    def test_a_reload_lets_all_of_it_in(self):
        config = os.path.join(self.directory, "conf")
        keys = os.path.join(self.directory, "keys")
        process_test.write_keys(keys, f"dev:{process_test.KEY}:/in-cse/Cdev\n")

        def write(number):
            with open(config, "w", encoding="ascii") as file:
                file.write(f'process {{\n shards = 1\n flood-hellos = {number}\n}}\n'
                           'metrics { address = "127.0.0.1:0" }\n'
                           f'authority a {{ psk-file = "{keys}" }}\n'
                           'listener d {\n transport = dtls\n address = "127.0.0.1:0"\n'
                           '}\n')

        write(50)
        daemon = process_test.Daemon(self.directory, "--config", config, is_whole=True)
        self.addCleanup(daemon.stop)
        self.flood(daemon)
        self.await_drops(daemon)
        write(0)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("event=reloaded")
        daemon.wait_for_metric("handfast_io_floods{", 0)
        dropped = daemon.metric(DROPPED)
        seen = daemon.metric("handfast_cookies_sent_total")
        until = time.monotonic() + PATIENCE
        while daemon.metric("handfast_cookies_sent_total") < seen + 2000:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)
        self.assertEqual(daemon.metric(DROPPED), dropped)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
