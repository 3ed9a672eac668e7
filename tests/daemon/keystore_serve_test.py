#!/usr/bin/env python3
"""keystore_serve_test.py HANDFASTD HANDFASTCTL - a daemon whose keys are in an LMDB store: keys
come and go while it serves, a large import runs beside it, and the store is damaged under it.
HF_TEST_KEYS=1000000 makes the import a large one (30,000 otherwise)."""
import os
import re
import signal
import subprocess
import threading
import time
import unittest

import operation_fixture
from broken_configs import GOOD
from operation_fixture import OperationFixture
from process_test import KEY, OTHER_KEY, PATIENCE, openssl, run_once

MANY = int(os.environ.get("HF_TEST_KEYS", "30000"))


class KeyStoreTest(OperationFixture):
    def setUp(self):
        super().setUp()
        self.store = self.path("store")
        self.psk("add", "dev", "--entity", "/in-cse/Cdev", stdin=KEY)

    def psk(self, subcommand, *arguments, stdin="", status=0):
        done = subprocess.run(
            [operation_fixture.HANDFASTCTL, "psk", subcommand, "--store", self.store, *arguments],
            input=stdin, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def start(self, *lines):
        text = GOOD.replace('psk-file = "{keys}"', f'key-store = "{self.store}"')
        return self.start_daemon(text.replace("process {", "process {\n" + "\n".join(lines)))

    def reading_process(self, daemon):
        """The one that maps the store: a grandchild of the daemon."""
        for _ in range(200):
            for name in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{name}/status", encoding="ascii") as file:
                        status = file.read()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if not status.startswith("Name:\thf-keystore\n"):
                    continue
                keeper = re.search(r"PPid:\t(\d+)", status).group(1)
                try:
                    with open(f"/proc/{keeper}/status", encoding="ascii") as file:
                        if f"PPid:\t{daemon.process.pid}\n" in file.read():
                            return int(name)
                except FileNotFoundError:
                    continue
            time.sleep(0.05)
        self.fail("no reading process")

    def is_served(self, daemon, **named):
        client = operation_fixture.Client(daemon, **named)
        try:
            return client.asks_whoami()
        finally:
            client.close()

    def wait_served(self, daemon, **named):
        until = time.monotonic() + PATIENCE
        while not self.is_served(daemon, **named):
            self.assertLess(time.monotonic(), until, daemon.lines[-5:])
            time.sleep(0.1)

    # ---- keys come and go -------------------------------------------------------------------

    def test_keys_come_and_go(self):
        daemon = self.start()
        client = self.client(daemon)
        self.assertTrue(client.asks_whoami())
        self.assertFalse(self.is_served(daemon, identity="new"))
        daemon.wait_for("reason=key_unknown")
        self.psk("add", "new", "--entity", "/in-cse/Cnew", stdin=OTHER_KEY)
        other = self.client(daemon, identity="new", key=OTHER_KEY)
        self.assertTrue(other.asks_whoami())
        self.associations(daemon, 2)
        self.psk("rm", "new")
        self.assertEqual(other.wait_end(), 0)
        self.assertTrue(client.asks_whoami())
        self.psk("add", "--replace", "dev", "--entity", "/in-cse/Cdev", stdin=OTHER_KEY)
        client.wait_end()
        self.associations(daemon, 0)
        self.assertFalse(self.is_served(daemon))
        self.assertTrue(self.is_served(daemon, key=OTHER_KEY))
        self.assertEqual(daemon.stop(), 0)

    def test_validity(self):
        self.psk("add", "early", "--not-before", "2100-01-01", stdin=KEY)
        self.psk("add", "late", "--not-after", "2020-01-01", stdin=KEY)
        daemon = self.start()
        self.assertFalse(self.is_served(daemon, identity="early"))
        daemon.wait_for("reason=key_unknown")
        self.assertFalse(self.is_served(daemon, identity="late"))
        daemon.wait_for("reason=key_expired")
        self.assertTrue(self.is_served(daemon))

    def test_dtls(self):
        daemon = self.start()
        openssl(daemon, "dtls", "-no_ign_eof")
        daemon.wait_for("event=association_established")

    def test_reload_does_no_harm(self):
        daemon = self.start()
        client = self.client(daemon)
        self.assertTrue(client.asks_whoami())
        for _ in range(5):
            daemon.ask("reload")
        self.assertTrue(client.asks_whoami())

    def test_import_while_it_serves(self):
        daemon = self.start()
        client = self.client(daemon)
        self.assertTrue(client.asks_whoami())
        lines = "".join(f"device-{i:07d}@in-cse.example:{i:032x}:/in-cse/C{i}\n"
                        for i in range(MANY))
        done = threading.Event()

        def run_import():
            self.psk("import", stdin=lines)
            done.set()

        thread = threading.Thread(target=run_import)
        thread.start()
        slowest = 0
        served = 0
        while not done.is_set() or served == 0:
            begun = time.monotonic()
            self.assertTrue(self.is_served(daemon))
            slowest = max(slowest, time.monotonic() - begun)
            served += 1
        thread.join()
        print(f"{served} handshakes during the import of {MANY} keys, the slowest {slowest:.3f} s")
        self.assertTrue(client.asks_whoami())
        last = MANY - 1
        self.assertTrue(self.is_served(daemon, identity=f"device-{last:07d}@in-cse.example",
                                       key=f"{last:032x}"))
        daemon.wait_for_metric("handfast_keys", MANY + 1)
        backup = self.path("backup")
        self.psk("backup", backup)
        self.psk("restore", backup)
        self.assertTrue(client.asks_whoami())
        self.assertTrue(self.is_served(daemon))

    # ---- damage -----------------------------------------------------------------------------

    def test_reading_process_killed(self):
        daemon = self.start()
        client = self.client(daemon)
        self.assertTrue(client.asks_whoami())
        for _ in range(3):
            os.kill(self.reading_process(daemon), signal.SIGKILL)
            self.wait_served(daemon)
        self.assertTrue(client.asks_whoami())
        self.assertEqual(daemon.stop(), 0)

    def test_store_cut_short_under_it(self):
        backup = self.path("backup")
        self.psk("backup", backup)
        self.psk("add", "later", "--entity", "/in-cse/Clater", stdin=OTHER_KEY)
        daemon = self.start()
        client = self.client(daemon)
        self.assertTrue(client.asks_whoami())
        later = self.client(daemon, identity="later", key=OTHER_KEY)
        self.assertTrue(later.asks_whoami())
        os.truncate(os.path.join(self.store, "current"), 8192)
        self.assertFalse(self.is_served(daemon))
        daemon.wait_for("event=keystore_damaged")
        self.assertTrue(client.asks_whoami())
        self.psk("restore", backup)
        self.wait_served(daemon)
        daemon.wait_for("event=keystore_serves_again")
        later.wait_end()  # nothing could be compared, and yet: its key is not there any more
        daemon.wait_for("event=associations_ended reason=key_gone")
        self.assertTrue(client.asks_whoami())
        self.assertEqual(daemon.stop(), 0)

    def test_a_restored_store_ends_its_own_associations_alone(self):
        """Two stores behind one listener, told apart by the name that is asked for; what is kept
        in the second says nothing about the first."""
        first, self.store = self.store, self.path("store2")
        for name in ("dev", "lasting"):
            self.psk("add", name, stdin=KEY)
        backup = self.path("backup2")
        self.psk("backup", backup)
        self.psk("add", "later", stdin=KEY)
        text = GOOD.replace('psk-file = "{keys}"', f'key-store = "{first}"')
        text = text.replace("transport = tls\n", "transport = tls\n authority = {main, second}\n")
        text = text.replace("transport = dtls\n", "transport = dtls\n authority = main\n")
        daemon = self.start_daemon(text + f'authority "second" {{\n key-store = "{self.store}"\n'
                                   ' server-name = second.example\n}\n')
        names = ("-servername", "second.example")
        of_first = self.client(daemon)
        later = self.client(daemon, identity="later", options=names)
        lasting = self.client(daemon, identity="lasting", options=names)
        for client in (of_first, later, lasting):
            self.assertTrue(client.asks_whoami())
        os.truncate(os.path.join(self.store, "current"), 8192)
        self.assertFalse(self.is_served(daemon, options=names))
        self.psk("restore", backup)
        later.wait_end()
        for client in (of_first, lasting):
            self.assertTrue(client.asks_whoami())
        self.assertEqual(daemon.stop(), 0)

    def test_damaged_store_is_not_started_with(self):
        os.truncate(os.path.join(self.store, "current"), 5000)
        path = self.path("a.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(GOOD.replace('psk-file = "{keys}"', f'key-store = "{self.store}"')
                       .replace("{socket}", self.path("control")))
        done = run_once("--config", path)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("key store is damaged", done.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_replaced_under_the_filter_and_as_another_user(self):
        os.chmod(self.directory.name, 0o711)
        for name in ("", *os.listdir(self.store)):
            os.chown(os.path.join(self.store, name), 65534, 65534, follow_symlinks=False)
        configuration = ('user = "nobody"', "seccomp = yes")
        text = GOOD.replace('psk-file = "{keys}"', f'key-store = "{self.store}"')
        text = text.replace("process {", "process {\n" + "\n".join(configuration))
        daemon = self.start_daemon(text)
        process = self.reading_process(daemon)
        with open(f"/proc/{process}/status", encoding="ascii") as file:
            self.assertIn("Uid:\t65534\t65534\t65534\t65534", file.read())
        os.kill(process, signal.SIGKILL)
        self.wait_served(daemon)
        self.assertNotEqual(self.reading_process(daemon), process)
        self.psk("rm", "dev")
        self.assertFalse(self.is_served(daemon))
        self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    operation_fixture.main(__doc__)
