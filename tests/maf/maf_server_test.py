#!/usr/bin/env python3
"""maf_server_test.py HANDFAST-MAF - every procedure of TS-0003 8.8.2 against a real MAF, by openssl
s_client: what it does, what it refuses, and what it keeps."""
import base64
import json
import os
import re
import signal
import subprocess
import time

import maf_fixture
from maf_fixture import CLIENT, KEY, NAMELESS, OTHER, PATIENCE, SOURCE, TARGET, MafFixture

SUPPLIED = base64.b64encode(bytes(range(32))).decode()


def stamp(seconds):
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(time.time() + seconds))


class ServerTest(MafFixture):
    # ---- keys

    def test_supplied_key_reaches_its_target_alone(self):
        maf = self.start_maf()
        source = self.client(maf)
        made = self.check(source.register_key(keyValue=SUPPLIED, labels=["a", "b"]), 2001)[KEY]
        self.assertRegex(made["resourceID"], "^[0-9a-f]{32}$")
        self.assertEqual(made["sourceID"], SOURCE[2])
        self.assertEqual(made["targetIDs"], [TARGET[2]])
        self.assertEqual(made["labels"], ["a", "b"])
        self.assertNotIn("keyValue", made)
        path = "/" + made["resourceID"]
        got = self.check(self.client(maf, TARGET).ask("GET", path), 2000)[KEY]
        self.assertEqual(base64.b64decode(got["keyValue"]), bytes(range(32)))
        self.assertEqual(got["sourceID"], SOURCE[2])
        self.assertEqual(got["SUID"], 32)
        self.assertNotIn("targetIDs", got)
        self.check(self.client(maf, TARGET).ask("GET", path.upper()), 2000)
        self.check(source.ask("GET", path), 4103)
        self.check(self.client(maf, OTHER).ask("GET", path), 4103)
        self.check(self.client(maf, NAMELESS).ask("GET", path), 4103)
        self.check(self.client(maf, TARGET).ask("GET", "/" + "0" * 32), 4004)

    def test_exported_key_is_the_sessions(self):
        """openssl's own exporter gives what the MAF hands to the target."""
        maf = self.start_maf()
        body = json.dumps({KEY: {"adminFQDN": "m2msp.example", "SUID": 32,
                                 "targetIDs": [TARGET[2]]}})
        request = ("POST /MAFBase HTTP/1.1\r\nHost: m\r\nConnection: close\r\n"
                   f"Content-Type: application/json; ty=10002\r\nContent-Length: {len(body)}"
                   f"\r\n\r\n{body}\n")
        done = subprocess.run(
            ["openssl", "s_client", "-tls1_2", "-ign_eof", "-connect", f"127.0.0.1:{maf.port}",
             "-psk_identity", SOURCE[0], "-psk", SOURCE[1], "-keymatexport",
             "EXPORTER-oneM2M-Connection", "-keymatexportlen", "48"],
            input=request.encode(), capture_output=True, timeout=PATIENCE, check=False)
        material = bytes.fromhex(
            re.search(rb"Keying material: ([0-9A-F]+)", done.stdout).group(1).decode())
        name = re.search(rb'"resourceID":"([0-9a-f]+)"', done.stdout).group(1).decode()
        self.assertEqual(name, material[:16].hex())
        got = self.check(self.client(maf, TARGET).ask("GET", "/" + name), 2000)[KEY]
        self.assertEqual(base64.b64decode(got["keyValue"]), material[16:])

    def test_a_session_gives_one_key(self):
        maf = self.start_maf()
        client = self.client(maf)
        self.check(client.register_key(), 2001)
        self.check(client.register_key(targetIDs=[OTHER[2]]), 4105)
        self.check(client.register_key(keyValue=SUPPLIED), 2001)
        self.check(self.client(maf).register_key(), 2001)

    def test_key_registrations_that_are_refused(self):
        client = self.client(self.start_maf())
        for fields in (
                {"adminFQDN": None}, {"SUID": None}, {"targetIDs": None}, {"targetIDs": []},
                {"targetIDs": [TARGET[2], OTHER[2]]}, {"SUID": 22}, {"SUID": 36},
                {"expirationTime": "20200101T000000"}, {"keyValue": "AAAA"}):
            with self.subTest(fields=fields):
                self.check(client.register_key(**fields), 4000)
        for fields in (
                {"targetIDs": ["/in-cse"]}, {"targetIDs": TARGET[2]}, {"SUID": "32"},
                {"adminFQDN": "x"}, {"expirationTime": "tomorrow"}, {"keyValue": "!!"},
                {"labels": [1]}, {"labels": ["x" * 257]}, {"labels": ["x" * 200] * 20}):
            with self.subTest(fields=fields):
                self.check(client.register_key(**{"keyValue": SUPPLIED, **fields}), 4102)
        self.check(client.register_key(SUID=34, keyValue=SUPPLIED,
                                       targetIDs=[TARGET[2], OTHER[2]]), 2001)

    def test_update_and_end_of_a_key(self):
        maf = self.start_maf()
        source, target, other = (self.client(maf, who) for who in (SOURCE, TARGET, OTHER))
        made = self.check(source.register_key(keyValue=SUPPLIED), 2001)[KEY]
        path = "/" + made["resourceID"]
        until = stamp(3600)
        changed = self.check(source.ask("PUT", path, KEY, {"expirationTime": until}), 2004)[KEY]
        self.assertEqual(changed, {"expirationTime": until})
        got = self.check(target.ask("GET", path), 2000)[KEY]
        self.assertEqual(got["expirationTime"], until)
        self.check(source.ask("PUT", path, KEY, {"targetIDs": [OTHER[2]]}), 2004)
        self.check(target.ask("GET", path), 4103)
        self.check(other.ask("GET", path), 2000)
        self.check(source.ask("PUT", path, KEY, {}), 4000)
        self.check(source.ask("PUT", path, KEY, {"keyValue": SUPPLIED}), 4000)
        self.check(source.ask("PUT", path, KEY, {"SUID": 33}), 4000)
        self.check(source.ask("PUT", path, CLIENT, {"labels": ["x"]}), 4000)
        self.check(source.ask("PUT", path), 4000)
        self.check(other.ask("PUT", path, KEY, {"labels": ["x"]}), 4103)
        self.check(other.ask("DELETE", path), 4103)
        self.check(source.ask("DELETE", path), 2002)
        self.check(source.ask("DELETE", path), 4004)
        self.check(other.ask("GET", path), 4004)

    def test_expiry(self):
        maf = self.start_maf("--key-days", "1")
        source, target = self.client(maf), self.client(maf, TARGET)
        made = self.check(source.register_key(keyValue=SUPPLIED, expirationTime=stamp(2)), 2001)
        path = "/" + made[KEY]["resourceID"]
        self.check(target.ask("GET", path), 2000)
        time.sleep(3.1)
        self.check(target.ask("GET", path), 4004)
        self.check(source.ask("PUT", path, KEY, {"expirationTime": stamp(60)}), 4004)
        far = self.check(source.register_key(keyValue=SUPPLIED, expirationTime=stamp(9e8)), 2001)
        self.assertLessEqual(far[KEY]["expirationTime"], stamp(86401))

    # ---- client registrations

    def test_client_registration(self):
        with open(self.path("config"), "w", encoding="ascii") as file:
            json.dump({SOURCE[2]: {"retry": 5}}, file)
        maf = self.start_maf("--client-config", self.path("config"))
        client, other = self.client(maf), self.client(maf, OTHER)
        until = stamp(1000)
        made = self.check(client.ask("POST", "/MAFBase", CLIENT,
                                     {"adminFQDN": "m2msp.example", "expirationTime": until,
                                      "labels": ["x"]}), 2001)[CLIENT]
        self.assertEqual(made["mafClientID"], SOURCE[2])
        self.assertEqual(made["expirationTime"], until)
        path = "/" + made["resourceID"]
        self.assertEqual(self.check(client.ask("GET", path), 2000)[CLIENT], made)
        self.check(other.ask("GET", path), 4103)
        self.assertEqual(self.check(client.ask("GET", path + "/mafClientCfg"), 2000),
                         {"mafClientCfg": {"retry": 5}})
        self.check(client.ask("GET", path + "/other"), 4004)
        self.check(other.ask("GET", path + "/mafClientCfg"), 4103)
        mine = self.check(other.ask("POST", "/MAFBase", CLIENT,
                                    {"adminFQDN": "m2msp.example"}), 2001)[CLIENT]
        self.check(other.ask("GET", f"/{mine['resourceID']}/mafClientCfg"), 4004)
        self.check(client.ask("PUT", path, CLIENT, {"labels": ["y", "z"]}), 2004)
        self.assertEqual(self.check(client.ask("GET", path), 2000)[CLIENT]["labels"], ["y", "z"])
        self.check(client.ask("PUT", path, CLIENT, {"adminFQDN": "a.b"}), 4000)
        self.check(other.ask("DELETE", path), 4103)
        self.check(client.ask("DELETE", path), 2002)
        self.check(client.ask("GET", path), 4004)
        self.check(client.ask("POST", "/MAFBase", CLIENT, {}), 4000)

    def test_quotas(self):
        maf = self.start_maf("--keys-per-client", "3")
        client = self.client(maf)
        names = [self.check(client.register_key(keyValue=SUPPLIED), 2001)[KEY]["resourceID"]
                 for _ in range(3)]
        self.check(client.register_key(keyValue=SUPPLIED), 4103)
        self.check(self.client(maf, OTHER).register_key(keyValue=SUPPLIED), 2001)
        self.check(client.ask("DELETE", "/" + names[0]), 2002)
        self.check(client.register_key(keyValue=SUPPLIED), 2001)
        self.check(client.ask("PUT", "/" + names[1], KEY, {"labels": ["x"]}), 2004)
        self.check(client.register_key(keyValue=SUPPLIED), 4103)

    # ---- requests

    def test_who_asks(self):
        maf = self.start_maf()
        client = self.client(maf)
        self.check(client.ask("GET", "/x", origin=OTHER[2]), 4106)
        nameless = self.client(maf, NAMELESS)
        made = self.check(nameless.register_key(keyValue=SUPPLIED), 2001)[KEY]
        self.assertEqual(made["sourceID"], NAMELESS[0])
        wrong = self.client(maf, (SOURCE[0], "ff" * 32, SOURCE[2]))
        self.assertIsNone(wrong.read())
        maf.wait_for("event=handshake_failed")
        without = self.client(maf, options=("-legacy_renegotiation", "-no_ems"))
        self.assertIsNone(without.read())

    def test_requests_that_are_wrong(self):
        maf = self.start_maf()
        client = self.client(maf)
        self.check(client.ask("POST", "/other", KEY, {}), 4004)
        self.check(client.ask("POST", "/MAFBase"), 4000)
        self.check(client.ask("POST", "/MAFBase", KEY, {}, ty=0), 4000)
        self.check(client.ask("POST", "/MAFBase", KEY, {}, ty=3), 4000)
        self.check(client.ask("POST", "/MAFBase", CLIENT, {}, ty=10002), 4102)
        self.check(client.ask("PATCH", "/MAFBase"), 4005)
        self.check(client.ask("GET", "/"), 4004)
        self.check(client.ask("GET", "/a?b=c"), 4004)
        self.check(client.ask("GET", "/" + "a" * 400), 4004)
        client.send(b"nonsense\r\n\r\n")
        self.assertEqual(client.read().status, 400)
        self.assertIsNone(client.read())
        client = self.client(maf)
        client.send(b"POST /MAFBase HTTP/1.1\r\nContent-Length: 20000\r\n\r\n")
        self.assertEqual(client.read().status, 413)
        self.assertIsNone(client.read())
        client = self.client(maf)
        client.send(b"GET /x HTTP/1.0\r\n\r\n")
        self.assertEqual(client.read().status, 404)
        self.assertIsNone(client.read())

    def test_pipelined_answers_come_in_order(self):
        client = self.client(self.start_maf())
        for i in range(200):
            if i % 3 == 0:
                client.write("POST", "/MAFBase", KEY, {
                    "adminFQDN": "m2msp.example", "SUID": 32, "targetIDs": [TARGET[2]],
                    "keyValue": SUPPLIED})
            else:
                client.write("GET", "/x", origin=OTHER[2] if i % 3 == 1 else SOURCE[2])
        for i in range(200):
            answer = client.read()
            self.assertEqual(answer.headers["x-m2m-ri"], f"r{i + 1}")
            self.assertEqual(answer.rsc, (2001, 4106, 4004)[i % 3])

    # ---- the process

    def test_restart_keeps_what_was_acknowledged(self):
        maf = self.start_maf()
        made = self.check(self.client(maf).register_key(), 2001)[KEY]
        before = self.check(self.client(maf, TARGET).ask("GET", "/" + made["resourceID"]), 2000)
        self.assertEqual(maf.stop(), 0)
        maf = self.start_maf()
        self.assertIn("keys=1", maf.wait_for("event=ready"))
        after = self.check(self.client(maf, TARGET).ask("GET", "/" + made["resourceID"]), 2000)
        self.assertEqual(before, after)

    def test_reload(self):
        maf = self.start_maf()
        fresh = ("km-e@maf.example.com", "00" * 31 + "0e", "//m2msp.example/Sae5")
        maf_fixture.write_keys(maf.key_file, (TARGET, fresh))
        maf.process.send_signal(signal.SIGHUP)
        maf.wait_for("event=reloaded keys=2")
        self.check(self.client(maf, fresh).register_key(), 2001)
        self.assertIsNone(self.client(maf).read())
        with open(maf.key_file, "w", encoding="ascii") as file:
            file.write("nonsense\n")
        maf.process.send_signal(signal.SIGHUP)
        maf.wait_for("event=reload_failed")
        self.check(self.client(maf, fresh).register_key(), 2001)

    def test_start_that_is_refused(self):
        maf = self.start_maf()
        for options in ([], ["--listen", "x"], ["--listen", "127.0.0.1:0"], ["--nonsense"],
                        ["--listen", "127.0.0.1:0", "--psk-file", maf.key_file, "--store",
                         maf.store],  # in use
                        ["--listen", "127.0.0.1:0", "--psk-file", "/none", "--store", maf.store]):
            done = subprocess.run([maf_fixture.PROGRAMS["maf"], *options], capture_output=True,
                                  timeout=PATIENCE, check=False)
            self.assertEqual(done.returncode, 2, done)
        os.chmod(maf.key_file, 0o644)
        done = subprocess.run(
            [maf_fixture.PROGRAMS["maf"], "--listen", "127.0.0.1:0", "--psk-file", maf.key_file,
             "--store", self.path("s2")], capture_output=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 2, done)


if __name__ == "__main__":
    maf_fixture.main(__doc__, "maf")
