#!/usr/bin/env python3
"""maf_kill_test.py HANDFAST-MAF [--times N] - kill -9 under registration load, again and again:
every key that was acknowledged is there afterwards, with its value."""
import base64
import hashlib
import random
import signal
import sys
import tempfile
import threading
import time

import maf_fixture
from maf_fixture import KEY, SOURCE, TARGET, Client, Maf

CLIENTS = 4


def value_of(number):
    return base64.b64encode(hashlib.sha256(str(number).encode()).digest()).decode()


class Load(threading.Thread):
    """Registers, pipelined, until its MAF is gone; remembers what was acknowledged."""

    def __init__(self, port, numbers):
        super().__init__(daemon=True)
        self.client = Client(port)
        self.numbers = numbers
        self.acknowledged = []

    def write(self, number):
        self.client.write("POST", "/MAFBase", KEY, {
            "adminFQDN": "m2msp.example", "SUID": 32, "targetIDs": [TARGET[2]],
            "keyValue": value_of(number)})

    def run(self):
        sent = []
        try:
            while True:
                while len(sent) < 16:
                    sent.append(next(self.numbers))
                    self.write(sent[-1])
                answer = self.client.read()
                if answer is None:
                    break
                if answer.rsc != 2001:
                    raise AssertionError(answer)
                self.acknowledged.append((answer.body[KEY]["resourceID"], sent.pop(0)))
        except (BrokenPipeError, ValueError, IndexError, KeyError, TypeError):
            pass  # cut off in the middle of an answer: not acknowledged
        self.client.close()


def verify(port, acknowledged):
    client = Client(port, TARGET)
    for start in range(0, len(acknowledged), 100):
        part = acknowledged[start:start + 100]
        for name, _ in part:
            client.write("GET", "/" + name)
        for name, number in part:
            answer = client.read()
            if answer is None or answer.rsc != 2000 or \
                    answer.body[KEY]["keyValue"] != value_of(number):
                raise SystemExit(f"LOST: {name}, acknowledged before a kill: {answer}")
    client.close()


def main():
    times = 5
    if sys.argv[2:3] == ["--times"]:
        times = int(sys.argv[3])
    maf_fixture.PROGRAMS["maf"] = sys.argv[1]
    seed = int(time.time())
    chance = random.Random(seed)
    numbers = iter(range(1 << 60))
    acknowledged = []
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(times):
            maf = Maf(directory, "--keys-per-client", "1000000")
            verify(maf.port, acknowledged[-2000:])
            loads = [Load(maf.port, numbers) for _ in range(CLIENTS)]
            for load in loads:
                load.start()
            time.sleep(0.05 + chance.random() * 0.3)
            maf.stop(signal.SIGKILL)
            for load in loads:
                load.join(maf_fixture.PATIENCE)
                acknowledged += load.acknowledged
        maf = Maf(directory, "--keys-per-client", "1000000")
        verify(maf.port, acknowledged)
        maf.stop()
    if len(acknowledged) < times:
        raise SystemExit("nearly nothing was acknowledged: this proves nothing")
    print(f"{times} times kill -9: {len(acknowledged)} acknowledged keys of {SOURCE[2]}, "
          f"all there (seed {seed})")


if __name__ == "__main__":
    main()
