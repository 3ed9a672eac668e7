#!/usr/bin/env python3
"""forward_v6_test.py HANDFASTD - datagrams to and from an IPv6 upstream: what forward_test.py asks
of an IPv4 one, and what an address that holds the whole handle adds. In a network namespace of its
own, where a prefix is routed to loopback; without the right to make one all of it is skipped."""
import ipaddress
import os
import socket
import subprocess
import sys
import unittest

import forward_parts as parts
import forward_test
import process_test

PREFIX = "fd48:6166:6173:7400::/64"


class DatagramV6Test(forward_test.DatagramTest):
    family = socket.AF_INET6
    own_address = r"^fd48:6166:6173:7400:"

    def forward(self, transport, upstream, *options, **named):
        return super().forward(transport, upstream, "--upstream-prefix", PREFIX, *options, **named)

    @staticmethod
    def neighbour(address):
        return str(ipaddress.ip_address(int(ipaddress.ip_address(address)) ^ 8 << 32))

    def assert_same_record(self, first, later, number):
        """One record, and a new address for each tenant, for ever."""
        record = lambda source: int(ipaddress.ip_address(source[0])) >> 32
        self.assertEqual(record(first), record(later))
        self.assertEqual(first[1], later[1], "one socket serves all")

    def test_the_address_is_the_handle(self):
        upstream = self.upstream()
        daemon = self.forward("dtls", upstream, "--proxy-protocol")
        device = self.device(daemon, "dtls")
        device.say(b"hello\n")
        data, source = upstream.recvfrom(4096)
        header, _ = parts.parse_proxy(data)
        self.assertEqual(header["tlvs"][0x05].decode(),
                         f"{int(ipaddress.ip_address(source[0])) % (1 << 64):016x}")

    def test_a_prefix_that_is_not_routed_here(self):
        keys = self.path("keys")
        process_test.write_keys(keys, forward_test.KEYS)
        done = process_test.run_once(*forward_test.DTLS, "--psk-file", keys, "--upstream-udp",
                                     "[::1]:5683", "--upstream-prefix", "fd48:6166:6173:7401::/64")
        self.assertEqual(done.returncode, 1)
        self.assertIn("ip -6 route add local fd48:6166:6173:7401::/64 dev lo", done.stderr)

    def test_both_families_at_once(self):
        """Each listener has its own upstream: here one of each family, in one daemon."""
        four, six = parts.udp_upstream(), self.upstream()
        self.keep(four)
        path = self.path("both.conf")
        keys = self.path("keys")
        process_test.write_keys(keys, forward_test.KEYS)
        with open(path, "w", encoding="ascii") as file:
            file.write(f'process {{ upstream-prefix = "{PREFIX}" }}\n'
                       f'authority "a" {{ psk-file = "{keys}" }}\n'
                       'metrics { address = "127.0.0.1:0" }\n'
                       'listener "four" {\n transport = dtls\n address = "127.0.0.1:0"\n'
                       f' upstream = "udp:127.0.0.1:{four.getsockname()[1]}"\n}}\n'
                       'listener "six" {\n transport = dtls\n address = "127.0.0.1:0"\n'
                       f' upstream = "udp:[::1]:{six.getsockname()[1]}"\n}}\n')
        daemon = self.start("--config", path, keys=forward_test.KEYS, is_whole=True)
        sources = []
        for index, upstream in enumerate((four, six)):
            device = parts.Device(daemon.port("dtls", index), "dtls")
            self.devices.append(device)
            sources.append(self.introduce(upstream, device, b"hello"))
            upstream.sendto(b"hello yourself", sources[index])
            self.assertEqual(device.hear(), b"hello yourself")
        self.assertRegex(sources[0][0], forward_test.DatagramTest.own_address)
        self.assertRegex(sources[1][0], self.own_address)
        four.sendto(b"to the other's device", sources[0])
        six.sendto(b"to its own", sources[1])
        self.assertEqual(self.devices[1].hear(), b"to its own")


def load_tests(loader, tests, pattern):
    """Those of the IPv4 test are inherited, and the only ones."""
    del tests, pattern
    own = unittest.TestSuite()
    own.addTests(DatagramV6Test(name) for name in loader.getTestCaseNames(DatagramV6Test)
                 if name in vars(DatagramV6Test) or name in vars(forward_test.DatagramTest))
    return own


def enter_namespace():
    """Runs this program again where the prefix is ours; exit status 77 means: not possible."""
    make = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*make, "true"], capture_output=True, check=False).returncode != 0:
        print("skipped: this system lets us make no network namespace")
        sys.exit(77)
    os.environ["HF_IN_NAMESPACE"] = "1"
    os.execvp(make[0], [*make, sys.executable, "-B", *sys.argv])


if __name__ == "__main__":
    if "HF_IN_NAMESPACE" not in os.environ:
        enter_namespace()
    for command in ("ip link set lo up", f"ip -6 route add local {PREFIX} dev lo"):
        subprocess.run(command.split(), check=True)
    process_test.HANDFASTD = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
