#!/usr/bin/env python3
"""pki_test.py HANDFAST - `handfast pki` as its users have it: what it makes is held against OpenSSL
and GnuTLS, against bytes worked out by hand, and against itself; what is wrong is refused."""
import base64
import os
import re
import subprocess
import sys
import tempfile
import unittest

HANDFAST = None
SP = "m2msp.example"
DEVICE = "0.2.481.1.100.3030.10011"
NODE = "urn:gsma:imei:90420156-025763-0"
# otherName {0.2.481.1, RELATIVE-OID 100.3030.10011}, encoded by hand: X.690 8.19, 8.20.
DEVICE_SAN = bytes.fromhex("a00f060402836101a0070d05649756ce1b")
# The generator of P-256 as a public key, and its names by Python's hashlib.
G_SPKI = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d03010703420004"
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
G_NAMES = ["ni:///sha-256;XNJS-wzokyQ2-vjM0QQJgbie5K1rn-niorfnGqyyfNM",
           "ni:///sha-256-128;XNJS-wzokyQ2-vjM0QQJgQ", "ni:///sha-256-120;XNJS-wzokyQ2-vjM0QQJ"]


def pem(kind, der):
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n"


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


class PkiCase(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()

    def tearDown(self):
        self.place.cleanup()

    def path(self, name):
        return os.path.join(self.place.name, name)

    def write(self, name, text, mode=0o600):
        with open(self.path(name), "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
        return self.path(name)

    def read(self, name):
        with open(self.path(name), encoding="ascii") as file:
            return file.read()

    def pki(self, command, *arguments, status=0):
        """Arguments that begin with @ are names in our directory. Gives what it printed."""
        arguments = [self.path(text[1:]) if text.startswith("@") else text for text in arguments]
        done = run(HANDFAST, "pki", command, *arguments)
        self.assertEqual(done.returncode, status, (command, arguments, done.stderr))
        self.assertNotIn("PRIVATE KEY", done.stdout + done.stderr)
        if status == 0:
            self.assertEqual(done.stderr, "")
        else:
            self.assertNotEqual(done.stderr, "")
            self.assertEqual(done.stdout, "")
        return done.stdout + done.stderr

    def lab(self, *constraints):
        self.pki("ca", "@root", *(constraints or ("--permit-sp", SP)), "--name", "Lab root")
        self.pki("ca", "@int", "--issuer", "@root", "--path-length", "0", "--name", "Lab")

    def show(self, name, index=0):
        """{line: value} of one object of a file; lines that repeat are lists."""
        facts = {}
        text = self.pki("show", "@" + name)
        for line in re.split(r"^(?=\S)", text, flags=re.M)[1:][index].splitlines()[1:]:
            facts.setdefault(line[2:16].strip(), []).append(line[17:])
        return {key: values if len(values) > 1 else values[0] for key, values in facts.items()}

    def openssl_verify(self, name, *more):
        done = run("openssl", "verify", "-x509_strict", "-CAfile", self.path("root.pem"),
                   "-untrusted", self.path(name), *more, self.path(name))
        return done.returncode == 0, done.stdout + done.stderr

    def gnutls_verify(self, name):
        done = run("certtool", "--verify", "--verify-profile", "medium", "--load-ca-certificate",
                   self.path("root.pem"), "--infile", self.path(name))
        return "Chain verification output: Verified" in done.stdout, done.stdout

    def accepted(self, name):
        for verify in (self.openssl_verify, self.gnutls_verify):
            is_good, text = verify(name)
            self.assertTrue(is_good, text)

    def der(self, name):
        first = self.read(name).split("-----")[2]
        return base64.b64decode(first)


class FlavourTest(PkiCase):
    def test_cse_id(self):
        self.lab()
        self.pki("cse-id", "@in", f"//{SP}/in-cse", "--issuer", "@int")
        self.pki("cse-id", "@mn", f"//{SP}/mn7", "--in-cse", "in-cse", "--issuer", "@int")
        self.pki("cse-id", "@odd", f"//{SP}/~odd", "--fqdn", f"odd.{SP}", "--issuer", "@int")
        for name, label in (("in", "in-cse"), ("mn", "mn7.in-cse"), ("odd", "odd")):
            fqdn = f"{label}.{SP}"
            self.accepted(name + ".pem")
            facts = self.show(name + ".pem")
            self.assertEqual(facts["name"], "dNSName " + fqdn)
            self.assertEqual(facts["Credential-ID"], "32-" + fqdn)
            self.assertTrue(facts["flavour"].startswith("CSE-ID"))
            self.assertEqual(facts["profile"], "good")
        self.assertIn("no domain name", self.pki("cse-id", "@x", f"//{SP}/~odd", "--issuer", "@int",
                                                 status=2))

    def test_ae_id(self):
        self.lab()
        for name, ae_id in (("s", f"//{SP}/S42"), ("c", f"//{SP}/cse/C42")):
            self.pki("ae-id", "@" + name, ae_id, "--issuer", "@int")
            self.accepted(name + ".pem")
            facts = self.show(name + ".pem")
            self.assertEqual((facts["flavour"], facts["name"], facts["Credential-ID"]),
                             ("AE-ID", "URI m2m:" + ae_id, "33-" + ae_id))
        self.pki("ae-id", "@other", f"//{SP}/S42", "--scheme", "onem2m", "--issuer", "@int")
        self.assertEqual(self.show("other.pem")["identity"], f"//{SP}/S42")
        # Without a scheme it is no URI of RFC 5280, and libraries cannot judge it by constraints.
        bare = ["ae-id", "@bare", f"//{SP}/S42", "--scheme", "none", "--issuer", "@int"]
        self.pki(*bare, status=1)
        self.pki(*bare, "--unchecked")
        self.assertEqual(self.show("bare.pem")["name"], f"URI //{SP}/S42")
        self.assertFalse(self.openssl_verify("bare.pem")[0])

    def test_node_id(self):
        self.lab("--permit-dns", "nodes." + SP)
        self.pki("node-id", "@urn", NODE, "--issuer", "@int")
        self.pki("node-id", "@oid", "1.2.840.113556.4", "--issuer", "@int")
        for name, text in (("urn", "URI " + NODE), ("oid", "registeredID 1.2.840.113556.4")):
            self.accepted(name + ".pem")
            facts = self.show(name + ".pem")
            self.assertEqual((facts["flavour"], facts["name"]), ("Node-ID", text))
            self.assertEqual(facts["Credential-ID"], "34-" + text.split()[1])

    def test_device(self):
        self.lab("--permit-dns", SP)
        self.pki("device", "@dev", DEVICE, "--issuer", "@int")
        self.accepted("dev.pem")
        facts = self.show("dev.pem")
        self.assertEqual((facts["flavour"], facts["name"], facts["Credential-ID"]),
                         ("device", "otherName " + DEVICE, "31-" + DEVICE))
        self.assertIn(DEVICE_SAN, self.der("dev.pem"))
        self.pki("device", "@own", "1.3.6.1.4.1.9.7", "--arc", "1.3.6.1.4.1", "--issuer", "@int")
        self.assertEqual(self.show("own.pem")["identity"], "1.3.6.1.4.1.9.7")
        self.pki("device", "@x", "1.3.6.1.4.1.9.7", "--issuer", "@int", status=2)
        self.pki("device", "@x", "0.2.481.1", "--issuer", "@int", status=2)

    def test_devices_by_the_dozen(self):
        self.lab("--permit-dns", SP)
        self.pki("device", "@dev", "0.2.481.1.100.3030.98", "--issuer", "@int", "--count", "12")
        keys = set()
        for number in range(12):
            facts = self.show(f"dev{number}.pem")
            self.assertEqual(facts["name"], f"otherName 0.2.481.1.100.3030.{98 + number}")
            keys.add(self.read(f"dev{number}.key"))
            self.accepted(f"dev{number}.pem")
        self.assertEqual(len(keys), 12)
        self.assertFalse(os.path.exists(self.path("dev12.pem")))
        self.assertFalse(os.path.exists(self.path("dev.pem")))
        several = ["--issuer", "@int", "--count"]
        self.pki("device", "@x", DEVICE, *several, "0", status=2)
        self.pki("device", "@x", DEVICE, *several, "2", "--key", "@dev0.key", status=2)
        self.pki("device", "@x", DEVICE + ".9999999999", *several, "2", status=2)
        self.pki("device", "@x", "nothing", *several, "2", status=2)
        self.pki("fqdn", "@x", "a." + SP, *several, "2", status=2)
        self.pki("device", "@dev", "0.2.481.1.100.3030.98", *several, "2", status=1)  # are there

    def test_fqdn(self):
        self.lab()
        self.pki("fqdn", "@maf", "maf." + SP, "--issuer", "@int")
        self.accepted("maf.pem")
        for bad in ("maf", "*.m2msp.example", "maf.m2msp.example.", "192.0.2.1", "-a.example",
                    "a..example", "a_b.example", "x" * 64 + ".example",
                    ("a" * 60 + ".") * 5 + "de"):
            self.pki("fqdn", "@x", bad, "--issuer", "@int", status=2)

    def test_raw_key(self):
        printed = self.pki("raw-key", "@raw").split()
        self.assertEqual(printed, self.pki("digest", "@raw.pub").split())
        self.assertEqual(printed, self.pki("digest", "@raw.key").split())
        spki = run("openssl", "pkey", "-pubin", "-in", self.path("raw.pub"), "-noout", "-text")
        self.assertIn("NIST CURVE: P-256", spki.stdout)
        facts = self.show("raw.pub")
        self.assertEqual(facts["name"], printed)
        self.assertEqual(facts["Credential-ID"], "30-" + printed[0][len("ni:///"):])

    def test_digests_are_right(self):
        self.write("g.pub", pem("PUBLIC KEY", G_SPKI))
        self.assertEqual(self.pki("digest", "@g.pub").split(), G_NAMES)

    def test_names_that_are_wrong(self):
        self.lab()
        for kind, name in (("cse-id", "/in-cse"), ("cse-id", "//sp/in-cse"),
                           ("cse-id", f"//{SP}/a/b"), ("cse-id", f"//{SP}/"),
                           ("ae-id", f"//{SP}/X42"), ("ae-id", f"//{SP}/C42"),
                           ("ae-id", f"//{SP}/cse/S42"), ("ae-id", f"//{SP}/S"), ("ae-id", "S42"),
                           ("node-id", "node 7"), ("node-id", "7"), ("node-id", "urn:a b"),
                           ("device", "3.1.2"), ("device", "1.40.1"), ("device", "0.2.481.1.01"),
                           ("device", "0.2.481.1."), ("device", "0.2.481.10.5")):
            self.assertIn(name, self.pki(kind, "@x", name, "--issuer", "@int", status=2))
        self.assertEqual(sorted(os.listdir(self.place.name)),
                         ["int.key", "int.pem", "root.key", "root.pem"])


class ProfileTest(PkiCase):
    def test_what_openssl_reads(self):
        self.lab()
        self.pki("cse-id", "@in", f"//{SP}/in-cse", "--issuer", "@int", "--usage", "both")
        text = run("openssl", "x509", "-in", self.path("in.pem"), "-noout", "-text").stdout
        for line in ("Version: 3", "Signature Algorithm: ecdsa-with-SHA256",
                     "NIST CURVE: P-256", "X509v3 Key Usage: critical\n                Digital Sig",
                     f"DNS:in-cse.{SP}\n", "TLS Web Server Authentication, TLS Web Client"):
            self.assertIn(line, text)
        self.assertNotIn("CN = ", text)
        text = run("openssl", "x509", "-in", self.path("int.pem"), "-noout", "-text").stdout
        for line in ("CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign",
                     "X509v3 Name Constraints: critical", "DNS:" + SP, "URI:" + SP):
            self.assertIn(line, text)

    def test_serials_are_random(self):
        self.pki("ca", "@root", "--unconstrained")
        serials = set()
        for i in range(12):
            self.pki("fqdn", f"@f{i}", "a.example", "--issuer", "@root")
            serials.add(self.show(f"f{i}.pem")["serial"])
        self.assertEqual(len(serials), 12)
        self.assertGreater(max(map(len, serials)), 30)

    def test_validity(self):
        self.lab()
        base = ["fqdn", "@f", "a." + SP, "--issuer", "@int", "--force"]
        self.pki(*base, "--not-before", "2020-01-31", "--days", "10")
        facts = self.show("f.pem")
        self.assertEqual(facts["from"], "2020-01-31T00:00:00Z")
        self.assertEqual(facts["until"], "2020-02-10T00:00:00Z (EXPIRED)")
        self.assertIn("expired", self.openssl_verify("f.pem")[1])
        self.pki(*base, "--not-before", "2051-01-01", "--not-after", "2051-06-01T12:00:01Z")
        self.assertIn("NOT YET", self.show("f.pem")["from"])
        text = run("openssl", "x509", "-in", self.path("f.pem"), "-noout", "-enddate").stdout
        self.assertEqual(text, "notAfter=Jun  1 12:00:01 2051 GMT\n")
        # No longer than the issuer, unless it is said.
        self.pki("ca", "@short", "--issuer", "@root", "--days", "3")
        self.pki("fqdn", "@g", "a." + SP, "--issuer", "@short")
        self.assertEqual(self.show("g.pem")["until"], self.show("short.pem")["until"])
        for bad in (["--days", "0"], ["--days", "-1"], ["--days", "1x"], ["--not-after", "soon"],
                    ["--days", "1", "--not-after", "2030-01-01"], ["--not-before", "2030-13-01"]):
            self.pki(*base, *bad, status=2)
        self.pki(*base, "--not-after", "2001-01-01", status=1)

    def test_long_names(self):
        label = "x" * 60
        self.lab()
        self.pki("cse-id", "@long", f"//{SP}/{label}", "--issuer", "@int")
        self.accepted("long.pem")
        text = run("openssl", "x509", "-in", self.path("long.pem"), "-noout", "-text").stdout
        self.assertIn("Alternative Name: critical", text)

    def test_show_finds_faults(self):
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
            self.path("r.key"), "-out", self.path("r.pem"), "-subj", "/CN=x", "-addext",
            "subjectAltName=DNS:*.example.com", "-addext", "basicConstraints=CA:FALSE")
        faults = "".join(self.show("r.pem")[""])
        for text in ("P-256", "ECDSA", "keyUsage", "FQDN", "wildcard"):
            self.assertIn(text, faults)
        self.assertEqual(self.show("r.pem")["profile"], "BAD")
        self.write("bad.pem", pem("CERTIFICATE", b"\x30\x03\x02\x01"))
        self.assertIn("malformed", run(HANDFAST, "pki", "show", self.path("bad.pem")).stderr)
        self.write("empty.pem", "nothing\n")
        self.pki("show", "@empty.pem", status=1)
        self.pki("show", "@missing.pem", status=1)


class ConstraintTest(PkiCase):
    def violated(self, *command, gnutls=True):
        self.assertIn("may not certify", self.pki(*command, "--issuer", "@int", status=1))
        self.pki(*command, "--issuer", "@int", "--unchecked")
        name = command[1][1:] + ".pem"
        self.assertIn("violation", self.openssl_verify(name)[1])
        if gnutls:
            self.assertFalse(self.gnutls_verify(name)[0])

    def test_dns_and_uri(self):
        self.lab()
        self.violated("cse-id", "@a", "//other.example/in-cse")
        self.violated("fqdn", "@b", "maf.other.example")
        # GnuTLS does not hold URIs against constraints.
        self.violated("ae-id", "@c", "//other.example/S42", gnutls=False)
        self.violated("ae-id", "@d", f"//sub.{SP}/S42", gnutls=False)

    def test_excluded(self):
        self.lab("--permit-dns", SP, "--exclude-dns", "bad." + SP, "--exclude-uri", SP)
        self.pki("fqdn", "@good", "good." + SP, "--issuer", "@int")
        self.accepted("good.pem")
        self.violated("fqdn", "@a", "x.bad." + SP)
        self.violated("ae-id", "@b", f"//{SP}/S42", gnutls=False)

    def test_intermediate_inherits_or_narrows(self):
        self.lab()
        self.assertEqual(self.show("int.pem")["permits"], ["dNSName " + SP, "URI " + SP])
        self.pki("ca", "@narrow", "--issuer", "@root", "--permit-dns", "maf." + SP)
        self.assertIn("may not", self.pki("fqdn", "@a", "mef." + SP, "--issuer", "@narrow",
                                          status=1))
        self.pki("fqdn", "@a", "maf." + SP, "--issuer", "@narrow")
        self.accepted("a.pem")

    def test_devices(self):
        self.lab("--permit-device", "0.2.481.1.100", "--exclude-device", "0.2.481.1.100.6")
        self.pki("device", "@good", DEVICE, "--issuer", "@int")
        # Others cannot judge it: OpenSSL says so, GnuTLS refuses the authority altogether.
        self.assertIn("unsupported name constraint type", self.openssl_verify("good.pem")[1])
        for bad in ("0.2.481.1.101.1", "0.2.481.1.1001", "0.2.481.1.100.6.1"):
            self.assertIn("may not", self.pki("device", "@bad", bad, "--issuer", "@int", status=1))
        self.assertEqual(self.show("int.pem")["excludes"], "otherName 0.2.481.1.100.6")

    def test_root_must_say(self):
        self.assertIn("--unconstrained", self.pki("ca", "@root", status=2))
        self.pki("ca", "@root", "--permit-dns", "*.example.com", status=2)
        self.pki("ca", "@root", "--unconstrained")
        self.assertNotIn("permits", self.show("root.pem"))

    def test_path_length(self):
        self.lab()
        self.assertIn("path length", self.pki("ca", "@deeper", "--issuer", "@int", status=1))
        self.pki("ca", "@deeper", "--issuer", "@int", "--unchecked")
        self.pki("fqdn", "@f", "a." + SP, "--issuer", "@deeper", "--unchecked")
        self.assertIn("path length", self.openssl_verify("f.pem")[1])


class RevocationTest(PkiCase):
    def status(self, name):
        is_good, text = self.openssl_verify(name, "-crl_check", "-CRLfile", self.path("int.crl"))
        return "good" if is_good else text

    def test_revoke_and_renew(self):
        self.lab()
        for name in ("a", "b", "c"):
            self.pki("fqdn", "@" + name, f"{name}.{SP}", "--issuer", "@int")
        self.pki("crl", "@int")
        self.assertEqual(self.status("a.pem"), "good")
        self.pki("revoke", "@int", "@a.pem", "--reason", "keyCompromise")
        self.assertIn("revoked", self.status("a.pem"))
        self.assertEqual(self.status("b.pem"), "good")
        self.pki("revoke", "@int", "--serial", self.show("b.pem")["serial"])
        self.pki("revoke", "@int", "@a.pem", "@c.pem")  # again is no error, and no second entry
        self.assertIn("revoked", self.status("b.pem"))
        self.pki("crl", "@int", "--days", "7")
        text = run("openssl", "crl", "-in", self.path("int.crl"), "-noout", "-text").stdout
        self.assertEqual(text.count("Serial Number"), 3)
        self.assertEqual(text.count("Key Compromise"), 1)
        self.assertRegex(text, r"CRL Number: *\n *5\n")
        self.assertEqual(self.show("int.crl")["revoked"], "3")
        self.assertRegex(self.show("int.crl")["until"], r"\(in [67] days\)")

    def test_expired_list(self):
        self.lab()
        self.pki("fqdn", "@a", "a." + SP, "--issuer", "@int")
        self.pki("crl", "@int", "--not-before", "2020-01-01", "--days", "2")
        self.assertIn("expired", self.status("a.pem"))

    def test_refusals(self):
        self.lab()
        self.pki("fqdn", "@a", "a." + SP, "--issuer", "@int")
        self.assertIn("not issued by", self.pki("revoke", "@root", "@a.pem", status=1))
        self.assertFalse(os.path.exists(self.path("root.crl")))
        self.pki("revoke", "@int", status=2)
        self.pki("revoke", "@int", "@a.pem", "--reason", "boredom", status=2)
        self.pki("revoke", "@int", "--serial", "xyz", status=1)
        self.pki("crl", "@root")
        os.rename(self.path("root.crl"), self.path("int.crl"))
        self.assertIn("not signed by", self.pki("crl", "@int", status=1))
        self.write("int.crl", "rubbish\n", 0o644)
        self.pki("crl", "@int", status=1)
        self.assertEqual(self.read("int.crl"), "rubbish\n")


class FileTest(PkiCase):
    def test_modes(self):
        os.umask(0)
        self.lab()
        self.pki("raw-key", "@raw")
        for name, mode in (("root.key", 0o600), ("raw.key", 0o600), ("root.pem", 0o644),
                           ("raw.pub", 0o644)):
            self.assertEqual(os.stat(self.path(name)).st_mode & 0o777, mode, name)

    def test_nothing_is_overwritten(self):
        self.lab()
        before = {name: self.read(name) for name in os.listdir(self.place.name)}
        self.assertIn("--force", self.pki("ca", "@root", "--unconstrained", status=1))
        os.remove(self.path("root.pem"))
        self.pki("ca", "@root", "--unconstrained", status=1)  # the key is still there
        self.pki("raw-key", "@root", status=1)
        self.assertEqual(self.read("root.key"), before["root.key"])
        self.pki("ca", "@root", "--unconstrained", "--force")
        self.assertNotEqual(self.read("root.key"), before["root.key"])
        self.assertEqual([name for name in os.listdir(self.place.name) if name.count(".") != 1], [])

    def test_renewal_keeps_the_key(self):
        self.lab()
        self.pki("fqdn", "@a", "a." + SP, "--issuer", "@int")
        key = self.pki("digest", "@a.key")
        self.pki("fqdn", "@a", "a." + SP, "--issuer", "@int", "--key", "@a.key", "--force")
        self.pki("fqdn", "@b", "a." + SP, "--issuer", "@int", "--public-key", "@a.pem")
        self.assertEqual([self.pki("digest", name) for name in ("@a.key", "@a.pem", "@b.pem")],
                         [key] * 3)
        self.assertFalse(os.path.exists(self.path("b.key")))

    def test_bad_input(self):
        self.lab()
        run("openssl", "ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out",
            self.path("p384.key"))
        os.chmod(self.path("p384.key"), 0o600)
        base = ["fqdn", "@x", "a." + SP, "--issuer", "@int"]
        self.assertIn("P-256", self.pki(*base, "--key", "@p384.key", status=1))
        os.chmod(self.path("int.key"), 0o640)
        self.assertIn("chmod 600", self.pki(*base, status=1))
        os.chmod(self.path("int.key"), 0o600)
        os.rename(self.path("root.key"), self.path("int.key"))
        self.assertIn("not the key", self.pki(*base, status=1))
        self.pki("fqdn", "@leaf", "a." + SP, "--issuer", "@missing", status=1)
        self.pki("raw-key", "@raw")
        os.chmod(self.path("raw.pub"), 0o600)
        self.assertIn("no private key", self.pki("raw-key", "@y", "--key", "@raw.pub", status=1))
        self.assertFalse(os.path.exists(self.path("x.pem")))

    def test_a_leaf_is_no_issuer(self):
        self.lab()
        self.pki("fqdn", "@a", "a." + SP, "--issuer", "@int")
        self.assertIn("authority", self.pki("fqdn", "@b", "a." + SP, "--issuer", "@a", status=1))

    def test_command_line(self):
        for wrong in (["nonsense"], ["ca"], ["ca", "@a", "@b"], ["ca", "@a", "--nonsense"],
                      ["ca", "@a", "--fqdn", "x.example"], ["fqdn", "@a", "x.example"],
                      ["crl", "@a", "--force"], ["show"], ["ca", "@a", "--path-length", "17"],
                      ["raw-key", "@a", "--key", "x", "--public-key", "y"], ["raw-key", ""]):
            self.pki(*wrong, status=2)
        for right in (["--help"], ["ca", "--help"]):
            self.assertTrue(self.pki(*right).startswith("usage: handfast pki"))
        done = run(HANDFAST, "--help")
        self.assertIn("  pki ", done.stdout)


if __name__ == "__main__":
    HANDFAST = os.path.abspath(sys.argv.pop(1))
    unittest.main()
