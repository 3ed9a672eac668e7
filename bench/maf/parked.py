#!/usr/bin/env python3
"""parked.py --bin BUILD [--parked 10000] [--local 20000] [--delay 1] [--rounds 3] - what handshakes
that wait for a MAF cost those that do not: devices with local keys associate with handfastd, once
alone, once while so many others, each with an identity of its own, are parked on a MAF that answers
after a second. Prints the ratios of the local devices' p99 latency and of the shards' CPU per
handshake, the median of some rounds. The MAF's own thread is told apart."""
import argparse
import asyncio
import base64
import glob
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/maf"))
import maf_fixture  # pylint: disable=wrong-import-position
from maf_fixture import KEY, SOURCE, TARGET

FQDN = "maf.example.com"
DEVICES = 10  # processes that hold the parked handshakes
KC = bytes(range(32))


def register(port, count):
    """Names of so many keys, registered for the front end."""
    client = maf_fixture.Client(port)
    names = []
    fields = {"adminFQDN": "m2msp.example", "SUID": 32, "targetIDs": [TARGET[2]],
              "keyValue": base64.b64encode(KC).decode()}
    while len(names) < count:
        part = min(200, count - len(names))
        for _ in range(part):
            client.write("POST", "/MAFBase", KEY, fields)
        names += [client.read().body[KEY]["resourceID"] for _ in range(part)]
    client.close()
    return names


class Delay(threading.Thread):
    """A proxy that hands on what the MAF sends `delay` seconds later, each byte by itself: what
    comes together waits together."""

    def __init__(self, target, delay):
        super().__init__(daemon=True)
        self.target = target
        self.delay = delay
        self.port = 0
        self.ready = threading.Event()
        self.start()
        self.ready.wait()

    def run(self):
        asyncio.run(self.serve())

    async def serve(self):
        server = await asyncio.start_server(self.carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await asyncio.Event().wait()

    async def carry(self, front_in, front_out):
        maf_in, maf_out = await asyncio.open_connection("127.0.0.1", self.target)
        loop = asyncio.get_running_loop()

        async def forth():
            while data := await front_in.read(65536):
                maf_out.write(data)
            maf_out.close()

        async def back():
            seen = 0
            while data := await maf_in.read(65536):
                # The connection's own handshake passes at once.
                loop.call_later(self.delay if seen > 300 else 0, front_out.write, data)
                seen += len(data)
            await asyncio.sleep(self.delay)
            front_out.close()

        await asyncio.gather(forth(), back())


def cpu_ns(pid):
    """CPU time by thread name: "shards" and "maf"."""
    sums = {"shards": 0, "maf": 0}
    for task in glob.glob(f"/proc/{pid}/task/*"):
        try:
            with open(task + "/comm", encoding="ascii") as file:
                name = file.read().strip()
            with open(task + "/schedstat", encoding="ascii") as file:
                sums["maf" if name == "hf-maf" else "shards"] += int(file.read().split()[0])
        except OSError:
            pass
    return sums


class Bench:
    def __init__(self, arguments, directory):
        self.arguments = arguments
        self.directory = directory
        build = arguments.bin
        maf_fixture.PROGRAMS["maf"] = f"{build}/apps/handfast-maf/handfast-maf"
        self.load = f"{build}/apps/handfast/handfast"
        self.maf = maf_fixture.Maf(directory, "--keys-per-client", "1000000")
        self.delay = Delay(self.maf.port, arguments.delay)
        self.path = lambda name: os.path.join(directory, name)
        maf_fixture.write_keys(self.path("front"), [TARGET])
        maf_fixture.write_keys(self.path("local"), [
            (f"dev{i}", os.urandom(16).hex(), "/in-cse/Cdev") for i in range(1000)])
        with open(self.path("conf"), "w", encoding="ascii") as file:
            file.write(f'''
authority "a" {{ psk-file = "{self.path("local")}" }}
maf "{FQDN}" {{
    address = {{"127.0.0.1:{self.delay.port}"}}
    identity = "{TARGET[0]}" psk-file = "{self.path("front")}" origin = "{TARGET[2]}"
    connections = 16 pipeline = 1024
}}
listener "d" {{ transport = dtls address = "127.0.0.1:0" authority = "a" }}
limits {{ handshakes-max = 20000 }}
process {{ shards = 1 }}
log {{ level = warning }}
''')
        self.front = subprocess.Popen(
            [f"{build}/apps/handfastd/handfastd", "--config", self.path("conf"), "--log-level",
             "notice", "--log-format", "logfmt"], stderr=subprocess.PIPE, text=True)
        for line in self.front.stderr:
            if "transport=dtls" in line:
                self.port = int(re.search(r"address=\S+:(\d+)", line).group(1))
            if "event=ready" in line:
                break
        threading.Thread(target=self.front.stderr.read, daemon=True).start()

    def start_load(self, keys, count, in_flight, warmup):
        return subprocess.Popen(
            [self.load, "load", "--quiet", "--dtls", f"127.0.0.1:{self.port}", "--psk-file",
             self.path(keys), "--suite", "PSK-AES128-CCM8", "--count", str(count),
             "--warmup", str(warmup), "--in-flight", str(in_flight), "--server-pid",
             str(self.front.pid), "--json"],
            stdout=subprocess.PIPE, text=True)

    def run(self, parked):
        """One run: what the load says of the local devices, and CPU by thread."""
        files = []
        if parked:
            names = register(self.maf.port, parked)
            for i in range(DEVICES):
                part = names[i::DEVICES]
                files.append((f"parked{i}", len(part)))
                maf_fixture.write_keys(self.path(files[-1][0]), [
                    (f"{name}@{FQDN}", KC.hex(), "") for name in part])
        before = cpu_ns(self.front.pid)
        local = self.start_load("local", self.arguments.local, 4, 200)
        others = [self.start_load(name, count, min(count, 1000), 0) for name, count in files]
        told = json.loads(local.communicate()[0])
        failed = sum(json.loads(other.communicate()[0])["failed"] for other in others)
        after = cpu_ns(self.front.pid)
        handshakes = told["completed"] + 200 + parked
        return {"p99_ms": told["p99_ms"], "p50_ms": told["p50_ms"], "failed": told["failed"],
                "parked_failed": failed,
                "shard_us": (after["shards"] - before["shards"]) / 1000 / handshakes,
                "maf_us": (after["maf"] - before["maf"]) / 1000 / max(parked, 1)}

    def close(self):
        self.front.send_signal(signal.SIGTERM)
        self.front.wait(30)
        self.maf.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--parked", type=int, default=10000)
    parser.add_argument("--local", type=int, default=20000)
    parser.add_argument("--delay", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(arguments, directory)
        rounds = []
        try:
            bench.run(0)
            for _ in range(arguments.rounds):
                rounds.append((bench.run(0), bench.run(arguments.parked)))
                print(json.dumps({"alone": rounds[-1][0], "beside": rounds[-1][1]}), flush=True)
        finally:
            bench.close()
    ratio = {name: round(statistics.median(b[name] / a[name] for a, b in rounds), 3)
             for name in ("p99_ms", "p50_ms", "shard_us")}
    print(json.dumps({"bench": "maf_parked", "parked": arguments.parked, "ratio": ratio,
                      "maf_us": statistics.median(b["maf_us"] for _, b in rounds)}))
    failed = sum(b["failed"] + b["parked_failed"] + a["failed"] for a, b in rounds)
    if failed:
        raise SystemExit(f"{failed} handshakes failed")


if __name__ == "__main__":
    main()
