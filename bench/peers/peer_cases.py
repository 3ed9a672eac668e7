"""peer_cases.py - what bench/peers compares: the cases, and how each server is started in them."""
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
from dataclasses import dataclass

PSK_CCM = "PSK-AES128-CCM8"
PSK_CBC = "PSK-AES128-CBC-SHA256"
ECDHE_CCM = "ECDHE-ECDSA-AES128-CCM8"
ECDHE_CBC = "ECDHE-ECDSA-AES128-SHA256"
SHARED_KEY = "0123456789abcdef"  # of all clients, where a server knows one key only

DEVICES = 63  # with a certificate each, dealt out in turn; as many as the load client takes
LIBRARIES = ["gnutls", "openssl"]
ALONE = ["handfast", "handfast@nolanes"]


@dataclass(frozen=True)
class Case:
    """One row group of the table. `target`: the most of the best peer's; None: shown only."""
    transport: str
    suite: str
    title: str
    servers: list
    target: float = None
    in_flight: int = 64
    folder: str = "devices"  # of the clients' certificates; "": pre-shared keys
    client: str = "load"
    is_resumed: bool = False

    @property
    def is_in_waves(self):
        """All begin together; otherwise each when another has ended."""
        return self.kind == "certificate" and self.client == "load" and self.in_flight > 1

    @property
    def kind(self):
        return "resumed" if self.is_resumed else "certificate" if self.folder else "psk"


DTLS_CERTIFICATE = "DTLS ECDHE-ECDSA-CCM_8, mutual"
TLS_CERTIFICATE = "TLS ECDHE-ECDSA-CBC-SHA256, mutual"
TERMINATORS = ["nginx", "haproxy"]
COAP = ["coap-openssl", "coap-gnutls"]
TUNED = ["gnutls+", "openssl+"]

CASES = {
    "dtls": Case("dtls", PSK_CCM, "DTLS PSK-AES128-CCM_8",
                 ["handfast", *LIBRARIES, "mbedtls", *COAP], 0.60, folder=""),
    "tls": Case("tls", PSK_CBC, "TLS PSK-AES128-CBC-SHA256",
                ["handfast", *LIBRARIES, "mbedtls", *TUNED], 0.65, folder=""),
    "dtls-certificate": Case(
        "dtls", ECDHE_CCM, DTLS_CERTIFICATE + ", waves of 64",
        ["handfast", "handfast@linger", "handfast@nolanes", *LIBRARIES, "mbedtls", "wolfssl",
         *COAP], 1 / 6),
    "dtls-certificate-16": Case(
        "dtls", ECDHE_CCM, DTLS_CERTIFICATE + ", waves of 16",
        ["handfast", "handfast@linger", *LIBRARIES], 1 / 6, in_flight=16),
    "dtls-certificate-chain": Case(
        "dtls", ECDHE_CCM, DTLS_CERTIFICATE + ", an intermediate CA",
        ["handfast", "handfast@cache", *LIBRARIES], folder="chains"),
    "tls-certificate": Case(
        "tls", ECDHE_CBC, TLS_CERTIFICATE + ", waves of 64",
        ["handfast", "handfast@linger", "handfast@nolanes", *LIBRARIES, "mbedtls", "wolfssl",
         *TERMINATORS, *TUNED], 1 / 5),
    "tls-certificate-16": Case(
        "tls", ECDHE_CBC, TLS_CERTIFICATE + ", waves of 16",
        ["handfast", "handfast@linger", *LIBRARIES, "nginx"], 1 / 5, in_flight=16),
    "tls-resumed": Case(
        "tls", ECDHE_CBC, "TLS ECDHE-ECDSA-CBC-SHA256, resumed by ticket",
        ["handfast", *LIBRARIES, "mbedtls", "wolfssl", *TERMINATORS, *TUNED], 0.75,
        is_resumed=True),
    "dtls-openssl-client": Case(
        "dtls", ECDHE_CCM, DTLS_CERTIFICATE + ", OpenSSL client",
        ["handfast", *LIBRARIES], 1 / 4, client="openssl"),
    "tls-openssl-client": Case(
        "tls", ECDHE_CBC, TLS_CERTIFICATE + ", OpenSSL client",
        ["handfast", *LIBRARIES, "nginx"], 1 / 4, client="openssl"),
    "dtls-alone": Case("dtls", ECDHE_CCM, DTLS_CERTIFICATE + ", one at a time", ALONE,
                       in_flight=1),
    "tls-alone": Case("tls", ECDHE_CBC, TLS_CERTIFICATE + ", one at a time", ALONE, in_flight=1),
    # Idle associations, by their memory: the case "hold".
    "hold-psk": Case("dtls", PSK_CCM, "idle DTLS association", [], folder=""),
    "hold-certificate": Case("dtls", ECDHE_CCM, "idle DTLS association, certificates", []),
}

# About how many microseconds a handshake costs, to give every run about the same length.
PACE = {"psk": 70, "certificate": 600, "resumed": 150}
PACE_OF = {("handfast", "certificate"): 80, ("handfast", "psk"): 25, ("handfast", "resumed"): 30,
           ("mbedtls", "certificate"): 4500, ("coap-openssl", "certificate"): 1200,
           ("gnutls", "resumed"): 50}
PACE_CLIENT = {"load": {"psk": 40, "certificate": 150, "resumed": 60},
               "openssl": {"certificate": 900}}


def is_ours(name):
    return name.partition("@")[0] == "handfast"


def is_tuned(name):
    return name.endswith("+")


def run_length(name, case, seconds):
    """How many handshakes take about `seconds`."""
    server = PACE_OF.get((name.partition("@")[0].rstrip("+"), case.kind), PACE[case.kind])
    each_us = server + PACE_CLIENT[case.client][case.kind]
    least = 64 if seconds < 0.1 else 4 * case.in_flight if server < 1000 else 200
    return max(least, int(seconds * 1e6 / each_us))


# ---- who is there -----------------------------------------------------------------------------

def program_of(name, build):
    """The program of a server: ours, a peer's of our own making, or Debian's."""
    base = name.partition("@")[0].rstrip("+")
    if base == "handfast":
        return build / "apps/handfastd/handfastd"
    if base.startswith("coap-"):
        return shutil.which(base.replace("coap", "coap-server")) or ""
    if base in TERMINATORS:
        return shutil.which(base, path=os.environ["PATH"] + ":/usr/sbin") or ""
    return build / f"bench/peers/peer_{base}"


def is_there(name, build):
    program = str(program_of(name, build))
    return program != "" and pathlib.Path(program).exists()


# ---- certificates -----------------------------------------------------------------------------

def make_certificates(folder, build):
    """Authorities, a server's certificate and key, and those of devices: directly below
    their authority in devices/, below an intermediate one in chains/. Unconstrained authorities:
    Mbed TLS refuses the others."""
    tool = str(build / "apps/handfast/handfast")

    def pki(*words):
        subprocess.run([tool, "pki", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)

    pki("ca", "ca", "--name", "bench", "--unconstrained")
    pki("cse-id", "server", "//sp.example/in-cse", "--issuer", "ca")
    pki("ca", "device-ca", "--name", "devices", "--unconstrained")
    pki("ca", "middle", "--name", "middle", "--issuer", "device-ca", "--unconstrained")
    wanted = [(part, issuer, number) for number in range(DEVICES)
              for part, issuer in (("devices", "device-ca"), ("chains", "middle"))]
    for part in ("devices", "chains"):
        os.mkdir(f"{folder}/{part}")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: pki(
            "device", f"{one[0]}/{one[2]}", f"0.2.481.1.100.3030.{10000 + one[2]}", "--issuer",
            one[1]), wanted))
    with open(os.open(f"{folder}/both.pem", os.O_WRONLY | os.O_CREAT, 0o600), "w",
              encoding="ascii") as both:
        for end in ("pem", "key"):
            both.write(pathlib.Path(f"{folder}/server.{end}").read_text(encoding="ascii"))


# ---- command lines ----------------------------------------------------------------------------

NGINX = """daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 15000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-a; proxy_temp_path {folder}/nginx-b;
  fastcgi_temp_path {folder}/nginx-c; uwsgi_temp_path {folder}/nginx-d;
  scgi_temp_path {folder}/nginx-e;
  server {{
    listen {place} ssl backlog=4096;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    ssl_client_certificate {folder}/device-ca.pem;
    ssl_verify_client on;
    ssl_verify_depth 3;
    ssl_protocols TLSv1.2;
    ssl_ciphers {suite};
    ssl_session_cache none;
    ssl_session_tickets {tickets};
    return 204;
  }}
}}
"""

HAPROXY = """global
  nbthread 1
  maxconn 8000
  tune.ssl.cachesize 0
defaults
  mode http
  timeout client 30s
  timeout http-request 30s
frontend bench
  bind {place} ssl crt {folder}/both.pem ca-file {folder}/device-ca.pem verify required \
ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2 ciphers {suite} {tickets}
  http-request return status 204
"""


def terminator_command(name, program, case, place, folder):
    template, on, off = (NGINX, "on", "off") if name == "nginx" else (HAPROXY, "",
                                                                        "no-tls-tickets")
    path = f"{folder}/{name}-{case.kind}.conf"
    pathlib.Path(path).write_text(
        template.format(folder=folder, place=place, suite=case.suite,
                        tickets=on if case.is_resumed else off), encoding="ascii")
    if name == "nginx":
        return [program, "-p", folder, "-c", path, "-e", "stderr"]
    return [program, "-db", "-f", path]


def coap_command(program, case, port, folder):
    """Its port for DTLS is the one after that for plain CoAP."""
    words = [program, "-v", "0", "-A", "127.0.0.1", "-p", str(port - 1)]
    if case.kind == "psk":
        return [*words, "-h", "", "-k", SHARED_KEY]
    return [*words, "-c", f"{folder}/server.pem", "-j", f"{folder}/server.key", "-C",
            f"{folder}/device-ca.pem"]


VARIANTS = {"": [], "uring": ["--io", "uring"], "epoll": ["--io", "epoll"],
            "cache": ["--chain-cache-max", "4096"], "linger": ["--linger", "100"], "nolanes": []}


def handfast_command(name, program, case, place, keys, options):
    own = ["--psk-file", keys]
    if case.folder:
        folder = os.path.dirname(keys)
        own = ["--cert", f"{folder}/server.pem", "--key", f"{folder}/server.key", "--client-ca",
               f"{folder}/device-ca.pem", "--client-flavours", "device"]
    return [program, f"--{case.transport}", place, *own, "--shards", "1",
            *(["--session-tickets"] if case.is_resumed else []),
            *VARIANTS[name.partition("@")[2]], *options.handfastd_args.split()]


def server_command(name, options, case, port, keys):
    """The command line; `keys`: the key file, in the folder of the certificates."""
    program = str(program_of(name, pathlib.Path(options.build)))
    folder, place = os.path.dirname(keys), f"127.0.0.1:{port}"
    if is_ours(name):
        return handfast_command(name, program, case, place, keys, options)
    if name in TERMINATORS:
        return terminator_command(name, program, case, place, folder)
    if name in COAP:
        return coap_command(program, case, port, folder)
    own = ["--psk-file", keys]
    if case.folder:
        own = ["--cert", f"{folder}/server.pem", "--key", f"{folder}/server.key", "--client-ca",
               f"{folder}/device-ca.pem"]
    return [program, f"--{case.transport}", place, *own,
            *(["--read-ahead", "yes"] if is_tuned(name) else []),
            *(["--resume", "yes"] if case.is_resumed else [])]


def client_credentials(name, case, keys):
    """What the load shows: files beside the key file."""
    if case.kind == "psk":
        return ["--psk-file", keys + ".shared" if name in COAP else keys]
    folder = os.path.dirname(keys)
    return ["--certs", f"{folder}/{case.folder}", "--ca", f"{folder}/ca.pem",
            *(["--resume"] if case.is_resumed else [])]


def environment(name):
    return {**os.environ, **({"HANDFAST_LANES": "off"} if name.endswith("@nolanes") else {})}
