#!/usr/bin/env python3
"""signer_test.py HANDFASTD HANDFASTCTL HANDFAST HANDFAST_SIGNER - keys of the daemon that a remote
signer has: it comes, goes, comes back, and has the wrong key. Peers are OpenSSL's and GnuTLS's."""
import os
import shutil
import subprocess
import sys
import time
import unittest

import certificate_test
import operation_fixture
from process_test import KEY, PATIENCE

SIGNER = None


class SignerTest(certificate_test.CertificateFixture):
    def setUp(self):
        super().setUp()
        self.signer_socket = os.path.join(self.directory.name, "signer")

    def start_signer(self, key="in-cse", *options):
        process = subprocess.Popen(
            [SIGNER, "--socket", self.signer_socket, "--key", f"own={self.path(key)}.key",
             *options], stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.stop_signer, process)
        self.assertIn("1 keys on", process.stderr.readline())
        return process

    def stop_signer(self, process):
        process.kill()
        process.wait(PATIENCE)
        process.stderr.close()

    def signed_authority(self, *lines):
        return "\n".join([
            'authority "sp" {', f'certificate = "{self.path("in-cse")}.pem"',
            f'key = "signer:{self.signer_socket}#own"',
            f'client-ca = "{self.path("anchors.pem")}"', *lines, "}"])

    def serve_signed(self, *lines, process="shards = 1"):
        text = certificate_test.CONFIG.format(names='"sp"', listener="",
                                              authorities=self.signed_authority(*lines))
        text += 'metrics { address = "127.0.0.1:0" }\n'
        return self.start_daemon(text.replace("shards = 1", process))

    def total(self, daemon, name):
        """Once the shard has published it."""
        time.sleep(1.2)
        return sum(float(line.rsplit(" ", 1)[1]) for line in daemon.get("/metrics").splitlines()
                   if line.startswith(name))

    def test_it_signs_comes_and_goes(self):
        signer = self.start_signer()
        daemon = self.serve_signed('psk-file = "{keys}"')
        for _ in range(3):
            self.assertEqual(self.who(self.openssl(daemon))["framework"], "certificate")
        self.assertEqual(self.total(daemon, 'handfast_signer_answers_total{outcome="signed"}'), 3)
        self.assertEqual(self.total(daemon, "handfast_signer_waiting"), 0)
        stays = self.stay(daemon, "ae")
        self.associations(daemon, 1)
        self.stop_signer(signer)
        began = time.monotonic()
        self.assertEqual(self.alert(self.openssl(daemon)), 80)
        self.assertLess(time.monotonic() - began, 8)
        daemon.wait_for("reason=signer")
        # Whoever needs no signature is served, before and after.
        told = self.who(self.openssl(daemon, "-psk", KEY, "-psk_identity", "dev", who=None))
        self.assertEqual(told["framework"], "provisioned-symmetric-key")
        self.assertIsNone(stays.poll())
        self.start_signer()
        self.assertEqual(self.who(self.openssl(daemon))["framework"], "certificate")
        self.assertEqual(self.total(daemon, 'handfast_signer_answers_total{outcome="timeout"}'), 1)
        self.assertEqual(daemon.stop(), 0)

    def test_the_wrong_key_is_found_out(self):
        signer = self.start_signer()
        daemon = self.serve_signed()
        self.who(self.openssl(daemon))
        self.stop_signer(signer)
        signer = self.start_signer("ae")
        self.assertEqual(self.alert(self.openssl(daemon)), 80)
        daemon.wait_for("reason=signature")
        refusal = daemon.ask("reload", status=1)
        self.assertIn("not that of the certificate", refusal["error"])
        self.stop_signer(signer)
        daemon.ask("reload")  # nobody to ask: it may come back
        daemon.wait_for("signer_unreachable")
        self.start_signer()
        self.who(self.openssl(daemon))
        self.assertEqual(daemon.stop(), 0)

    def test_stopping_while_a_signature_is_owed(self):
        signer = self.start_signer()
        daemon = self.serve_signed()
        self.who(self.openssl(daemon))
        signer.send_signal(19)  # SIGSTOP: it is there, and silent
        client = self.stay(daemon, "ae")
        time.sleep(0.5)
        self.assertEqual(daemon.stop(), 0)
        client.wait(PATIENCE)

    @unittest.skipUnless(shutil.which("gnutls-cli"), "no gnutls-cli")
    def test_a_raw_key(self):
        pins = os.path.join(self.directory.name, "pins")
        with open(self.path("raw-ae.ni"), encoding="ascii") as file:
            digest = file.read().strip()
        with open(pins, "w", encoding="ascii") as file:
            file.write(f"{digest} //m2msp.example/S77\n")
        lines = f'''authority "sp" {{
            rpk-key = "signer:{self.signer_socket}#own"
            client-rpk = "{pins}"
        }}'''
        text = certificate_test.CONFIG.format(names='"sp"', listener="", authorities=lines)
        done = self.check_text(text)
        self.assertEqual(done.returncode, 2)
        self.assertIn("No such file", done.stderr)
        self.start_signer("raw-in-cse")
        daemon = self.start_daemon(text)
        told = self.who(self.gnutls(daemon, "+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK", "raw-ae"))
        self.assertEqual(told["entity_id"], "//m2msp.example/S77")
        self.assertEqual(daemon.stop(), 0)

    def check_text(self, text):
        path = os.path.join(self.directory.name, "check.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(text.replace("{socket}", os.path.join(self.directory.name, "control")))
        return subprocess.run([certificate_test.process_test.HANDFASTD, "--config", path,
                               "--check"], capture_output=True, text=True, timeout=PATIENCE,
                              check=False)

    def test_names_that_are_none(self):
        for name in ("signer:", "signer:/x", "signer:#own", "signer:/x#"):
            text = certificate_test.CONFIG.format(
                names='"sp"', listener="", authorities=self.signed_authority().replace(
                    f"signer:{self.signer_socket}#own", name))
            done = self.check_text(text)
            self.assertEqual(done.returncode, 2, name)
            self.assertIn("not signer:PATH#LABEL", done.stderr)

    @unittest.skipUnless(os.geteuid() == 0, "only root can give up privileges")
    def test_behind_a_filter(self):
        os.chmod(self.directory.name, 0o755)
        signer = self.start_signer("in-cse", "--socket-mode", "0666", "--allow-uid", "65534")
        daemon = self.serve_signed(process="shards = 1\n user = nobody\n seccomp = yes")
        self.who(self.openssl(daemon))
        self.stop_signer(signer)
        self.start_signer("in-cse", "--socket-mode", "0666", "--allow-uid", "65534")
        self.who(self.openssl(daemon))
        self.assertEqual(daemon.stop(), 0)


def load_tests(loader, _tests, _pattern):
    """Not those of the class this one takes its peers from."""
    own = [name for name in vars(SignerTest) if name.startswith("test_")]
    return unittest.TestSuite(SignerTest(name) for name in own)


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    SIGNER = os.path.abspath(sys.argv.pop(4))
    certificate_test.HANDFAST = os.path.abspath(sys.argv.pop(3))
    operation_fixture.main(__doc__)
