#!/usr/bin/env python3
"""checkpoint_test.py - a daemon that is killed, and the next goes on with its DTLS associations; a
checkpoint is used once; none is left by a daemon that stops or is relieved.

    checkpoint_test.py HANDFASTD HANDFASTCTL HANDFAST
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support")]
import free_port as ports  # noqa: E402
import operation_fixture  # noqa: E402
from operation_fixture import OperationFixture  # noqa: E402
import process_test  # noqa: E402
from process_test import PATIENCE  # noqa: E402

TOOL = None
DEVICES = 40
CONFIG = """\
process {
    shards = 2
    checkpoint = "%(file)s"
    checkpoint-interval = "1s"
}
metrics { address = "127.0.0.1:0" }
control {
    socket = "{socket}"
    takeover = "{socket}.takeover"
}
log { level = info }
limits { associations-max = 1024 }
sessions { shared-secrets = "%(secrets)s" }
authority "main" { psk-file = "{keys}" }
listener "tls" {
    transport = tls
    address = "127.0.0.1:%(tls)d"
    respond = echo
}
listener "dtls" {
    transport = dtls
    address = "127.0.0.1:%(dtls)d"
    respond = echo
}
"""


class Population:
    """Devices that stay, and speak when told to."""

    def __init__(self, daemon, transport, count):
        self.process = subprocess.Popen(
            [TOOL, "load", f"--{transport}", f"127.0.0.1:{daemon.port(transport)}", "--psk-file",
             daemon.key_file, "--devices", str(count), "--messages", str(10 * count), "--json",
             "--quiet", "--hold", "input"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True)
        self.process.stdout.readline()  # they are here

    def speak(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class CheckpointTest(OperationFixture):
    def setUp(self):
        super().setUp()
        self.file = self.path("checkpoint")
        self.places = {"file": self.file, "secrets": self.secrets("secrets"),
                       "tls": ports.free_port(ports.socket.SOCK_STREAM),
                       "dtls": ports.free_port(ports.socket.SOCK_DGRAM)}

    def secrets(self, name):
        subprocess.run([operation_fixture.HANDFASTCTL, "secrets", "rotate", "--file",
                        self.path(name)], check=True, capture_output=True)
        return self.path(name)

    def start(self):
        return self.start_daemon(text=CONFIG % self.places)

    def population(self, daemon, transport="dtls", count=DEVICES):
        population = Population(daemon, transport, count)
        self.addCleanup(population.close)
        self.associations(daemon, count)
        return population

    def count(self, daemon, name):
        return int(re.search(rf"^{re.escape(name)} (\d+)", daemon.get("/metrics"), re.M).group(1))

    def wait_written(self, daemon, more=2):
        """The last of them was begun after now."""
        name = 'handfast_checkpoints_total{outcome="written"}'
        wanted = self.count(daemon, name) + more
        until = time.monotonic() + PATIENCE
        while self.count(daemon, name) < wanted:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)

    def wait_told(self, daemon, event, words):
        daemon.wait_for(f"event={event} ")
        self.assertTrue([line for line in daemon.lines if f"event={event} " in line
                         and words in line], daemon.lines)

    def kill(self, daemon):
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait(PATIENCE)
        self.wait_free()

    def wait_free(self):
        """The kernel lets go of a ring's sockets a moment after its process has ended."""
        until = time.monotonic() + PATIENCE
        for name, kind in (("tls", ports.socket.SOCK_STREAM), ("dtls", ports.socket.SOCK_DGRAM)):
            while True:
                with ports.socket.socket(ports.socket.AF_INET, kind) as probe:
                    probe.setsockopt(ports.socket.SOL_SOCKET, ports.socket.SO_REUSEADDR,
                                     kind == ports.socket.SOCK_STREAM)
                    try:
                        probe.bind(("127.0.0.1", self.places[name]))
                        if kind == ports.socket.SOCK_STREAM:
                            probe.listen()
                        break
                    except OSError:
                        self.assertLess(time.monotonic(), until)
                        time.sleep(0.02)

    def handshakes(self, daemon):
        return sum(each["handshakes_ok"] + each["handshakes_failed"]
                   for each in daemon.ask("status")["listeners"])

    def check_goes_on(self, daemon, population):
        told = population.speak()
        self.assertEqual((told["answered"], told["unanswered"]), (10 * DEVICES, 0), told)
        self.assertEqual(self.handshakes(daemon), 0)

    def test_after_a_crash_and_once(self):
        daemon = self.start()
        population = self.population(daemon)
        Population(daemon, "tls", 3).close()
        self.wait_written(daemon)
        self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o600)
        population.speak()  # so that numbers are further than the checkpoint knows
        shutil.copy2(self.file, self.file + ".copy")
        self.kill(daemon)
        daemon = self.start()
        self.wait_told(daemon, "restored", f"{DEVICES} associations")
        self.check_goes_on(daemon, population)
        # Again, from what the second has written.
        self.wait_written(daemon, 1)
        shutil.copy2(self.file, self.file + ".later")
        self.kill(daemon)
        daemon = self.start()
        self.wait_told(daemon, "restored", f"{DEVICES} associations")
        self.check_goes_on(daemon, population)
        # What was used, or is not the newest, is not used again.
        for copy in (".copy", ".later"):
            self.kill(daemon)
            shutil.copy2(self.file + copy, self.file)
            daemon = self.start()
            self.wait_told(daemon, "not_restored", "used before, or is not the newest")
            self.assertEqual(daemon.ask("status")["associations"], 0)
        self.assertEqual(daemon.stop(), 0)

    def test_none_is_left_by_one_that_stops(self):
        daemon = self.start()
        self.population(daemon)
        self.wait_written(daemon)
        shutil.copy2(self.file, self.file + ".copy")
        self.assertEqual(daemon.stop(), 0)
        self.assertFalse(os.path.exists(self.file))
        shutil.copy2(self.file + ".copy", self.file)
        daemon = self.start()
        self.wait_told(daemon, "not_restored", "used before")
        self.assertEqual(daemon.stop(), 0)

    def test_a_successor_has_its_own(self):
        daemon = self.start()
        population = self.population(daemon)
        self.wait_written(daemon)
        shutil.copy2(self.file, self.file + ".copy")
        pid = daemon.ask("restart")["pid"]
        self.assertEqual(daemon.process.wait(PATIENCE), 0)
        until = time.monotonic() + PATIENCE
        while not os.path.exists(self.file):
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)
        with open(self.file, "rb") as mine, open(self.file + ".copy", "rb") as its:
            self.assertNotEqual(mine.read(44), its.read(44))
        os.kill(pid, signal.SIGKILL)
        while daemon.reader.is_alive():
            self.assertLess(time.monotonic(), until + PATIENCE)
            time.sleep(0.02)
        self.wait_free()
        daemon = self.start()
        self.wait_told(daemon, "restored", f"{DEVICES} associations")
        self.check_goes_on(daemon, population)
        self.assertEqual(daemon.stop(), 0)

    def test_what_cannot_be_used(self):
        daemon = self.start()
        self.population(daemon)
        self.wait_written(daemon)
        self.kill(daemon)
        with open(self.file, "rb") as file:
            good = file.read()
        with open(self.file + ".serial", "rb") as file:
            serial = file.read()
        other = {**self.places, "secrets": self.secrets("other")}
        fewer = (CONFIG % self.places).replace("shards = 2", "shards = 1")
        bad = bytearray(good)
        bad[len(bad) // 2] ^= 1
        for data, text, word in ((good[:-1], CONFIG % self.places, "damaged"),
                                 (bytes(bad), CONFIG % self.places, "damaged"),
                                 (good[:20], CONFIG % self.places, "too short"),
                                 (good, CONFIG % other, "damaged"),
                                 (good, fewer, "are others here")):
            with open(self.file, "wb") as file:
                file.write(data)
            with open(self.file + ".serial", "wb") as file:
                file.write(serial)
            daemon = self.start_daemon(text=text)
            self.wait_told(daemon, "not_restored", word)
            self.assertEqual(daemon.ask("status")["associations"], 0)
            self.kill(daemon)

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_dropped_privileges_and_seccomp(self):
        os.chmod(self.directory.name, 0o777)
        os.chmod(self.places["secrets"], 0o600)
        text = (CONFIG % self.places).replace("shards = 2",
                                              'shards = 2\n user = "nobody"\n seccomp = yes')
        daemon = self.start_daemon(text=text, owner=65534)
        population = self.population(daemon)
        self.wait_written(daemon)
        self.kill(daemon)
        daemon = self.start_daemon(text=text, owner=65534)
        self.wait_told(daemon, "restored", f"{DEVICES} associations")
        self.check_goes_on(daemon, population)
        self.wait_written(daemon)
        self.assertEqual(daemon.stop(), 0)
        self.assertFalse(os.path.exists(self.file))

    def test_it_needs_shared_secrets(self):
        text = (CONFIG % self.places).replace("sessions {", "#")
        config = self.path("check.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(text.replace("{socket}", self.path("s")).replace("{keys}", os.devnull))
        done = subprocess.run([process_test.HANDFASTD, "--check", "--config", config],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("shared-secrets", done.stderr)


if __name__ == "__main__":
    TOOL = sys.argv.pop(3)
    operation_fixture.main("usage: checkpoint_test.py HANDFASTD HANDFASTCTL HANDFAST")
