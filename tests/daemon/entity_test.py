#!/usr/bin/env python3
"""entity_test.py HANDFASTD HANDFASTCTL HANDFAST - whose a device, a node or a raw public key is:
the entity map, on Mca and on Mcc, reloaded under associations, and sessions that outlive a line.
Peers are OpenSSL's and GnuTLS's."""
import os
import shutil
import sys
import unittest

import certificate_test
import operation_fixture

DEVICE = "31-0.2.481.1.100.3030.10012"
NODE = "34-urn:gsma:imei:90420156-025763-0"
BOTH = 'client-flavours = {"device", "node-id"}'
MCC = "    reference-point = mcc"
REFUSED = 49


class EntityTest(certificate_test.CertificateFixture):
    def setUp(self):
        super().setUp()
        self.map = os.path.join(self.directory.name, "map")

    def write(self, *lines):
        with open(self.map, "w", encoding="ascii") as file:
            file.write("# whose they are\n" + "".join(line + "\n" for line in lines))

    def serve_map(self, *lines, listener=""):
        return self.serve(self.authority("sp", f'entity-map = "{self.map}"', *lines),
                          listener=listener)

    def told(self, daemon, who):
        answer = self.who(self.openssl(daemon, who=who, issuer=None))
        return answer["entity_kind"], answer["entity_id"]

    def refused(self, daemon, who):
        self.assertEqual(self.alert(self.openssl(daemon, who=who, issuer=None)), REFUSED)

    def test_devices_and_nodes_on_mca(self):
        self.write(f"{DEVICE} //m2msp.example/S1,//m2msp.example/S2")
        daemon = self.serve_map(BOTH)
        self.assertEqual(self.told(daemon, "device-open"),
                         ("ae-list", "//m2msp.example/S1 //m2msp.example/S2"))
        self.assertEqual(self.told(daemon, "node"), ("pending", None))
        self.write(f"{DEVICE} //m2msp.example/S1,//m2msp.example/S2",
                   f"{NODE} //m2msp.example/S3")
        self.assertEqual(daemon.ask("reload")["authorities"][0]["credentials"], 2)
        self.assertEqual(self.told(daemon, "node"), ("ae", "//m2msp.example/S3"))
        self.assertEqual(daemon.stop(), 0)

    def test_devices_and_nodes_on_mcc(self):
        self.write(f"{DEVICE} //m2msp.example/asn-cse")
        daemon = self.serve_map(BOTH, listener=MCC)
        self.assertEqual(self.told(daemon, "device-open"), ("cse", "//m2msp.example/asn-cse"))
        self.refused(daemon, "node")
        # An AE is no CSE, and a CSE is one by another credential, too.
        self.write(f"{DEVICE} //m2msp.example/S1", f"{NODE} //m2msp.example/asn-cse")
        daemon.ask("reload", "--force")
        self.refused(daemon, "device-open")
        self.assertEqual(self.told(daemon, "node"), ("cse", "//m2msp.example/asn-cse"))
        self.assertEqual(daemon.stop(), 0)

    @unittest.skipUnless(shutil.which("gnutls-cli"), "no gnutls-cli")
    def test_raw_keys(self):
        types = "+CTYPE-CLI-RAWPK:+CTYPE-SRV-X509"
        pins = os.path.join(self.directory.name, "pins")
        with open(self.path("raw-ae.ni"), encoding="ascii") as file:
            digest = file.read().strip()
        with open(pins, "w", encoding="ascii") as file:
            file.write(f"{digest} -\n")
        credential = "30-" + digest.removeprefix("ni:///").replace(";", "-")
        self.write()
        daemon = self.serve_map(f'client-rpk = "{pins}"')
        told = self.who(self.gnutls(daemon, types, "raw-ae"))
        self.assertEqual((told["entity_kind"], told["credential_id"]), ("pending", credential))
        self.write(f"{credential} //m2msp.example/S77")
        daemon.ask("reload")
        self.assertEqual(self.who(self.gnutls(daemon, types, "raw-ae"))["entity_id"],
                         "//m2msp.example/S77")
        self.assertEqual(daemon.stop(), 0)
        daemon = self.serve_map(f'client-rpk = "{pins}"', listener=MCC)
        self.assertIn(f"alert [{REFUSED}]", self.gnutls(daemon, types, "raw-ae"))
        self.write(f"{credential} //m2msp.example/mn-cse")
        daemon.ask("reload", "--force")
        self.assertEqual(self.who(self.gnutls(daemon, types, "raw-ae"))["entity_id"],
                         "//m2msp.example/mn-cse")
        self.assertEqual(daemon.stop(), 0)

    def stay_open(self, daemon, who):
        return self.stay(daemon, who, issuer=None)

    def test_a_reload_ends_those_whose_line_went_or_changed(self):
        self.write(f"{DEVICE} //m2msp.example/S1", f"{NODE} //m2msp.example/S3")
        daemon = self.serve_map(BOTH)
        device, node = self.stay_open(daemon, "device-open"), self.stay_open(daemon, "node")
        self.associations(daemon, 2)
        # What cannot be read, and what is too much at once, changes nothing.
        self.write(f"{DEVICE} //m2msp.example/S1", f"{DEVICE} //m2msp.example/S2")
        error = daemon.ask("reload", status=1)["error"]
        self.assertIn(f"{self.map}: line 3: the Credential-ID was already given in line 2", error)
        self.write(f"{DEVICE} //m2msp.example/S1", f"{NODE} //m2msp.example/S4")
        self.assertIn("remove-max", daemon.ask("reload", status=1)["error"])
        self.assertEqual(len(self.associations(daemon, 2)), 2)
        daemon.ask("reload", "--force")
        left = self.associations(daemon, 1)
        self.assertEqual(left[0]["entity_id"], "//m2msp.example/S1")
        node.wait(certificate_test.PATIENCE)
        self.assertEqual(self.told(daemon, "node"), ("ae", "//m2msp.example/S4"))
        self.assertIsNone(device.poll())
        self.write()
        daemon.ask("reload", "--force")
        device.wait(certificate_test.PATIENCE)
        self.associations(daemon, 0)
        self.assertEqual(daemon.stop(), 0)

    def test_a_session_is_resumed_as_long_as_its_line_stands(self):
        session = os.path.join(self.directory.name, "session")
        self.write(f"{DEVICE} //m2msp.example/S1", f"{NODE} //m2msp.example/S3")
        daemon = self.serve_map(BOTH, "}\nsessions {\ntickets = yes")
        def resume(who="device-open"):
            text = self.openssl(daemon, "-sess_in", session, who=who, issuer=None)
            return "Reused, TLSv1.2" in text, self.who(text)["entity_id"]
        self.openssl(daemon, "-sess_out", session, who="device-open", issuer=None)
        self.assertEqual(resume(), (True, "//m2msp.example/S1"))
        daemon.ask("reload")
        self.assertEqual(resume(), (True, "//m2msp.example/S1"))
        self.write(f"{DEVICE} //m2msp.example/S2", f"{NODE} //m2msp.example/S3")
        daemon.ask("reload", "--force")
        self.assertEqual(resume(), (False, "//m2msp.example/S2"))
        self.assertEqual(daemon.stop(), 0)

    def test_what_check_says(self):
        for lines, message in (
                ((f"{DEVICE} S1", "12-dev S1"), "line 3: whose a pre-shared key is"),
                ((f"{DEVICE} S1,/cse",), "line 2: a CSE is the only entity"),
                (("32-in-cse.m2msp.example /in-cse",), "line 2: a CSE-ID or AE-ID certificate")):
            self.write(*lines)
            done = self.check("--cert", self.path("in-cse.pem"), "--key", self.path("in-cse.key"),
                              "--client-ca", self.path("anchors.pem"), "--entity-map", self.map)
            self.assertEqual(done.returncode, 2, done)
            self.assertIn(f"{self.map}: {message}", done.stderr)
        done = self.check("--psk-file", self.map, "--entity-map", self.map)
        self.assertEqual(done.returncode, 2, done)
        self.assertIn("entity-map is for certificates", done.stderr)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    certificate_test.HANDFAST = os.path.abspath(sys.argv.pop(3))
    operation_fixture.main(__doc__)
