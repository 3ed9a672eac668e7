#!/usr/bin/env python3
"""maf_cache_test.py HANDFAST-MAF HANDFASTD HANDFASTCTL - keys of MAFs across a restart of the front
end: in good order, killed, with a file that is damaged or another process's, expired or revoked;
under seccomp."""
import datetime
import json
import os
import signal
import subprocess
import time

import maf_fixture
import parallel
from maf_fixture import PATIENCE, SOURCE, TARGET
from maf_front_test import FQDN, LOCAL, FrontTest, Proxy


class CacheTest(FrontTest):
    def setUp(self):
        super().setUp()
        self.secrets = self.path("secrets")
        self.cache = self.path("keys-of-mafs")
        self.rotate()
        self.maf = self.start_maf()
        self.proxy = Proxy(self.maf.port)
        self.addCleanup(self.proxy.close)

    def rotate(self, *options):
        subprocess.run([maf_fixture.PROGRAMS["ctl"], "secrets", "rotate", "--file", self.secrets,
                        *options], check=True, capture_output=True)

    def start(self, *options):
        front = self.start_front(self.proxy.port, "--maf-cache", self.cache, "--maf-cache-key",
                                 self.secrets, *options)
        self.wait_for_cache(0)
        return front

    def maf_down(self):
        self.proxy.mode = ("refuse",)
        self.proxy.cut()

    def maf_up(self):
        self.proxy.mode = ("pass",)

    def wait_for_cache(self, size):
        """Until the file is longer than that."""
        until = time.monotonic() + PATIENCE
        while not os.path.exists(self.cache) or os.path.getsize(self.cache) <= size:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)

    def test_restart_while_the_maf_is_down(self):
        name, other = self.register(self.maf), self.register(self.maf)
        front = self.start("--seccomp")
        empty = os.path.getsize(self.cache)
        self.assertEqual(front.whoami(name)["entity_id"], SOURCE[2])
        front.stop()
        self.maf_down()
        self.assertEqual(os.stat(self.cache).st_mode & 0o777, 0o600)
        with open(self.cache, "rb") as file:
            content = file.read()
        for plain in (name.encode(), bytes(range(32)), SOURCE[2].encode()):
            self.assertNotIn(plain, content)
        front = self.start("--seccomp")
        front.wait_for("event=maf_cache_loaded")
        self.assertEqual(front.whoami(name)["entity_id"], SOURCE[2])  # served on
        self.assertTrue(front.dtls(name))
        self.assertIsNone(front.whoami(other))  # not known, and nobody to ask
        self.assertEqual(front.whoami(LOCAL[0], key=LOCAL[1], at="")["entity_id"],
                         "/in-cse/Clocal")
        front.kill()  # once more, without a chance to write
        front = self.start("--seccomp")
        self.assertEqual(front.whoami(name)["entity_id"], SOURCE[2])
        self.maf_up()
        self.eventually(front, other)
        self.wait_for_cache(empty)
        self.assertFalse(os.path.exists(self.cache + ".new"))

    def test_kill(self):
        """What was retrieved is in the file soon, without an end in good order."""
        name = self.register(self.maf)
        front = self.start()
        empty = os.path.getsize(self.cache)
        self.assertIsNotNone(front.whoami(name))
        self.wait_for_cache(empty)
        front.kill()
        self.maf_down()
        self.assertIsNotNone(self.start().whoami(name))

    def test_revoked_stays_revoked(self):
        name = self.register(self.maf)
        front = self.start()
        self.assertIsNotNone(front.whoami(name))
        stayer = front.stay(name)
        self.assertTrue(stayer.ask())
        front.control("revoke", f"{name}@{FQDN}")
        front.kill()  # it was acknowledged: it is on the disk
        front = self.start()
        self.assertIsNone(front.whoami(name))
        front.wait_for("reason=key_unknown")
        front.stop()
        front = self.start()
        self.assertIsNone(front.whoami(name))
        self.assertEqual(front.metric("handfast_maf_requests_total"), 0)

    @parallel.alone
    def test_expired_is_dropped(self):
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=4)
        name = self.register(self.maf, expirationTime=soon.strftime("%Y%m%dT%H%M%S"))
        front = self.start()
        self.assertIsNotNone(front.whoami(name))
        front.stop()
        self.maf_down()
        time.sleep(max(0, soon.timestamp() + 1 - time.time()))
        front = self.start()
        self.assertIn("0 keys and revocations are back, 1 are over",
                      front.wait_for("event=maf_cache_loaded"))
        self.assertIsNone(front.whoami(name))

    def test_damage(self):
        name = self.register(self.maf)
        front = self.start()
        self.assertIsNotNone(front.whoami(name))
        front.stop()
        with open(self.cache, "rb") as file:
            good = file.read()
        turned = bytearray(good)
        turned[len(good) // 2] ^= 1
        for content in (good[:-1], good[:40], good[:7], b"", bytes(turned), good + b"x", b"x" * 99):
            with self.subTest(content=content[:8], length=len(content)):
                with open(self.cache, "wb") as file:
                    file.write(content)
                front = self.start()
                front.wait_for("event=maf_cache_damaged")
                self.assertEqual(front.metric("handfast_maf_keys"), 0)
                front.stop()
        self.assertIsNotNone(self.start().whoami(name))  # it is asked again, and kept again

    def test_other_secrets(self):
        name = self.register(self.maf)
        front = self.start("--control", self.path("front.sock"))
        self.assertIsNotNone(front.whoami(name))
        with open(self.secrets, encoding="ascii") as file:
            old = file.read()
        time.sleep(1)  # two secrets of one second are refused
        self.rotate("--in", "0")
        front.control("reload")
        with open(self.secrets, encoding="ascii") as file:
            new = [line for line in file.read().splitlines() if line not in old.splitlines()]
        front.stop()
        self.maf_down()
        with open(self.secrets, "w", encoding="ascii") as file:
            file.write("\n".join(new) + "\n")  # the reload has it sealed anew
        front = self.start()
        self.assertIsNotNone(front.whoami(name))
        front.stop()
        with open(self.secrets, "w", encoding="ascii") as file:
            file.write(old)
        front = self.start()
        self.assertIn("not there any more", front.wait_for("event=maf_cache_damaged"))
        self.assertIsNone(front.whoami(name))

    def test_another_process_takes_over(self):
        """As in a restart without a pause: what the old one does last undoes nothing."""
        name = self.register(self.maf)
        old = self.start()
        self.assertIsNotNone(old.whoami(name))
        os.unlink(self.path("front.sock"))
        new = self.start("--control", self.path("new.sock"))
        new.socket = self.path("new.sock")
        new.control("revoke", f"{name}@{FQDN}")
        old.stop()
        self.assertIn("event=maf_cache_lost", "\n".join(old.lines))
        new.stop()
        self.assertIsNone(self.start().whoami(name))

    def test_a_successor_has_them(self):
        """handfastctl restart: associations go over, and so do the keys they were made with."""
        name = self.register(self.maf)
        gone = self.register(self.maf)
        with open(self.path("conf"), "w", encoding="ascii") as file:
            file.write(f'''
authority "a" {{ psk-file = "{self.path("local-keys")}" }}
listener "t" {{ transport = tls address = "127.0.0.1:0" respond = whoami }}
listener "d" {{ transport = dtls address = "127.0.0.1:0" respond = whoami }}
metrics {{ address = "127.0.0.1:0" }}
control {{ socket = "{self.path("front.sock")}" takeover = "{self.path("takeover.sock")}" }}
process {{ maf-cache = "{self.cache}" maf-cache-key = "{self.secrets}" }}
maf "{FQDN}" {{
    address = {{"127.0.0.1:{self.proxy.port}"}} origin = "{TARGET[2]}"
    identity = "{TARGET[0]}" psk-file = "{self.path("front-keys")}"
}}
''')
        front = self.start_front(0, config=self.path("conf"))
        stayer = front.stay(name)
        self.assertTrue(stayer.ask())
        self.assertIsNotNone(front.whoami(gone))
        front.control("revoke", f"{gone}@{FQDN}")
        self.maf_down()
        front.control("restart")
        pid = json.loads(front.control("status", "--json"))["pid"]
        self.assertNotEqual(pid, front.process.pid)
        self.addCleanup(lambda: os.kill(pid, signal.SIGTERM))
        front.wait_for("event=maf_cache_loaded")
        self.assertTrue(stayer.ask())
        self.assertIsNotNone(front.whoami(name))
        self.assertIsNone(front.whoami(gone))
        front.control("revoke", f"{name}@{FQDN}")
        self.assertFalse(stayer.ask())  # the association that came over has the key's context
        self.assertIsNone(front.whoami(name))

    def test_what_cannot_be_written(self):
        os.mkdir(self.cache)  # a directory is in the way
        name = self.register(self.maf)
        front = self.start()
        front.wait_for("event=maf_cache_failed")
        self.assertIsNotNone(front.whoami(name))
        self.assertIn("may count again",
                      front.control("revoke", f"{name}@{FQDN}", "--json", status=1))
        self.assertIsNone(front.whoami(name))

    def test_configurations_that_are_refused(self):
        maf_fixture.write_keys(self.path("local-keys"), [(*LOCAL, "")])
        for options in ([], ["--maf-cache-key", self.path("none")],
                        ["--maf-cache-key", self.path("local-keys")]):
            done = subprocess.run(
                [maf_fixture.PROGRAMS["front"], "--tls", "127.0.0.1:0", "--psk-file",
                 self.path("local-keys"), "--maf", f"{FQDN}=127.0.0.1:1", "--maf-identity",
                 LOCAL[0], "--maf-psk-file", self.path("local-keys"), "--maf-cache", self.cache,
                 *options], capture_output=True, timeout=PATIENCE, check=False)
            self.assertEqual(done.returncode, 2, (options, done))
            self.assertIn(b"maf-cache", done.stderr)


for inherited in [name for name in dir(FrontTest) if name.startswith("test_")]:
    if inherited not in vars(CacheTest):
        setattr(CacheTest, inherited, None)
del FrontTest

if __name__ == "__main__":
    maf_fixture.main(__doc__, "maf", "front", "ctl")
