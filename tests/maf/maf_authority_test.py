#!/usr/bin/env python3
"""maf_authority_test.py HANDFAST-MAF HANDFASTD HANDFASTCTL HANDFAST - which authority asks which
MAF, and after whom: keys of our own come first, in a key file and in a key store; and how we
authenticate to MAFs, read again by a reload."""
import json
import os
import re
import signal
import subprocess

import maf_fixture
from maf_fixture import PATIENCE, SOURCE, TARGET
from maf_front_test import FQDN, KC, LOCAL, FrontTest, Proxy

OWN = bytes(range(100, 132))  # a key of our own under an identity of the MAF


class AuthorityTest(FrontTest):
    def setUp(self):
        super().setUp()
        self.maf = self.start_maf()
        self.proxy = Proxy(self.maf.port)
        self.addCleanup(self.proxy.close)

    def maf_block(self, fqdn=FQDN, keys="front-keys", more=""):
        login = more or f'identity = "{TARGET[0]}" psk-file = "{self.path(keys)}"'
        return (f'maf "{fqdn}" {{ address = {{"127.0.0.1:{self.proxy.port}"}} '
                f'origin = "{TARGET[2]}" {login} }}\n')

    def start(self, authorities, mafs=None):
        """A front end with a pair of listeners for each authority: name and settings."""
        with open(self.path("conf"), "w", encoding="ascii") as file:
            file.write(f'metrics {{ address = "127.0.0.1:0" }}\n'
                       f'control {{ socket = "{self.path("front.sock")}" }}\n')
            for name, settings in authorities:
                file.write(f'authority "{name}" {{ {settings} }}\n')
                for kind in ("tls", "dtls"):
                    file.write(f'listener "{kind}-{name}" {{ transport = {kind} address = '
                               f'"127.0.0.1:0" authority = "{name}" respond = whoami }}\n')
            file.write(self.maf_block() if mafs is None else mafs)
        return self.start_front(0, config=self.path("conf"))

    def ask(self, front, authority, name, key=KC):
        """Who it is, there, by TLS and, if anybody, by DTLS; None: no association."""
        front.tls, front.dtls_port = (
            int(re.search(r"address=\S+:(\d+)", front.wait_for(
                f"listener={kind}-{authority} ")).group(1)) for kind in ("tls", "dtls"))
        told = front.whoami(name, key=key.hex())
        self.assertTrue(told is None or front.dtls(name, key=key.hex()))
        return told["entity_id"] if told else None

    def file_of_keys(self):
        return f'psk-file = "{self.path("local-keys")}"'

    # ---- whose MAFs

    def test_an_authority_asks_its_own(self):
        name = self.register(self.maf)
        other = "other.example.com"
        keys = self.file_of_keys()
        front = self.start([("none", keys + ' maf = {"none"}'),
                            ("other", keys + f' maf = {{"{other}"}}'),
                            ("own", keys + f' maf = {{"{other}", "{FQDN.upper()}"}}'),
                            ("all", keys), ("bare", "")],
                           self.maf_block() + self.maf_block(other))
        for authority in ("none", "other"):
            self.assertIsNone(self.ask(front, authority, name))
        self.assertEqual(self.proxy.connections, 0)
        why = json.loads(front.control("why", f"{name}@{FQDN}", "--json"))
        self.assertEqual(why["keys"], {"none": "absent", "other": "absent", "own": "maf",
                                       "all": "maf", "bare": "maf"})
        self.assertIn("authority own has no key of its own for it; its MAF is asked",
                      front.control("why", f"{name}@{FQDN}"))
        for authority in ("own", "all", "bare"):  # the last has no keys but those of MAFs
            self.assertEqual(self.ask(front, authority, name), SOURCE[2])
        # What is in the cache now is no more theirs.
        for authority in ("none", "other"):
            self.assertIsNone(self.ask(front, authority, name))
        front.wait_for_metric(f'handfast_maf_requests_total{{maf="{FQDN}"}}', 1)
        mafs = json.loads(front.control("status", "--json"))["mafs"]
        self.assertEqual([(maf["fqdn"], maf["state"]) for maf in mafs],
                         [(FQDN, "up"), (other, "up")])
        self.assertRegex(front.control("status"), rf"(?m)^{FQDN} +up ")

    def test_what_is_refused(self):
        self.start_front_keys()
        for maf in ('{"other.example.com"}', '{"x y"}', '{"nobody"}'):
            with open(self.path("conf"), "w", encoding="ascii") as file:
                file.write(f'authority "a" {{ {self.file_of_keys()} maf = {maf} }}\n'
                           f'listener "l" {{ transport = tls address = "127.0.0.1:0" }}\n' +
                           self.maf_block())
            done = subprocess.run([maf_fixture.PROGRAMS["front"], "--config", self.path("conf"),
                                   "--check-config"], capture_output=True, timeout=PATIENCE,
                                  check=False)
            self.assertEqual(done.returncode, 2, done)
            self.assertIn(b"conf", done.stderr)

    def start_front_keys(self):
        maf_fixture.write_keys(self.path("front-keys"), [TARGET])
        maf_fixture.write_keys(self.path("local-keys"), [(*LOCAL, "/in-cse/Clocal")])

    # ---- keys of our own come first

    def psk_add(self, identity, key, entity):
        with open(self.path("new"), "w", encoding="ascii") as file:
            file.write(f"{identity}:{key.hex()}:{entity}\n")
        os.chmod(self.path("new"), 0o600)
        subprocess.run([maf_fixture.PROGRAMS["ctl"], "psk", "import", "--store",
                        self.path("store"), self.path("new")], check=True, capture_output=True,
                       timeout=PATIENCE)

    def test_a_key_store_comes_first(self):
        first, second = self.register(self.maf), self.register(self.maf)
        self.psk_add(f"{first}@{FQDN}", OWN, "/in-cse/Cown")
        front = self.start([("a", f'key-store = "{self.path("store")}"')])
        self.assertEqual(self.ask(front, "a", first, OWN), "/in-cse/Cown")
        self.assertIsNone(self.ask(front, "a", first))  # the MAF's key of that name is not it
        self.assertEqual(self.proxy.connections, 0)
        self.assertEqual(self.ask(front, "a", second), SOURCE[2])  # the store has none: the MAF
        self.assertIsNone(self.ask(front, "a", "0" * 32))
        # A store that does not answer does not stop the keys of MAFs.
        third = self.register(self.maf)
        for name in os.listdir(self.path("store")):
            if name.startswith("keys-") and name.endswith(".mdb"):
                os.truncate(os.path.join(self.path("store"), name), 4096)
        self.assertEqual(self.ask(front, "a", third), SOURCE[2])

    def test_a_key_file_comes_first(self):
        name = self.register(self.maf)
        maf_fixture.write_keys(self.path("own-keys"), [(f"{name}@{FQDN}", OWN.hex(),
                                                       "/in-cse/Cown")])
        front = self.start([("a", f'psk-file = "{self.path("own-keys")}"')])
        self.assertEqual(self.ask(front, "a", name, OWN), "/in-cse/Cown")
        self.assertEqual(self.proxy.connections, 0)

    # ---- a reload

    def new_km(self, key):
        """The MAF goes over to another Km of ours."""
        target = (TARGET[0], key, TARGET[2])
        maf_fixture.write_keys(self.maf.key_file, [SOURCE, target])
        self.maf.process.send_signal(signal.SIGHUP)
        self.maf.wait_for("event=reloaded")
        self.proxy.cut()
        return target

    def test_km_is_read_again(self):
        front = self.start([("a", self.file_of_keys())])
        self.assertEqual(self.ask(front, "a", self.register(self.maf)), SOURCE[2])
        target = self.new_km("00" * 31 + "1b")
        name = self.register(self.maf)
        self.assertIsNone(self.ask(front, "a", name))
        # All or nothing: a file that is no key file changes nothing, and names the MAF.
        with open(self.path("front-keys"), "w", encoding="ascii") as file:
            file.write("nonsense\n")
        self.assertIn(FQDN, front.control("reload", "--json", status=1))
        maf_fixture.write_keys(self.path("front-keys"), [("somebody@else", target[1], "")])
        self.assertIn("has no key", front.control("reload", "--json", status=1))
        maf_fixture.write_keys(self.path("front-keys"), [target])
        front.control("reload")
        self.eventually_of(front, name)

    def test_a_reload_comes_as_who_we_are_now(self):
        """Without the MAF's help: its connection stands, and is ended for another one."""
        front = self.start([("a", self.file_of_keys())])
        self.assertEqual(self.ask(front, "a", self.register(self.maf)), SOURCE[2])
        self.assertEqual(self.proxy.connections, 1)
        self.assertEqual(self.ask(front, "a", self.register(self.maf)), SOURCE[2])
        self.assertEqual(self.proxy.connections, 1)
        front.control("reload")
        self.assertEqual(self.ask(front, "a", self.register(self.maf)), SOURCE[2])
        self.assertEqual(self.proxy.connections, 2)

    def eventually_of(self, front, name):
        self.eventually(front, name)
        self.assertEqual(self.ask(front, "a", name), SOURCE[2])

    def test_certificates_are_read_again(self):
        """From a key to certificates, without a restart."""
        pki = lambda *arguments: subprocess.run(
            [maf_fixture.PROGRAMS["tool"], "pki", *arguments], cwd=self.directory.name,
            check=True, capture_output=True, timeout=PATIENCE)
        pki("ca", "root", "--unconstrained")
        pki("fqdn", "maf", FQDN, "--issuer", "root")
        pki("cse-id", "front", TARGET[2], "--issuer", "root")
        front = self.start([("a", self.file_of_keys())])
        self.assertEqual(self.ask(front, "a", self.register(self.maf)), SOURCE[2])
        self.maf.stop()
        self.maf = self.start_maf("--cert", self.path("maf.pem"), "--key", self.path("maf.key"),
                                  "--client-ca", self.path("root.pem"))
        self.proxy.cut()
        self.proxy.target = self.maf.port
        maf_fixture.write_keys(self.maf.key_file, [SOURCE])  # ours is gone
        self.maf.process.send_signal(signal.SIGHUP)
        self.maf.wait_for("event=reloaded")
        name = self.register(self.maf)
        self.assertIsNone(self.ask(front, "a", name))
        with open(self.path("conf"), encoding="ascii") as file:
            text = file.read()
        block = self.maf_block(more=f'certificate = "{self.path("front.pem")}" private-key = '
                                    f'"{self.path("front.key")}" ca = "{self.path("root.pem")}"')
        with open(self.path("conf"), "w", encoding="ascii") as file:
            file.write(text.replace(self.maf_block(), block))
        front.control("reload")
        self.eventually_of(front, name)
        with open(self.path("conf"), "w", encoding="ascii") as file:
            file.write(text.replace(self.maf_block(), block.replace("//m2msp", "//other")))
        self.assertIn("maf blocks", front.control("reload", "--json", status=1))


for inherited in [name for name in dir(FrontTest) if name.startswith("test_")]:
    if inherited not in vars(AuthorityTest):
        setattr(AuthorityTest, inherited, None)
del FrontTest

if __name__ == "__main__":
    maf_fixture.main(__doc__, "maf", "front", "ctl", "tool")
