#!/usr/bin/env python3
"""operation_test.py HANDFASTD HANDFASTCTL - running the daemon: configuration file, reload under
traffic, and what it gives up after its start. HF_RELOADS: reloads there are under traffic (100)."""
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

import operation_fixture
import parallel
from broken_configs import BROKEN, GOOD
from operation_fixture import OperationFixture
from process_test import IO, KEY, OTHER_KEY, PATIENCE, openssl, run_once, write_keys

RELOADS = int(os.environ.get("HF_RELOADS", "100"))
IS_ROOT = os.geteuid() == 0


class OperationTest(OperationFixture):
    # ---- the configuration file

    def test_broken_configurations_are_refused(self):
        self.assertGreaterEqual(len(BROKEN), 50)
        path = self.path("broken.conf")
        keys = self.path("keys")
        write_keys(keys, f"dev:{KEY}\n")
        for text, line, word in BROKEN:
            with open(path, "w", encoding="latin-1") as file:
                file.write(text.replace("{keys}", keys))
            done = run_once("--config", path, "--check-config")
            self.assertEqual(done.returncode, 2, text)
            where = f"handfastd: {path}: line {line}: " if line else f"handfastd: {path}: "
            self.assertTrue(done.stderr.startswith(where), (text, done.stderr))
            self.assertIn(word, done.stderr, text)

    def test_options_beside_a_file(self):
        path = self.path("a.conf")
        keys = self.path("keys")
        write_keys(keys, f"dev:{KEY}\n")
        with open(path, "w", encoding="utf-8") as file:
            file.write(GOOD.replace("{keys}", keys).replace("{socket}", self.path("s")))
        done = run_once("--config", path, "--check", "--log-level", "debug", "--shards", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        for option in (["--dtls", "127.0.0.1:0"], ["--psk-file", keys], ["--mtu", "1000"]):
            done = run_once("--config", path, *option)
            self.assertEqual(done.returncode, 2)
            self.assertIn("block of the file", done.stderr)
        done = run_once("--config", self.path("none"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("No such file", done.stderr)
        os.chmod(path, 0o666)
        done = run_once("--config", path, "--check")
        self.assertEqual(done.returncode, 2)
        self.assertIn("chmod o-w", done.stderr)

    def test_the_example_is_good(self):
        root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
        with open(os.path.join(root, "etc/handfastd.conf"), encoding="utf-8") as file:
            text = file.read()
        keys = self.path("keys")
        write_keys(keys, f"dev:{KEY}\n")
        user = pwd.getpwuid(os.geteuid())
        group = grp.getgrgid(os.getegid()).gr_name
        text = text.replace('group = "handfast"', f'group = "{group}"')
        text = text.replace('user = "handfast"', f'user = "{user.pw_name}"')
        text = text.replace("/etc/handfast/keys.psk", keys)
        # What is commented out is the default: it must be good as well.
        full = re.sub(r"^( +)# ([a-z-]+ = )", r"\1\2", text, flags=re.M)
        self.assertGreater(full.count("=") - text.count("= "), -1)
        for number, content in enumerate((text, full)):
            path = self.path(f"example{number}.conf")
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)
            done = run_once("--config", path, "--check")
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_listeners_have_settings_of_their_own(self):
        second = self.path("keys2")
        write_keys(second, f"dev:{OTHER_KEY}:/in-cse/Cother\n")
        daemon = self.start_daemon(GOOD.replace(
            "{0xC0A8, PSK-AES128-CCM}\n", "{0xC0A8, PSK-AES128-CCM}\n    authority = main\n"
        ).replace("transport = tls\n", "transport = tls\n    authority = main\n")
            + f'authority "second" {{ psk-file = "{second}" }}\n'
            + 'listener "cse" {\n transport = tls\n address = "127.0.0.1:0"\n'
              ' reference-point = mcc\n authority = second\n suites = {0x00A8}\n'
              ' respond = echo\n}\n')
        port = [line for line in daemon.lines if "transport=tls" in line]
        self.assertEqual(len(port), 2)
        self.assertTrue(self.client(daemon).asks_whoami())
        cse = re.search(r"address=\S+:(\d+)", [x for x in port if "listener=cse" in x][0]).group(1)
        command = ["openssl", "s_client", "-quiet", "-tls1_2", "-connect", f"127.0.0.1:{cse}",
                   "-psk_identity", "dev", "-psk"]
        done = subprocess.run([*command, KEY], input=b"", capture_output=True, check=False,
                              timeout=PATIENCE)
        daemon.wait_for("event=handshake_failed reason=key_mismatch listener=cse")
        with subprocess.Popen([*command, OTHER_KEY], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as peer:
            peer.stdin.write(b"back\n")
            peer.stdin.flush()
            self.assertEqual(peer.stdout.readline(), b"back\n", done)
            found = self.associations(daemon, 1, "--match", "Cother")[0]
            peer.kill()
        self.assertEqual((found["listener"], found["authority"], found["reference_point"],
                          found["suite"]), ("cse", "second", "Mcc",
                                            "TLS_PSK_WITH_AES_128_GCM_SHA256"))
        self.assertEqual(daemon.metric('handfast_handshakes_total{listener="cse",'
                                       'authority="second",framework="provisioned-symmetric-key",'
                                       'outcome="failed",reason="key_mismatch"}'), 1)
        self.assertEqual(daemon.stop(), 0)

    # ---- reload

    def test_broken_configurations_change_nothing(self):
        daemon = self.start_daemon()
        client = self.client(daemon)
        self.assertTrue(client.asks_whoami())
        for number, (text, line, _) in enumerate(BROKEN, 1):
            daemon.write_config(text)
            error = daemon.ask("reload", status=1)["error"]
            self.assertIn(daemon.config_file + (f": line {line}: " if line else ": "), error)
            self.assertEqual(daemon.ask("status")["reloads"]["failed"], number)
        self.assertTrue(client.asks_whoami())
        self.assertEqual(daemon.metric("handfast_reload_successful"), 0)
        daemon.write_config(GOOD)
        daemon.ask("reload")
        self.assertEqual(daemon.metric("handfast_reload_successful"), 1)
        self.assertTrue(client.asks_whoami())
        self.assertEqual(daemon.metric('handfast_reloads_total{outcome="failed"}'), len(BROKEN))
        self.assertEqual(daemon.stop(), 0)

    def test_what_needs_a_restart_is_refused(self):
        daemon = self.start_daemon()
        if not IO:  # the command line wins over the file
            daemon.write_config(GOOD.replace("shards = 2", "shards = 2\n io = epoll"))
            self.assertIn("io: cannot change", daemon.ask("reload", status=1)["error"])
        for old, new, word in (
                ("shards = 2", "shards = 1", "shards"),
                ('metrics { address = "127.0.0.1:0" }', "", "metrics"),
                ('listener "dtls"', 'listener "other"', "names and order"),
                ("transport = tls", "transport = dtls", "transport"),
                ('"127.0.0.1:0"\n}', '"127.0.0.2:0"\n}', "address"),
                ('authority "main"', 'authority "other"', "names and order"),
                ("log {", "limits { associations-max = 5000 }\nlog {", "associations-max"),
                ("log {", "limits { upstream-quarantine = 5s }\nlog {", "upstream-quarantine")):
            self.assertIn(old, GOOD)
            daemon.write_config(GOOD.replace(old, new))
            error = daemon.ask("reload", status=1)["error"]
            self.assertIn(word, error)
            self.assertIn("restart", error)
        self.assertEqual(daemon.stop(), 0)

    def test_what_can_change_does(self):
        daemon = self.start_daemon()
        client = self.client(daemon)
        self.assertTrue(client.asks_whoami())
        moved = self.path("moved")
        shutil.copy(daemon.key_file, moved)
        daemon.write_config(GOOD.replace("{keys}", moved).replace("level = info", "level = debug")
                            .replace("transport = tls", "transport = tls\n suites = {0x00A8}\n"
                                                        " respond = echo"))
        daemon.ask("reload")
        status = daemon.ask("status")
        self.assertEqual(status["log_level"], "debug")
        self.assertEqual(status["authorities"][0]["path"], moved)
        self.assertEqual({x["name"]: x["respond"] for x in status["listeners"]}["tls"], "echo")
        client.process.stdin.write(b"echo me\n")  # the old association, the new answer
        client.process.stdin.flush()
        self.assertEqual(client.process.stdout.readline(), b"echo me\n")
        self.client(daemon)
        found = {None}  # half-open at first
        until = time.monotonic() + PATIENCE
        while None in found and time.monotonic() < until:
            found = {item["suite"] for item in self.associations(daemon, 2)}
        self.assertEqual(found, {"TLS_PSK_WITH_AES_128_CBC_SHA256",
                                 "TLS_PSK_WITH_AES_128_GCM_SHA256"})
        self.assertEqual(daemon.stop(), 0)

    @parallel.alone
    def test_limits_of_an_authority(self):
        """One authority is full; the other, in the same daemon, is not."""
        second = self.path("keys2")
        write_keys(second, f"dev:{KEY}:/in-cse/Cdev\n")
        limited = GOOD.replace("shards = 2", "shards = 1").replace(
            '    psk-file = "{keys}"\n', '    psk-file = "{keys}"\n    associations-max = 2\n')
        limited = re.sub(r"(transport = \w+\n)", r"\1    authority = main\n", limited)
        other = (f'authority "second" {{ psk-file = "{second}" }}\n'
                 'listener "other" {\n transport = tls\n address = "127.0.0.1:0"\n'
                 ' authority = second\n}\n')
        daemon = self.start_daemon(limited + other)
        clients = [self.client(daemon) for _ in range(2)]
        for client in clients:
            self.assertTrue(client.asks_whoami())
        refused = self.client(daemon)
        self.assertFalse(refused.asks_whoami())
        with self.assertRaises(subprocess.TimeoutExpired):  # shares it: its hello is dropped
            subprocess.run(["openssl", "s_client", "-dtls1_2", "-connect",
                            f"127.0.0.1:{daemon.port('dtls')}", "-psk", KEY, "-psk_identity",
                            "dev"], stdin=subprocess.DEVNULL, capture_output=True, timeout=2,
                           check=False)
        name = 'handfast_authority_refused_total{authority="main",limit="associations"}'
        daemon.wait_for_metric('handfast_authority_associations{authority="main"}', 2)
        self.assertGreaterEqual(daemon.metric(name), 2)
        self.assertGreaterEqual(daemon.metric('handfast_drops_total{cause="authority_limit"}'), 1)
        listener = re.search(r"address=\S+:(\d+)", [
            line for line in daemon.lines if "listener=other" in line][0]).group(1)
        free = [operation_fixture.Client(daemon, port=listener) for _ in range(4)]
        for client in free:
            self.addCleanup(client.close)
            self.assertTrue(client.asks_whoami())
        daemon.write_config(limited.replace("associations-max = 2", "associations-max = 3\n"
                                            "    handshakes-per-second = 1") + other)
        daemon.ask("reload")
        again = self.client(daemon)
        self.assertTrue(again.asks_whoami())
        self.assertFalse(self.client(daemon).asks_whoami())
        again.close()
        daemon.wait_for_metric('handfast_authority_associations{authority="main"}', 2)
        outcomes = []
        for _ in range(4):  # now it is the rate
            client = self.client(daemon)
            outcomes.append(client.asks_whoami())
            client.close()
            client.wait_end()
        self.assertIn(False, outcomes)
        rate = 'handfast_authority_refused_total{authority="main",limit="rate"}'
        daemon.wait_for_metric('handfast_authority_associations{authority="main"}', 2)
        daemon.wait_for_metric(rate, outcomes.count(False))
        for client in clients + free:
            self.assertTrue(client.asks_whoami())
        self.assertEqual(daemon.stop(), 0)

    def test_limits_go_by_the_name_that_is_asked_for(self):
        """Two authorities at one listener: each has its own share, the first until it is known."""
        second = self.path("keys2")
        write_keys(second, f"dev:{KEY}:/in-cse/Csecond\n")
        daemon = self.start_daemon(
            re.sub(r"(transport = \w+\n)", r"\1    authority = {main, second}\n",
                   GOOD.replace("shards = 2", "shards = 1"))
            + f'authority "second" {{\n psk-file = "{second}"\n server-name = second.example\n'
              ' associations-max = 1\n}\n')
        names = ("-servername", "second.example")
        one = operation_fixture.Client(daemon, options=names)
        self.addCleanup(one.close)
        self.assertTrue(one.asks_whoami())
        refused = operation_fixture.Client(daemon, options=names)
        self.addCleanup(refused.close)
        self.assertFalse(refused.asks_whoami())
        daemon.wait_for("event=handshake_failed reason=authority_limit")
        for _ in range(3):
            self.assertTrue(self.client(daemon).asks_whoami())
        daemon.wait_for_metric('handfast_authority_associations{authority="second"}', 1)
        daemon.wait_for_metric('handfast_authority_associations{authority="main"}', 3)
        self.assertEqual(
            daemon.metric('handfast_authority_refused_total{authority="second",'
                          'limit="associations"}'), 1)
        self.assertTrue(one.asks_whoami())
        self.assertEqual(daemon.stop(), 0)

    def test_a_reload_changes_timers(self):
        daemon = self.start_daemon()
        silent = self.client(daemon)
        self.assertTrue(silent.asks_whoami())
        daemon.write_config(GOOD.replace("log {", "limits { idle-timeout = 2s }\nlog {"))
        daemon.ask("reload")
        silent.wait_end()  # it began when there was no such limit
        daemon.wait_for_metric('handfast_association_ends_total{reason="idle_timeout"}', 1)
        daemon.write_config(GOOD.replace("log {", "limits { hello-timeout = 1s }\nlog {"))
        daemon.ask("reload")
        lasting = self.client(daemon)
        self.assertTrue(lasting.asks_whoami())
        with socket.create_connection(("127.0.0.1", daemon.port("tls"))) as mute:
            mute.settimeout(5)  # the default is 10 s
            self.assertEqual(mute.recv(1), b"")
        self.assertTrue(lasting.asks_whoami())
        self.assertEqual(daemon.stop(), 0)

    def test_removed_and_changed_keys_end_their_associations(self):
        keys = {f"dev{i}": f"{i:032x}" for i in range(1, 4)}
        lines = [f"{name}:{key}:/in-cse/C{name}\n" for name, key in keys.items()]
        many = [f"other{i}:{i + 100:032x}\n" for i in range(97)]
        daemon = self.start_daemon(keys="".join(lines + many))
        clients = {name: self.client(daemon, name, key) for name, key in keys.items()}
        self.associations(daemon, 3)
        write_keys(daemon.key_file, "".join(lines[1:] + many))  # 1 % goes: no force needed
        changed = daemon.ask("reload")["authorities"][0]
        self.assertEqual((changed["removed"], changed["added"], changed["changed"]), (1, 0, 0))
        clients["dev1"].wait_end()
        self.associations(daemon, 2)
        write_keys(daemon.key_file, "".join([f"dev2:{7:032x}\n"] + lines[2:] + many))
        changed = daemon.ask("reload")["authorities"][0]
        self.assertEqual((changed["removed"], changed["added"], changed["changed"]), (0, 0, 1))
        clients["dev2"].wait_end()
        self.assertEqual(self.associations(daemon, 1)[0]["entity_id"], "/in-cse/Cdev3")
        self.assertTrue(clients["dev3"].asks_whoami())
        write_keys(daemon.key_file, "".join(lines[2:]))  # now nearly all
        error = daemon.ask("reload", status=1)["error"]
        self.assertIn("--force", error)
        self.assertEqual(daemon.metric("handfast_keys"), 99)
        daemon.process.send_signal(signal.SIGHUP)  # cannot force
        daemon.wait_for("event=reload_failed", 2)
        self.assertEqual(daemon.ask("reload", "--force")["authorities"][0]["keys"], 1)
        self.assertTrue(clients["dev3"].asks_whoami())
        daemon.wait_for("event=associations_ended reason=key_gone", 2)
        self.assertEqual(daemon.stop(), 0)

    def test_reload_under_traffic(self):
        """Keys come, go and rotate - two identities of one entity overlap - and configurations
        break in every way there is a test for, while peers connect: whoever should live does,
        whoever should not is gone, at every step."""
        stable = [f"stable{i}:{i + 1:032x}:/in-cse/Cstable{i}\n" for i in range(30)]
        daemon = self.start_daemon(keys="".join(stable))
        lasting = self.client(daemon, "stable0", f"{1:032x}")
        self.assertTrue(lasting.asks_whoami())
        datagrams = self.keep_dtls(daemon, "stable2", f"{3:032x}")
        handle = self.associations(daemon, 1, "--match", "stable2")[0]["association"]
        broken = 0
        failed = []
        is_over = threading.Event()

        def traffic():
            while not is_over.is_set():
                answer = openssl(daemon, "tls", identity="stable1", key=f"{2:032x}",
                                 data=b"GET / HTTP/1.0\r\n\r\n")
                if b"Cstable1" not in answer.stdout:
                    failed.append(answer)

        threads = [threading.Thread(target=traffic) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            former = None
            for i in range(RELOADS):
                key = f"{i + 1000:032x}"
                line = f"rotating{i}:{key}:/in-cse/Crotating\n"
                write_keys(daemon.key_file, "".join(stable) + (former or "") + line)
                daemon.ask("reload")
                if i % 10 == 0:
                    old = self.client(daemon, f"rotating{i}", key)
                    self.assertTrue(old.asks_whoami())
                    write_keys(daemon.key_file, "".join(stable) + f"next{i}:{key}:/in-cse/Cnext\n")
                    daemon.ask("reload")
                    old.wait_end()
                    write_keys(daemon.key_file, "".join(stable) + line)
                    daemon.ask("reload")
                if i % 7 == 0:
                    write_keys(daemon.key_file, "broken\n")
                    daemon.ask("reload", status=1)
                if i % 2 == 0:  # each of them many times in a thousand reloads
                    text, at, _ = BROKEN[broken % len(BROKEN)]
                    broken += 1
                    daemon.write_config(text)
                    error = daemon.ask("reload", status=1)["error"]
                    self.assertIn(daemon.config_file + (f": line {at}: " if at else ": "), error)
                    daemon.write_config(GOOD)
                if i % 50 == 0:  # the old keys serve on, and so do the old associations
                    self.assertTrue(lasting.asks_whoami())
                    self.assertIsNone(datagrams.poll())
                former = line
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failed, [])
        self.assertTrue(lasting.asks_whoami())
        self.assertEqual(self.associations(daemon, 1, "--match", "stable2")[0]["association"],
                         handle)
        self.assertEqual(daemon.stop(), 0)

    def keep_dtls(self, daemon, identity, key):
        """A DTLS association that stays, and says nothing."""
        process = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-dtls1_2", "-connect",
             f"127.0.0.1:{daemon.port('dtls')}", "-cipher", "PSK-AES128-CCM8:@SECLEVEL=0",
             "-psk_identity", identity, "-psk", key], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdin.close)
        self.associations(daemon, 1, "--match", identity)
        return process

    # ---- a key store instead of a key file

    def psk(self, *arguments, key=None):
        done = subprocess.run(
            [operation_fixture.HANDFASTCTL, "psk", arguments[0], "--store", self.path("store"),
             *arguments[1:]], input=key, capture_output=True, text=True, timeout=PATIENCE,
            check=False)
        self.assertEqual(done.returncode, 0, done)

    def test_a_key_store(self):
        self.psk("add", "dev", "--entity", "/in-cse/Cdev", key=KEY)
        self.psk("add", "other", "--entity", "/in-cse/Cother", key=OTHER_KEY)
        store = GOOD.replace('psk-file = "{keys}"', f'key-store = "{self.path("store")}"')
        if IS_ROOT:  # what is given up must not be in its way
            os.chmod(self.directory.name, 0o755)
            for base, _, names in os.walk(self.path("store")):
                for name in ["", *names]:
                    os.chown(os.path.join(base, name), 65534, 65534, follow_symlinks=False)
            store = store.replace("shards = 2", "shards = 2\n user = nobody\n seccomp = yes")
        daemon = self.start_daemon(store)
        dev = self.client(daemon)
        other = self.client(daemon, "other", OTHER_KEY)
        self.assertTrue(dev.asks_whoami() and other.asks_whoami())
        authority = daemon.ask("status")["authorities"][0]
        self.assertEqual((authority["kind"], authority["serving"]), ("key-store", True))
        openssl(daemon, "tls", identity="stranger")
        daemon.wait_for("reason=key_unknown")
        self.assertEqual(daemon.ask("why", "stranger")["keys"], {"main": "absent"})
        self.assertEqual(daemon.ask("why", "dev")["keys"], {"main": "present"})
        self.psk("add", "former", "--not-after", "2020-01-01", key=KEY)
        self.assertEqual(daemon.ask("why", "former")["keys"], {"main": "expired"})
        self.assertIn("which has expired", daemon.tell("why", "former"))
        self.psk("rm", "former")
        self.psk("rm", "dev")
        dev.wait_end()
        self.assertTrue(other.asks_whoami())
        self.psk("add", "new", key=KEY)  # counts at once, with nothing to reload
        self.assertTrue(self.client(daemon, "new", KEY).asks_whoami())
        daemon.ask("reload")
        self.assertTrue(other.asks_whoami())
        found = 'handfast_key_store_answers_total{authority="main",outcome="found"}'
        self.assertEqual(daemon.metric(found), 6)  # three handshakes, three times "why"
        self.assertEqual(daemon.metric("handfast_key_store_serving"), 1)
        daemon.wait_for_metric("handfast_key_store_retired_total", 2)
        self.assertEqual(daemon.stop(), 0)

    # ---- what it gives up

    @unittest.skipUnless(IS_ROOT, "only root has privileges to drop")
    def test_dropped_privileges_and_seccomp(self):
        os.chmod(self.directory.name, 0o755)
        keys = self.path("keys")
        write_keys(keys, f"dev:{KEY}:/in-cse/Cdev\n")
        os.chown(keys, 65534, 65534)
        text = GOOD.replace("shards = 2", "shards = 2\n user = nobody\n seccomp = yes")
        daemon = self.start_daemon(text)
        os.chown(keys, 65534, 65534)
        tasks = f"/proc/{daemon.process.pid}/task"
        seen = 0
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/status", encoding="ascii") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            with open(f"{tasks}/{task}/comm", encoding="ascii") as file:
                if file.read().startswith("iou-"):
                    continue  # the kernel's own
            self.assertEqual(status["Uid"].split(), ["65534"] * 4)
            self.assertEqual(status["Gid"].split(), ["65534"] * 4)
            self.assertEqual(status["NoNewPrivs"].strip(), "1")
            self.assertEqual(status["Seccomp"].strip(), "2")
            self.assertEqual(int(status["CapEff"], 16), 0)
            seen += 1
        self.assertGreaterEqual(seen, 5)
        client = self.client(daemon)
        self.assertTrue(client.asks_whoami())
        openssl(daemon, "dtls", "-no_ign_eof")
        daemon.wait_for("event=association_established listener=dtls")
        self.assertIn("handfast_keys", daemon.get("/metrics"))
        write_keys(keys, f"dev:{KEY}:/in-cse/Cdev\nnew:{OTHER_KEY}\n")
        os.chown(keys, 65534, 65534)
        self.assertEqual(daemon.ask("reload")["authorities"][0]["added"], 1)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("event=reloaded", 2)
        self.assertTrue(client.asks_whoami())
        self.assertEqual(daemon.stop(), 0)

    @unittest.skipUnless(IS_ROOT, "only root has privileges to drop")
    def test_a_key_file_the_user_cannot_read_is_an_error_at_start(self):
        keys = self.path("keys")
        write_keys(keys, f"dev:{KEY}\n")
        os.chmod(self.directory.name, 0o755)
        done = run_once("--dtls", "127.0.0.1:0", "--psk-file", keys, "--user", "nobody")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"chown nobody {keys}", done.stderr)
        done = run_once("--dtls", "127.0.0.1:0", "--psk-file", keys, "--user", "no-such-user")
        self.assertEqual(done.returncode, 2)

    def test_the_unit_is_good(self):
        unit = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                            "../../packaging/handfastd.service")
        if not shutil.which("systemd-analyze"):
            self.skipTest("no systemd-analyze")
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit],
                              capture_output=True, text=True, check=False)
        complaints = [line for line in done.stderr.splitlines()
                      if "handfastd.service" in line and "is not executable" not in line]
        self.assertEqual(complaints, [])
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                               "--threshold=20", unit], capture_output=True, text=True,
                              check=False)  # tenths; 1.7 today
        self.assertEqual(done.returncode, 0, done.stdout[-200:] + done.stderr)


if __name__ == "__main__":
    operation_fixture.main(__doc__)
