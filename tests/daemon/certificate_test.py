#!/usr/bin/env python3
"""certificate_test.py HANDFASTD HANDFASTCTL HANDFAST - certificates and raw public keys through the
daemon: who gets in and as whom, several authorities by server name, pre-shared keys beside, and a
reload that ends only those it revokes. Peers are OpenSSL's and GnuTLS's."""
import json
import os
import re
import shutil
import subprocess
import sys
import time
import unittest

import operation_fixture
import process_test
from process_test import KEY, PATIENCE

HERE = os.path.dirname(os.path.abspath(__file__))
HANDFAST = None
PRIORITY = ("NONE:+VERS-TLS1.2:+ECDHE-ECDSA:+AES-128-CBC:+SHA256:+AES-128-GCM:+AEAD:"
            "+GROUP-SECP256R1:+SIGN-ECDSA-SHA256:+COMP-NULL")
CONFIG = """
listener "tls" {{
    transport = tls
    address = "127.0.0.1:0"
    authority = {{{names}}}
    respond = whoami
{listener}
}}
control {{ socket = "{{socket}}" }}
process {{ shards = 1 }}
{authorities}
"""


class CertificateFixture(operation_fixture.OperationFixture):
    """The lab's certificates, and a daemon that has some of them."""
    @classmethod
    def setUpClass(cls):
        cls.pki = os.path.join(os.environ.get("TMPDIR", "/tmp"),
                               f"hf-pki-{os.getpid()}-{cls.__name__}")
        subprocess.run(["sh", os.path.join(HERE, "../support/pki.sh"), HANDFAST, cls.pki],
                       check=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.pki)

    def path(self, name):
        return os.path.join(self.pki, name)

    def authority(self, name, *lines, certificate="in-cse"):
        return "\n".join([
            f'authority "{name}" {{', f'certificate = "{self.path(certificate)}.pem"',
            f'key = "{self.path(certificate)}.key"', f'client-ca = "{self.path("anchors.pem")}"',
            *lines, "}"])

    def serve(self, *authorities, listener=""):
        names = re.findall(r'authority "(\w+)"', "\n".join(authorities))
        text = CONFIG.format(names=", ".join(f'"{name}"' for name in names), listener=listener,
                             authorities="\n".join(authorities))
        return self.start_daemon(text)

    def who(self, text):
        found = re.search(r'\{"entity_id".*\}', text)
        self.assertIsNotNone(found, text)
        return json.loads(found.group(0))

    def openssl(self, daemon, *options, who="ae", issuer="sp", anchor="root", text=None):
        """What s_client says, having asked whoami."""
        own = ["-cert", self.path(f"{who}.pem"), "-key", self.path(f"{who}.key")] if who else []
        if who and issuer:
            own += ["-cert_chain", self.path(f"{issuer}.pem")]
        done = subprocess.run(
            ["openssl", "s_client", "-tls1_2", "-ign_eof", "-verify_return_error", "-connect",
             f"127.0.0.1:{daemon.port('tls')}", "-CAfile", self.path(f"{anchor}.pem"), *own,
             *options], input=text or "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            capture_output=True, text=True, timeout=PATIENCE, check=False)
        return done.stdout + done.stderr

    def alert(self, text):
        found = re.search(r"SSL alert number (\d+)", text)
        self.assertIsNotNone(found, text)
        return int(found.group(1))

    def gnutls_command(self, daemon, types, who):
        return ["gnutls-cli", "-p", str(daemon.port("tls")), "127.0.0.1", "--rawpkkeyfile",
                self.path(f"{who}.key"), "--rawpkfile", self.path(f"{who}.pub"), "--priority",
                f"{PRIORITY}:{types}", "--no-ca-verification", "--insecure"]

    def gnutls(self, daemon, types, who):
        done = subprocess.run(
            self.gnutls_command(daemon, types, who), capture_output=True, text=True,
            input="GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", timeout=PATIENCE,
            check=False)
        return done.stdout + done.stderr

    def client_of(self, daemon, types, who):
        process = subprocess.Popen(self.gnutls_command(daemon, types, who), stdin=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def stay(self, daemon, who, issuer="sp"):
        chain = ["-cert_chain", self.path(f"{issuer}.pem")] if issuer else []
        process = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-tls1_2", "-connect",
             f"127.0.0.1:{daemon.port('tls')}", "-cert", self.path(f"{who}.pem"), "-key",
             self.path(f"{who}.key"), *chain],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def check(self, *options, listener=("--dtls", "127.0.0.1:0")):
        return subprocess.run([process_test.HANDFASTD, "--check", *listener, *options],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)


class CertificateTest(CertificateFixture):
    def test_every_flavour_is_who_it_is(self):
        flavours = 'client-flavours = {"cse-id", "ae-id"}'
        daemon = self.serve(self.authority("sp", flavours, f'crl = "{self.path("all.crl")}"'))
        for who, entity, kind, credential in (
                ("ae", "//m2msp.example/S42", "ae", "33-//m2msp.example/S42"),
                ("ae-behind-cse", "//m2msp.example/in-cse/C42", "ae",
                 "33-//m2msp.example/in-cse/C42"),
                ("mn-cse", "//m2msp.example/mn-cse.in-cse", "cse", None)):
            told = self.who(self.openssl(daemon, who=who))
            self.assertEqual(told["framework"], "certificate")
            self.assertEqual(told["entity_kind"], kind)
            if credential:
                self.assertEqual((told["entity_id"], told["credential_id"]), (entity, credential))
        for who, issuer, alert in (("ae-revoked", "sp", 44), ("ae-expired", "sp", 45),
                                   (None, None, 40)):
            self.assertEqual(self.alert(self.openssl(daemon, who=who, issuer=issuer)), alert, who)
        self.assertEqual(daemon.stop(), 0)

    def test_a_device_is_told_by_its_credential_on_mca_and_refused_on_mcc(self):
        flavours = 'client-flavours = {"device"}'
        daemon = self.serve(self.authority("sp", flavours))
        told = self.who(self.openssl(daemon, who="device-open", issuer=None))
        self.assertEqual(told["entity_kind"], "pending")
        self.assertEqual(told["credential_id"], "31-0.2.481.1.100.3030.10012")
        self.assertEqual(daemon.stop(), 0)
        daemon = self.serve(self.authority("sp", flavours), listener="    reference-point = mcc")
        self.assertEqual(self.alert(self.openssl(daemon, who="device-open", issuer=None)), 49)
        self.assertEqual(daemon.stop(), 0)

    def test_authorities_by_server_name(self):
        daemon = self.serve(
            self.authority("one"),
            self.authority("two", 'server-name = "Other.Example"', certificate="other-in-cse"))
        self.who(self.openssl(daemon, "-noservername"))
        self.who(self.openssl(daemon, "-servername", "other.example", anchor="other-root"))
        text = self.openssl(daemon, "-servername", "third.example")
        self.assertEqual(self.alert(text), 112)
        self.assertEqual(daemon.stop(), 0)

    def test_pre_shared_keys_beside(self):
        daemon = self.serve(self.authority("sp", 'psk-file = "{keys}"'))
        self.assertEqual(self.who(self.openssl(daemon))["framework"], "certificate")
        for suites in ((), ("-cipher", "ECDHE-ECDSA-AES128-SHA256:PSK-AES128-CBC-SHA256")):
            told = self.who(self.openssl(daemon, "-psk", KEY, "-psk_identity", "dev", *suites,
                                         who=None))
            self.assertEqual(told["framework"], "provisioned-symmetric-key")
        self.assertEqual(daemon.stop(), 0)

    @unittest.skipUnless(shutil.which("gnutls-cli"), "no gnutls-cli")
    def test_raw_public_keys(self):
        pins = os.path.join(self.directory.name, "pins")
        with open(self.path("raw-ae.ni"), encoding="ascii") as file:
            digest = file.read().strip()
        with open(pins, "w", encoding="ascii") as file:
            file.write(f"{digest} //m2msp.example/S77\n")
        daemon = self.serve(self.authority("sp", f'client-rpk = "{pins}"'))
        for types in ("+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK", "+CTYPE-CLI-RAWPK:+CTYPE-SRV-X509",
                      "+CTYPE-CLI-RAWPK:+CTYPE-SRV-X509:+CTYPE-SRV-RAWPK"):
            for who, entity in (("raw-ae", "//m2msp.example/S77"), ("raw-in-cse", None)):
                text = self.gnutls(daemon, types, who)
                if entity:
                    self.assertEqual(self.who(text)["entity_id"], entity)
                else:
                    self.assertIn("alert [46]", text)
        # Whoever is pinned no longer is no longer there.
        client = self.client_of(daemon, "+CTYPE-CLI-RAWPK:+CTYPE-SRV-X509", "raw-ae")
        self.associations(daemon, 1)
        with open(pins, "w", encoding="ascii") as file:
            file.write("# nobody\nsha-256;YIk-40dRSggpNwog1vVgba3FXkanbuihrDno-fEJxzQ -\n")
        daemon.ask("reload")
        self.associations(daemon, 0)
        client.wait(PATIENCE)
        self.assertEqual(daemon.stop(), 0)

    def test_a_reload_ends_only_those_it_revokes(self):
        crl = os.path.join(self.directory.name, "crl")
        shutil.copy(self.path("root.crl"), crl)
        daemon = self.serve(self.authority("sp", f'crl = "{crl}"'))
        stays, goes = self.stay(daemon, "ae"), self.stay(daemon, "ae-revoked")
        self.associations(daemon, 2)
        daemon.ask("reload")
        time.sleep(1.5)
        self.assertEqual(len(self.associations(daemon, 2)), 2)  # renewed as it was: nobody ends
        shutil.copy(self.path("all.crl"), crl)
        daemon.ask("reload")
        left = self.associations(daemon, 1)
        self.assertEqual(left[0]["entity_id"], "//m2msp.example/S42")
        goes.wait(PATIENCE)
        self.assertIsNone(stays.poll())
        self.assertEqual(self.alert(self.openssl(daemon, who="ae-revoked")), 44)
        # What cannot be read changes nothing.
        with open(crl, "w", encoding="ascii") as file:
            file.write("no CRL\n")
        daemon.ask("reload", status=1)
        self.assertEqual(self.alert(self.openssl(daemon, who="ae-revoked")), 44)
        self.who(self.openssl(daemon))
        self.assertEqual(daemon.stop(), 0)

    def test_check_knows_what_is_wrong_and_what_expires(self):
        good = ("--cert", self.path("in-cse.pem"), "--key", self.path("in-cse.key"),
                "--client-ca", self.path("anchors.pem"))
        self.assertEqual(self.check(*good).returncode, 0)
        self.assertEqual(self.check(*good, "--warn-expiry", "30").returncode, 0)
        soon = self.check(*good, "--warn-expiry", "3000")
        self.assertEqual(soon.returncode, 1)
        self.assertIn("certificate expires in", soon.stderr)
        wrong_key = list(good)
        wrong_key[3] = self.path("ae.key")
        for options, message in (
                (good[:2] + good[4:], "go together"), (good[:4], "whom to believe"),
                (wrong_key, "in-cse.pem"), ((*good, "--client-flavours", "fqdn"), "fqdn"),
                ((*good, "--crl", self.path("in-cse.pem")), "crl"),
                (("--client-ca", good[5]), "--psk-file")):
            done = self.check(*options)
            self.assertEqual(done.returncode, 2, done)
            self.assertIn(message, done.stderr)
        self.assertNotIn("expir", self.check(*good).stderr)
        subprocess.run([HANDFAST, "pki", "cse-id", self.path("old"), "//m2msp.example/in-cse",
                        "--issuer", self.path("sp"), "--not-before", "2020-01-01", "--not-after",
                        "2020-02-01", "--unchecked"], check=True, timeout=PATIENCE)
        over = ("--cert", self.path("old.pem"), "--key", self.path("old.key"), *good[4:])
        done = self.check(*over)  # said unasked, but no reason to refuse a file
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("the certificate has expired", done.stderr)
        wrong = self.check(*good[:4], "--client-ca", self.path("in-cse.key"))
        self.assertIn(f"{self.path('in-cse.key')}: ", wrong.stderr)
        self.assertEqual(wrong.returncode, 2, wrong)
        os.chmod(self.path("maf.key"), 0o644)
        done = self.check("--cert", self.path("maf.pem"), "--key", self.path("maf.key"), *good[4:])
        self.assertEqual(done.returncode, 2, done)
        self.assertIn("chmod", done.stderr)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    HANDFAST = os.path.abspath(sys.argv.pop(3))
    operation_fixture.main(__doc__)
