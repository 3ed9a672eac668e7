#!/usr/bin/env python3
"""operation_test.py HANDFASTD HANDFASTCTL - running the daemon: its configuration file, reload under
traffic, the control socket and who may use it, logs, metrics, and what it gives up after its start.
HF_RELOADS is how many reloads there are under traffic (100)."""
import grp
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

import process_test
from broken_configs import BROKEN, GOOD
from process_test import KEY, OTHER_KEY, PATIENCE, openssl, run_once, write_keys

HANDFASTCTL = None
RELOADS = int(os.environ.get("HF_RELOADS", "100"))
IS_ROOT = os.geteuid() == 0


class Daemon(process_test.Daemon):
    """A daemon with a configuration file and a control socket."""

    def __init__(self, directory, text=GOOD, keys=f"dev:{KEY}:/in-cse/Cdev\n", options=()):
        self.directory = directory
        self.socket = os.path.join(directory, "control")
        self.config_file = os.path.join(directory, "handfastd.conf")
        self.key_file = os.path.join(directory, "keys")
        write_keys(self.key_file, keys)
        self.write_config(text)
        environment = {k: v for k, v in os.environ.items()
                       if k not in ("JOURNAL_STREAM", "NOTIFY_SOCKET")}
        self.process = subprocess.Popen(
            [process_test.HANDFASTD, "--config", self.config_file, *options],
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

    def __init__(self, daemon, identity="dev", key=KEY):
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-tls1_2", "-connect",
             f"127.0.0.1:{daemon.port('tls')}", "-psk_identity", identity, "-psk", key],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

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


class OperationTest(process_test.ProcessFixture):
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
        for old, new, word in (
                ("shards = 2", "shards = 1", "shards"),
                ('metrics { address = "127.0.0.1:0" }', "", "metrics"),
                ('listener "dtls"', 'listener "other"', "names and order"),
                ("transport = tls", "transport = dtls", "transport"),
                ('"127.0.0.1:0"\n}', '"127.0.0.2:0"\n}', "address"),
                ('authority "main"', 'authority "other"', "names and order"),
                ("log {", "limits { idle-timeout = 5s }\nlog {", "idle-timeout")):
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
        self.assertEqual(status["authorities"][0]["psk_file"], moved)
        self.assertEqual({x["name"]: x["respond"] for x in status["listeners"]}["tls"], "echo")
        client.process.stdin.write(b"echo me\n")  # the old association, the new answer
        client.process.stdin.flush()
        self.assertEqual(client.process.stdout.readline(), b"echo me\n")
        self.client(daemon)
        found = {item["suite"] for item in self.associations(daemon, 2)}
        self.assertEqual(found, {"TLS_PSK_WITH_AES_128_CBC_SHA256",
                                 "TLS_PSK_WITH_AES_128_GCM_SHA256"})
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
        """Keys come, go and rotate - two identities of one entity overlap - while peers connect:
        whoever should live does, whoever should not is gone, at every step."""
        stable = [f"stable{i}:{i + 1:032x}:/in-cse/Cstable{i}\n" for i in range(30)]
        daemon = self.start_daemon(keys="".join(stable))
        lasting = self.client(daemon, "stable0", f"{1:032x}")
        self.assertTrue(lasting.asks_whoami())
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
                former = line
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failed, [])
        self.assertTrue(lasting.asks_whoami())
        self.assertEqual(daemon.stop(), 0)

    # ---- the control socket

    def test_every_command(self):
        daemon = self.start_daemon()
        client = self.client(daemon)
        self.assertTrue(client.asks_whoami())
        openssl(daemon, "tls", identity="stranger")
        openssl(daemon, "tls", key=OTHER_KEY)
        daemon.wait_for("reason=key_mismatch")
        status = daemon.ask("status")
        self.assertEqual((status["state"], status["pid"], status["shards"]),
                         ("serving", daemon.process.pid, 2))
        self.assertEqual([x["name"] for x in status["listeners"]], ["tls", "dtls"])
        self.assertEqual((status["listeners"][0]["handshakes_ok"],
                          status["listeners"][0]["handshakes_failed"]), (1, 2))
        self.assertEqual(status["authorities"][0]["keys"], 1)
        found = self.associations(daemon, 1)[0]
        shown = daemon.ask("assoc", "show", found["association"])
        self.assertEqual(shown, found)
        self.assertEqual((shown["credential_id"], shown["entity_id"], shown["listener"]),
                         ("12-dev", "/in-cse/Cdev", "tls"))
        for match, count in (("dev", 1), ("Cdev", 1), ("nobody", 0), ("127.0.0.1", 1),
                             (shown["peer"], 1), ("127.0.0.2", 0)):
            self.associations(daemon, count, "--match", match)
        why = daemon.ask("why", "stranger")
        self.assertEqual((why["keys"], why["associations"]), ({"main": False}, []))
        self.assertEqual([x["reason"] for x in why["failures"]], ["key_unknown"])
        self.assertTrue(why["failures"][0]["state"])
        self.assertTrue(why["failures"][0]["clause"])
        why = daemon.ask("why", "dev")
        self.assertEqual((why["keys"], len(why["associations"])), ({"main": True}, 1))
        self.assertEqual([x["reason"] for x in why["failures"]], ["key_mismatch"])
        self.assertEqual(len(daemon.ask("why", "127.0.0.1")["failures"]), 2)
        self.assertEqual(daemon.ask("why", "#646576"), why)
        self.assertEqual(daemon.ask("log-level")["level"], "info")
        self.assertEqual(daemon.ask("log-level", "debug"), {"level": "debug", "before": "info"})
        self.assertRegex(daemon.ask("hash", "dev")["hash"], "^~[0-9a-f]{16}$")
        self.assertEqual(daemon.ask("reload")["authorities"][0]["keys"], 1)
        self.assertEqual(daemon.ask("log-level")["level"], "info")  # the file's again
        for command in (["status"], ["assoc", "list"], ["assoc", "show", found["association"]],
                        ["why", "stranger"], ["why", "dev"], ["log-level"], ["hash", "dev"],
                        ["reload"]):
            self.assertNotEqual(daemon.tell(*command), "")
        self.assertEqual(daemon.ask("assoc", "close", found["association"]), found)
        client.wait_end()
        self.associations(daemon, 0)
        for command in (["assoc", "show", found["association"]], ["log-level", "loud"],
                        ["assoc", "close", "12"]):
            self.assertIn("error", daemon.ask(*command, status=1))
        for command in ([], ["frobnicate"], ["assoc"], ["assoc", "show"], ["reload", "now"]):
            done = subprocess.run([HANDFASTCTL, *command], capture_output=True, check=False)
            self.assertEqual(done.returncode, 2, command)
        self.assertEqual(daemon.stop(), 0)
        self.assertFalse(os.path.exists(daemon.socket))
        daemon.ask("status", status=3)

    def test_a_long_list_comes_in_pages(self):
        daemon = self.start_daemon()
        sockets = []
        for _ in range(230):  # half-open is enough
            sockets.append(socket.create_connection(("127.0.0.1", daemon.port("tls"))))
        found = self.associations(daemon, 230)
        self.assertEqual(len({item["association"] for item in found}), 230)
        for peer in sockets:
            peer.close()
        self.assertEqual(daemon.stop(), 0)

    def test_nonsense_on_the_socket(self):
        daemon = self.start_daemon()
        for text in (b"\n", b"{}\n", b"[]\n", b"nul\0\n", b'{"command":"status","x":1}\n',
                     b'{"command":"reload","force":1}\n', b'{"command":"why"}\n',
                     b'{"command":"assoc-show","association":"zz"}\n', b"\xff\xfe\n",
                     b'{"command":"status","command":"status"}\n', b"[" * 5000 + b"\n",
                     b'{"command":"assoc-list","limit":0}\n', b"x" * 70000):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(PATIENCE)
                peer.connect(daemon.socket)
                peer.sendall(text)
                answer = json.loads(peer.makefile("rb").readline())
                self.assertEqual((answer["ok"], bool(answer["error"])), (False, True), text)
        idle = []
        for _ in range(8):
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(daemon.socket)
            idle.append(peer)
        self.assertIn("too many", daemon.ask("status", status=1)["error"])
        for peer in idle:
            peer.close()
        time.sleep(0.2)
        self.assertEqual(daemon.ask("status")["state"], "serving")
        self.assertEqual(daemon.stop(), 0)

    @unittest.skipUnless(IS_ROOT, "only root can be somebody else")
    def test_who_may_use_the_socket(self):
        group = grp.getgrnam("games")
        daemon = self.start_daemon(GOOD.replace("control {", 'control {\n group = "games"'))
        status = os.stat(daemon.socket)
        self.assertEqual((status.st_mode & 0o777, status.st_gid), (0o660, group.gr_gid))
        os.chmod(self.directory.name, 0o755)

        def ask_as(user, groups):
            return subprocess.run(
                [HANDFASTCTL, "--socket", daemon.socket, "status"], capture_output=True,
                text=True, check=False, user=user, group=65534, extra_groups=groups,
                timeout=PATIENCE)

        self.assertEqual(ask_as(65534, [group.gr_gid]).returncode, 0)
        refused = ask_as(65534, [])
        self.assertEqual(refused.returncode, 3, refused)
        os.chmod(daemon.socket, 0o666)  # even if somebody opens it up, the daemon asks who it is
        refused = ask_as(65534, [])
        self.assertEqual(refused.returncode, 1, refused)
        self.assertIn("not allowed", refused.stderr)
        daemon.wait_for("event=control_refused")
        self.assertEqual(daemon.stop(), 0)

    def test_a_socket_left_behind(self):
        daemon = self.start_daemon()
        text = daemon.fill(GOOD)
        second = self.path("second.conf")
        with open(second, "w", encoding="utf-8") as file:
            file.write(text)
        done = run_once("--config", second)
        self.assertEqual(done.returncode, 1)
        self.assertIn("another process serves it", done.stderr)
        daemon.process.kill()
        daemon.process.wait()
        self.assertTrue(os.path.exists(daemon.socket))
        self.assertEqual(self.start_daemon().ask("status")["state"], "serving")

    # ---- logs and metrics

    def test_audit_log(self):
        audit = self.path("audit")
        with_audit = GOOD.replace("log {", f'log {{ audit = "{audit}" format = json')
        daemon = self.start_daemon(with_audit, keys=f"dev:{KEY}\nother:{OTHER_KEY}\n")
        write_keys(daemon.key_file, f"dev:{KEY}\nnew\tname:{OTHER_KEY}\n".replace("\t", "-"))
        daemon.ask("reload", status=1)
        daemon.ask("reload", "--force")
        daemon.ask("log-level", "warning")
        daemon.ask("log-level")  # only asks: no line
        daemon.ask("assoc", "close", "0" * 16, status=1)
        os.rename(audit, audit + ".1")
        daemon.ask("reload")
        self.assertEqual(daemon.stop(), 0)
        with open(audit + ".1", encoding="utf-8") as file:
            text = file.read()
        lines = [json.loads(line) for line in text.splitlines()]
        self.assertEqual([line["event"] for line in lines],
                         ["reload", "key_removed", "key_added", "reload", "keys_changed",
                          "control", "control"])
        self.assertTrue(all(re.match(r"uid=\d+ pid=\d+$", line["by"]) for line in lines))
        self.assertEqual((lines[0]["outcome"], lines[3]["outcome"], lines[3]["forced"]),
                         ("refused", "ok", "yes"))
        self.assertEqual((lines[1]["identity"], lines[2]["identity"]), ("other", "new-name"))
        self.assertNotIn(KEY, text)
        self.assertNotIn(OTHER_KEY, text)
        with open(audit, encoding="utf-8") as file:
            self.assertEqual([json.loads(line)["event"] for line in file], ["reload"])

    def test_json_and_hashed_identities(self):
        hashed = "log { format = json identities = hashed salt = pepper"
        daemon = self.start_daemon(GOOD.replace("log {", hashed))
        self.assertTrue(self.client(daemon).asks_whoami())
        openssl(daemon, "tls", identity='zeb"ra\\r')
        failed = json.loads(daemon.wait_for('"handshake_failed"'))
        established = json.loads(daemon.wait_for('"association_established"'))
        self.assertEqual(failed["identity"], daemon.ask("hash", 'zeb"ra\\r')["hash"])
        self.assertEqual(established["credential"], "12-" + daemon.ask("hash", "dev")["hash"])
        self.assertEqual(established["entity"], daemon.ask("hash", "/in-cse/Cdev")["hash"])
        self.assertEqual(daemon.stop(), 0)
        text = "\n".join(daemon.lines[:-1])
        for line in daemon.lines[:-1]:
            json.loads(line)
        self.assertNotIn("zeb", text)
        self.assertNotIn("Cdev", text)

    def test_json_escapes(self):
        daemon = self.start_daemon(GOOD.replace("log {", "log { format = json"))
        openssl(daemon, "tls", identity='a"b\\c\x01' + "x" * 120)
        failed = json.loads(daemon.wait_for('"handshake_failed"'))
        self.assertTrue(failed["identity"].startswith('a"b\\c\\x01xx'), failed)
        self.assertEqual(daemon.stop(), 0)

    def test_a_blocked_log_reader_stops_nothing(self):
        daemon = self.start_daemon()
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        try:
            while True:
                os.write(write_end, bytes(4096))
        except BlockingIOError:
            pass
        os.set_blocking(write_end, True)
        self.assertEqual(daemon.stop(), 0)
        blocked = subprocess.Popen([process_test.HANDFASTD, "--config", daemon.config_file,
                                    "--log-level", "debug", "--log-rate", "0"], stderr=write_end)
        try:
            until = time.monotonic() + PATIENCE
            while True:
                try:
                    address = daemon.ask("status")["listeners"][0]["address"]
                    break
                except AssertionError:
                    self.assertLess(time.monotonic(), until)
                    time.sleep(0.1)
            for _ in range(20):
                done = subprocess.run(
                    ["openssl", "s_client", "-quiet", "-tls1_2", "-connect", address,
                     "-psk_identity", "dev", "-psk", KEY], input=b"GET / HTTP/1.0\r\n\r\n",
                    capture_output=True, timeout=PATIENCE, check=False)
                self.assertIn(b"Cdev", done.stdout)
            daemon.ask("reload")
            blocked.terminate()
            self.assertEqual(blocked.wait(PATIENCE), 0)
        finally:
            blocked.kill()
            blocked.wait()
            os.close(read_end)
            os.close(write_end)

    def test_ready(self):
        daemon = self.start_daemon()
        self.assertEqual(daemon.get("/readyz"), "ready\n")
        self.assertEqual(daemon.stop(), 0)

    @unittest.skipUnless(shutil.which("promtool"), "no promtool")
    def test_promtool(self):
        daemon = self.start_daemon()
        openssl(daemon, "tls", identity="stranger")
        done = subprocess.run(["promtool", "check", "metrics"], input=daemon.get("/metrics"),
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(daemon.stop(), 0)

    def test_every_setting_is_in_the_manual(self):
        here = os.path.dirname(os.path.abspath(__file__))
        with open(os.path.join(here, "../../docs/handfastd.conf.5.md"), encoding="utf-8") as file:
            manual = file.read()
        with open(os.path.join(here, "../../apps/handfastd/settings.c"), encoding="utf-8") as file:
            source = file.read()
        keys = set(re.findall(r'\{HF_SECTION_\w+,\s*"([a-z-]+)"', source))
        self.assertGreater(len(keys), 30)
        documented = set(re.findall(r"^\*\*([a-z-]+)\*\* =", manual, re.M))
        self.assertEqual(keys, documented)

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


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    process_test.HANDFASTD = os.path.abspath(sys.argv.pop(1))
    HANDFASTCTL = os.path.abspath(sys.argv.pop(1))
    unittest.main()
