#!/usr/bin/env python3
"""signer_test.py HANDFAST_SIGNER - the signer as a process: its protocol, its keys, what it
refuses. OpenSSL checks the signatures. SoftHSM2 is tried where it is installed; HF_SOFTHSM names
the root of another place where it is."""
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

SIGNER = ""
PATIENCE = 10
SIGN, KEY = 1, 2
DONE, UNKNOWN, FAILED, MALFORMED = range(4)
SOFTHSM_ROOT = os.environ.get("HF_SOFTHSM", "/")


def openssl(*arguments, data=None):
    return subprocess.run(["openssl", *arguments], input=data, check=True,
                          capture_output=True).stdout


def softhsm_paths():
    """(module, softhsm2-util), or None."""
    for folder in ("usr/lib/softhsm", "usr/lib/x86_64-linux-gnu/softhsm",
                   "usr/lib/aarch64-linux-gnu/softhsm", "usr/lib64/softhsm"):
        module = os.path.join(SOFTHSM_ROOT, folder, "libsofthsm2.so")
        tool = os.path.join(SOFTHSM_ROOT, "usr/bin/softhsm2-util")
        if os.path.exists(module) and os.path.exists(tool):
            return module, tool
    return None


def request(kind, number, label, digest=b""):
    return struct.pack("!BBIB", 1, kind, number, len(label)) + label + digest


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(path)
        self.socket.settimeout(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, packet):
        self.socket.send(packet)

    def receive(self):
        """(kind, id, result, payload), or None at the end."""
        try:
            packet = self.socket.recv(4096)
        except ConnectionResetError:
            return None
        if not packet:
            return None
        version, kind, number, result = struct.unpack("!BBIB", packet[:7])
        assert version == 1
        return kind, number, result, packet[7:]

    def ask(self, *arguments):
        self.send(request(*arguments))
        return self.receive()


class SignerFixture(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="hf-signer-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.socket_path = self.path("socket")
        self.environment = dict(os.environ)

    def path(self, name):
        return os.path.join(self.folder, name)

    def make_key(self, name, curve="prime256v1"):
        path = self.path(name)
        openssl("ecparam", "-name", curve, "-genkey", "-noout", "-out", path)
        os.chmod(path, 0o600)
        return path

    def start(self, *arguments):
        process = subprocess.Popen([SIGNER, "--socket", self.socket_path, *arguments],
                                   stderr=subprocess.PIPE, env=self.environment)
        self.addCleanup(self.stop, process)
        line = process.stderr.readline().decode()
        self.assertIn(" keys on ", line)
        return process

    def stop(self, process):
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.stderr.close()

    def run_once(self, *arguments):
        return subprocess.run([SIGNER, *arguments], capture_output=True, text=True, check=False,
                              timeout=PATIENCE, env=self.environment)

    def refuse(self, word, *arguments):
        done = self.run_once("--socket", self.socket_path, *arguments)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(word, done.stderr)
        self.assertFalse(os.path.exists(self.socket_path))

    def check_signature(self, spki, digest, signature):
        for name, data in (("spki", spki), ("digest", digest), ("signature", signature)):
            with open(self.path(name), "wb") as file:
                file.write(data)
        openssl("pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", self.path("spki"),
                "-sigfile", self.path("signature"), "-in", self.path("digest"))


class PemTest(SignerFixture):
    def test_it_signs(self):
        self.start("--key", "a=" + self.make_key("a.pem"), "--key", "b=" + self.make_key("b.pem"))
        keys = {}
        with Client(self.socket_path) as client:
            for label in (b"a", b"b"):
                kind, number, result, keys[label] = client.ask(KEY, 7, label)
                self.assertEqual((kind, number, result), (KEY, 7, DONE))
                self.assertEqual(keys[label], openssl(
                    "pkey", "-in", self.path(label.decode() + ".pem"), "-pubout", "-outform",
                    "DER"))
            for number in range(100):  # more than a batch, all in flight
                client.send(request(SIGN, number, b"ab"[number % 2:][:1], os.urandom(31) +
                                    bytes([number])))
            for _ in range(100):
                self.assertEqual(client.receive()[2], DONE)
            for label, spki in keys.items():
                digest = os.urandom(32)
                kind, number, result, signature = client.ask(SIGN, 2**32 - 1, label, digest)
                self.assertEqual((kind, number, result), (SIGN, 2**32 - 1, DONE))
                self.check_signature(spki, digest, signature)

    def test_unknown_labels(self):
        self.start("--key", "a=" + self.make_key("a.pem"))
        with Client(self.socket_path) as client:
            for label in (b"", b"A", b"aa", b"x" * 64):
                self.assertEqual(client.ask(KEY, 1, label), (KEY, 1, UNKNOWN, b""))
                self.assertEqual(client.ask(SIGN, 2, label, bytes(32)), (SIGN, 2, UNKNOWN, b""))

    def test_what_is_no_request_is_hung_up_on(self):
        self.start("--key", "a=" + self.make_key("a.pem"))
        good = request(SIGN, 1, b"a", bytes(32))
        bad = [b"\0", b"\2" + good[1:], b"\1\3" + good[2:], good[:-1], good + b"\0",
               request(KEY, 1, b"a", bytes(32)), request(SIGN, 1, b"x" * 65, bytes(32)),
               good + bytes(1000)]
        with Client(self.socket_path) as bystander:
            for packet in bad:
                with Client(self.socket_path) as client:
                    client.send(packet)
                    self.assertEqual(client.receive(), (SIGN, 0, MALFORMED, b""), packet)
                    self.assertIsNone(client.receive())
            self.assertEqual(bystander.ask(SIGN, 1, b"a", bytes(32))[2], DONE)

    def test_a_client_that_does_not_read_harms_only_itself(self):
        process = self.start("--key", "a=" + self.make_key("a.pem"))
        with Client(self.socket_path) as greedy, Client(self.socket_path) as client:
            greedy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            greedy.socket.setblocking(False)
            deadline = time.monotonic() + PATIENCE
            with self.assertRaises((BrokenPipeError, ConnectionResetError)):
                while time.monotonic() < deadline:
                    try:
                        greedy.send(request(SIGN, 1, b"a", bytes(32)))
                    except BlockingIOError:
                        time.sleep(0.001)
            self.assertEqual(client.ask(SIGN, 5, b"a", bytes(32))[:3], (SIGN, 5, DONE))
        self.assertIsNone(process.poll())

    def test_more_clients_than_places(self):
        self.start("--key", "a=" + self.make_key("a.pem"))
        clients = [Client(self.socket_path) for _ in range(64)]
        for client in clients:
            self.assertEqual(client.ask(SIGN, 1, b"a", bytes(32))[2], DONE)
        with Client(self.socket_path) as late:
            self.assertIsNone(late.receive())
        clients.pop().socket.close()
        self.assertEqual(clients[0].ask(SIGN, 1, b"a", bytes(32))[2], DONE)
        with Client(self.socket_path) as late:
            self.assertEqual(late.ask(SIGN, 1, b"a", bytes(32))[2], DONE)
        for client in clients:
            client.socket.close()

    def test_who_may_connect(self):
        self.start("--key", "a=" + self.make_key("a.pem"))
        self.assertEqual(os.stat(self.socket_path).st_mode & 0o777, 0o600)
        if os.geteuid() != 0:
            self.skipTest("only root can be somebody else")
        os.chmod(self.folder, 0o755)
        os.chmod(self.socket_path, 0o666)
        self.assertFalse(self.is_served_as(65534))
        self.assertTrue(self.is_served_as(0))

    def test_allowed_users(self):
        if os.geteuid() != 0:
            self.skipTest("only root can be somebody else")
        self.start("--key", "a=" + self.make_key("a.pem"), "--socket-mode", "0666",
                   "--allow-uid", "65533", "--allow-uid", "65534")
        os.chmod(self.folder, 0o755)
        self.assertTrue(self.is_served_as(65534))
        self.assertFalse(self.is_served_as(65532))

    def is_served_as(self, uid):
        pid = os.fork()
        if pid == 0:
            status = 2
            try:
                os.setuid(uid)
                with Client(self.socket_path) as client:
                    status = 0 if client.ask(SIGN, 1, b"a", bytes(32)) else 1
            except (BrokenPipeError, ConnectionResetError):
                status = 1
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.assertIn(status, (0, 1))
        return status == 0

    def test_restart(self):
        key = self.make_key("a.pem")
        process = self.start("--key", "a=" + key)
        self.refuse_in_use(key)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
        self.assertTrue(os.path.exists(self.socket_path))
        process = self.start("--key", "a=" + key)
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertFalse(os.path.exists(self.socket_path))
        with open(self.socket_path, "w", encoding="utf-8") as file:
            file.write("not a socket")
        done = self.run_once("--socket", self.socket_path, "--key", "a=" + key)
        self.assertEqual(done.returncode, 1)
        with open(self.socket_path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "not a socket")

    def refuse_in_use(self, key):
        done = self.run_once("--socket", self.socket_path, "--key", "a=" + key)
        self.assertEqual(done.returncode, 1)
        self.assertIn("in use", done.stderr)

    def test_bad_keys_are_refused(self):
        key = self.make_key("a.pem")
        self.refuse("No such file", "--key", "a=" + self.path("none"))
        self.refuse("not on P-256", "--key", "a=" + self.make_key("p384.pem", "secp384r1"))
        self.refuse("given twice", "--key", "a=" + key, "--key", "a=" + key)
        self.refuse("a label has", "--key", "=" + key)
        self.refuse("LABEL=FILE", "--key", "a")
        os.chmod(key, 0o604)
        self.refuse("others can read", "--key", "a=" + key)
        self.refuse("PKCS#11", "--module", self.path("none.so"), "--key", "a")

    def test_usage(self):
        for arguments in ([], ["--socket", "a"], ["--key", "a=b"], ["--nonsense"],
                          ["--socket", "a", "--key", "a=b", "more"],
                          ["--socket", "a", "--key", "a=b", "--socket-mode", "99"],
                          ["--socket", "a", "--key", "a=b", "--allow-uid", "nobody"]):
            self.assertEqual(self.run_once(*arguments).returncode, 2, arguments)
        self.assertEqual(self.run_once("--help").returncode, 0)
        self.assertTrue(self.run_once("--version").stdout.startswith("handfast-signer "))


class SoftHsmTest(SignerFixture):
    def setUp(self):
        super().setUp()
        found = softhsm_paths()
        if not found:
            self.skipTest("SoftHSM2 is not installed (softhsm2)")
        self.module, self.tool = found
        if subprocess.run([SIGNER, "--socket", self.socket_path, "--module", self.path("none"),
                           "--key", "a"], capture_output=True, check=False).stderr.find(
                               b"built without") >= 0:
            self.skipTest("handfast-signer is built without PKCS#11")
        os.mkdir(self.path("tokens"))
        with open(self.path("softhsm2.conf"), "w", encoding="utf-8") as file:
            file.write(f"directories.tokendir = {self.path('tokens')}\n"
                       "objectstore.backend = file\nlog.level = ERROR\n")
        self.environment["SOFTHSM2_CONF"] = self.path("softhsm2.conf")
        with open(self.path("pin"), "w", encoding="utf-8") as file:
            file.write("1234\n")
        self.make_token("one")

    def softhsm(self, *arguments):
        subprocess.run([self.tool, "--module", self.module, *arguments], check=True,
                       capture_output=True, env=self.environment)

    def make_token(self, token):
        self.softhsm("--init-token", "--free", "--label", token, "--pin", "1234", "--so-pin",
                     "4321")

    def import_key(self, token, label, number, curve="prime256v1"):
        pem = self.make_key(label + ".pem", curve)
        openssl("pkcs8", "-topk8", "-nocrypt", "-in", pem, "-out", self.path(label + ".p8"))
        self.softhsm("--import", self.path(label + ".p8"), "--token", token, "--label", label,
                     "--id", number, "--pin", "1234")
        return pem

    def test_it_signs(self):
        pem = self.import_key("one", "in-cse", "01")
        self.start("--module", self.module, "--pin-file", self.path("pin"), "--key", "a=in-cse",
                   "--key", "in-cse")
        with Client(self.socket_path) as client:
            spki = client.ask(KEY, 1, b"a")[3]
            self.assertEqual(spki, openssl("pkey", "-in", pem, "-pubout", "-outform", "DER"))
            for number in range(50):
                digest = os.urandom(32)
                kind, back, result, signature = client.ask(SIGN, number, b"in-cse", digest)
                self.assertEqual((kind, back, result), (SIGN, number, DONE))
                if number < 5:
                    self.check_signature(spki, digest, signature)

    def test_what_it_refuses(self):
        self.import_key("one", "p384", "02", "secp384r1")
        self.import_key("one", "in-cse", "01")
        module = ["--module", self.module, "--pin-file", self.path("pin")]
        self.refuse("no EC private key", *module, "--key", "none")
        self.refuse("not a P-256", *module, "--key", "p384")
        with open(self.path("pin"), "w", encoding="utf-8") as file:
            file.write("9999\n")
        self.refuse("C_Login", *module, "--key", "in-cse")
        self.refuse("No such file", "--module", self.module, "--pin-file", self.path("no-pin"),
                    "--key", "in-cse")
        self.refuse("no EC private key", "--module", self.module, "--key", "in-cse")

    def test_tokens_are_told_apart(self):
        self.make_token("two")
        self.import_key("two", "in-cse", "01")
        module = ["--module", self.module, "--pin-file", self.path("pin"), "--key", "in-cse"]
        self.refuse("2 tokens", *module)
        self.refuse("0 tokens labelled three", "--token", "three", *module)
        self.refuse("no EC private key", "--token", "one", *module)
        self.start("--token", "two", *module)
        with Client(self.socket_path) as client:
            self.assertEqual(client.ask(SIGN, 1, b"in-cse", bytes(32))[2], DONE)


if __name__ == "__main__":
    SIGNER = sys.argv.pop(1)
    unittest.main(verbosity=2)
