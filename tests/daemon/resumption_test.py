#!/usr/bin/env python3
"""resumption_test.py HANDFASTD HANDFASTCTL HANDFAST - sessions resumed by ticket and by ID, with
pre-shared keys and certificates, over TLS and DTLS, by OpenSSL and GnuTLS; what ends a session;
and two daemons that share their secrets."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import certificate_test
import operation_fixture
import process_test
from process_test import KEY, PATIENCE

OTHER_KEY = "ffeeddccbbaa99887766554433221100"
TICKETS = "sessions { tickets = yes }"
CACHE = "sessions { cache = 1000 }"
DTLS = """
listener "dtls" { transport = dtls address = "127.0.0.1:0" authority = "sp" respond = whoami }
"""
ASKS = {"tls": "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "dtls": ""}


class ResumptionTest(certificate_test.CertificateFixture):
    def setUp(self):
        super().setUp()
        self.session = os.path.join(self.directory.name, "session")

    def openssl(self, daemon, *options, transport="tls"):
        kind = {"tls": "-tls1_2", "dtls": "-dtls1_2"}[transport]
        done = subprocess.run(
            ["openssl", "s_client", kind, "-connect", f"127.0.0.1:{daemon.port(transport)}",
             *(["-ign_eof"] if transport == "tls" else []), *options], input=ASKS[transport],
            capture_output=True, text=True, timeout=PATIENCE, check=False)
        return done.stdout + done.stderr

    def certificate(self, daemon, *options, who="ae", **named):
        return self.openssl(daemon, "-cert", self.path(f"{who}.pem"), "-key",
                            self.path(f"{who}.key"), "-cert_chain", self.path("sp.pem"), *options,
                            **named)

    def psk(self, daemon, *options, key=KEY, **named):
        suite = "PSK-AES128-CCM8" if named.get("transport") == "dtls" else "PSK-AES128-CBC-SHA256"
        return self.openssl(daemon, "-psk", key, "-psk_identity", "dev", "-cipher",
                            f"{suite}:@SECLEVEL=0", *options, **named)

    def is_resumed(self, text):
        found = re.search(r"^(New|Reused), ", text, re.M)
        self.assertIsNotNone(found, text)
        return found.group(1) == "Reused"

    def both(self, connect, daemon, *options, **named):
        """A full handshake whose session is kept, and then one that offers it."""
        first = connect(daemon, "-sess_out", self.session, *options, **named)
        self.assertFalse(self.is_resumed(first))
        return self.again(connect, daemon, *options, **named)

    def again(self, connect, daemon, *options, **named):
        return connect(daemon, "-sess_in", self.session, *options, **named)

    def test_every_way(self):
        for block in (TICKETS, CACHE):
            daemon = self.serve(self.authority("sp", 'psk-file = "{keys}"'), DTLS, block)
            count = 0
            for connect in (self.certificate, self.psk):
                for transport in ("tls", "dtls"):
                    text = self.both(connect, daemon, transport=transport)
                    self.assertTrue(self.is_resumed(text), (block, connect, transport))
                    count += 1
                    if transport == "tls":
                        framework = self.who(text)["framework"]
                        self.assertEqual(framework, "certificate" if connect == self.certificate
                                         else "provisioned-symmetric-key")
            daemon.wait_for("resumed=yes")
            self.assertEqual(daemon.stop(), 0)

    def test_off_by_default(self):
        daemon = self.serve(self.authority("sp", 'psk-file = "{keys}"'))
        first = self.certificate(daemon, "-sess_out", self.session)
        self.assertFalse(self.is_resumed(first))
        self.assertFalse(os.path.exists(self.session))  # nothing was given to resume
        self.assertEqual(daemon.stop(), 0)

    def test_a_removed_or_changed_key_ends_its_sessions(self):
        for block in (TICKETS, CACHE):
            daemon = self.serve(self.authority("sp", 'psk-file = "{keys}"', "remove-max = 100"),
                                block)
            self.assertTrue(self.is_resumed(self.both(self.psk, daemon)))
            operation_fixture.write_keys(daemon.key_file, f"dev:{OTHER_KEY}:/in-cse/Cdev\n")
            daemon.ask("reload")
            text = self.again(self.psk, daemon, key=OTHER_KEY)
            self.assertFalse(self.is_resumed(text))
            self.assertEqual(self.who(text)["credential_id"], "12-dev")
            self.assertEqual(daemon.stop(), 0)

    def test_a_revoked_certificate_ends_its_sessions(self):
        crl = os.path.join(self.directory.name, "crl")
        for block in (TICKETS, CACHE):
            shutil.copy(self.path("root.crl"), crl)
            daemon = self.serve(self.authority("sp", f'crl = "{crl}"'), block)
            text = self.both(self.certificate, daemon, who="ae-revoked")
            self.assertTrue(self.is_resumed(text))
            shutil.copy(self.path("all.crl"), crl)
            daemon.ask("reload")
            text = self.again(self.certificate, daemon, who="ae-revoked")
            self.assertIn("alert number 44", text)
            self.assertEqual(daemon.stop(), 0)

    def secrets(self, *arguments):
        path = os.path.join(self.directory.name, "secrets")
        subprocess.run([operation_fixture.HANDFASTCTL, "secrets", "rotate", "--file", path,
                        *arguments], check=True, capture_output=True)
        return path

    def test_two_daemons_share_their_secrets(self):
        path = self.secrets()
        block = f'sessions {{ tickets = yes\n shared-secrets = "{path}" }}'
        daemon = self.serve(self.authority("sp"), block)
        self.assertTrue(self.is_resumed(self.both(self.certificate, daemon)))
        mine = self.directory
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        other = self.serve(self.authority("sp"), block)
        self.directory = mine
        text = self.again(self.certificate, other)
        self.assertTrue(self.is_resumed(text))
        self.assertEqual(self.who(text)["entity_id"], "//m2msp.example/S42")
        # A secret to come is accepted before its time; one withdrawn is not.
        self.secrets("--in", "3600")
        other.ask("reload")
        self.assertTrue(self.is_resumed(self.again(self.certificate, other)))
        os.unlink(path)
        self.secrets()
        other.ask("reload")
        self.assertFalse(self.is_resumed(self.again(self.certificate, other)))
        # What cannot be read changes nothing.
        with open(path, "w", encoding="ascii") as file:
            file.write("nonsense\n")
        self.assertIn(f"{path}:1:", other.ask("reload", status=1)["error"])
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(other.stop(), 0)

    @unittest.skipUnless(shutil.which("gnutls-cli"), "no gnutls-cli")
    def test_gnutls(self):
        for block, extra in ((TICKETS, ""), (CACHE, ":%NO_TICKETS")):
            daemon = self.serve(self.authority("sp"), block)
            done = subprocess.run(
                ["gnutls-cli", "-p", str(daemon.port("tls")), "127.0.0.1", "--resume",
                 "--x509certfile", self.path("ae.pem"), "--x509keyfile", self.path("ae.key"),
                 "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2" + extra, "--insecure",
                 "--no-ca-verification"], input=ASKS["tls"], capture_output=True, text=True,
                timeout=PATIENCE, check=False)
            self.assertIn("This is a resumed session", done.stdout, done.stdout + done.stderr)
            self.assertEqual(daemon.stop(), 0)

    def test_lifetime(self):
        path = self.secrets()
        for lines, message in (("cache = 16777217", "number from 0 to"),
                               ("lifetime = \"60s\"", "session_s_max"),
                               (f'shared-secrets = "{path}x"', "No such file")):
            config = os.path.join(self.directory.name, "check.conf")
            with open(config, "w", encoding="ascii") as file:
                file.write('listener "t" { transport = tls address = "127.0.0.1:0" '
                           'authority = "sp" }\n'
                           f'{self.authority("sp")}\nsessions {{ {lines} }}\n')
            done = subprocess.run([process_test.HANDFASTD, "--check", "--config", config],
                                  capture_output=True, text=True, timeout=PATIENCE, check=False)
            self.assertEqual(done.returncode, 2, done)
            self.assertIn(message, done.stderr)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    certificate_test.HANDFAST = os.path.abspath(sys.argv.pop(3))
    operation_fixture.main(__doc__)
