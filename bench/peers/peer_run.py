"""peer_run.py - one run of bench/peers: a server for a while, a load on it, and what it cost."""
import hashlib
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/support"))
import free_port as ports  # noqa: E402
import peer_cases  # noqa: E402

KINDS = ("generate", "agree", "sign", "verify")


def write_keys(path, count):
    """Identities with a key each, and in PATH.shared the same with one key for all."""
    shared = peer_cases.SHARED_KEY.encode().hex()
    for end in ("", ".shared"):
        with open(os.open(path + end, os.O_WRONLY | os.O_CREAT, 0o600), "w",
                  encoding="ascii") as file:
            for number in range(count):
                key = shared if end else hashlib.sha256(b"bench %d" % number).hexdigest()[:32]
                file.write(f"bench-{number:06d}:{key}:Cbench{number:06d}\n")


def settle_in(core):
    """In the child: the shared core, no wake-up preemption, as many descriptors as allowed."""
    if core >= 0:
        os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def is_bound(transport, port):
    """Whether the server has the port by now."""
    table = "/proc/net/udp" if transport == "dtls" else "/proc/net/tcp"
    for path in (table, table + "6"):
        for line in pathlib.Path(path).read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].split(":")[1], 16) == port and fields[3] in ("07", "0A"):
                return True
    return False


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


class Server:
    """A server process for the length of a with-block. `hold`: associations to have room for."""

    def __init__(self, name, options, case, keys, hold=0, has_metrics=False):
        kind = socket.SOCK_DGRAM if case.transport == "dtls" else socket.SOCK_STREAM
        self.name, self.case, self.options = name, case, options
        self.port = ports.free_port(kind)
        self.command = peer_cases.server_command(name, options, case, self.port, keys)
        self.metrics_port = ports.free_port(socket.SOCK_STREAM) if has_metrics else 0
        if has_metrics:
            self.command += ["--metrics", f"127.0.0.1:{self.metrics_port}"]
        if hold and peer_cases.is_ours(name):
            self.command += ["--associations-max", str(hold + 4096)]

    def __enter__(self):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env=peer_cases.environment(self.name),
            preexec_fn=lambda: settle_in(self.options.core))
        wait_for(self.is_settled, 20)
        if self.process.poll() is not None or not is_bound(self.case.transport, self.port):
            self.log.seek(0)
            sys.exit(f"{self.command[0]} does not start:\n{self.log.read()}")
        time.sleep(0.1)
        return self

    def is_settled(self):
        return is_bound(self.case.transport, self.port) or self.process.poll() is not None

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(2 if not peer_cases.is_ours(self.name) else 10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def batch_fill(self):
        """Operations a batch, by kind and of all kinds, from handfastd's metrics."""
        time.sleep(1.2)  # they are published once a second
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer:
            text = answer.read().decode()
        sums = {kind: [float(re.search(
            rf'^handfast_crypto_batch_operations_{what}{{kind="{kind}"}} (\S+)', text,
            re.M).group(1)) for what in ("sum", "count")] for kind in KINDS}
        fill = {kind: total / max(count, 1) for kind, (total, count) in sums.items()}
        total, count = (sum(sums[kind][i] for kind in KINDS) for i in (0, 1))
        return {**fill, "all": total / max(count, 1)}


def load_command(server, case, keys):
    """The one place that knows the load client."""
    build = pathlib.Path(server.options.build)
    place = ["--" + case.transport, f"127.0.0.1:{server.port}", "--server-pid",
             str(server.process.pid)]
    if case.client == "openssl":
        folder = os.path.dirname(keys)
        return [str(build / "bench/peers/openssl_client"), *place, "--certs",
                f"{folder}/{case.folder}", "--ca", f"{folder}/ca.pem"]
    return [str(build / "apps/handfast/handfast"), "load", "--json", "--quiet", *place,
            *peer_cases.client_credentials(server.name, case, keys)]


def load(server, keys, *more):
    """Runs the load client, and gives what its last line of JSON says."""
    case = server.case
    command = [*load_command(server, case, keys), "--suite", case.suite, "--in-flight",
               str(case.in_flight), *(["--waves"] if case.is_in_waves else []), *more]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=900, preexec_fn=lambda: settle_in(server.options.core))
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        sys.exit(f"{command[0]} against {server.name} failed:\n{done.stdout}{done.stderr}")
    return json.loads(lines[-1])
