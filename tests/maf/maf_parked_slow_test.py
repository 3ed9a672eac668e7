#!/usr/bin/env python3
"""maf_parked_slow_test.py HANDFAST-MAF HANDFASTD HANDFASTCTL UDP_PROXY [SECONDS...] - devices of
other people's making, parked on a MAF that answers late while three datagrams in ten are lost: each
completes that waits that long, with one retrieval, and their retransmissions cost a counter."""
import base64
import socket
import subprocess
import sys
import time

import maf_fixture
from maf_fixture import KEY
from maf_front_test import FQDN, KC, FrontTest

SECONDS = [3.0]  # 0.5 and 20 by hand: what they add is patience
LOSS = "0.3"
DTLS_ONLY = "NORMAL:-VERS-ALL:+VERS-DTLS1.2:-KX-ALL:+PSK:-CIPHER-ALL:+AES-128-CCM-8:-MAC-ALL:+AEAD"
TEXT_KC = bytes(range(48, 80))  # printable: coap-client takes it as text


def devices(port, identity, key, text):
    """What each is called, its command, and what it says when it is connected."""
    return {
        "openssl": (["openssl", "s_client", "-brief", "-dtls1_2", "-connect", f"127.0.0.1:{port}",
                     "-cipher", "PSK-AES128-CCM8:@SECLEVEL=0", "-psk_identity", identity, "-psk",
                     key], b"CONNECTION ESTABLISHED"),
        "gnutls": (["gnutls-cli", "--udp", "-p", str(port), "127.0.0.1",
                    "--priority", DTLS_ONLY, "--pskusername", identity, "--pskkey", key],
                   b"Handshake was completed"),
        "coap-openssl": (["coap-client-openssl", "-B", "90", "-u", identity, "-k", text,
                          f"coaps://127.0.0.1:{port}/whoami"], b"entity_id"),
        "coap-gnutls": (["coap-client-gnutls", "-B", "90", "-u", identity, "-k", text,
                         f"coaps://127.0.0.1:{port}/whoami"], b"entity_id"),
    }


class ParkedTest(FrontTest):
    def start_bad_network(self, port, seed):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            own = probe.getsockname()[1]
        proxy = subprocess.Popen(
            [maf_fixture.PROGRAMS["network"], "--listen", f"127.0.0.1:{own}", "--to",
             f"127.0.0.1:{port}", "--loss", LOSS, "--seed", str(seed)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

        def end():
            proxy.kill()
            proxy.wait()
            proxy.stdout.close()

        self.addCleanup(end)
        time.sleep(0.3)
        self.assertIsNone(proxy.poll())
        return own

    def test_parked_under_loss(self):
        seed = int(time.time())
        print(f"seed {seed}", file=sys.stderr)
        maf, proxy, front, _ = self.start_pair("--handshake-timeout", "90s")
        port = self.start_bad_network(front.dtls_port, seed)
        for stage, seconds in enumerate(SECONDS):
            proxy.mode = ("pass",)
            front.whoami(f"{stage:032x}")  # the connection to the MAF stands
            proxy.mode = ("delay", seconds)
            running = {}
            done = 0
            for name in devices(0, "", "", ""):
                made = self.client(maf).register_key(
                    keyValue=base64.b64encode(TEXT_KC).decode()).body[KEY]["resourceID"]
                command, needle = devices(port, f"{made}@{FQDN}", TEXT_KC.hex(),
                                          TEXT_KC.decode())[name]
                running[name] = (subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT), needle, made)
            before = front.metric("handfast_maf_requests_total")
            # Some never give up, whatever they were told; at few seconds' wait, few will do.
            patience_ends = time.monotonic() + (120 if seconds > 3 else 40)
            for name, (process, needle, made) in running.items():
                with self.subTest(device=name, seconds=seconds):
                    try:
                        output = process.communicate(
                            timeout=max(1, patience_ends - time.monotonic()))[0]
                    except subprocess.TimeoutExpired:
                        process.kill()
                        output = process.communicate()[0]
                    ours = [line for line in front.lines if made in line]
                    # What ends a handshake is its device's patience, never ours.
                    self.assertFalse([line for line in ours if "reason=source_" in line or
                                      "reason=key_" in line], f"{output[-600:]} {ours}")
                    if needle not in output:
                        print(f"parked {seconds} s: {name} did not wait: {output[-300:]} "
                              f"{ours[-1:]}", file=sys.stderr)
                        continue
                    done += 1
                    self.assertTrue([line for line in ours if "association_established" in line],
                                    f"{output[-600:]} {ours}")
            self.assertGreater(done, 0)
            again = front.metric("handfast_retransmissions_total")
            print(f"parked {seconds} s: {again:.0f} of our flights sent again so far, "
                  f"{before:.0f} retrievals before", file=sys.stderr)
        self.assertEqual(front.metric("handfast_maf_coalesced_total"), 0)
        front.wait_for_metric("handfast_handshakes_parked", 0)


for inherited in [name for name in dir(FrontTest) if name.startswith("test_")]:
    setattr(ParkedTest, inherited, None)
del FrontTest

if __name__ == "__main__":
    if len(sys.argv) > 5:
        SECONDS = [float(text) for text in sys.argv[5:]]
        del sys.argv[5:]
    assert KC
    maf_fixture.main(__doc__, "maf", "front", "ctl", "network")
