#!/usr/bin/env python3
"""rebind_test.py HANDFASTD HANDFASTCTL HANDFAST UDP_PROXY - a device with a connection ID behind a
NAT that moves it: no second handshake, the new address checked and taken, the shard found, the
upstream none the wiser. Both ends are ours: no peer in Debian speaks RFC 9146."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import forward_parts as parts
import process_test

process_test.HANDFASTD, CTL, TOOL, PROXY = sys.argv[1:5]
PATIENCE = 20
KEY = process_test.KEY


class Nat:
    """udp_proxy: with the first packet after each REBIND_MS the device has another port."""

    def __init__(self, port, rebind_ms):
        self.process = subprocess.Popen([PROXY, "--listen", "127.0.0.1:0", "--to",
                                         f"127.0.0.1:{port}", "--rebind-after-ms",
                                         str(rebind_ms)], stdout=subprocess.PIPE, text=True)
        self.port = int(re.search(r":(\d+)", self.process.stdout.readline()).group(1))

    def close(self):
        self.process.terminate()
        rest = self.process.stdout.read()
        self.process.wait(PATIENCE)
        self.process.stdout.close()
        return rest


class Device:
    """handfast connect, spoken to line by line."""

    def __init__(self, port, keys, *options):
        self.process = subprocess.Popen(
            [TOOL, "connect", "--dtls", f"127.0.0.1:{port}", "--psk-file", keys, "--timeout", "10",
             *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            bufsize=0)

    def say(self, text):
        self.process.stdin.write(text)

    def hear(self):
        return self.process.stdout.readline()

    def end(self):
        self.process.stdin.close()
        self.process.stdin = None
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err.decode()

    def kill(self):
        if self.process.poll() is not None:
            return
        self.process.kill()
        self.process.communicate()


class RebindTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        self.control = os.path.join(self.directory, "control")

    def start(self, *options):
        daemon = process_test.Daemon(self.directory, "--control", self.control, *options,
                                     listeners=("--dtls", "127.0.0.1:0"))
        self.addCleanup(daemon.stop)
        return daemon

    def nat(self, daemon, rebind_ms=700):
        nat = Nat(daemon.port("dtls"), rebind_ms)
        self.addCleanup(nat.close)
        return nat

    def device(self, nat, daemon, option):
        device = Device(nat.port, daemon.key_file, option)
        self.addCleanup(device.kill)
        return device

    def association(self):
        listed = json.loads(subprocess.run([CTL, "--socket", self.control, "--json", "assoc",
                                            "list"], capture_output=True, check=True).stdout)
        handle = listed["associations"][0]["association"]
        return json.loads(subprocess.run([CTL, "--socket", self.control, "--json", "assoc", "show",
                                          handle], capture_output=True, check=True).stdout)

    def await_metric(self, daemon, name, value):
        until = time.monotonic() + PATIENCE
        while daemon.metric(name) < value and time.monotonic() < until:
            time.sleep(0.1)
        self.assertGreaterEqual(daemon.metric(name), value)

    def test_the_association_outlives_its_address(self):
        daemon = self.start("--respond", "echo", "--shards", "2")
        nat = self.nat(daemon, 2500)
        device = self.device(nat, daemon, "--cid")
        device.say(b"first\n")
        self.assertEqual(device.hear(), b"first\n")
        before = self.association()
        self.assertEqual(before["peer_address"], "checked")
        self.assertRegex(before["connection_id"], "^[0-9a-f]{16}$")
        self.assertIsNone(before["peer_connection_id"])
        time.sleep(2.6)  # the NAT forgets
        device.say(b"second\n")
        self.assertEqual(device.hear(), b"second\n")
        self.await_metric(daemon, 'handfast_address_changes_total{outcome="moved"}', 1)
        after = self.association()
        self.assertEqual(after["association"], before["association"])
        self.assertEqual(after["connection_id"], before["connection_id"])
        self.assertNotEqual(after["peer"], before["peer"])
        device.say(b"third\n")
        self.assertEqual(device.hear(), b"third\n")
        self.assertEqual(daemon.metric('handfast_handshakes_total{listener="'), 1)
        self.assertGreaterEqual(daemon.metric("handfast_address_checks_total"), 1)
        self.assertEqual(daemon.metric('handfast_io_datagrams_strayed_total{outcome="dropped"}'), 0)
        code, err = device.end()
        self.assertEqual(code, 0, err)
        self.assertIn("server's CID", err)

    def test_the_upstream_notices_nothing(self):
        upstream = parts.udp_upstream()
        self.addCleanup(upstream.close)
        daemon = self.start("--upstream-udp", f"127.0.0.1:{upstream.getsockname()[1]}",
                            "--address-check", "basic")
        nat = self.nat(daemon)
        device = self.device(nat, daemon, "--cid-own")
        sources = set()
        for text in (b"first\n", b"second\n", b"third\n"):
            device.say(text)
            data, source = upstream.recvfrom(4096)
            self.assertEqual(data, text)
            sources.add(source)
            upstream.sendto(b"to " + text, source)
            self.assertEqual(device.hear(), b"to " + text)
            time.sleep(0.8 if text == b"first\n" else 0)
        self.assertEqual(len(sources), 1)
        self.await_metric(daemon, 'handfast_address_changes_total{outcome="moved"}', 1)
        self.assertEqual(device.end()[0], 0)

    def test_without_it_the_device_is_lost(self):
        """What it is for: the same NAT, and no connection ID."""
        daemon = self.start("--respond", "echo", "--connection-id", "off")
        nat = self.nat(daemon)
        device = self.device(nat, daemon, "--cid")
        device.say(b"first\n")
        self.assertEqual(device.hear(), b"first\n")
        time.sleep(0.8)
        device.say(b"second\n")
        self.await_metric(daemon, 'handfast_drops_total{cause="no_association"}', 1)
        self.assertIsNone(self.association()["connection_id"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
