"""peers.py - other people's clients: how each is started, told what to do, and read."""
import json
import shutil
import time

from harness import Fail, Skip

# A key in print, for clients that take text; 16 bytes.
KEY_TEXT = "handfast-interop"
KEY_HEX = KEY_TEXT.encode().hex()
WRONG_KEY_HEX = "00112233445566778899aabbccddeeff"
IDENTITY = "interop-client"
IDENTITY_128 = "i" * 128
IDENTITY_250 = "j" * 250
IDENTITY_1024 = "k" * 1024
IDENTITY_COLON = "urn:dev:mac:0024befffe804ff1"
IDENTITY_UTF8 = "gerät-ß-☂"
ENTITY_ID = "/interop-cse/Cclient"

SUITES = {  # IANA number: names in OpenSSL, GnuTLS (cipher, MAC), Mbed TLS, IANA
    0x00AE: ("PSK-AES128-CBC-SHA256", "+AES-128-CBC:+SHA256",
             "TLS-PSK-WITH-AES-128-CBC-SHA256", "TLS_PSK_WITH_AES_128_CBC_SHA256"),
    0x00A8: ("PSK-AES128-GCM-SHA256", "+AES-128-GCM:+AEAD",
             "TLS-PSK-WITH-AES-128-GCM-SHA256", "TLS_PSK_WITH_AES_128_GCM_SHA256"),
    0xC0A4: ("PSK-AES128-CCM", "+AES-128-CCM:+AEAD",
             "TLS-PSK-WITH-AES-128-CCM", "TLS_PSK_WITH_AES_128_CCM"),
    0xC0A8: ("PSK-AES128-CCM8", "+AES-128-CCM-8:+AEAD",
             "TLS-PSK-WITH-AES-128-CCM-8", "TLS_PSK_WITH_AES_128_CCM_8"),
}

OPENSSL_WITHOUT_EMS = """openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = limits
[limits]
Options = -ExtendedMasterSecret
"""

HTTP_REQUEST = b"GET /whoami HTTP/1.1\r\nHost: handfast\r\n\r\n"


def key_file_text():
    """The server's keys: every identity used here has the same one."""
    def written(identity):
        data = identity.encode()
        is_plain = all(0x21 <= byte <= 0x7E and byte != 0x3A for byte in data)
        return identity if is_plain else "#" + data.hex()

    identities = [IDENTITY, IDENTITY_128, IDENTITY_250, IDENTITY_1024, IDENTITY_COLON,
                  IDENTITY_UTF8]
    lines = [f"{written(identity)}:{KEY_HEX}:{ENTITY_ID}" for identity in identities]
    return "# keys of the interop matrix\n" + "\n".join(lines) + "\n"


class Settings:
    """What a case wants of a client; a client that cannot do it skips."""

    def __init__(self, transport, suite, **changes):
        self.transport = transport
        self.suite = suite
        self.identity = IDENTITY
        self.key = KEY_HEX
        self.ems = True
        self.etm = True
        self.max_fragment = 0  # bytes: max_fragment_length, or record_size_limit with GnuTLS
        self.mtu = 0
        self.server_name = None
        self.ciphers = "ALL:PSK"  # OpenSSL's list, if there is no suite
        self.versions = None  # None: 1.2 only; "all": whatever the client has; or an option
        self.priority_option = ""  # GnuTLS's, such as %NO_EXTENSIONS
        self.extra = ()  # options of the program itself
        for name, value in changes.items():
            if not hasattr(self, name):
                raise TypeError(f"no setting {name}")
            setattr(self, name, value)

    @property
    def is_dtls(self):
        return self.transport == "dtls"


def program(name):
    path = shutil.which(name)
    if path is None:
        raise Skip(f"{name} is not installed")
    return path


class InteractiveClient:
    """A client that passes its input to the server and prints what comes back."""

    def exchange(self, bench, to, settings, data=b"one line\n", seconds=30, is_lossy=False):
        """Handshake, data there and back, end. On a lossy path it is sent until it comes back."""
        process = self.start(bench, to, settings)
        self.expect_connected(process, settings, seconds)
        seen_len = len(process.output)
        until = time.monotonic() + seconds
        while True:
            process.send(data)
            if wait_for_data(process, seen_len, data, 1 if is_lossy else seconds):
                break
            if not is_lossy or process.is_ended or time.monotonic() > until:
                raise Fail(f"{len(data)} bytes were sent and did not come back")
        self.end(process, seconds)
        return process

    def whoami(self, bench, to, settings, seconds=30):
        """GET /whoami by HTTP over TLS."""
        process = self.start(bench, to, settings)
        self.expect_connected(process, settings, seconds)
        process.send(HTTP_REQUEST)
        match = process.expect(rb"HTTP/1\.1 200 [^\n]*\n.*?\r\n\r\n(\{.*?\})\s*$", seconds,
                               "an answer")
        check_whoami(match.group(1), settings)
        self.end(process, seconds)

    def end(self, process, seconds):
        process.end_input()
        status = process.wait(seconds)
        if status != 0:
            raise Fail(f"{self.name} ended with status {status}")


class OpenSsl(InteractiveClient):
    """openssl s_client. It says everything it knows, then shows what the server sends."""
    name = "openssl"

    def start(self, bench, to, settings, is_quiet=False):
        host, port = to
        argv = [program("openssl"), "s_client", "-connect",
                f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
                "-psk_identity", settings.identity, "-psk", settings.key,
                "-cipher", f"{self.ciphers(settings)}:@SECLEVEL=0",
                "-nbio"]  # a blocking one waits for ever behind a replayed datagram
        if settings.versions is None:
            argv.append("-dtls1_2" if settings.is_dtls else "-tls1_2")
        elif settings.versions != "all":
            argv.append(settings.versions)
        if not settings.etm:
            argv.append("-no_etm")
        if settings.max_fragment:
            argv += ["-maxfraglen", settings.max_fragment]
        if settings.mtu:
            argv += ["-mtu", settings.mtu]
        argv += ["-servername", settings.server_name] if settings.server_name else ["-noservername"]
        argv += ["-nocommands"] if is_quiet else []
        env = {} if settings.ems else {"OPENSSL_CONF": bench.file(OPENSSL_WITHOUT_EMS)}
        return bench.process(argv + list(settings.extra), env)

    @staticmethod
    def ciphers(settings):
        return SUITES[settings.suite][0] if settings.suite else settings.ciphers

    def expect_connected(self, process, settings, seconds):
        match = process.expect(rb"New, [^\n]*, Cipher is (\S+)\n", seconds, "a handshake")
        name = match.group(1).decode()
        if settings.suite and name != SUITES[settings.suite][0]:
            raise Fail(f"negotiated {name}")
        # The session is printed last: what follows is the server's data.
        process.expect(rb"Extended master secret: (yes|no)\n", seconds)
        if process.saw(rb"Extended master secret: yes") is None and settings.ems:
            raise Fail("no extended master secret")
        if process.saw(rb"Extended master secret: no") is None and not settings.ems:
            raise Fail("extended master secret, unasked for")


class GnuTls(InteractiveClient):
    """gnutls-cli."""
    name = "gnutls"

    def start(self, bench, to, settings, is_quiet=False):
        host, port = to
        argv = [program("gnutls-cli"), "--port", port, "--pskusername",
                settings.identity, "--pskkey", settings.key,
                "--priority", self.priority(settings)]
        argv += ["--udp"] if settings.is_dtls else []
        argv += ["--mtu", settings.mtu] if settings.mtu else []
        argv += ["--recordsize", settings.max_fragment] if settings.max_fragment else []
        argv += (["--sni-hostname", settings.server_name] if settings.server_name
                 else ["--disable-sni"])
        return bench.process(argv + list(settings.extra) + [host])

    @staticmethod
    def priority(settings):
        if settings.versions == "all":
            return "NORMAL:+PSK:+DHE-PSK:+ECDHE-PSK:+AES-128-CCM-8"
        version = "+VERS-DTLS1.2" if settings.is_dtls else "+VERS-TLS1.2"
        text = f"NONE:{version}:+COMP-NULL:+SIGN-ALL:+PSK:{SUITES[settings.suite][1]}"
        options = [settings.priority_option] if settings.priority_option else []
        options += [] if settings.ems else ["%NO_SESSION_HASH"]
        options += [] if settings.etm else ["%NO_ETM"]
        return ":".join([text, *options])

    def expect_connected(self, process, settings, seconds):
        match = process.expect(rb"- Description: ([^\n]+)\n.*- Simple Client Mode:\n", seconds,
                               "a handshake")
        description = match.group(1).decode()
        if settings.versions is None:
            wanted = {0x00AE: "(AES-128-CBC)-(SHA256)", 0x00A8: "(AES-128-GCM)",
                      0xC0A4: "(AES-128-CCM)", 0xC0A8: "(AES-128-CCM-8)"}[settings.suite]
            if not description.endswith(f"(PSK)-{wanted}"):
                raise Fail(f"negotiated {description}")
        options = process.expect(rb"- Options:([^\n]*)\n", 1).group(1)
        if (b"extended master secret" in options) != settings.ems:
            raise Fail(f"options are{options.decode()}")
        if settings.suite == 0x00AE and not settings.etm and b"encrypt-then-mac" in options:
            raise Fail("encrypt-then-MAC, unasked for")


class MbedTls:
    """mbedtls_client, which checks the echo and the answering close_notify itself."""
    name = "mbedtls"

    @staticmethod
    def command(bench, to, settings, options, seconds):
        host, port = to
        argv = [bench.tool("mbedtls_client"), "--host", host, "--port", port, "--identity",
                settings.identity, "--key", settings.key, "--suite", SUITES[settings.suite][2],
                "--timeout-ms", seconds * 1000, *options]
        argv += ["--dtls"] if settings.is_dtls else []
        argv += [] if settings.ems else ["--no-ems"]
        argv += [] if settings.etm else ["--no-etm"]
        argv += ["--maxfrag", settings.max_fragment] if settings.max_fragment else []
        argv += ["--mtu", settings.mtu] if settings.mtu else []
        return argv + list(settings.extra)

    def run(self, bench, to, settings, options, seconds):
        process = bench.process(self.command(bench, to, settings, options, seconds))
        status = process.wait(seconds + 20)
        if status != 0:
            raise Fail(f"mbedtls_client ended with status {status}")
        return process

    def exchange(self, bench, to, settings, data=b"one line\n", seconds=30, is_lossy=False):
        """As InteractiveClient.exchange; it sends again by itself."""
        more = ["--count", 1, "--lossy"] if is_lossy else ["--count", 2]
        return self.run(bench, to, settings, ["--request-hex", data.hex(), *more], seconds)

    def whoami(self, bench, to, settings, seconds=30):
        process = self.run(bench, to, settings,
                           ["--request-hex", HTTP_REQUEST.hex(), "--any-answer"], seconds)
        answer = bytes.fromhex(process.saw(rb"answer ([0-9a-f]+)\n").group(1).decode())
        check_whoami(answer[answer.index(b"{"):], settings)


OPENSSL, GNUTLS, MBEDTLS = OpenSsl(), GnuTls(), MbedTls()
CLIENTS = (OPENSSL, GNUTLS, MBEDTLS)


def wait_for_data(process, seen_len, data, seconds):
    """True once what came after `seen_len` bytes of output holds `data`."""
    until = time.monotonic() + seconds
    with process.changed:
        while data not in process.output[seen_len:]:
            left = until - time.monotonic()
            if left <= 0 or process.is_ended:
                return False
            process.changed.wait(left)
    return True


def check_whoami(text, settings):
    """The JSON of /whoami names who we are and what we speak."""
    flat = json.dumps(json.loads(text))
    wanted = [ENTITY_ID, "provisioned", "12-" + settings.identity]
    if settings.suite:
        wanted.append(SUITES[settings.suite][3])
    for part in wanted:
        if part not in flat:
            raise Fail(f"/whoami has no {part!r}: {flat}")


def coap_whoami(bench, library, to, settings, seconds=30, attempts=1):
    """GET coaps://.../whoami by libcoap's client on OpenSSL or GnuTLS. It gives a handshake a few
    seconds only, so that on a lossy path it has to be asked more than once."""
    host, port = to
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    for _ in range(attempts):
        process = bench.process([program(f"coap-client-{library}"), "-v", "6", "-B", seconds, "-u",
                                 settings.identity, "-k", KEY_TEXT, "-m", "get",
                                 f"coaps://{place}/whoami"])
        status = process.wait(seconds + 5)
        match = process.saw(rb"(\{\"[^}]*\})")
        if match is not None:
            check_whoami(match.group(1), settings)
            return
    raise Fail(f"no answer, exit status {status}")
