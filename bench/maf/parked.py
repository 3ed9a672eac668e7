#!/usr/bin/env python3
"""parked.py --bin BUILD [--parked 10000] [--local 20000] [--rounds 5] - what handshakes that wait
for a MAF cost those that do not.

Devices with local keys associate over DTLS with handfastd, one shard. In each round they do so

  alone    nothing else happens;
  beside   so many others, each with an identity of its own, are parked: their questions have gone
           to the MAF, whose answers are held back until the local devices are through;
  alone    once more.

So what parked handshakes do while they come and go is no part of it. While they wait they send
their flights again, more and more seldom; the local devices come in a pause of that. Printed: the
ratios of p50, p90, p99 and CPU per local handshake, beside against the mean of both times alone,
the median of the rounds; and the CPU of the shard in a second in which nothing happens but waiting.

--answering adds a run in which the MAF answers after a second, so that they come and go meanwhile,
and one with them and nobody else: the CPU of both less that of the parked ones, for each local
handshake."""
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
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/maf"))
import maf_fixture  # pylint: disable=wrong-import-position
from maf_fixture import KEY, SOURCE, TARGET

FQDN = "maf.example.com"
DEVICES = 10  # processes that hold the parked handshakes
WARMUP = 500
KC = bytes(range(32))
PATIENCE = 60
APPLICATION_DATA = 23  # of TLS: a record's first byte


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


class Gate(threading.Thread):
    """A proxy that keeps what the MAF sends until it is let go, or for `delay` seconds: each piece
    by itself, so what comes together waits together. The connections' handshakes pass."""

    def __init__(self, target):
        super().__init__(daemon=True)
        self.target = target
        self.delay = 0
        self.port = 0
        self.ready = threading.Event()
        self.start()
        self.ready.wait()

    def run(self):
        asyncio.run(self.serve())

    async def serve(self):
        self.loop = asyncio.get_running_loop()
        self.is_open = asyncio.Event()
        self.is_open.set()
        server = await asyncio.start_server(self.carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await asyncio.Event().wait()

    def hold(self):
        self.loop.call_soon_threadsafe(self.is_open.clear)

    def release(self):
        self.loop.call_soon_threadsafe(self.is_open.set)

    async def carry(self, front_in, front_out):
        maf_in, maf_out = await asyncio.open_connection("127.0.0.1", self.target)
        pieces = asyncio.Queue()

        async def forth():
            while data := await front_in.read(65536):
                maf_out.write(data)
            maf_out.close()

        async def back():
            is_shaken = False
            while data := await maf_in.read(65536):
                is_shaken |= data[0] == APPLICATION_DATA
                pieces.put_nowait((self.loop.time() + self.delay if is_shaken else 0, data))
            pieces.put_nowait((0, b""))

        async def out():
            while True:
                due, data = await pieces.get()
                if due:
                    await self.is_open.wait()
                    await asyncio.sleep(max(0, due - self.loop.time()))
                if not data:
                    break
                front_out.write(data)
            front_out.close()

        await asyncio.gather(forth(), back(), out())


def cpu_us(pid):
    """CPU time so far of all threads but the MAF's."""
    total = 0
    for task in glob.glob(f"/proc/{pid}/task/*"):
        try:
            with open(task + "/comm", encoding="ascii") as file:
                is_maf = file.read().strip() == "hf-maf"
            with open(task + "/schedstat", encoding="ascii") as file:
                total += 0 if is_maf else int(file.read().split()[0])
        except OSError:
            pass
    return total / 1000


class Bench:
    def __init__(self, arguments, directory):
        self.arguments = arguments
        self.path = lambda name: os.path.join(directory, name)
        build = arguments.bin
        maf_fixture.PROGRAMS["maf"] = f"{build}/apps/handfast-maf/handfast-maf"
        self.load = f"{build}/apps/handfast/handfast"
        self.maf = maf_fixture.Maf(directory, "--keys-per-client", "1000000")
        self.gate = Gate(self.maf.port)
        maf_fixture.write_keys(self.path("front"), [TARGET])
        maf_fixture.write_keys(self.path("local"), [
            (f"dev{i}", os.urandom(16).hex(), "/in-cse/Cdev") for i in range(1000)])
        with open(self.path("conf"), "w", encoding="ascii") as file:
            file.write(f'''
authority "a" {{ psk-file = "{self.path("local")}" }}
maf "{FQDN}" {{
    address = {{"127.0.0.1:{self.gate.port}"}}
    identity = "{TARGET[0]}" psk-file = "{self.path("front")}" origin = "{TARGET[2]}"
    connections = 16 pipeline = 1024 timeout = 60s
}}
listener "d" {{ transport = dtls address = "127.0.0.1:0" authority = "a" }}
limits {{ handshakes-max = 20000 handshake-timeout = 90s }}
metrics {{ address = "127.0.0.1:0" }}
process {{ shards = 1 }}
log {{ level = warning }}
''')
        self.front = subprocess.Popen(
            [f"{build}/apps/handfastd/handfastd", "--config", self.path("conf"), "--log-level",
             "notice", "--log-format", "logfmt"], stderr=subprocess.PIPE, text=True)
        for line in self.front.stderr:
            found = re.search(r"transport=(dtls|metrics) address=\S+:(\d+)", line)
            if found and found.group(1) == "dtls":
                self.port = int(found.group(2))
            elif found:
                self.metrics = int(found.group(2))
            if "event=ready" in line:
                break
        threading.Thread(target=self.front.stderr.read, daemon=True).start()

    def start_load(self, keys, *options):
        return subprocess.Popen(
            [self.load, "load", "--quiet", "--dtls", f"127.0.0.1:{self.port}", "--psk-file",
             self.path(keys), "--suite", "PSK-AES128-CCM8", "--timeout", "90", "--json",
             *options], stdout=subprocess.PIPE, text=True)

    def make_parked(self):
        """Files of the devices that will be, with an identity each; and how many in each."""
        names = register(self.maf.port, self.arguments.parked)
        parts = [names[i::DEVICES] for i in range(DEVICES)]
        for i, part in enumerate(parts):
            maf_fixture.write_keys(self.path(f"parked{i}"), [
                (f"{name}@{FQDN}", KC.hex(), "") for name in part])
        return [str(len(part)) for part in parts]

    def start_parked(self, counts):
        return [self.start_load(f"parked{i}", "--devices", count, "--in-flight", count)
                for i, count in enumerate(counts)]

    def finish_parked(self, loads):
        return sum(json.loads(load.communicate()[0])["failed"] for load in loads)

    def parked(self):
        url = f"http://127.0.0.1:{self.metrics}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            text = answer.read().decode()
        return int(re.search(r"^handfast_maf_parked (\d+)", text, re.M).group(1))

    def park(self):
        counts = self.make_parked()
        begun = time.monotonic()
        loads = self.start_parked(counts)
        while self.parked() < self.arguments.parked:
            if time.monotonic() > begun + PATIENCE:
                raise SystemExit(f"only {self.parked()} are parked")
            time.sleep(0.1)
        # They send their flights again after 1, 3, 7, 15 and 31 seconds: in between there is peace.
        time.sleep(max(0, begun + self.arguments.pause - time.monotonic()))
        return loads

    def local(self):
        before = cpu_us(self.front.pid)
        told = json.loads(self.start_load("local", "--count", str(self.arguments.local),
                                          "--warmup", str(WARMUP), "--in-flight",
                                          "4").communicate()[0])
        used = cpu_us(self.front.pid) - before
        return {"p50_ms": told["p50_ms"], "p90_ms": told["p90_ms"], "p99_ms": told["p99_ms"],
                "failed": told["failed"], "cpu_us": used / (self.arguments.local + WARMUP)}

    def idle(self):
        """CPU of a second of mere waiting."""
        before, begun = cpu_us(self.front.pid), time.monotonic()
        time.sleep(2)
        return (cpu_us(self.front.pid) - before) / (time.monotonic() - begun)

    def beside(self):
        self.gate.hold()
        loads = self.park()
        idle_us = self.idle()
        told = self.local()
        still = self.parked()
        self.gate.release()
        return {**told, "idle_us_a_second": idle_us, "parked_at_the_end": still,
                "parked_failed": self.finish_parked(loads)}

    def answering(self):
        """The MAF answers after a second: {both, parked alone} as CPU."""
        self.gate.delay = 1
        counts = self.make_parked()
        before = cpu_us(self.front.pid)
        loads = self.start_parked(counts)
        told = self.local()
        failed = self.finish_parked(loads)
        both_us = cpu_us(self.front.pid) - before
        counts = self.make_parked()
        before = cpu_us(self.front.pid)
        loads = self.start_parked(counts)
        failed += self.finish_parked(loads)
        parked_us = cpu_us(self.front.pid) - before
        self.gate.delay = 0
        return {**told, "parked_us": parked_us / self.arguments.parked, "parked_failed": failed,
                "cpu_us": (both_us - parked_us) / (self.arguments.local + WARMUP)}

    def close(self):
        self.front.send_signal(signal.SIGTERM)
        self.front.wait(30)
        self.maf.stop()


def ratios(rounds, name):
    """Medians over the rounds of a run against the mean of those alone around it."""
    return {what: round(statistics.median(
        2 * one[name][what] / (one["alone"][what] + one["again"][what]) for one in rounds), 3)
            for what in ("p50_ms", "p90_ms", "p99_ms", "cpu_us")}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--parked", type=int, default=10000)
    parser.add_argument("--local", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pause", type=float, default=17, help="from the first parked on, seconds")
    parser.add_argument("--answering", action="store_true")
    parser.add_argument("--check", action="store_true", help="fail above 1.10")
    arguments = parser.parse_args()
    rounds = []
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(arguments, directory)
        try:
            bench.local()
            for _ in range(arguments.rounds):
                one = {"alone": bench.local(), "beside": bench.beside(), "again": bench.local()}
                if arguments.answering:
                    one["answering"] = bench.answering()
                rounds.append(one)
                print(json.dumps(one), flush=True)
        finally:
            bench.close()
    told = {"bench": "maf_parked", "parked": arguments.parked, "rounds": arguments.rounds,
            "ratio": ratios(rounds, "beside"), "idle_us_a_second": statistics.median(
                one["beside"]["idle_us_a_second"] for one in rounds)}
    if arguments.answering:
        told["ratio_answering"] = ratios(rounds, "answering")
    print(json.dumps(told))
    if sum(run["failed"] + run.get("parked_failed", 0) for one in rounds for run in one.values()):
        raise SystemExit("handshakes failed")
    if min(one["beside"]["parked_at_the_end"] for one in rounds) < arguments.parked:
        raise SystemExit("not all were parked to the end")
    if arguments.check and max(told["ratio"]["p99_ms"], told["ratio"]["cpu_us"]) > 1.10:
        raise SystemExit("above 1.10")


if __name__ == "__main__":
    main()
