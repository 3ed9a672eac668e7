#!/usr/bin/env python3
"""control_test.py HANDFASTD HANDFASTCTL - asking the daemon: the control socket and who may use it,
logs, the audit log, metrics."""
import grp
import json
import os
import re
import shutil
import socket
import subprocess
import time
import unittest

import operation_fixture
import parallel
import process_test
from broken_configs import GOOD
from operation_fixture import OperationFixture
from process_test import KEY, OTHER_KEY, PATIENCE, openssl, run_once, write_keys

IS_ROOT = os.geteuid() == 0


class ControlTest(OperationFixture):
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
        self.assertEqual((why["keys"], why["associations"]), ({"main": "absent"}, []))
        self.assertEqual([x["reason"] for x in why["failures"]], ["key_unknown"])
        self.assertTrue(why["failures"][0]["state"])
        self.assertTrue(why["failures"][0]["clause"])
        why = daemon.ask("why", "dev")
        self.assertEqual((why["keys"], len(why["associations"])), ({"main": "present"}, 1))
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
        for command, said in (([], "usage: handfastctl"), (["frobnicate"], "no such command"),
                              (["assoc"], "assoc: no such command"),
                              (["assoc", "show"], "usage: handfastctl assoc show ASSOCIATION"),
                              (["reload", "now"], "usage: handfastctl reload [--force]"),
                              (["--nonsense"], "--nonsense: no such option")):
            done = subprocess.run([operation_fixture.HANDFASTCTL, *command], check=False,
                                  capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout), (2, ""), command)
            self.assertIn(said, done.stderr)
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

    @parallel.alone
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
                [operation_fixture.HANDFASTCTL, "--socket", daemon.socket, "status"],
                capture_output=True, text=True, check=False, user=user, group=65534,
                extra_groups=groups, timeout=PATIENCE)

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

    def test_the_operator_finds_every_metric_and_event(self):
        here = os.path.dirname(os.path.abspath(__file__))
        root = os.path.join(here, "../..")
        with open(os.path.join(root, "docs/OPERATIONS.md"), encoding="utf-8") as file:
            text = file.read()
        metrics, _, events = text.partition("## Every metric")[2].partition("## Every log event")
        daemon = self.start_daemon(operation_fixture.GOOD + """maf "maf.example.com" {
    address = {"127.0.0.1:9"}
    identity = "dev"
    psk-file = "{keys}"
}
""")
        names = set(re.findall(r"# TYPE (\w+)", daemon.get("/metrics")))
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(names - set(re.findall(r"handfast_\w+", metrics)), set())
        self.assertEqual(set(re.findall(r"\bhandfast_\w+", metrics)) - names, set())
        logged = set()
        for directory in ("apps/handfastd", "keysource/lmdb"):
            for name in os.listdir(os.path.join(root, directory)):
                with open(os.path.join(root, directory, name), encoding="utf-8") as file:
                    logged |= set(re.findall(
                        r'(?:hf_log_begin|hf_log_message|hf_audit_begin|say)\('
                        r'[^;"]*"([a-z_]+)"', file.read()))
        logged |= {"key_added", "key_removed", "key_changed"}
        self.assertGreater(len(logged), 30)
        first = " ".join(line.split("|")[1] for line in events.splitlines() if "|" in line)
        self.assertEqual(logged - set(re.findall(r"\w+", first)), set())

    def test_every_setting_is_in_the_manual(self):
        here = os.path.dirname(os.path.abspath(__file__))
        with open(os.path.join(here, "../../docs/handfastd.conf.5.md"), encoding="utf-8") as file:
            manual = file.read()
        source = ""
        for name in ("settings.c", "maf_settings.h", "dialer_settings.h"):
            with open(os.path.join(here, "../../apps/handfastd", name), encoding="utf-8") as file:
                source += file.read()
        keys = set(re.findall(r'(?:\{HF_SECTION_\w+,\s*|DIALER_\w+\(\s*)"([a-z-]+)"', source))
        self.assertGreater(len(keys), 30)
        documented = set(re.findall(r"^\*\*([a-z-]+)\*\* =", manual, re.M))
        self.assertEqual(keys, documented)


if __name__ == "__main__":
    operation_fixture.main(__doc__)
